//! Scripted peers: an old but honest one, and liars of many kinds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use minitorrent::base::ids::{Block, PeerId, Piece};
use minitorrent::base::rng::Rng;
use minitorrent::wire::handshake::{self, Reserved};
use minitorrent::wire::message::{self, Decoded, Message};
use minitorrent::wire::metainfo::Metainfo;

/// What a scripted peer is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Honest, and as old as BEP 3: no extension.
    Plain,
    /// Every block it sends is wrong.
    Corrupt,
    /// Some of the blocks it sends are wrong.
    Poison,
    /// Sends blocks of other lengths than asked.
    WrongLength,
    /// Greets, claims everything, unchokes, and never answers.
    Silent,
    /// Never greets.
    Mute,
    /// Answers a request in twenty, and late.
    Drip,
    /// Breaks the connection at its third answer.
    Breaker,
    /// Claims everything and rejects every request.
    Claimer,
    /// Chokes and unchokes after every few requests, and forgets those of before.
    Flapper,
    /// Greets well, then sends noise.
    Noise,
    /// Breaks the connection in the middle of a block.
    Midway,
    /// Sends its words a few bytes a second.
    Dribble,
    /// Sends blocks that nobody asked for, and those that were asked for too.
    Unasked,
    /// Sends words without end, more than anyone needs.
    Flood,
    /// Claims pieces that are not of the torrent.
    Beyond,
    /// Says that a message follows that is longer than any may be.
    TooLong,
    /// Asks for everything at once, choked or not, and reads nothing of it.
    Greedy,
}

impl Kind {
    /// All kinds.
    pub(crate) const ALL: [Self; 18] = [
        Self::Plain,
        Self::Corrupt,
        Self::Poison,
        Self::WrongLength,
        Self::Silent,
        Self::Mute,
        Self::Drip,
        Self::Breaker,
        Self::Claimer,
        Self::Flapper,
        Self::Noise,
        Self::Midway,
        Self::Dribble,
        Self::Unasked,
        Self::Flood,
        Self::Beyond,
        Self::TooLong,
        Self::Greedy,
    ];

    /// Whether it sends bytes that deserve a ban.
    pub(crate) fn lies(self) -> bool {
        // What nobody asked for may come when it has just been asked for.
        matches!(self, Self::Corrupt | Self::Poison | Self::Unasked)
    }

    fn fast(self) -> bool {
        matches!(
            self,
            Self::Corrupt | Self::Claimer | Self::Silent | Self::Greedy
        )
    }
}

/// A scripted peer and its conversations, by socket.
pub(crate) struct Script {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    meta: Arc<Metainfo>,
    content: Arc<Vec<u8>>,
    talks: BTreeMap<usize, Talk>,
}

#[derive(Default)]
struct Talk {
    bytes: Vec<u8>,
    greeted: bool,
    spoken: bool,
    requests: u32,
    choking: bool,
}

/// What a script does next.
pub(crate) enum Act {
    /// Send these bytes after so many microseconds.
    Send(u64, Vec<u8>),
    /// Break the connection.
    Break,
    /// Close the connection after so many microseconds.
    End(u64),
}

impl Script {
    /// A peer that knows the torrent and talks to nobody yet.
    pub(crate) fn new(
        kind: Kind,
        address: SocketAddr,
        meta: Arc<Metainfo>,
        content: Arc<Vec<u8>>,
    ) -> Self {
        Self {
            kind,
            address,
            meta,
            content,
            talks: BTreeMap::new(),
        }
    }

    /// A connection stands.
    pub(crate) fn handle_open(&mut self, sock: usize, dialled: bool) -> Vec<Act> {
        self.talks.insert(sock, Talk::default());
        if dialled {
            self.greet(sock)
        } else {
            Vec::new()
        }
    }

    /// A connection is gone.
    pub(crate) fn handle_gone(&mut self, sock: usize) {
        self.talks.remove(&sock);
    }

    /// Whether it leaves what comes in its socket.
    pub(crate) fn reads_nothing(&self) -> bool {
        self.kind == Kind::Greedy
    }

    /// Bytes came.
    pub(crate) fn handle_bytes(&mut self, sock: usize, bytes: &[u8], rng: &mut Rng) -> Vec<Act> {
        let mut acts = self.greet(sock);
        let Some(mut talk) = self.talks.remove(&sock) else {
            return acts;
        };
        talk.bytes.extend_from_slice(bytes);
        let mut at = 0;
        if !talk.greeted && talk.bytes.len() >= handshake::LEN {
            (talk.greeted, at) = (true, handshake::LEN);
        }
        let bitfield_len = self.meta.geometry.pieces().div_ceil(8) as usize;
        let stream = std::mem::take(&mut talk.bytes);
        while talk.greeted {
            match message::decode(&stream[at..], bitfield_len) {
                Ok(Decoded::Message { message, used }) => {
                    self.answer(&mut talk, message, rng, &mut acts);
                    at += used;
                }
                Ok(Decoded::Incomplete { .. }) => break,
                Err(error) => panic!("a session sent what no peer takes: {error:?}"),
            }
        }
        talk.bytes = stream[at..].to_vec();
        self.talks.insert(sock, talk);
        acts
    }

