//! Sequences of operations on a whole session.

use std::net::SocketAddr;
use std::time::Duration;

use minitorrent::base::ids::{Block, Piece};
use minitorrent::engine::command::{AddTorrent, Aim, Command};
use minitorrent::engine::io::{ConnId, ConnectError, Input};
use minitorrent::wire::handshake::{self, Reserved};
use minitorrent::wire::message::Message;

use super::source::Source;
use super::world::World;

/// One peer that says anything at all.
pub fn peer_script(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let mut world = World::new(&mut source);
    check(&mut world, &mut source);
    let mut conn = None;
    while !source.is_empty() {
        let here = conn.filter(|conn| world.ends.contains_key(conn));
        let Some(here) = here else {
            conn = world.knock(address(0));
            if let Some(conn) = conn {
                greet(&mut world, &mut source, conn);
            } else {
                world.pass(Duration::from_secs(10));
                source.byte();
            }
            continue;
        };
        let op = source.below(16);
        talk(&mut world, &mut source, here, op);
    }
    world.finish();
}

/// Several peers, trackers, commands, and a disk with a mind of its own.
pub fn session_script(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let mut world = World::new(&mut source);
    if source.flag() {
        check(&mut world, &mut source);
    }
    while !source.is_empty() {
        let op = source.below(24);
        match op {
            16 => {
                let from = source.below(8);
                world.knock(address(from));
            }
            17 => connect(&mut world, &mut source),
            18 => command(&mut world, &mut source),
            19 => datagram(&mut world, &mut source),
            20 => announce_reply(&mut world, &mut source),
            21 => {
                let from = source.below(8);
                if let Some(conn) = world.knock(address(from)) {
                    greet(&mut world, &mut source, conn);
                }
            }
            _ => {
                let at = source.below(world.ends.len().max(1));
                match world.ends.keys().nth(at).copied() {
                    Some(conn) if op == 22 => greet(&mut world, &mut source, conn),
                    Some(conn) => talk(&mut world, &mut source, conn, op),
                    None => alone(&mut world, &mut source, op),
                }
            }
        }
    }
    world.finish();
}

/// The first look at the disk, to its end.
fn check(world: &mut World, source: &mut Source<'_>) {
    let mut pattern = source.byte();
    while world.disk.is_busy() {
        let mood = if pattern == 0xff { 1 } else { pattern & 1 };
        pattern = pattern.rotate_right(1);
        if let Some(done) = world.disk.answer(mood) {
            world.tell(Input::DiskDone(done));
        }
    }
}

/// What one end does, or what happens meanwhile.
fn talk(world: &mut World, source: &mut Source<'_>, conn: ConnId, op: usize) {
    match op {
        0 => {
            let len = source.below(100);
            world.say(conn, source.take(len));
        }
        1..=4 => {
            let bytes = message(world, source);
            world.say(conn, &bytes);
        }
        5 => {
            // A message in two halves.
            let bytes = message(world, source);
            let (front, back) = bytes.split_at(source.below(bytes.len()));
            world.say(conn, front);
            world.say(conn, back);
        }
        6..=8 => answer_request(world, source, conn),
        9 => {
            // A burst of one message.
            let one = message(world, source);
            let count = source.byte();
            let many = one.repeat(if one.len() > 1000 {
                2
            } else {
                usize::from(count)
            });
            world.say(conn, &many);
        }
        10 | 11 => {
            let most = [1, 100, 20_000, 1 << 20][source.below(4)];
            world.take(conn, most);
        }
        12 if source.below(8) == 7 => {
            let ended = source.flag();
            world.ends.entry(conn).and_modify(|end| end.open = false);
            world.tell(if ended {
                Input::Ended { conn }
            } else {
                Input::Failed { conn }
            });
            assert!(!world.ends.contains_key(&conn), "it is not let go");
        }
        12 => world.lose(conn, source.byte()),
        _ => alone(world, source, op),
    }
}

/// What happens without any peer.
fn alone(world: &mut World, source: &mut Source<'_>, op: usize) {
    match op % 3 {
        0 => {
            let micros = 1u64 << source.below(29);
            world.pass(Duration::from_micros(micros));
        }
        _ => {
            if let Some(done) = world.disk.answer(source.byte()) {
                world.tell(Input::DiskDone(done));
            }
        }
    }
}

fn greet(world: &mut World, source: &mut Source<'_>, conn: ConnId) {
    let mut reserved = Reserved::OURS;
    let kind = source.byte();
    if kind & 1 == 1 {
        reserved.0[7] = 0;
    }
    if kind & 2 == 2 {
        reserved.0[5] = 0;
    }
    let mut id = super::world::US;
    id.0[19] = kind >> 4;
    let mut bytes = handshake::encode(reserved, world.meta.info_hash, id);
    if kind & 0xc == 0xc {
        bytes[usize::from(kind) % 68] ^= 0x40;
    }
    let cut = if kind & 4 == 4 { 50 } else { 68 };
    world.say(conn, &bytes[..cut]);
    if world.ends.contains_key(&conn) {
        world.say(conn, &bytes[cut..]);
    }
}

