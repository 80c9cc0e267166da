//! Window functions, one fault a file.

pub(super) mod by_bytes;
pub(super) mod moving;
pub(super) mod sent;