    fn greet(&mut self, sock: usize) -> Vec<Act> {
        let Some(talk) = self.talks.get_mut(&sock) else {
            return Vec::new();
        };
        if std::mem::replace(&mut talk.spoken, true) || self.kind == Kind::Mute {
            return Vec::new();
        }
        let reserved = match self.kind.fast() {
            true => Reserved([0, 0, 0, 0, 0, 0, 0, 0x04]),
            false => Reserved::default(),
        };
        let mut id = *b"-XX0000-............";
        id[12..].copy_from_slice(&u64::from(self.address.port()).to_be_bytes());
        id[8..12].copy_from_slice(&match self.address {
            SocketAddr::V4(v4) => v4.ip().octets(),
            SocketAddr::V6(_) => [0; 4],
        });
        let mut bytes = handshake::encode(reserved, self.meta.info_hash, PeerId(id)).to_vec();
        if self.kind == Kind::Noise {
            bytes.extend([0x77; 500]);
            return vec![Act::Send(0, bytes)];
        }
        if self.kind.fast() {
            Message::HaveAll.encode(&mut bytes);
        } else {
            let pieces = self.meta.geometry.pieces();
            let all = minitorrent::base::bitfield::Bitfield::full(pieces);
            Message::Bitfield(all.as_bytes()).encode(&mut bytes);
        }
        Message::Unchoke.encode(&mut bytes);
        self.misbehave(&mut bytes);
        if self.kind == Kind::Dribble {
            let bites = bytes.chunks(9).enumerate();
            return bites
                .map(|(at, bite)| Act::Send(at as u64 * 1_000_000, bite.to_vec()))
                .collect();
        }
        vec![Act::Send(0, bytes)]
    }

    /// What a liar says behind its greeting.
    fn misbehave(&self, bytes: &mut Vec<u8>) {
        let pieces = self.meta.geometry.pieces();
        match self.kind {
            Kind::Flood => (0..60_000).for_each(|_| Message::NotInterested.encode(bytes)),
            Kind::Beyond => Message::Have(Piece(pieces + 7)).encode(bytes),
            Kind::TooLong => bytes.extend([0x7f, 0xff, 0xff, 0xff, 7]),
            Kind::Greedy => {
                Message::Interested.encode(bytes);
                for piece in (0..pieces).map(Piece) {
                    for at in 0..self.meta.geometry.blocks(piece) {
                        let block = self.meta.geometry.block(piece, at);
                        Message::Request(block).encode(bytes);
                    }
                }
            }
            Kind::Unasked => {
                for piece in (0..pieces.min(4)).map(Piece) {
                    let (begin, data) = (0, &[0x66; 1000][..]);
                    Message::Piece { piece, begin, data }.encode(bytes);
                }
            }
            _ => {}
        }
    }

    fn answer(&self, talk: &mut Talk, message: Message<'_>, rng: &mut Rng, acts: &mut Vec<Act>) {
        let Message::Request(block) = message else {
            return;
        };
        talk.requests += 1;
        let mut data = self.data(block);
        let mut wait = 0;
        match self.kind {
            Kind::Plain => {}
            Kind::Corrupt => data[0] ^= 1,
            Kind::Poison if rng.below(4) == 0 => data[0] ^= 1,
            Kind::Poison => {}
            Kind::WrongLength => {
                data.push(0);
            }
            Kind::Silent | Kind::Mute | Kind::Noise | Kind::Beyond | Kind::TooLong => return,
            Kind::Flood | Kind::Greedy | Kind::Unasked => {}
            Kind::Midway if talk.requests == 4 => {
                let (piece, begin) = (block.piece, block.begin);
                let data = &data[..];
                let mut bytes = encoded(Message::Piece { piece, begin, data });
                bytes.truncate(bytes.len() / 2);
                acts.push(Act::Send(0, bytes));
                return acts.push(Act::End(200_000));
            }
            Kind::Midway if talk.requests > 4 => return,
            Kind::Midway | Kind::Dribble => {}
            Kind::Drip if talk.requests.is_multiple_of(20) => wait = 9_000_000,
            Kind::Drip => return,
            Kind::Breaker if talk.requests == 3 => return acts.push(Act::Break),
            Kind::Breaker => {}
            Kind::Claimer => {
                return acts.push(Act::Send(0, encoded(Message::Reject(block))));
            }
            Kind::Flapper if talk.requests.is_multiple_of(5) => {
                talk.choking = !talk.choking;
                acts.push(Act::Send(0, encoded(Message::Choke)));
                return acts.push(Act::Send(500_000, encoded(Message::Unchoke)));
            }
            Kind::Flapper => {}
        }
        let (piece, begin) = (block.piece, block.begin);
        let data = &data[..];
        acts.push(Act::Send(
            wait,
            encoded(Message::Piece { piece, begin, data }),
        ));
    }

    fn data(&self, block: Block) -> Vec<u8> {
        let at = self.meta.geometry.offset(block) as usize;
        self.content[at..][..block.len as usize].to_vec()
    }
}

fn encoded(message: Message<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    bytes
}
