//! Single operations, repeated so often that valgrind can count their instructions.
//!
//!     micro              the names of the operations
//!     micro NAME TIMES   does it
//!
//! `tests/bench/run micro` makes the table.
#![expect(clippy::unwrap_used, reason = "a benchmark ends at the first failure")]

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
    ("picker-have", |times| {
        let (mut picker, mut rng, _) = picker();
        for _ in 0..times {
            picker.add_copy(Piece(rng.below(PIECES as usize) as u32));
        }
    }),
    ("picker-pick-and-close", |times| {
        let (mut picker, mut rng, peers) = picker();
        for at in 0..times {
            let peer = &peers[at % peers.len()];
            let piece = picker.pick(false, &mut rng, Some(peer), |piece| peer.has(piece));
            picker.close(piece.unwrap());
        }
    }),
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

/// 100,000 open pieces, and 200 peers that have half of them each.
fn picker() -> (Picker, Rng, Vec<Bitfield>) {
    let mut rng = Rng::new([5; 32]);
    let mut picker = Picker::new(PIECES, &mut rng);
    (0..PIECES).for_each(|piece| picker.open(Piece(piece)));
    let peers = (0..200).map(|_| {
        let mut bits = Bitfield::new(PIECES);
        for piece in (0..PIECES).filter(|piece| (piece.wrapping_mul(0x9e37_79b9) >> 7) % 2 == 0) {
            bits.insert(Piece(piece));
        }
        for _ in 0..1000 {
            bits.insert(Piece(rng.below(PIECES as usize) as u32));
        }
        bits.iter().for_each(|piece| picker.add_copy(piece));
        bits
    });
    let peers = peers.collect();
    (picker, rng, peers)
}

const PIECES: u32 = 100_000;
