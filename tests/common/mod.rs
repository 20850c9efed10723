//! What the tests that run the real program share: payloads, torrents, directories and ports.
//!
//! A test that uses this declares `mod common;`. Nothing here asks the program under test: payload,
//! hashes and bencode are made a second time, so that a mistake cannot agree with itself.
#![allow(dead_code, reason = "each test uses a part of this, and not the same")]

pub(crate) mod process;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use sha1::{Digest, Sha1};

/// What a torrent holds: files of bytes that look random and can be made again from any offset.
pub(crate) struct Content {
    /// The name of the file, or of the directory of the files.
    pub(crate) name: String,
    /// The bytes of a piece; the last one may be shorter.
    pub(crate) piece_length: u64,
    /// Paths below the output directory and lengths; a file may be empty.
    pub(crate) files: Vec<(PathBuf, u64)>,
    single: bool,
    seed: u64,
    hashes: Vec<[u8; 20]>,
}

impl Content {
    /// One file.
    pub(crate) fn one_file(name: &str, length: u64, piece_length: u64) -> Self {
        Self::new(
            name,
            piece_length,
            vec![(PathBuf::from(name), length)],
            true,
        )
    }

    /// A directory of files with these lengths, five hundred of them in a directory.
    pub(crate) fn many_files(name: &str, lengths: &[u64], piece_length: u64) -> Self {
        let path = |at: usize| Path::new(name).join(format!("d{:03}/f{at:05}.bin", at / 500));
        let files = lengths
            .iter()
            .enumerate()
            .map(|(at, length)| (path(at), *length))
            .collect();
        Self::new(name, piece_length, files, false)
    }

    fn new(name: &str, piece_length: u64, files: Vec<(PathBuf, u64)>, single: bool) -> Self {
        assert_eq!(piece_length % WORD, 0, "the payload is made of whole words");
        let seed = name
            .bytes()
            .fold(1, |seed, byte| mixed(seed ^ u64::from(byte)));
        let hashes = Vec::new();
        let name = name.to_owned();
        let mut content = Self {
            name,
            piece_length,
            files,
            single,
            seed,
            hashes,
        };
        let mut buffer = Vec::new();
        content.hashes = (0..content.pieces())
            .map(|piece| Sha1::digest(content.piece(piece, &mut buffer)).into())
            .collect();
        content
    }

    /// All bytes of all files.
    pub(crate) fn length(&self) -> u64 {
        self.files.iter().map(|(_, length)| length).sum()
    }

    /// How many pieces there are.
    pub(crate) fn pieces(&self) -> u64 {
        self.length().div_ceil(self.piece_length)
    }

    /// The bytes of one piece.
    pub(crate) fn piece_size(&self, piece: u64) -> u64 {
        self.piece_length
            .min(self.length() - piece * self.piece_length)
    }

    /// The SHA-1 of the bencoded `info`.
    pub(crate) fn info_hash(&self) -> [u8; 20] {
        Sha1::digest(self.info()).into()
    }

    /// A .torrent; without trackers it has no `announce`.
    pub(crate) fn torrent(&self, tracker: Option<&str>) -> Vec<u8> {
        let mut out = b"d".to_vec();
        if let Some(url) = tracker {
            string(&mut out, b"announce");
            string(&mut out, url.as_bytes());
        }
        string(&mut out, b"info");
        out.extend(self.info());
        out.push(b'e');
        out
    }

    fn info(&self) -> Vec<u8> {
        let mut out = b"d".to_vec();
        if self.single {
            string(&mut out, b"length");
            write!(out, "i{}e", self.length()).expect("a vector takes all");
        } else {
            string(&mut out, b"files");
            out.push(b'l');
            for (path, length) in &self.files {
                write!(out, "d6:lengthi{length}e4:pathl").expect("a vector takes all");
                for part in path.iter().skip(1) {
                    string(&mut out, part.as_encoded_bytes());
                }
                out.extend(b"ee");
            }
            out.push(b'e');
        }
        string(&mut out, b"name");
        string(&mut out, self.name.as_bytes());
        string(&mut out, b"piece length");
        write!(out, "i{}e", self.piece_length).expect("a vector takes all");
        string(&mut out, b"pieces");
        string(&mut out, self.hashes.as_flattened());
        out.push(b'e');
        out
    }

    /// Fills `out` with the payload from this offset on.
    pub(crate) fn fill(&self, offset: u64, out: &mut [u8]) {
        let mut at = offset;
        let mut rest = out;
        while !rest.is_empty() {
            let word = mixed(self.seed.wrapping_add(at / WORD)).to_le_bytes();
            let word = &word[usize::try_from(at % WORD).expect("below eight")..];
            let taken = word.len().min(rest.len());
            let (now, later) = rest.split_at_mut(taken);
            now.copy_from_slice(&word[..taken]);
            at += taken as u64;
            rest = later;
        }
    }

