//! The addresses of a torrent: which to dial next, which to leave alone.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::engine::io::ConnectError;

/// The addresses known of one torrent, at most [`limits::ADDRESSES_MAX`].
#[derive(Default)]
pub struct Swarm {
    known: BTreeMap<SocketAddr, Known>,
}

struct Known {
    /// Given by the person: never dropped.
    given: bool,
    tried: bool,
    failures: u32,
    /// Not before this moment.
    rest_until: Instant,
    in_use: bool,
}

impl Swarm {
    /// Takes in addresses, leaving out those that can't be anybody's. Gives how many were new.
    pub fn add(&mut self, addresses: impl IntoIterator<Item = SocketAddr>, given: bool) -> usize {
        let mut new = 0;
        for address in addresses {
            if !is_dialable(address) {
                continue;
            }
            if let Some(known) = self.known.get_mut(&address) {
                known.given |= given;
                continue;
            }
            if self.known.len() >= limits::ADDRESSES_MAX && !self.drop_one() {
                break;
            }
            let known = Known {
                given,
                tried: false,
                failures: 0,
                rest_until: Instant::default(),
                in_use: false,
            };
            self.known.insert(address, known);
            new += 1;
        }
        new
    }

    /// An address to dial now: an untried one if there is any, else one that has rested long enough.
    pub fn dial(&mut self, now: Instant, rng: &mut Rng) -> Option<SocketAddr> {
        let ready = |known: &Known| !known.in_use && known.rest_until <= now;
        let pick = |known: &BTreeMap<SocketAddr, Known>, untried: bool, nth: usize| {
            let mut fit = known.iter().filter(|(_, k)| ready(k) && k.tried != untried);
            fit.nth(nth).map(|(address, _)| *address)
        };
        let untried = self.known.values().filter(|k| ready(k) && !k.tried).count();
        let rested = self.known.values().filter(|k| ready(k) && k.tried).count();
        let address = match (untried, rested) {
            (0, 0) => return None,
            (0, n) => pick(&self.known, false, rng.below(n)),
            (n, _) => pick(&self.known, true, rng.below(n)),
        }?;
        let known = self.known.get_mut(&address)?;
        known.in_use = true;
        known.tried = true;
        // One connect an address a minute, whatever comes of it.
        known.rest_until = now + limits::RECONNECT;
        Some(address)
    }

    /// A dialled address could not be reached, or did not greet us.
    pub fn failed(&mut self, now: Instant, address: SocketAddr, why: ConnectError) {
        let Some(known) = self.known.get_mut(&address) else {
            return;
        };
        known.in_use = false;
        if why == ConnectError::Resources {
            // Not the address's fault.
            known.rest_until = now + limits::SWEEP * 4;
            return;
        }
        known.failures += 1;
        if known.failures >= limits::CONNECT_FAILURES_MAX && !known.given {
            self.known.remove(&address);
            return;
        }
        let doubled = (known.failures - 1).min(MAX_DOUBLINGS);
        known.rest_until = now + limits::RECONNECT * 2u32.pow(doubled);
    }

    /// A connection to the address that had been greeted ended.
    pub fn ended(&mut self, now: Instant, address: SocketAddr) {
        let Some(known) = self.known.get_mut(&address) else {
            return;
        };
        known.in_use = false;
        known.failures = 0;
        known.rest_until = known.rest_until.max(now + limits::RECONNECT);
    }

    /// The address answered a dial with a good greeting.
    pub fn greeted(&mut self, address: SocketAddr) {
        if let Some(known) = self.known.get_mut(&address) {
            known.failures = 0;
        }
    }

    /// The address was dialled in vain through no fault of its own: there was no room left.
    pub fn put_back(&mut self, address: SocketAddr) {
        if let Some(known) = self.known.get_mut(&address) {
            known.in_use = false;
            known.tried = false;
        }
    }

    /// Forgets every address of a host: it is ours, or banned.
    pub fn forget_host(&mut self, ip: IpAddr) {
        self.known.retain(|address, _| address.ip() != ip);
    }

    /// Forgets one address: it is our own.
    pub fn forget(&mut self, address: SocketAddr) {
        self.known.remove(&address);
    }

