//! A byte stream to a server, plain or through TLS (RFC 5246, 8446), as a machine: wire bytes in and out, no socket.
//!
//! ```text
//! socket --handle_wire--> plain bytes            send --poll_transmit, transmitted--> socket
//! socket ends --handle_end--> whole, or cut off
//! ```
//!
//! TLS draws its randomness from the operating system by itself; the time that certificates are judged at is an
//! argument. Without the feature `tls` all of this still compiles, and [`Stream::tls`] says that it is not there.
//!
//! ```
//! use minitorrent::net::stream::Stream;
//!
//! let (mut stream, mut plain) = (Stream::plain(), Vec::new());
//! assert_eq!(stream.send(b"GET /"), 5);
//! let written = stream.poll_transmit().len(); // to a socket
//! stream.transmitted(written);
//! stream.handle_wire(b"HTTP/1.1", &mut plain).expect("plain bytes can't be wrong");
//! assert_eq!(plain, b"HTTP/1.1");
//! ```

use std::fmt;

pub use self::tls::{TlsConfig, TlsStream};

use crate::base::limits;
use crate::wire::tracker_http::url::Host;

#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
mod tls;

#[cfg(test)]
#[cfg(feature = "tls")]
mod tests;

/// A stream to a server: what is sent and received is the same, however it looks on the wire.
#[derive(Debug)]
pub enum Stream {
    /// The bytes as they are.
    Plain(PlainStream),
    /// Through TLS.
    Tls(TlsStream),
}

impl Stream {
    /// A stream that changes nothing.
    pub fn plain() -> Self {
        Self::Plain(PlainStream::default())
    }

    /// A TLS client's stream to `host`; the first bytes to send are there at once. `now_unix` is the wall clock, in
    /// seconds since 1970: certificates are judged by it.
    ///
    /// # Errors
    /// [`TlsError::WrongName`] if no certificate can be for such a host, [`TlsError::NotBuilt`] without the feature.
    pub fn tls(config: &TlsConfig, host: &Host, now_unix: u64) -> Result<Self, TlsError> {
        TlsStream::connect(config, host, now_unix).map(Self::Tls)
    }

    /// Takes bytes from the wire and puts what they say behind `plain`: at most a record (16 KiB) more than came.
    ///
    /// # Errors
    /// The stream is over with the first error. What [`Stream::poll_transmit`] has then tells the server why.
    pub fn handle_wire(&mut self, bytes: &[u8], plain: &mut Vec<u8>) -> Result<(), TlsError> {
        match self {
            Self::Plain(_) => {
                plain.extend_from_slice(bytes);
                Ok(())
            }
            Self::Tls(stream) => stream.handle_wire(bytes, plain),
        }
    }

    /// The server has sent its last byte.
    ///
    /// # Errors
    /// [`TlsError::Truncated`] if the server did not say that this was all: somebody may have cut the line. What
    /// says its own length, as most HTTP replies do, may be whole all the same.
    pub fn handle_end(&mut self) -> Result<(), TlsError> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(stream) => stream.handle_end(),
        }
    }

    /// The bytes to send next on the wire.
    pub fn poll_transmit(&self) -> &[u8] {
        match self {
            Self::Plain(stream) => stream.out.pending(),
            Self::Tls(stream) => stream.poll_transmit(),
        }
    }

    /// So many bytes of [`Stream::poll_transmit`] were sent.
    pub fn transmitted(&mut self, bytes: usize) {
        match self {
            Self::Plain(stream) => stream.out.transmitted(bytes),
            Self::Tls(stream) => stream.transmitted(bytes),
        }
    }

    /// Takes bytes to send and says how many; the rest when some have been transmitted. About
    /// [`limits::TLS_PENDING_MAX`] wait at most. During the handshake they wait for its end.
    pub fn send(&mut self, bytes: &[u8]) -> usize {
        match self {
            Self::Plain(stream) => {
                let taken = bytes.len().min(stream.out.room());
                stream.out.bytes.extend_from_slice(&bytes[..taken]);
                taken
            }
            Self::Tls(stream) => stream.send(bytes),
        }
    }

    /// Says on the wire that nothing more will be sent.
    pub fn close(&mut self) {
        match self {
            Self::Plain(_) => {}
            Self::Tls(stream) => stream.close(),
        }
    }

    /// Whether both sides have yet to agree on keys.
    pub fn is_handshaking(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.is_handshaking(),
        }
    }
}

/// A stream without TLS.
#[derive(Debug, Default)]
pub struct PlainStream {
    out: Outbound,
}

/// Why TLS failed. None of its text comes from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TlsError {
    /// The certificate's time is over.
    Expired,
    /// The certificate's time is yet to come.
    NotYetValid,
    /// It is so because this machine's clock is years behind: it says it is before this program was written.
    Clock,
    /// The certificate is for another host.
    WrongName,
    /// The certificate is signed by itself or by somebody that no known authority vouches for.
    UnknownIssuer,
    /// The certificate is broken, revoked or not made for servers.
    Certificate,
    /// The file of authorities can't be read, or there is no certificate in it.
    NoAuthorities,
    /// The server breaks the connection off, saying so: no common version, cipher or protocol.
    Refused,
    /// What the server sends is not TLS, or breaks its rules.
    Protocol,
    /// The connection ended without the server's goodbye.
    Truncated,
    /// This program was built without TLS.
    NotBuilt,
}

impl TlsError {
    /// The error's kind, as it stands in error lines: `tls.expired`.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Expired => "tls.expired",
            Self::NotYetValid => "tls.not-yet-valid",
            Self::Clock => "tls.clock",
            Self::WrongName => "tls.name",
            Self::UnknownIssuer => "tls.issuer",
            Self::Certificate => "tls.certificate",
            Self::NoAuthorities => "tls.ca-file",
            Self::Refused => "tls.refused",
            Self::Protocol => "tls.protocol",
            Self::Truncated => "tls.truncated",
            Self::NotBuilt => "tls.not-built",
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "the server's certificate has expired",
            Self::NotYetValid => "the server's certificate is not valid yet",
            Self::Clock => "this machine's clock is wrong: set it, or no certificate is valid",
            Self::WrongName => "the server's certificate is for another name",
            Self::UnknownIssuer => {
                "the server's certificate is self-signed or from an unknown authority"
            }
            Self::Certificate => "the server's certificate can't be accepted",
            Self::NoAuthorities => "the CA file can't be read or has no certificate in it",
            Self::Refused => "the server refused the TLS connection",
            Self::Protocol => "the server does not speak proper TLS",
            Self::Truncated => "the TLS connection was cut off",
            Self::NotBuilt => "this program was built without TLS",
        })
    }
}

/// Bytes on their way to the wire.
#[derive(Default)]
struct Outbound {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbound {
    fn pending(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    fn transmitted(&mut self, bytes: usize) {
        self.sent = self.bytes.len().min(self.sent + bytes);
        if self.sent == self.bytes.len() {
            // An idle stream keeps no buffer.
            *self = Self::default();
        }
    }

    /// How many more bytes may wait. What was sent makes room at the latest when it is half of the buffer.
    fn room(&mut self) -> usize {
        if self.sent > self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        limits::TLS_PENDING_MAX.saturating_sub(self.pending().len())
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes pending", self.pending().len())
    }
}
