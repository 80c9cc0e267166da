//! Permissions, owner and extended attributes of a folder, for the folder that replaces it.
//!
//! **A folder never becomes open to more users.** If the group cannot be kept, its permissions are
//! dropped: they would be those of another group.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use rustix::fs::{XattrFlags, getxattr, listxattr, setxattr};
use rustix::io::Errno;
use tracing::{debug, warn};

/// The permissions of the owner. The commit needs them until it is complete.
const OWNER: u32 = 0o700;
const GROUP: u32 = 0o070;
const SET_GROUP_ID: u32 = 0o2000;
/// All permissions, with those to take the folder's user and group.
const ALL: u32 = 0o7777;
/// Bytes of the largest list of attributes, and of the largest value, that Linux allows.
const BYTES_MAX: usize = 64 * 1024;

/// Gives the folder `to` what `from` has. The owner may write to it in any case.
///
/// What the user may not set is left out, with a message in the log.
///
/// # Errors
/// If `from` cannot be read, or the permissions of `to` cannot be set.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let (old, new) = (fs::metadata(from)?, fs::metadata(to)?);
    let mut mode = old.mode() & ALL;
    // Before the permissions: a change of the owner takes away those to set the group.
    if old.uid() != new.uid()
        && let Err(error) = chown(to, Some(old.uid()), None)
    {
        debug!(
            "{}: the owner stays user {}: {error}",
            to.display(),
            new.uid()
        );
    }
    if old.gid() != new.gid()
        && let Err(error) = chown(to, None, Some(old.gid()))
    {
        mode &= !(GROUP | SET_GROUP_ID);
        warn!(
            "{}: group {} cannot be kept, so no group may use the folder: {error}",
            from.display(),
            old.gid()
        );
    }
    fs::set_permissions(to, Permissions::from_mode(mode | OWNER))?;
    // After the permissions: access lists are attributes, and a change of the permissions changes
    // them.
    copy_attributes(from, to);
    Ok(())
}

fn copy_attributes(from: &Path, to: &Path) {
    let mut list = vec![0; BYTES_MAX];
    let names = match listxattr(from, &mut list) {
        Ok(bytes) => &list[..bytes],
        // A file system without attributes.
        Err(_) => return,
    };
    let mut value = vec![0; BYTES_MAX];
    for name in names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let copied = getxattr(from, name, &mut value)
            .and_then(|bytes| setxattr(to, name, &value[..bytes], XattrFlags::empty()));
        match copied {
            // Attributes that only an administrator may set, such as labels of security modules.
            Ok(()) | Err(Errno::PERM | Errno::OPNOTSUPP) => {}
            Err(error) => {
                let name = String::from_utf8_lossy(name);
                warn!(
                    "{}: the attribute {name} is not kept: {error}",
                    from.display()
                );
            }
        }
    }
}
