//! Functions that convert between text and bytes: charsets, base64, hexadecimal digits.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, StringArray, new_null_array,
};
use datafusion::arrow::compute::concat;
use datafusion::arrow::compute::kernels::cmp::not_distinct;
use datafusion::arrow::compute::kernels::length::{bit_length, length};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;

use crate::functions::convert::{self, bytes_of, is_binary};
use crate::functions::scalar::{Call, CallSite, Function, OnInvalid, Param, Returns};

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Letters of a line of base64, as MIME has it.
const BASE64_LINE: usize = 76;

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let text = Returns::Type(DataType::Utf8);
    let binary = Returns::Type(DataType::Binary);
    let bytes = &[Param::Bytes];
    let formatted = &[Param::Bytes, Param::Text];
    vec![
        Function::new("base64", bytes, text.clone(), |call| {
            let bytes = bytes_of(&call.arrays[0]);
            call.texts(|row| Ok(Some(lines(&encode_base64(bytes.value(row))))))
        }),
        Function::new(
            "octet_length",
            bytes,
            Returns::Type(DataType::Int32),
            |call| Ok(length(&call.arrays[0])?),
        ),
        Function::new(
            "bit_length",
            bytes,
            Returns::Type(DataType::Int32),
            |call| Ok(bit_length(&call.arrays[0])?),
        ),
        Function::new("unbase64", &[Param::Text], binary.clone(), |call| {
            let texts = call.text(0);
            call.strict::<BinaryArray, Vec<u8>>(|row| match decode_base64(texts.value(row)) {
                Some(bytes) => Ok(Some(bytes)),
                None => call.fail("[CONVERSION_INVALID_INPUT] the text is not base64"),
            })
        }),
        Function::new("encode", formatted, binary.clone(), encode),
        Function::new(
            "decode",
            // The last one may be absent; bytes and a charset are two.
            &[Param::Any, Param::Any, Param::Any],
            Returns::Computed(decode_type),
            decode,
        )
        .variadic()
        .unify(unify_decode),
        Function::new("to_binary", formatted, binary.clone(), |call| {
            to_binary(call, OnInvalid::Fail)
        })
        .optional(1),
        Function::new("try_to_binary", formatted, binary, |call| {
            to_binary(call, OnInvalid::Null)
        })
        .optional(1),
        Function::new(
            "is_valid_utf8",
            bytes,
            Returns::Type(DataType::Boolean),
            |call| {
                let bytes = bytes_of(&call.arrays[0]);
                call.booleans(|row| Ok(Some(std::str::from_utf8(bytes.value(row)).is_ok())))
            },
        ),
        Function::new("make_valid_utf8", bytes, text.clone(), |call| {
            let bytes = bytes_of(&call.arrays[0]);
            call.texts(|row| Ok(Some(String::from_utf8_lossy(bytes.value(row)).into_owned())))
        }),
        Function::new("validate_utf8", bytes, text.clone(), |call| {
            validate(call, OnInvalid::Fail)
        }),
        Function::new("try_validate_utf8", bytes, text, |call| {
            validate(call, OnInvalid::Null)
        }),
    ]
}

fn validate(call: &Call, on_invalid: OnInvalid) -> Result<ArrayRef> {
    let bytes = bytes_of(&call.arrays[0]);
    call.texts(
        |row| match (std::str::from_utf8(bytes.value(row)), on_invalid) {
            (Ok(text), _) => Ok(Some(text.to_owned())),
            (Err(_), OnInvalid::Fail) => call.fail("[INVALID_UTF8_STRING] the bytes are not UTF-8"),
            (Err(_), OnInvalid::Null) => Ok(None),
        },
    )
}

/// Writes bytes in base64, with padding.
pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..4 {
            let letter = BASE64[(bits >> (18 - 6 * index) & 63) as usize];
            text.push(if index <= chunk.len() {
                letter.into()
            } else {
                '='
            });
        }
    }
    text
}

/// Reads base64; spaces and line ends are ignored. `None` if the text is something else.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    // Nothing stands between the two signs of the padding.
    if text
        .trim_end()
        .trim_end_matches('=')
        .trim_end()
        .ends_with('=')
    {
        return None;
    }
    let letters: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let padding = letters
        .iter()
        .rev()
        .take_while(|letter| **letter == b'=')
        .count();
    let letters = &letters[..letters.len() - padding];
    if padding > 2
        || letters.len() % 4 == 1
        || (padding > 0 && !(letters.len() + padding).is_multiple_of(4))
    {
        return None;
    }
    let mut bytes = Vec::with_capacity(letters.len() / 4 * 3 + 2);
    for chunk in letters.chunks(4) {
        let mut bits = 0_u32;
        for letter in chunk {
            let value = BASE64.iter().position(|candidate| candidate == letter)?;
            bits = bits << 6 | u32::try_from(value).ok()?;
        }
        bits <<= 6 * (4 - chunk.len());
        bytes.extend(bits.to_be_bytes()[1..chunk.len()].iter());
    }
    Some(bytes)
}

