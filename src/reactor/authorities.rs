//! Whom TLS trusts: a person's file, the system's bundle, or the authorities that are built in.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::net::stream::{TlsConfig, TlsError};

/// The authorities, read when they are first needed.
#[derive(Debug, Default)]
pub(super) struct Authorities {
    file: Option<PathBuf>,
    loaded: Option<TlsConfig>,
}

impl Authorities {
    /// Trusts those of `file` and no others from now on.
    pub(super) fn set_file(&mut self, file: PathBuf) {
        self.file = Some(file);
        self.loaded = None;
    }

    /// The authorities. What can't be read is read again at the next call: it may be there by then.
    #[cfg_attr(
        not(feature = "tls"),
        expect(unreachable_code, reason = "without TLS nothing is ever loaded")
    )]
    pub(super) fn load(&mut self) -> Result<TlsConfig, TlsError> {
        if let Some(loaded) = &self.loaded {
            return Ok(loaded.clone());
        }
        let named = self.file.clone();
        let named = named.or_else(|| std::env::var_os(VARIABLE).map(PathBuf::from));
        let config = match named {
            // Whoever names a file means that one: nothing else will do.
            Some(file) => from_file(&file),
            None => from_system(),
        }?;
        log::debug!(
            "{} certificate authorities are trusted",
            config.authorities()
        );
        Ok(self.loaded.insert(config).clone())
    }
}

fn from_file(file: &Path) -> Result<TlsConfig, TlsError> {
    let pem = read(file).map_err(|error| {
        log::warn!("the CA file {} can't be read: {error}", file.display());
        TlsError::NoAuthorities
    })?;
    TlsConfig::load(Some(&pem))
}

fn from_system() -> Result<TlsConfig, TlsError> {
    let bundles = BUNDLES.iter().map(Path::new);
    let loaded = bundles.map(|path| TlsConfig::load(Some(&read(path).unwrap_or_default())));
    let mut loaded = loaded.filter_map(Result::ok);
    loaded.next().map_or_else(|| TlsConfig::load(None), Ok)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut pem = Vec::new();
    File::open(path)?.take(BUNDLE_MAX).read_to_end(&mut pem)?;
    Ok(pem)
}

/// Where systems keep their bundle: Debian and Alpine and OpenWrt, Fedora, the BSDs.
const BUNDLES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];
/// The variable by which other programs are told, too.
const VARIABLE: &str = "SSL_CERT_FILE";
/// Bytes of a bundle that are read: the usual ones have 200 KiB.
const BUNDLE_MAX: u64 = 4 << 20;

#[cfg(test)]
#[cfg(feature = "tls")]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_named_is_never_replaced_by_another() {
        let mut authorities = Authorities::default();
        authorities.set_file("/nonexistent/ca.pem".into());
        assert!(matches!(authorities.load(), Err(TlsError::NoAuthorities)));
        authorities.set_file("/dev/null".into());
        assert!(matches!(authorities.load(), Err(TlsError::NoAuthorities)));
    }

    #[test]
    fn without_a_file_there_are_authorities_whatever_the_system_has() {
        assert!(from_system().is_ok_and(|config| config.authorities() > 10));
    }
}
