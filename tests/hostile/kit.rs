//! Faulty peers, and one honest: plain blocking sockets.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sha1::{Digest as _, Sha1};
use socket2::{Domain, Socket, Type};

use crate::program::{PIECE, Scene, torrent_in};

/// Whom it is about: an address, and the torrent there.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) payload: Arc<Vec<u8>>,
    /// Bytes of a piece.
    pub(crate) piece: usize,
}

impl Target {
    /// The torrent of a scene, at this address.
    pub(crate) fn of(scene: &Scene, address: &str) -> Self {
        Self {
            address: address.parse().expect("an address"),
            payload: Arc::new(scene.payload.clone()),
            piece: PIECE,
        }
    }

    pub(crate) fn pieces(&self) -> usize {
        self.payload.len().div_ceil(self.piece)
    }

    fn info_hash(&self) -> [u8; 20] {
        let file = torrent_in(&self.payload, self.piece, None);
        let at = file.windows(6).position(|bytes| bytes == b"4:info");
        let info = &file[at.expect("it has one") + 6..file.len() - 1];
        Sha1::digest(info).into()
    }

    /// Our greeting, as a peer of this number.
    pub(crate) fn handshake(&self, number: u8) -> Vec<u8> {
        let mut bytes = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x04".to_vec();
        bytes.extend(self.info_hash());
        bytes.extend(b"-XX0000-hostile-----");
        bytes[67] = number;
        bytes
    }

    /// A connection from 127.0.0.`host`.
    pub(crate) fn connect(&self, host: u8) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0));
        socket.bind(&from.into()).expect("loopback is all ours");
        socket.connect(&self.address.into()).expect("it listens");
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true).expect("TCP");
        let limit = Some(Duration::from_secs(15));
        stream.set_read_timeout(limit).expect("TCP");
        stream.set_write_timeout(limit).expect("TCP");
        stream
    }

    /// A peer that has greeted and was greeted.
    pub(crate) fn peer(&self, number: u8) -> TcpStream {
        let mut stream = self.connect(number);
        stream.write_all(&self.handshake(number)).expect("it reads");
        let mut theirs = [0; 68];
        stream.read_exact(&mut theirs).expect("it answers");
        assert_eq!(theirs[28..48], self.info_hash());
        stream
    }
}

/// A message.
pub(crate) fn message(id: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32 + 1).to_be_bytes().to_vec();
    bytes.push(id);
    bytes.extend_from_slice(body);
    bytes
}

/// Numbers as they stand in messages.
pub(crate) fn numbers<const N: usize>(numbers: [u32; N]) -> Vec<u8> {
    numbers.into_iter().flat_map(u32::to_be_bytes).collect()
}

/// A `piece` message.
pub(crate) fn piece(index: u32, begin: u32, data: &[u8]) -> Vec<u8> {
    message(7, &[&numbers([index, begin]), data].concat())
}

/// The next message: its id and body; a keep-alive has id 255. None at the end.
pub(crate) fn read_message(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut body).ok()?;
    if body.is_empty() {
        return Some((255, body));
    }
    let id = body.remove(0);
    Some((id, body))
}

/// Whether the other side hangs up within the stream's time, whatever it says before.
pub(crate) fn is_hung_up(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => {
                return !matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                );
            }
        }
    }
}

/// Whether the connection stands, and goes on standing for a moment.
pub(crate) fn stands(stream: &mut TcpStream) -> bool {
    let moment = Some(Duration::from_millis(300));
    stream.set_read_timeout(moment).expect("TCP");
    let stands = !is_hung_up(stream);
    let limit = Some(Duration::from_secs(15));
    stream.set_read_timeout(limit).expect("TCP");
    stands
}

/// Ends a connection by a reset.
pub(crate) fn reset(stream: TcpStream) {
    let socket = Socket::from(stream);
    socket.set_linger(Some(Duration::ZERO)).expect("TCP");
}

/// A peer at 127.0.0.`host` that waits to be called, greets, says that it has everything, and then does as
/// `behave` says with each connection.
pub(crate) fn listen(
    host: u8,
    payload: &Arc<Vec<u8>>,
    behave: impl Fn(&mut TcpStream, &Target) + Send + 'static,
) -> SocketAddr {
    listen_in(host, payload, PIECE, behave)
}

/// The same for a torrent in pieces of this length.
pub(crate) fn listen_in(
    host: u8,
    payload: &Arc<Vec<u8>>,
    piece: usize,
    behave: impl Fn(&mut TcpStream, &Target) + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, host), 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let target = Target {
        address,
        payload: Arc::clone(payload),
        piece,
    };
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let limit = Some(Duration::from_secs(30));
            let _ = stream.set_read_timeout(limit);
            let _ = stream.set_write_timeout(limit);
            let mut theirs = [0; 68];
            let greeted = stream.read_exact(&mut theirs).is_ok()
                && stream.write_all(&target.handshake(host)).is_ok()
                && stream.write_all(&message(14, &[])).is_ok();
            if greeted {
                behave(&mut stream, &target);
            }
        }
    });
    address
}

/// An honest seed, which unchokes when `go` is set.
pub(crate) fn honest(host: u8, payload: &Arc<Vec<u8>>, go: &Arc<AtomicBool>) -> SocketAddr {
    let go = Arc::clone(go);
    listen(host, payload, move |stream, target| {
        while !go.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(10));
        }
        let _ = stream.write_all(&message(1, &[]));
        answer(stream, target, |index, begin, data| {
            piece(index, begin, data)
        });
    })
}

/// Answers every request as `how` makes it of the true data, to the end of the connection.
pub(crate) fn answer(
    stream: &mut TcpStream,
    target: &Target,
    mut how: impl FnMut(u32, u32, &[u8]) -> Vec<u8>,
) {
    while let Some((id, body)) = read_message(stream) {
        if id != 6 {
            continue;
        }
        let number = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().expect("four"));
        let (index, begin, len) = (number(0), number(4), number(8) as usize);
        let from = index as usize * target.piece + begin as usize;
        let reply = how(index, begin, &target.payload[from..from + len]);
        if stream.write_all(&reply).is_err() {
            return;
        }
    }
}
