//! Peer exchange (BEP 11): who a peer is connected to now, and no longer.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Serialize;
use serde_bytes::ByteBuf;

use super::bencode::{BencodeError, Value};
use super::tracker_http::{is_peer_address, read_compact};
use crate::base::limits;

/// One message: what has changed since the last.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pex {
    /// Peers that came, at most [`limits::PEX_ADDED_MAX`].
    pub added: Vec<SocketAddr>,
    /// Peers that went.
    pub dropped: Vec<SocketAddr>,
    /// Whether a list had a length that is no list's.
    pub has_bad_length: bool,
}

impl Pex {
    /// Reads the payload behind the extended id. More peers than the limit are cut off without blame;
    /// addresses that are nobody's are left out.
    ///
    /// # Errors
    /// Those of the scanner, if it is no dictionary under the network's limits.
    pub fn decode(payload: &[u8]) -> Result<Self, BencodeError> {
        let (value, _) = Value::parse(payload, limits::DEPTH_NETWORK)?;
        let keys = [b"added".as_slice(), b"added6", b"dropped", b"dropped6"];
        let [added, added6, dropped, dropped6] = value.fields(keys)?;
        let mut found = Self::default();
        let read = |value: Option<Value<'_>>, v6: bool, into: &mut Vec<SocketAddr>| {
            let list = value.and_then(Value::as_bytes).unwrap_or_default();
            let whole = list.len().is_multiple_of(if v6 { 18 } else { 6 });
            if whole {
                read_compact(list, v6, limits::PEX_ADDED_MAX, into);
            }
            !whole
        };
        let (mut here, mut gone) = (Vec::new(), Vec::new());
        found.has_bad_length = [
            read(added, false, &mut here),
            read(added6, true, &mut here),
            read(dropped, false, &mut gone),
            read(dropped6, true, &mut gone),
        ]
        .contains(&true);
        here.retain(|address| is_peer_address(*address));
        here.truncate(limits::PEX_ADDED_MAX);
        gone.truncate(limits::PEX_ADDED_MAX);
        (found.added, found.dropped) = (here, gone);
        Ok(found)
    }

    /// The payload behind the extended id; flags are zero: we know nothing worth telling of others.
    pub fn encode(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Lists(BTreeMap<&'static str, ByteBuf>);
        let mut lists = BTreeMap::new();
        let mut put =
            |names: [&'static str; 2], flags: Option<[&'static str; 2]>, from: &[SocketAddr]| {
                for (at, name) in names.into_iter().enumerate() {
                    let family: Vec<_> = from.iter().filter(|a| a.is_ipv6() == (at == 1)).collect();
                    let bytes: Vec<u8> = family.iter().flat_map(|a| compact(**a)).collect();
                    if let Some(flags) = flags {
                        lists.insert(flags[at], ByteBuf::from(vec![0; family.len()]));
                    }
                    lists.insert(name, ByteBuf::from(bytes));
                }
            };
        put(
            ["added", "added6"],
            Some(["added.f", "added6.f"]),
            &self.added,
        );
        put(["dropped", "dropped6"], None, &self.dropped);
        serde_bencoded::to_vec(&Lists(lists).0).expect("strings can always be written")
    }
}

fn compact(address: SocketAddr) -> Vec<u8> {
    let port = address.port().to_be_bytes();
    match address {
        SocketAddr::V4(v4) => [&v4.ip().octets()[..], &port].concat(),
        SocketAddr::V6(v6) => [&v6.ip().octets()[..], &port].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("a literal")
    }

    #[test]
    fn both_families_are_read_back() {
        let pex = Pex {
            added: vec![address("10.0.0.1:6881"), address("[2001:db8::1]:6882")],
            dropped: vec![address("10.0.0.2:1")],
            has_bad_length: false,
        };
        let bytes = pex.encode();
        assert!(bytes.starts_with(b"d5:added6:\x0a\0\0\x01\x1a\xe17:added.f1:\0"));
        assert_eq!(Pex::decode(&bytes), Ok(pex));
    }

    #[test]
    fn long_lists_are_cut_and_bad_lengths_told() {
        let many: Vec<u8> = (0..10_000u32)
            .flat_map(|n| compact(SocketAddr::from(((0x0a00_0000 + n).to_be_bytes(), 1))))
            .collect();
        let payload = [format!("d5:added{}:", many.len()).as_bytes(), &many, b"e"].concat();
        let pex = Pex::decode(&payload).expect("a dictionary");
        assert_eq!(
            (pex.added.len(), pex.has_bad_length),
            (limits::PEX_ADDED_MAX, false)
        );
        let odd = Pex::decode(b"d5:added5:aaaaae").expect("a dictionary");
        assert_eq!((odd.added.len(), odd.has_bad_length), (0, true));
        let nobody = Pex::decode(b"d5:added6:\0\0\0\0\0\x01e").expect("a dictionary");
        assert!(nobody.added.is_empty() && !nobody.has_bad_length);
    }
}
