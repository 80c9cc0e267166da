//! How the writers of the crash models write.

use faisca_planner::manifest::{PartitionOverwrite, SaveMode, Write};

/// How a writer writes.
#[derive(Debug, Clone, Copy)]
pub(super) struct WriteKind {
    pub(super) mode: SaveMode,
    pub(super) partitions: PartitionOverwrite,
}

pub(super) const APPEND: WriteKind = WriteKind {
    mode: SaveMode::Append,
    partitions: PartitionOverwrite::Static,
};

/// All kinds that differ in what they leave of the old output.
pub(super) const WRITE_KINDS: [WriteKind; 3] = [
    WriteKind {
        mode: SaveMode::Overwrite,
        partitions: PartitionOverwrite::Static,
    },
    WriteKind {
        mode: SaveMode::Overwrite,
        partitions: PartitionOverwrite::Dynamic,
    },
    APPEND,
];

/// All kinds, for a driver that is started again. The last one writes to a new folder.
pub(super) const RESTARTED_KINDS: [WriteKind; 4] = [
    WRITE_KINDS[0],
    WRITE_KINDS[1],
    APPEND,
    WriteKind {
        mode: SaveMode::ErrorIfExists,
        partitions: PartitionOverwrite::Static,
    },
];

impl WriteKind {
    /// Returns a write of this kind, without a success file.
    pub(super) fn write_to(self, path: &str) -> Write {
        Write {
            mode: self.mode,
            partition_overwrite: self.partitions,
            success_file: false,
            ..Write::to(path)
        }
    }
}
