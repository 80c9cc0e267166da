//! The local commit as a model: a writer dies, or another one comes, before each single change.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use faisca_executor::protocol::PendingFile;
use faisca_planner::manifest::{PartitionOverwrite, SaveMode};
use parking_lot::Mutex;
use rustix::io::Errno;
use url::Url;

use super::disk::{Change, Disk, LocalDisk};
use super::remembered::FILE;
use super::resume::find_on;
use super::{Begun, LocalWrite};
use crate::error::{Error, Result};
use crate::output::commit::write_kinds::{APPEND, RESTARTED_KINDS, WRITE_KINDS, WriteKind};
use crate::write_identity::{RunId, WriteId};

/// What happens before a change.
enum Fate {
    Live,
    /// The process dies, and with it all later changes. The removal of a tree is done in part.
    Die,
}

/// A disk that decides before each change.
struct MortalDisk<F> {
    /// Receives the number of the change, and the change.
    decide: Mutex<F>,
    changes: AtomicUsize,
    has_exchange: bool,
}

impl<F> fmt::Debug for MortalDisk<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MortalDisk").finish_non_exhaustive()
    }
}

fn mortal<F>(has_exchange: bool, decide: F) -> Arc<dyn Disk>
where
    F: FnMut(usize, &Change<'_>) -> Fate + Send + 'static,
{
    Arc::new(MortalDisk {
        decide: Mutex::new(decide),
        changes: AtomicUsize::new(0),
        has_exchange,
    })
}

/// Returns a disk that refuses all changes from the one with this number on, and the number of
/// changes that it has refused.
fn dying_disk(has_exchange: bool, death: usize) -> (Arc<dyn Disk>, Arc<AtomicUsize>) {
    let refusals = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refusals);
    let disk = mortal(has_exchange, move |number, _| {
        if number < death {
            return Fate::Live;
        }
        count.fetch_add(1, Ordering::SeqCst);
        Fate::Die
    });
    (disk, refusals)
}

impl<F: FnMut(usize, &Change<'_>) -> Fate + Send> Disk for MortalDisk<F> {
    fn apply(&self, change: Change<'_>) -> io::Result<()> {
        let number = self.changes.fetch_add(1, Ordering::SeqCst);
        let fate = (*self.decide.lock())(number, &change);
        if let Fate::Die = fate {
            if let Change::RemoveTree(path) = change
                && let Some(first) = fs::read_dir(path)?.next()
            {
                let first = first?.path();
                let _ = fs::remove_dir_all(&first).or_else(|_| fs::remove_file(&first));
            }
            return Err(io::Error::other("the process is dead"));
        }
        match change {
            Change::Exchange(..) if !self.has_exchange => Err(Errno::NOSYS.into()),
            change => LocalDisk.apply(change),
        }
    }
}

/// Writes two files, one of them to the partition `a=1`.
fn write(target: &Path, kind: WriteKind, name: &str, disk: Arc<dyn Disk>) -> Result<()> {
    write_as(target, kind, name, None, disk)
}

fn write_as(
    target: &Path,
    kind: WriteKind,
    name: &str,
    identity: Option<WriteId>,
    disk: Arc<dyn Disk>,
) -> Result<()> {
    let write = kind.write_to(target.to_str().unwrap());
    let Begun::Write(mut begun) = LocalWrite::begin_on(&write, identity, disk)? else {
        panic!("there is nothing to write");
    };
    let attempts = Url::parse(&begun.staging_url())
        .unwrap()
        .to_file_path()
        .unwrap();
    let paths = ["a=1", "a=3"].map(|folder| format!("{folder}/{name}"));
    let files = paths.map(|path| {
        // A process that died before it created the folder runs no tasks.
        let _ = fs::create_dir(attempts.join(&path[..3]));
        let _ = fs::write(attempts.join(&path), name);
        PendingFile {
            path,
            rows: 1,
            bytes: 1,
            upload: None,
        }
    });
    begun.commit(&files, None)
}

/// Returns the files below a folder with their contents; `None` if it does not exist.
fn contents(folder: &Path) -> Option<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).ok()? {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        match contents(&path) {
            Some(files_in) => files.extend(
                files_in
                    .into_iter()
                    .map(|(n, c)| (format!("{name}/{n}"), c)),
            ),
            None if name == FILE => {}
            None => drop(files.insert(name, fs::read_to_string(&path).unwrap())),
        }
    }
    Some(files)
}

