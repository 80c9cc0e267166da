//! Decides by their names alone which objects below a path are data.

use object_store::path::Path;

/// Returns true if a reader of `prefix` sees the file `key`, as in Spark. Hidden are files and
/// folders below the prefix whose names begin with `.` or `_`, except for names such as
/// `_key=value`, and files that Hadoop is still copying.
pub(crate) fn is_visible(prefix: &Path, key: &Path) -> bool {
    let Some(names) = key.prefix_match(prefix) else {
        return false;
    };
    let names: Vec<_> = names.collect();
    let Some((file, folders)) = names.split_last() else {
        return true;
    };
    let file = file.as_ref();
    let is_hidden = file.starts_with('.')
        || file.starts_with('_') && !file.contains('=')
        || file.ends_with("._COPYING_");
    !is_hidden && !folders.iter().any(|name| is_hidden_folder(name.as_ref()))
}

/// Returns true if readers skip folders of this name.
pub(crate) fn is_hidden_folder(name: &str) -> bool {
    name.starts_with(['.', '_']) && !name.contains('=')
}