    /// The next moment at which an address may be dialled, if none is in use by then.
    pub fn next_dial(&self) -> Option<Instant> {
        self.known
            .values()
            .filter(|known| !known.in_use)
            .map(|known| known.rest_until)
            .min()
    }

    /// Whether an address waits that has never been tried.
    pub fn has_untried(&self) -> bool {
        self.known.values().any(|known| !known.tried)
    }

    /// Whether an address has rested long enough to be dialled again.
    pub fn has_rested(&self, now: Instant) -> bool {
        let mut known = self.known.values();
        known.any(|known| !known.in_use && known.rest_until <= now)
    }

    /// How many addresses are known.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Makes room for a new address: the one that failed most goes.
    fn drop_one(&mut self) -> bool {
        let worst = self
            .known
            .iter()
            .filter(|(_, known)| !known.in_use && !known.given && known.tried)
            .max_by_key(|(_, known)| known.failures)
            .map(|(address, _)| *address);
        worst.is_some_and(|address| self.known.remove(&address).is_some())
    }
}

/// Whether a peer could be there at all.
pub fn is_dialable(address: SocketAddr) -> bool {
    let host = match address.ip() {
        IpAddr::V4(ip) => !(ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast()),
        IpAddr::V6(ip) => !(ip.is_unspecified() || ip.is_multicast()),
    };
    host && address.port() != 0
}

const MAX_DOUBLINGS: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> SocketAddr {
        SocketAddr::new(IpAddr::V4((0x0a00_0000 + n).into()), 6881)
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_failing_address_rests_60_then_120_seconds_and_is_dropped_at_the_third_failure() {
        let (mut swarm, mut rng) = (Swarm::default(), Rng::new([0; 32]));
        swarm.add([address(1)], false);
        for (from, until) in [(0, 60), (60, 180)] {
            assert_eq!(swarm.dial(at(from), &mut rng), Some(address(1)));
            assert_eq!(swarm.dial(at(from), &mut rng), None);
            swarm.failed(at(from), address(1), ConnectError::Refused);
            assert_eq!(swarm.next_dial(), Some(at(until)));
            assert_eq!(swarm.dial(at(until - 1), &mut rng), None);
        }
        assert_eq!(swarm.dial(at(180), &mut rng), Some(address(1)));
        swarm.failed(at(180), address(1), ConnectError::Refused);
        assert!(swarm.is_empty());
    }

    #[test]
    fn an_address_given_by_the_person_is_never_dropped() {
        let (mut swarm, mut rng) = (Swarm::default(), Rng::new([0; 32]));
        swarm.add([address(1)], true);
        for round in 0..20 {
            let now = at(round * 10_000);
            assert_eq!(swarm.dial(now, &mut rng), Some(address(1)));
            swarm.failed(now, address(1), ConnectError::Other);
        }
        assert_eq!(swarm.len(), 1);
    }

    #[test]
    fn untried_addresses_come_before_tried_ones_and_one_connect_a_minute_is_the_most() {
        let (mut swarm, mut rng) = (Swarm::default(), Rng::new([0; 32]));
        swarm.add([address(1)], false);
        swarm.dial(at(0), &mut rng);
        swarm.ended(at(1), address(1));
        assert_eq!(swarm.dial(at(60), &mut rng), None);
        swarm.add([address(2)], false);
        assert_eq!(swarm.dial(at(100), &mut rng), Some(address(2)));
        assert_eq!(swarm.dial(at(100), &mut rng), Some(address(1)));
    }

    #[test]
    fn nobodys_addresses_are_left_out_and_the_table_is_bounded() {
        let mut swarm = Swarm::default();
        let nobody = [
            "0.0.0.0:1",
            "224.0.0.1:1",
            "255.255.255.255:1",
            "10.0.0.1:0",
            "[::]:1",
        ];
        assert_eq!(
            swarm.add(nobody.map(|text| text.parse().expect("a literal")), false),
            0
        );
        assert_eq!(swarm.add((0..5000).map(address), false), 1000);
        assert_eq!(swarm.len(), 1000);
    }
}
