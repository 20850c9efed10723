//! Why nothing comes in: one cause, in one line for a person.
//!
//! ```
//! # use minitorrent::engine::{Session, why};
//! # fn print(session: &Session, now: minitorrent::base::time::Instant) {
//! for torrent in session.snapshot(now).torrents {
//!     if let Some(cause) = why::waiting(&torrent) {
//!         println!("{}: {cause}", torrent.info_hash);
//!     }
//! }
//! # }
//! ```

use std::fmt;

use super::stats::{Phase, TorrentSnapshot};

/// What a torrent waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Waiting {
    /// The disk: it is full, gone or broken; in its words.
    Disk(String),
    /// The disk takes less than peers send.
    DiskSlow,
    /// The limit of all peers together is used up.
    RateLimit,
    /// No address of a peer is known, and a tracker failed: DNS, TLS, the clock, a refusal; in its words.
    Tracker {
        /// The tracker, escaped.
        url: String,
        /// What went wrong.
        why: String,
    },
    /// No address of a peer is known yet; trackers have been asked.
    Announce,
    /// No address of a peer is known yet; the DHT or the neighbourhood is asked.
    Search,
    /// No address of a peer is known, and nothing is wrong with that.
    NoPeers,
    /// Connections are being opened.
    Connecting {
        /// How many.
        half_open: u32,
    },
    /// No address that is known can be reached; they are tried again after a while.
    Unreachable {
        /// How many.
        addresses: u32,
    },
    /// No address is known but of peers that are banned for wrong bytes.
    Banned,
    /// The metadata of a magnet link.
    Metadata {
        /// Pieces of it that are there.
        have: u32,
        /// Pieces of it in all; 0 while no peer has said so.
        of: u32,
        /// Peers that are there.
        peers: u32,
    },
    /// Peers are there, and none has what is missing.
    NobodyHas {
        /// One of the pieces that nobody has.
        piece: u32,
        /// How many there are.
        pieces: u32,
        /// Peers that are there.
        peers: u32,
    },
    /// Peers have what is missing, and none lets us request.
    Choked {
        /// How many.
        peers: u32,
    },
    /// Peers were asked, and are silent.
    Silent {
        /// How many let us request.
        peers: u32,
    },
}

/// Why nothing comes in for a torrent; `None` if something does, or nothing is wanted. A limit of the rate is named
/// even while it lets something through.
pub fn waiting(torrent: &TorrentSnapshot) -> Option<Waiting> {
    match torrent.phase {
        Phase::Checking | Phase::Seeding | Phase::Idle | Phase::Paused => None,
        Phase::DiskTrouble => {
            let disk = torrent.disk.as_ref();
            disk.map(|error| Waiting::Disk(error.message.clone()))
        }
        Phase::Describing if torrent.peers == 0 => Some(alone(torrent)),
        Phase::Describing => {
            let (have, of) = torrent.metadata;
            let peers = torrent.peers;
            Some(Waiting::Metadata { have, of, peers })
        }
        Phase::Downloading if torrent.is_limited => Some(Waiting::RateLimit),
        // The rate is that of the last seconds: of who has gone nothing comes any more.
        Phase::Downloading if torrent.down_rate > 0 && torrent.peers > 0 => None,
        Phase::Downloading if torrent.is_disk_behind => Some(Waiting::DiskSlow),
        Phase::Downloading if torrent.peers == 0 => Some(alone(torrent)),
        Phase::Downloading => among_peers(torrent),
    }
}

/// Nobody is connected.
fn alone(torrent: &TorrentSnapshot) -> Waiting {
    let (half_open, addresses) = (torrent.half_open, torrent.addresses);
    match &torrent.tracker_trouble {
        _ if half_open > 0 => Waiting::Connecting { half_open },
        _ if addresses > 0 => Waiting::Unreachable { addresses },
        _ if torrent.knew_banned => Waiting::Banned,
        Some((url, why)) => Waiting::Tracker {
            url: url.clone(),
            why: why.clone(),
        },
        None if torrent.is_announcing => Waiting::Announce,
        None if torrent.is_sought => Waiting::Search,
        None => Waiting::NoPeers,
    }
}

fn among_peers(torrent: &TorrentSnapshot) -> Option<Waiting> {
    let (peers, useful) = (torrent.peers, torrent.useful);
    match torrent.unavailable {
        Some((piece, pieces)) if useful == 0 => Some(Waiting::NobodyHas {
            piece,
            pieces,
            peers,
        }),
        _ if useful > 0 && torrent.unchoked_us == 0 => Some(Waiting::Choked { peers: useful }),
        _ if torrent.in_flight > 0 => Some(Waiting::Silent {
            peers: torrent.unchoked_us,
        }),
        _ => None,
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(why) => write!(f, "{why}"),
            Self::DiskSlow => write!(f, "the disk is slower than the peers"),
            Self::RateLimit => write!(f, "the download rate is limited"),
            Self::Tracker { url, why } => write!(f, "no peers known, {url}: {why}"),
            Self::Announce => write!(f, "no peers known yet, asking the trackers"),
            Self::Search => write!(f, "no peers known yet, looking for some without a tracker"),
            Self::NoPeers => write!(f, "no peers known"),
            Self::Connecting { half_open } => write!(f, "connecting to {}", peers(*half_open)),
            Self::Unreachable { addresses: 1 } => {
                write!(
                    f,
                    "the one address known is not reached, trying again later"
                )
            }
            Self::Unreachable { addresses } => {
                write!(
                    f,
                    "none of {addresses} addresses is reached, trying again later"
                )
            }
            Self::Banned => write!(f, "no peers known but those banned for bad data"),
            Self::Metadata {
                of: 0, peers: n, ..
            } => {
                write!(f, "metadata, which none of {} has offered", peers(*n))
            }
            Self::Metadata { have, of, .. } => write!(f, "metadata, {have} of {of} pieces"),
            Self::NobodyHas {
                piece,
                pieces: 1,
                peers: n,
            } => write!(f, "none of {} has piece {piece}", peers(*n)),
            Self::NobodyHas {
                piece,
                pieces,
                peers: n,
            } => {
                let more = pieces - 1;
                write!(f, "none of {} has piece {piece} and {more} more", peers(*n))
            }
            Self::Choked { peers: n } => write!(f, "choked by {}", peers(*n)),
            Self::Silent { peers: n } => write!(f, "asked {}, no answer", peers(*n)),
        }
    }
}

