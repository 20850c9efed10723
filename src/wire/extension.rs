//! The extension protocol's handshake (BEP 10): what a peer calls itself, what it takes part in.

use std::collections::BTreeMap;

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
    /// Its id for peer exchange, if it takes part (BEP 11).
    pub ut_pex: Option<u8>,
    /// Its id for metadata exchange, if it takes part (BEP 9).
    pub ut_metadata: Option<u8>,
    /// Bytes of the metadata, as it says; not judged here.
    pub metadata_size: Option<i64>,
    /// It wants nothing (BEP 21).
    pub upload_only: bool,
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
                b"metadata_size" => found.metadata_size = value.as_int().ok(),
                b"upload_only" => found.upload_only = value.as_int() == Ok(1),
                b"m" => {
                    for (name, id) in value.as_dict().into_iter().flatten() {
                        // An id of 0 switches the extension off.
                        let id = id.as_int().ok().and_then(|id| u8::try_from(id).ok());
                        let id = id.filter(|id| *id > 0);
                        match name {
                            b"ut_pex" => found.ut_pex = id,
                            b"ut_metadata" => found.ut_metadata = id,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

/// What our own extension handshake says.
#[derive(Clone, Copy, Debug)]
pub struct OurHandshake<'a> {
    /// Our name and version.
    pub client: &'a str,
    /// The port we listen on, 0 if we don't.
    pub port: u16,
    /// Bytes of the metadata that we have and give (BEP 9).
    pub metadata_size: Option<usize>,
    /// Whether peers may be exchanged: not of private torrents (BEP 27).
    pub pex: bool,
    /// We want nothing (BEP 21).
    pub upload_only: bool,
}

impl OurHandshake<'_> {
    /// The payload behind extended id 0.
    pub fn encode(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Ours<'a> {
            m: BTreeMap<&'a str, u8>,
            #[serde(skip_serializing_if = "Option::is_none")]
            metadata_size: Option<usize>,
            #[serde(skip_serializing_if = "Option::is_none")]
            p: Option<u16>,
            reqq: usize,
            #[serde(skip_serializing_if = "Option::is_none")]
            upload_only: Option<u8>,
            v: &'a str,
        }
        let mut m = BTreeMap::from([("ut_metadata", UT_METADATA)]);
        if self.pex {
            m.insert("ut_pex", UT_PEX);
        }
        let ours = Ours {
            m,
            metadata_size: self.metadata_size,
            p: (self.port > 0).then_some(self.port),
            reqq: limits::REQQ,
            upload_only: self.upload_only.then_some(1),
            v: self.client,
        };
        serde_bencoded::to_vec(&ours).expect("numbers and strings can always be written")
    }
}

/// The extended id under which we take peer exchange (BEP 11).
pub const UT_PEX: u8 = 1;
/// The extended id under which we take metadata exchange (BEP 9).
pub const UT_METADATA: u8 = 2;
/// Bytes of a peer's own name that are kept.
const CLIENT_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_handshake_is_sorted_and_names_only_what_is_so() {
        let mut ours = OurHandshake {
            client: "x",
            port: 6881,
            metadata_size: Some(31_235),
            pex: true,
            upload_only: false,
        };
        let want = "d1:md11:ut_metadatai2e6:ut_pexi1ee13:metadata_sizei31235e\
                    1:pi6881e4:reqqi2000e1:v1:xe";
        assert_eq!(ours.encode(), want.as_bytes());
        ours = OurHandshake {
            port: 0,
            metadata_size: None,
            pex: false,
            upload_only: true,
            ..ours
        };
        assert_eq!(
            ours.encode(),
            b"d1:md11:ut_metadatai2ee4:reqqi2000e11:upload_onlyi1e1:v1:xe"
        );
    }

    #[test]
    fn ids_outside_a_byte_are_no_ids() {
        let read = |bytes: &[u8]| ExtensionHandshake::decode(bytes).expect("a dictionary");
        let found = read(b"d1:md11:ut_metadatai3e6:ut_pexi1eee");
        assert_eq!((found.ut_metadata, found.ut_pex), (Some(3), Some(1)));
        for id in ["0", "256", "-1"] {
            let found = read(format!("d1:md6:ut_pexi{id}eee").as_bytes());
            assert_eq!(found.ut_pex, None, "{id}");
        }
        assert_eq!(read(b"d13:metadata_sizei-1ee").metadata_size, Some(-1));
        assert!(read(b"d11:upload_onlyi1ee").upload_only);
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
