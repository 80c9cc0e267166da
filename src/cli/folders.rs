//! The user's folders, by the rules of XDG.

use std::path::PathBuf;

/// Returns our folder of settings.
pub(super) fn config() -> Option<PathBuf> {
    folder("XDG_CONFIG_HOME", ".config")
}

/// Returns our folder of what is kept between commands.
pub(super) fn state() -> Option<PathBuf> {
    folder("XDG_STATE_HOME", ".local/state")
}

/// Returns our folder in a base folder of the user. A path that is not absolute does not count.
fn folder(variable: &str, default: &str) -> Option<PathBuf> {
    let base = std::env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| Some(home()?.join(default)))?;
    Some(base.join("faisca"))
}

/// Returns the user's home.
pub(super) fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from)
}