fn peers(count: u32) -> String {
    match count {
        1 => "1 peer".into(),
        _ => format!("{count} peers"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::InfoHash;
    use crate::engine::io::{DiskError, DiskErrorKind, TorrentId};

    /// A download without a peer, an address or a tracker, changed so.
    fn why(change: impl FnOnce(&mut TorrentSnapshot)) -> Option<String> {
        let mut torrent = TorrentSnapshot::empty(TorrentId::from_bits(0), InfoHash([1; 20]));
        torrent.phase = Phase::Downloading;
        change(&mut torrent);
        waiting(&torrent).map(|cause| cause.to_string())
    }

    #[track_caller]
    fn is(change: impl FnOnce(&mut TorrentSnapshot), expected: &str) {
        assert_eq!(why(change).as_deref(), Some(expected));
    }

    #[test]
    fn without_a_peer_the_cause_is_what_stands_between_us_and_an_address() {
        is(|_| (), "no peers known");
        is(
            |it| it.is_sought = true,
            "no peers known yet, looking for some without a tracker",
        );
        is(
            |it| it.is_announcing = true,
            "no peers known yet, asking the trackers",
        );
        for why in [
            "[dns] no such name",
            "[tls.clock] the clock is wrong",
            "[tracker.failure] not registered",
        ] {
            let trouble = ("udp://t.example:1".to_owned(), why.to_owned());
            let expected = format!("no peers known, udp://t.example:1: {why}");
            is(|it| it.tracker_trouble = Some(trouble), &expected);
        }
    }

    #[test]
    fn addresses_that_are_known_are_the_cause_before_any_tracker() {
        let trouble = Some(("u".to_owned(), "w".to_owned()));
        let known = |it: &mut TorrentSnapshot, addresses| {
            (it.addresses, it.tracker_trouble) = (addresses, trouble.clone());
        };
        is(
            |it| known(it, 1),
            "the one address known is not reached, trying again later",
        );
        is(
            |it| known(it, 7),
            "none of 7 addresses is reached, trying again later",
        );
        let dialling = |it: &mut TorrentSnapshot| {
            known(it, 7);
            it.half_open = 1;
        };
        is(dialling, "connecting to 1 peer");
        let banned = |it: &mut TorrentSnapshot| {
            known(it, 0);
            (it.knew_banned, it.is_sought) = (true, true);
        };
        is(banned, "no peers known but those banned for bad data");
        let another = |it: &mut TorrentSnapshot| (it.knew_banned, it.addresses) = (true, 1);
        is(
            another,
            "the one address known is not reached, trying again later",
        );
    }

    #[test]
    fn with_peers_the_cause_is_what_they_do_not_do() {
        let peers = |it: &mut TorrentSnapshot, useful, unchoked_us, in_flight| {
            (it.peers, it.useful) = (3, useful);
            (it.unchoked_us, it.in_flight) = (unchoked_us, in_flight);
        };
        let lacking = |pieces| {
            move |it: &mut TorrentSnapshot| {
                peers(it, 0, 0, 0);
                it.unavailable = Some((17, pieces));
            }
        };
        is(lacking(1), "none of 3 peers has piece 17");
        is(lacking(5), "none of 3 peers has piece 17 and 4 more");
        is(|it| peers(it, 2, 0, 0), "choked by 2 peers");
        is(|it| peers(it, 2, 1, 32), "asked 1 peer, no answer");
        // Someone may be asked and will be: that is no cause.
        assert_eq!(why(|it| peers(it, 2, 1, 0)), None);
    }

    #[test]
    fn a_magnet_link_waits_for_its_metadata() {
        let describing = |have, of| {
            move |it: &mut TorrentSnapshot| {
                (it.phase, it.peers, it.metadata) = (Phase::Describing, 2, (have, of));
            }
        };
        is(describing(3, 12), "metadata, 3 of 12 pieces");
        is(
            describing(0, 0),
            "metadata, which none of 2 peers has offered",
        );
        is(|it| it.phase = Phase::Describing, "no peers known");
    }

    #[test]
    fn the_disk_and_the_limit_are_named_before_peers() {
        let full = |it: &mut TorrentSnapshot| {
            it.phase = Phase::DiskTrouble;
            it.disk = Some(DiskError {
                kind: DiskErrorKind::Full,
                message: "no space left at out".into(),
            });
        };
        is(full, "no space left at out");
        is(
            |it| it.is_disk_behind = true,
            "the disk is slower than the peers",
        );
        let limited = |it: &mut TorrentSnapshot| (it.is_limited, it.down_rate) = (true, 1000);
        is(limited, "the download rate is limited");
    }

    #[test]
    fn what_moves_or_wants_nothing_waits_for_nothing() {
        assert_eq!(why(|it| (it.down_rate, it.peers) = (1, 1)), None);
        is(|it| it.down_rate = 1, "no peers known");
        for phase in [Phase::Checking, Phase::Seeding, Phase::Idle, Phase::Paused] {
            assert_eq!(why(|it| it.phase = phase), None, "{phase:?}");
        }
    }
}
