//! What goes out next on a connection: bytes, and blocks that the shell reads from the store.

use std::collections::VecDeque;

use crate::base::ids::{Block, Piece};
use crate::base::limits;
use crate::base::time::Instant;
use crate::engine::io::{Segment, Segments, TorrentId};
use crate::wire::message::{self, Message};

/// A queue of bytes and blocks, in order.
pub struct Outbox {
    /// All waiting bytes in one buffer; those before `sent` have gone.
    bytes: Vec<u8>,
    sent: usize,
    parts: VecDeque<Part>,
    block_bytes: usize,
    moved: Instant,
}

enum Part {
    /// So many of the waiting bytes.
    Bytes(usize),
    /// A block, or what is left of it.
    Block(Block),
}

impl Outbox {
    /// An empty queue.
    pub fn new(now: Instant) -> Self {
        Self {
            bytes: Vec::new(),
            sent: 0,
            parts: VecDeque::new(),
            block_bytes: 0,
            moved: now,
        }
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Bytes to send, blocks included.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.sent + self.block_bytes
    }

    /// Bytes to send that are not of blocks.
    pub fn chatter(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Whether one more block may be put in, if the connection takes `rate` bytes a second: three seconds' worth
    /// may wait, two blocks at least, [`limits::OUTBOX_MAX`] at most.
    pub fn has_room(&self, rate: u64) -> bool {
        let most = usize::try_from(rate.saturating_mul(limits::OUTBOX_SECONDS));
        let most = most.unwrap_or(limits::OUTBOX_MAX);
        self.len() < most.clamp(limits::OUTBOX_MIN, limits::OUTBOX_MAX)
            && self.parts.len() < PARTS_MAX
    }

    /// When bytes last went out, or the queue was last empty.
    pub fn moved(&self) -> Instant {
        self.moved
    }

    /// Puts a message behind what is there.
    pub fn push(&mut self, message: Message<'_>) {
        self.push_with(|bytes| message.encode(bytes));
    }

    /// Puts raw bytes behind what is there: a handshake.
    pub fn push_bytes(&mut self, raw: &[u8]) {
        self.push_with(|bytes| bytes.extend_from_slice(raw));
    }

    /// Puts a `piece` message behind what is there; its data stays in the store until it is sent.
    pub fn push_block(&mut self, block: Block) {
        self.push_with(|bytes| message::encode_piece_header(block, bytes));
        self.parts.push_back(Part::Block(block));
        self.block_bytes += block.len as usize;
    }

    /// Takes back the blocks of a piece with their headers, in order; `None` if a header has gone, even in part: then
    /// its block has to follow.
    pub fn take_back(&mut self, piece: Piece) -> Option<Vec<Block>> {
        let mut kept = Self::new(self.moved);
        let mut taken = Vec::new();
        let (mut at, mut before) = (self.sent, 0);
        for part in &self.parts {
            match *part {
                Part::Bytes(len) => {
                    kept.push_bytes(&self.bytes[at..at + len]);
                    at += len;
                    before = len;
                }
                Part::Block(block) if block.piece == piece => {
                    if before < message::PIECE_HEADER {
                        return None;
                    }
                    kept.drop_header();
                    taken.push(block);
                    before = 0;
                }
                Part::Block(block) => {
                    kept.parts.push_back(Part::Block(block));
                    kept.block_bytes += block.len as usize;
                    before = 0;
                }
            }
        }
        *self = kept;
        Some(taken)
    }

    /// Takes off the header that was put in last.
    fn drop_header(&mut self) {
        let left = self.bytes.len() - message::PIECE_HEADER;
        self.bytes.truncate(left);
        match self.parts.back_mut() {
            Some(Part::Bytes(len)) if *len > message::PIECE_HEADER => *len -= message::PIECE_HEADER,
            _ => {
                self.parts.pop_back();
            }
        }
    }

    /// What to send next, as far as there is room, and at most `payload` bytes of blocks.
    pub fn poll_transmit<'a>(
        &'a self,
        torrent: TorrentId,
        mut payload: usize,
        out: &mut Segments<'a>,
    ) {
        let mut at = self.sent;
        for part in &self.parts {
            let segment = match *part {
                Part::Bytes(len) => {
                    let bytes = &self.bytes[at..at + len];
                    at += len;
                    Segment::Bytes(bytes)
                }
                Part::Block(_) if payload == 0 => return,
                Part::Block(mut block) => {
                    let len = payload.min(block.len as usize);
                    payload -= len;
                    if len < block.len as usize {
                        // The next call goes on within the block, if it goes on at all.
                        block.len = len as u32;
                        out.push(Segment::Block { torrent, block });
                        return;
                    }
                    Segment::Block { torrent, block }
                }
            };
            if !out.push(segment) {
                return;
            }
        }
    }

    /// Takes `count` bytes off the front: they are on their way. Gives how many of them were of blocks.
    pub fn transmitted(&mut self, now: Instant, mut count: usize) -> u64 {
        self.moved = now;
        let mut payload = 0;
        while count > 0 {
            let Some(part) = self.parts.front_mut() else {
                break;
            };
            match part {
                Part::Bytes(len) => {
                    let gone = count.min(*len);
                    *len -= gone;
                    self.sent += gone;
                    count -= gone;
                    if *len == 0 {
                        self.parts.pop_front();
                    }
                }
                Part::Block(block) => {
                    let gone = count.min(block.len as usize);
                    block.begin += gone as u32;
                    block.len -= gone as u32;
                    self.block_bytes -= gone;
                    payload += gone as u64;
                    count -= gone;
                    if block.len == 0 {
                        self.parts.pop_front();
                    }
                }
            }
        }
        debug_assert_eq!(count, 0, "no more was sent than there was");
        if self.sent == self.bytes.len() {
            self.sent = 0;
            self.bytes.clear();
            self.bytes.shrink_to(KEPT);
        } else if self.sent > COMPACT {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        payload
    }

    /// The clock of a queue that was empty starts when something is put in.
    pub fn rest_until(&mut self, now: Instant) {
        if self.is_empty() {
            self.moved = now;
        }
    }

    fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.bytes.len();
        write(&mut self.bytes);
        let added = self.bytes.len() - before;
        match self.parts.back_mut() {
            Some(Part::Bytes(len)) => *len += added,
            Some(Part::Block(_)) | None => self.parts.push_back(Part::Bytes(added)),
        }
    }
}

