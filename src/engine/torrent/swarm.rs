//! The addresses of a torrent: which to dial next, which to leave alone.
//!
//! Whoever names addresses may name dead or chosen ones, so nobody's may crowd out the others': an [`Origin`] has at
//! most half of the table, and the one that was dialled least for comes next. Among its untried addresses the one
//! with the greatest priority is dialled (BEP 40): everybody prefers others by the same measure, so that a swarm
//! hangs together and nobody can choose to be preferred.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::base::crc32c::crc32c;
use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::engine::io::ConnectError;

/// The addresses known of one torrent, at most [`limits::ADDRESSES_MAX`].
#[derive(Default)]
pub struct Swarm {
    known: BTreeMap<SocketAddr, Known>,
    /// Our addresses as others see them, over IPv4 and IPv6.
    own: [Option<SocketAddr>; 2],
}

/// Who named an address first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Origin {
    /// The person who runs the program: never dropped.
    Person,
    /// A tracker, by its number.
    Tracker(u32),
    /// The DHT.
    Dht,
    /// A neighbour said it of itself.
    Neighbour,
    /// A peer at this host, of itself or of others.
    Peer(IpAddr),
}

struct Known {
    origin: Origin,
    priority: u32,
    /// Given by the person: never dropped.
    given: bool,
    tried: bool,
    /// Named since it was last dialled.
    named: bool,
    /// It has everything, so that who has everything too is of no use to it.
    is_seed: bool,
    failures: u32,
    /// Not before this moment.
    rest_until: Instant,
    in_use: bool,
}

impl Known {
    /// Whether it was named and is worth a dial of whoever has everything.
    fn may_need_us(&self) -> bool {
        self.named && !self.in_use && !self.is_seed
    }
}

impl Swarm {
    /// Takes in addresses, leaving out our own, those that can't be anybody's, and those that would give their origin more
    /// than half of the table. Gives how many were new.
    pub fn add(
        &mut self,
        addresses: impl IntoIterator<Item = SocketAddr>,
        origin: Origin,
    ) -> usize {
        let given = origin == Origin::Person;
        let theirs = self.known.values().filter(|known| known.origin == origin);
        let mut room = (limits::ADDRESSES_MAX / 2).saturating_sub(theirs.count());
        let mut new = 0;
        for address in addresses {
            if !is_dialable(address) || self.own.contains(&Some(address)) {
                continue;
            }
            if let Some(known) = self.known.get_mut(&address) {
                known.given |= given;
                known.named = true;
                // Whoever shouts is there, whatever came of an earlier attempt.
                known.tried &= origin != Origin::Neighbour || known.in_use;
                continue;
            }
            if room == 0 && !given {
                break;
            }
            if self.known.len() >= limits::ADDRESSES_MAX && !self.drop_one() {
                break;
            }
            room = room.saturating_sub(1);
            let known = Known {
                origin,
                priority: priority(self.own[usize::from(address.is_ipv6())], address),
                given,
                tried: false,
                named: true,
                is_seed: false,
                failures: 0,
                rest_until: Instant::default(),
                in_use: false,
            };
            self.known.insert(address, known);
            new += 1;
        }
        new
    }

    /// Our address as others see it has become known, or another: priorities follow from it.
    pub fn set_own(&mut self, own: SocketAddr) {
        let place = &mut self.own[usize::from(own.is_ipv6())];
        if place.replace(own) == Some(own) {
            return;
        }
        let alike = |address: &SocketAddr| address.is_ipv6() == own.is_ipv6();
        let known = self.known.iter_mut();
        for (address, known) in known.filter(|(address, _)| alike(address)) {
            known.priority = priority(Some(own), *address);
        }
    }

    /// An address to dial now: an untried one if there is any, else one that has rested long enough.
    pub fn dial(&mut self, now: Instant, rng: &mut Rng) -> Option<SocketAddr> {
        let ready = |known: &Known| !known.in_use && known.rest_until <= now;
        let rested = self.known.values().filter(|k| ready(k) && k.tried).count();
        let address = match (self.preferred(ready), rested) {
            (Some(untried), _) => untried,
            (None, 0) => return None,
            (None, count) => {
                let mut rested = self.known.iter().filter(|(_, k)| ready(k) && k.tried);
                *rested.nth(rng.below(count))?.0
            }
        };
        self.take(now, address)
    }

    /// An address for whoever has everything to dial now: it may not be able to reach us, so each that is named is
    /// gone to, once each time it is named.
    pub fn dial_to_serve(&mut self, now: Instant) -> Option<SocketAddr> {
        let ready = |known: &Known| known.may_need_us() && known.rest_until <= now;
        let untried = self.preferred(ready);
        let again = || self.known.iter().find(|(_, known)| ready(known));
        let address = untried.or_else(|| again().map(|(address, _)| *address))?;
        self.take(now, address)
    }

