//! The table of sockets, their tokens and their readiness.
//!
//! mio tells of readiness once, when it begins. So what it told is kept in sticky flags, cleared only when a
//! call would have blocked, and the sockets that have work wait in two queues: `readable` and `sending`.
//! A socket is closed by taking it out of the table, but its descriptor and its slot are freed only in
//! [`Sockets::reap`], so that no event of this turn can meet a stranger.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Events, Interest, Poll, Token};
use rustix::io::Errno;

use super::bulk::{Change, Pace};
use super::host::HostId;
use super::listen::{self, Listener};
use super::names::NameSocket;
use crate::base::memory;
use crate::base::slots::{Key, Slots};
use crate::base::time::{Instant, earliest};
use crate::engine::io::{ConnId, ConnectError};

/// Names a socket of the table.
pub(super) type SocketKey = Key<Source>;

/// Anything that mio watches for us.
pub(super) enum Source {
    /// A TCP connection.
    Stream(Stream),
    /// A listening socket.
    Listener(Listener),
    /// A UDP socket.
    Udp(Udp),
    /// A socket of a resolver.
    Name(NameSocket),
    /// Closed in this turn; freed at its end.
    Closed,
}

/// A TCP connection, being opened or open.
pub(super) struct Stream {
    /// Whose it is.
    pub(super) host: HostId,
    /// What its session calls it.
    pub(super) conn: ConnId,
    pub(super) tcp: TcpStream,
    connecting: bool,
    readable: bool,
    writable: bool,
    /// The other side has closed: only a read of zero bytes ends the reading.
    hung_up: bool,
    /// That read was done.
    ended: bool,
    /// The session said it has something to send.
    wants_write: bool,
    queued_read: bool,
    queued_write: bool,
    /// How much the socket took lately: blocks that it won't take need not be read from disk.
    pub(super) room: usize,
    pace: Pace,
}

/// A UDP socket.
pub(super) struct Udp {
    /// Whose it is.
    pub(super) host: HostId,
    pub(super) socket: UdpSocket,
    /// Whether what it hears was sent to a group.
    pub(super) is_group: bool,
    pub(super) readable: bool,
}

/// The poll and everything that is registered with it.
pub(super) struct Sockets {
    poll: Poll,
    /// With nothing registered: waiting in it is a rest that no socket ends.
    calm: Poll,
    nothing: Events,
    /// How large the kernel's buffers of a connection may be; `None`: as it likes.
    buffers: Option<memory::Socket>,
    table: Slots<Source>,
    connecting: Vec<SocketKey>,
    readable: Vec<SocketKey>,
    sending: Vec<SocketKey>,
    bulk: Vec<SocketKey>,
    bulk_due: Instant,
    /// Listeners and UDP sockets: few, and never closed.
    ports: Vec<SocketKey>,
    /// Resolvers' sockets that something happened on.
    names: Vec<SocketKey>,
    /// Whether it was said that IPv4, or IPv6, leads nowhere: that is said once.
    unreachable: [bool; 2],
    closed: Vec<(SocketKey, Source)>,
}

