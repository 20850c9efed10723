//! The messages between peers: BEP 3, the Fast extension (BEP 6), `port` (BEP 5), `extended` (BEP 10).

use crate::base::ids::{Block, Piece};
use crate::base::limits;

/// A message; long contents borrow from the buffer it was decoded from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message<'a> {
    /// Four zero bytes: still here.
    KeepAlive,
    /// 0x00: I will not answer requests.
    Choke,
    /// 0x01: I will.
    Unchoke,
    /// 0x02: you have what I want.
    Interested,
    /// 0x03: you have nothing I want.
    NotInterested,
    /// 0x04: I have this piece now.
    Have(Piece),
    /// 0x05: I have these pieces. The length is not judged here.
    Bitfield(&'a [u8]),
    /// 0x06: send me this.
    Request(Block),
    /// 0x07: here is part of a piece.
    Piece {
        /// The piece it belongs to.
        piece: Piece,
        /// Where in the piece it begins.
        begin: u32,
        /// The bytes; none is BitComet's way to refuse.
        data: &'a [u8],
    },
    /// 0x08: I don't want this any more.
    Cancel(Block),
    /// 0x09: my DHT port (BEP 5).
    Port(u16),
    /// 0x0d: this piece would be good to ask for (BEP 6).
    Suggest(Piece),
    /// 0x0e: I have everything (BEP 6).
    HaveAll,
    /// 0x0f: I have nothing (BEP 6).
    HaveNone,
    /// 0x10: I will not answer this request (BEP 6).
    Reject(Block),
    /// 0x11: you may ask for this piece even while choked (BEP 6).
    AllowedFast(Piece),
    /// 0x14: a message of the extension protocol (BEP 10).
    Extended {
        /// 0 for the handshake, else as the handshake's `m` says.
        id: u8,
        /// What follows.
        payload: &'a [u8],
    },
    /// Any other id: to be ignored.
    Unknown(u8),
}

/// What the front of a buffer holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decoded<'a> {
    /// A whole message.
    Message {
        /// The message.
        message: Message<'a>,
        /// Its bytes, with the length prefix.
        used: usize,
    },
    /// The message goes on behind the buffer's end.
    Incomplete {
        /// Bytes of the whole message, or 4 while even that is not known.
        needed: usize,
    },
}

/// A message that no honest peer sends: the connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WireError {
    /// Longer than any message of its kind may be.
    TooLong {
        /// Its id, if that was seen.
        id: Option<u8>,
        /// The length it claims.
        len: u32,
    },
    /// Its length does not fit its kind.
    BadLength {
        /// Its id.
        id: u8,
        /// The length it claims.
        len: u32,
    },
}

/// Bytes before the data of a `piece` message, with the length prefix.
pub const PIECE_HEADER: usize = 13;

