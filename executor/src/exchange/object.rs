//! A block as one object: its segments in ascending order of partitions, an index, a trailer.
//!
//! ```text
//! | segment | segment | … | index: partition, bytes, crc of each (postcard) | bytes of index (u32) | FBLK |
//! ```
//!
//! A segment is an Arrow IPC stream with LZ4, as on disk. A reader requests the end of the object
//! once, and then only the adjacent ranges of its partition.

use std::ops::Range;

use arrow::array::RecordBatch;
use datafusion::common::{Result, exec_datafusion_err};
use serde::{Deserialize, Serialize};

use super::disk::decode;

const MAGIC: &[u8; 4] = b"FBLK";
/// Bytes of the trailer: the size of the index, and the magic.
const TRAILER_BYTES: usize = 8;

/// One segment of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ObjectSegment {
    partition: u32,
    bytes: u64,
    crc: u32,
}

/// The segments of an object, in the order of their offsets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ObjectIndex(Vec<ObjectSegment>);

/// What the end of an object contains.
pub(super) enum Tail {
    Index(ObjectIndex),
    /// The index is longer: it needs this many bytes of the end.
    TooShort(u64),
}

impl ObjectIndex {
    /// Adds the next segment.
    pub(super) fn push(&mut self, partition: u32, encoded: &[u8]) {
        self.0.push(ObjectSegment {
            partition,
            bytes: encoded.len() as u64,
            crc: crc32fast::hash(encoded),
        });
    }

    /// Encodes the index and the trailer.
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let mut end =
            postcard::to_stdvec(self).map_err(|e| exec_datafusion_err!("encoding: {e}"))?;
        let bytes = u32::try_from(end.len())
            .map_err(|_| exec_datafusion_err!("the block has too many segments"))?;
        end.extend(bytes.to_le_bytes());
        end.extend(MAGIC);
        Ok(end)
    }

    /// Reads the last bytes of an object.
    pub(super) fn decode(tail: &[u8]) -> Result<Tail> {
        let damage_error = || exec_datafusion_err!("a block in the object store is damaged");
        let (rest, trailer) = tail
            .split_at_checked(tail.len().wrapping_sub(TRAILER_BYTES))
            .ok_or_else(damage_error)?;
        let (size, magic) = trailer.split_first_chunk::<4>().ok_or_else(damage_error)?;
        if magic != MAGIC {
            return Err(damage_error());
        }
        let size = u32::from_le_bytes(*size) as usize;
        match rest.len().checked_sub(size) {
            Some(start) => Ok(Tail::Index(
                postcard::from_bytes(&rest[start..]).map_err(|_| damage_error())?,
            )),
            None => Ok(Tail::TooShort((size + TRAILER_BYTES) as u64)),
        }
    }

    /// Returns the segments of one partition, or of all, grouped into requests for adjacent ones of
    /// about `request_bytes` each.
    pub(super) fn requests(
        &self,
        partition: Option<u32>,
        request_bytes: u64,
    ) -> Vec<(Range<u64>, Vec<ObjectSegment>)> {
        let mut requests: Vec<(Range<u64>, Vec<ObjectSegment>)> = vec![];
        let mut offset = 0;
        for segment in &self.0 {
            let range = offset..offset + segment.bytes;
            offset = range.end;
            if partition.is_some_and(|partition| partition != segment.partition) {
                continue;
            }
            match requests.last_mut() {
                Some((last_range, segments))
                    if last_range.end == range.start
                        && range.end - last_range.start <= request_bytes =>
                {
                    last_range.end = range.end;
                    segments.push(*segment);
                }
                _ => requests.push((range, vec![*segment])),
            }
        }
        requests
    }
}

/// Decodes the rows of adjacent segments.
///
/// # Errors
/// If bytes are missing, or a checksum differs.
pub(super) fn batches(mut bytes: &[u8], segments: &[ObjectSegment]) -> Result<Vec<RecordBatch>> {
    let mut all = vec![];
    for segment in segments {
        let length = usize::try_from(segment.bytes).unwrap_or(usize::MAX);
        let (segment_bytes, rest) = bytes
            .split_at_checked(length)
            .ok_or_else(|| exec_datafusion_err!("a block in the object store is truncated"))?;
        if crc32fast::hash(segment_bytes) != segment.crc {
            return Err(exec_datafusion_err!(
                "the checksum of a block in the object store differs"
            ));
        }
        all.extend(decode(segment_bytes)?);
        bytes = rest;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_read_in_few_requests_and_no_other_is() {
        let mut index = ObjectIndex::default();
        for (partition, bytes) in [(0, 10), (1, 20), (1, 30), (1, 40), (3, 5)] {
            index.push(partition, &vec![0; bytes]);
        }
        let ranges = |partition, bytes| {
            index
                .requests(partition, bytes)
                .into_iter()
                .map(|(range, s)| (range, s.len()))
                .collect::<Vec<_>>()
        };
        assert_eq!(ranges(Some(1), 100), [(10..100, 3)]);
        assert_eq!(ranges(Some(1), 50), [(10..60, 2), (60..100, 1)]);
        assert_eq!(ranges(Some(2), 50), []);
        assert_eq!(ranges(None, 1000), [(0..105, 5)]);
    }

    #[test]
    fn an_index_is_read_from_the_end_and_says_how_long_it_is() {
        let mut index = ObjectIndex::default();
        (0..100).for_each(|partition| index.push(partition, b"rows"));
        let mut object = vec![7; 400];
        object.extend(index.encode().unwrap());
        assert!(
            matches!(ObjectIndex::decode(&object).unwrap(), Tail::Index(read) if read == index)
        );
        let Tail::TooShort(bytes) = ObjectIndex::decode(&object[object.len() - 20..]).unwrap()
        else {
            panic!("an index from 20 bytes")
        };
        let tail = &object[object.len() - usize::try_from(bytes).unwrap()..];
        assert!(matches!(ObjectIndex::decode(tail).unwrap(), Tail::Index(read) if read == index));
        assert!(ObjectIndex::decode(b"short").is_err());
        assert!(ObjectIndex::decode(&[0; 64]).is_err());
    }
}