/// A well-formed message, whose numbers may be out of range.
fn message(world: &World, source: &mut Source<'_>) -> Vec<u8> {
    let geometry = world.meta.geometry;
    let mut bytes = Vec::new();
    let kind = source.below(20);
    let piece = Piece(source.number());
    let block = if source.below(8) < 7 && geometry.has_piece(piece) {
        geometry.block(piece, u32::from(source.byte()) % geometry.blocks(piece))
    } else {
        let (begin, len) = (source.number(), source.number());
        Block { piece, begin, len }
    };
    let payload;
    let message = match kind {
        0 => Message::KeepAlive,
        1 => Message::Choke,
        2 | 18 => Message::Unchoke,
        3 => Message::Interested,
        4 => Message::NotInterested,
        5 => Message::Have(piece),
        6 => {
            let len = geometry.pieces().div_ceil(8) as usize;
            let len = len + usize::from(piece.0 == 191);
            let fill = source.byte();
            payload = (0..len).map(|_| source.byte() | fill).collect::<Vec<_>>();
            Message::Bitfield(&payload)
        }
        7 | 19 => Message::Request(block),
        8 => {
            let len = source.below(64);
            Message::Piece {
                piece,
                begin: block.begin,
                data: source.take(len),
            }
        }
        9 => Message::Cancel(block),
        10 => Message::Port(source.short()),
        11 => Message::Suggest(piece),
        12 => Message::HaveAll,
        13 => Message::HaveNone,
        14 => Message::Reject(block),
        15 => Message::AllowedFast(piece),
        16 => {
            let (id, len) = (source.below(3) as u8, source.below(64));
            let payload = source.take(len);
            Message::Extended { id, payload }
        }
        _ => {
            payload = format!("d1:pi{}e4:reqqi{}ee", source.short(), source.short()).into_bytes();
            let id = 0;
            Message::Extended {
                id,
                payload: &payload,
            }
        }
    };
    message.encode(&mut bytes);
    bytes
}

/// Sends, or refuses, what was asked for.
fn answer_request(world: &mut World, source: &mut Source<'_>, conn: ConnId) {
    world.take(conn, 1 << 20);
    let Some(end) = world.ends.get_mut(&conn) else {
        return;
    };
    let how = source.byte();
    let count = if how & 0x80 == 0 {
        1
    } else {
        1 + source.below(8)
    };
    let mut bytes = Vec::new();
    for _ in 0..count {
        let at = source.below(end.asked.len().max(1));
        let Some(block) = end.asked.remove(at) else {
            break;
        };
        let from = world.meta.geometry.offset(block) as usize;
        let data = &world.content[from..][..block.len as usize];
        let Block { piece, begin, .. } = block;
        let message = match how & 0x0f {
            0 => Message::Reject(block),
            1 => Message::Piece {
                piece,
                begin,
                data: &[],
            },
            2 => Message::Piece {
                piece,
                begin,
                data: &data[1..],
            },
            _ => Message::Piece { piece, begin, data },
        };
        message.encode(&mut bytes);
        if how & 0x10 == 0x10 {
            message.encode(&mut bytes);
        }
    }
    let cut = source.short() as usize % (bytes.len() + 1);
    world.say(conn, &bytes[..cut]);
    world.say(conn, &bytes[cut..]);
}

/// A connection that was asked for stands, or cannot be made.
fn connect(world: &mut World, source: &mut Source<'_>) {
    let mut waiting = world.ends.iter_mut().filter(|(_, end)| !end.open);
    let Some((&conn, end)) = waiting.next() else {
        return;
    };
    let why = match source.below(8) {
        0 => ConnectError::Refused,
        1 => ConnectError::Unreachable,
        2 => ConnectError::Resources,
        3 => ConnectError::Other,
        _ => {
            end.open = true;
            return world.tell(Input::Connected { conn });
        }
    };
    world.ends.remove(&conn);
    world.tell(Input::ConnectFailed { conn, why });
}

fn command(world: &mut World, source: &mut Source<'_>) {
    let torrent = world.torrent;
    let command = match source.below(16) {
        0..=2 => Command::Pause(torrent),
        3..=5 => Command::Resume(torrent),
        6 => Command::Add(AddTorrent {
            metainfo: world.meta.clone(),
            aim: Aim::Download,
            peers: Vec::new(),
        }),
        7 => Command::Shutdown,
        8 => Command::Remove(torrent),
        9 => Command::Recheck(torrent),
        kind => Command::AddPeers {
            torrent,
            peers: (0..kind).map(|_| address(source.below(8))).collect(),
        },
    };
    world.command(command);
}

/// An answer to the last datagram, or anything.
fn datagram(world: &mut World, source: &mut Source<'_>) {
    let at = source.below(5);
    let (from, sent) = match world.datagrams.get(at) {
        Some((to, bytes)) => (*to, bytes.clone()),
        None => (address(at), vec![0; 16]),
    };
    let action = source.byte() % 5;
    let mut bytes = vec![0, 0, 0, action];
    bytes.extend_from_slice(sent.get(12..16).unwrap_or_default());
    let len = source.below(64);
    bytes.extend_from_slice(source.take(len));
    world.tell(Input::Datagram {
        from,
        bytes: &bytes,
    });
}

/// A tracker answers an announce that it was sent.
fn announce_reply(world: &mut World, source: &mut Source<'_>) {
    let mut trackers = world.ends.iter().filter(|(_, end)| end.tracker && end.open);
    let Some((&conn, _)) = trackers.next() else {
        return connect(world, source);
    };
    world.take(conn, 1 << 16);
    let len = source.below(200);
    let body = source.take(len);
    let bytes = [b"HTTP/1.1 200 OK\r\n\r\n", body].concat();
    world.say(conn, &bytes);
    if source.flag() && world.ends.contains_key(&conn) {
        world.tell(Input::Ended { conn });
        assert!(!world.ends.contains_key(&conn), "it is not let go");
    }
}

/// Some hosts: near ones, far ones, and IPv6.
fn address(number: usize) -> SocketAddr {
    let text = [
        "127.0.0.2:7000",
        "127.0.0.3:7000",
        "127.0.0.4:7001",
        "198.51.100.7:7000",
        "203.0.113.9:8080",
        "[2001:db8::5]:7000",
        "[2001:db8::6]:7000",
        "127.0.0.2:7009",
    ];
    text[number % 8].parse().expect("a literal")
}
