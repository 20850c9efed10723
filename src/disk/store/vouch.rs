//! Hashing before sending: a piece is hashed before any of it is read for a peer ([`Place::verify_on_upload`]).
//!
//! What was found good is vouched for until somebody else touches a file that it lies in. Nothing waits for the
//! hashing: who reads is told to come again, and the piece is hashed in slices like everything else.
//!
//! ```text
//!          read: not yet            its hash is right
//! unknown --------------> asked for -----------------> vouched for: it is read
//!    ^                     ^  |  |                            |
//!    |             touched +--+  +--- wrong: it is lost       |
//!    +--------------------------- touched, or written --------+
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
use crate::engine::io::{DiskDone, TorrentId};
use crate::wire::metainfo::FileKind;

impl<F: Files, S: StateFiles> Disk<F, S> {
    /// Whether a piece may be read for a peer; if not, it is hashed first.
    pub(super) fn vouches(&mut self, torrent: TorrentId, piece: Piece) -> bool {
        let known = self.torrents.get(&torrent);
        let Some(vouched) = known.and_then(|known| known.vouched.as_ref()) else {
            return true;
        };
        let vouches = vouched.has(piece);
        // At most as many wait as there are peers to be sent something, each for one.
        let mut asked = self.vouching.iter();
        if !vouches && !asked.any(|job| job.torrent == torrent && job.piece == piece) {
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

    /// Goes on with the piece that was asked for first.
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
        let mut content = Content {
            files: &mut self.files,
            torrent,
            meta: &known.meta,
        };
        let scratch = scratch(&mut self.scratch, self.read_back);
        let Some(good) = job.slice(&mut content, scratch, budget) else {
            return;
        };
        if good && self.is_touched(torrent, piece) {
            // It is begun anew.
            return;
        }
        self.vouching.pop_front();
        let Some(known) = self.torrents.get_mut(&torrent) else {
            return;
        };
        // What was lost and is being written anew is not asked for again before it is there.
        if known.running.contains_key(&piece) {
            return;
        }
        if good {
            known.vouched.as_mut().map(|vouched| vouched.insert(piece));
            return;
        }
        let block = Block {
            piece,
            begin: 0,
            len: known.meta.geometry.piece_len(piece),
        };
        if let Some(resume) = &mut known.resume {
            resume.handle_changed(block);
        }
        let spans =
            (known.meta.table).spans(known.meta.geometry.offset(block), u64::from(block.len));
        let mut files = spans.map(|span| span.file);
        let file = files.find(|file| known.meta.files[*file as usize].kind == FileKind::Regular);
        let error = self.files.changed(FileId {
            torrent,
            file: file.unwrap_or(0),
        });
        done.push_back(DiskDone::ReadFailed {
            torrent,
            block,
            error,
        });
    }
}
