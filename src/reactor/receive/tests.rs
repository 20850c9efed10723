//! What comes in one turn from several connections, on real sockets and files.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{ROOM_MIN, most};
use crate::base::ids::{PeerId, Piece};
use crate::base::limits::BLOCK;
use crate::base::memory::{HASHES_TWO, Memory};
use crate::base::time::Instant;
use crate::disk::Place;
use crate::disk::mem::{content, meta};
use crate::engine::Session;
use crate::engine::command::{AddTorrent, Aim, Settings};
use crate::engine::io::Event;
use crate::reactor::{HostId, Listening, Reactor};
use crate::wire::handshake::{self, Reserved};
use crate::wire::message::{self, Decoded, Message};
use crate::wire::metainfo::{FileKind, Metainfo};

const B: usize = BLOCK as usize;

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("minitorrent-receive-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A torrent of `name`: a block is a piece.
fn torrent(name: &str, bytes: &[u8]) -> Arc<Metainfo> {
    let files = [(name, bytes.len() as u64, FileKind::Regular)];
    meta(BLOCK, &files, bytes)
}

/// A session in the reactor that fetches a torrent into `scratch`, and where it listens.
fn leecher(reactor: &mut Reactor, scratch: &Scratch, meta: &Arc<Metainfo>) -> (HostId, SocketAddr) {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let listening = Listening::bind(ip, 0..=0).expect("a free port");
    let address = listening.address();
    let mut settings = Settings::new(PeerId([b'x'; 20]));
    settings.port = address.port();
    let session = Session::new(Instant::default(), settings, [3; 32]);
    let host = reactor.host(session, vec![listening]).expect("it listens");
    let torrent = AddTorrent {
        metainfo: Arc::clone(meta),
        aim: Aim::Download,
        peers: Vec::new(),
    };
    let added = reactor.add(host, torrent, Place::new(&scratch.0));
    added.expect("a good place");
    // Before that it takes nobody in.
    let is_checked = |event: &Event| matches!(event, Event::Checked { .. });
    until(reactor, |heard| {
        heard.iter().any(|(_, event)| is_checked(event))
    });
    (host, address)
}

/// A peer that has one piece.
struct Peer {
    tcp: TcpStream,
    piece: u32,
    heard: Vec<u8>,
}

impl Peer {
    #[expect(
        clippy::disallowed_methods,
        reason = "the other side; the system connects it before the loop looks"
    )]
    fn connect(to: SocketAddr, meta: &Metainfo, piece: u32) -> Self {
        let mut tcp = TcpStream::connect(to).expect("somebody listens");
        tcp.set_nonblocking(true).expect("a plain socket");
        let id = PeerId([b'a' + piece as u8; 20]);
        let mut bytes = handshake::encode(Reserved::default(), meta.info_hash, id).to_vec();
        Message::Bitfield(&[0x80 >> piece]).encode(&mut bytes);
        Message::Unchoke.encode(&mut bytes);
        tcp.write_all(&bytes).expect("there is room");
        let heard = Vec::new();
        Self { tcp, piece, heard }
    }

    /// Whether its piece has been asked for.
    fn is_asked(&mut self) -> bool {
        let mut bytes = [0; 1024];
        while let Ok(len @ 1..) = self.tcp.read(&mut bytes) {
            self.heard.extend(&bytes[..len]);
        }
        let mut at = handshake::LEN;
        while let Some(Ok(Decoded::Message { message, used })) =
            self.heard.get(at..).map(|rest| message::decode(rest, 1))
        {
            if let Message::Request(block) = message {
                return block.piece == Piece(self.piece);
            }
            at += used;
        }
        false
    }

    /// Sends a part of the message with its piece.
    fn send(&mut self, content: &[u8], part: Range<usize>) {
        let at = self.piece as usize * B;
        let message = Message::Piece {
            piece: Piece(self.piece),
            begin: 0,
            data: &content[at..at + B],
        };
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.tcp.write_all(&bytes[part]).expect("there is room");
    }
}

/// A whole message with a block.
const ALL: Range<usize> = 0..B + 13;

/// Turns until all of these were asked for their piece.
fn until_asked(reactor: &mut Reactor, peers: &mut [Peer]) {
    until(reactor, |_| peers.iter_mut().all(Peer::is_asked));
}

/// Turns until it is so, which the events of each turn may tell.
fn until(reactor: &mut Reactor, mut is_so: impl FnMut(&[(HostId, Event)]) -> bool) {
    let began = reactor.now();
    while !is_so(&reactor.take_events()) {
        let most = Some(Duration::from_millis(10));
        reactor.turn(most).expect("it can wait");
        assert!(reactor.now() - began < Duration::from_secs(30));
    }
}

