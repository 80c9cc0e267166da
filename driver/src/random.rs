//! Random names, from the operating system.

use std::fs::File;
use std::io::Read;

use crate::error::{Error, Result};

/// Returns `bytes` random bytes as hexadecimal digits, two for each byte.
///
/// # Errors
/// Returns an error if the operating system provides no random numbers.
pub fn random_hex(bytes: usize) -> Result<String> {
    let mut random = vec![0u8; bytes];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut random))
        .map_err(|source| Error::System {
            needed: "random numbers",
            source,
        })?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
