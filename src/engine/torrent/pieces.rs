//! The pieces that are there, and the blocks of those that have been begun.
//!
//! A block is free, asked for (of one peer; in the endgame of two, or of a third that has given before, where
//! neither has), being written, or written. A piece is begun by one peer, its owner; when the owner goes, the piece
//! is an orphan and the next peer takes it up.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::base::bitfield::Bitfield;
use crate::base::geometry::Geometry;
use crate::base::ids::{Block, Piece};
use crate::base::limits;
use crate::base::time::Instant;
use crate::engine::io::ConnId;

/// Pieces verified, and pieces begun.
pub struct Pieces {
    geometry: Geometry,
    have: Bitfield,
    /// `None`: all of them.
    wanted: Option<Bitfield>,
    /// How many of the wanted ones are not there.
    missing: u32,
    begun: BTreeMap<Piece, Begun>,
    /// The pieces that were there and are not any more: peers may believe that they are.
    lost: BTreeSet<Piece>,
    /// Free blocks of all begun pieces.
    free: u32,
}

/// A piece that has been begun.
pub struct Begun {
    slots: Vec<Slot>,
    free: u32,
    unwritten: u32,
    first_free: u32,
    owner: Owner,
    since: Instant,
    /// Fetched again after a bad hash: from one peer alone, if it can be.
    alone: bool,
    /// What was written of it could not be read back for its hash: nobody is to blame if that is wrong.
    unread: bool,
    givers: Vec<SocketAddr>,
}

/// Who fetches a piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// This peer.
    Peer(ConnId),
    /// This peer choked us: the piece is kept for it until then.
    Kept(ConnId, Instant),
    /// Nobody.
    Nobody,
}

#[derive(Clone, Copy)]
struct Slot {
    state: State,
    asked: u8,
    /// Whether one of those that were asked had given something before.
    hopeful: bool,
    giver: u8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Missing,
    Writing,
    Written,
}

/// What became of a block that came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// It is wanted: write it.
    Wanted {
        /// How many other requests for it are in flight: cancel them.
        elsewhere: u8,
    },
    /// It is there already, or being written.
    Duplicate,
}

impl Pieces {
    /// Nothing there, nothing begun.
    pub fn new(geometry: Geometry) -> Self {
        let have = Bitfield::new(geometry.pieces());
        Self {
            geometry,
            have,
            wanted: None,
            missing: geometry.pieces(),
            begun: BTreeMap::new(),
            lost: BTreeSet::new(),
            free: 0,
        }
    }

    /// The pieces that are verified.
    pub fn have(&self) -> &Bitfield {
        &self.have
    }

    /// Bytes of the pieces that are verified.
    pub fn bytes_have(&self) -> u64 {
        self.bytes_of(self.have.count(), |last| self.have.has(last))
    }

    /// Wants only these pieces from now on, or all; a set of another size is taken as all.
    pub fn want(&mut self, wanted: Option<Bitfield>) {
        let fits = |wanted: &Bitfield| wanted.pieces() == self.geometry.pieces();
        self.wanted = wanted.filter(fits);
        self.missing = match &self.wanted {
            Some(wanted) => wanted.iter_without(&self.have).count() as u32,
            None => self.geometry.pieces() - self.have.count(),
        };
    }