/// Turns until so many pieces are done, and says which, by session.
fn done(reactor: &mut Reactor, pieces: usize) -> Vec<(HostId, Piece)> {
    let mut done = Vec::new();
    until(reactor, |heard| {
        for (host, event) in heard {
            match event {
                Event::PieceDone { piece, .. } => done.push((*host, *piece)),
                Event::PieceFailed { .. } => panic!("{event:?}"),
                _ => {}
            }
        }
        done.len() >= pieces
    });
    done.sort();
    done
}

#[test]
fn blocks_that_several_peers_send_at_once_come_each_to_its_place() {
    // All go into one batch, or no more than two.
    send_at_once(Memory::default());
    send_at_once(Memory {
        receive: 5 * ALL.end,
        ..Memory::default()
    });
}

fn send_at_once(memory: Memory) {
    let scratch = Scratch::new();
    let content = content(4 * B);
    let meta = torrent("x", &content);
    let mut reactor = Reactor::within(memory).expect("a poll");
    let (host, address) = leecher(&mut reactor, &scratch, &meta);
    let mut peers = [0, 1, 2, 3].map(|piece| Peer::connect(address, &meta, piece));
    until_asked(&mut reactor, &mut peers);
    // One is cut in the middle.
    peers[0].send(&content, ALL);
    peers[1].send(&content, 0..9_999);
    peers[2].send(&content, ALL);
    assert_eq!(done(&mut reactor, 2), [(host, Piece(0)), (host, Piece(2))]);
    // And one ends when what another brought is not with the disk yet.
    peers[3].send(&content, ALL);
    peers[2].tcp.shutdown(Shutdown::Write).expect("it stands");
    peers[1].send(&content, 9_999..ALL.end);
    assert_eq!(done(&mut reactor, 2), [(host, Piece(1)), (host, Piece(3))]);
    assert!(fs::read(scratch.0.join("x")).expect("it is there") == content);
}

#[test]
fn blocks_of_two_sessions_that_come_at_once_are_not_mixed_up() {
    let (scratch, other) = (Scratch::new(), Scratch::new());
    let all = content(4 * B);
    let contents = [&all[..2 * B], &all[2 * B..]];
    let metas = [torrent("x", contents[0]), torrent("y", contents[1])];
    let mut reactor = Reactor::new().expect("a poll");
    let (x, at_x) = leecher(&mut reactor, &scratch, &metas[0]);
    let (y, at_y) = leecher(&mut reactor, &other, &metas[1]);
    // In turn: a batch of one session ends when the other's is to begin.
    let mut peers = [(at_x, 0, 0), (at_y, 1, 0), (at_x, 0, 1), (at_y, 1, 1)]
        .map(|(at, which, piece)| Peer::connect(at, &metas[which], piece));
    until_asked(&mut reactor, &mut peers);
    for (n, peer) in peers.iter_mut().enumerate() {
        peer.send(contents[n % 2], ALL);
    }
    let expected = [x, y].map(|host| [(host, Piece(0)), (host, Piece(1))]);
    assert_eq!(done(&mut reactor, 4), expected.as_flattened());
    for (scratch, name, content) in [(&scratch, "x", contents[0]), (&other, "y", contents[1])] {
        assert!(fs::read(scratch.0.join(name)).expect("it is there") == content);
    }
}

#[test]
fn of_long_pieces_one_connection_takes_half_of_the_buffer_while_there_are_others() {
    let buffer = Memory::default().receive;
    let (usual, long) = (Some(256 * 1024), Some(512 * 1024));
    let half = if HASHES_TWO { buffer / 2 } else { buffer };
    assert_eq!(most(buffer, 0, true, long), half);
    assert_eq!(most(buffer, 100, false, long), half.min(buffer - 100));
    assert_eq!(most(buffer, buffer - 100, true, long), 100);
    // Nobody waits, and nobody came before.
    assert_eq!(most(buffer, 0, false, long), buffer);
    // Neither its pieces nor the messages of others fill the buffer.
    let (short, none) = (if HASHES_TWO { usual } else { None }, None);
    assert_eq!(most(buffer, 0, true, short), buffer);
    assert_eq!(most(buffer, 0, true, none), buffer);
    // Two reads would not fit into it.
    let small = 2 * ROOM_MIN - 1;
    assert_eq!(most(small, 0, true, long), small);
}
