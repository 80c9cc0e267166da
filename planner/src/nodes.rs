//! The plan nodes that the planner adds to DataFusion's, and their encoding.

mod codec;
mod exchange_read;
mod key_filter;
mod materialize;
mod plain_rows;

pub use codec::{NodeTag, PackingConverter, decode_node, encode_node, unpack_expr};
pub use exchange_read::{ExchangeHandle, ExchangeReadExec, ExchangeSource, InputMode};
pub(crate) use key_filter::{KeyFilterExec, KeySetExec, KeySetLayout, is_range_type};
pub use materialize::MaterializeExec;
pub(crate) use plain_rows::PlainRowsExec;
