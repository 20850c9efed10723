//! Files in memory for tests: they count what is asked of them and fail on demand.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use crate::base::rng::Rng;
use crate::disk::files::{FileId, Files, Place, Stamp};
use crate::disk::sha1::sha1;
use crate::engine::io::{DiskError, DiskErrorKind, TorrentId};
use crate::wire::metainfo::{FileKind, Metainfo};

/// Files of any number of torrents, as far as they were written.
#[derive(Default)]
pub(super) struct MemFiles {
    pub(super) files: BTreeMap<FileId, Vec<u8>>,
    /// The writes so far: file, offset, bytes, and in how many parts.
    pub(super) writes: Vec<(u32, u64, usize, usize)>,
    /// The reads so far: file, offset, bytes.
    pub(super) reads: Vec<(u32, u64, usize)>,
    pub(super) surveys: usize,
    pub(super) lens: usize,
    /// Bytes that may still be written before the disk is full.
    pub(super) room: Option<usize>,
    /// The most bytes that one write takes.
    pub(super) bite: Option<usize>,
    /// Whether zeros are holes.
    pub(super) holes: bool,
    /// Bytes that the system reads along behind each read, and where it did: there are no holes from then on.
    pub(super) reads_along: u64,
    along: Vec<(FileId, Range<u64>)>,
    /// The time that a write gives its file.
    pub(super) clock: i64,
    pub(super) times: BTreeMap<FileId, i64>,
    /// What a power cut leaves for sure: content and time.
    pub(super) synced: BTreeMap<FileId, (Vec<u8>, i64)>,
    pub(super) syncs: Vec<u32>,
    pub(super) sync_fails: bool,
    looks: BTreeMap<FileId, Option<Stamp>>,
    /// Whether nothing can be written, as the disk is away.
    pub(super) gone: bool,
}

