//! Announcing over HTTP (BEP 3, 7, 23, 24, 31): the request's target and the reply's meaning.
//!
//! The announce URL is the tracker's own and is kept as it was written; only our parameters go behind it.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use crate::base::ids::{InfoHash, PeerId};

pub mod reply;
pub mod scrape;
pub mod url;

/// What an announce tells a tracker, over HTTP as over UDP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Announce {
    /// The torrent.
    pub info_hash: InfoHash,
    /// Our name.
    pub peer_id: PeerId,
    /// Where we take connections.
    pub port: u16,
    /// Bytes of content sent to peers in this run.
    pub uploaded: u64,
    /// Bytes of content received from peers in this run.
    pub downloaded: u64,
    /// Bytes still missing.
    pub left: u64,
    /// What happened.
    pub event: Event,
    /// Peers wanted; a [`Event::Stopped`] asks for none whatever this says.
    pub numwant: u32,
    /// Proves that we are the same client when our address changes.
    pub key: u32,
}

/// What happened since the last announce (BEP 3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// Nothing: the interval is over.
    Interval,
    /// The first announce of a run.
    Started,
    /// The download became complete in this run.
    Completed,
    /// The run ends.
    Stopped,
}

impl Announce {
    /// The peers to ask for: a client that leaves wants none.
    pub fn peers_wanted(&self) -> u32 {
        match self.event {
            Event::Stopped => 0,
            Event::Interval | Event::Started | Event::Completed => self.numwant,
        }
    }

    /// The target of the GET request: `path_and_query` of the announce URL and our parameters behind it.
    /// `tracker_id` is what the tracker gave in its last reply.
    pub fn target(&self, path_and_query: &str, tracker_id: Option<&[u8]>) -> String {
        let mut target = String::with_capacity(path_and_query.len() + 300);
        target.push_str(path_and_query);
        match path_and_query.split_once('?') {
            None => target.push('?'),
            Some((_, "")) => {}
            Some((_, query)) if query.ends_with('&') => {}
            Some(_) => target.push('&'),
        }
        target.push_str("info_hash=");
        percent_encode(&self.info_hash.0, &mut target);
        target.push_str("&peer_id=");
        percent_encode(&self.peer_id.0, &mut target);
        let _ = write!(
            target,
            "&port={}&uploaded={}&downloaded={}&left={}&numwant={}&key={:08X}&compact=1&no_peer_id=1",
            self.port,
            self.uploaded,
            self.downloaded,
            self.left,
            self.peers_wanted(),
            self.key
        );
        target.push_str(match self.event {
            // Some trackers refuse an event that is there and empty.
            Event::Interval => "",
            Event::Started => "&event=started",
            Event::Completed => "&event=completed",
            Event::Stopped => "&event=stopped",
        });
        if let Some(id) = tracker_id {
            target.push_str("&trackerid=");
            percent_encode(id, &mut target);
        }
        target
    }
}

/// Appends `bytes` to `out`: the unreserved characters of RFC 3986 as they are, all else as `%XX`. A space is
/// `%20`: a `+` would be a plus to half of the trackers.
pub fn percent_encode(bytes: &[u8], out: &mut String) {
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// Reads `%XX` back into bytes; everything else, an incomplete escape too, stays as it is.
pub fn percent_decode(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| text.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high << 4 | low) as u8);
                at += 3;
            }
            _ => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
    bytes
}

/// Whether a peer could be there: no port 0, unspecified, multicast, broadcast or 0/8 address.
pub fn is_peer_address(address: SocketAddr) -> bool {
    let possible = match address.ip() {
        IpAddr::V4(ip) => ip.octets()[0] != 0 && !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    };
    possible && address.port() != 0
}

/// Takes the peers of a compact list (BEP 23; BEP 7 if `v6`) into `peers` until there are `max`: possible ones,
/// each once. An odd tail is dropped.
pub fn read_compact(list: &[u8], v6: bool, max: usize, peers: &mut Vec<SocketAddr>) {
    for entry in list.chunks_exact(if v6 { 18 } else { 6 }) {
        let (ip, port) = entry.split_at(entry.len() - 2);
        let ip = match (<[u8; 4]>::try_from(ip), <[u8; 16]>::try_from(ip)) {
            (Ok(v4), _) => IpAddr::from(v4),
            (_, Ok(v6)) => IpAddr::from(v6),
            (Err(_), Err(_)) => return,
        };
        let address = SocketAddr::new(ip.to_canonical(), u16::from_be_bytes([port[0], port[1]]));
        if !add_peer(address, max, peers) {
            return;
        }
    }
}

