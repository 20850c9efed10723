//! Single operations, repeated so often that valgrind can count their instructions.
//!
//!     micro              the names of the operations
//!     micro NAME TIMES   does it
//!
//! `tests/bench/run micro` makes the table.
#![expect(clippy::unwrap_used, reason = "a benchmark ends at the first failure")]

use std::collections::VecDeque;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use minitorrent::base::bitfield::Bitfield;
use minitorrent::base::ids::{Block, PeerId, Piece};
use minitorrent::base::rng::Rng;
use minitorrent::base::time::Instant;
use minitorrent::engine::Session;
use minitorrent::engine::command::Settings;
use minitorrent::engine::torrent::picker::Picker;
use minitorrent::reactor::{Listening, Reactor};
use minitorrent::wire::message::{self, Message};

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    let [_, name, times] = &arguments[..] else {
        OPERATIONS.iter().for_each(|(name, _)| println!("{name}"));
        return;
    };
    let known = OPERATIONS.iter().find(|(known, _)| known == name);
    known.unwrap().1(times.parse().unwrap());
}

/// A name, and what does the operation so many times.
type Operation = (&'static str, fn(usize));

const OPERATIONS: &[Operation] = &[
    ("decode-piece", |times| {
        let data = vec![7; 16_384];
        decode(
            times,
            &Message::Piece {
                piece: Piece(9),
                begin: 16_384,
                data: &data,
            },
        );
    }),
    ("decode-request", |times| {
        let block = Block {
            piece: Piece(9),
            begin: 0,
            len: 16_384,
        };
        decode(times, &Message::Request(block));
    }),
    ("decode-have", |times| {
        decode(times, &Message::Have(Piece(9)))
    }),
    ("have-of-100000", |times| have(times, 100_000)),
    ("have-of-10000", |times| have(times, 10_000)),
    ("have-of-1000", |times| have(times, 1_000)),
    ("pick-of-100000", |times| pick(times, 100_000)),
    ("pick-of-10000", |times| pick(times, 10_000)),
    ("pick-of-1000", |times| pick(times, 1_000)),
    ("turn-with-nothing-to-do", |times| {
        let mut reactor = Reactor::new().unwrap();
        let settings = Settings::new(PeerId([b'x'; 20]));
        let session = Session::new(Instant::default(), settings, [3; 32]);
        let listening = Listening::bind(IpAddr::V4(Ipv4Addr::LOCALHOST), 0..=0).unwrap();
        reactor.host(session, vec![listening]).unwrap();
        for _ in 0..times {
            reactor.turn(Some(Duration::ZERO)).unwrap();
        }
    }),
];

fn decode(times: usize, message: &Message<'_>) {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    for _ in 0..times {
        black_box(message::decode(black_box(&bytes), 0).unwrap());
    }
}

/// One of 200 peers says that it has a piece.
fn have(times: usize, pieces: u32) {
    let (mut picker, mut rng, _) = picker(pieces);
    for _ in 0..times {
        picker.add_copy(Piece(rng.below(pieces as usize) as u32));
    }
}

/// One of 200 peers is asked for a piece, which is done some picks later: half of the pieces stay open.
fn pick(times: usize, pieces: u32) {
    let (mut picker, mut rng, peers) = picker(pieces);
    let mut begun = VecDeque::new();
    for at in 0..times {
        let peer = &peers[at % peers.len()];
        let piece = picker.pick(false, &mut rng, Some(peer), |piece| peer.has(piece));
        let piece = piece.unwrap();
        picker.close(piece);
        begun.push_back(piece);
        if begun.len() > (pieces / 2) as usize {
            picker.open(begun.pop_front().unwrap());
        }
    }
}

/// Open pieces, and 200 peers that have half of them each.
fn picker(pieces: u32) -> (Picker, Rng, Vec<Bitfield>) {
    let mut rng = Rng::new([5; 32]);
    let mut picker = Picker::new(pieces, &mut rng);
    (0..pieces).for_each(|piece| picker.open(Piece(piece)));
    let peers = (0..200).map(|_| {
        let mut bits = Bitfield::new(pieces);
        for piece in 0..pieces {
            if rng.below(2) == 0 {
                bits.insert(Piece(piece));
            }
        }
        bits.iter().for_each(|piece| picker.add_copy(piece));
        bits
    });
    let peers = peers.collect();
    (picker, rng, peers)
}
