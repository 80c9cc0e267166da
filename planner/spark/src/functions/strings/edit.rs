//! Functions that change a text as a whole: join, repeat or replace it, or change its letters.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::datatypes::{DataType, Int32Type};
use datafusion::common::Result;

use crate::functions::convert;
use crate::functions::scalar::{Call, Function, Param, Returns};

/// Maximum bytes of a text whose length an argument sets.
pub(super) const TEXT_BYTES_MAX: usize = 1 << 30;

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let text = Returns::Type(DataType::Utf8);
    let change =
        |name, body| Function::new(name, &[Param::Text], Returns::Type(DataType::Utf8), body);
    vec![
        change("initcap", |call| change_texts(call, initcap)),
        Function::new(
            "ascii",
            &[Param::Text],
            Returns::Type(DataType::Int32),
            |call| {
                let texts = call.text(0);
                call.primitive::<Int32Type>(|row| {
                    let first = texts.value(row).chars().next().map_or(0, u32::from);
                    Ok(i32::try_from(first).ok())
                })
            },
        ),
        Function::new("chr", &[Param::Long], text.clone(), |call| {
            let codes = call.long(0);
            call.texts(|row| Ok(Some(character_of(codes.value(row)))))
        })
        .aliases(&["char"]),
        Function::new("space", &[Param::Int], text.clone(), |call| {
            let counts = call.int(0);
            call.texts(|row| repeat(call, " ", counts.value(row)).map(Some))
        }),
        Function::new("repeat", &[Param::Text, Param::Int], text.clone(), |call| {
            let (texts, counts) = (call.text(0), call.int(1));
            call.texts(|row| repeat(call, texts.value(row), counts.value(row)).map(Some))
        }),
        Function::new(
            "replace",
            &[Param::Text, Param::Text, Param::Text],
            text.clone(),
            replace,
        )
        .optional(1),
        Function::new(
            "translate",
            &[Param::Text, Param::Text, Param::Text],
            text.clone(),
            translate,
        ),
        Function::new("concat_ws", &[Param::Text, Param::Any], text, concat_ws).variadic(),
    ]
}

/// Returns the character that the last byte of a code stands for; an empty text if the code is
/// negative.
fn character_of(code: i64) -> String {
    let byte = code.to_le_bytes()[0];
    match code < 0 {
        true => String::new(),
        false => char::from(byte).to_string(),
    }
}

fn change_texts(call: &Call, change: impl Fn(&str) -> String) -> Result<ArrayRef> {
    let texts = call.text(0);
    call.texts(|row| Ok(Some(change(texts.value(row)))))
}

/// Makes the first letter of each word large and the others small; only spaces separate words.
fn initcap(text: &str) -> String {
    let mut is_first = true;
    let mut changed = String::with_capacity(text.len());
    for c in text.chars() {
        match is_first {
            true => changed.extend(c.to_uppercase()),
            false => changed.extend(c.to_lowercase()),
        }
        is_first = c == ' ';
    }
    changed
}

fn repeat(call: &Call, text: &str, count: i32) -> Result<String> {
    let count = usize::try_from(count).unwrap_or(0);
    match text.len().checked_mul(count) {
        Some(size) if size <= TEXT_BYTES_MAX => Ok(text.repeat(count)),
        _ => call.fail("the text would be larger than 1 GiB"),
    }
}

fn replace(call: &Call) -> Result<ArrayRef> {
    let (texts, parts) = (call.text(0), call.text(1));
    call.texts(|row| {
        let (text, part) = (texts.value(row), parts.value(row));
        let by = if call.has_argument(2) {
            call.text(2).value(row)
        } else {
            ""
        };
        Ok(Some(match part.is_empty() {
            true => text.to_owned(),
            false => text.replace(part, by),
        }))
    })
}

/// Replaces letters by those at the same place; letters without one are removed.
fn translate(call: &Call) -> Result<ArrayRef> {
    let (texts, from, to) = (call.text(0), call.text(1), call.text(2));
    call.texts(|row| {
        let from: Vec<char> = from.value(row).chars().collect();
        let to: Vec<char> = to.value(row).chars().collect();
        let translated = texts.value(row).chars().filter_map(|c| {
            match from.iter().position(|candidate| *candidate == c) {
                None => Some(c),
                Some(index) => to.get(index).copied(),
            }
        });
        Ok(Some(translated.collect()))
    })
}

/// Joins texts and arrays of texts by a separator; nulls are left out.
fn concat_ws(call: &Call) -> Result<ArrayRef> {
    let separators = call.text(0);
    let mut columns = Vec::with_capacity(call.arrays.len());
    for array in &call.arrays[1..] {
        let column = match array.as_list_opt::<i32>() {
            Some(list) => {
                let items = convert::to_text(list.values(), &call.zone)?;
                (Some(list), items)
            }
            None => (None, convert::to_text(array, &call.zone)?),
        };
        columns.push(column);
    }
    call.lenient::<StringArray, String>(|row| {
        if separators.is_null(row) {
            return Ok(None);
        }
        let mut parts: Vec<&str> = Vec::new();
        for (list, texts) in &columns {
            let texts: &StringArray = texts.as_string();
            let range = match list {
                None => row..row + 1,
                Some(list) if list.is_null(row) => 0..0,
                Some(list) => {
                    let offsets = list.value_offsets();
                    offsets[row].unsigned_abs() as usize..offsets[row + 1].unsigned_abs() as usize
                }
            };
            parts.extend(
                range
                    .filter(|index| texts.is_valid(*index))
                    .map(|index| texts.value(index)),
            );
        }
        Ok(Some(parts.join(separators.value(row))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_spaces_separate_words() {
        assert_eq!(
            initcap("jean-luc O'NEILL  and co"),
            "Jean-luc O'neill  And Co"
        );
    }

    #[test]
    fn only_the_last_byte_of_a_code_counts() {
        for (code, text) in [
            (65, "A"),
            (321, "A"),
            (8364, "¬"),
            (256, "\0"),
            (-1, ""),
            (-256, ""),
        ] {
            assert_eq!(character_of(code), text, "{code}");
        }
    }
}
