//! Text and bytes. Positions count characters from 1; for `BINARY` they count bytes.

mod binary;
mod edit;
mod format_string;
mod mask;
mod number_format;
mod number_pattern;
mod parts;
mod search;
mod url;

use super::scalar::Function;

pub(crate) use binary::{decode_base64, encode_base64};
pub(crate) use parts::substring;

/// Returns the functions of text and bytes.
pub(crate) fn functions() -> Vec<Function> {
    [
        binary::functions(),
        edit::functions(),
        format_string::functions(),
        mask::functions(),
        number_format::functions(),
        number_pattern::functions(),
        parts::functions(),
        search::functions(),
        url::functions(),
    ]
    .concat()
}
