//! Tracker URLs taken apart: `http`, `https` and `udp`, with names, IPv4 and bracketed IPv6 hosts.

use std::fmt;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::base::limits;

/// A tracker's URL in its parts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrackerUrl {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Where it is.
    pub host: Host,
    /// The port, never 0: 80 for `http` and `udp`, 443 for `https` where the URL has none.
    pub port: u16,
    /// From the first `/` to the end or the `#`, as written but for bytes that can't stand in a request line,
    /// which are percent-encoded. Begins with `/`.
    pub path_and_query: String,
}

impl TrackerUrl {
    /// Reads `text`; surrounding white space is ignored.
    ///
    /// # Errors
    /// Says what is wrong; nothing of the text is in it.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let text = text.trim_matches(|c: char| c.is_ascii_whitespace());
        if text.len() > limits::URL_MAX {
            return Err(UrlError::TooLong);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let scheme = Scheme::from_text(scheme).ok_or(UrlError::Scheme)?;
        Self::after_scheme(scheme, rest)
    }

    /// The URL that a `Location` of this one's reply means; schemes are judged as in [`TrackerUrl::parse`].
    ///
    /// # Errors
    /// As [`TrackerUrl::parse`].
    pub fn join(&self, location: &str) -> Result<Self, UrlError> {
        if location.len() > limits::URL_MAX {
            return Err(UrlError::TooLong);
        }
        if let Some(rest) = location.strip_prefix("//") {
            return Self::after_scheme(self.scheme, rest);
        }
        if has_scheme(location) {
            return Self::parse(location);
        }
        let mut joined = self.clone();
        let location = location.split('#').next().unwrap_or_default();
        let base = self.path_and_query.split('?').next().unwrap_or_default();
        joined.path_and_query = if location.starts_with('/') {
            encode_target(location)
        } else if location.starts_with('?') {
            encode_target(&format!("{base}{location}"))
        } else {
            let folder = base.rfind('/').map_or("/", |at| &base[..=at]);
            encode_target(&without_dots(&format!("{folder}{location}")))
        };
        Ok(joined)
    }

    /// The value of an HTTP `Host` header.
    pub fn host_header(&self) -> String {
        let mut text = self.host.to_string();
        if self.port != self.scheme.default_port() {
            let _ = write!(text, ":{}", self.port);
        }
        text
    }

    /// Whether the path's last part is `announce` or `scrape` or begins so (`announce.php`): what a tracker on this
    /// machine or network must have, so that no torrent can make us call other services there.
    pub fn is_announce(&self) -> bool {
        let path = self.path_and_query.split('?').next().unwrap_or_default();
        let last = path.rsplit('/').next().unwrap_or_default();
        last.starts_with("announce") || last.starts_with("scrape")
    }

    fn after_scheme(scheme: Scheme, rest: &str) -> Result<Self, UrlError> {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return Err(UrlError::Login);
        }
        let (host, port) = split_port(authority)?;
        let port = match port {
            "" => scheme.default_port(),
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| UrlError::Port)?
            }
            _ => return Err(UrlError::Port),
        };
        if port == 0 {
            return Err(UrlError::Port);
        }
        Ok(Self {
            scheme,
            host: Host::parse(host)?,
            port,
            path_and_query: encode_target(target.split('#').next().unwrap_or_default()),
        })
    }
}

/// The ways a tracker can be spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// HTTP over TCP (BEP 3).
    Http,
    /// HTTP over TLS.
    Https,
    /// Datagrams (BEP 15).
    Udp,
}

impl Scheme {
    fn from_text(text: &str) -> Option<Self> {
        [
            ("http", Self::Http),
            ("https", Self::Https),
            ("udp", Self::Udp),
        ]
        .into_iter()
        .find_map(|(name, scheme)| text.eq_ignore_ascii_case(name).then_some(scheme))
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http | Self::Udp => 80,
            Self::Https => 443,
        }
    }
}

/// Where a tracker is: an address, or a name that has to be resolved.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Host {
    /// A literal address.
    Address(IpAddr),
    /// A name in lower case, at most 253 bytes of labels of at most 63, without a dot at its end.
    Name(String),
}

