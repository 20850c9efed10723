//! Local service discovery (BEP 14): announces shouted to the neighbourhood, HTTP-like datagrams.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::base::ids::InfoHash;

/// An announce: a peer on this network takes part in some torrents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announce {
    /// Where it takes connections, never 0; the host is the datagram's sender.
    pub port: u16,
    /// The torrents, at most [`HASHES_MAX`].
    pub torrents: Vec<InfoHash>,
    /// What the sender knows its own announces by, at most [`COOKIE_MAX`] bytes; empty if there is none.
    pub cookie: Vec<u8>,
}

impl Announce {
    /// Reads a datagram of at most [`DATAGRAM_MAX`] bytes and [`HEADERS_MAX`] headers. Unknown headers and
    /// broken info-hashes are passed over. `None` if it is no announce, or one of nothing.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > DATAGRAM_MAX {
            return None;
        }
        let mut lines = bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
        let request = lines.next()?;
        if !request.starts_with(b"BT-SEARCH * HTTP/1.") {
            return None;
        }
        let (mut port, mut torrents, mut cookie) = (None, Vec::new(), Vec::new());
        for line in lines.take(HEADERS_MAX).take_while(|line| !line.is_empty()) {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"port") {
                port = std::str::from_utf8(value).ok()?.parse::<u16>().ok();
            } else if name.eq_ignore_ascii_case(b"infohash") && torrents.len() < HASHES_MAX {
                let text = std::str::from_utf8(value).ok();
                torrents.extend(text.and_then(InfoHash::from_hex));
            } else if name.eq_ignore_ascii_case(b"cookie") && value.len() <= COOKIE_MAX {
                cookie = value.to_vec();
            }
        }
        Some(Self {
            port: port.filter(|&port| port != 0)?,
            torrents: Some(torrents).filter(|torrents| !torrents.is_empty())?,
            cookie,
        })
    }

    /// The datagram for the group `to`. The cookie must be printable and without line ends.
    pub fn encode(&self, to: SocketAddr) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        // Writing to a vector never fails.
        let _ = write!(
            out,
            "BT-SEARCH * HTTP/1.1\r\nHost: {to}\r\nPort: {}\r\n",
            self.port
        );
        for torrent in self.torrents.iter().take(HASHES_MAX) {
            let _ = write!(out, "Infohash: {torrent}\r\n");
        }
        if !self.cookie.is_empty() {
            out.extend_from_slice(b"cookie: ");
            out.extend_from_slice(&self.cookie);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n\r\n");
        out
    }
}

/// The group for IPv4 announces.
pub const GROUP_V4: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(239, 192, 152, 143)), PORT);
/// The group for IPv6 announces.
pub const GROUP_V6: SocketAddr = SocketAddr::new(
    IpAddr::V6(Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xefc0, 0x988f)),
    PORT,
);
/// The port of both groups.
pub const PORT: u16 = 6771;
/// Longest datagram that is looked at; BEP 14 asks for at most 1400.
pub const DATAGRAM_MAX: usize = 1500;
/// Most headers of an announce that are looked at.
pub const HEADERS_MAX: usize = 40;
/// Most info-hashes of one announce: 22 fit in the 1400 bytes that BEP 14 allows.
pub const HASHES_MAX: usize = 22;
/// Longest cookie that is kept to be compared.
pub const COOKIE_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    fn announce() -> Announce {
        Announce {
            port: 6881,
            torrents: vec![InfoHash([0xaa; 20]), InfoHash([0x0b; 20])],
            cookie: b"x1".to_vec(),
        }
    }

    #[test]
    fn an_announce_is_written_as_bep_14_has_it() {
        let text = "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\n\
            Infohash: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\
            Infohash: 0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b\r\ncookie: x1\r\n\r\n\r\n";
        let bytes = announce().encode(GROUP_V4);
        assert_eq!(String::from_utf8_lossy(&bytes), text);
        assert_eq!(Announce::decode(&bytes), Some(announce()));
        let v6 = announce().encode(GROUP_V6);
        assert!(String::from_utf8_lossy(&v6).contains("Host: [ff15::efc0:988f]:6771\r\n"));
    }

    #[test]
    fn a_full_announce_stays_within_fourteen_hundred_bytes() {
        let full = Announce {
            port: 65_535,
            torrents: vec![InfoHash([1; 20]); 30],
            cookie: vec![b'c'; 16],
        };
        let bytes = full.encode(GROUP_V6);
        assert!(bytes.len() <= 1400, "{}", bytes.len());
        assert_eq!(
            Announce::decode(&bytes).map(|read| read.torrents.len()),
            Some(HASHES_MAX)
        );
    }

    #[test]
    fn other_spellings_and_unknown_headers_pass() {
        let text = "BT-SEARCH * HTTP/1.1\nhost:x\nPORT:1\nX-More: 1:2\n\
            infohash: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\nInfohash: short\n\n";
        let read = Announce::decode(text.as_bytes()).expect("an announce");
        assert_eq!((read.port, read.torrents), (1, vec![InfoHash([0xaa; 20])]));
        assert_eq!(read.cookie, b"");
    }

    #[test]
    fn nonsense_is_nothing() {
        let hash = "a".repeat(40);
        let with = |headers: &str| {
            Announce::decode(format!("BT-SEARCH * HTTP/1.1\r\n{headers}\r\n\r\n").as_bytes())
        };
        assert!(with(&format!("Port: 1\r\nInfohash: {hash}")).is_some());
        for headers in [
            String::new(),
            "Port: 1".into(),
            format!("Infohash: {hash}"),
            format!("Port: 0\r\nInfohash: {hash}"),
            format!("Port: 65536\r\nInfohash: {hash}"),
            format!("Port: 1\r\nInfohash: {}", "g".repeat(40)),
            format!("Port: 1\r\nno colon\r\nInfohash: {hash}"),
            format!("{}Port: 1\r\nInfohash: {hash}", "X: y\r\n".repeat(50)),
            format!(
                "Port: 1\r\nInfohash: {hash}\r\nX: {}",
                "y".repeat(1_000_000)
            ),
        ] {
            assert_eq!(with(&headers), None, "{:.60}", headers);
        }
        assert_eq!(Announce::decode(b""), None);
        assert_eq!(
            Announce::decode(b"M-SEARCH * HTTP/1.1\r\nPort: 1\r\n\r\n"),
            None
        );
    }

    #[test]
    fn no_input_panics() {
        let mut rng = Rng::new([1; 32]);
        let whole = announce().encode(GROUP_V4);
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..rng.below(5) {
                let at = rng.below(bytes.len());
                bytes[at] = rng.next_u32() as u8;
            }
            bytes.truncate(rng.below(bytes.len() + 1));
            let _ = Announce::decode(&bytes);
        }
    }
}
