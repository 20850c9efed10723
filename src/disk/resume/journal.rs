//! The journal's form: a header, then records, each with a checksum. Pure over bytes.
//!
//! ```text
//! header   magic 8 | version u32 | info-hash 20 | piece length u32 | total u64 | files u32 | place u64 | crc u32
//! record   kind u8 | length u32 | payload | crc u32 over all before it in the record
//! ```
//!
//! All numbers are little-endian. A journal only ever gets *better* on its way: a piece that is lost leaves it by
//! a rewrite, never by a record. So every prefix of whole records is true, if less than the whole, and that
//! is what a power cut may leave of it.

use crate::base::bitfield::Bitfield;
use crate::base::geometry::Geometry;
use crate::base::ids::{InfoHash, Piece};
use crate::disk::files::Stamp;
use crate::disk::resume::crc::crc32;

/// What a journal says: which pieces are there, and how the files looked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Journal {
    /// Pieces that were verified and written in `epoch`, and all durable ones.
    pub written: Bitfield,
    /// Pieces among them whose files were synced since.
    pub durable: Bitfield,
    /// In which life of machine and file system `written` is true.
    pub epoch: Epoch,
    /// A torrent's files, in its order.
    pub files: Vec<FileState>,
    /// When the files were last known to be written by us, in nanoseconds of the wall clock.
    pub beat: i64,
    /// Bytes moved in all runs before.
    pub totals: Totals,
    /// Bytes at the front that check out, the header among them.
    pub whole: usize,
}

impl Journal {
    /// A journal that knows nothing yet.
    pub fn new(expected: &Expected) -> Self {
        let pieces = expected.geometry.pieces();
        Self {
            written: Bitfield::new(pieces),
            durable: Bitfield::new(pieces),
            epoch: Epoch::default(),
            files: vec![FileState::default(); expected.files as usize],
            beat: 0,
            totals: Totals::default(),
            whole: 0,
        }
    }

    /// Reads the journal of the torrent that is expected. What follows the last whole record is left out:
    /// `whole` is then less than the length of `bytes`, and it is for the caller to say whether that may be.
    ///
    /// # Errors
    ///
    /// [`Fault`]: it is not of this form, or not about this torrent in this place. Nothing is allocated but what
    /// the expected torrent needs.
    pub fn parse(bytes: &[u8], expected: &Expected) -> Result<Self, Fault> {
        let magic = bytes.get(..MAGIC.len()).ok_or(Fault::Damaged)?;
        if magic != MAGIC {
            return Err(Fault::Damaged);
        }
        let mut rest = &bytes[MAGIC.len()..];
        match u32::take(&mut rest).ok_or(Fault::Damaged)? {
            VERSION => {}
            newer if newer > VERSION => return Err(Fault::Newer(newer)),
            _ => return Err(Fault::Damaged),
        }
        let header = bytes.get(..HEADER).ok_or(Fault::Damaged)?;
        let ours = expected.header();
        let (fields, crc) = header.split_at(HEADER - 4);
        if crc32(fields).to_le_bytes() != crc {
            return Err(Fault::Damaged);
        }
        if fields[..PLACE_AT] != ours[..PLACE_AT] {
            return Err(Fault::OtherTorrent);
        }
        if header != ours {
            return Err(Fault::OtherPlace);
        }
        let mut journal = Self::new(expected);
        journal.whole = HEADER;
        let mut rest = &bytes[HEADER..];
        // It ends because every record takes at least its frame.
        while let Some((kind, payload)) = record(&mut rest) {
            if journal.apply(kind, payload).is_none() {
                break;
            }
            journal.whole = bytes.len() - rest.len();
        }
        Ok(journal)
    }

