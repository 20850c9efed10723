//! The extension protocol's handshake (BEP 10): what a peer calls itself and how much it takes.

use serde::Serialize;

use super::bencode;
use crate::base::{escape, limits};

/// What we use of a peer's extension handshake.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExtensionHandshake {
    /// Its name and version (`v`), escaped.
    pub client: String,
    /// Requests it queues (`reqq`), 1 to [`limits::REQQ`].
    pub reqq: Option<usize>,
    /// The port it listens on (`p`).
    pub port: Option<u16>,
}

impl ExtensionHandshake {
    /// Reads the payload behind extended id 0. Unknown keys, and known ones of a wrong type or out of
    /// range, are ignored; what is no dictionary, or nests deeper than [`limits::DEPTH_NETWORK`], is an error.
    pub fn decode(payload: &[u8]) -> Result<Self, bencode::BencodeError> {
        let (value, _) = bencode::Value::parse(payload, limits::DEPTH_NETWORK)?;
        let mut found = Self::default();
        let Some(entries) = value.as_dict() else {
            return Ok(found);
        };
        for (key, value) in entries {
            match key {
                b"v" => {
                    let name = value.as_bytes().unwrap_or_default();
                    found.client = escape::escape(name, CLIENT_MAX);
                }
                b"reqq" => {
                    let named = value.as_int().ok().and_then(|n| usize::try_from(n).ok());
                    found.reqq = named.map(|n| n.clamp(1, limits::REQQ));
                }
                b"p" => {
                    let port = value.as_int().ok().and_then(|n| u16::try_from(n).ok());
                    found.port = port.filter(|port| *port > 0);
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

/// Our own extension handshake: no extended messages yet, our name, our queue, our port if we listen.
pub fn encode_handshake(client: &str, port: u16) -> Vec<u8> {
    #[derive(Serialize)]
    struct Ours<'a> {
        m: std::collections::BTreeMap<&'a str, u8>,
        #[serde(skip_serializing_if = "Option::is_none")]
        p: Option<u16>,
        reqq: usize,
        v: &'a str,
    }
    let p = (port > 0).then_some(port);
    let ours = Ours {
        m: Default::default(),
        p,
        reqq: limits::REQQ,
        v: client,
    };
    serde_bencoded::to_vec(&ours).expect("numbers and strings can always be written")
}

/// Bytes of a peer's own name that are kept.
const CLIENT_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_handshake_is_sorted_and_names_no_port_when_we_do_not_listen() {
        let bytes = encode_handshake("minitorrent/0.1.0", 6881);
        let want = b"d1:mde1:pi6881e4:reqqi2000e1:v17:minitorrent/0.1.0e";
        assert_eq!(bytes, want);
        assert_eq!(encode_handshake("x", 0), b"d1:mde4:reqqi2000e1:v1:xe");
    }

    #[test]
    fn names_are_escaped_and_queues_clamped() {
        let read = |bytes: &[u8]| ExtensionHandshake::decode(bytes).expect("a dictionary");
        let found = read(b"d1:pi51413e4:reqqi500e1:v6:x\x1b[31me");
        assert_eq!(found.client, "x\\u{1b}[31m");
        assert_eq!((found.reqq, found.port), (Some(500), Some(51413)));
        assert_eq!(read(b"d4:reqqi0ee").reqq, Some(1));
        assert_eq!(read(b"d4:reqqi99999999999ee").reqq, Some(limits::REQQ));
        assert_eq!(
            read(b"d4:reqqi-5e1:pi70000ee"),
            ExtensionHandshake::default()
        );
        assert_eq!(
            read(b"d1:md6:ut_pexi999ee6:yourip3:abce"),
            ExtensionHandshake::default()
        );
    }

    #[test]
    fn nesting_is_refused_and_trailing_bytes_are_not() {
        let deep = [&b"d1:m"[..], &b"l".repeat(60_000)].concat();
        assert!(ExtensionHandshake::decode(&deep).is_err());
        assert!(ExtensionHandshake::decode(b"d1:v1:xe trailing").is_ok());
    }
}
