//! A seeder of our own that lies or falls silent exactly when it is told to.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::common::process::Outcome;
use crate::common::{Content, free_port};
use crate::stage::greeting;

/// A seeder on threads of its own; it stops listening when it is dropped.
pub(crate) struct Scripted {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    content: Arc<Content>,
    /// Every so many blocks, one byte of a block is wrong.
    lie_every: Option<u64>,
    /// How many more blocks may be served before requests go unanswered.
    allowance: AtomicI64,
    blocks: AtomicU64,
    bytes: AtomicU64,
    lies: AtomicU64,
    greetings: AtomicU64,
    /// The connections that are being served.
    open: AtomicU64,
    over: AtomicBool,
}

impl Scripted {
    /// Starts to listen on this address. With `lie_every: Some(100)` the tenth block of each
    /// hundred is wrong.
    pub(crate) fn start(
        content: &Arc<Content>,
        ip: impl Into<IpAddr>,
        lie_every: Option<u64>,
    ) -> Outcome<Self> {
        let address = SocketAddr::new(ip.into(), free_port());
        let listener = TcpListener::bind(address).map_err(|e| e.to_string())?;
        let shared = Arc::new(Shared {
            content: Arc::clone(content),
            lie_every,
            allowance: AtomicI64::new(i64::MAX),
            blocks: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            lies: AtomicU64::new(0),
            greetings: AtomicU64::new(0),
            open: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if theirs.over.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&theirs);
                shared.open.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    let _served = Served(&shared.open);
                    // A connection's error is its end: the other side has gone, or was killed.
                    let _ = shared.serve(&stream);
                });
            }
        });
        Ok(Self { address, shared })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets it serve so many more blocks, and then fall silent.
    pub(crate) fn allow(&self, blocks: u64) {
        let blocks = i64::try_from(blocks).unwrap_or(i64::MAX);
        self.shared.allowance.store(blocks, Ordering::SeqCst);
    }

    /// Whether it has served all that it was allowed.
    pub(crate) fn is_silent(&self) -> bool {
        self.shared.allowance.load(Ordering::SeqCst) <= 0
    }

    /// The blocks served so far.
    pub(crate) fn blocks(&self) -> u64 {
        self.shared.blocks.load(Ordering::SeqCst)
    }

    /// The bytes of those blocks.
    pub(crate) fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::SeqCst)
    }

    /// How many of them were wrong.
    pub(crate) fn lies(&self) -> u64 {
        self.shared.lies.load(Ordering::SeqCst)
    }

    /// How many connections have greeted.
    pub(crate) fn greetings(&self) -> u64 {
        self.shared.greetings.load(Ordering::SeqCst)
    }

    /// Whether nobody is served any more: no request that a connection left behind will be counted.
    pub(crate) fn is_alone(&self) -> bool {
        self.shared.open.load(Ordering::SeqCst) == 0
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // The listener waits for a connection, and this is one; without it the thread ends with the
        // process.
        let _ = TcpStream::connect(self.address);
    }
}

/// A connection that is counted until it is dropped.
struct Served<'a>(&'a AtomicU64);

impl Drop for Served<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    /// Serves one connection until it ends, breaks or the seeder is dropped.
    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        let mut stream = Patient {
            stream,
            over: &self.over,
        };
        stream
            .stream
            .set_read_timeout(Some(Duration::from_millis(100)))?;
        stream.stream.set_nodelay(true)?;
        let mut theirs = [0; 68];
        stream.read_exact(&mut theirs)?;
        if theirs[28..48] != self.content.info_hash() {
            return Ok(());
        }
        self.greetings.fetch_add(1, Ordering::SeqCst);
        let mut hello = greeting(&self.content.info_hash(), b"-SC0001-scriptedseed");
        hello.extend(self.bitfield());
        stream.write_all(&hello)?;
        loop {
            let length = u32::from_be_bytes(stream.read_array()?);
            if length == 0 {
                continue;
            }
            let [id] = stream.read_array()?;
            match (id, length) {
                (0x02, 1) => stream.write_all(&[0, 0, 0, 1, 0x01])?,
                (0x06, 13) => {
                    let piece = u32::from_be_bytes(stream.read_array()?);
                    let begin = u32::from_be_bytes(stream.read_array()?);
                    let length = u32::from_be_bytes(stream.read_array()?);
                    if self.allowance.fetch_sub(1, Ordering::SeqCst) > 0 {
                        stream.write_all(&self.block(piece, begin, length)?)?;
                    }
                }
                _ => {
                    let rest = u64::from(length - 1);
                    io::copy(&mut io::Read::take(&mut stream, rest), &mut io::sink())?;
                }
            }
        }
    }

    fn bitfield(&self) -> Vec<u8> {
        let pieces = self.content.pieces();
        let mut bits = vec![0; usize::try_from(pieces.div_ceil(8)).expect("few")];
        for piece in 0..usize::try_from(pieces).expect("few") {
            bits[piece / 8] |= 0x80 >> (piece % 8);
        }
        let mut message = u32::try_from(1 + bits.len())
            .expect("few")
            .to_be_bytes()
            .to_vec();
        message.push(0x05);
        message.extend(bits);
        message
    }

    /// The answer to a request, counted, and wrong if its turn to be wrong has come.
    fn block(&self, piece: u32, begin: u32, length: u32) -> io::Result<Vec<u8>> {
        let end = u64::from(begin) + u64::from(length);
        let whole = u64::from(piece) < self.content.pieces()
            && end <= self.content.piece_size(u64::from(piece));
        if !whole || length == 0 || length > 1 << 14 {
            return Err(io::Error::other("a request for what there is not"));
        }
        let mut message = (9 + length).to_be_bytes().to_vec();
        message.push(0x07);
        message.extend(piece.to_be_bytes());
        message.extend(begin.to_be_bytes());
        let head = message.len();
        message.resize(head + usize::try_from(length).expect("16 KiB at most"), 0);
        let offset = u64::from(piece) * self.content.piece_length + u64::from(begin);
        self.content.fill(offset, &mut message[head..]);
        let number = self.blocks.fetch_add(1, Ordering::SeqCst);
        self.bytes.fetch_add(u64::from(length), Ordering::SeqCst);
        if self
            .lie_every
            .is_some_and(|every| number % every == every.min(10) - 1)
        {
            self.lies.fetch_add(1, Ordering::SeqCst);
            let last = message.len() - 1;
            message[last] ^= 0x40;
        }
        Ok(message)
    }
}

/// A stream whose reads wait for as long as the seeder is there.
struct Patient<'a> {
    stream: &'a TcpStream,
    over: &'a AtomicBool,
}

impl Patient<'_> {
    fn read_array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }
}

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(buffer) {
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) && !self.over.load(Ordering::SeqCst) => {}
                done => return done,
            }
        }
    }
}