impl MemFiles {
    /// Cuts the power: of what was not synced, chance decides block by block.
    pub(super) fn crash(&mut self, rng: &mut Rng) {
        let now = std::mem::take(&mut self.files);
        for (file, new) in now {
            let (old, old_time) = self.synced.get(&file).cloned().unwrap_or_default();
            let len = if rng.below(2) == 0 {
                old.len().max(new.len())
            } else {
                old.len()
            };
            let mut left = vec![0; len];
            left[..old.len()].copy_from_slice(&old);
            for (left, new) in left.chunks_mut(100).zip(new.chunks(100)) {
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
    }
}

impl Files for MemFiles {
    fn add(&mut self, _: TorrentId, _: &Arc<Metainfo>, _: Place) -> Result<(), DiskError> {
        Ok(())
    }

    fn remove(&mut self, _: TorrentId) {}

    fn survey(&mut self, _: TorrentId) -> Result<(), DiskError> {
        self.surveys += 1;
        Ok(())
    }

    fn write_at(
        &mut self,
        file: FileId,
        parts: &[IoSlice<'_>],
        offset: u64,
    ) -> Result<usize, DiskError> {
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        if self.gone {
            return Err(DiskError {
                kind: DiskErrorKind::Gone,
                message: String::from("gone"),
            });
        }
        if let Some(room) = &mut self.room {
            if *room == 0 {
                return Err(DiskError {
                    kind: DiskErrorKind::Full,
                    message: String::from("full"),
                });
            }
            bytes.truncate(*room);
            *room -= bytes.len();
        }
        bytes.truncate(self.bite.unwrap_or(usize::MAX));
        self.writes
            .push((file.file, offset, bytes.len(), parts.len()));
        let before = self.stamp(file);
        let content = self.files.entry(file).or_default();
        let end = offset as usize + bytes.len();
        content.resize(content.len().max(end), 0);
        content[offset as usize..end].copy_from_slice(&bytes);
        self.times.insert(file, self.clock);
        let after = self.stamp(file);
        if let Some(look) = self.looks.get_mut(&file).filter(|look| **look == before) {
            *look = after;
        }
        Ok(bytes.len())
    }

    fn read_at(&mut self, file: FileId, out: &mut [u8], offset: u64) -> Result<usize, DiskError> {
        let content = self.files.get(&file).map_or(&[][..], |content| content);
        let rest = content.get(offset as usize..).unwrap_or(&[]);
        let got = rest.len().min(out.len());
        out[..got].copy_from_slice(&rest[..got]);
        self.reads.push((file.file, offset, got));
        let end = offset + got as u64;
        self.along.push((file, end..end + self.reads_along));
        Ok(got)
    }

    fn read_without_readahead(
        &mut self,
        file: FileId,
        out: &mut [u8],
        offset: u64,
    ) -> Result<usize, DiskError> {
        let along = std::mem::take(&mut self.reads_along);
        let result = self.read_at(file, out, offset);
        self.reads_along = along;
        result
    }

    fn len(&mut self, file: FileId) -> Result<u64, DiskError> {
        self.lens += 1;
        Ok(self.files.get(&file).map_or(0, Vec::len) as u64)
    }

    fn is_hole(&mut self, file: FileId, offset: u64, len: u64) -> bool {
        let content = self.files.get(&file).map_or(&[][..], |content| content);
        let rest = content.get(offset as usize..).unwrap_or(&[]);
        let mut along = self.along.iter();
        let was_read = along.any(|(of, range)| *of == file && range.contains(&offset));
        self.holes && !was_read && rest.iter().take(len as usize).all(|byte| *byte == 0)
    }

    fn finish(&mut self, _: TorrentId) -> Result<(), DiskError> {
        Ok(())
    }

    fn is_touched(&mut self, file: FileId) -> bool {
        let now = self.stamp(file);
        self.looks.insert(file, now) != Some(now)
    }

    fn stamp(&self, file: FileId) -> Option<Stamp> {
        Some(Stamp {
            size: self.files.get(&file)?.len() as u64,
            modified: *self.times.get(&file)?,
        })
    }

    fn sync(&mut self, file: FileId) -> Result<Option<Stamp>, DiskError> {
        self.syncs.push(file.file);
        if self.sync_fails {
            return Err(DiskError {
                kind: DiskErrorKind::Io,
                message: String::from("no"),
            });
        }
        let Some(stamp) = self.stamp(file) else {
            return Ok(None);
        };
        let content = self.files.get(&file).cloned().unwrap_or_default();
        self.synced.insert(file, (content, stamp.modified));
        Ok(Some(stamp))
    }

    fn changed(&mut self, file: FileId) -> DiskError {
        DiskError {
            kind: DiskErrorKind::Changed,
            message: format!("file {}", file.file),
        }
    }
}

/// The name of a torrent in tests.
pub(super) fn torrent(number: u64) -> TorrentId {
    TorrentId::from_bits(number)
}

/// `len` bytes that repeat nowhere near.
pub(crate) fn content(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// A torrent of `content` in files of these paths, lengths and kinds: one file alone goes by its path,
/// several lie below `t/`.
pub(crate) fn meta(
    piece_length: u32,
    files: &[(&str, u64, FileKind)],
    content: &[u8],
) -> Arc<Metainfo> {
    let hashes = content.chunks(piece_length as usize).flat_map(sha1);
    meta_of(piece_length, files, &hashes.collect::<Vec<_>>())
}

/// As [`meta`], with these hashes, 20 bytes a piece.
pub(super) fn meta_of(
    piece_length: u32,
    files: &[(&str, u64, FileKind)],
    hashes: &[u8],
) -> Arc<Metainfo> {
    let mut info = Vec::from(*b"d");
    if let &[(path, length, FileKind::Regular)] = files {
        info.extend(format!("6:lengthi{length}e4:name{}:{path}", path.len()).bytes());
    } else {
        let lists = files.iter().map(file);
        info.extend(format!("5:filesl{}e4:name1:t", lists.collect::<String>()).bytes());
    }
    info.extend(format!("12:piece lengthi{piece_length}e6:pieces{}:", hashes.len()).bytes());
    info.extend(hashes);
    info.push(b'e');
    Arc::new(Metainfo::from_info(&info).expect("a plain torrent"))
}

fn file(&(path, length, kind): &(&str, u64, FileKind)) -> String {
    let attributes = match kind {
        FileKind::Regular => "",
        FileKind::Pad => "4:attr1:p",
        FileKind::Symlink => "4:attr1:l",
    };
    let elements = path.split('/').map(|e| format!("{}:{e}", e.len()));
    let elements: String = elements.collect();
    format!("d{attributes}6:lengthi{length}e4:pathl{elements}ee")
}
