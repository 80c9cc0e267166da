//! Converts text of other encodings to UTF-8.

use bytes::Bytes;
use encoding_rs::Encoding;
use faisca_planner::manifest::TextEncoding;

use crate::protocol::CsvReadOptions;

impl CsvReadOptions {
    /// Converts a chunk to UTF-8. All supported encodings are UTF-8 or have one byte per character,
    /// so a chunk can be converted without its neighbours.
    pub(super) fn to_utf8(&self, chunk: Bytes) -> Bytes {
        let encoding: &'static Encoding = match self.encoding {
            TextEncoding::Utf8 => return chunk,
            // The encoding standard of the Web maps ISO-8859-1 to Windows-1252, which differs only
            // in control codes.
            TextEncoding::Iso8859_1 | TextEncoding::Windows1252 => encoding_rs::WINDOWS_1252,
        };
        if chunk.is_ascii() {
            return chunk;
        }
        Bytes::from(
            encoding
                .decode_without_bom_handling(&chunk)
                .0
                .into_owned()
                .into_bytes(),
        )
    }
}