    /// Whether `piece` is wanted, whether it is there or not.
    pub fn wants(&self, piece: Piece) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.has(piece))
    }

    /// How many pieces are wanted, whether they are there or not.
    pub fn wanted(&self) -> u32 {
        let all = self.geometry.pieces();
        self.wanted.as_ref().map_or(all, Bitfield::count)
    }

    /// How many of the wanted pieces are not there.
    pub fn missing(&self) -> u32 {
        self.missing
    }

    /// Bytes of the pieces that are wanted.
    pub fn bytes_wanted(&self) -> u64 {
        self.bytes_of(self.wanted(), |last| self.wants(last))
    }

    /// Bytes of the wanted pieces that are not there.
    pub fn bytes_missing(&self) -> u64 {
        self.bytes_of(self.missing, |last| {
            self.wants(last) && !self.have.has(last)
        })
    }

    /// Bytes of so many pieces, the last of the torrent among them or not.
    fn bytes_of(&self, pieces: u32, with: impl FnOnce(Piece) -> bool) -> u64 {
        let full = u64::from(pieces) * u64::from(self.geometry.piece_length());
        let last = Piece(self.geometry.pieces() - 1);
        let short = self.geometry.piece_length() - self.geometry.piece_len(last);
        full - if with(last) { u64::from(short) } else { 0 }
    }

    /// A piece is verified, and no longer begun. Gives who sent its blocks.
    pub fn complete(&mut self, piece: Piece) -> Option<Begun> {
        if self.have.insert(piece) && self.wants(piece) {
            self.missing -= 1;
        }
        self.lost.remove(&piece);
        self.forget(piece)
    }

    /// What is written of a begun piece could not be read back. False if it is not begun.
    pub fn unread(&mut self, piece: Piece) -> bool {
        let begun = self.begun.get_mut(&piece);
        begun.map(|begun| begun.unread = true).is_some()
    }

    /// A piece is no longer there: its bytes changed on disk.
    pub fn lose(&mut self, piece: Piece) -> bool {
        let was_there = self.have.remove(piece);
        self.missing += u32::from(was_there && self.wants(piece));
        if was_there {
            self.lost.insert(piece);
        }
        was_there
    }

    /// Whether a piece was there once and is not any more.
    pub fn is_lost(&self, piece: Piece) -> bool {
        self.lost.contains(&piece)
    }

    /// Begins a piece for a peer.
    pub fn begin(&mut self, now: Instant, piece: Piece, owner: ConnId, alone: bool) {
        let blocks = self.geometry.blocks(piece);
        let slot = Slot {
            state: State::Missing,
            asked: 0,
            hopeful: false,
            giver: 0,
        };
        let begun = Begun {
            slots: vec![slot; blocks as usize],
            free: blocks,
            unwritten: blocks,
            first_free: 0,
            owner: Owner::Peer(owner),
            since: now,
            alone,
            unread: false,
            givers: Vec::new(),
        };
        self.free += blocks;
        if let Some(old) = self.begun.insert(piece, begun) {
            self.free -= old.free;
        }
    }

    /// Gives up a begun piece: its blocks count for nothing.
    pub fn forget(&mut self, piece: Piece) -> Option<Begun> {
        let begun = self.begun.remove(&piece)?;
        self.free -= begun.free;
        Some(begun)
    }

    /// The pieces that are begun, by number.
    pub fn begun(&self) -> impl Iterator<Item = (Piece, &Begun)> {
        self.begun.iter().map(|(piece, begun)| (*piece, begun))
    }

    /// A begun piece.
    pub fn get(&self, piece: Piece) -> Option<&Begun> {
        self.begun.get(&piece)
    }

    /// Free blocks of all begun pieces.
    pub fn free(&self) -> u32 {
        self.free
    }

    /// Makes `owner` fetch a begun piece from now on.
    pub fn adopt(&mut self, now: Instant, piece: Piece, owner: ConnId) {
        if let Some(begun) = self.begun.get_mut(&piece) {
            begun.owner = Owner::Peer(owner);
            begun.since = now;
        }
    }

    /// A peer stops fetching its pieces: they are kept for it for a while if it only choked us.
    pub fn disown(&mut self, owner: ConnId, kept_until: Option<Instant>) {
        for begun in self.begun.values_mut() {
            let is_its = matches!(begun.owner, Owner::Peer(o) | Owner::Kept(o, _) if o == owner);
            if is_its {
                begun.owner = match kept_until {
                    Some(until) => Owner::Kept(owner, until),
                    None => Owner::Nobody,
                };
            }
        }
    }

    /// Takes up to `max` free blocks of a begun piece, in order; they are asked for now, of a peer that `has_given`
    /// something before or has not.
    pub fn ask(
        &mut self,
        piece: Piece,
        max: usize,
        has_given: bool,
        mut each: impl FnMut(Block),
    ) -> usize {
        let Some(begun) = self.begun.get_mut(&piece) else {
            return 0;
        };
        let mut asked = 0;
        while asked < max && begun.free > 0 {
            let Some(slot) = begun.slots.get_mut(begun.first_free as usize) else {
                break;
            };
            if slot.is_free() {
                slot.asked = 1;
                slot.hopeful = has_given;
                begun.free -= 1;
                self.free -= 1;
                asked += 1;
                each(self.geometry.block(piece, begun.first_free));
            }
            begun.first_free += 1;
        }
        asked
    }

    /// Takes one more request for a block that is in flight already, of a peer that `has_given` something before or
    /// has not; false if there are enough of them.
    pub fn ask_again(&mut self, block: Block, has_given: bool) -> bool {
        let Some((begun, index)) = self.find(block) else {
            return false;
        };
        let slot = &mut begun.slots[index];
        let takes = slot.takes_another(has_given);
        if takes {
            slot.asked += 1;
            slot.hopeful |= has_given;
        }
        takes
    }

    /// The blocks of a begun piece that are in flight and may be asked for once more, of such a peer.
    pub fn in_doubt(&self, piece: Piece, has_given: bool) -> impl Iterator<Item = Block> + '_ {
        let slots = self.begun.get(&piece).map_or(&[][..], |begun| &begun.slots);
        slots
            .iter()
            .enumerate()
            .filter(move |(_, slot)| slot.takes_another(has_given))
            .map(move |(index, _)| self.geometry.block(piece, index as u32))
    }

    /// A request is no longer in flight, and was not answered.
    pub fn release(&mut self, block: Block) {
        let Some((begun, index)) = self.find(block) else {
            return;
        };
        let slot = &mut begun.slots[index];
        slot.asked = slot.asked.saturating_sub(1);
        // It may have been the one that gave: then a third may be asked once too often, which costs a block.
        slot.hopeful = false;
        if slot.is_free() {
            self.freed(block.piece, index);
        }
    }

    /// A block came from `giver`; `asked` tells whether one of its requests was in flight until now.
    pub fn take(&mut self, block: Block, giver: SocketAddr, asked: bool) -> Taken {
        let Some((begun, index)) = self.find(block) else {
            return Taken::Duplicate;
        };
        let slot = &mut begun.slots[index];
        let was_free = slot.is_free();
        if asked {
            slot.asked = slot.asked.saturating_sub(1);
        }
        if slot.state != State::Missing {
            return Taken::Duplicate;
        }
        slot.state = State::Writing;
        let elsewhere = slot.asked;
        let known = begun.givers.iter().position(|known| *known == giver);
        let at = known.unwrap_or_else(|| {
            if begun.givers.is_empty() {
                // Mostly it is the only one.
                begun.givers.reserve_exact(1);
            }
            begun.givers.push(giver);
            begun.givers.len() - 1
        });
        slot.giver = u8::try_from(at).unwrap_or(u8::MAX);
        if was_free {
            begun.free -= 1;
            self.free -= 1;
        }
        Taken::Wanted { elsewhere }
    }

    /// A block is on disk. True if it was the last of its piece.
    pub fn written(&mut self, block: Block) -> bool {
        let Some((begun, index)) = self.find(block) else {
            return false;
        };
        let slot = &mut begun.slots[index];
        if slot.state != State::Writing {
            return false;
        }
        slot.state = State::Written;
        begun.unwritten -= 1;
        begun.unwritten == 0
    }

    /// A block could not be written: it is missing again.
    pub fn write_failed(&mut self, block: Block) {
        let Some((begun, index)) = self.find(block) else {
            return;
        };
        let slot = &mut begun.slots[index];
        if slot.state == State::Writing {
            slot.state = State::Missing;
            if slot.is_free() {
                self.freed(block.piece, index);
            }
        }
    }

    fn find(&mut self, block: Block) -> Option<(&mut Begun, usize)> {
        let index = self.geometry.block_index(block)?;
        Some((self.begun.get_mut(&block.piece)?, index as usize))
    }

    fn freed(&mut self, piece: Piece, index: usize) {
        let begun = self
            .begun
            .get_mut(&piece)
            .expect("the caller found the block in it");
        begun.free += 1;
        begun.first_free = begun.first_free.min(index as u32);
        self.free += 1;
    }
}

