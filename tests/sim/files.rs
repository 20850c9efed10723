//! Files in memory, with the faults of real ones.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::Arc;

use minitorrent::base::rng::Rng;
use minitorrent::disk::files::{FileId, Files, Place};
use minitorrent::engine::io::{DiskError, DiskErrorKind, TorrentId};
use minitorrent::wire::metainfo::Metainfo;

use crate::plan::DiskFaults;

/// The files of one session.
pub(crate) struct SimFiles {
    pub(crate) files: BTreeMap<u32, Vec<u8>>,
    /// What still is to go wrong.
    pub(crate) faults: DiskFaults,
    /// Bytes written so far.
    written: u64,
    rng: Rng,
}

impl SimFiles {
    /// Empty files that go wrong as planned.
    pub(crate) fn new(faults: DiskFaults, rng: Rng) -> Self {
        Self {
            files: BTreeMap::new(),
            faults,
            written: 0,
            rng,
        }
    }

    /// Whether a fault of this kind strikes now.
    fn strikes(rng: &mut Rng, fault: &mut (u32, u32)) -> bool {
        let (one_in, left) = fault;
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
        self.files.clear();
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
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
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
