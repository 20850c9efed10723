//! A torrent's content as one line of bytes, on top of its files.

use std::io::IoSlice;

use crate::disk::files::{FileId, Files};
use crate::engine::io::{DiskError, DiskErrorKind, TorrentId};
use crate::wire::metainfo::{FileKind, Metainfo};

/// A torrent's content, and the files it lies in.
pub(super) struct Content<'a, F> {
    pub(super) files: &'a mut F,
    pub(super) torrent: TorrentId,
    pub(super) meta: &'a Metainfo,
    /// Whether the system may read on behind what is asked for.
    readahead: bool,
}

impl<'a, F: Files> Content<'a, F> {
    /// The content of a torrent in `files`.
    pub(super) fn new(files: &'a mut F, torrent: TorrentId, meta: &'a Metainfo) -> Self {
        Self {
            files,
            torrent,
            meta,
            readahead: true,
        }
    }

    /// Whether the system may read on behind what is asked for, as it does unless told otherwise.
    pub(super) fn set_readahead(&mut self, readahead: bool) {
        self.readahead = readahead;
    }

    /// Writes `blocks` one behind the other from `offset`, in one call a file, and says how many bytes
    /// are in place: fewer than all only with the error that stopped it. At most [`BLOCKS_MAX`] blocks.
    pub(super) fn write(
        &mut self,
        offset: u64,
        blocks: &[IoSlice<'_>],
    ) -> (u64, Result<(), DiskError>) {
        let len = blocks.iter().map(|block| block.len() as u64).sum();
        let mut written = 0;
        for span in self.meta.table.spans(offset, len) {
            if self.is_real(span.file) {
                let mut parts = [IoSlice::new(&[]); BLOCKS_MAX];
                let used = cut(blocks, written, span.len, &mut parts);
                let file = self.file(span.file);
                let (put, result) = write_all(self.files, file, &mut parts[..used], span.offset);
                if result.is_err() {
                    return (written + put, result);
                }
            }
            written += span.len;
        }
        (written, Ok(()))
    }

    /// Reads from `offset` and says how many bytes came before the first that is not there.
    pub(super) fn read(&mut self, offset: u64, out: &mut [u8]) -> Result<usize, DiskError> {
        let mut filled = 0;
        for span in self.meta.table.spans(offset, out.len() as u64) {
            let part = &mut out[filled..filled + span.len as usize];
            if !self.is_real(span.file) {
                part.fill(0);
                filled += part.len();
                continue;
            }
            let file = self.file(span.file);
            let mut got = 0;
            while got < part.len() {
                let at = span.offset + got as u64;
                match self.read_some(file, &mut part[got..], at)? {
                    0 => return Ok(filled + got),
                    more => got += more,
                }
            }
            filled += got;
        }
        Ok(filled)
    }

    fn read_some(&mut self, file: FileId, out: &mut [u8], at: u64) -> Result<usize, DiskError> {
        match self.readahead {
            true => self.files.read_at(file, out, at),
            false => self.files.read_without_readahead(file, out, at),
        }
    }

    /// As [`Content::read`], but all of it must be there.
    pub(super) fn read_exact(&mut self, offset: u64, out: &mut [u8]) -> Result<(), DiskError> {
        let got = self.read(offset, out)?;
        if got == out.len() {
            return Ok(());
        }
        let missing = self.meta.table.spans(offset + got as u64, 1).next();
        let file = self.file(missing.map_or(0, |span| span.file));
        Err(self.files.changed(file))
    }

    /// Whether the files are long enough to hold all of this range.
    pub(super) fn is_there(&mut self, offset: u64, len: u64) -> Result<bool, DiskError> {
        for span in self.meta.table.spans(offset, len) {
            let file = self.file(span.file);
            if self.is_real(span.file) && self.files.len(file)? < span.offset + span.len {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the whole range is known to read as zeros without reading it.
    pub(super) fn is_hole(&mut self, offset: u64, len: u64) -> bool {
        self.meta.table.spans(offset, len).all(|span| {
            let file = FileId {
                torrent: self.torrent,
                file: span.file,
            };
            !is_real(self.meta, span.file) || self.files.is_hole(file, span.offset, span.len)
        })
    }

    /// Whether part of this range lies in a file that is never written.
    pub(super) fn has_padding(&self, offset: u64, len: u64) -> bool {
        let mut spans = self.meta.table.spans(offset, len);
        spans.any(|span| !self.is_real(span.file))
    }

    fn is_real(&self, file: u32) -> bool {
        is_real(self.meta, file)
    }

    fn file(&self, file: u32) -> FileId {
        FileId {
            torrent: self.torrent,
            file,
        }
    }
}

/// BEP 47: padding is never written and reads as zeros; neither are links made.
fn is_real(meta: &Metainfo, file: u32) -> bool {
    match meta.files[file as usize].kind {
        FileKind::Regular => true,
        FileKind::Pad | FileKind::Symlink => false,
    }
}

/// Writes all of `parts`, going on after short writes; ends because every call writes something or fails.
fn write_all<F: Files>(
    files: &mut F,
    file: FileId,
    mut parts: &mut [IoSlice<'_>],
    offset: u64,
) -> (u64, Result<(), DiskError>) {
    let mut put = 0;
    while !parts.is_empty() {
        match files.write_at(file, parts, offset + put) {
            Ok(0) => {
                let message = String::from("cannot write: the system took no byte");
                let kind = DiskErrorKind::Io;
                return (put, Err(DiskError { kind, message }));
            }
            Ok(more) => {
                put += more as u64;
                IoSlice::advance_slices(&mut parts, more);
            }
            Err(error) => return (put, Err(error)),
        }
    }
    (put, Ok(()))
}

/// Puts the `len` bytes from byte `from` of `blocks` into `parts`, and says how many of those it took.
fn cut<'a>(
    blocks: &'a [IoSlice<'_>],
    mut from: u64,
    mut len: u64,
    parts: &mut [IoSlice<'a>; BLOCKS_MAX],
) -> usize {
    let mut used = 0;
    for block in blocks {
        let size = block.len() as u64;
        if from >= size {
            from -= size;
            continue;
        }
        let take = (size - from).min(len);
        if take == 0 {
            break;
        }
        parts[used] = IoSlice::new(&block[from as usize..(from + take) as usize]);
        used += 1;
        from = 0;
        len -= take;
    }
    used
}

/// Blocks in one write: 1 MiB of them, as larger writes are not cheaper.
pub(super) const BLOCKS_MAX: usize = 64;
