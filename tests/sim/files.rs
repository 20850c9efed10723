//! Files in memory, with the faults of real ones.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::Arc;

use minitorrent::base::rng::Rng;
use minitorrent::disk::files::{FileId, Files, Place, Stamp};
use minitorrent::engine::io::{DiskError, DiskErrorKind, TorrentId};
use minitorrent::wire::metainfo::Metainfo;

use crate::plan::DiskFaults;
use crate::power::{Outcome, Power};

/// The files of one session.
#[derive(Default)]
pub(crate) struct SimFiles {
    pub(crate) files: BTreeMap<u32, Vec<u8>>,
    /// When each was last written to.
    times: BTreeMap<u32, i64>,
    /// What a power cut leaves for sure: content and time.
    synced: BTreeMap<u32, (Vec<u8>, i64)>,
    /// The time that a write gives its file.
    pub(crate) clock: i64,
    pub(crate) power: Power,
    /// Bytes read so far.
    pub(crate) read: u64,
    /// What still is to go wrong.
    pub(crate) faults: DiskFaults,
    /// Bytes written so far.
    written: u64,
    rng: Option<Rng>,
}

impl SimFiles {
    /// Empty files that go wrong as planned.
    pub(crate) fn new(faults: DiskFaults, rng: Rng) -> Self {
        Self {
            faults,
            rng: Some(rng),
            ..Self::default()
        }
    }

    /// What is there now has been there for long.
    pub(crate) fn settle(&mut self) {
        for (file, content) in &self.files {
            self.times.insert(*file, 0);
            self.synced.insert(*file, (content.clone(), 0));
        }
    }

    /// The power failed: of what was not synced, chance decides sector by sector.
    pub(crate) fn crash(&mut self, rng: &mut Rng) {
        for (file, new) in std::mem::take(&mut self.files) {
            let (old, old_time) = self.synced.get(&file).cloned().unwrap_or_default();
            let len = match rng.below(2) {
                0 => old.len().max(new.len()),
                _ => old.len(),
            };
            let mut left = vec![0; len];
            left[..old.len()].copy_from_slice(&old);
            for (left, new) in left.chunks_mut(SECTOR).zip(new.chunks(SECTOR)) {
                if rng.below(2) == 0 {
                    let len = left.len().min(new.len());
                    left[..len].copy_from_slice(&new[..len]);
                }
            }
            if rng.below(2) == 0 {
                self.times.insert(file, old_time);
            }
            if len > 0 || rng.below(2) == 0 {
                self.files.insert(file, left);
            }
        }
        self.settle_times();
    }

    /// What a cut has left is on the disk.
    fn settle_times(&mut self) {
        self.synced.clear();
        for (file, content) in &self.files {
            let time = self.times.get(file).copied().unwrap_or_default();
            self.synced.insert(*file, (content.clone(), time));
        }
    }

    /// Whether a fault of this kind strikes now.
    fn strikes(rng: &mut Option<Rng>, fault: &mut (u32, u32)) -> bool {
        let (one_in, left) = fault;
        let Some(rng) = rng else { return false };
        let strikes = *left > 0 && rng.below(*one_in as usize) == 0;
        *left -= u32::from(strikes);
        strikes
    }
}

impl Files for SimFiles {
    fn add(&mut self, _: TorrentId, _: &Arc<Metainfo>, _: Place) -> Result<(), DiskError> {
        Ok(())
    }

    fn remove(&mut self, _: TorrentId) {
        // Closed; what was written stays.
    }

    fn survey(&mut self, _: TorrentId) -> Result<(), DiskError> {
        Ok(())
    }

    fn write_at(
        &mut self,
        file: FileId,
        parts: &[IoSlice<'_>],
        offset: u64,
    ) -> Result<usize, DiskError> {
        let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        match self.power.operate() {
            Outcome::Whole => {}
            // Killed in the middle: the first half is written.
            Outcome::Cut => bytes.truncate(bytes.len() / 2),
            Outcome::Nothing => return Err(error(DiskErrorKind::Io)),
        }
        if Self::strikes(&mut self.rng, &mut self.faults.write_errors) {
            return Err(error(DiskErrorKind::Io));
        }
        if let Some((room, _)) = self.faults.full {
            let left = room.saturating_sub(self.written) as usize;
            if left == 0 {
                return Err(error(DiskErrorKind::Full));
            }
            bytes.truncate(left);
        }
        bytes.truncate(self.faults.bite.unwrap_or(usize::MAX));
        self.written += bytes.len() as u64;
        let content = self.files.entry(file.file).or_default();
        let end = offset as usize + bytes.len();
        content.resize(content.len().max(end), 0);
        content[offset as usize..end].copy_from_slice(&bytes);
        self.times.insert(file.file, self.clock);
        Ok(bytes.len())
    }

    fn read_at(&mut self, file: FileId, out: &mut [u8], offset: u64) -> Result<usize, DiskError> {
        if Self::strikes(&mut self.rng, &mut self.faults.read_errors) {
            return Err(error(DiskErrorKind::Io));
        }
        let content = self
            .files
            .get(&file.file)
            .map_or(&[][..], |content| content);
        let rest = content.get(offset as usize..).unwrap_or(&[]);
        let got = rest.len().min(out.len());
        out[..got].copy_from_slice(&rest[..got]);
        self.read += got as u64;
        Ok(got)
    }

    fn len(&mut self, file: FileId) -> Result<u64, DiskError> {
        Ok(self.files.get(&file.file).map_or(0, Vec::len) as u64)
    }

    fn is_hole(&mut self, _: FileId, _: u64, _: u64) -> bool {
        false
    }

    fn finish(&mut self, _: TorrentId) -> Result<(), DiskError> {
        Ok(())
    }

    fn stamp(&self, file: FileId) -> Option<Stamp> {
        Some(Stamp {
            size: self.files.get(&file.file)?.len() as u64,
            modified: *self.times.get(&file.file)?,
        })
    }

    fn sync(&mut self, file: FileId) -> Result<Option<Stamp>, DiskError> {
        if self.power.operate() != Outcome::Whole {
            return Err(error(DiskErrorKind::Io));
        }
        let Some(stamp) = self.stamp(file) else {
            return Ok(None);
        };
        let content = self.files[&file.file].clone();
        self.synced.insert(file.file, (content, stamp.modified));
        Ok(Some(stamp))
    }

    fn device(&self, _: TorrentId) -> u64 {
        1
    }

    fn changed(&mut self, file: FileId) -> DiskError {
        DiskError {
            kind: DiskErrorKind::Changed,
            message: format!("file {}", file.file),
        }
    }
}

fn error(kind: DiskErrorKind) -> DiskError {
    DiskError {
        kind,
        message: format!("{kind:?}"),
    }
}

/// Bytes that a disk writes whole or not at all.
const SECTOR: usize = 512;
