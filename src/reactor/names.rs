//! What looking up names takes: a socket a question, and the system's two texts.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mio::net::{TcpStream, UdpSocket};
use mio::{Interest, Registry, Token};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::host::HostId;
use crate::base::limits;
use crate::net::resolver::{SocketEvent, SocketId};

/// A socket of a session's resolver.
pub(super) struct NameSocket {
    /// Whose it is.
    pub(super) host: HostId,
    /// What its resolver calls it.
    pub(super) socket: SocketId,
    pub(super) wire: Wire,
}

/// What a name server is asked over.
pub(super) enum Wire {
    /// Connected, so that "port unreachable" is heard and strangers are not.
    Udp {
        udp: UdpSocket,
        server: SocketAddr,
    },
    Tcp {
        tcp: TcpStream,
        is_open: bool,
    },
}

impl Wire {
    /// Opens a UDP socket on any port and sends the question.
    pub(super) fn ask(server: SocketAddr, question: &[u8]) -> io::Result<Self> {
        let any = match server {
            SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        let udp = UdpSocket::bind(SocketAddr::new(any, 0))?;
        udp.connect(server)?;
        udp.send(question)?;
        Ok(Self::Udp { udp, server })
    }

    /// Begins to open a TCP connection.
    pub(super) fn connect(server: SocketAddr) -> io::Result<Self> {
        let tcp = TcpStream::connect(server)?;
        Ok(Self::Tcp {
            tcp,
            is_open: false,
        })
    }

    /// What it waits for, for a poll of its own.
    pub(super) fn poll_fd(&self) -> PollFd<'_> {
        match self {
            Self::Udp { udp, .. } => PollFd::new(udp, PollFlags::IN),
            Self::Tcp { tcp, is_open: true } => PollFd::new(tcp, PollFlags::IN),
            Self::Tcp { tcp, .. } => PollFd::new(tcp, PollFlags::OUT),
        }
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Udp { udp, .. } => registry.register(udp, token, Interest::READABLE),
            Self::Tcp { tcp, .. } => {
                registry.register(tcp, token, Interest::READABLE | Interest::WRITABLE)
            }
        }
    }

    /// Sends on a connection that stands. A fresh one takes a question whole.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp { udp, .. } => udp.send(bytes).map(|_| ()),
            Self::Tcp { tcp, .. } => match tcp.write(bytes)? {
                sent if sent == bytes.len() => Ok(()),
                _ => Err(io::ErrorKind::WriteZero.into()),
            },
        }
    }

    /// What happened next; `None` if nothing more for now. Ends with `None` or `Failed`.
    pub(super) fn poll<'a>(&mut self, buffer: &'a mut [u8]) -> Option<SocketEvent<'a>> {
        let result = match self {
            Self::Udp { udp, server } => udp.recv(buffer).map(|len| SocketEvent::Datagram {
                from: *server,
                bytes: &buffer[..len],
            }),
            Self::Tcp { tcp, is_open: true } => tcp.read(buffer).map(|len| match len {
                0 => SocketEvent::Failed,
                len => SocketEvent::Received(&buffer[..len]),
            }),
            Self::Tcp { tcp, is_open } => match tcp.take_error() {
                Ok(Some(_)) | Err(_) => Ok(SocketEvent::Failed),
                Ok(None) => tcp.peer_addr().map(|_| {
                    *is_open = true;
                    SocketEvent::Connected
                }),
            },
        };
        match result {
            Ok(event) => Some(event),
            Err(error) if is_early(&error) => None,
            Err(_) => Some(SocketEvent::Failed),
        }
    }
}

/// Whether a call only came too early.
fn is_early(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::NotConnected
    ) || error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error())
}

/// The texts of `resolv.conf` and the hosts file; empty where there is none.
pub(super) fn read_config() -> (String, String) {
    (text("/etc/resolv.conf"), text("/etc/hosts"))
}

/// The text of a small file; what is no UTF-8 in it is replaced.
fn text(path: &str) -> String {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| {
        let most = limits::HOSTS_MAX as u64 + 1;
        file.take(most).read_to_end(&mut bytes)
    });
    if let Err(error) = read {
        log::debug!("{path} can't be read: {error}");
    }
    String::from_utf8(bytes).unwrap_or_else(|error| {
        let bytes = error.into_bytes();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
