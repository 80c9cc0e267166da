//! Geometries and geographies: `st_geomfromwkb`, `st_asbinary`, `st_srid`.
//!
//! Their values are bytes of this engine: a mark, the number of the reference system, and the shape
//! as WKB. Functions that look into the shape are not there.

use datafusion::arrow::array::{ArrayRef, AsArray, BinaryArray};
use datafusion::arrow::datatypes::{DataType, Int32Type};
use datafusion::common::Result;

use super::scalar::{Call, Function, Param, Returns};

const GEOMETRY: u8 = b'P';
const GEOGRAPHY: u8 = b'S';
/// WGS 84, the system of geographies.
const WGS_84: i32 = 4326;
/// Bytes before the WKB.
const HEADER: usize = 5;

/// Returns the functions of this family.
pub(crate) fn functions() -> Vec<Function> {
    let binary = Returns::Type(DataType::Binary);
    let with_number = &[Param::Binary, Param::Int];
    vec![
        Function::new("st_geogfromwkb", with_number, binary.clone(), |call| {
            from_wkb(call, GEOGRAPHY, WGS_84)
        })
        .optional(1),
        Function::new("st_geomfromwkb", with_number, binary.clone(), |call| {
            from_wkb(call, GEOMETRY, 0)
        })
        .optional(1),
        Function::new(
            "st_asbinary",
            &[Param::Binary, Param::Text],
            binary.clone(),
            as_wkb,
        )
        .optional(1),
        Function::new(
            "st_srid",
            &[Param::Binary],
            Returns::Type(DataType::Int32),
            |call| call.primitive::<Int32Type>(|row| Ok(Some(parts(call, row)?.1))),
        ),
        Function::new("st_setsrid", with_number, binary, |call| {
            let systems = call.int(1);
            call.strict::<BinaryArray, Vec<u8>>(|row| {
                let (mark, _, wkb) = parts(call, row)?;
                value(call, mark, systems.value(row), wkb)
            })
        }),
    ]
}

/// The mark, the reference system and the WKB of a value.
fn parts(call: &Call, row: usize) -> Result<(u8, i32, &[u8])> {
    let bytes = call.arrays[0].as_binary::<i32>().value(row);
    if let [mark @ (GEOMETRY | GEOGRAPHY), a, b, c, d, wkb @ ..] = bytes
        && !wkb.is_empty()
    {
        return Ok((*mark, i32::from_le_bytes([*a, *b, *c, *d]), wkb));
    }
    call.fail("the value is no GEOMETRY or GEOGRAPHY; st_geomfromwkb makes one of WKB")
}

fn value(call: &Call, mark: u8, system: i32, wkb: &[u8]) -> Result<Option<Vec<u8>>> {
    let is_known = match mark {
        GEOGRAPHY => system == WGS_84,
        _ => (0..=999_999).contains(&system),
    };
    if !is_known {
        return call.fail(format!(
            "[ST_INVALID_SRID_VALUE] {system} is no reference system for it"
        ));
    }
    let mut bytes = Vec::with_capacity(HEADER + wkb.len());
    bytes.push(mark);
    bytes.extend(system.to_le_bytes());
    bytes.extend(wkb);
    Ok(Some(bytes))
}

fn from_wkb(call: &Call, mark: u8, default_system: i32) -> Result<ArrayRef> {
    let texts = call.arrays[0].as_binary::<i32>();
    call.strict::<BinaryArray, Vec<u8>>(|row| {
        let Some(wkb) = rewritten(texts.value(row), Order::Little) else {
            return call.fail("[WKB_PARSE_ERROR] the bytes are no well-known binary of a shape");
        };
        let system = match call.has_argument(1) {
            true => call.int(1).value(row),
            false => default_system,
        };
        value(call, mark, system, &wkb)
    })
}

fn as_wkb(call: &Call) -> Result<ArrayRef> {
    call.strict::<BinaryArray, Vec<u8>>(|row| {
        let order = match call
            .arrays
            .get(1)
            .map(|names| names.as_string::<i32>().value(row))
        {
            Some(name) if name.eq_ignore_ascii_case("XDR") => Order::Big,
            Some(name) if !name.eq_ignore_ascii_case("NDR") => {
                return call.fail(format!(
                    "[ST_INVALID_ENDIANNESS] '{name}' is neither NDR nor XDR"
                ));
            }
            _ => Order::Little,
        };
        Ok(rewritten(parts(call, row)?.2, order))
    })
}

/// The order of the bytes of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Big,
    Little,
}

/// Writes WKB in an order of bytes; `None` if it is none.
fn rewritten(wkb: &[u8], order: Order) -> Option<Vec<u8>> {
    let mut transcription = Transcription {
        rest: wkb,
        to: order,
        written: Vec::with_capacity(wkb.len()),
    };
    transcription.copy_shape(0)?;
    transcription
        .rest
        .is_empty()
        .then_some(transcription.written)
}

/// Shapes inside of one another, at most.
const DEPTH_MAX: usize = 32;

struct Transcription<'a> {
    rest: &'a [u8],
    to: Order,
    written: Vec<u8>,
}

impl Transcription<'_> {
    fn bytes<const N: usize>(&mut self, from: Order) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        let (mut little, mut written) = (*head, *head);
        if from == Order::Big {
            little.reverse();
        }
        if from != self.to {
            written.reverse();
        }
        self.written.extend(written);
        Some(little)
    }

    fn number(&mut self, from: Order) -> Option<u32> {
        self.bytes::<4>(from).map(u32::from_le_bytes)
    }

    /// Copies a shape: its order, its kind, and what the kind has.
    fn copy_shape(&mut self, depth: usize) -> Option<()> {
        let (mark, rest) = self.rest.split_first()?;
        self.rest = rest;
        let from = match mark {
            0 => Order::Big,
            1 => Order::Little,
            _ => return None,
        };
        self.written.push(u8::from(self.to == Order::Little));
        let kind = self.number(from)?;
        // 1000 adds a height, 2000 a measure, 3000 both.
        let numbers = match kind / 1000 {
            0 => 2,
            1 | 2 => 3,
            3 => 4,
            _ => return None,
        };
        match kind % 1000 {
            1 => self.points(1, numbers, from),
            2 => {
                let count = self.number(from)?;
                self.points(count, numbers, from)
            }
            3 => {
                for _ in 0..self.number(from)? {
                    let count = self.number(from)?;
                    self.points(count, numbers, from)?;
                }
                Some(())
            }
            4..=7 if depth < DEPTH_MAX => {
                for _ in 0..self.number(from)? {
                    self.copy_shape(depth + 1)?;
                }
                Some(())
            }
            _ => None,
        }
    }

    fn points(&mut self, count: u32, numbers: usize, from: Order) -> Option<()> {
        for _ in 0..count {
            for _ in 0..numbers {
                self.bytes::<8>(from)?;
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_bytes_can_be_changed() {
        let mut point = vec![1, 1, 0, 0, 0];
        point.extend(1.0_f64.to_le_bytes());
        point.extend(2.0_f64.to_le_bytes());
        let big = rewritten(&point, Order::Big).unwrap();
        assert_eq!(big[..5], [0, 0, 0, 0, 1]);
        assert_eq!(big[5..13], 1.0_f64.to_be_bytes());
        assert_eq!(rewritten(&big, Order::Little).unwrap(), point);
        assert_eq!(rewritten(&point[..20], Order::Little), None);
        assert_eq!(rewritten(b"text", Order::Little), None);
    }
}
