//! Announcing by datagrams (BEP 15): requests and replies as bytes. Every number is big-endian.

use std::net::SocketAddr;

use super::tracker_http::{Announce, Event, read_compact};
use crate::base::escape::escape_field;
use crate::base::ids::InfoHash;
use crate::base::limits;

/// The request for a connection id: 16 bytes.
pub fn encode_connect(transaction: u32) -> Vec<u8> {
    header(PROTOCOL, CONNECT, transaction)
}

/// An announce under a connection id: 98 bytes.
pub fn encode_announce(connection: u64, transaction: u32, announce: &Announce) -> Vec<u8> {
    let mut bytes = header(connection, ANNOUNCE, transaction);
    bytes.extend_from_slice(&announce.info_hash.0);
    bytes.extend_from_slice(&announce.peer_id.0);
    for number in [announce.downloaded, announce.left, announce.uploaded] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    let event: u32 = match announce.event {
        Event::Interval => 0,
        Event::Completed => 1,
        Event::Started => 2,
        Event::Stopped => 3,
    };
    // Our address: 0, the one that the datagram comes from.
    for number in [event, 0, announce.key, announce.peers_wanted()] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.extend_from_slice(&announce.port.to_be_bytes());
    bytes
}

/// A scrape of up to [`SCRAPE_MAX`] torrents; more are left out.
pub fn encode_scrape(connection: u64, transaction: u32, torrents: &[InfoHash]) -> Vec<u8> {
    let mut bytes = header(connection, SCRAPE, transaction);
    for info_hash in torrents.iter().take(SCRAPE_MAX) {
        bytes.extend_from_slice(&info_hash.0);
    }
    bytes
}

/// A tracker's datagram. Only one whose `transaction` is awaited from its sender may be believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The number that the request carried.
    pub transaction: u32,
    /// What it says.
    pub body: ReplyBody,
}

/// What a tracker's datagram says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReplyBody {
    /// A connection id, good for a minute.
    Connected {
        /// The id.
        connection: u64,
    },
    /// The answer to an announce.
    Announced {
        /// Seconds until the next; as sent, not yet clamped.
        interval: u32,
        /// Peers that don't have everything.
        leechers: u32,
        /// Peers that do.
        seeders: u32,
        /// Possible peers, each once, at most [`limits::ADDRESSES_PER_ANNOUNCE`].
        peers: Vec<SocketAddr>,
    },
    /// The answer to a scrape, in the request's order.
    Scraped(Vec<Scrape>),
    /// A refusal, its text escaped and cut to 200 bytes.
    Refused(String),
}

/// What a scrape says of one torrent (BEP 48).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scrape {
    /// Peers that have everything.
    pub seeders: u32,
    /// How often it was downloaded completely.
    pub completed: u32,
    /// Peers that don't have everything.
    pub leechers: u32,
}

/// The transaction id of a datagram, without a look at the rest: spoofed ones cost no more than this.
pub fn transaction(bytes: &[u8]) -> Option<u32> {
    number(bytes, 4)
}

/// Reads a tracker's datagram. Peers are IPv6 if the datagram came over it (`v6`), else IPv4. `None` if it is
/// none of the four replies or shorter than its fixed part.
pub fn decode(bytes: &[u8], v6: bool) -> Option<Reply> {
    let action = number(bytes, 0)?;
    let transaction = number(bytes, 4)?;
    let body = match action {
        CONNECT => {
            let high = u64::from(number(bytes, 8)?);
            let low = u64::from(number(bytes, 12)?);
            ReplyBody::Connected {
                connection: high << 32 | low,
            }
        }
        ANNOUNCE => {
            let mut peers = Vec::new();
            let list = bytes.get(20..)?;
            read_compact(list, v6, limits::ADDRESSES_PER_ANNOUNCE, &mut peers);
            ReplyBody::Announced {
                interval: number(bytes, 8)?,
                leechers: number(bytes, 12)?,
                seeders: number(bytes, 16)?,
                peers,
            }
        }
        SCRAPE => {
            let entries = bytes[8..].chunks_exact(12).take(SCRAPE_MAX);
            let read = |entry: &[u8]| {
                Some(Scrape {
                    seeders: number(entry, 0)?,
                    completed: number(entry, 4)?,
                    leechers: number(entry, 8)?,
                })
            };
            ReplyBody::Scraped(entries.filter_map(read).collect())
        }
        ERROR => {
            let text = &bytes[8..];
            // Some trackers end their text as C does.
            let end = text.iter().position(|&byte| byte == 0);
            ReplyBody::Refused(escape_field(&text[..end.unwrap_or(text.len())]))
        }
        _ => return None,
    };
    Some(Reply { transaction, body })
}

fn header(connection: u64, action: u32, transaction: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(98);
    bytes.extend_from_slice(&connection.to_be_bytes());
    bytes.extend_from_slice(&action.to_be_bytes());
    bytes.extend_from_slice(&transaction.to_be_bytes());
    bytes
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    four.try_into().ok().map(u32::from_be_bytes)
}

/// Torrents in one scrape (BEP 15: about 74 fit in a datagram).
pub const SCRAPE_MAX: usize = 74;