    /// When [`Swarm::dial_to_serve`] has an address at the earliest.
    pub fn next_to_serve(&self) -> Option<Instant> {
        let known = self.known.values().filter(|known| known.may_need_us());
        known.map(|known| known.rest_until).min()
    }

    fn take(&mut self, now: Instant, address: SocketAddr) -> Option<SocketAddr> {
        let known = self.known.get_mut(&address)?;
        known.in_use = true;
        known.tried = true;
        known.named = false;
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

    /// A peer that came to us listens at this address: there is no need to dial it.
    pub fn met(&mut self, address: SocketAddr) {
        if let Some(known) = self.known.get_mut(&address) {
            known.in_use = true;
            known.named = false;
        }
    }

    /// The connection with the peer at this address ended; whether that has everything.
    pub fn ended(&mut self, now: Instant, address: SocketAddr, is_seed: bool) {
        let Some(known) = self.known.get_mut(&address) else {
            return;
        };
        known.in_use = false;
        known.is_seed = is_seed;
        known.failures = 0;
        // Who came to us and left was never dialled.
        if known.tried {
            known.rest_until = known.rest_until.max(now + limits::RECONNECT);
        }
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
            known.named = true;
        }
    }

    /// It was we who let go of everybody: whoever greeted us when it was last dialled may be dialled again at once.
    pub fn revive(&mut self, now: Instant) {
        let known = self.known.values_mut();
        let answered = known.filter(|known| known.failures == 0);
        answered.for_each(|known| known.rest_until = now);
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
        let mut known = self.known.values();
        known.any(|known| !known.tried && !known.in_use)
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

    /// The untried address that comes next: of the origin of which least were tried, the one with the greatest
    /// priority.
    fn preferred(&self, ready: impl Fn(&Known) -> bool) -> Option<SocketAddr> {
        let mut origins: BTreeMap<Origin, (usize, Option<(u32, SocketAddr)>)> = BTreeMap::new();
        for (address, known) in &self.known {
            let (tried, best) = origins.entry(known.origin).or_default();
            *tried += usize::from(known.tried);
            if ready(known) && !known.tried {
                *best = (*best).max(Some((known.priority, *address)));
            }
        }
        let waiting = origins.into_iter().filter_map(|(origin, (tried, best))| {
            best.map(|(_, address)| (tried, origin, address))
        });
        waiting.min().map(|(_, _, address)| address)
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

/// The priority of a connection between us and another (BEP 40), the same from both ends. While our own address is
/// not known, that of an unspecified one: as good an order as any.
fn priority(own: Option<SocketAddr>, other: SocketAddr) -> u32 {
    let (own, other) = match (own, other) {
        (Some(own), other) => (own, other),
        (None, SocketAddr::V4(_)) => ((Ipv4Addr::UNSPECIFIED, 0).into(), other),
        (None, SocketAddr::V6(_)) => ((Ipv6Addr::UNSPECIFIED, 0).into(), other),
    };
    let sorted = |one: Vec<u8>, other: Vec<u8>| {
        let (first, second) = if one <= other {
            (one, other)
        } else {
            (other, one)
        };
        crc32c(&[first, second].concat())
    };
    if own.ip() == other.ip() {
        let [one, two] = [own, other].map(|address| address.port().to_be_bytes().to_vec());
        return sorted(one, two);
    }
    let (one, two) = match (own.ip(), other.ip()) {
        (IpAddr::V4(one), IpAddr::V4(two)) => masked(&one.octets(), &two.octets(), 2),
        (IpAddr::V6(one), IpAddr::V6(two)) => masked(&one.octets(), &two.octets(), 6),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return 0,
    };
    sorted(one, two)
}

/// Both addresses with only every second bit of what lies behind the network that both share: `whole` bytes are kept
/// as they are, and one more for each byte that both have in common.
fn masked(one: &[u8], two: &[u8], whole: usize) -> (Vec<u8>, Vec<u8>) {
    let common = one.iter().zip(two).take_while(|(a, b)| a == b).count();
    let kept = match common {
        common if common < whole => whole,
        common => common + 1,
    };
    let mask = |address: &[u8]| {
        let bytes = address.iter().enumerate();
        let masked = bytes.map(|(at, byte)| if at < kept { *byte } else { byte & 0x55 });
        masked.collect()
    };
    (mask(one), mask(two))
}

/// Whether a peer could be there at all.
pub fn is_dialable(address: SocketAddr) -> bool {
    let host = match address.ip() {
        IpAddr::V4(ip) => !(ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast()),
        IpAddr::V6(ip) => !(ip.is_unspecified() || ip.is_multicast()),
    };
    host && address.port() != 0
}

/// Who gave an address waits for it: it is tried every four minutes at least.
const MAX_DOUBLINGS: u32 = 2;

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
        swarm.add([address(1)], Origin::Dht);
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
    fn an_address_given_by_the_person_is_never_dropped_and_rests_240_seconds_at_most() {
        let (mut swarm, mut rng) = (Swarm::default(), Rng::new([0; 32]));
        swarm.add([address(1)], Origin::Person);
        let mut now = 0;
        for rest in [60, 120, 240, 240, 240, 240, 240] {
            assert_eq!(swarm.dial(at(now), &mut rng), Some(address(1)));
            swarm.failed(at(now), address(1), ConnectError::Other);
            now += rest;
            assert_eq!(swarm.next_dial(), Some(at(now)));
        }
        assert_eq!(swarm.len(), 1);
    }

    #[test]
    fn untried_addresses_come_before_tried_ones_and_one_connect_a_minute_is_the_most() {
        let (mut swarm, mut rng) = (Swarm::default(), Rng::new([0; 32]));
        swarm.add([address(1)], Origin::Dht);
        swarm.dial(at(0), &mut rng);
        swarm.ended(at(1), address(1), false);
        assert_eq!(swarm.dial(at(60), &mut rng), None);
        swarm.add([address(2)], Origin::Dht);
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
            swarm.add(
                nobody.map(|text| text.parse().expect("a literal")),
                Origin::Dht
            ),
            0
        );
        assert_eq!(swarm.add((0..5000).map(address), Origin::Dht), 500);
        let others = (5000..9000).map(address);
        assert_eq!(swarm.add(others, Origin::Tracker(0)), 500);
        assert_eq!(swarm.len(), 1000);
    }

    #[test]
    fn an_honest_source_gets_every_second_dial_beside_one_that_names_five_hundred() {
        let (mut swarm, mut rng) = (Swarm::default(), Rng::new([0; 32]));
        assert_eq!(swarm.add((0..1000).map(address), Origin::Tracker(0)), 500);
        let honest = [address(5000), address(5001), address(5002)];
        swarm.add(honest, Origin::Tracker(1));
        let dialled: Vec<_> = (0..6).filter_map(|_| swarm.dial(at(0), &mut rng)).collect();
        assert!(
            honest.iter().all(|one| dialled.contains(one)),
            "{dialled:?}"
        );
    }

    #[test]
    fn who_has_everything_dials_whom_it_heard_of_once_a_naming_and_no_other_that_has_everything() {
        let mut swarm = Swarm::default();
        swarm.add([address(1), address(2)], Origin::Dht);
        let dialled: Vec<_> = (0..3).filter_map(|_| swarm.dial_to_serve(at(0))).collect();
        assert_eq!(dialled.len(), 2);
        swarm.ended(at(1), address(1), true);
        swarm.ended(at(1), address(2), false);
        assert_eq!(
            (swarm.dial_to_serve(at(500)), swarm.next_to_serve()),
            (None, None)
        );
        swarm.add([address(1), address(2)], Origin::Dht);
        assert_eq!(swarm.next_to_serve(), Some(at(61)));
        assert_eq!(swarm.dial_to_serve(at(500)), Some(address(2)));
        assert_eq!(swarm.dial_to_serve(at(500)), None);
    }

    #[test]
    fn our_own_address_that_others_name_is_left_out() {
        let mut swarm = Swarm::default();
        swarm.set_own(address(1));
        assert_eq!(swarm.add([address(1), address(2)], Origin::Dht), 1);
        assert_eq!(swarm.dial_to_serve(at(0)), Some(address(2)));
    }

    #[test]
    fn who_came_to_us_is_not_dialled_while_it_is_there() {
        let (mut swarm, mut rng) = (Swarm::default(), Rng::new([0; 32]));
        swarm.add([address(1)], Origin::Peer(address(1).ip()));
        swarm.met(address(1));
        assert_eq!(swarm.dial(at(100), &mut rng), None);
        assert_eq!(swarm.dial_to_serve(at(100)), None);
        assert!(!swarm.has_untried());
        swarm.ended(at(100), address(1), false);
        assert_eq!(swarm.dial(at(100), &mut rng), Some(address(1)));
    }

    #[test]
    fn priorities_are_those_of_bep_40() {
        let between = |one: &str, two: &str| {
            let [one, two] = [one, two].map(|text| text.parse().expect("a literal"));
            assert_eq!(priority(Some(one), two), priority(Some(two), one));
            priority(Some(one), two)
        };
        assert_eq!(between("123.213.32.10:1", "98.76.54.32:2"), 0xec2d_7224);
        assert_eq!(between("123.213.32.10:1", "123.213.32.234:2"), 0x9956_8189);
    }

    #[test]
    fn the_address_with_the_greatest_priority_is_dialled_first() {
        let (mut swarm, mut rng) = (Swarm::default(), Rng::new([0; 32]));
        swarm.add((1..100).map(address), Origin::Dht);
        let own = "98.76.54.32:6881".parse().expect("a literal");
        swarm.set_own(own);
        let best = (1..100)
            .map(address)
            .max_by_key(|it| priority(Some(own), *it));
        assert_eq!(swarm.dial(at(0), &mut rng), best);
    }
}