/// Parts before more requests are turned into data: requests of a few bytes would else pile up by thousands.
const PARTS_MAX: usize = 64;
/// Bytes of room that an empty queue keeps: a batch of requests needs more, but only for a moment.
const KEPT: usize = 512;
/// Sent bytes at the front of the buffer are given up when there are more than this.
const COMPACT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const TORRENT: TorrentId = TorrentId::from_bits(0);

    fn flat(outbox: &Outbox) -> String {
        let mut out = Segments::new(usize::MAX);
        outbox.poll_transmit(TORRENT, usize::MAX, &mut out);
        let parts = out.as_slice().iter().map(|segment| match segment {
            Segment::Bytes(bytes) => format!("{}", bytes.len()),
            Segment::Block { block, .. } => format!("[{}+{}]", block.begin, block.len),
        });
        parts.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn bytes_are_merged_and_blocks_keep_their_place() {
        let now = Instant::default();
        let mut outbox = Outbox::new(now);
        outbox.push(Message::Unchoke);
        outbox.push(Message::KeepAlive);
        outbox.push_block(Block {
            piece: Piece(0),
            begin: 0,
            len: 100,
        });
        outbox.push_block(Block {
            piece: Piece(0),
            begin: 100,
            len: 100,
        });
        outbox.push(Message::Choke);
        assert_eq!(flat(&outbox), "22 [0+100] 13 [100+100] 5");
        assert_eq!(outbox.len(), 240);
        assert_eq!(outbox.transmitted(now, 1), 0);
        assert_eq!(outbox.transmitted(now, 31), 10);
        assert_eq!(flat(&outbox), "[10+90] 13 [100+100] 5");
        assert_eq!(outbox.transmitted(now, 208), 190);
        assert!(outbox.is_empty());
    }

    #[test]
    fn blocks_are_taken_back_unless_the_header_of_one_has_gone() {
        let now = Instant::default();
        let block = |piece, begin| Block {
            piece: Piece(piece),
            begin,
            len: 100,
        };
        let mut outbox = Outbox::new(now);
        outbox.push(Message::Unchoke);
        for (piece, begin) in [(1, 0), (2, 100), (1, 200), (1, 300)] {
            outbox.push_block(block(piece, begin));
        }
        outbox.push(Message::Choke);
        outbox.transmitted(now, 2);
        assert_eq!(
            outbox.take_back(Piece(1)),
            Some(vec![block(1, 0), block(1, 200), block(1, 300)])
        );
        assert_eq!(flat(&outbox), "16 [100+100] 5");
        assert_eq!(outbox.len(), 121);
        assert_eq!(outbox.take_back(Piece(3)), Some(vec![]));
        for gone in [4, 11, 1] {
            outbox.transmitted(now, gone);
            assert_eq!(outbox.take_back(Piece(2)), None);
        }
        assert_eq!(flat(&outbox), "[100+100] 5");
        outbox.transmitted(now, 1);
        assert_eq!(outbox.take_back(Piece(2)), None);
        assert_eq!(flat(&outbox), "[101+99] 5");
    }

    #[test]
    fn three_seconds_of_the_rate_may_wait_two_blocks_at_least_and_256_kib_at_most() {
        for (rate, blocks) in [
            (0, 2),
            (10_000, 2),
            (32_768, 6),
            (1 << 20, 16),
            (u64::MAX, 16),
        ] {
            let mut outbox = Outbox::new(Instant::default());
            let mut count = 0;
            while outbox.has_room(rate) {
                outbox.push_block(Block {
                    piece: Piece(0),
                    begin: 0,
                    len: limits::BLOCK,
                });
                count += 1;
            }
            assert_eq!(count, blocks, "{rate}");
        }
    }

    #[test]
    fn a_call_ends_with_the_segment_that_passes_the_room() {
        let mut outbox = Outbox::new(Instant::default());
        for at in 0..4 {
            outbox.push_block(Block {
                piece: Piece(0),
                begin: at * 100,
                len: 100,
            });
        }
        let mut out = Segments::new(150);
        outbox.poll_transmit(TORRENT, usize::MAX, &mut out);
        assert_eq!(out.as_slice().len(), 4);
        assert_eq!(out.bytes(), 226);
    }

    #[test]
    fn blocks_are_cut_where_the_payload_ends_and_headers_go_ahead() {
        let mut outbox = Outbox::new(Instant::default());
        for at in [0, 100] {
            outbox.push_block(Block {
                piece: Piece(0),
                begin: at,
                len: 100,
            });
        }
        for (payload, bytes) in [(0, 13), (99, 112), (100, 126), (101, 127), (999, 226)] {
            let mut out = Segments::new(usize::MAX);
            outbox.poll_transmit(TORRENT, payload, &mut out);
            assert_eq!(out.bytes(), bytes, "{payload}");
        }
    }
}