/// Adds a possible peer that is not there yet. False if there are `max` already.
pub(super) fn add_peer(address: SocketAddr, max: usize, peers: &mut Vec<SocketAddr>) -> bool {
    if peers.len() >= max {
        return false;
    }
    if is_peer_address(address) && !peers.contains(&address) {
        peers.push(address);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announce() -> Announce {
        Announce {
            info_hash: InfoHash(*b"0123456789abcdefghij"),
            peer_id: PeerId(*b"-MT0100-ABCDEFGHIJKL"),
            port: 6881,
            uploaded: 1,
            downloaded: 2,
            left: 3,
            event: Event::Started,
            numwant: 200,
            key: 0xab,
        }
    }

    const REST: &str = "info_hash=0123456789abcdefghij&peer_id=-MT0100-ABCDEFGHIJKL&port=6881&uploaded=1\
        &downloaded=2&left=3&numwant=200&key=000000AB&compact=1&no_peer_id=1";

    #[test]
    fn the_target_is_exact() {
        let target = announce().target("/announce", None);
        assert_eq!(target, format!("/announce?{REST}&event=started"));
    }

    #[test]
    fn a_query_of_the_announce_url_stays_and_ours_follows() {
        let at = |path| announce().target(path, None);
        assert_eq!(at("/a?pk=%2f"), format!("/a?pk=%2f&{REST}&event=started"));
        assert_eq!(at("/a?"), format!("/a?{REST}&event=started"));
        assert_eq!(at("/a?x&"), format!("/a?x&{REST}&event=started"));
    }

    #[test]
    fn an_interval_has_no_event_and_a_goodbye_wants_no_peers() {
        let mut plain = announce();
        plain.event = Event::Interval;
        assert_eq!(plain.target("/a", None), format!("/a?{REST}"));
        plain.event = Event::Stopped;
        let goodbye = plain.target("/a", Some(b"x y"));
        let rest = REST.replace("numwant=200", "numwant=0");
        assert_eq!(goodbye, format!("/a?{rest}&event=stopped&trackerid=x%20y"));
        plain.event = Event::Completed;
        assert!(plain.target("/a", None).ends_with("&event=completed"));
    }

    #[test]
    fn each_of_the_256_bytes_is_encoded_as_rfc_3986_says_and_comes_back() {
        for byte in 0..=255u8 {
            let mut text = String::new();
            percent_encode(&[byte], &mut text);
            let plain = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
            if plain.contains(&byte) {
                assert_eq!(text.as_bytes(), [byte]);
            } else {
                assert_eq!(text, format!("%{byte:02X}"));
            }
            assert_eq!(percent_decode(text.as_bytes()), [byte]);
        }
        assert_eq!(percent_decode(b"%2"), b"%2");
        assert_eq!(percent_decode(b"+%zz%41"), b"+%zzA");
    }

    #[test]
    fn a_compact_list_gives_possible_peers_once_and_drops_its_odd_tail() {
        let mut list = Vec::new();
        for peer in [
            [10, 0, 0, 1, 0x1a, 0xe1],
            [10, 0, 0, 1, 0x1a, 0xe1],
            [10, 0, 0, 2, 0, 0],
            [0, 0, 0, 0, 0, 1],
            [224, 0, 0, 1, 0, 1],
            [255, 255, 255, 255, 0, 1],
            [127, 0, 0, 1, 0, 1],
        ] {
            list.extend_from_slice(&peer);
        }
        list.extend_from_slice(&[1, 2, 3]);
        let mut peers = Vec::new();
        read_compact(&list, false, 200, &mut peers);
        let expected: [SocketAddr; 2] = [([10, 0, 0, 1], 6881).into(), ([127, 0, 0, 1], 1).into()];
        assert_eq!(peers, expected);
    }

    #[test]
    fn a_compact_list_of_ipv6_has_eighteen_bytes_a_peer_and_stops_at_the_cap() {
        let mut list = Vec::new();
        for last in 1..=9 {
            list.extend_from_slice(&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
            list.extend_from_slice(&[0x1a, 0xe1]);
        }
        let mut peers = Vec::new();
        read_compact(&list, true, 3, &mut peers);
        let shown: Vec<_> = peers.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "[2001:db8::1]:6881",
                "[2001:db8::2]:6881",
                "[2001:db8::3]:6881"
            ]
        );
    }
}