impl Sockets {
    /// An empty table with a poll of its own, for connections with kernel buffers of that size.
    pub(super) fn new(buffers: Option<memory::Socket>) -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            calm: Poll::new()?,
            nothing: Events::with_capacity(1),
            buffers,
            table: Slots::default(),
            connecting: Vec::new(),
            readable: Vec::new(),
            sending: Vec::new(),
            bulk: Vec::new(),
            bulk_due: Instant::default(),
            ports: Vec::new(),
            names: Vec::new(),
            unreachable: [false; 2],
            closed: Vec::new(),
        })
    }

    /// Gives connections that come kernel buffers of that size.
    pub(super) fn set_buffers(&mut self, buffers: Option<memory::Socket>) {
        self.buffers = buffers;
    }

    /// Where signals are registered.
    pub(super) fn registry(&self) -> &mio::Registry {
        self.poll.registry()
    }

    // ------------------------------------------------------------------------ sockets come and go

    /// Begins to open a connection.
    pub(super) fn connect(
        &mut self,
        now: Instant,
        host: HostId,
        conn: ConnId,
        to: SocketAddr,
    ) -> Result<SocketKey, ConnectError> {
        let tcp = TcpStream::connect(to).map_err(|error| {
            let why = connect_error(&error);
            let known = &mut self.unreachable[usize::from(to.is_ipv6())];
            if why == ConnectError::Unreachable && !std::mem::replace(known, true) {
                let family = if to.is_ipv6() { "IPv6" } else { "IPv4" };
                log::info!("{family} addresses can't be reached from here: {error}");
            }
            why
        })?;
        self.limit(&tcp);
        let mut stream = Stream::new(now, host, conn, tcp);
        stream.connecting = true;
        self.insert_stream(stream)
            .map_err(|error| connect_error(&error))
    }

    /// Takes up a connection that came in.
    pub(super) fn adopt(
        &mut self,
        now: Instant,
        host: HostId,
        conn: ConnId,
        tcp: TcpStream,
    ) -> io::Result<SocketKey> {
        self.limit(&tcp);
        let mut stream = Stream::new(now, host, conn, tcp);
        stream.set_open();
        self.insert_stream(stream)
    }

    /// Takes up a listening socket.
    pub(super) fn listen(&mut self, host: HostId, mut socket: TcpListener) -> io::Result<()> {
        let key = self.table.insert(Source::Closed);
        let registry = self.poll.registry();
        registry.register(&mut socket, token(key), Interest::READABLE)?;
        self.put(key, Source::Listener(Listener::new(host, socket)));
        self.ports.push(key);
        Ok(())
    }

    /// Takes up a UDP socket; `is_group`: one that hears a group.
    pub(super) fn bind_udp(
        &mut self,
        host: HostId,
        mut socket: UdpSocket,
        is_group: bool,
    ) -> io::Result<SocketKey> {
        let key = self.table.insert(Source::Closed);
        let registry = self.poll.registry();
        registry.register(&mut socket, token(key), Interest::READABLE)?;
        let readable = true;
        self.put(
            key,
            Source::Udp(Udp {
                host,
                socket,
                is_group,
                readable,
            }),
        );
        self.ports.push(key);
        Ok(key)
    }

    /// Takes up a resolver's socket.
    pub(super) fn watch_name(&mut self, mut name: NameSocket) -> io::Result<SocketKey> {
        let key = self.table.insert(Source::Closed);
        if let Err(error) = name.wire.register(self.poll.registry(), token(key)) {
            self.table.remove(key);
            return Err(error);
        }
        self.put(key, Source::Name(name));
        Ok(key)
    }

    /// Closes a connection; a name that is gone already is no error.
    pub(super) fn close(&mut self, key: SocketKey) {
        let Some(source) = self.table.get_mut(key) else {
            return;
        };
        let mut source = std::mem::replace(source, Source::Closed);
        if let Source::Stream(stream) = &mut source {
            if stream.pace.is_bulk() {
                self.bulk.retain(|bulk| *bulk != key);
            } else {
                // Closing the descriptor takes it out of the poll anyway; a failure here changes nothing.
                let _ = self.poll.registry().deregister(&mut stream.tcp);
            }
        }
        self.closed.push((key, source));
    }

    /// Takes away whatever belongs to `host`.
    pub(super) fn close_host(&mut self, host: HostId) {
        let of_host = |source: &Source| match source {
            Source::Stream(stream) => stream.host == host,
            Source::Listener(listener) => listener.host == host,
            Source::Udp(udp) => udp.host == host,
            Source::Name(name) => name.host == host,
            Source::Closed => false,
        };
        let keys: Vec<_> = self.table.iter().collect();
        let keys = keys.into_iter().filter(|(_, source)| of_host(source));
        for key in keys.map(|(key, _)| key).collect::<Vec<_>>() {
            self.ports.retain(|port| *port != key);
            self.close(key);
        }
        self.reap();
    }

    /// Frees the descriptors and slots of what was closed.
    pub(super) fn reap(&mut self) {
        if self.closed.is_empty() {
            return;
        }
        for key in &self.ports {
            if let Some(Source::Listener(listener)) = self.table.get_mut(*key) {
                listener.handle_room();
            }
        }
        for (key, source) in self.closed.drain(..) {
            self.table.remove(key);
            drop(source);
        }
    }

    // ---------------------------------------------------------------------------------- readiness

    /// Lets sockets be for so long.
    pub(super) fn rest(&mut self, time: Duration) -> io::Result<()> {
        match self.calm.poll(&mut self.nothing, Some(time)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    /// Waits for readiness, at most so long.
    pub(super) fn wait(&mut self, events: &mut Events, most: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(events, most) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                events.clear();
                Ok(())
            }
            result => result,
        }
    }

    /// Keeps what one event told. Tokens of sockets that are gone fall out.
    pub(super) fn mark(&mut self, event: &mio::event::Event) {
        let Some(key) = self.find(event.token()) else {
            return;
        };
        match self.table.get_mut(key) {
            Some(Source::Stream(stream)) => {
                let broken = event.is_error() || event.is_read_closed();
                stream.hung_up |= broken;
                stream.readable |= (event.is_readable() || broken) && !stream.ended;
                stream.writable |=
                    event.is_writable() || event.is_error() || event.is_write_closed();
                if stream.connecting {
                    self.connecting.push(key);
                } else {
                    self.queue(key);
                }
            }
            Some(Source::Listener(listener)) => listener.handle_ready(),
            Some(Source::Udp(udp)) => udp.readable = true,
            Some(Source::Name(_)) => self.names.push(key),
            Some(Source::Closed) | None => {}
        }
    }

    /// Makes bulk connections readable when their time has come.
    pub(super) fn mark_bulk(&mut self, now: Instant) {
        if self.bulk.is_empty() || now < self.bulk_due {
            return;
        }
        self.bulk_due = now + super::bulk::TICK;
        for index in 0..self.bulk.len() {
            let key = self.bulk[index];
            if let Some(Source::Stream(stream)) = self.table.get_mut(key) {
                stream.readable = true;
                stream.writable = true;
                self.queue(key);
            }
        }
    }

    /// When the next call of `mark_bulk`, or of `accept` after a shortage, has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let bulk = (!self.bulk.is_empty()).then_some(self.bulk_due);
        self.ports.iter().fold(bulk, |sooner, key| {
            let rest = match self.table.get(*key) {
                Some(Source::Listener(listener)) => listener.poll_timeout(),
                _ => None,
            };
            earliest(sooner, rest)
        })
    }

    /// Whether something can be sent, accepted or received from a port without waiting.
    pub(super) fn has_work(&self, now: Instant) -> bool {
        let mut ports = self.ports.iter().filter_map(|key| self.table.get(*key));
        !self.sending.is_empty()
            || !self.names.is_empty()
            || ports.any(|source| match source {
                Source::Listener(listener) => listener.is_ready(now),
                Source::Udp(udp) => udp.readable,
                Source::Stream(_) | Source::Name(_) | Source::Closed => false,
            })
    }

    /// Connections whose opening has come to an end, one way or the other.
    pub(super) fn take_connecting(&mut self) -> Vec<SocketKey> {
        std::mem::take(&mut self.connecting)
    }

    /// Settles whether a connection stands: `None` if that is not known yet.
    pub(super) fn connected(&mut self, key: SocketKey) -> Option<Result<(), ConnectError>> {
        let stream = self.stream_mut(key).filter(|stream| stream.connecting)?;
        if let Ok(Some(error)) | Err(error) = stream.tcp.take_error() {
            return Some(Err(connect_error(&error)));
        }
        match stream.tcp.peer_addr() {
            Ok(_) => {
                stream.set_open();
                self.queue(key);
                Some(Ok(()))
            }
            Err(error)
                if error.kind() == io::ErrorKind::NotConnected
                    || error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) =>
            {
                None
            }
            Err(error) => Some(Err(connect_error(&error))),
        }
    }

    /// Resolvers' sockets that something happened on.
    pub(super) fn take_names(&mut self) -> Vec<SocketKey> {
        std::mem::take(&mut self.names)
    }

    /// A resolver's socket has more than its turn allows.
    pub(super) fn queue_name(&mut self, key: SocketKey) {
        self.names.push(key);
    }

    // ------------------------------------------------------------------------------------- queues

    /// Connections that have something to read; each is to be given back by `read` or `held_back`.
    pub(super) fn take_readable(&mut self, into: &mut Vec<SocketKey>) {
        into.clear();
        std::mem::swap(&mut self.readable, into);
        for key in into {
            if let Some(Source::Stream(stream)) = self.table.get_mut(*key) {
                stream.queued_read = false;
            }
        }
    }

    /// Connections that have something to send and room for it.
    pub(super) fn take_sending(&mut self, into: &mut Vec<SocketKey>) {
        into.clear();
        std::mem::swap(&mut self.sending, into);
        for key in into {
            if let Some(Source::Stream(stream)) = self.table.get_mut(*key) {
                stream.queued_write = false;
            }
        }
    }

    /// The connections that wait for their turn to be read.
    pub(super) fn readable(&self) -> impl Iterator<Item = &Stream> {
        self.readable.iter().filter_map(|key| self.stream(*key))
    }

    /// Puts a connection back in the queues that its flags ask for.
    pub(super) fn queue(&mut self, key: SocketKey) {
        let Some(Source::Stream(stream)) = self.table.get_mut(key) else {
            return;
        };
        if stream.connecting {
            return;
        }
        if stream.readable && !std::mem::replace(&mut stream.queued_read, true) {
            self.readable.push(key);
        }
        let sends = stream.wants_write && stream.writable;
        if sends && !std::mem::replace(&mut stream.queued_write, true) {
            self.sending.push(key);
        }
    }

    /// Puts connections back before all that wait to be read.
    pub(super) fn queue_first(&mut self, keys: &[SocketKey]) {
        if keys.is_empty() {
            return;
        }
        let behind = std::mem::take(&mut self.readable);
        for key in keys {
            self.queue(*key);
        }
        self.readable.extend(behind);
    }

    /// The session has something to send on this connection.
    pub(super) fn wants_write(&mut self, key: SocketKey) {
        if let Some(stream) = self.stream_mut(key) {
            stream.wants_write = true;
            self.queue(key);
        }
    }

    /// A read of this connection, with room for `room` bytes, brought `bytes` (`None`: it would have blocked).
    pub(super) fn handle_read(
        &mut self,
        now: Instant,
        key: SocketKey,
        bytes: Option<usize>,
        room: usize,
    ) {
        let Some(Source::Stream(stream)) = self.table.get_mut(key) else {
            return;
        };
        stream.readable = match bytes {
            None => false,
            Some(bytes) => {
                // A small buffer in the kernel that was full keeps its sender waiting.
                let full = self.buffers.is_some_and(|it| bytes >= it.receive);
                bytes == room || full || stream.hung_up || !SHORT_READ_DRAINS
            }
        };
        match stream.pace.handle_read(now, bytes.unwrap_or(0)) {
            Change::Stay => {}
            Change::ToBulk => {
                // If it can't leave the poll, its events only come too often.
                let _ = self.poll.registry().deregister(&mut stream.tcp);
                if self.bulk.is_empty() {
                    self.bulk_due = now + super::bulk::TICK;
                }
                self.bulk.push(key);
            }
            Change::ToPoll => {
                self.bulk.retain(|bulk| *bulk != key);
                let interest = Interest::READABLE | Interest::WRITABLE;
                let registry = self.poll.registry();
                // Registering reports what is ready already. Without it the connection is deaf: its session's
                // deadlines close it.
                let _ = registry.register(&mut stream.tcp, token(key), interest);
            }
        }
        self.queue(key);
    }

    /// The other side has sent its last byte: there is nothing to read any more.
    pub(super) fn handle_end(&mut self, now: Instant, key: SocketKey) {
        if let Some(Source::Stream(stream)) = self.table.get_mut(key) {
            stream.ended = true;
            stream.readable = false;
            if stream.pace.is_bulk() {
                self.bulk.retain(|bulk| *bulk != key);
                stream.pace = Pace::new(now);
                // What is still to be sent may have to wait for room.
                let registry = self.poll.registry();
                let _ = registry.register(&mut stream.tcp, token(key), Interest::WRITABLE);
            }
        }
    }

    /// A write of this connection took all that was offered, or not; and the session has more, or not.
    pub(super) fn handle_write(&mut self, key: SocketKey, took_all: bool, more: bool) {
        if let Some(stream) = self.stream_mut(key) {
            stream.writable = took_all;
            stream.wants_write = more;
            self.queue(key);
        }
    }

    // ---------------------------------------------------------------------------------- questions

    /// The listener or UDP socket that is the `index`th port.
    pub(super) fn port_mut(&mut self, index: usize) -> Option<&mut Source> {
        let key = *self.ports.get(index)?;
        self.table.get_mut(key)
    }

    /// A connection that is not closed.
    pub(super) fn stream(&self, key: SocketKey) -> Option<&Stream> {
        match self.table.get(key) {
            Some(Source::Stream(stream)) => Some(stream),
            _ => None,
        }
    }

    /// A connection that is not closed.
    pub(super) fn stream_mut(&mut self, key: SocketKey) -> Option<&mut Stream> {
        match self.table.get_mut(key) {
            Some(Source::Stream(stream)) => Some(stream),
            _ => None,
        }
    }

    /// A UDP socket.
    pub(super) fn udp_mut(&mut self, key: SocketKey) -> Option<&mut Udp> {
        match self.table.get_mut(key) {
            Some(Source::Udp(udp)) => Some(udp),
            _ => None,
        }
    }

    /// A resolver's socket.
    pub(super) fn name_mut(&mut self, key: SocketKey) -> Option<&mut NameSocket> {
        match self.table.get_mut(key) {
            Some(Source::Name(name)) => Some(name),
            _ => None,
        }
    }

    /// Caps the kernel's buffers. Where it can't be done the connection works all the same.
    fn limit(&self, tcp: &TcpStream) {
        if let Some(buffers) = self.buffers {
            let socket = socket2::SockRef::from(tcp);
            let _ = socket.set_recv_buffer_size(buffers.receive);
            let _ = socket.set_send_buffer_size(buffers.send);
        }
    }

    fn insert_stream(&mut self, stream: Stream) -> io::Result<SocketKey> {
        let key = self.table.insert(Source::Stream(stream));
        let registry = self.poll.registry();
        let Some(Source::Stream(stream)) = self.table.get_mut(key) else {
            return Err(io::ErrorKind::Other.into());
        };
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = registry.register(&mut stream.tcp, token(key), interest) {
            self.table.remove(key);
            return Err(error);
        }
        self.queue(key);
        Ok(key)
    }

    fn put(&mut self, key: SocketKey, source: Source) {
        if let Some(place) = self.table.get_mut(key) {
            *place = source;
        }
    }

    fn find(&self, wanted: Token) -> Option<SocketKey> {
        let key = self.table.key_from(wanted.0 & INDEX_MASK)?;
        (token(key) == wanted).then_some(key)
    }
}