    fn piece<'a>(&self, piece: u64, buffer: &'a mut Vec<u8>) -> &'a [u8] {
        buffer.resize(
            usize::try_from(self.piece_size(piece)).expect("pieces are small"),
            0,
        );
        self.fill(piece * self.piece_length, buffer);
        buffer
    }

    /// Writes the files below `dir`.
    pub(crate) fn write_to(&self, dir: &Path) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK];
        let mut offset = 0;
        for (path, length) in &self.files {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().expect("it was joined to a directory"))?;
            let mut file = File::create(path)?;
            let mut left = *length;
            while left > 0 {
                let now = usize::try_from(left.min(CHUNK as u64)).expect("a chunk at most");
                self.fill(offset, &mut buffer[..now]);
                file.write_all(&buffer[..now])?;
                left -= now as u64;
                offset += now as u64;
            }
        }
        Ok(())
    }

    /// Makes the empty files below `dir`: not every client does.
    pub(crate) fn make_empty_files(&self, dir: &Path) -> io::Result<()> {
        let empty = self.files.iter().filter(|(_, length)| *length == 0);
        empty.map(|(path, _)| dir.join(path)).try_for_each(|path| {
            fs::create_dir_all(path.parent().expect("it was joined to a directory"))?;
            File::options().append(true).create(true).open(path)?;
            Ok(())
        })
    }

    /// Compares the files below `dir` with the payload, byte by byte; the error names the first
    /// difference.
    pub(crate) fn verify(&self, dir: &Path) -> Result<(), String> {
        let mut wanted = vec![0; CHUNK];
        let mut found = vec![0; CHUNK];
        let mut offset = 0;
        for (path, length) in &self.files {
            let path = dir.join(path);
            let mut file = File::open(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            let size = file.metadata().map_err(|e| e.to_string())?.len();
            if size != *length {
                return Err(format!("{} has {size} bytes, not {length}", path.display()));
            }
            let mut at = 0;
            while at < *length {
                let now = usize::try_from((length - at).min(CHUNK as u64)).expect("a chunk");
                self.fill(offset + at, &mut wanted[..now]);
                file.read_exact(&mut found[..now])
                    .map_err(|e| format!("{}: {e}", path.display()))?;
                if let Some(i) = (0..now).find(|i| wanted[*i] != found[*i]) {
                    let place = at + i as u64;
                    return Err(format!("{} differs at byte {place}", path.display()));
                }
                at += now as u64;
            }
            offset += length;
        }
        Ok(())
    }

    /// How many bytes the pieces have that are not whole and right in the files below `dir`.
    pub(crate) fn missing(&self, dir: &Path) -> u64 {
        let mut starts = Vec::with_capacity(self.files.len());
        let mut end = 0;
        for (_, length) in &self.files {
            starts.push(end);
            end += length;
        }
        let mut found = Vec::new();
        let piece_is_right = |piece: u64, found: &mut Vec<u8>| {
            let from = piece * self.piece_length;
            let to = from + self.piece_size(piece);
            found.clear();
            for ((path, length), start) in self.files.iter().zip(&starts) {
                let (low, high) = (from.max(*start), to.min(start + length));
                if low < high
                    && read_range(&dir.join(path), low - start, high - low, found).is_err()
                {
                    return false;
                }
            }
            let hash: [u8; 20] = Sha1::digest(&*found).into();
            hash == self.hashes[usize::try_from(piece).expect("pieces are few")]
        };
        (0..self.pieces())
            .filter(|piece| !piece_is_right(*piece, &mut found))
            .map(|piece| self.piece_size(piece))
            .sum()
    }
}

fn read_range(path: &Path, offset: u64, length: u64, into: &mut Vec<u8>) -> io::Result<()> {
    let mut file = File::open(path)?;
    io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
    file.take(length).read_to_end(into)?;
    Ok(())
}

/// Appends one bencoded string.
fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    write!(out, "{}:", bytes.len()).expect("a vector takes all");
    out.extend(bytes);
}

/// One word of bytes that look random (splitmix64).
fn mixed(n: u64) -> u64 {
    let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// A directory of its own below the build's, removed when it is dropped.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    /// Makes an empty one; `name` is for people who look.
    pub(crate) fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(parent).expect("the build's directory can be written");
        let name = format!("{}.{}", name.replace('/', "-"), std::process::id());
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let dir = parent.join(format!("{name}.{number}"));
            match fs::create_dir(&dir) {
                Ok(()) => return Self(dir),
                // Left by a process that was killed, and had this number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("{}: {error}", dir.display()),
            }
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // What cannot be removed is in the build's directory, and `cargo clean` takes it.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A port that is free on all of 127/8 for TCP and UDP now, and that no other call has been given.
///
/// It lies below the kernel's own choices for outgoing connections, so none of those takes it
/// meanwhile.
pub(crate) fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    static STEP: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 10_000).expect("below ten thousand");
    loop {
        let step = STEP.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + (start.wrapping_mul(7).wrapping_add(step)) % 10_000;
        let free = TcpListener::bind(("0.0.0.0", port)).is_ok()
            && UdpSocket::bind(("0.0.0.0", port)).is_ok();
        if free && GIVEN.lock().expect("nobody panics holding it").insert(port) {
            return port;
        }
    }
}

const WORD: u64 = 8;
const CHUNK: usize = 1 << 20;