/// Reads the message at the front of `bytes`, of a torrent whose bitfield has `bitfield_len` bytes.
///
/// A length beyond what its kind may have is an error as soon as length and id are there: nothing is ever
/// gathered for it. Longest: `piece` 17 KiB, `extended` 64 KiB, `bitfield` its exact length and as much
/// again.
pub fn decode(bytes: &[u8], bitfield_len: usize) -> Result<Decoded<'_>, WireError> {
    let Some(prefix) = bytes.first_chunk::<4>() else {
        return Ok(Decoded::Incomplete { needed: 4 });
    };
    let len = u32::from_be_bytes(*prefix);
    if len == 0 {
        return Ok(Decoded::Message {
            message: Message::KeepAlive,
            used: 4,
        });
    }
    let id = bytes.get(4).copied();
    // A wrong bitfield is judged with its torrent in hand; up to twice the length is let through to there.
    let bitfield_max = u32::try_from(bitfield_len)
        .unwrap_or(u32::MAX)
        .saturating_mul(2);
    let max = match id {
        Some(0x05) => bitfield_max.saturating_add(1),
        Some(0x07) => limits::PIECE_MESSAGE_MAX,
        Some(0x14) => limits::EXTENDED_MESSAGE_MAX,
        Some(_) => limits::PIECE_MESSAGE_MAX,
        None => bitfield_max
            .saturating_add(1)
            .max(limits::EXTENDED_MESSAGE_MAX),
    };
    if len > max {
        return Err(WireError::TooLong { id, len });
    }
    let used = 4 + len as usize;
    let Some((&id, body)) = bytes.get(4..used).and_then(|frame| frame.split_first()) else {
        return Ok(Decoded::Incomplete { needed: used });
    };
    let number = |at: usize| match body.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
        Some(four) => u32::from_be_bytes(*four),
        None => 0,
    };
    let block = || Block {
        piece: Piece(number(0)),
        begin: number(4),
        len: number(8),
    };
    let message = match (id, body.len()) {
        (0x00, 0) => Message::Choke,
        (0x01, 0) => Message::Unchoke,
        (0x02, 0) => Message::Interested,
        (0x03, 0) => Message::NotInterested,
        (0x04, 4) => Message::Have(Piece(number(0))),
        (0x05, _) => Message::Bitfield(body),
        (0x06, 12) => Message::Request(block()),
        (0x07, 8..) => Message::Piece {
            piece: Piece(number(0)),
            begin: number(4),
            data: &body[8..],
        },
        (0x08, 12) => Message::Cancel(block()),
        (0x09, 2) => Message::Port(u16::from_be_bytes([body[0], body[1]])),
        (0x0d, 4) => Message::Suggest(Piece(number(0))),
        (0x0e, 0) => Message::HaveAll,
        (0x0f, 0) => Message::HaveNone,
        (0x10, 12) => Message::Reject(block()),
        (0x11, 4) => Message::AllowedFast(Piece(number(0))),
        (0x14, 1..) => Message::Extended {
            id: body[0],
            payload: &body[1..],
        },
        (0x00..=0x09 | 0x0d..=0x11 | 0x14, _) => return Err(WireError::BadLength { id, len }),
        _ => Message::Unknown(id),
    };
    Ok(Decoded::Message { message, used })
}

impl Message<'_> {
    /// Appends the message to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        match *self {
            Self::KeepAlive => {}
            Self::Choke => out.push(0x00),
            Self::Unchoke => out.push(0x01),
            Self::Interested => out.push(0x02),
            Self::NotInterested => out.push(0x03),
            Self::Have(piece) => numbers(out, 0x04, &[piece.0]),
            Self::Bitfield(bits) => {
                out.push(0x05);
                out.extend_from_slice(bits);
            }
            Self::Request(b) => numbers(out, 0x06, &[b.piece.0, b.begin, b.len]),
            Self::Piece { piece, begin, data } => {
                numbers(out, 0x07, &[piece.0, begin]);
                out.extend_from_slice(data);
            }
            Self::Cancel(b) => numbers(out, 0x08, &[b.piece.0, b.begin, b.len]),
            Self::Port(port) => {
                out.push(0x09);
                out.extend_from_slice(&port.to_be_bytes());
            }
            Self::Suggest(piece) => numbers(out, 0x0d, &[piece.0]),
            Self::HaveAll => out.push(0x0e),
            Self::HaveNone => out.push(0x0f),
            Self::Reject(b) => numbers(out, 0x10, &[b.piece.0, b.begin, b.len]),
            Self::AllowedFast(piece) => numbers(out, 0x11, &[piece.0]),
            Self::Extended { id, payload } => {
                out.extend_from_slice(&[0x14, id]);
                out.extend_from_slice(payload);
            }
            Self::Unknown(id) => out.push(id),
        }
        let len = u32::try_from(out.len() - at - 4).expect("our own messages are far below 4 GiB");
        out[at..at + 4].copy_from_slice(&len.to_be_bytes());
    }
}

