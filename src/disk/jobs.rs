//! What takes long, cut into slices: checking existing data, and hashing a piece block by block.

use std::collections::VecDeque;

use crate::base::bitfield::Bitfield;
use crate::base::ids::{Block, Piece};
use crate::base::limits;
use crate::disk::content::Content;
use crate::disk::files::Files;
use crate::disk::sha1::{Sha1, sha1, update_both};
use crate::engine::io::{DiskDone, DiskError, TorrentId};

/// The check of a torrent's existing data, from its first byte to its last. Pieces that are trusted are not read,
/// but for a few samples, which come first: if one of them is bad, no piece is trusted.
pub(super) struct Check {
    pub(super) torrent: TorrentId,
    at: u64,
    /// Up to here, a border of pieces, the files are known to be long enough.
    there: u64,
    /// The piece at this offset was asked about: whether it is a hole.
    asked: Option<(u64, bool)>,
    sha: Sha1,
    zeros: Option<[u8; 20]>,
    trusted: Bitfield,
    samples: Vec<Proof>,
    bad_sample: Option<Piece>,
}

impl Check {
    /// A check that has everything before it.
    pub(super) fn new(torrent: TorrentId, trusted: Bitfield, samples: Vec<Piece>) -> Self {
        Self {
            torrent,
            at: 0,
            there: 0,
            asked: None,
            sha: Sha1::default(),
            zeros: None,
            trusted,
            samples: samples
                .into_iter()
                .map(|piece| Proof::new(torrent, piece))
                .collect(),
            bad_sample: None,
        }
    }

    /// The sample that was bad, once: everything is hashed then.
    pub(super) fn take_bad_sample(&mut self) -> Option<Piece> {
        self.bad_sample.take()
    }

    /// Goes on until `budget` is used up or `enough` answers wait to be heard; true when the check is through or has
    /// failed, and said so.
    pub(super) fn slice<F: Files>(
        &mut self,
        content: &mut Content<'_, F>,
        scratch: &mut [u8],
        budget: &mut usize,
        done: &mut VecDeque<DiskDone>,
        enough: usize,
    ) -> bool {
        while *budget > 0 && done.len() < enough {
            if self.at >= content.meta.geometry.total() {
                done.push_back(self.ended(None));
                return true;
            }
            // Beside what is trusted lies what was reserved and never written, which counts as data once it was read along.
            content.set_readahead(self.trusted.is_empty());
            if let Some(sample) = self.samples.last_mut() {
                if let Some(verdict) = sample.slice(content, scratch, budget) {
                    self.judge_sample(verdict == Ok(true));
                }
                continue;
            }
            let most = scratch.len();
            let most = most.min((*budget).min(most).next_multiple_of(BLOCK));
            match self.step(content, &mut scratch[..most], done) {
                Ok(cost) => *budget = budget.saturating_sub(cost),
                Err(error) => {
                    done.push_back(self.ended(Some(error)));
                    return true;
                }
            }
        }
        false
    }

    fn judge_sample(&mut self, good: bool) {
        let sample = self.samples.pop();
        if !good {
            self.samples.clear();
            self.trusted = Bitfield::default();
            self.bad_sample = sample.map(|sample| sample.piece);
        }
    }

    /// One read, or the verdict on a piece that needs none. Gives its cost in bytes.
    fn step<F: Files>(
        &mut self,
        content: &mut Content<'_, F>,
        scratch: &mut [u8],
        done: &mut VecDeque<DiskDone>,
    ) -> Result<usize, DiskError> {
        if self.at == self.there {
            let piece = self.piece(content);
            if self.trusted.has(piece) {
                self.say(piece, true, done);
                self.skip(content);
                return Ok(UNREAD_COST);
            }
            if let Some(good) = self.judge_unread(content)? {
                self.say(self.piece(content), good, done);
                self.skip(content);
                return Ok(UNREAD_COST);
            }
            self.look_ahead(content, scratch.len() as u64)?;
        }
        let want = (self.there - self.at).min(scratch.len() as u64) as usize;
        let got = content.read(self.at, &mut scratch[..want])?;
        self.feed(content, &scratch[..got], done);
        if got < want {
            // It was cut between the look at its length and the read.
            self.say(self.piece(content), false, done);
            self.skip(content);
        }
        Ok(want)
    }

