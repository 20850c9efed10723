//! Hashing before sending: a piece is hashed before any of it is read for a peer ([`Place::verify_on_upload`]).
//!
//! What was found good is vouched for until somebody else touches a file that it lies in. Nothing waits for the
//! hashing: who reads is told to come again, and the piece is hashed in slices like everything else.
//!
//! ```text
//!          read: not yet            its hash is right
//! unknown --------------> asked for -----------------> vouched for: it is read
//!    ^                        |  |                            |
//!    |                        |  +--- wrong: it is lost       |
//!    +------------------------+-- touched, or written --------+
//! ```
//!
//! Whether a file was touched is looked at when the hashing begins, when it ends, and after each read: what is sent was
//! read from the file as it was hashed.
//!
//! [`Place::verify_on_upload`]: crate::disk::files::Place::verify_on_upload

use std::collections::VecDeque;

use super::{Disk, scratch};
use crate::base::ids::{Block, Piece};
use crate::disk::content::Content;
use crate::disk::files::{FileId, Files};
use crate::disk::jobs::Proof;
use crate::disk::resume::StateFiles;
use crate::engine::io::{DiskDone, DiskError, DiskErrorKind, TorrentId};
use crate::wire::metainfo::FileKind;

impl<F: Files, S: StateFiles> Disk<F, S> {
    /// Whether a piece may be read for a peer; if not, it is hashed first.
    pub(super) fn vouches(&mut self, torrent: TorrentId, piece: Piece) -> bool {
        let known = self.torrents.get(&torrent);
        let Some(vouched) = known.and_then(|known| known.vouched.as_ref()) else {
            return true;
        };
        let vouches = vouched.has(piece);
        // Who is sent something waits for one piece, and asks again.
        let mut asked = self.vouching.iter();
        let is_asked = asked.any(|job| job.torrent == torrent && job.piece == piece);
        if !vouches && !is_asked && self.vouching.len() < VOUCHING_MAX {
            self.vouching.push_back(Proof::new(torrent, piece));
        }
        vouches
    }

    /// Whether somebody touched the files of a piece since they were looked at last; if so, nothing in them is vouched
    /// for any more, and what is being hashed of them is hashed again.
    pub(super) fn is_touched(&mut self, torrent: TorrentId, piece: Piece) -> bool {
        let Some(known) = self.torrents.get_mut(&torrent) else {
            return false;
        };
        let (Some(vouched), meta) = (&mut known.vouched, &known.meta) else {
            return false;
        };
        let size = u64::from(meta.geometry.piece_length());
        let mut at = u64::from(piece.0) * size;
        let mut is_touched = false;
        for span in meta.table.spans(at, size) {
            let start = at - span.offset;
            at += span.len;
            let entry = &meta.files[span.file as usize];
            let file = FileId {
                torrent,
                file: span.file,
            };
            if entry.kind != FileKind::Regular || !self.files.is_touched(file) {
                continue;
            }
            is_touched = true;
            let of_file = (start / size) as u32..(start + entry.length).div_ceil(size) as u32;
            of_file.clone().map(Piece).for_each(|piece| {
                vouched.remove(piece);
            });
            for job in &mut self.vouching {
                if job.torrent == torrent && of_file.contains(&job.piece.0) {
                    *job = Proof::new(torrent, job.piece);
                }
            }
        }
        is_touched
    }

    /// Goes on with the piece that was asked for first. One that is touched again and again is not hashed for ever: each
    /// time somebody has to ask for it anew.
    pub(super) fn work_vouching(&mut self, budget: &mut usize, done: &mut VecDeque<DiskDone>) {
        let Some(job) = self.vouching.front() else {
            return;
        };
        let (torrent, piece) = (job.torrent, job.piece);
        if !job.is_begun() {
            self.is_touched(torrent, piece);
        }
        let (Some(job), Some(known)) = (self.vouching.front_mut(), self.torrents.get(&torrent))
        else {
            self.vouching.pop_front();
            return;
        };
        let mut content = Content::new(&mut self.files, torrent, &known.meta);
        let scratch = scratch(&mut self.scratch, self.read_back);
        let Some(verdict) = job.slice(&mut content, scratch, budget) else {
            return;
        };
        let is_touched = verdict == Ok(true) && self.is_touched(torrent, piece);
        self.vouching.pop_front();
        if is_touched {
            return;
        }
        let Some(known) = self.torrents.get_mut(&torrent) else {
            return;
        };
        // What was lost and is being written anew is not asked for again before it is there.
        if known.running.contains_key(&piece) {
            return;
        }
        let block = Block {
            piece,
            begin: 0,
            len: known.meta.geometry.piece_len(piece),
        };
        let error = match verdict {
            Ok(true) => {
                known.vouched.as_mut().map(|vouched| vouched.insert(piece));
                return;
            }
            Ok(false) => None,
            Err(error) => Some(error),
        };
        let is_changed = |error: &DiskError| error.kind == DiskErrorKind::Changed;
        if let Some(resume) = &mut known.resume
            && error.as_ref().is_none_or(is_changed)
        {
            resume.handle_changed(block);
        }
        let spans =
            (known.meta.table).spans(known.meta.geometry.offset(block), u64::from(block.len));
        let mut files = spans.map(|span| span.file);
        let file = files.find(|file| known.meta.files[*file as usize].kind == FileKind::Regular);
        let file = FileId {
            torrent,
            file: file.unwrap_or(0),
        };
        let error = error.unwrap_or_else(|| self.files.changed(file));
        done.push_back(DiskDone::ReadFailed {
            torrent,
            block,
            error,
        });
    }
}

/// Pieces that wait to be hashed for those who ask for them.
const VOUCHING_MAX: usize = 64;
