//! Memory of the process as the kernel counts it for a container's limit.

/// Returns the peak resident memory of this process in bytes: `VmHWM` of Linux; `None`
/// elsewhere.
pub(crate) fn resident_peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let rest = (status.lines()).find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = rest.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}
