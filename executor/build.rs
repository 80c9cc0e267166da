//! Computes the identity of the build: a hash of the sources that decide what crosses processes.
//!
//! Version numbers are too coarse: two builds of one version encode messages differently, and an
//! image tag can be pushed again. The driver and the command of one build share the identity, even
//! if they are different programs.

use std::path::{Path, PathBuf};
use std::{fs, io};

const SOURCES: [&str; 4] = [
    "src",
    "../planner/src",
    "../planner/spark/src",
    "../Cargo.lock",
];

fn main() -> io::Result<()> {
    let mut files = vec![];
    for source in SOURCES {
        println!("cargo:rerun-if-changed={source}");
        collect(Path::new(source), &mut files)?;
    }
    files.sort();
    let mut hash = Fnv::default();
    for file in files {
        hash.add(file.to_string_lossy().as_bytes());
        hash.add(&fs::read(&file)?);
    }
    println!("cargo:rustc-env=FAISCA_BUILD={:016x}", hash.0);
    Ok(())
}

/// Adds all files below a path. A path that a published crate does not have adds none.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.is_file() {
        files.push(path.to_path_buf());
    } else if path.is_dir() {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), files)?;
        }
    }
    Ok(())
}

/// FNV-1a: the standard library promises no hash that is the same for every compiler.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
