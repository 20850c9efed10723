//! Fetching a torrent file from a web server, before there is a loop that could be blocked.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use super::config::USER_AGENT;
use crate::base::escape::escape_field;

/// What is at `url`, at most one byte more than `most`.
///
/// # Errors
///
/// Why not, in one escaped line.
pub(super) fn fetch(url: &str, most: usize) -> Result<Vec<u8>, String> {
    let config = ureq::Agent::config_builder()
        .user_agent(USER_AGENT)
        .max_redirects(REDIRECTS_MAX)
        .proxy(None)
        .timeout_connect(Some(CONNECT_MAX))
        .timeout_global(Some(WHOLE_MAX))
        .tls_config(TlsConfig::builder().root_certs(roots()).build())
        .build();
    let agent = ureq::Agent::with_parts(config, DefaultConnector::default(), Names);
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

/// The system's resolver, asked on this thread: ureq's own would start another one to time it.
#[derive(Debug)]
struct Names;

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
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        let mut addresses = self.empty();
        match literal.parse::<IpAddr>() {
            Ok(ip) => addresses.push(SocketAddr::new(ip, port)),
            Err(_) => look_up(host, port)?
                .take(ADDRESSES_MAX)
                .for_each(|address| addresses.push(address)),
        }
        if addresses.is_empty() {
            return Err(Error::HostNotFound);
        }
        Ok(addresses)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "no loop runs yet that it could block, and the system's own time-outs end it"
)]
fn look_up(host: &str, port: u16) -> Result<impl Iterator<Item = SocketAddr>, Error> {
    (host, port)
        .to_socket_addrs()
        .map_err(|_| Error::HostNotFound)
}

/// The authorities of the system's bundle if it has one, else those that are built in.
fn roots() -> RootCerts {
    let named = std::env::var_os("SSL_CERT_FILE").map(std::path::PathBuf::from);
    let usual = BUNDLES.iter().map(std::path::PathBuf::from);
    for path in named.into_iter().chain(usual) {
        let Ok(pem) = std::fs::read(path) else {
            continue;
        };
        let certificates = parse_pem(&pem).filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        });
        let certificates: Vec<Certificate<'static>> = certificates.collect();
        if !certificates.is_empty() {
            return RootCerts::from(certificates);
        }
    }
    RootCerts::WebPki
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
