//! Metadata exchange (BEP 9): a dictionary, and behind that of a `data` message the bytes themselves.

use super::bencode::{BencodeError, Value};
use crate::base::limits;

/// A message of the metadata exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetadataMessage<'a> {
    /// Send me this piece of the metadata.
    Request {
        /// Its number: pieces of 16 KiB, from 0; not judged here.
        piece: i64,
    },
    /// Here it is.
    Data {
        /// Its number, not judged here.
        piece: i64,
        /// Bytes of the whole metadata, as the peer says.
        total_size: Option<i64>,
        /// The piece.
        data: &'a [u8],
    },
    /// I don't have it, or won't give it.
    Reject {
        /// Its number, not judged here.
        piece: i64,
    },
    /// A type that BEP 9 leaves to the future.
    Unknown,
}

impl<'a> MetadataMessage<'a> {
    /// Reads the payload behind the extended id.
    ///
    /// # Errors
    /// Those of the scanner, if it is no dictionary under the network's limits, or names no type and piece.
    pub fn decode(payload: &'a [u8]) -> Result<Self, BencodeError> {
        let (value, used) = Value::parse(payload, limits::DEPTH_NETWORK)?;
        let keys = [b"msg_type".as_slice(), b"piece", b"total_size"];
        let [kind, piece, total] = value.fields(keys)?;
        let number = |value: Option<Value<'a>>| value.and_then(|value| value.as_int().ok());
        let piece = number(piece).unwrap_or(-1);
        Ok(match number(kind) {
            Some(0) => Self::Request { piece },
            Some(1) => {
                let total_size = number(total);
                Self::Data {
                    piece,
                    total_size,
                    data: &payload[used..],
                }
            }
            Some(2) => Self::Reject { piece },
            _ => Self::Unknown,
        })
    }

    /// The payload behind the extended id; nothing for `Unknown`.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Request { piece } => format!("d8:msg_typei0e5:piecei{piece}ee").into_bytes(),
            Self::Data {
                piece,
                total_size,
                data,
            } => {
                let total = total_size.unwrap_or(0);
                let head = format!("d8:msg_typei1e5:piecei{piece}e10:total_sizei{total}ee");
                [head.as_bytes(), data].concat()
            }
            Self::Reject { piece } => format!("d8:msg_typei2e5:piecei{piece}ee").into_bytes(),
            Self::Unknown => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_back_and_data_follows_its_dictionary() {
        let data = MetadataMessage::Data {
            piece: 3,
            total_size: Some(50_000),
            data: b"dee",
        };
        assert_eq!(
            data.encode(),
            b"d8:msg_typei1e5:piecei3e10:total_sizei50000eedee"
        );
        for message in [
            data,
            MetadataMessage::Request { piece: 0 },
            MetadataMessage::Reject { piece: 7 },
        ] {
            assert_eq!(MetadataMessage::decode(&message.encode()), Ok(message));
        }
    }

    #[test]
    fn what_is_odd_is_told_apart_from_what_is_broken() {
        assert_eq!(
            MetadataMessage::decode(b"d8:msg_typei9ee"),
            Ok(MetadataMessage::Unknown)
        );
        let no_piece = MetadataMessage::decode(b"d8:msg_typei0ee");
        assert_eq!(no_piece, Ok(MetadataMessage::Request { piece: -1 }));
        assert!(MetadataMessage::decode(b"").is_err());
        assert!(MetadataMessage::decode(&b"l".repeat(100)).is_err());
        assert!(MetadataMessage::decode(b"i1e").is_err());
    }
}
