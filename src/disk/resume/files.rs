//! What lasting state asks of the system: the seam between its rules and the operating system.

use std::path::{Path, PathBuf};

use crate::engine::io::DiskError;

/// A few small files, a lock, and what tells one life of the machine from the next.
pub trait StateFiles {
    /// Makes `dir` if need be and locks it for this process, until [`StateFiles::unlock`] or its end. `place` is
    /// left beside the process id, for others to read.
    fn lock(&mut self, dir: &Path, place: u64) -> Result<Locking, DiskError>;

    /// Gives a lock back.
    fn unlock(&mut self, dir: &Path);

    /// A whole file, or its first `max` bytes and one more if it is longer; `None` if there is none.
    fn read(&mut self, path: &Path, max: usize) -> Result<Option<Vec<u8>>, DiskError>;

    /// Makes a file that holds just `bytes`, in place of any that is there; not synced.
    fn create(&mut self, path: &Path, bytes: &[u8]) -> Result<(), DiskError>;

    /// Writes `bytes` at the end of a file that is `len` bytes long; not synced. If that fails, the file is left
    /// as it was.
    fn append(&mut self, path: &Path, len: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Syncs a file's content.
    fn sync(&mut self, path: &Path) -> Result<(), DiskError>;

    /// Gives a file another name in its directory, in place of any that has it.
    fn rename(&mut self, from: &Path, to: &Path) -> Result<(), DiskError>;

    /// Syncs the names in a directory.
    fn sync_names(&mut self, dir: &Path) -> Result<(), DiskError>;

    /// Removes a file, if it is there.
    fn remove(&mut self, path: &Path) -> Result<(), DiskError>;

    /// The one path of a directory, however it was named.
    fn resolve(&mut self, dir: &Path) -> PathBuf;

    /// The kernel's boot id; `None` if it can't be read, and then nothing that was not synced is believed.
    fn boot(&mut self) -> Option<[u8; 16]>;

    /// The wall clock in nanoseconds since 1970: file times are counted on it.
    fn wall(&mut self) -> i64;
}

/// How an attempt to lock ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Locking {
    /// It is ours.
    Ours,
    /// Another has it, and said so much of itself.
    Held {
        /// Its process id.
        pid: Option<u32>,
        /// The output directory it works in.
        place: Option<u64>,
    },
}