    /// The verdict on the next piece if none of it need be read.
    fn judge_unread<F: Files>(
        &mut self,
        content: &mut Content<'_, F>,
    ) -> Result<Option<bool>, DiskError> {
        let piece = self.piece(content);
        let len = content.meta.geometry.piece_len(piece);
        if !content.is_there(self.at, u64::from(len))? {
            return Ok(Some(false));
        }
        let whole = len == content.meta.geometry.piece_length();
        let is_hole = match self.asked {
            Some((at, is_hole)) if at == self.at => is_hole,
            Some(_) | None => content.is_hole(self.at, u64::from(len)),
        };
        if !whole || len as usize > ZEROS_MAX || !is_hole {
            return Ok(None);
        }
        let zeros = *self.zeros.get_or_insert_with(|| sha1_of_zeros(len));
        Ok(Some(content.meta.hash(piece) == zeros))
    }

    /// Moves `there` over the next piece, and over more of them if they are small and to be read as well. Of the piece
    /// behind it is asked now whether it is a hole: what was reserved and never written is data once the system has read
    /// it along with what lies before it.
    fn look_ahead<F: Files>(
        &mut self,
        content: &mut Content<'_, F>,
        read: u64,
    ) -> Result<(), DiskError> {
        let geometry = content.meta.geometry;
        let step = u64::from(geometry.piece_length());
        self.there = (self.at + step).min(geometry.total());
        while self.there < geometry.total() && !self.trusted.has(Piece((self.there / step) as u32))
        {
            let len = step.min(geometry.total() - self.there);
            let is_hole = content.is_hole(self.there, len);
            self.asked = Some((self.there, is_hole));
            let fits = self.there + step <= self.at + read;
            if !fits || is_hole || !content.is_there(self.there, len)? {
                break;
            }
            self.there += len;
        }
        Ok(())
    }

    /// Hashes `bytes`, and says of each piece that ends in them whether it is good.
    fn feed<F: Files>(
        &mut self,
        content: &Content<'_, F>,
        mut bytes: &[u8],
        done: &mut VecDeque<DiskDone>,
    ) {
        while !bytes.is_empty() {
            let (part, rest) = cut_at(bytes, self.piece_end(content) - self.at);
            // What there is of the piece behind it goes along.
            let next_len = u64::from(content.meta.geometry.piece_length());
            let (of_next, rest) = cut_at(rest, next_len);
            let mut next = Sha1::default();
            update_both((&mut self.sha, part), (&mut next, of_next));
            self.advance(content, part.len(), done);
            if !of_next.is_empty() {
                self.sha = next;
                self.advance(content, of_next.len(), done);
            }
            bytes = rest;
        }
    }

    /// So many more bytes are hashed: says whether the piece is good if they were its last.
    fn advance<F: Files>(
        &mut self,
        content: &Content<'_, F>,
        bytes: usize,
        done: &mut VecDeque<DiskDone>,
    ) {
        let (piece, end) = (self.piece(content), self.piece_end(content));
        self.at += bytes as u64;
        if self.at == end {
            let good = self.sha.finish() == content.meta.hash(piece);
            self.say(piece, good, done);
        }
    }

    /// Leaves the rest of the piece unread.
    fn skip<F: Files>(&mut self, content: &Content<'_, F>) {
        self.at = self.piece_end(content);
        self.there = self.at;
        self.sha = Sha1::default();
    }

    fn piece<F: Files>(&self, content: &Content<'_, F>) -> Piece {
        Piece((self.at / u64::from(content.meta.geometry.piece_length())) as u32)
    }

    fn piece_end<F: Files>(&self, content: &Content<'_, F>) -> u64 {
        let geometry = content.meta.geometry;
        let end = (u64::from(self.piece(content).0) + 1) * u64::from(geometry.piece_length());
        end.min(geometry.total())
    }

    fn say(&self, piece: Piece, good: bool, done: &mut VecDeque<DiskDone>) {
        done.push_back(DiskDone::Checked {
            torrent: self.torrent,
            piece,
            good,
        });
    }

    fn ended(&self, error: Option<DiskError>) -> DiskDone {
        DiskDone::CheckEnded {
            torrent: self.torrent,
            error,
        }
    }
}

