//! What the rules of the protocol say of one session's part in one conversation.

use std::collections::{BTreeMap, BTreeSet};

use minitorrent::base::geometry::Geometry;
use minitorrent::base::ids::{Block, InfoHash, PeerId, Piece};
use minitorrent::base::limits;
use minitorrent::wire::extension::ExtensionHandshake;
use minitorrent::wire::handshake;
use minitorrent::wire::message::{self, Decoded, Message};

/// One connection, as one session sees it: what it was handed and what it sent.
pub(crate) struct Watch {
    content: std::sync::Arc<Vec<u8>>,
    geometry: Geometry,
    info_hash: InfoHash,
    peer_id: PeerId,
    sent: Stream,
    handed: Stream,
    /// Bytes sent, and how many were on their way out when the other side last choked.
    sent_bytes: usize,
    queued_at_choke: usize,
    has_choked: bool,
    /// The same for the last word on how many requests it queues.
    queued_at_reqq: usize,
    has_named_reqq: bool,
    fast: bool,
    extended: bool,
    choking: bool,
    choked: bool,
    interested: bool,
    theirs: BTreeSet<Piece>,
    allowed_fast: BTreeSet<Piece>,
    announced: BTreeSet<Piece>,
    in_flight: BTreeSet<Block>,
    in_flight_max: usize,
    /// Extended ids that the other side has named.
    named: BTreeSet<u8>,
    once_asked: BTreeSet<Block>,
    /// Blocks that came or were refused: a request that was on its way out then was answered before it left.
    came: BTreeSet<Block>,
    /// Cancelled requests that the other side, if it speaks BEP 6, will still answer.
    cancelled: BTreeMap<Block, u32>,
    /// Requests of theirs that may be answered, and how often.
    to_answer: BTreeMap<Block, u32>,
    /// Pieces told of by `have` since they were last looked at.
    pub(crate) new_haves: Vec<Piece>,
}

#[derive(Default)]
struct Stream {
    bytes: Vec<u8>,
    greeted: bool,
    messages: usize,
    /// What comes is no BitTorrent: the other side is a liar.
    dead: bool,
}

impl Watch {
    /// A conversation of `peer_id` that has not begun.
    pub(crate) fn new(
        content: std::sync::Arc<Vec<u8>>,
        geometry: Geometry,
        info_hash: InfoHash,
        peer_id: PeerId,
    ) -> Self {
        Self {
            content,
            geometry,
            info_hash,
            peer_id,
            sent: Stream::default(),
            handed: Stream::default(),
            sent_bytes: 0,
            queued_at_choke: 0,
            has_choked: false,
            queued_at_reqq: 0,
            has_named_reqq: false,
            fast: false,
            extended: false,
            choking: true,
            choked: true,
            interested: false,
            theirs: BTreeSet::new(),
            allowed_fast: BTreeSet::new(),
            announced: BTreeSet::new(),
            in_flight: BTreeSet::new(),
            in_flight_max: limits::PIPELINE_DEFAULT_MAX,
            named: BTreeSet::new(),
            once_asked: BTreeSet::new(),
            came: BTreeSet::new(),
            cancelled: BTreeMap::new(),
            to_answer: BTreeMap::new(),
            new_haves: Vec::new(),
        }
    }

    /// The session is about to be handed these bytes.
    pub(crate) fn handed(&mut self, bytes: &[u8]) {
        let mut stream = std::mem::take(&mut self.handed);
        stream.bytes.extend_from_slice(bytes);
        let mut at = 0;
        if !stream.greeted && !stream.dead && stream.bytes.len() >= handshake::LEN {
            match handshake::decode_greeting(&stream.bytes) {
                Ok(Some(greeting)) => {
                    self.fast = greeting.reserved.fast();
                    self.extended = greeting.reserved.extended();
                }
                Ok(None) | Err(_) => stream.dead = true,
            }
            (stream.greeted, at) = (true, handshake::LEN);
        }
        while stream.greeted && !stream.dead {
            match message::decode(&stream.bytes[at..], self.bitfield_len()) {
                Ok(Decoded::Message { message, used }) => {
                    self.hear(message);
                    at += used;
                }
                Ok(Decoded::Incomplete { .. }) => break,
                Err(_) => stream.dead = true,
            }
        }
        stream.bytes.drain(..at);
        self.handed = stream;
    }

    /// Whether it matters how many bytes wait to be sent.
    pub(crate) fn is_to_settle(&self) -> bool {
        self.has_choked || self.has_named_reqq
    }

