//! What a local write leaves.

use super::*;

fn begin(target: &Path, mode: SaveMode) -> Result<Option<LocalWrite>> {
    let write = Write {
        mode,
        ..Write::to(target.to_str().unwrap())
    };
    LocalWrite::begin(&write, None).map(Begun::into_write)
}

fn write(base: &Path, mode: SaveMode, name: &str) -> Result<()> {
    let target = base.join("out");
    let Some(mut write) = begin(&target, mode)? else {
        return Ok(());
    };
    let attempts = Url::parse(&write.staging_url())
        .unwrap()
        .to_file_path()
        .unwrap();
    if let Some(folder) = Path::new(name).parent() {
        fs::create_dir_all(attempts.join(folder)).unwrap();
    }
    fs::write(attempts.join(name), name).unwrap();
    fs::write(attempts.join("loser"), "of another attempt").unwrap();
    let file = PendingFile {
        path: name.to_owned(),
        rows: 1,
        bytes: 1,
        upload: None,
    };
    write.commit(&[file], None)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn each_mode_leaves_what_it_says_and_no_litter() {
    let base = tempfile::tempdir().unwrap();
    write(base.path(), SaveMode::ErrorIfExists, "a").unwrap();
    assert_eq!(names(&base.path().join("out")), ["a"]);
    write(base.path(), SaveMode::Append, "b").unwrap();
    assert_eq!(names(&base.path().join("out")), ["a", "b"]);
    write(base.path(), SaveMode::Overwrite, "c").unwrap();
    assert_eq!(names(&base.path().join("out")), ["c"]);
    write(base.path(), SaveMode::Ignore, "d").unwrap();
    assert_eq!(names(&base.path().join("out")), ["c"]);
    let error = write(base.path(), SaveMode::ErrorIfExists, "e").unwrap_err();
    assert!(error.to_string().contains("already exists"), "{error}");
    assert_eq!(names(base.path()), ["out"]);
}

#[test]
fn a_dropped_write_leaves_the_old_output_and_no_new_folders() {
    let base = tempfile::tempdir().unwrap();
    write(base.path(), SaveMode::Overwrite, "a").unwrap();
    for target in ["out", "new/deep/out"] {
        let target = base.path().join(target);
        let write = begin(&target, SaveMode::Overwrite).unwrap();
        drop(write);
    }
    assert_eq!(names(base.path()), ["out"]);
    assert_eq!(names(&base.path().join("out")), ["a"]);
}

#[test]
fn two_writers_of_one_folder_do_not_meet_and_the_dead_ones_litter_goes() {
    let base = tempfile::tempdir().unwrap();
    let target = base.path().join("out");
    let stale = base.path().join(".out.faisca-dead");
    fs::create_dir(&stale).unwrap();
    let first = begin(&target, SaveMode::Append).unwrap();
    assert!(!stale.exists());
    let error = begin(&target, SaveMode::Append).unwrap_err();
    assert!(error.to_string().contains("another job"), "{error}");
    assert_eq!(error.exit_code(), 3, "another try may succeed");
    drop(first);
    write(base.path(), SaveMode::Append, "a").unwrap();
}

#[test]
fn the_working_folder_is_refused() {
    assert!(begin(Path::new(".."), SaveMode::Overwrite).is_err());
    assert!(begin(Path::new("/"), SaveMode::Overwrite).is_err());
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_write_keeps_permissions_groups_and_attributes_of_folders() {
    use rustix::fs::{XattrFlags, getxattr, setxattr};
    let base = tempfile::tempdir().unwrap();
    let (out, partition) = (base.path().join("out"), base.path().join("out/a=1"));
    fs::create_dir_all(&partition).unwrap();
    set_mode(&partition, 0o750);
    // Groups can be changed by an administrator only, or to one of the user's own.
    let is_group_changed = std::os::unix::fs::chown(&out, None, Some(54_321)).is_ok();
    set_mode(&out, 0o2770);
    let has_attributes =
        setxattr(out.as_path(), "user.owner", b"team", XattrFlags::empty()).is_ok();
    for save_mode in [SaveMode::Overwrite, SaveMode::Append, SaveMode::Overwrite] {
        fs::create_dir_all(&partition).unwrap();
        write(base.path(), save_mode, "a=1/x").unwrap();
        assert_eq!(mode(&out), 0o2770, "{save_mode:?}");
        assert_eq!(mode(&partition) & 0o777, 0o750, "{save_mode:?}");
        if is_group_changed {
            assert_eq!(fs::metadata(&out).unwrap().gid(), 54_321);
            // As a file that is created in the folder.
            assert_eq!(fs::metadata(out.join("a=1/x")).unwrap().gid(), 54_321);
        }
        if has_attributes {
            let mut value = vec![0; 16];
            let bytes = getxattr(out.as_path(), "user.owner", &mut value).unwrap();
            assert_eq!(&value[..bytes], b"team");
        }
    }
    set_mode(&out, 0o700);
    write(base.path(), SaveMode::Overwrite, "b").unwrap();
    assert_eq!(mode(&out), 0o700);
}

#[test]
fn an_append_keeps_links_as_links_and_does_not_follow_them() {
    let base = tempfile::tempdir().unwrap();
    let out = base.path().join("out");
    fs::create_dir(&out).unwrap();
    std::os::unix::fs::symlink("..", out.join("up")).unwrap();
    std::os::unix::fs::symlink("nowhere", out.join("dangling")).unwrap();
    for name in ["a", "b"] {
        write(base.path(), SaveMode::Append, name).unwrap();
    }
    assert_eq!(names(&out), ["a", "b", "dangling", "up"]);
    assert_eq!(fs::read_link(out.join("up")).unwrap(), Path::new(".."));
    let error = write(base.path(), SaveMode::Append, "up/x").unwrap_err();
    assert!(
        error.to_string().contains("out/up is a symbolic link"),
        "{error}"
    );
}

#[test]
fn a_mount_point_is_refused_before_any_work() {
    for path in ["/proc", "/sys", "/dev/shm"].map(Path::new) {
        if !is_mount_point(path, path.parent().unwrap()) {
            continue;
        }
        let error = begin(path, SaveMode::Overwrite).unwrap_err();
        let expected = format!("{} is a mount point", path.display());
        assert!(error.to_string().contains(&expected), "{error}");
    }
}