    /// The shortest journal that says the same.
    pub fn encode(&self, expected: &Expected) -> Vec<u8> {
        let mut out = expected.header();
        // First, so that damage behind it is known from the work of a power cut.
        put_epoch(&mut out, &self.epoch);
        put_pieces(&mut out, Kind::Durable, self.durable.iter());
        put_clean(&mut out, self.files.iter().zip(0..).filter_map(clean));
        let files = self.files.iter().zip(0..);
        let mut dirty: Vec<(i64, u32)> = files
            .filter_map(|(file, index)| file.dirty_since.map(|since| (since, index)))
            .collect();
        dirty.sort_unstable();
        for group in dirty.chunk_by(|a, b| a.0 == b.0) {
            put_dirty(&mut out, group[0].0, group.iter().map(|(_, file)| *file));
        }
        let rest = self.written.iter_without(&self.durable);
        put_pieces(&mut out, Kind::Written, rest);
        put_beat(&mut out, self.beat);
        put_totals(&mut out, self.totals);
        out
    }

    /// Takes in a record; `None` if it says what can't be.
    fn apply(&mut self, kind: u8, mut payload: &[u8]) -> Option<()> {
        // A record is believed as a whole or not at all.
        if !self.fits(kind, payload) {
            return None;
        }
        let from = &mut payload;
        match kind {
            kind if kind == Kind::Epoch as u8 => {
                let (boot, rest) = from.split_first_chunk()?;
                *from = rest;
                let device = u64::take(from)?;
                self.enter(Epoch {
                    boot: *boot,
                    device,
                });
            }
            kind if kind == Kind::Written as u8 || kind == Kind::Durable as u8 => {
                let runs = runs(from, self.written.pieces())?;
                for piece in runs.into_iter().flatten().map(Piece) {
                    self.written.insert(piece);
                    if kind == Kind::Durable as u8 {
                        self.durable.insert(piece);
                    }
                }
            }
            kind if kind == Kind::Clean as u8 => {
                while !from.is_empty() {
                    let file = u32::take(from)?;
                    let stamp = Stamp {
                        size: u64::take(from)?,
                        modified: i64::take(from)?,
                    };
                    self.files.get_mut(file as usize)?.clean(stamp);
                }
            }
            kind if kind == Kind::Dirty as u8 => {
                let since = i64::take(from)?;
                let runs = runs(from, self.files.len() as u32)?;
                for file in runs.into_iter().flatten() {
                    self.files[file as usize].dirty(since);
                }
                self.beat = self.beat.max(since);
            }
            kind if kind == Kind::Beat as u8 => self.beat = i64::take(from)?,
            kind if kind == Kind::Totals as u8 => {
                self.totals = Totals {
                    downloaded: u64::take(from)?,
                    uploaded: u64::take(from)?,
                };
            }
            _ => return None,
        }
        from.is_empty().then_some(())
    }

    /// Whether a record of fixed form has that form, and is about files that there are.
    fn fits(&self, kind: u8, payload: &[u8]) -> bool {
        match kind {
            kind if kind == Kind::Epoch as u8 => payload.len() == 24,
            kind if kind == Kind::Beat as u8 => payload.len() == 8,
            kind if kind == Kind::Totals as u8 => payload.len() == 16,
            kind if kind == Kind::Clean as u8 => {
                let mut files = payload.chunks(20);
                files.all(|mut file| {
                    file.len() == 20
                        && u32::take(&mut file)
                            .is_some_and(|index| (index as usize) < self.files.len())
                })
            }
            _ => true,
        }
    }

    /// Enters an epoch: in another than before, only what is durable is still sure.
    pub(super) fn enter(&mut self, epoch: Epoch) {
        if !self.epoch.is_surely(&epoch) {
            self.written = self.durable.clone();
        }
        self.epoch = epoch;
    }

    /// Takes a piece out; true if it was in.
    pub(super) fn lose(&mut self, piece: Piece) -> bool {
        self.durable.remove(piece);
        self.written.remove(piece)
    }
}

