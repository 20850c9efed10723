//! Small files in memory for the lasting state: names and content reach the disk when they are synced, or by chance.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use minitorrent::base::rng::Rng;
use minitorrent::disk::resume::files::{Locking, StateFiles};
use minitorrent::engine::io::{DiskError, DiskErrorKind};

use crate::power::{Outcome, Power};

/// The state directory of one machine.
#[derive(Default)]
pub(crate) struct SimState {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    /// Changes of names since they were synced, in order.
    renamed: Vec<(PathBuf, Option<usize>)>,
    synced_names: BTreeMap<PathBuf, usize>,
    locks: BTreeSet<PathBuf>,
    boot: u8,
    /// The wall clock, in nanoseconds.
    pub(crate) wall: i64,
    pub(crate) power: Power,
}

#[derive(Default)]
struct Inode {
    now: Vec<u8>,
    /// How many bytes of the front are surely on the disk.
    synced: usize,
}

impl SimState {
    /// The process is gone, and nothing else.
    pub(crate) fn kill(&mut self) {
        self.locks.clear();
    }

    /// The power failed: of what was not synced, chance decides. The next life has another boot id.
    pub(crate) fn crash(&mut self, rng: &mut Rng) {
        self.kill();
        self.boot += 1;
        let kept = rng.below(self.renamed.len() + 1);
        for (path, inode) in self.renamed.drain(..).take(kept) {
            change(&mut self.synced_names, path, inode);
        }
        self.names = self.synced_names.clone();
        for inode in &mut self.inodes {
            let end = inode.synced + rng.below(inode.now.len() - inode.synced + 1);
            inode.now.truncate(end);
            // A file may have grown before its bytes came.
            if rng.below(3) == 0 {
                inode.now[inode.synced..].fill(0);
            }
            inode.synced = end;
        }
    }

    /// Every file that has a name.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.names.keys().map(PathBuf::as_path)
    }

    fn operate(&self) -> Result<(), DiskError> {
        match self.power.operate() {
            Outcome::Whole => Ok(()),
            Outcome::Cut | Outcome::Nothing => Err(out()),
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

fn out() -> DiskError {
    DiskError {
        kind: DiskErrorKind::Io,
        message: String::from("the power is out"),
    }
}

fn change(names: &mut BTreeMap<PathBuf, usize>, path: PathBuf, inode: Option<usize>) {
    match inode {
        Some(inode) => names.insert(path, inode),
        None => names.remove(&path),
    };
}

impl StateFiles for SimState {
    fn lock(&mut self, dir: &Path, _: u64) -> Result<Locking, DiskError> {
        assert!(self.locks.insert(dir.to_owned()), "locked twice");
        Ok(Locking::Ours)
    }

    fn unlock(&mut self, dir: &Path) {
        self.locks.remove(dir);
    }

    fn read(&mut self, path: &Path, max: usize) -> Result<Option<Vec<u8>>, DiskError> {
        let bytes = self.names.get(path).map(|inode| &self.inodes[*inode].now);
        Ok(bytes.map(|bytes| bytes[..bytes.len().min(max + 1)].to_vec()))
    }

    fn create(&mut self, path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
        let outcome = self.power.operate();
        let bytes = match outcome {
            Outcome::Whole => bytes,
            // Killed in the middle: a new file that is cut.
            Outcome::Cut => &bytes[..bytes.len() / 2],
            Outcome::Nothing => return Err(out()),
        };
        self.inodes.push(Inode {
            now: bytes.to_vec(),
            synced: 0,
        });
        self.name(path, Some(self.inodes.len() - 1));
        match outcome {
            Outcome::Whole => Ok(()),
            Outcome::Cut | Outcome::Nothing => Err(out()),
        }
    }

    fn append(&mut self, path: &Path, len: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let outcome = self.power.operate();
        let inode = self.inode(path)?;
        assert_eq!(inode.now.len() as u64, len);
        // The kernel takes some bytes whole or not at all; what a power cut leaves of them is another matter.
        if outcome != Outcome::Whole {
            return Err(out());
        }
        inode.now.extend(bytes);
        Ok(())
    }

    fn sync(&mut self, path: &Path) -> Result<(), DiskError> {
        self.operate()?;
        let inode = self.inode(path)?;
        inode.synced = inode.now.len();
        Ok(())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.operate()?;
        self.inode(from)?;
        let inode = self.names.get(from).copied();
        // Both names change at once or not at all; the old one does not matter to anyone.
        change(&mut self.names, from.to_owned(), None);
        self.name(to, inode);
        Ok(())
    }

    fn sync_names(&mut self, _: &Path) -> Result<(), DiskError> {
        self.operate()?;
        self.renamed.clear();
        self.synced_names = self.names.clone();
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> Result<(), DiskError> {
        self.operate()?;
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
