//! The client's side of TLS 1.2 and 1.3, over `rustls` as bytes in and bytes out.

use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, ClientConfig, ClientConnection, Error, RootCertStore};

use super::{Outbound, TlsError};
use crate::base::limits;
use crate::wire::tracker_http::url::Host;

/// The certificate authorities that are trusted, and the sessions that can be resumed. Cheap to clone.
#[derive(Clone)]
pub struct TlsConfig {
    config: Arc<ClientConfig>,
    authorities: usize,
}

impl TlsConfig {
    /// Trusts the authorities of a PEM bundle (the text of the system's file, or of a person's `--ca-file`), or
    /// without one those that are built in. Certificates in the bundle that can't be read are skipped.
    ///
    /// # Errors
    /// [`TlsError::NoAuthorities`] if the bundle has no certificate.
    pub fn load(ca_bundle_pem: Option<&[u8]>) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        match ca_bundle_pem {
            Some(pem) => {
                let certificates = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
                roots.add_parsable_certificates(certificates);
            }
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        }
        let authorities = roots.len();
        if authorities == 0 {
            return Err(TlsError::NoAuthorities);
        }
        let provider = Arc::new(ring::default_provider());
        let time = Arc::new(FixedTime(UnixTime::since_unix_epoch(Duration::ZERO)));
        let mut config = ClientConfig::builder_with_details(provider, time)
            .with_safe_default_protocol_versions()
            .map_err(|_| TlsError::Protocol)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::in_memory_sessions(limits::TLS_SESSIONS_MAX);
        Ok(Self {
            config: Arc::new(config),
            authorities,
        })
    }

    /// How many authorities are trusted.
    pub fn authorities(&self) -> usize {
        self.authorities
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsConfig({} authorities)", self.authorities)
    }
}

/// A TLS client's side of a connection.
pub struct TlsStream {
    connection: Box<ClientConnection>,
    out: Outbound,
    now_unix: u64,
    /// The server has said its goodbye.
    is_ended: bool,
}

impl TlsStream {
    pub(super) fn connect(
        config: &TlsConfig,
        host: &Host,
        now_unix: u64,
    ) -> Result<Self, TlsError> {
        let name = match host {
            Host::Address(address) => ServerName::from(*address),
            Host::Name(name) => {
                ServerName::try_from(name.clone()).map_err(|_| TlsError::WrongName)?
            }
        };
        // The time that this connection's certificates are judged at; everything else is shared.
        let mut config = ClientConfig::clone(&config.config);
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now_unix));
        config.time_provider = Arc::new(FixedTime(now));
        let connection = ClientConnection::new(Arc::new(config), name);
        let connection = connection.map_err(|error| judge(&error, now_unix))?;
        let mut stream = Self {
            connection: Box::new(connection),
            out: Outbound::default(),
            now_unix,
            is_ended: false,
        };
        stream
            .connection
            .set_buffer_limit(Some(limits::TLS_PENDING_MAX));
        stream.encrypt();
        Ok(stream)
    }

    pub(super) fn handle_wire(
        &mut self,
        mut bytes: &[u8],
        plain: &mut Vec<u8>,
    ) -> Result<(), TlsError> {
        let result = self.decrypt(&mut bytes, plain);
        // Also after an error: the server is told.
        self.encrypt();
        // Answers to the server's own messages are few unless it means harm.
        if self.out.pending().len() > 2 * limits::TLS_PENDING_MAX {
            return Err(TlsError::Protocol);
        }
        result
    }

    pub(super) fn handle_end(&mut self) -> Result<(), TlsError> {
        match self.is_ended {
            true => Ok(()),
            false => Err(TlsError::Truncated),
        }
    }

    pub(super) fn poll_transmit(&self) -> &[u8] {
        self.out.pending()
    }

    pub(super) fn transmitted(&mut self, bytes: usize) {
        self.out.transmitted(bytes);
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> usize {
        let room = self.out.room().min(bytes.len());
        // It takes less during the handshake, when its own buffer is full; writing to memory can't fail.
        let taken = self.connection.writer().write(&bytes[..room]).unwrap_or(0);
        self.encrypt();
        taken
    }

    pub(super) fn close(&mut self) {
        self.connection.send_close_notify();
        self.encrypt();
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Ends when all bytes are taken or the server has said its goodbye; what comes behind that is ignored.
    fn decrypt(&mut self, bytes: &mut &[u8], plain: &mut Vec<u8>) -> Result<(), TlsError> {
        while !bytes.is_empty() && !self.is_ended {
            // Fails only if its buffers overflow: they are emptied each round, so the server's messages are too long.
            let read = self.connection.read_tls(bytes);
            let read = read.map_err(|_| TlsError::Protocol)?;
            let state = self.connection.process_new_packets();
            let state = state.map_err(|error| judge(&error, self.now_unix))?;
            let at = plain.len();
            plain.resize(at + state.plaintext_bytes_to_read(), 0);
            let opened = self.connection.reader().read_exact(&mut plain[at..]);
            opened.map_err(|_| TlsError::Protocol)?;
            self.is_ended = state.peer_has_closed();
            if read == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Moves what the connection has to send into our buffer.
    fn encrypt(&mut self) {
        while self.connection.wants_write() {
            // Writing to memory can't fail; if it did, trying again would not help.
            let written = self.connection.write_tls(&mut self.out.bytes);
            if !matches!(written, Ok(1..)) {
                break;
            }
        }
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handshaking = self.is_handshaking();
        write!(f, "TlsStream(handshaking: {handshaking}, {:?})", self.out)
    }
}

/// The wall clock of one connection: it stands still from its start.
#[derive(Debug)]
struct FixedTime(UnixTime);

impl TimeProvider for FixedTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.0)
    }
}

/// Sorts the library's errors by what a person can do about them.
fn judge(error: &Error, now_unix: u64) -> TlsError {
    use CertificateError as C;
    match error {
        Error::InvalidCertificate(certificate) => match certificate {
            C::Expired | C::ExpiredContext { .. } => TlsError::Expired,
            C::NotValidYet | C::NotValidYetContext { .. } => match now_unix < WRITTEN {
                true => TlsError::Clock,
                false => TlsError::NotYetValid,
            },
            C::NotValidForName | C::NotValidForNameContext { .. } => TlsError::WrongName,
            C::UnknownIssuer => TlsError::UnknownIssuer,
            // What most tools make when asked for a self-signed certificate is an authority's own.
            C::Other(other) if other.to_string() == AUTHORITY_AS_SERVER => TlsError::UnknownIssuer,
            _ => TlsError::Certificate,
        },
        Error::NoCertificatesPresented => TlsError::Certificate,
        Error::AlertReceived(_) => TlsError::Refused,
        Error::PeerIncompatible(_) => TlsError::Refused,
        _ => TlsError::Protocol,
    }
}

/// The 1st of January 2026: a clock that is behind this has not been set.
const WRITTEN: u64 = 1_767_225_600;
/// What the library says of an authority's certificate that a server uses as its own.
const AUTHORITY_AS_SERVER: &str = "CaUsedAsEndEntity";