/// The hashing of one piece that should be good.
pub(super) struct Proof {
    pub(super) torrent: TorrentId,
    pub(super) piece: Piece,
    hashed: u32,
    sha: Sha1,
}

impl Proof {
    /// A piece of which nothing is hashed yet.
    pub(super) fn new(torrent: TorrentId, piece: Piece) -> Self {
        Self {
            torrent,
            piece,
            hashed: 0,
            sha: Sha1::default(),
        }
    }

    /// Whether some of it is hashed.
    pub(super) fn is_begun(&self) -> bool {
        self.hashed > 0
    }

    /// Goes on until `budget` is used up; the verdict when it is known, or why it can't be.
    pub(super) fn slice<F: Files>(
        &mut self,
        content: &mut Content<'_, F>,
        scratch: &mut [u8],
        budget: &mut usize,
    ) -> Option<Result<bool, DiskError>> {
        let (piece, geometry) = (self.piece, content.meta.geometry);
        while *budget > 0 {
            let begin = self.hashed;
            let len = (geometry.piece_len(piece) - begin).min(scratch.len() as u32);
            if len == 0 {
                return Some(Ok(self.sha.finish() == content.meta.hash(piece)));
            }
            let part = &mut scratch[..len as usize];
            let offset = geometry.offset(Block { piece, begin, len });
            if let Err(error) = content.read_exact(offset, part) {
                return Some(Err(error));
            }
            self.sha.update(part);
            self.hashed += len;
            *budget = budget.saturating_sub(len as usize);
        }
        None
    }
}

/// The hashing of a written piece block by block.
pub(super) struct Digests {
    pub(super) torrent: TorrentId,
    pub(super) piece: Piece,
    blocks: Vec<[u8; 20]>,
}

impl Digests {
    /// A piece none of whose blocks is hashed yet.
    pub(super) fn new(torrent: TorrentId, piece: Piece) -> Self {
        Self {
            torrent,
            piece,
            blocks: Vec::new(),
        }
    }

    /// Goes on until `budget` is used up; true when the piece is through or can't be read, and said so.
    pub(super) fn slice<F: Files>(
        &mut self,
        content: &mut Content<'_, F>,
        scratch: &mut [u8],
        budget: &mut usize,
        done: &mut VecDeque<DiskDone>,
    ) -> bool {
        let geometry = content.meta.geometry;
        let len = geometry.piece_len(self.piece);
        while *budget > 0 {
            let begin = self.blocks.len() as u32 * limits::BLOCK;
            if begin >= len {
                self.say(done);
                return true;
            }
            let want = (len - begin).min(scratch.len() as u32);
            let first = Block {
                piece: self.piece,
                begin,
                len: want,
            };
            let bytes = &mut scratch[..want as usize];
            if content.read_exact(geometry.offset(first), bytes).is_err() {
                self.blocks.clear();
                self.say(done);
                return true;
            }
            self.blocks
                .extend(bytes.chunks(limits::BLOCK as usize).map(sha1));
            *budget = budget.saturating_sub(want as usize);
        }
        false
    }

    fn say(&mut self, done: &mut VecDeque<DiskDone>) {
        done.push_back(DiskDone::Digests {
            torrent: self.torrent,
            piece: self.piece,
            blocks: std::mem::take(&mut self.blocks),
        });
    }
}

/// The first `len` of these bytes, or all if there are fewer, and the others.
fn cut_at(bytes: &[u8], len: u64) -> (&[u8], &[u8]) {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    bytes.split_at(len.min(bytes.len()))
}

fn sha1_of_zeros(len: u32) -> [u8; 20] {
    let mut sha = Sha1::default();
    let mut left = len as usize;
    while left > 0 {
        let part = left.min(ZEROS.len());
        sha.update(&ZEROS[..part]);
        left -= part;
    }
    sha.finish()
}

static ZEROS: [u8; 512] = [0; 512];

/// Longest piece whose hash over zeros is worth knowing: it is made at once, in a few milliseconds.
const ZEROS_MAX: usize = 4 << 20;

const BLOCK: usize = limits::BLOCK as usize;

/// What a piece costs that is judged without reading it, in bytes hashed in that time.
const UNREAD_COST: usize = 32;

/// Answers after which somebody is to hear them: of a torrent of which nothing is there they come by the thousand.
pub const DONE_MAX: usize = 64;