/// What a journal must be about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expected {
    /// The torrent.
    pub info_hash: InfoHash,
    /// Its pieces.
    pub geometry: Geometry,
    /// How many files it has.
    pub files: u32,
    /// A fingerprint of the output directory.
    pub place: u64,
}

impl Expected {
    /// The longest journal worth reading: four times the longest that could be needed.
    pub fn longest(&self) -> usize {
        let pieces = self.geometry.pieces() as usize * 8;
        let files = self.files as usize * 40;
        (pieces + files + 4096).saturating_mul(4)
    }

    fn header(&self) -> Vec<u8> {
        let mut out = Vec::from(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend(self.info_hash.0);
        out.extend(self.geometry.piece_length().to_le_bytes());
        out.extend(self.geometry.total().to_le_bytes());
        out.extend(self.files.to_le_bytes());
        out.extend(self.place.to_le_bytes());
        out.extend(crc32(&out).to_le_bytes());
        out
    }
}

/// Why a journal is of no use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It is no journal, or its header does not check out.
    Damaged,
    /// It is of a later version of the program.
    Newer(u32),
    /// It is about another torrent.
    OtherTorrent,
    /// It is about this torrent in another directory.
    OtherPlace,
}

/// A life of the machine and of the file system below the output directory: while it lasts, what was
/// written is there, whether it was synced or not.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Epoch {
    /// The kernel's boot id; zeros if it is not known.
    pub boot: [u8; 16],
    /// The device number of the output directory.
    pub device: u64,
}

impl Epoch {
    /// Whether both are known to be the same.
    pub fn is_surely(&self, other: &Self) -> bool {
        self.boot != [0; 16] && self == other
    }
}

/// How a file looked when its pieces were known to be right.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct FileState {
    /// As it was when we had last finished with it.
    pub stamp: Option<Stamp>,
    /// Since when, on the wall clock, we may have written to it.
    pub dirty_since: Option<i64>,
}

impl FileState {
    /// We have finished with the file.
    pub(super) fn clean(&mut self, stamp: Stamp) {
        self.stamp = Some(stamp);
        self.dirty_since = None;
    }

    /// We begin, or go on, to write to it.
    pub(super) fn dirty(&mut self, since: i64) {
        self.dirty_since.get_or_insert(since);
    }
}

/// Bytes of payload moved over a torrent's life.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Totals {
    /// Received.
    pub downloaded: u64,
    /// Sent.
    pub uploaded: u64,
}

/// Adds a record of pieces, unless there are none.
pub(super) fn put_pieces(out: &mut Vec<u8>, kind: Kind, pieces: impl Iterator<Item = Piece>) {
    put_some(out, kind, &[], pieces.map(|piece| piece.0));
}

/// Adds a record of files that we write to from `since` on, unless there are none.
pub(super) fn put_dirty(out: &mut Vec<u8>, since: i64, files: impl Iterator<Item = u32>) {
    put_some(out, Kind::Dirty, &since.to_le_bytes(), files);
}

/// Adds a record of files that we have finished with, unless there are none.
pub(super) fn put_clean(out: &mut Vec<u8>, files: impl Iterator<Item = (u32, Stamp)>) {
    let mut files = files.peekable();
    if files.peek().is_none() {
        return;
    }
    put(out, Kind::Clean, |out| {
        for (file, stamp) in files {
            out.extend(file.to_le_bytes());
            out.extend(stamp.size.to_le_bytes());
            out.extend(stamp.modified.to_le_bytes());
        }
    });
}

/// Adds a record of the moment we last wrote.
pub(super) fn put_beat(out: &mut Vec<u8>, beat: i64) {
    put(out, Kind::Beat, |out| out.extend(beat.to_le_bytes()));
}

/// Adds a record of the epoch.
pub(super) fn put_epoch(out: &mut Vec<u8>, epoch: &Epoch) {
    put(out, Kind::Epoch, |out| {
        out.extend(epoch.boot);
        out.extend(epoch.device.to_le_bytes());
    });
}

