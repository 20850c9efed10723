//! What an announcer asks for and is told: plain values in both directions.

use std::fmt;
use std::net::SocketAddr;

use super::blame::Blame;
use crate::engine::io::ConnectError;
use crate::net::http_call::{HttpCall, HttpError, RedirectError};
use crate::net::stream::TlsError;
use crate::wire::tracker_http::url::Host;
use crate::wire::tracker_udp::Scrape;

/// What an announcer wants done.
#[derive(Debug)]
pub enum Action {
    /// Connect, send the request and read the reply; answered by [`super::Announcer::handle_http`].
    Http {
        /// The call's name.
        call: CallId,
        /// Where to connect to.
        to: SocketAddr,
        /// Whose certificate must be shown, if it goes through TLS.
        tls: Option<Host>,
        /// The machine that speaks on the connection.
        request: HttpCall,
    },
    /// Close the connection of a call that has not been answered for; its result is no longer wanted.
    Abandon {
        /// Which.
        call: CallId,
    },
    /// Send a datagram; what comes back goes to [`super::Announcer::handle_datagram`].
    Datagram {
        /// Where to.
        to: SocketAddr,
        /// Its payload.
        bytes: Vec<u8>,
    },
    /// Find the addresses of a name; answered by [`super::Announcer::handle_resolved`].
    Resolve {
        /// The name, in lower case.
        name: String,
    },
    /// Addresses of possible peers, each once, at most [`crate::base::limits::ADDRESSES_PER_ANNOUNCE`].
    Peers {
        /// Which tracker named them: a number of its own.
        tracker: u32,
        /// The addresses.
        peers: Vec<SocketAddr>,
    },
    /// What became of an announce.
    Report {
        /// The tracker as written in the torrent, escaped.
        url: String,
        /// Peers that it named, or what went wrong.
        result: Result<u32, TrackerError>,
    },
    /// What a tracker counts ([`super::Announcer::scrape`]).
    Scraped {
        /// The tracker as written in the torrent, escaped.
        url: String,
        /// Its counts.
        counts: Scrape,
    },
    /// A tracker has words for the user.
    Warning {
        /// The tracker as written in the torrent, escaped.
        url: String,
        /// The words, escaped.
        text: String,
    },
}

/// An HTTP call of one announcer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CallId(pub(super) u32);

/// What is true of the torrent at the moment of an announce.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// Bytes of content sent to peers in this run.
    pub uploaded: u64,
    /// Bytes of content received from peers in this run.
    pub downloaded: u64,
    /// Bytes still missing.
    pub left: u64,
}

/// Why an HTTP call gave no response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HttpFailure {
    /// The connection could not be made.
    Connect(ConnectError),
    /// The connection broke.
    Broken,
    /// The reply could not be read.
    Http(HttpError),
    /// The server can't be trusted or understood.
    Tls(TlsError),
}

impl HttpFailure {
    pub(super) fn judge(self) -> (TrackerError, Blame) {
        let connect = |message, blame| (TrackerError::new("tracker.connect", message), blame);
        match self {
            Self::Connect(ConnectError::Refused) => connect("connection refused", Blame::Tracker),
            Self::Connect(ConnectError::Unreachable) => connect("no route", Blame::Ourselves),
            Self::Connect(ConnectError::Resources) => {
                connect("no free descriptor, port or memory", Blame::Ourselves)
            }
            Self::Connect(ConnectError::Other) => connect("can't connect", Blame::Ourselves),
            Self::Broken => connect("the connection broke", Blame::Tracker),
            Self::Tls(error) => {
                let blame = match error {
                    TlsError::Clock | TlsError::NoAuthorities => Blame::Ourselves,
                    TlsError::Expired
                    | TlsError::NotYetValid
                    | TlsError::WrongName
                    | TlsError::UnknownIssuer
                    | TlsError::Certificate
                    | TlsError::Refused
                    | TlsError::Protocol
                    | TlsError::Truncated
                    | TlsError::NotBuilt => Blame::Tracker,
                };
                (TrackerError::new(error.kind(), error.to_string()), blame)
            }
            Self::Http(error) => {
                let kind = match error {
                    HttpError::BodyTooLong => "tracker.too-large",
                    HttpError::Request
                    | HttpError::Protocol
                    | HttpError::HeadTooLong
                    | HttpError::Truncated => "tracker.http",
                };
                (TrackerError::new(kind, error.to_string()), Blame::Tracker)
            }
        }
    }
}

/// What went wrong with a tracker; shown as `[kind] message`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrackerError {
    /// The kind, as error lines name it: `tracker.http`, `tracker.timeout`, `dns` and others.
    pub kind: &'static str,
    /// One line; what is from outside in it is escaped.
    pub message: String,
}

impl TrackerError {
    pub(super) fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    pub(super) fn no_tls() -> Self {
        Self::new(
            "tracker.tls",
            "https needs TLS support, which this build lacks",
        )
    }

    pub(super) fn redirect(error: RedirectError) -> Self {
        let kind = match error {
            RedirectError::Local => "tracker.ssrf",
            RedirectError::TooMany | RedirectError::Downgrade | RedirectError::Url(_) => {
                "tracker.http"
            }
        };
        Self::new(kind, error.to_string())
    }
}

impl fmt::Display for TrackerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.kind, self.message)
    }
}