impl Stream {
    fn new(now: Instant, host: HostId, conn: ConnId, tcp: TcpStream) -> Self {
        Self {
            host,
            conn,
            tcp,
            connecting: false,
            readable: false,
            writable: false,
            hung_up: false,
            ended: false,
            wants_write: false,
            queued_read: false,
            queued_write: false,
            room: super::send::ROOM_START,
            pace: Pace::new(now),
        }
    }

    fn set_open(&mut self) {
        self.connecting = false;
        // What there is to read, registering or connecting tells.
        self.writable = true;
        // Requests and haves are small and must not wait for an acknowledgement. Without it, it is only slower.
        let _ = self.tcp.set_nodelay(true);
    }
}

/// Sorts a failure to connect by whose fault it is.
pub(super) fn connect_error(error: &io::Error) -> ConnectError {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    match errno {
        Some(Errno::CONNREFUSED | Errno::CONNRESET) => ConnectError::Refused,
        Some(
            Errno::NETUNREACH
            | Errno::HOSTUNREACH
            | Errno::NETDOWN
            | Errno::AFNOSUPPORT
            | Errno::HOSTDOWN,
        ) => ConnectError::Unreachable,
        Some(Errno::ADDRNOTAVAIL) => ConnectError::Resources,
        _ if listen::is_shortage(error) => ConnectError::Resources,
        _ => ConnectError::Other,
    }
}

/// A token is a slot's number and as many bits of its generation as a word has room for.
fn token(key: SocketKey) -> Token {
    let generation = (key.to_bits() >> 32) as usize;
    Token(generation << INDEX_BITS | key.index())
}

/// More descriptors than any process has; on 32-bit machines twelve bits are left for the generation.
const INDEX_BITS: u32 = 20;
const INDEX_MASK: usize = (1 << INDEX_BITS) - 1;

/// Whether a read that brought less than there was room for has emptied the socket, so that the next byte
/// brings an event. epoll and kqueue promise it for streams, and it saves every second system call.
const SHORT_READ_DRAINS: bool = cfg!(any(
    target_os = "linux",
    target_os = "android",
    target_os = "macos",
    target_os = "freebsd"
));
