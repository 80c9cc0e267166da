//! How a write began.

use crate::write_identity::CommittedWrite;

/// The outcome of the checks before a write.
#[derive(Debug)]
pub(crate) enum Begun<W> {
    /// It is in progress.
    Write(W),
    /// The output exists, and the save mode is `ignore`.
    Exists,
    /// Another attempt of the run has committed it.
    Committed(CommittedWrite),
}

impl<W> Begun<W> {
    /// Returns the outcome with another type for a write in progress.
    pub(super) fn map<V>(self, convert: impl FnOnce(W) -> V) -> Begun<V> {
        match self {
            Self::Write(write) => Begun::Write(convert(write)),
            Self::Exists => Begun::Exists,
            Self::Committed(committed) => Begun::Committed(committed),
        }
    }

    #[cfg(test)]
    pub(super) fn into_write(self) -> Option<W> {
        match self {
            Self::Write(write) => Some(write),
            Self::Exists | Self::Committed(_) => None,
        }
    }
}