/// The number that stands for a connection id in a connect request.
const PROTOCOL: u64 = 0x0417_2710_1980;
const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const SCRAPE: u32 = 2;
const ERROR: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::PeerId;

    fn announce(event: Event) -> Announce {
        Announce {
            info_hash: InfoHash([0xaa; 20]),
            peer_id: PeerId([0xbb; 20]),
            port: 0x1ae1,
            uploaded: 3,
            downloaded: 1,
            left: 2,
            event,
            numwant: 200,
            key: 0x0102_0304,
        }
    }

    #[test]
    fn a_connect_request_is_sixteen_exact_bytes() {
        let expected = [
            0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80, 0, 0, 0, 0, 0xde, 0xad, 0xbe, 0xef,
        ];
        assert_eq!(encode_connect(0xdead_beef), expected);
    }

    #[test]
    fn an_announce_is_ninety_eight_exact_bytes() {
        let mut expected = vec![1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1, 0, 0, 0, 9];
        expected.extend_from_slice(&[0xaa; 20]);
        expected.extend_from_slice(&[0xbb; 20]);
        expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
        expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 2]);
        expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 3]);
        expected.extend_from_slice(&[0, 0, 0, 2, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 200, 0x1a, 0xe1]);
        let bytes = encode_announce(0x0102_0304_0506_0708, 9, &announce(Event::Started));
        assert_eq!(bytes, expected);
        assert_eq!(bytes.len(), 98);
    }

    #[test]
    fn events_have_their_numbers_and_a_goodbye_wants_no_peers() {
        for (event, number, wanted) in [
            (Event::Interval, 0, 200),
            (Event::Completed, 1, 200),
            (Event::Started, 2, 200),
            (Event::Stopped, 3, 0),
        ] {
            let bytes = encode_announce(0, 0, &announce(event));
            assert_eq!(bytes[80..84], [0, 0, 0, number]);
            assert_eq!(bytes[92..96], [0, 0, 0, wanted]);
        }
    }

    #[test]
    fn a_scrape_lists_its_torrents_up_to_the_cap() {
        let mut expected = vec![0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 2, 0, 0, 0, 9];
        expected.extend_from_slice(&[0xcc; 20]);
        assert_eq!(encode_scrape(7, 9, &[InfoHash([0xcc; 20])]), expected);
        assert_eq!(
            encode_scrape(7, 9, &[InfoHash([0; 20]); 80]).len(),
            16 + 74 * 20
        );
    }

    #[test]
    fn a_connection_id_is_read() {
        let bytes = [0, 0, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8];
        let reply = decode(&bytes, false).expect("a connect reply");
        assert_eq!(reply.transaction, 9);
        let connection = 0x0102_0304_0506_0708;
        assert_eq!(reply.body, ReplyBody::Connected { connection });
    }

    #[test]
    fn peers_are_read_by_the_family_of_the_sender() {
        let mut bytes = vec![0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 7, 8, 0, 0, 0, 2, 0, 0, 0, 3];
        bytes.extend_from_slice(&[10, 0, 0, 1, 0, 80, 10, 0, 0, 2, 0, 80, 10, 0, 0, 3, 0, 80]);
        let peers = |v6| match decode(&bytes, v6).map(|reply| reply.body) {
            Some(ReplyBody::Announced {
                interval: 1800,
                leechers: 2,
                seeders: 3,
                peers,
            }) => peers,
            other => panic!("{other:?}"),
        };
        assert_eq!(peers(false).len(), 3);
        assert_eq!(peers(false)[0], ([10, 0, 0, 1], 80).into());
        let six: SocketAddr = "[a00:1:50:a00:2:50:a00:3]:80".parse().expect("an address");
        assert_eq!(peers(true), [six]);
    }

    #[test]
    fn a_scrape_reply_is_read() {
        let mut bytes = vec![0, 0, 0, 2, 0, 0, 0, 9];
        bytes.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xff]);
        let one = Scrape {
            seeders: 1,
            completed: 2,
            leechers: 3,
        };
        let reply = decode(&bytes, false).expect("a scrape reply");
        assert_eq!(reply.body, ReplyBody::Scraped(vec![one]));
    }

    #[test]
    fn a_refusal_of_sixty_kilobytes_is_cut_to_two_hundred_bytes_of_harmless_text() {
        let mut bytes = vec![0, 0, 0, 3, 0, 0, 0, 9];
        bytes.extend_from_slice("\x1b[31mno".repeat(10_000).as_bytes());
        let Some(ReplyBody::Refused(text)) = decode(&bytes, false).map(|reply| reply.body) else {
            panic!("not a refusal");
        };
        assert!(text.len() <= 200 && text.starts_with("\\u{1b}[31mno") && text.ends_with('…'));
    }

    #[test]
    fn short_and_foreign_datagrams_are_nothing() {
        for action in [0, 1] {
            for len in 0..16 {
                let mut bytes = vec![0, 0, 0, action, 0, 0, 0, 9];
                bytes.resize(len.max(8), 0);
                bytes.truncate(len);
                assert_eq!(decode(&bytes, false), None, "{action} {len}");
            }
        }
        assert_eq!(
            decode(
                &[0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                false
            ),
            None
        );
        assert_eq!(
            decode(&[0, 0, 0, 4, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0], false),
            None
        );
    }
}
