//! The reply to an announce over HTTP: a bencoded dictionary (BEP 3, 7, 23, 24, 31).
//!
//! Each field is judged by itself: an odd number or a wrong type costs that field and never the peers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::{add_peer, read_compact};
use crate::base::escape::escape_field;
use crate::base::limits;
use crate::wire::bencode::Value;

/// What a tracker answers to an announce.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// Possible peers, each once, at most [`limits::ADDRESSES_PER_ANNOUNCE`]. Host names are not resolved.
    pub peers: Vec<SocketAddr>,
    /// Time to the next announce, between [`limits::INTERVAL_MIN`] and [`limits::INTERVAL_MAX`].
    pub interval: Duration,
    /// The tracker's own lower bound of it, within the same bounds.
    pub min_interval: Option<Duration>,
    /// What to send back as `trackerid`.
    pub tracker_id: Option<Vec<u8>>,
    /// Words for the user, escaped, at most 200 bytes.
    pub warning: Option<String>,
    /// Our address as the tracker sees it (BEP 24).
    pub external_ip: Option<IpAddr>,
    /// Peers that have everything.
    pub complete: Option<u32>,
    /// Peers that don't.
    pub incomplete: Option<u32>,
}

impl Reply {
    /// A reply that says nothing but peers and the time to the next announce, both bounded already.
    pub fn new(peers: Vec<SocketAddr>, interval: Duration) -> Self {
        Self {
            peers,
            interval,
            min_interval: None,
            tracker_id: None,
            warning: None,
            external_ip: None,
            complete: None,
            incomplete: None,
        }
    }

    /// Reads the body of a reply; bytes behind its dictionary are ignored.
    ///
    /// # Errors
    /// [`ReplyError::Malformed`] if it is no dictionary, [`ReplyError::Failure`] if it has a failure reason.
    pub fn parse(body: &[u8]) -> Result<Self, ReplyError> {
        let parsed = Value::parse(body.trim_ascii_start(), limits::DEPTH_NETWORK);
        let (dictionary, _) = parsed.map_err(|_| ReplyError::Malformed)?;
        let entries = dictionary.as_dict().ok_or(ReplyError::Malformed)?;
        let mut failure = None;
        let mut retry = None;
        let mut reply = Self::new(Vec::new(), limits::INTERVAL_DEFAULT);
        for (key, value) in entries {
            let bytes = value.as_bytes();
            match key {
                b"failure reason" => failure = Some(escape_field(bytes.unwrap_or_default())),
                b"warning message" => reply.warning = bytes.map(escape_field),
                b"retry in" => retry = read_retry(value),
                b"interval" => reply.interval = seconds(value).unwrap_or(reply.interval),
                b"min interval" => reply.min_interval = seconds(value),
                b"tracker id" => {
                    let sane = bytes.filter(|id| id.len() <= TRACKER_ID_MAX);
                    reply.tracker_id = sane.map(<[u8]>::to_vec);
                }
                b"external ip" => reply.external_ip = bytes.and_then(read_address),
                b"complete" => reply.complete = count(value),
                b"incomplete" => reply.incomplete = count(value),
                b"peers" => reply.read_peers(value, false),
                b"peers6" => reply.read_peers(value, true),
                _ => {}
            }
        }
        match failure {
            Some(reason) => Err(ReplyError::Failure { reason, retry }),
            None if dictionary.raw() == b"de" => Err(ReplyError::Malformed),
            None => Ok(reply),
        }
    }

    fn read_peers(&mut self, value: Value<'_>, v6: bool) {
        let max = limits::ADDRESSES_PER_ANNOUNCE;
        if let Some(compact) = value.as_bytes() {
            return read_compact(compact, v6, max, &mut self.peers);
        }
        for peer in value.as_list().into_iter().flatten() {
            let Some(address) = read_peer(peer) else {
                continue;
            };
            if !add_peer(address, max, &mut self.peers) {
                return;
            }
        }
    }
}

/// Why a reply gives no peers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReplyError {
    /// It is no bencoded dictionary, or an empty one.
    Malformed,
    /// The tracker refuses.
    Failure {
        /// Its words, escaped, at most 200 bytes.
        reason: String,
        /// When it may be asked again, if it says so.
        retry: Option<Retry>,
    },
}