/// Adds a record of the counters.
pub(super) fn put_totals(out: &mut Vec<u8>, totals: Totals) {
    put(out, Kind::Totals, |out| {
        out.extend(totals.downloaded.to_le_bytes());
        out.extend(totals.uploaded.to_le_bytes());
    });
}

/// Kinds of records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Boot id and device: what follows was written in it.
    Epoch = 1,
    /// Runs of pieces: first and count, 32 bits each.
    Written = 2,
    /// The same.
    Durable = 3,
    /// Files, each with its size and time.
    Clean = 4,
    /// A moment, then runs of files.
    Dirty = 5,
    /// A moment.
    Beat = 6,
    /// Two counters.
    Totals = 7,
}

fn put_some(out: &mut Vec<u8>, kind: Kind, head: &[u8], numbers: impl Iterator<Item = u32>) {
    let mut numbers = numbers.peekable();
    if numbers.peek().is_none() {
        return;
    }
    put(out, kind, |out| {
        out.extend(head);
        while let Some(first) = numbers.next() {
            let mut count = 1u32;
            while numbers
                .next_if(|next| Some(*next) == first.checked_add(count))
                .is_some()
            {
                count += 1;
            }
            out.extend(first.to_le_bytes());
            out.extend(count.to_le_bytes());
        }
    });
}

fn put(out: &mut Vec<u8>, kind: Kind, payload: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    out.push(kind as u8);
    out.extend([0; 4]);
    payload(out);
    let len = (out.len() - begin - FRAME_FRONT) as u32;
    out[begin + 1..begin + FRAME_FRONT].copy_from_slice(&len.to_le_bytes());
    let crc = crc32(&out[begin..]);
    out.extend(crc.to_le_bytes());
}

/// The next record if it is whole and checks out.
fn record<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let bytes = *rest;
    let kind = *bytes.first()?;
    let len = u32::take(&mut bytes.get(1..)?)? as usize;
    let end = FRAME_FRONT.checked_add(len)?;
    let (front, crc) = (bytes.get(..end)?, bytes.get(end..)?.first_chunk()?);
    if crc32(front).to_le_bytes() != *crc {
        return None;
    }
    *rest = &bytes[end + crc.len()..];
    Some((kind, &front[FRAME_FRONT..]))
}

/// Runs of numbers below `end`; they may overlap, but not hold more than all of them twice over.
fn runs(from: &mut &[u8], end: u32) -> Option<Vec<std::ops::Range<u32>>> {
    let mut left = u64::from(end) * 2;
    let mut runs = Vec::with_capacity(from.len() / 8);
    while !from.is_empty() {
        let first = u32::take(from)?;
        let last = first
            .checked_add(u32::take(from)?)
            .filter(|last| *last <= end)?;
        left = left.checked_sub(u64::from(last - first))?;
        runs.push(first..last);
    }
    Some(runs)
}

fn clean((file, index): (&FileState, u32)) -> Option<(u32, Stamp)> {
    file.stamp.map(|stamp| (index, stamp))
}

/// A number at the front of some bytes.
trait Number: Sized {
    fn take(from: &mut &[u8]) -> Option<Self>;
}

macro_rules! number {
    ($($kind:ty),*) => {$(
        impl Number for $kind {
            fn take(from: &mut &[u8]) -> Option<Self> {
                let (bytes, rest) = from.split_first_chunk()?;
                *from = rest;
                Some(Self::from_le_bytes(*bytes))
            }
        }
    )*};
}

number!(u32, u64, i64);

const MAGIC: &[u8; 8] = b"MI-state";
const VERSION: u32 = 1;
const PLACE_AT: usize = 8 + 4 + 20 + 4 + 8 + 4;
pub(super) const HEADER: usize = PLACE_AT + 8 + 4;
/// Kind and length.
const FRAME_FRONT: usize = 5;
