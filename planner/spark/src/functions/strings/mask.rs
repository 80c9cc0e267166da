//! `mask`, and words of sentences.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, ListBuilder, StringArray, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::Result;

use crate::functions::scalar::{Call, Function, Param, Returns};

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let words = DataType::List(Arc::new(Field::new_list_field(text_list(), true)));
    vec![
        Function::new(
            "mask",
            &[Param::Text; 5],
            Returns::Type(DataType::Utf8),
            mask,
        )
        .optional(4),
        Function::new(
            "sentences",
            &[Param::Text; 3],
            Returns::Type(words),
            sentences,
        )
        .optional(2),
    ]
}

fn text_list() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)))
}

/// Replaces letters and digits: capitals by `X`, small letters by `x`, digits by `n`. A null
/// replacement keeps them.
fn mask(call: &Call) -> Result<ArrayRef> {
    let texts = call.text(0);
    let defaults = [Some('X'), Some('x'), Some('n'), None];
    call.lenient::<StringArray, String>(|row| {
        if texts.is_null(row) {
            return Ok(None);
        }
        let mut by = defaults;
        for (index, by) in by.iter_mut().enumerate() {
            if let Some(array) = call.has_argument(index + 1).then(|| call.text(index + 1)) {
                *by = array
                    .is_valid(row)
                    .then(|| array.value(row).chars().next())
                    .flatten();
            }
        }
        let masked = texts.value(row).chars().map(|c| {
            let kind = match c {
                c if c.is_uppercase() => 0,
                c if c.is_lowercase() => 1,
                c if c.is_ascii_digit() => 2,
                _ => 3,
            };
            by[kind].unwrap_or(c)
        });
        Ok(Some(masked.collect()))
    })
}

/// Splits a text into sentences, and each sentence into words. Language and country are ignored.
fn sentences(call: &Call) -> Result<ArrayRef> {
    let texts = call.text(0);
    let mut builder = ListBuilder::new(ListBuilder::new(StringBuilder::new()));
    for row in 0..call.rows {
        if texts.is_null(row) {
            builder.append_null();
            continue;
        }
        for sentence in texts.value(row).split_inclusive(['.', '!', '?']) {
            let words: Vec<&str> = sentence
                .split(|c: char| !c.is_alphanumeric() && c != '\'')
                .filter(|word| !word.is_empty())
                .collect();
            if !words.is_empty() {
                for word in words {
                    builder.values().values().append_value(word);
                }
                builder.values().append(true);
            }
        }
        builder.append(true);
    }
    Ok(Arc::new(builder.finish()))
}
