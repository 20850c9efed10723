//! A seeder that keeps a pace, falls silent when it is told to, and knows what it was asked for.

use std::collections::BTreeSet;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use sha1::{Digest as _, Sha1};

use crate::program::{PIECE, torrent};

/// It has all of a payload, and serves until the process ends.
pub(crate) struct Seeder {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    payload: Vec<u8>,
    greeting: Vec<u8>,
    /// The time a block takes, all connections together.
    pace: Duration,
    next: Mutex<Instant>,
    /// Blocks it serves before it falls silent.
    most: u64,
    served: AtomicU64,
    asked: Mutex<BTreeSet<u32>>,
}

impl Seeder {
    /// A seeder of this payload that serves so many bytes a second, and `most` blocks of 16 KiB altogether.
    pub(crate) fn start(payload: &[u8], rate: u32, most: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let mut greeting = b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0".to_vec();
        greeting.extend(info_hash(payload));
        greeting.extend(b"-SE0000-seedseedseed");
        let shared = Arc::new(Shared {
            payload: payload.to_vec(),
            greeting,
            pace: Duration::from_secs(1) * BLOCK / rate,
            next: Mutex::new(Instant::now()),
            most,
            served: AtomicU64::new(0),
            asked: Mutex::default(),
        });
        let theirs = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&theirs);
                // A connection's error is its end: the other side was killed.
                thread::spawn(move || shared.serve(stream));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Blocks served so far.
    pub(crate) fn served(&self) -> u64 {
        self.shared.served.load(Ordering::SeqCst)
    }

    /// The pieces it was asked for since the last time this was asked.
    pub(crate) fn take_asked(&self) -> BTreeSet<u32> {
        std::mem::take(&mut *self.shared.asked.lock().expect("nobody panics holding it"))
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.read_exact(&mut [0; 68])?;
        stream.write_all(&self.greeting)?;
        let pieces = self.payload.len().div_ceil(PIECE);
        let mut have = vec![0; pieces.div_ceil(8)];
        (0..pieces).for_each(|piece| have[piece / 8] |= 0x80 >> (piece % 8));
        stream.write_all(&message(0x05, &[&have]))?;
        stream.write_all(&message(0x01, &[]))?;
        loop {
            let mut length = [0; 4];
            stream.read_exact(&mut length)?;
            let mut body = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut body)?;
            let Some((0x06, request)) = body.split_first() else {
                continue;
            };
            let word = |at: usize| request[at..at + 4].try_into().map(u32::from_be_bytes);
            let [piece, begin, len] = [0, 4, 8].map(|at| word(at).expect("four bytes"));
            let asked = &self.asked;
            asked
                .lock()
                .expect("nobody panics holding it")
                .insert(piece);
            if self.served.load(Ordering::SeqCst) >= self.most {
                continue;
            }
            self.wait_for_turn();
            let from = piece as usize * PIECE + begin as usize;
            let block = &self.payload[from..from + len as usize];
            stream.write_all(&message(0x07, &[&request[..8], block]))?;
            self.served.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn wait_for_turn(&self) {
        let wait = {
            let mut next = self.next.lock().expect("nobody panics holding it");
            let now = Instant::now();
            let turn = (*next).max(now);
            *next = turn + self.pace;
            turn - now
        };
        thread::sleep(wait);
    }
}

/// The SHA-1 of the `info` of the torrent of this payload.
pub(crate) fn info_hash(payload: &[u8]) -> [u8; 20] {
    let torrent = torrent(payload, None);
    Sha1::digest(&torrent["d4:info".len()..torrent.len() - 1]).into()
}

fn message(id: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = u32::try_from(length).expect("short").to_be_bytes().to_vec();
    bytes.push(id);
    bytes.extend(parts.concat());
    bytes
}

/// Bytes of a block.
pub(crate) const BLOCK: u32 = 16 * 1024;
