//! Peer exchange with one peer (BEP 11): what it was told, and what may be believed of what it tells.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::limits;
use crate::base::time::Instant;
use crate::wire::ut_pex::Pex;

/// Both directions of one peer's exchange.
#[derive(Default)]
pub struct PeerExchange {
    told: BTreeSet<SocketAddr>,
    next_out: Option<Instant>,
    last_in: Option<Instant>,
    faults: u32,
    is_off: bool,
}

impl PeerExchange {
    /// Neither tells nor hears anything from now on.
    pub fn turn_off(&mut self) {
        self.is_off = true;
    }

    /// The next message: what has changed since the last, if a minute has passed and anything has.
    pub fn poll_message(&mut self, now: Instant, connected: &BTreeSet<SocketAddr>) -> Option<Pex> {
        if self.is_off || self.next_out.is_some_and(|at| at > now) {
            return None;
        }
        let added: Vec<_> = connected
            .difference(&self.told)
            .copied()
            .take(limits::PEX_ADDED_MAX)
            .collect();
        let dropped: Vec<_> = self
            .told
            .difference(connected)
            .copied()
            .take(limits::PEX_ADDED_MAX)
            .collect();
        if added.is_empty() && dropped.is_empty() {
            return None;
        }
        self.next_out = Some(now + EVERY);
        dropped.iter().for_each(|address| {
            self.told.remove(address);
        });
        self.told.extend(&added);
        Some(Pex {
            added,
            dropped,
            has_bad_length: false,
        })
    }

    /// The addresses that a message of the peer names: none if it comes too soon, or after three bad ones.
    pub fn handle_message(&mut self, now: Instant, payload: &[u8]) -> Vec<SocketAddr> {
        let early = self.last_in.is_some_and(|last| now - last < LEAST);
        if early || self.is_off || self.faults >= FAULTS_MAX {
            return Vec::new();
        }
        self.last_in = Some(now);
        let Ok(pex) = Pex::decode(payload) else {
            self.faults += 1;
            return Vec::new();
        };
        self.faults += u32::from(pex.has_bad_length);
        pex.added
    }
}

/// BEP 11: at most one message a minute.
const EVERY: Duration = Duration::from_secs(60);
/// Their minute may be a little shorter than ours.
const LEAST: Duration = Duration::from_secs(50);
/// Messages with bad lengths after which a peer's lists are ignored.
const FAULTS_MAX: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn peers(ports: impl IntoIterator<Item = u16>) -> BTreeSet<SocketAddr> {
        ports
            .into_iter()
            .map(|port| SocketAddr::from(([10, 0, 0, 1], port)))
            .collect()
    }

    #[test]
    fn changes_are_told_once_a_minute() {
        let mut exchange = PeerExchange::default();
        assert_eq!(exchange.poll_message(at(0), &peers([])), None);
        let first = exchange
            .poll_message(at(1), &peers([1, 2]))
            .expect("two came");
        assert_eq!((first.added.len(), first.dropped.len()), (2, 0));
        assert_eq!(exchange.poll_message(at(60), &peers([2, 3])), None);
        let second = exchange
            .poll_message(at(61), &peers([2, 3]))
            .expect("one came, one went");
        assert_eq!(
            (second.added, second.dropped),
            (
                peers([3]).into_iter().collect(),
                peers([1]).into_iter().collect()
            )
        );
        assert_eq!(exchange.poll_message(at(200), &peers([2, 3])), None);
    }

    #[test]
    fn hurried_and_broken_messages_name_nobody() {
        let mut exchange = PeerExchange::default();
        let good = Pex {
            added: peers([5]).into_iter().collect(),
            ..Pex::default()
        }
        .encode();
        assert_eq!(exchange.handle_message(at(0), &good).len(), 1);
        assert_eq!(exchange.handle_message(at(1), &good).len(), 0);
        for n in 1..=3 {
            assert!(
                exchange
                    .handle_message(at(n * 60), b"d5:added1:xe")
                    .is_empty()
            );
        }
        assert!(exchange.handle_message(at(999), &good).is_empty());
    }
}