impl Begun {
    /// Blocks that nobody was asked for.
    pub fn free(&self) -> u32 {
        self.free
    }

    /// Who fetches it.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Whether it is to come from one peer alone.
    pub fn is_alone(&self) -> bool {
        self.alone
    }

    /// Whether the disk could not read it back for its hash.
    pub fn is_unread(&self) -> bool {
        self.unread
    }

    /// Whether its owner has had it for longer than a piece should take.
    pub fn is_slow(&self, now: Instant) -> bool {
        now - self.since > limits::SLOW_PIECE
    }

    /// Whether all its blocks are written and it waits for its hash.
    pub fn is_written(&self) -> bool {
        self.unwritten == 0
    }

    /// Everyone who sent some of it.
    pub fn givers(&self) -> &[SocketAddr] {
        &self.givers
    }

    /// Who sent each block, in order.
    pub fn giver_of_each(&self) -> Vec<SocketAddr> {
        let giver = |slot: &Slot| self.givers.get(usize::from(slot.giver)).copied();
        self.slots.iter().filter_map(giver).collect()
    }

    /// Bytes that must be thrown away if it is given up, in blocks.
    pub fn blocks_taken(&self) -> u32 {
        self.slots
            .iter()
            .filter(|slot| slot.state != State::Missing)
            .count() as u32
    }
}