/// When a tracker that refused may be asked again (BEP 31).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// After so long, between [`limits::INTERVAL_MIN`] and [`limits::INTERVAL_MAX`].
    After(Duration),
    /// Not in this run.
    Never,
}

/// Seconds between announces, made sane.
pub fn clamp_interval(seconds: u64) -> Duration {
    Duration::from_secs(seconds).clamp(limits::INTERVAL_MIN, limits::INTERVAL_MAX)
}

/// A number of seconds; what is below zero, or too long to be a number, is none.
fn seconds(value: Value<'_>) -> Option<Duration> {
    let seconds = u64::try_from(value.as_int().ok()?).ok()?;
    Some(clamp_interval(seconds))
}

/// BEP 31: minutes as a number, minutes as a string, or `never`.
fn read_retry(value: Value<'_>) -> Option<Retry> {
    let minutes = match value.as_bytes() {
        Some(b"never") => return Some(Retry::Never),
        Some(text) => std::str::from_utf8(text).ok()?.parse().ok()?,
        None => u64::try_from(value.as_int().ok()?).ok()?,
    };
    Some(Retry::After(clamp_interval(minutes.saturating_mul(60))))
}

fn count(value: Value<'_>) -> Option<u32> {
    u32::try_from(value.as_int().ok()?).ok()
}

/// BEP 24: four or sixteen raw bytes; some trackers write it as text.
fn read_address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    if let Ok(v6) = <[u8; 16]>::try_from(bytes) {
        return Some(IpAddr::from(Ipv6Addr::from(v6)).to_canonical());
    }
    read_literal(bytes)
}

fn read_literal(text: &[u8]) -> Option<IpAddr> {
    let ip: IpAddr = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(ip.to_canonical())
}

/// A peer of the list form (BEP 3); `ip` must be a literal address.
fn read_peer(peer: Value<'_>) -> Option<SocketAddr> {
    let mut ip = None;
    let mut port = None;
    for (key, value) in peer.as_dict()? {
        match key {
            b"ip" => ip = value.as_bytes().and_then(read_literal),
            b"port" => {
                port = value
                    .as_int()
                    .ok()
                    .and_then(|port| u16::try_from(port).ok())
            }
            _ => {}
        }
    }
    Some(SocketAddr::new(ip?, port?))
}