/// Breaks base64 into lines, as Spark's `base64` does.
fn lines(text: &str) -> String {
    if text.len() <= BASE64_LINE {
        return text.to_owned();
    }
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(BASE64_LINE)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    lines.join("\r\n")
}

/// The mark before UTF-16 that shows the order of its bytes.
const BYTE_ORDER_MARK: u16 = 0xFEFF;

/// The charsets that Spark knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Charset {
    Ascii,
    Latin1,
    Utf8,
    /// Big-endian, after a byte order mark.
    Utf16,
    Utf16Be,
    Utf16Le,
    Utf32,
}

impl Charset {
    fn parse(call: &Call, name: &str) -> Result<Self> {
        Ok(match name.to_ascii_uppercase().as_str() {
            "US-ASCII" => Self::Ascii,
            "ISO-8859-1" => Self::Latin1,
            "UTF-8" | "UTF8" => Self::Utf8,
            "UTF-16" => Self::Utf16,
            "UTF-16BE" => Self::Utf16Be,
            "UTF-16LE" => Self::Utf16Le,
            "UTF-32" => Self::Utf32,
            _ => {
                return call.fail(format!(
                    "[INVALID_PARAMETER_VALUE.CHARSET] '{name}' is no charset; use US-ASCII, ISO-8859-1, UTF-8, UTF-16, UTF-16BE, UTF-16LE or UTF-32"
                ));
            }
        })
    }

