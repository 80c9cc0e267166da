//! Random names, from the operating system.

use crate::error::{Error, Result};

/// So many random bytes, as hexadecimal digits.
///
/// # Errors
/// If the system has none.
pub fn random_hex(bytes: usize) -> Result<String> {
    use std::io::Read;
    let mut bytes = vec![0u8; bytes];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes));
    read.map_err(|e| Error::Fleet(format!("no randomness: {e}")))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}
