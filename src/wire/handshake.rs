//! The handshake that opens every connection between peers (BEP 3), and its reserved bits (BEP 4).

use crate::base::ids::{InfoHash, PeerId};

/// What a handshake says before the peer's id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Greeting {
    /// What else the peer can do.
    pub reserved: Reserved,
    /// The torrent it wants to talk about.
    pub info_hash: InfoHash,
}

/// The eight reserved bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reserved(pub [u8; 8]);

impl Reserved {
    /// What minitorrent can do: the Fast extension and the extension protocol.
    pub const OURS: Self = Self([0, 0, 0, 0, 0, 0x10, 0, 0x04]);

    /// The Fast extension (BEP 6).
    pub fn fast(self) -> bool {
        self.0[7] & 0x04 != 0
    }

    /// The extension protocol (BEP 10).
    pub fn extended(self) -> bool {
        self.0[5] & 0x10 != 0
    }

    /// Says whether there is a DHT node.
    pub fn set_dht(&mut self, is_on: bool) {
        self.0[7] = self.0[7] & !0x01 | u8::from(is_on);
    }

    /// A DHT node (BEP 5).
    pub fn dht(self) -> bool {
        self.0[7] & 0x01 != 0
    }
}

/// The bytes are no BitTorrent handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotBitTorrent;

/// Bytes of a whole handshake.
pub const LEN: usize = 68;
/// Bytes after which the torrent is known; the peer's id may follow later.
pub const GREETING_LEN: usize = 48;

const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";

/// Our handshake.
pub fn encode(reserved: Reserved, info_hash: InfoHash, peer_id: PeerId) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    bytes[..20].copy_from_slice(PROTOCOL);
    bytes[20..28].copy_from_slice(&reserved.0);
    bytes[28..48].copy_from_slice(&info_hash.0);
    bytes[48..].copy_from_slice(&peer_id.0);
    bytes
}

/// The first 48 bytes; `None` while they are not all there. The first byte that can't be a handshake's is
/// an error.
pub fn decode_greeting(bytes: &[u8]) -> Result<Option<Greeting>, NotBitTorrent> {
    if !PROTOCOL
        .iter()
        .zip(bytes)
        .all(|(ours, theirs)| ours == theirs)
    {
        return Err(NotBitTorrent);
    }
    let Some(bytes) = bytes.first_chunk::<GREETING_LEN>() else {
        return Ok(None);
    };
    let (mut reserved, mut info_hash) = ([0; 8], [0; 20]);
    reserved.copy_from_slice(&bytes[20..28]);
    info_hash.copy_from_slice(&bytes[28..48]);
    Ok(Some(Greeting {
        reserved: Reserved(reserved),
        info_hash: InfoHash(info_hash),
    }))
}

/// The peer's id, once all 68 bytes are there.
pub fn decode_peer_id(bytes: &[u8]) -> Option<PeerId> {
    let (_, id) = bytes.first_chunk::<LEN>()?.split_last_chunk::<20>()?;
    Some(PeerId(*id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_is_read_back_as_it_was_written_at_every_length() {
        let bytes = encode(
            Reserved::OURS,
            InfoHash([7; 20]),
            PeerId(*b"-MI0100-abcdefghijkl"),
        );
        assert_eq!(&bytes[..20], b"\x13BitTorrent protocol");
        for len in 0..=LEN {
            let greeting = decode_greeting(&bytes[..len]).expect("a handshake so far");
            let want = Greeting {
                reserved: Reserved::OURS,
                info_hash: InfoHash([7; 20]),
            };
            assert_eq!(greeting, (len >= 48).then_some(want));
            let id = (len == 68).then_some(PeerId(*b"-MI0100-abcdefghijkl"));
            assert_eq!(decode_peer_id(&bytes[..len]), id);
        }
        assert!(Reserved::OURS.fast() && Reserved::OURS.extended() && !Reserved::OURS.dht());
    }

    #[test]
    fn the_first_wrong_byte_is_enough_to_refuse() {
        for bytes in [
            &b"G"[..],
            b"\x00",
            b"\xff",
            b"\x13BitTorrent protocoL",
            b"\x16\x03\x01",
        ] {
            assert_eq!(decode_greeting(bytes), Err(NotBitTorrent));
        }
    }
}
