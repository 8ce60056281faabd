//! A folder for one process under test, removed with it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where there is less, data goes to the disk: a set of three with little data takes about 300 MB.
const MEMORY_FREE_MIN_KIB: u64 = 4 * 1024 * 1024;

/// A folder of its own, removed on drop. Its name holds this process's id, so that a later run can tell the folders
/// of a run that was killed.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// A new empty folder whose name says what it is for.
    pub fn new(purpose: &str) -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let base = base_folder();
        let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        if number == 0 {
            remove_abandoned(&base);
        }
        let path = base.join(format!("torana-{process}-{number}-{purpose}"));
        std::fs::create_dir_all(&path)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        Scratch { path }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// `TORANA_TEST_DIR` if a runner made one; else memory, because a mongod syncs its journal on every majority write.
fn base_folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("TORANA_TEST_DIR") {
        return PathBuf::from(folder);
    }
    match free_kib("/dev/shm") {
        Some(free) if free > MEMORY_FREE_MIN_KIB => PathBuf::from("/dev/shm"),
        _ => std::env::temp_dir(),
    }
}

fn free_kib(folder: &str) -> Option<u64> {
    let df = Command::new("df").args(["--output=avail", folder]).output().ok()?;
    String::from_utf8(df.stdout).ok()?.lines().nth(1)?.trim().parse().ok()
}

/// Removes folders of test processes that are gone: one that was killed could not, and memory is not given back by itself.
fn remove_abandoned(base: &Path) {
    let Ok(entries) = std::fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix("torana-")?.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
