//! The nodes of the DHT from one run to the next: one small file beside the state of the torrents.
//!
//! One process at a time has the file: two nodes of the same id would be in each other's way. A second one begins
//! with what is in it, under ids of its own, and saves nothing.

use std::path::{Path, PathBuf};

use super::resume::files::{Locking, StateFiles};
use super::resume::os::OsState;
use crate::engine::io::DiskError;

/// The file, in the hands of this process or of another.
pub struct NodesFile<S = OsState> {
    state: S,
    dir: PathBuf,
    is_ours: bool,
}

impl NodesFile {
    /// The file below this state directory, which is made if need be; and what is in it, empty if there is none.
    ///
    /// # Errors
    ///
    /// The directory or the file can't be used: then nothing will be saved.
    pub fn open(state_dir: &Path) -> Result<(Self, Vec<u8>), DiskError> {
        Self::within(OsState::default(), state_dir)
    }
}

impl<S: StateFiles> NodesFile<S> {
    fn within(mut state: S, state_dir: &Path) -> Result<(Self, Vec<u8>), DiskError> {
        let dir = state_dir.join(DIR);
        let is_ours = state.lock(&dir, 0)? == Locking::Ours;
        let bytes = state.read(&dir.join(FILE), BYTES_MAX)?.unwrap_or_default();
        let file = Self {
            state,
            dir,
            is_ours,
        };
        Ok((file, bytes))
    }

    /// Whether this process has it.
    pub fn is_ours(&self) -> bool {
        self.is_ours
    }

    /// Puts these bytes in place of what is there, whole or not at all. Not synced: what a power cut takes are
    /// acquaintances, and a torn file is noticed by its checksum.
    ///
    /// # Errors
    ///
    /// What the disk says; the old file is still there then.
    pub fn save(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        if !self.is_ours {
            return Ok(());
        }
        let (new, place) = (self.dir.join(NEW), self.dir.join(FILE));
        self.state.create(&new, bytes)?;
        self.state.rename(&new, &place)
    }
}

/// Below the state directory, where every other name is an info-hash.
const DIR: &str = "dht";
const FILE: &str = "nodes";
const NEW: &str = "nodes.new";
/// More than is ever saved.
const BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(name: &str) -> PathBuf {
        let name = format!("minitorrent-nodes-{name}-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&dir);
        dir
    }

    #[test]
    fn what_was_saved_is_there_in_the_next_run() {
        let dir = dir("again");
        let (mut file, bytes) = NodesFile::open(&dir).expect("a directory can be made");
        assert!(file.is_ours() && bytes.is_empty());
        file.save(b"one").expect("it can be written");
        file.save(b"two").expect("and again");
        drop(file);
        let (_, bytes) = NodesFile::open(&dir).expect("it is there");
        assert_eq!(bytes, b"two");
        let _ = std::fs::remove_dir_all(&dir);
    }

    #[test]
    fn a_second_process_reads_and_saves_nothing() {
        let dir = dir("second");
        let (mut first, _) = NodesFile::open(&dir).expect("a directory can be made");
        first.save(b"first").expect("it can be written");
        let (mut second, bytes) = NodesFile::open(&dir).expect("it can be read");
        assert_eq!((second.is_ours(), &bytes[..]), (false, &b"first"[..]));
        second.save(b"second").expect("nothing happens");
        drop((first, second));
        let (third, bytes) = NodesFile::open(&dir).expect("it is there");
        assert_eq!((third.is_ours(), &bytes[..]), (true, &b"first"[..]));
        let _ = std::fs::remove_dir_all(&dir);
    }
}