impl Host {
    fn parse(text: &str) -> Result<Self, UrlError> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(UrlError::Host)?;
            let ip: Ipv6Addr = inner.parse().map_err(|_| UrlError::Host)?;
            return Ok(Self::Address(IpAddr::V6(ip).to_canonical()));
        }
        if let Ok(ip) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Address(IpAddr::V4(ip)));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        let last = name.rsplit('.').next().unwrap_or_default();
        // `127.1` and `2130706433` are addresses to some systems: no name ends in a number.
        let numeric = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
        if name.len() > 253 || numeric || !name.split('.').all(is_label) {
            return Err(UrlError::Host);
        }
        Ok(Self::Name(name.to_ascii_lowercase()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V4(ip)) => ip.fmt(f),
            Self::Address(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            // Letters, digits, `-`, `_` and dots: it needs no escaping, and a `Host` header must be whole.
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// What is wrong with a URL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UrlError {
    /// Longer than [`limits::URL_MAX`].
    TooLong,
    /// Not `http://`, `https://` or `udp://`.
    Scheme,
    /// No host, or one that can't be.
    Host,
    /// Not a port from 1 to 65535.
    Port,
    /// A user name or password in the URL.
    Login,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the URL is longer than 2048 bytes",
            Self::Scheme => "the URL is not http, https or udp",
            Self::Host => "the URL has no valid host",
            Self::Port => "the URL has no valid port",
            Self::Login => "a login in the URL is not supported",
        })
    }
}

/// Whether an address belongs to this machine or a private network: nothing public may send us there.
pub fn is_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let shared = a == 100 && b & 0xc0 == 64; // RFC 6598: carriers' own networks.
            a == 0 || ip.is_loopback() || ip.is_private() || ip.is_link_local() || shared
        }
        IpAddr::V6(ip) => {
            ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
        }
    }
}

fn split_port(authority: &str) -> Result<(&str, &str), UrlError> {
    if authority.starts_with('[') {
        let end = authority.find(']').ok_or(UrlError::Host)?;
        let (host, rest) = authority.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, port)),
            None if rest.is_empty() => Ok((host, "")),
            None => Err(UrlError::Host),
        };
    }
    Ok(authority.split_once(':').unwrap_or((authority, "")))
}

/// Whether a `Location` begins with a scheme: then it is a whole URL, of whatever kind.
fn has_scheme(location: &str) -> bool {
    let end = location.find([':', '/', '?', '#']);
    end.is_some_and(|at| {
        location[at..].starts_with(':') && location.starts_with(|c: char| c.is_ascii_alphabetic())
    })
}