    /// The session has taken in what it was handed, and so many bytes wait to be sent: what is queued later stands
    /// behind them.
    pub(crate) fn settle(&mut self, waiting: usize) {
        let queued = self.sent_bytes + waiting;
        if std::mem::take(&mut self.has_choked) {
            self.queued_at_choke = queued;
        }
        if std::mem::take(&mut self.has_named_reqq) {
            self.queued_at_reqq = queued;
        }
    }

    /// The session has sent these bytes.
    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        let mut stream = std::mem::take(&mut self.sent);
        stream.bytes.extend_from_slice(bytes);
        self.sent_bytes += bytes.len();
        let mut at = 0;
        if !stream.greeted {
            if stream.bytes.len() < handshake::LEN {
                self.sent = stream;
                return;
            }
            let greeting = handshake::decode_greeting(&stream.bytes);
            let greeting = greeting.expect("a session sends a handshake first");
            let greeting = greeting.expect("68 bytes are there");
            assert_eq!(greeting.info_hash, self.info_hash);
            assert_eq!(
                handshake::decode_peer_id(&stream.bytes),
                Some(self.peer_id),
                "the id of its own"
            );
            (stream.greeted, at) = (true, handshake::LEN);
        }
        loop {
            match message::decode(&stream.bytes[at..], self.bitfield_len()) {
                Ok(Decoded::Message { message, used }) => {
                    let behind = stream.bytes.len() - at;
                    self.judge(message, stream.messages, self.sent_bytes - behind);
                    stream.messages += 1;
                    at += used;
                }
                Ok(Decoded::Incomplete { .. }) => break,
                Err(error) => panic!("a session sent what no peer takes: {error:?}"),
            }
        }
        stream.bytes.drain(..at);
        self.sent = stream;
    }

    fn bitfield_len(&self) -> usize {
        self.geometry.pieces().div_ceil(8) as usize
    }

    fn hear(&mut self, message: Message<'_>) {
        let all = || (0..self.geometry.pieces()).map(Piece);
        match message {
            Message::Choke => {
                self.choked = true;
                self.has_choked = true;
                if !self.fast {
                    self.in_flight.clear();
                }
            }
            Message::Unchoke => self.choked = false,
            Message::Have(piece) => {
                self.theirs.insert(piece);
            }
            Message::HaveAll => self.theirs = all().collect(),
            // What is taken back may have been asked for before; the request may still wait to go out.
            Message::HaveNone => {}
            Message::Bitfield(bits) => {
                let has = |piece: &Piece| {
                    bits.get(piece.index() / 8)
                        .is_some_and(|byte| byte & (0x80 >> (piece.0 % 8)) != 0)
                };
                self.theirs.extend(all().filter(has));
            }
            Message::AllowedFast(piece) => {
                self.allowed_fast.insert(piece);
            }
            Message::Request(block) => *self.to_answer.entry(block).or_default() += 1,
            Message::Piece { piece, begin, data } => {
                let len = data.len() as u32;
                let block = Block { piece, begin, len };
                if len == 0 {
                    return self.hear_refusal(block);
                }
                self.came.insert(block);
                let _ = self.in_flight.remove(&block) || self.was_cancelled(block);
            }
            Message::Reject(block) => {
                self.came.insert(block);
                let _ = self.was_cancelled(block) || self.in_flight.remove(&block);
            }
            Message::Extended { id: 0, payload } => {
                let theirs = ExtensionHandshake::decode(payload).ok();
                if let Some(theirs) = &theirs {
                    self.named
                        .extend(theirs.ut_pex.into_iter().chain(theirs.ut_metadata));
                }
                if let Some(reqq) = theirs.and_then(|theirs| theirs.reqq) {
                    self.in_flight_max = reqq;
                    self.has_named_reqq = true;
                }
            }
            _ => {}
        }
    }

    /// A `piece` without data is how some refuse: it ends the request for that place.
    fn hear_refusal(&mut self, empty: Block) {
        let at_that_place =
            |block: &&Block| (block.piece, block.begin) == (empty.piece, empty.begin);
        if !self.geometry.has_piece(empty.piece) {
            return;
        }
        let block = self.in_flight.iter().find(at_that_place);
        let block = block.copied().unwrap_or(Block {
            len: self.geometry.piece_len(empty.piece).min(limits::BLOCK),
            ..empty
        });
        self.came.insert(block);
        if self.in_flight.contains(&block) {
            let _ = self.was_cancelled(block) || self.in_flight.remove(&block);
        }
    }

    /// Judges a message by the rules; `at` is its place in all that was sent.
    fn judge(&mut self, message: Message<'_>, number: usize, at: usize) {
        let opening = matches!(
            message,
            Message::Bitfield(_) | Message::HaveAll | Message::HaveNone
        );
        assert!(!opening || number == 0, "{message:?} is number {number}");
        match message {
            Message::KeepAlive => {}
            Message::Bitfield(bits) => {
                let pieces = (0..self.geometry.pieces()).map(Piece);
                let has = |piece: &Piece| bits[piece.index() / 8] & (0x80 >> (piece.0 % 8)) != 0;
                self.announced = pieces.filter(has).collect();
                assert_eq!(bits.len(), self.bitfield_len());
                self.new_haves.extend(self.announced.iter());
            }
            Message::HaveAll => {
                assert!(self.fast, "have_all to a peer without BEP 6");
                self.announced = (0..self.geometry.pieces()).map(Piece).collect();
                self.new_haves.extend(self.announced.iter());
            }
            Message::HaveNone => assert!(self.fast, "have_none to a peer without BEP 6"),
            Message::Choke => assert!(!std::mem::replace(&mut self.choking, true), "choked twice"),
            Message::Unchoke => {
                assert!(
                    std::mem::replace(&mut self.choking, false),
                    "unchoked twice"
                );
            }
            Message::Interested => {
                assert!(!std::mem::replace(&mut self.interested, true), "twice");
            }
            Message::NotInterested => {
                assert!(std::mem::replace(&mut self.interested, false), "twice");
            }
            Message::Have(piece) => {
                assert!(self.geometry.has_piece(piece));
                self.announced.insert(piece);
                self.new_haves.push(piece);
            }
            Message::Request(block) => self.judge_request(block, at),
            Message::Cancel(block) => {
                assert!(self.once_asked.contains(&block), "cancels {block:?}");
                if self.in_flight.remove(&block) {
                    *self.cancelled.entry(block).or_default() += 1;
                }
            }
            Message::Piece { piece, begin, data } => {
                let len = data.len() as u32;
                self.answer(Block { piece, begin, len });
                let offset = self.geometry.offset(Block { piece, begin, len }) as usize;
                assert!(
                    self.content[offset..][..data.len()] == *data,
                    "wrong bytes of piece {piece} are sent"
                );
            }
            Message::Reject(block) => {
                assert!(self.fast, "reject to a peer without BEP 6");
                self.answer(block);
            }
            Message::Extended { id, payload } => {
                assert!(self.extended, "extended to a peer without BEP 10");
                if id != 0 {
                    assert!(
                        self.named.contains(&id),
                        "an extended id that was not named"
                    );
                    return;
                }
                let ours = ExtensionHandshake::decode(payload).expect("a dictionary");
                assert_eq!(ours.reqq, Some(limits::REQQ));
            }
            Message::AllowedFast(piece) => {
                assert!(self.fast, "allowed_fast to a peer without BEP 6");
                assert!(self.announced.contains(&piece), "allowed, and not there");
            }
            Message::Port(_) | Message::Suggest(_) | Message::Unknown(_) => {
                panic!("a session never sends {message:?}")
            }
        }
    }

    fn judge_request(&mut self, block: Block, at: usize) {
        let early = at < self.queued_at_choke;
        assert!(self.geometry.block_index(block).is_some(), "{block:?}");
        assert!(
            self.theirs.contains(&block.piece),
            "asks for {block:?}, which was never announced"
        );
        assert!(
            !self.choked || self.allowed_fast.contains(&block.piece) || early,
            "asks for {block:?} while choked"
        );
        self.once_asked.insert(block);
        if early && !self.fast {
            return;
        }
        assert!(
            self.in_flight.insert(block) || self.came.contains(&block),
            "asks twice for {block:?} on one connection"
        );
        // One that was answered before it left is in flight for nobody.
        let in_flight = self.in_flight.difference(&self.came).count();
        assert!(
            in_flight <= self.in_flight_max || at < self.queued_at_reqq,
            "{in_flight} in flight, {} allowed",
            self.in_flight_max
        );
    }

    /// Takes an answer as one to a cancelled request, if there is any.
    fn was_cancelled(&mut self, block: Block) -> bool {
        let left = self.cancelled.get_mut(&block);
        left.is_some_and(|left| {
            let was = *left > 0;
            *left = left.saturating_sub(1);
            was
        })
    }

    fn answer(&mut self, block: Block) {
        let left = self.to_answer.get_mut(&block);
        let left = left.unwrap_or_else(|| panic!("answers {block:?}, which was not asked for"));
        *left -= 1;
        if *left == 0 {
            self.to_answer.remove(&block);
        }
    }
}