/// A folder with a file in each of two partitions.
fn old_output(base: &Path) {
    for partition in ["a=1", "a=2"] {
        fs::create_dir_all(base.join("out").join(partition)).unwrap();
        fs::write(base.join("out").join(partition).join("old"), "old").unwrap();
    }
}

fn file_names(files: &[&str]) -> BTreeMap<String, String> {
    let named = |path: &&str| {
        let name = path.rsplit('/').next().unwrap();
        ((*path).to_owned(), name.to_owned())
    };
    files.iter().map(named).collect()
}

fn expected(kind: WriteKind) -> BTreeMap<String, String> {
    expected_named(kind, "new")
}

/// Returns the output after a write of files with this name.
fn expected_named(kind: WriteKind, name: &str) -> BTreeMap<String, String> {
    let old: &[&str] = match (kind.mode, kind.partitions) {
        (SaveMode::Append, _) => &["a=1/old", "a=2/old"],
        (SaveMode::Overwrite, PartitionOverwrite::Dynamic) => &["a=2/old"],
        _ => &[],
    };
    let new = ["a=1", "a=3"].map(|folder| (format!("{folder}/{name}"), name.to_owned()));
    file_names(old).into_iter().chain(new).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_writer_that_dies_before_any_change_leaves_the_old_or_the_new_output_whole() {
    let old = file_names(&["a=1/old", "a=2/old"]);
    for kind in WRITE_KINDS {
        for has_exchange in [true, false] {
            let mut is_complete = false;
            for death in 0.. {
                let base = tempfile::tempdir().unwrap();
                let target = base.path().join("out");
                old_output(base.path());
                let (disk, refusals) = dying_disk(has_exchange, death);
                let written = write(&target, kind, "new", disk);
                let case = format!("{kind:?}, exchange {has_exchange}, change {death}");
                let left = contents(&target);
                let is_whole = left == Some(expected(kind)) || left == Some(old.clone());
                // The gap of a file system without the exchange.
                assert!(
                    is_whole || (!has_exchange && left.is_none()),
                    "{case}: {left:?}"
                );
                assert!(written.is_err() || left == Some(expected(kind)), "{case}");

                // The next job finds one of the two, and removes the litter.
                write(&target, APPEND, "next", Arc::new(LocalDisk)).unwrap();
                let mut whole = left.unwrap_or_else(|| old.clone());
                whole.extend(file_names(&["a=1/next", "a=3/next"]));
                assert_eq!(contents(&target), Some(whole), "{case}");
                assert_eq!(names(base.path()), ["out"], "{case}");
                if refusals.load(Ordering::SeqCst) == 0 {
                    is_complete = true;
                    break;
                }
            }
            assert!(is_complete);
        }
    }
}

/// Writes as a driver does that is started again: unless an earlier attempt has committed.
fn write_again(target: &Path, kind: WriteKind, name: &str, id: &WriteId) {
    let (write, disk) = (
        kind.write_to(target.to_str().unwrap()),
        Arc::new(LocalDisk) as Arc<dyn Disk>,
    );
    if find_on(&write, id, &disk).unwrap().is_none() {
        write_as(target, kind, name, Some(id.clone()), disk).unwrap();
    }
}

#[test]
fn a_writer_that_dies_before_any_change_and_is_started_again_writes_once() {
    let id = RunId::new("run").write("job", "step", "SELECT 1");
    for kind in RESTARTED_KINDS {
        for has_exchange in [true, false] {
            for death in 0.. {
                let base = tempfile::tempdir().unwrap();
                let target = base.path().join("out");
                if kind.mode != SaveMode::ErrorIfExists {
                    old_output(base.path());
                }
                let (disk, refusals) = dying_disk(has_exchange, death);
                let _ = write_as(&target, kind, "new", Some(id.clone()), disk);
                let case = format!("{kind:?}, exchange {has_exchange}, change {death}");
                let committed = contents(&target).filter(|left| left.contains_key("a=3/new"));
                write_again(&target, kind, "again", &id);
                let whole = contents(&target).unwrap();
                match committed {
                    Some(left) => assert_eq!(whole, left, "{case}"),
                    None => assert_eq!(whole, expected_named(kind, "again"), "{case}"),
                }
                assert_eq!(names(base.path()), ["out"], "{case}");
                // A third attempt finds the second, also after the writes of others.
                write(&target, APPEND, "next", Arc::new(LocalDisk)).unwrap();
                let after = contents(&target);
                write_again(&target, kind, "third", &id);
                assert_eq!(contents(&target), after, "{case}");
                if refusals.load(Ordering::SeqCst) == 0 {
                    break;
                }
            }
        }
    }
}

#[test]
fn an_emptied_folder_is_written_again() {
    let id = RunId::new("run").write("job", "step", "SELECT 1");
    let base = tempfile::tempdir().unwrap();
    let target = base.path().join("out");
    write_again(&target, APPEND, "new", &id);
    for partition in ["a=1", "a=3"] {
        fs::remove_dir_all(target.join(partition)).unwrap();
    }
    assert_eq!(names(&target), [FILE]);
    write_again(&target, APPEND, "again", &id);
    assert_eq!(
        contents(&target),
        Some(file_names(&["a=1/again", "a=3/again"]))
    );
}

#[test]
fn of_two_writers_one_waits_its_turn_before_any_change_of_the_other() {
    for kind in WRITE_KINDS {
        for meeting in 0.. {
            let base = tempfile::tempdir().unwrap();
            let target = base.path().join("new/out");
            let other = Arc::new(Mutex::new(None));
            let (outcome, path) = (Arc::clone(&other), target.clone());
            let disk = mortal(true, move |number, _| {
                if number == meeting {
                    *outcome.lock() = Some(write(&path, kind, "other", Arc::new(LocalDisk)));
                }
                Fate::Live
            });
            write(&target, kind, "new", disk).unwrap();
            let met = other.lock().take();
            let both = file_names(&["a=1/new", "a=1/other", "a=3/new", "a=3/other"]);
            let own = file_names(&["a=1/new", "a=3/new"]);
            let case = format!("{kind:?}, change {meeting}");
            match (&met, kind.mode) {
                (Some(Ok(())), SaveMode::Append) => {
                    assert_eq!(contents(&target), Some(both), "{case}");
                }
                (Some(Err(Error::Conflict(_))), _) | (None | Some(Ok(())), _) => {
                    assert_eq!(contents(&target), Some(own), "{case}");
                }
                (Some(Err(error)), _) => panic!("{case}: {error}"),
            }
            assert_eq!(names(target.parent().unwrap()), ["out"], "{case}");
            if met.is_none() {
                break;
            }
        }
    }
}

#[test]
fn the_new_version_is_on_the_disk_before_the_old_one_is_removed() {
    for kind in WRITE_KINDS {
        let base = tempfile::tempdir().unwrap();
        old_output(base.path());
        let log = Arc::new(Mutex::new(vec![]));
        let (lines, root) = (Arc::clone(&log), base.path().display().to_string());
        let disk = mortal(true, move |_, change| {
            let line = format!("{change:?}").replace(&root, "");
            lines.lock().push(line);
            Fate::Live
        });
        write(&base.path().join("out"), kind, "new", disk).unwrap();
        let log = log.lock();
        let find = |text: &str| {
            let position = log.iter().rposition(|line| line.contains(text));
            position.unwrap_or_else(|| panic!("{text}: {log:#?}"))
        };
        let exchange = find("Exchange");
        let last_change = find("/next/a=3/new");
        for folder in ["/next/\")", "/next/a=1\")", "/next/a=3\")"] {
            let is_sync = |line: &&String| line.starts_with("Sync") && line.ends_with(folder);
            let synced = log[last_change..exchange].iter().find(is_sync);
            assert!(synced.is_some(), "{folder}: {log:#?}");
        }
        let removal = find("RemoveTree");
        let parent = log[exchange..removal]
            .iter()
            .find(|line| *line == "Sync(\"\")");
        assert!(parent.is_some(), "{log:#?}");
    }
}

#[test]
fn files_that_others_add_while_an_append_commits_stay() {
    let base = tempfile::tempdir().unwrap();
    old_output(base.path());
    let (target, late) = (base.path().join("out"), base.path().join("out/b=1"));
    let disk = mortal(true, move |_, change| {
        if matches!(change, Change::Exchange(..)) {
            fs::create_dir(&late).unwrap();
            fs::write(late.join("late"), "late").unwrap();
        }
        Fate::Live
    });
    write(&target, APPEND, "new", disk).unwrap();
    let mut files = expected(APPEND);
    files.extend(file_names(&["b=1/late"]));
    assert_eq!(contents(&target), Some(files));
}