/// Longest tracker id kept: it goes into every later request.
const TRACKER_ID_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &[u8]) -> Reply {
        Reply::parse(body).expect("a good reply")
    }

    fn peers(body: &[u8]) -> Vec<String> {
        parse(body).peers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn all_fields_are_read() {
        let reply = parse(
            b"d8:completei5e11:external ip4:\xc0\x00\x02\x0110:incompletei6e8:intervali1200e\
            12:min intervali300e5:peers6:\x0a\x00\x00\x01\x1a\xe110:tracker id2:\x00x15:warning message3:a\x1bbe",
        );
        let expected = Reply {
            peers: vec![([10, 0, 0, 1], 6881).into()],
            interval: Duration::from_secs(1200),
            min_interval: Some(Duration::from_secs(300)),
            tracker_id: Some(b"\x00x".to_vec()),
            warning: Some("a\\u{1b}b".into()),
            external_ip: Some([192, 0, 2, 1].into()),
            complete: Some(5),
            incomplete: Some(6),
        };
        assert_eq!(reply, expected);
    }

    #[test]
    fn peers_and_peers6_are_both_read() {
        let body = b"d5:peers6:\x0a\x00\x00\x01\x00\x506:peers618:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x51e";
        assert_eq!(peers(body), ["10.0.0.1:80", "[2001:db8::1]:81"]);
    }

    #[test]
    fn dictionary_peers_have_literal_addresses_and_names_are_left_out() {
        let body = b"d5:peersld2:ip8:10.0.0.14:porti80eed2:ip9:localhost4:porti80eed4:porti1eei7e\
            d2:ip3:::27:peer id3:xyz4:porti65536eed2:ip3:::34:porti-1eed2:ip3:::24:porti82eeee";
        assert_eq!(peers(body), ["10.0.0.1:80", "[::2]:82"]);
    }

    #[test]
    fn odd_tails_are_dropped_and_two_hundred_peers_are_taken() {
        assert_eq!(peers(b"d5:peers8:\x0a\0\0\x01\0\x50zze"), ["10.0.0.1:80"]);
        assert!(peers(b"d6:peers65:abcdee").is_empty());
        let list: Vec<u8> = (0..100_000u32)
            .flat_map(|n| [10, (n >> 16) as u8, (n >> 8) as u8, n as u8, 1, 1])
            .collect();
        let body = [b"d5:peers600000:", &*list, b"e"].concat();
        assert_eq!(peers(&body).len(), 200);
    }

    #[test]
    fn intervals_are_clamped_and_odd_ones_are_the_default() {
        for (text, seconds) in [
            ("i0e", 60),
            ("i59e", 60),
            ("i61e", 61),
            ("i86401e", 86_400),
            ("i9223372036854775807e", 86_400),
            ("i-1e", 1800),
            ("i9223372036854775808e", 1800),
            ("i99999999999999999999999999999999e", 1800),
            ("3:abc", 1800),
            ("le", 1800),
        ] {
            let body = format!("d8:interval{text}5:peers6:\x0a\0\0\x01\0\x50e");
            let reply = parse(body.as_bytes());
            assert_eq!(reply.interval, Duration::from_secs(seconds), "{text}");
            assert_eq!(reply.peers.len(), 1);
        }
        assert_eq!(parse(b"d5:peers0:e").interval, Duration::from_secs(1800));
    }

    #[test]
    fn an_over_long_number_under_an_unknown_key_keeps_the_peers() {
        let body = b"d10:downloadedi99999999999999999999999e5:peers6:\x0a\0\0\x01\0\x50e\r\n";
        assert_eq!(peers(body), ["10.0.0.1:80"]);
    }

    #[test]
    fn a_failure_says_why_and_when_to_come_again() {
        let fail = |body: &[u8]| match Reply::parse(body) {
            Err(ReplyError::Failure { reason, retry }) => (reason, retry),
            other => panic!("{other:?}"),
        };
        let after = |seconds| Some(Retry::After(Duration::from_secs(seconds)));
        assert_eq!(
            fail(b"d14:failure reason3:a\nbe"),
            ("a\\u{a}b".into(), None)
        );
        assert_eq!(
            fail(b"d14:failure reason0:8:retry in5:nevere").1,
            Some(Retry::Never)
        );
        assert_eq!(fail(b"d14:failure reason0:8:retry ini5ee").1, after(300));
        assert_eq!(fail(b"d14:failure reason0:8:retry in2:15e").1, after(900));
        assert_eq!(fail(b"d14:failure reason0:8:retry ini0ee").1, after(60));
        assert_eq!(
            fail(b"d14:failure reason0:8:retry ini9223372036854775807ee").1,
            after(86_400)
        );
        assert_eq!(fail(b"d14:failure reason0:8:retry in3:x-ye").1, None);
        assert_eq!(fail(b"d14:failure reasoni7ee").0, "");
        let long = [
            b"d14:failure reason9999:".to_vec(),
            vec![b'x'; 9999],
            b"e".to_vec(),
        ]
        .concat();
        assert_eq!(fail(&long).0.len(), 200);
    }

    #[test]
    fn what_is_no_dictionary_is_malformed() {
        let nested = "l".repeat(500_000) + &"e".repeat(500_000);
        for body in [
            "",
            "<html></html>",
            "le",
            "i5e",
            "de",
            "d",
            "d5:peers6:abc",
            "d8:intervali5x",
            &nested,
            &format!("d5:peers{nested}e"),
        ] {
            assert_eq!(Reply::parse(body.as_bytes()), Err(ReplyError::Malformed));
        }
    }

    #[test]
    fn an_external_address_is_raw_or_text() {
        let external = |body: &[u8]| parse(body).external_ip.map(|ip| ip.to_string());
        let six = b"d11:external ip16:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01e";
        assert_eq!(external(six).as_deref(), Some("2001:db8::1"));
        assert_eq!(
            external(b"d11:external ip9:192.0.2.1e").as_deref(),
            Some("192.0.2.1")
        );
        assert_eq!(external(b"d11:external ip3:abce"), None);
    }
}
