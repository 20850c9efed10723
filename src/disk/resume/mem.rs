//! State files in memory for tests: they can be full, and the power can fail at any of their operations.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::base::rng::Rng;
use crate::disk::resume::files::{Locking, StateFiles};
use crate::engine::io::{DiskError, DiskErrorKind};

/// A file system whose files and names reach the disk when they are synced, or by chance.
#[derive(Default)]
pub(super) struct MemState {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    /// The changes of names since they were synced, in order.
    renamed: Vec<(PathBuf, Option<usize>)>,
    synced_names: BTreeMap<PathBuf, usize>,
    pub(super) locks: BTreeMap<PathBuf, (u32, u64)>,
    pub(super) boot: u8,
    pub(super) wall: i64,
    /// Whether there is no room for anything.
    pub(super) full: bool,
    /// Operations until the power fails.
    pub(super) cut_after: Option<usize>,
    pub(super) operations: usize,
    pub(super) bytes: u64,
}

#[derive(Default)]
struct Inode {
    now: Vec<u8>,
    synced: Vec<u8>,
}

impl MemState {
    pub(super) fn is_cut(&self) -> bool {
        self.cut_after == Some(0)
    }

    /// The process is gone, and nothing else.
    pub(super) fn kill(&mut self) {
        self.locks.clear();
        self.cut_after = None;
    }

    /// The power fails: of what was not synced, chance decides. The next life has another boot id.
    pub(super) fn crash(&mut self, rng: &mut Rng) {
        self.kill();
        self.boot += 1;
        let kept = rng.below(self.renamed.len() + 1);
        for (path, inode) in std::mem::take(&mut self.renamed).into_iter().take(kept) {
            change(&mut self.synced_names, path, inode);
        }
        self.names = self.synced_names.clone();
        for inode in &mut self.inodes {
            let same = inode.now.iter().zip(&inode.synced);
            let front = same.take_while(|(a, b)| a == b).count();
            assert!(front == inode.synced.len(), "only appended to");
            let end = front + rng.below(inode.now.len() - front + 1);
            inode.now.truncate(end);
            if rng.below(3) == 0 {
                inode.now[front..].fill(0);
            }
            inode.synced = inode.now.clone();
        }
    }

    pub(super) fn get(&self, path: &Path) -> Option<&[u8]> {
        self.names
            .get(path)
            .map(|inode| &self.inodes[*inode].now[..])
    }

    pub(super) fn put(&mut self, path: &Path, bytes: &[u8]) {
        self.inodes.push(Inode {
            now: bytes.to_vec(),
            synced: bytes.to_vec(),
        });
        self.names.insert(path.to_owned(), self.inodes.len() - 1);
    }

    pub(super) fn paths(&self) -> Vec<String> {
        let paths = self.names.keys();
        paths.map(|path| path.display().to_string()).collect()
    }

    fn operate(&mut self, takes_room: bool) -> Result<(), DiskError> {
        self.operations += 1;
        let refused = |kind, message: &str| DiskError {
            kind,
            message: String::from(message),
        };
        match &mut self.cut_after {
            Some(0) => return Err(refused(DiskErrorKind::Io, "the power is out")),
            Some(left) => *left -= 1,
            None => {}
        }
        match self.full && takes_room {
            true => Err(refused(DiskErrorKind::Full, "no room")),
            false => Ok(()),
        }
    }

    fn inode(&mut self, path: &Path) -> Result<&mut Inode, DiskError> {
        match self.names.get(path) {
            Some(inode) => Ok(&mut self.inodes[*inode]),
            None => Err(DiskError {
                kind: DiskErrorKind::Gone,
                message: format!("no {}", path.display()),
            }),
        }
    }

    fn name(&mut self, path: &Path, inode: Option<usize>) {
        change(&mut self.names, path.to_owned(), inode);
        self.renamed.push((path.to_owned(), inode));
    }
}

fn change(names: &mut BTreeMap<PathBuf, usize>, path: PathBuf, inode: Option<usize>) {
    match inode {
        Some(inode) => names.insert(path, inode),
        None => names.remove(&path),
    };
}

impl StateFiles for MemState {
    fn lock(&mut self, dir: &Path, place: u64) -> Result<Locking, DiskError> {
        if let Some(&(pid, place)) = self.locks.get(dir) {
            return Ok(Locking::Held {
                pid: Some(pid),
                place: Some(place),
            });
        }
        self.operate(true)?;
        self.locks.insert(dir.to_owned(), (1, place));
        Ok(Locking::Ours)
    }

    fn unlock(&mut self, dir: &Path) {
        self.locks.remove(dir);
    }

    fn read(&mut self, path: &Path, max: usize) -> Result<Option<Vec<u8>>, DiskError> {
        let bytes = self.get(path);
        Ok(bytes.map(|bytes| bytes[..bytes.len().min(max + 1)].to_vec()))
    }

    fn create(&mut self, path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
        self.operate(true)?;
        self.bytes += bytes.len() as u64;
        self.inodes.push(Inode {
            now: bytes.to_vec(),
            synced: Vec::new(),
        });
        self.name(path, Some(self.inodes.len() - 1));
        Ok(())
    }

    fn append(&mut self, path: &Path, len: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.operate(true)?;
        self.bytes += bytes.len() as u64;
        let inode = self.inode(path)?;
        assert_eq!(inode.now.len() as u64, len);
        inode.now.extend(bytes);
        Ok(())
    }

    fn sync(&mut self, path: &Path) -> Result<(), DiskError> {
        self.operate(false)?;
        let inode = self.inode(path)?;
        inode.synced = inode.now.clone();
        Ok(())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.operate(false)?;
        self.inode(from)?;
        let inode = self.names.get(from).copied();
        change(&mut self.names, from.to_owned(), None);
        // Both names change at once or not at all; the old one does not matter to anyone.
        self.name(to, inode);
        Ok(())
    }

    fn sync_names(&mut self, _: &Path) -> Result<(), DiskError> {
        self.operate(false)?;
        self.renamed.clear();
        self.synced_names = self.names.clone();
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> Result<(), DiskError> {
        self.operate(false)?;
        if self.names.contains_key(path) {
            self.name(path, None);
        }
        Ok(())
    }

    fn resolve(&mut self, dir: &Path) -> PathBuf {
        dir.to_owned()
    }

    fn boot(&mut self) -> Option<[u8; 16]> {
        Some([self.boot + 1; 16])
    }

    fn wall(&mut self) -> i64 {
        self.wall
    }
}
