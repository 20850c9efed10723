//! Fetching a torrent file from a web server, before there is a loop that could be blocked.

mod transport;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Connector as _, NextTimeout, RustlsConnector};

use self::transport::Tcp;
use super::config::USER_AGENT;
use super::process::os_seed;
use crate::base::escape::escape_field;
use crate::reactor::{Interrupts, look_up};

/// What is at `url`, at most one byte more than `most`. A `ca_file` names whom TLS trusts.
///
/// # Errors
///
/// Why not, in one escaped line; at once if a signal comes.
pub(super) fn fetch(
    url: &str,
    most: usize,
    ca_file: Option<&Path>,
    interrupts: &Interrupts,
) -> Result<Vec<u8>, String> {
    let roots = roots(ca_file)?;
    let config = ureq::Agent::config_builder()
        .user_agent(USER_AGENT)
        .max_redirects(REDIRECTS_MAX)
        .proxy(None)
        .timeout_connect(Some(CONNECT_MAX))
        .timeout_global(Some(WHOLE_MAX))
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .build();
    let tcp = Tcp(interrupts.clone());
    let connector = ().chain(tcp).chain(RustlsConnector::default());
    let agent = ureq::Agent::with_parts(config, connector, Names(interrupts.clone()));
    let in_words = |error: Error| escape_field(error.to_string().as_bytes());
    let mut response = agent.get(url).call().map_err(in_words)?;
    response
        .body_mut()
        .with_config()
        .limit(most as u64 + 1)
        .read_to_vec()
        .or_else(|error| match error {
            // The caller says how large it may be.
            Error::BodyExceedsLimit(_) => Ok(vec![0; most + 1]),
            error => Err(in_words(error)),
        })
}

/// Our own resolver: ureq's would start a thread to time the system's.
#[derive(Debug)]
struct Names(Interrupts);

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let default = if uri.scheme_str() == Some("https") {
            443
        } else {
            80
        };
        let port = uri.port_u16().unwrap_or(default);
        let host = uri.host().ok_or(Error::HostNotFound)?;
        let seed = os_seed().map_err(|error| Error::Io(io::Error::other(error.to_string())))?;
        let found = look_up(host, seed, &self.0).map_err(Error::Io)?;
        let mut addresses = self.empty();
        for ip in found.into_iter().take(ADDRESSES_MAX) {
            addresses.push(SocketAddr::new(ip, port));
        }
        Ok(addresses)
    }
}

/// The authorities of the file that was named, and no others; if none was, those of the system's bundle if it has
/// one, else those that are built in.
fn roots(ca_file: Option<&Path>) -> Result<RootCerts, String> {
    let variable = || std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    if let Some(named) = ca_file.map(Path::to_owned).or_else(variable) {
        let shown = escape_field(named.as_os_str().as_encoded_bytes());
        return certificates(&named)
            .ok_or_else(|| format!("the CA file {shown} can't be read, or has no certificate"));
    }
    let mut usual = BUNDLES.iter().map(Path::new).filter_map(certificates);
    Ok(usual.next().unwrap_or(RootCerts::WebPki))
}

/// The certificates in a PEM file, if there are any.
fn certificates(path: &Path) -> Option<RootCerts> {
    let pem = std::fs::read(path).ok()?;
    let certificates = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let certificates: Vec<Certificate<'static>> = certificates.collect();
    (!certificates.is_empty()).then(|| RootCerts::from(certificates))
}

/// Where systems keep their authorities.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];
/// Every address costs a try when it is dead.
const ADDRESSES_MAX: usize = 4;
const REDIRECTS_MAX: u32 = 5;
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// From the first byte of the request to the last of the reply.
const WHOLE_MAX: Duration = Duration::from_secs(30);