    /// Encodes a text; `None` if the charset lacks one of its characters.
    fn encode(self, text: &str) -> Option<Vec<u8>> {
        let single = |limit: u32| {
            text.chars()
                .map(|c| {
                    u8::try_from(u32::from(c))
                        .ok()
                        .filter(|b| u32::from(*b) < limit)
                })
                .collect()
        };
        match self {
            Self::Ascii => single(128),
            Self::Latin1 => single(256),
            Self::Utf8 => Some(text.as_bytes().to_vec()),
            Self::Utf16 => {
                let units = std::iter::once(BYTE_ORDER_MARK).chain(text.encode_utf16());
                Some(units.flat_map(u16::to_be_bytes).collect())
            }
            Self::Utf16Be => Some(text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
            Self::Utf16Le => Some(text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
            Self::Utf32 => Some(
                text.chars()
                    .flat_map(|c| u32::from(c).to_be_bytes())
                    .collect(),
            ),
        }
    }

    /// Decodes bytes; `None` if they are not of this charset.
    fn decode(self, bytes: &[u8]) -> Option<String> {
        match self {
            Self::Ascii => bytes
                .is_ascii()
                .then(|| bytes.iter().map(|b| char::from(*b)).collect()),
            Self::Latin1 => Some(bytes.iter().map(|b| char::from(*b)).collect()),
            Self::Utf8 => String::from_utf8(bytes.to_vec()).ok(),
            Self::Utf16 | Self::Utf16Be | Self::Utf16Le => {
                let (bytes, is_little) = match bytes {
                    [0xFE, 0xFF, rest @ ..] => (rest, false),
                    [0xFF, 0xFE, rest @ ..] => (rest, true),
                    _ => (bytes, self == Self::Utf16Le),
                };
                let unit = |pair: &[u8]| match is_little {
                    true => u16::from_le_bytes([pair[0], pair[1]]),
                    false => u16::from_be_bytes([pair[0], pair[1]]),
                };
                let pairs = bytes.chunks_exact(2);
                let is_whole = pairs.remainder().is_empty();
                let units: Vec<u16> = pairs.map(unit).collect();
                String::from_utf16(&units).ok().filter(|_| is_whole)
            }
            Self::Utf32 => bytes
                .chunks(4)
                .map(|four| {
                    four.try_into()
                        .ok()
                        .and_then(|four| char::from_u32(u32::from_be_bytes(four)))
                })
                .collect(),
        }
    }
}

fn encode(call: &Call) -> Result<ArrayRef> {
    let texts = convert::convert(&call.arrays[0], Param::Text, &call.zone)?;
    let (texts, names): (&StringArray, _) = (texts.as_string(), call.text(1));
    call.strict::<BinaryArray, Vec<u8>>(|row| {
        let name = names.value(row);
        match Charset::parse(call, name)?.encode(texts.value(row)) {
            Some(bytes) => Ok(Some(bytes)),
            None => call.fail(format!(
                "[MALFORMED_CHARACTER_CODING] the text has a character that {name} lacks"
            )),
        }
    })
}

fn unify_decode(types: &[DataType]) -> Result<Vec<DataType>> {
    if types.len() <= 2 {
        return Ok(types.to_vec());
    }
    let results = types
        .iter()
        .enumerate()
        .filter(|(index, _)| is_decode_result(*index, types.len()));
    let result = results
        .map(|(_, data_type)| data_type.clone())
        .reduce(|a, b| comparison_coercion(&a, &b).unwrap_or(a));
    let keys = (0..types.len()).filter(|index| !is_decode_result(*index, types.len()));
    let key = keys
        .map(|index| types[index].clone())
        .reduce(|a, b| comparison_coercion(&a, &b).unwrap_or(a));
    let (Some(key), Some(result)) = (key, result) else {
        return plan_err!("decode: expected an expression, and pairs of a value and a result");
    };
    let unified = (0..types.len()).map(|index| match is_decode_result(index, types.len()) {
        true => result.clone(),
        false => key.clone(),
    });
    Ok(unified.collect())
}

/// Returns whether an argument of `decode(key, search, result, …, default)` is a result.
fn is_decode_result(index: usize, count: usize) -> bool {
    index >= 2 && (index.is_multiple_of(2) || index == count - 1 && count.is_multiple_of(2))
}

fn decode_type(site: &CallSite) -> Result<DataType> {
    Ok(match site.types.len() {
        0..=2 => DataType::Utf8,
        _ => site.types[2].clone(),
    })
}

/// `decode(bytes, charset)`, or `decode(key, search, result, …, default)`.
fn decode(call: &Call) -> Result<ArrayRef> {
    if call.arrays.len() > 2 {
        return decode_cases(call);
    }
    let bytes = convert::convert(&call.arrays[0], Param::Bytes, &call.zone)?;
    let bytes = bytes_of(&bytes);
    let names = convert::to_text(&call.arrays[1], &call.zone)?;
    let names: &StringArray = names.as_string();
    call.texts(|row| {
        let name = names.value(row);
        match Charset::parse(call, name)?.decode(bytes.value(row)) {
            Some(text) => Ok(Some(text)),
            None => call.fail(format!(
                "[MALFORMED_CHARACTER_CODING] the bytes are not {name}"
            )),
        }
    })
}

/// The first result whose search equals the key; nulls equal each other.
fn decode_cases(call: &Call) -> Result<ArrayRef> {
    let count = call.arrays.len();
    let key = &call.arrays[0];
    let mut result = match count % 2 {
        0 => Arc::clone(&call.arrays[count - 1]),
        _ => new_null_array(&call.return_type, call.rows),
    };
    for index in (1..count - 1).step_by(2).rev() {
        let matches = not_distinct(key, &call.arrays[index])?;
        result = datafusion::arrow::compute::kernels::zip::zip(
            &matches,
            &call.arrays[index + 1],
            &result,
        )?;
    }
    Ok(concat(&[result.as_ref()])?)
}

fn to_binary(call: &Call, on_invalid: OnInvalid) -> Result<ArrayRef> {
    let bytes = bytes_of(&call.arrays[0]);
    let is_bytes = is_binary(call.arrays[0].data_type());
    call.strict::<BinaryArray, Vec<u8>>(|row| {
        let value = bytes.value(row);
        let format = if call.has_argument(1) {
            call.text(1).value(row)
        } else {
            "hex"
        };
        let text = std::str::from_utf8(value).unwrap_or_default();
        let decoded = match format.to_ascii_lowercase().as_str() {
            _ if is_bytes => Some(value.to_vec()),
            "hex" => unhex(text),
            "utf-8" | "utf8" => Some(value.to_vec()),
            "base64" => decode_base64(text),
            _ if on_invalid == OnInvalid::Fail => {
                return call.fail(format!(
                    "'{format}' is no format of bytes; use hex, utf-8 or base64"
                ));
            }
            _ => None,
        };
        match decoded {
            None if on_invalid == OnInvalid::Fail => call.fail(format!(
                "[CONVERSION_INVALID_INPUT] '{text}' is not {format}"
            )),
            decoded => Ok(decoded),
        }
    })
}

/// Reads pairs of hexadecimal digits; an odd number of them begins with a zero.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let padded = match text.len() % 2 {
        0 => text.to_owned(),
        _ => format!("0{text}"),
    };
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    padded
        .as_bytes()
        .chunks(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_itself_again() {
        for size in 0..20_u8 {
            let bytes: Vec<u8> = (0..size).map(|byte| byte.wrapping_mul(37)).collect();
            assert_eq!(decode_base64(&encode_base64(&bytes)), Some(bytes));
        }
        assert_eq!(encode_base64(b"Hi"), "SGk=");
        assert_eq!(decode_base64("a!"), None);
        assert_eq!(unhex("abc"), Some(vec![0x0a, 0xbc]));
        assert_eq!(unhex("xy"), None);
    }

    #[test]
    fn text_comes_back_from_the_charsets_that_have_all_of_its_characters() {
        let utf16 = [Charset::Utf16, Charset::Utf16Be, Charset::Utf16Le];
        for charset in [Charset::Utf8, Charset::Utf32].into_iter().chain(utf16) {
            let bytes = charset.encode("água €").unwrap();
            assert_eq!(charset.decode(&bytes).as_deref(), Some("água €"));
        }
        assert_eq!(Charset::Latin1.encode("é"), Some(vec![0xe9]));
        assert_eq!(Charset::Ascii.encode("é"), None);
    }
}