fn encode_target(target: &str) -> String {
    let mut out = String::with_capacity(target.len() + 1);
    if !target.starts_with('/') {
        out.push('/');
    }
    for byte in target.bytes() {
        let fits = byte.is_ascii_graphic()
            && !matches!(
                byte,
                b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}'
            );
        if fits {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Takes `.` and `..` out of the path part of `target` (RFC 3986 5.2.4).
fn without_dots(target: &str) -> String {
    let at = target.find('?').unwrap_or(target.len());
    let (path, query) = target.split_at(at);
    let mut parts: Vec<&str> = Vec::new();
    let mut ends_in_folder = false;
    for part in path.split('/').skip(1) {
        ends_in_folder = matches!(part, "." | "..");
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    let slash = if ends_in_folder && !parts.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{slash}{query}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_host_stands_whole_in_the_header() {
        let host = format!("{}.example", ["a".repeat(60).as_str(); 4].join("."));
        let url = TrackerUrl::parse(&format!("http://{host}/announce")).expect("251 bytes");
        assert_eq!(url.host_header(), host);
    }

    fn url(text: &str) -> TrackerUrl {
        TrackerUrl::parse(text).expect("a good URL")
    }

    #[test]
    fn a_url_is_taken_apart_and_its_target_kept_as_written() {
        let parts = url("HTTP://Tracker.Example.:8080/x/announce?passkey=%aB&&y=a+b#part");
        assert_eq!(parts.scheme, Scheme::Http);
        assert_eq!(parts.host, Host::Name("tracker.example".into()));
        assert_eq!(parts.port, 8080);
        assert_eq!(parts.path_and_query, "/x/announce?passkey=%aB&&y=a+b");
        assert_eq!(parts.host_header(), "tracker.example:8080");
        assert_eq!(url("http://h").path_and_query, "/");
        assert_eq!(url("http://h?x=1").path_and_query, "/?x=1");
        assert_eq!(
            url("http://h:/a b\u{e9}|").path_and_query,
            "/a%20b%C3%A9%7C"
        );
    }

    #[test]
    fn ports_have_defaults_and_addresses_are_read() {
        assert_eq!(url("https://h/").port, 443);
        assert_eq!(url("udp://h/announce").port, 80);
        assert_eq!(url("http://h:80/").host_header(), "h");
        let six = url("udp://[2001:db8::1]:6969/announce");
        assert_eq!(
            six.host,
            Host::Address("2001:db8::1".parse().expect("an address"))
        );
        assert_eq!(six.host_header(), "[2001:db8::1]:6969");
        assert_eq!(url("http://[::ffff:127.0.0.1]/").host_header(), "127.0.0.1");
        assert_eq!(url("http://192.0.2.7:1/").host_header(), "192.0.2.7:1");
    }

    #[test]
    fn bad_urls_say_what_is_wrong() {
        let bad = |text: &str| TrackerUrl::parse(text).expect_err("a bad URL");
        for text in ["wss://h/", "file:///etc/passwd", "h:80", "", "://"] {
            assert_eq!(bad(text), UrlError::Scheme, "{text}");
        }
        let label = "a".repeat(64);
        let name = "a.".repeat(150) + "com";
        for host in [
            "",
            "tracker..x",
            ".",
            "..",
            &label,
            &name,
            "a b",
            "[::1",
            "[::1]x",
            "[fe80::1%25eth0]",
            "127.1",
            "2130706433",
            "0x7f000001",
            "b\u{fc}cher.de",
            "a\r\nb",
        ] {
            assert_eq!(bad(&format!("http://{host}/")), UrlError::Host, "{host}");
        }
        for port in ["0", "65536", "-1", "+1", "8o", "80:80"] {
            assert_eq!(bad(&format!("http://h:{port}/")), UrlError::Port, "{port}");
        }
        assert_eq!(bad("http://user:pw@h/"), UrlError::Login);
        assert_eq!(
            bad(&format!("http://h/{}", "x".repeat(2048))),
            UrlError::TooLong
        );
    }

    #[test]
    fn a_location_is_joined_as_a_browser_would() {
        let base = url("http://h:81/a/b?x=1");
        let join = |location: &str| {
            base.join(location)
                .map(|u| (u.host_header(), u.path_and_query))
        };
        let ok = |host: &str, path: &str| Ok((host.to_string(), path.to_string()));
        assert_eq!(join("/c?y"), ok("h:81", "/c?y"));
        assert_eq!(join("c"), ok("h:81", "/a/c"));
        assert_eq!(join("../../c/./d"), ok("h:81", "/c/d"));
        assert_eq!(join("?z=2"), ok("h:81", "/a/b?z=2"));
        assert_eq!(join("//other/p"), ok("other", "/p"));
        assert_eq!(join("https://other:444/p"), ok("other:444", "/p"));
        assert_eq!(join("file:///etc/passwd"), Err(UrlError::Scheme));
        assert_eq!(join("javascript:x"), Err(UrlError::Scheme));
    }

    #[test]
    fn local_addresses_are_told_from_public_ones() {
        let local = |text: &str| is_local(text.parse().expect("an address"));
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "::",
            "fc00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(local(text), "{text}");
        }
        for text in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:db8::1"] {
            assert!(!local(text), "{text}");
        }
    }

    #[test]
    fn an_announce_path_is_known_by_its_last_part() {
        for (path, is) in [
            ("/announce", true),
            ("/key/announce.php?x", true),
            ("/announce/x", false),
            ("/flushall?/announce", false),
        ] {
            assert_eq!(url(&format!("http://h{path}")).is_announce(), is, "{path}");
        }
    }
}
