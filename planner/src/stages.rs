//! Turns a physical plan into stages: where a plan is cut, which stages are equal, how many tasks
//! run a stage, and how the rest is planned again when a finished stage deviates from its estimate.

mod cut;
mod divide;
mod draw;
mod graph;
mod revise;
mod share;
mod slices;

pub use cut::{cut, cut_writes};
pub use draw::format_rough_count;
pub use graph::{Slicing, Stage, StageGraph, StageInput, StageOutput};
pub use revise::{Fact, Revised, expected_rows, is_replannable, revise};
pub use share::share;
pub use slices::{PartitionSplit, slice_by_bytes, slice_singly, split_count};