impl Slot {
    fn is_free(&self) -> bool {
        self.state == State::Missing && self.asked == 0
    }

    /// Whether it is in flight from one peer; or from two of which nothing has ever come, and this one `has_given`.
    fn takes_another(&self, has_given: bool) -> bool {
        let one_more = match self.asked {
            1 => true,
            2 => has_given && !self.hopeful,
            _ => false,
        };
        self.state == State::Missing && one_more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);
    const B: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 2);
    const ANN: ConnId = ConnId::from_bits(1);
    const BOB: ConnId = ConnId::from_bits(2);

    fn pieces() -> Pieces {
        // Three pieces of three blocks, the last piece one byte long.
        Pieces::new(Geometry::new(3 * 16_384, 6 * 16_384 + 1).expect("a plain torrent"))
    }

    fn block(piece: u32, index: u32) -> Block {
        Block {
            piece: Piece(piece),
            begin: index * 16_384,
            len: 16_384,
        }
    }

    #[test]
    fn a_block_goes_from_free_to_written_and_is_counted_all_the_way() {
        let mut pieces = pieces();
        pieces.begin(Instant::default(), Piece(0), ANN, false);
        assert_eq!(pieces.free(), 3);
        let mut asked = Vec::new();
        assert_eq!(pieces.ask(Piece(0), 2, true, |block| asked.push(block)), 2);
        assert_eq!(asked, [block(0, 0), block(0, 1)]);
        assert_eq!(
            pieces.take(block(0, 0), A, true),
            Taken::Wanted { elsewhere: 0 }
        );
        assert_eq!(pieces.take(block(0, 0), B, false), Taken::Duplicate);
        assert_eq!(
            pieces.take(block(0, 2), B, false),
            Taken::Wanted { elsewhere: 0 }
        );
        assert_eq!(pieces.free(), 0);
        assert!(!pieces.written(block(0, 0)) && !pieces.written(block(0, 2)));
        assert_eq!(
            pieces.take(block(0, 1), A, true),
            Taken::Wanted { elsewhere: 0 }
        );
        assert!(pieces.written(block(0, 1)));
        let begun = pieces.complete(Piece(0)).expect("it was begun");
        assert_eq!(begun.giver_of_each(), [A, A, B]);
        assert_eq!(pieces.bytes_have(), 3 * 16_384);
    }

    #[test]
    fn a_released_block_is_free_again_and_is_asked_for_first() {
        let mut pieces = pieces();
        pieces.begin(Instant::default(), Piece(0), ANN, false);
        pieces.ask(Piece(0), 3, true, |_| {});
        pieces.release(block(0, 1));
        let mut asked = Vec::new();
        assert_eq!(pieces.ask(Piece(0), 9, true, |block| asked.push(block)), 1);
        assert_eq!(asked, [block(0, 1)]);
    }

    #[test]
    fn a_second_request_is_told_of_when_the_first_is_answered() {
        let mut pieces = pieces();
        pieces.begin(Instant::default(), Piece(0), ANN, false);
        pieces.ask(Piece(0), 1, true, |_| {});
        assert!(pieces.ask_again(block(0, 0), true) && !pieces.ask_again(block(0, 0), true));
        assert!(!pieces.ask_again(block(0, 1), true));
        assert_eq!(
            pieces.take(block(0, 0), A, true),
            Taken::Wanted { elsewhere: 1 }
        );
        pieces.release(block(0, 0));
        assert_eq!(pieces.free(), 2);
        pieces.write_failed(block(0, 0));
        assert_eq!(pieces.free(), 3);
    }

    #[test]
    fn only_who_has_given_is_asked_as_a_third_and_only_where_nobody_else_has() {
        for (first, second) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut pieces = pieces();
            pieces.begin(Instant::default(), Piece(0), ANN, false);
            pieces.ask(Piece(0), 1, first, |_| {});
            assert!(pieces.ask_again(block(0, 0), second));
            assert!(!pieces.ask_again(block(0, 0), false));
            let is_hopeless = !first && !second;
            assert_eq!(
                pieces.in_doubt(Piece(0), true).count(),
                usize::from(is_hopeless)
            );
            assert_eq!(pieces.ask_again(block(0, 0), true), is_hopeless);
            assert!(!pieces.ask_again(block(0, 0), true));
        }
    }

    #[test]
    fn an_owner_that_goes_leaves_an_orphan_and_one_that_chokes_is_waited_for() {
        let mut pieces = pieces();
        let later = Instant::from_micros(5);
        pieces.begin(Instant::default(), Piece(0), ANN, false);
        pieces.begin(Instant::default(), Piece(1), BOB, false);
        pieces.disown(ANN, Some(later));
        assert_eq!(
            pieces.get(Piece(0)).map(Begun::owner),
            Some(Owner::Kept(ANN, later))
        );
        pieces.disown(ANN, None);
        assert_eq!(pieces.get(Piece(0)).map(Begun::owner), Some(Owner::Nobody));
        assert_eq!(
            pieces.get(Piece(1)).map(Begun::owner),
            Some(Owner::Peer(BOB))
        );
        pieces.adopt(later, Piece(0), BOB);
        assert_eq!(
            pieces.get(Piece(0)).map(Begun::owner),
            Some(Owner::Peer(BOB))
        );
    }

    #[test]
    fn the_short_last_piece_counts_its_own_bytes() {
        let mut pieces = pieces();
        pieces.complete(Piece(2));
        assert_eq!(pieces.bytes_have(), 1);
        pieces.complete(Piece(0));
        assert_eq!(pieces.bytes_have(), 3 * 16_384 + 1);
    }
}
