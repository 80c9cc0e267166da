//! The function `shuffle`.

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::common::Result;

use super::build::{Source, assemble_where};
use super::items;
use crate::functions::scalar::{Call, Function, Param, Returns};

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new(
            "shuffle",
            &[Param::List, Param::Long],
            Returns::Argument(0),
            shuffle,
        )
        .optional(1)
        .sequence(),
    ]
}

/// Shuffles by Fisher and Yates: from the last item on, each is exchanged with a random one up to
/// itself.
fn shuffle(call: &Call) -> Result<ArrayRef> {
    let list = call.list(0);
    call.draw(1, |sequence, seed| {
        let generator = sequence.twister(seed);
        assemble_where(call, &[list.values()], list.nulls(), |row| {
            let mut order: Vec<usize> = items(list, row).collect();
            for last in (1..order.len()).rev() {
                let count = u32::try_from(last + 1).unwrap_or(u32::MAX);
                order.swap(last, generator.next_below(count) as usize);
            }
            let items = order.into_iter().map(|item| Source::Item(0, item));
            Ok(Some(items.collect()))
        })
    })
}
