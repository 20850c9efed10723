//! Listening: a port out of a range, and what to do when no descriptor is left.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::host::HostId;
use crate::base::time::Instant;

/// A bound, listening socket that no reactor has yet; its port is known before the session is made.
#[derive(Debug)]
pub struct Listening {
    socket: std::net::TcpListener,
    address: SocketAddr,
    in_range: bool,
}

impl Listening {
    /// Listens on the first free port of `ports` at `ip`, else on any free port.
    ///
    /// # Errors
    ///
    /// What the system says if there is no such address, or no port at all.
    pub fn bind(ip: IpAddr, ports: RangeInclusive<u16>) -> io::Result<Self> {
        for port in ports {
            match bound(SocketAddr::new(ip, port)) {
                Ok(socket) => return Self::new(socket, true),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                // Low ports are for root only; another one will do.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                Err(error) => return Err(error),
            }
        }
        Self::new(bound(SocketAddr::new(ip, 0))?, false)
    }

    fn new(socket: std::net::TcpListener, in_range: bool) -> io::Result<Self> {
        let address = socket.local_addr()?;
        Ok(Self {
            socket,
            address,
            in_range,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the port is one of those asked for.
    pub fn in_range(&self) -> bool {
        self.in_range
    }

    pub(super) fn into_socket(self) -> TcpListener {
        TcpListener::from_std(self.socket)
    }
}

/// A listening socket in the reactor.
pub(super) struct Listener {
    /// Whose it is.
    pub(super) host: HostId,
    socket: TcpListener,
    ready: bool,
    resting: Option<Instant>,
    complained: bool,
}

impl Listener {
    pub(super) fn new(host: HostId, socket: TcpListener) -> Self {
        Self {
            host,
            socket,
            ready: true,
            resting: None,
            complained: false,
        }
    }

    pub(super) fn handle_ready(&mut self) {
        self.ready = true;
    }

    /// A descriptor has become free: a rest for want of them ends.
    pub(super) fn handle_room(&mut self) {
        self.resting = None;
    }

    /// The next connection that waits.
    ///
    /// The edge that announced the waiting ones is lost when the process has no descriptor left for them, so
    /// then the listener rests and is tried again by the clock.
    pub(super) fn accept(&mut self, now: Instant) -> Accepted {
        if !self.is_ready(now) {
            return Accepted::None;
        }
        self.resting = None;
        match self.socket.accept() {
            Ok((stream, from)) => {
                self.complained = false;
                Accepted::One(stream, from)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.ready = false;
                Accepted::None
            }
            Err(error) if is_shortage(&error) => {
                self.resting = Some(now + SHORTAGE_PAUSE);
                if std::mem::replace(&mut self.complained, true) {
                    Accepted::None
                } else {
                    Accepted::Shortage(error)
                }
            }
            // The one that waited has gone again: there may be more behind it.
            Err(_) => Accepted::Gone,
        }
    }

    /// Whether `accept` would be worth a try.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        self.ready && self.resting.is_none_or(|until| now >= until)
    }

    /// When a rest ends.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.resting.filter(|_| self.ready)
    }
}

/// What came of an attempt to accept.
pub(super) enum Accepted {
    /// A connection.
    One(TcpStream, SocketAddr),
    /// One that broke before it was taken: ask again.
    Gone,
    /// Nothing, for want of descriptors or memory; said once until it works again.
    Shortage(io::Error),
    /// Nothing for now.
    None,
}

/// Whether the process or the system has run out of something.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(
        errno,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
    )
}

fn bound(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    // A port whose last connections are still in TIME_WAIT can be had again at once.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Connections that the system keeps waiting for us.
const BACKLOG: i32 = 128;
/// How long a listener rests when descriptors have run out.
const SHORTAGE_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_taken_port_is_passed_over_and_a_taken_range_left() {
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let first = Listening::bind(ip, 0..=0).expect("a free port");
        assert!(first.in_range());
        let port = first.address().port();
        let second = Listening::bind(ip, port..=port).expect("any port");
        assert!(!second.in_range());
        assert_ne!(second.address().port(), port);
    }
}
