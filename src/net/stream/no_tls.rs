//! What stands in for TLS in a build without it: the same names, and nothing can be made.

use super::TlsError;
use crate::wire::tracker_http::url::Host;

/// The certificate authorities that are trusted; there are none in this build.
#[derive(Clone, Debug)]
pub enum TlsConfig {}

impl TlsConfig {
    /// Says that this build has no TLS.
    ///
    /// # Errors
    /// Always [`TlsError::NotBuilt`].
    pub fn load(_ca_bundle_pem: Option<&[u8]>) -> Result<Self, TlsError> {
        Err(TlsError::NotBuilt)
    }

    /// How many authorities are trusted.
    pub fn authorities(&self) -> usize {
        match *self {}
    }
}

/// A TLS client's side of a connection; none exists in this build.
#[derive(Debug)]
pub enum TlsStream {}

impl TlsStream {
    pub(super) fn connect(
        config: &TlsConfig,
        _host: &Host,
        _now_unix: u64,
    ) -> Result<Self, TlsError> {
        match *config {}
    }

    pub(super) fn handle_wire(
        &mut self,
        _bytes: &[u8],
        _plain: &mut Vec<u8>,
    ) -> Result<(), TlsError> {
        match *self {}
    }

    pub(super) fn handle_end(&mut self) -> Result<(), TlsError> {
        match *self {}
    }

    pub(super) fn poll_transmit(&self) -> &[u8] {
        match *self {}
    }

    pub(super) fn transmitted(&mut self, _bytes: usize) {
        match *self {}
    }

    pub(super) fn send(&mut self, _bytes: &[u8]) -> usize {
        match *self {}
    }

    pub(super) fn close(&mut self) {
        match *self {}
    }

    pub(super) fn is_handshaking(&self) -> bool {
        match *self {}
    }
}