/// Appends the header of a `piece` message whose data is sent from elsewhere.
pub fn encode_piece_header(block: Block, out: &mut Vec<u8>) {
    out.extend_from_slice(&(block.len + 9).to_be_bytes());
    numbers(out, 0x07, &[block.piece.0, block.begin]);
}

fn numbers(out: &mut Vec<u8>, id: u8, numbers: &[u32]) {
    out.push(id);
    numbers
        .iter()
        .for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: Block = Block {
        piece: Piece(1),
        begin: 16_384,
        len: 16_384,
    };

    fn all() -> Vec<Message<'static>> {
        vec![
            Message::KeepAlive,
            Message::Choke,
            Message::Unchoke,
            Message::Interested,
            Message::NotInterested,
            Message::Have(Piece(7)),
            Message::Bitfield(&[0xff, 0x80]),
            Message::Request(BLOCK),
            Message::Piece {
                piece: Piece(3),
                begin: 5,
                data: b"data",
            },
            Message::Piece {
                piece: Piece(3),
                begin: 5,
                data: b"",
            },
            Message::Cancel(BLOCK),
            Message::Port(6881),
            Message::Suggest(Piece(2)),
            Message::HaveAll,
            Message::HaveNone,
            Message::Reject(BLOCK),
            Message::AllowedFast(Piece(9)),
            Message::Extended {
                id: 3,
                payload: b"de",
            },
            Message::Unknown(0x42),
        ]
    }

    #[test]
    fn every_message_is_read_back_and_a_cut_one_says_how_long_it_is() {
        for message in all() {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            let whole = Decoded::Message {
                message,
                used: bytes.len(),
            };
            assert_eq!(decode(&bytes, 2), Ok(whole));
            for cut in 0..bytes.len() {
                let needed = if cut < 4 { 4 } else { bytes.len() };
                let want = Ok(Decoded::Incomplete { needed });
                assert_eq!(decode(&bytes[..cut], 2), want, "{message:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn the_bytes_are_those_of_bep_3() {
        let mut bytes = Vec::new();
        Message::Request(BLOCK).encode(&mut bytes);
        assert_eq!(bytes, b"\0\0\0\x0d\x06\0\0\0\x01\0\0\x40\0\0\0\x40\0");
        bytes.clear();
        encode_piece_header(BLOCK, &mut bytes);
        assert_eq!(bytes, b"\0\0\x40\x09\x07\0\0\0\x01\0\0\x40\0");
        assert_eq!(bytes.len(), PIECE_HEADER);
    }

    #[test]
    fn a_length_beyond_its_kind_is_refused_before_the_body_comes() {
        let front = |len: u32, id: u8| [&len.to_be_bytes()[..], &[id]].concat();
        let too_long = |len, id| decode(&front(len, id), 2).is_err();
        assert!(too_long(u32::MAX, 0x42) && too_long(0x0010_0001, 0x07));
        assert!(!too_long(17 * 1024, 0x07) && too_long(17 * 1024 + 1, 0x07));
        assert!(!too_long(64 * 1024, 0x14) && too_long(64 * 1024 + 1, 0x14));
        assert!(!too_long(5, 0x05) && too_long(6, 0x05));
        assert!(decode(&u32::MAX.to_be_bytes(), 2).is_err());
    }

    #[test]
    fn a_length_that_does_not_fit_the_kind_is_refused() {
        for id in (0x00..=0x09).chain(0x0d..=0x11) {
            if id == 0x05 {
                continue;
            }
            let bytes = [&3u32.to_be_bytes()[..], &[id, 0, 0]].concat();
            let bad = Err(WireError::BadLength { id, len: 3 });
            assert!(decode(&bytes, 2) == bad || id == 0x09, "{id}");
        }
        let empty_extended = [&1u32.to_be_bytes()[..], &[0x14]].concat();
        assert_eq!(
            decode(&empty_extended, 2),
            Err(WireError::BadLength { id: 0x14, len: 1 })
        );
    }
}
