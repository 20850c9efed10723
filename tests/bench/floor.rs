//! What this machine can't go below: one thread that moves 1 GiB and does nothing else.
//!
//!     floor download DIR    receive from a socket, SHA-1, write to a new file
//!     floor crowd DIR       the same from 12 sockets in turns
//!     floor files DIR       the same into 10,000 new files of 16 KiB; 156 MiB, and the figure is for 1 GiB
//!     floor upload DIR      read blocks of 16 KiB from a file, send them
//!     floor recheck DIR     read a file, SHA-1
//!
//! Prints the processor seconds of that thread.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a benchmark has another side, waits for it, and ends at the first failure"
)]

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::thread::{self, JoinHandle};

use minitorrent::base::buffer::Buffer;
use sha1::{Digest as _, Sha1};

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    let [_, kind, dir] = &arguments[..] else {
        panic!("usage: floor download|crowd|files|upload|recheck DIR");
    };
    let dir = Path::new(dir).join("floor");
    fs::create_dir(&dir).unwrap();
    let path = dir.join("file");
    let seconds = match kind.as_str() {
        "download" => download(&path, 1),
        "crowd" => download(&path, 12),
        "files" => files(&dir),
        "upload" => upload(&path),
        _ => recheck(&path),
    };
    fs::remove_dir_all(&dir).unwrap();
    println!("{seconds:.3}");
}

fn download(path: &Path, senders: usize) -> f64 {
    let mut senders = Senders::start(senders, GIB / PIECE);
    let file = File::create(path).unwrap();
    let mut piece = Buffer::new(PIECE);
    let began = spent();
    for at in 0..GIB / PIECE {
        senders.receive(at, &mut piece);
        black_box(Sha1::digest(&*piece));
        file.write_all_at(&piece, (at * PIECE) as u64).unwrap();
    }
    let seconds = spent() - began;
    senders.end();
    seconds
}

fn files(dir: &Path) -> f64 {
    let pieces = FILES * BLOCK / PIECE;
    let mut senders = Senders::start(1, pieces);
    let mut piece = Buffer::new(PIECE);
    let began = spent();
    let mut below = dir.to_owned();
    for at in 0..pieces {
        senders.receive(at, &mut piece);
        black_box(Sha1::digest(&*piece));
        for (file, block) in piece.chunks(BLOCK).enumerate() {
            let file = at * (PIECE / BLOCK) + file;
            if file.is_multiple_of(FILES / DIRECTORIES) {
                below = dir.join(format!("d{file}"));
                fs::create_dir(&below).unwrap();
            }
            let new = File::create_new(below.join(format!("f{file}")));
            new.unwrap().write_all_at(block, 0).unwrap();
        }
    }
    let seconds = spent() - began;
    senders.end();
    seconds * GIB as f64 / (pieces * PIECE) as f64
}

/// Threads that send pieces, of which each has its turn.
struct Senders {
    sockets: Vec<TcpStream>,
    threads: Vec<JoinHandle<()>>,
}

impl Senders {
    fn start(count: usize, pieces: usize) -> Self {
        let (sockets, ends): (Vec<_>, Vec<_>) = (0..count).map(|_| pair()).unzip();
        let sends = |(first, mut there): (usize, TcpStream)| {
            let each = (first..pieces).step_by(count).len();
            thread::spawn(move || {
                let bytes = noise();
                (0..each).for_each(|_| there.write_all(&bytes).unwrap());
            })
        };
        let threads = ends.into_iter().enumerate().map(sends).collect();
        Self { sockets, threads }
    }

    fn receive(&mut self, at: usize, piece: &mut [u8]) {
        let turn = at % self.sockets.len();
        self.sockets[turn].read_exact(piece).unwrap();
    }

    fn end(self) {
        self.threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    }
}

fn upload(path: &Path) -> f64 {
    let file = filled(path);
    let (mut here, mut there) = pair();
    let receiver = thread::spawn(move || {
        let mut buffer = vec![0; PIECE];
        while there.read(&mut buffer).unwrap() > 0 {}
    });
    let mut block = Buffer::new(ROUND + BLOCK);
    let began = spent();
    for at in 0..GIB / BLOCK {
        file.read_exact_at(&mut block[ROUND..], (at * BLOCK) as u64)
            .unwrap();
        here.write_all(&block[ROUND - HEADER..]).unwrap();
    }
    let seconds = spent() - began;
    drop(here);
    receiver.join().unwrap();
    seconds
}

fn recheck(path: &Path) -> f64 {
    let file = filled(path);
    let mut piece = Buffer::new(PIECE);
    let began = spent();
    for at in 0..GIB / PIECE {
        file.read_exact_at(&mut piece, (at * PIECE) as u64).unwrap();
        black_box(Sha1::digest(&*piece));
    }
    spent() - began
}

fn filled(path: &Path) -> File {
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .unwrap();
    let bytes = noise();
    (0..GIB / PIECE).for_each(|_| file.write_all(&bytes).unwrap());
    file
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

fn noise() -> Vec<u8> {
    let mixed = |at: usize| (at.wrapping_mul(0x9e37_79b9) >> 13) as u8;
    (0..PIECE).map(mixed).collect()
}

/// Processor seconds of this thread so far.
fn spent() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos: f64 = text.split(' ').next().unwrap().parse().unwrap();
    nanos / 1e9
}

const GIB: usize = 1 << 30;
const PIECE: usize = 256 << 10;
const BLOCK: usize = 16 << 10;
const HEADER: usize = 13;
/// A block begins at a round address: so it is read the fastest.
const ROUND: usize = 64;
const FILES: usize = 10_000;
const DIRECTORIES: usize = 20;
