//! One HTTP call to a tracker with the stream it goes through, plain or TLS: wire bytes in, wire bytes out.
//!
//! ```text
//! http:                     connected --> Open(plain) --bytes, end--> response or failure
//! https: Closed(host) --connected, trust--> Open(TLS) --bytes, end--> response or failure
//! ```

use super::{CallId, HttpFailure};
use crate::engine::io::TorrentId;
use crate::net::http_call::{HttpCall, Response};
use crate::net::stream::{Stream, TlsConfig, TlsError};
use crate::wire::tracker_http::url::Host;

/// A call on its connection.
pub struct TrackerCall {
    /// For which torrent.
    pub torrent: TorrentId,
    /// What its announcer calls it.
    pub id: CallId,
    http: HttpCall,
    link: Link,
}

impl TrackerCall {
    /// A call that is to be made as soon as there is a connection; through TLS if a host must prove itself.
    pub fn new(torrent: TorrentId, id: CallId, http: HttpCall, tls: Option<Host>) -> Self {
        let link = match tls {
            Some(host) => Link::Closed(host),
            None => Link::Open(Stream::plain()),
        };
        let mut call = Self {
            torrent,
            id,
            http,
            link,
        };
        call.pump();
        call
    }

    /// Begins TLS: the authorities that are trusted, and the wall clock in seconds since 1970.
    ///
    /// # Errors
    /// [`HttpFailure::Tls`] if there are no authorities, or no certificate can be for this host.
    pub fn handle_trust(
        &mut self,
        trust: Result<TlsConfig, TlsError>,
        now_unix: u64,
    ) -> Result<(), HttpFailure> {
        let Link::Closed(host) = &self.link else {
            return Ok(());
        };
        let stream = trust.and_then(|config| Stream::tls(&config, host, now_unix));
        self.link = Link::Open(stream.map_err(HttpFailure::Tls)?);
        self.pump();
        Ok(())
    }

    /// Takes bytes from the wire.
    ///
    /// # Errors
    /// The call is over with the first error.
    pub fn handle_wire(&mut self, bytes: &[u8]) -> Result<(), HttpFailure> {
        let Link::Open(stream) = &mut self.link else {
            // Whoever speaks before we did does not speak TLS.
            return Err(HttpFailure::Tls(TlsError::Protocol));
        };
        if let Stream::Plain(_) = stream {
            return self.http.handle_bytes(bytes).map_err(HttpFailure::Http);
        }
        let mut plain = Vec::new();
        let opened = stream.handle_wire(bytes, &mut plain);
        // What came before a fault may have been the whole reply.
        let read = self.http.handle_bytes(&plain);
        self.pump();
        read.map_err(HttpFailure::Http)
            .and(opened.map_err(HttpFailure::Tls))
    }

    /// The tracker has sent its last byte.
    ///
    /// # Errors
    /// Says that the reply is not whole.
    pub fn handle_end(&mut self) -> Result<(), HttpFailure> {
        let ended = match &mut self.link {
            Link::Open(stream) => stream.handle_end(),
            Link::Closed(_) => Err(TlsError::Truncated),
        };
        // Many trackers end their replies, and TLS, by closing the connection. A cut reply does no harm: bencode
        // says where it ends.
        self.http.handle_end().map_err(|error| match ended {
            Ok(()) => HttpFailure::Http(error),
            Err(error) => HttpFailure::Tls(error),
        })
    }

    /// The bytes to send next.
    pub fn poll_transmit(&self) -> &[u8] {
        match &self.link {
            Link::Open(stream) => stream.poll_transmit(),
            Link::Closed(_) => &[],
        }
    }

    /// So many bytes of [`TrackerCall::poll_transmit`] were sent.
    pub fn transmitted(&mut self, bytes: usize) {
        if let Link::Open(stream) = &mut self.link {
            stream.transmitted(bytes);
        }
        self.pump();
    }

    /// The whole reply, once.
    pub fn poll_response(&mut self) -> Option<Response> {
        self.http.poll_response()
    }

    /// Whether [`TrackerCall::handle_trust`] has to come before anything can be sent.
    pub fn needs_trust(&self) -> bool {
        matches!(self.link, Link::Closed(_))
    }

    /// Moves as much of the request into the stream as it takes.
    fn pump(&mut self) {
        let Link::Open(stream) = &mut self.link else {
            return;
        };
        let sent = stream.send(self.http.poll_transmit());
        self.http.transmitted(sent);
    }
}

/// What is between the call and the wire.
enum Link {
    /// TLS, which has not begun.
    Closed(Host),
    Open(Stream),
}
