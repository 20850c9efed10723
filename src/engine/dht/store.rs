//! What others trust us with: peers they announced, the tokens that let them, and counts of them (BEP 33).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use sha1::{Digest, Sha1};

use super::id::place;
use crate::base::ids::InfoHash;
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::wire::krpc::{Bloom, NodeId};
use crate::wire::tracker_http::url::is_local;

/// Announced peers: at most [`TORRENTS_MAX`] torrents with [`PEERS_MAX`] each, for [`PEER_LIFE`]; 1.3 MB.
#[derive(Default)]
pub(super) struct Store {
    /// The peers of each torrent, in the order in which they were announced.
    torrents: BTreeMap<InfoHash, Vec<Announced>>,
}

impl Store {
    /// Remembers a peer. When full, the torrent farthest from `own` gives way: keeping the near ones is our
    /// part, and nobody can push those out with a million others.
    pub(super) fn add(
        &mut self,
        now: Instant,
        own: NodeId,
        torrent: InfoHash,
        peer: SocketAddr,
        is_seed: bool,
    ) {
        if !self.torrents.contains_key(&torrent) && !self.make_room(now, own, torrent) {
            return;
        }
        let peers = self.torrents.entry(torrent).or_default();
        peers.retain(|other| other.address() != peer);
        let is_crowd = |other: &Announced| {
            let other = other.address();
            !is_local(peer.ip())
                && other.is_ipv6() == peer.is_ipv6()
                && place(other.ip()) == place(peer.ip())
        };
        let crowd = peers.iter().filter(|other| is_crowd(other)).count();
        let loser = if crowd >= PEERS_PER_PLACE {
            peers.iter().position(is_crowd)
        } else {
            (peers.len() >= PEERS_MAX).then_some(0)
        };
        loser.map(|loser| peers.remove(loser));
        if peers.len() == peers.capacity() {
            // Most torrents have a few peers: doubling would waste half.
            peers.reserve_exact(4);
        }
        peers.push(Announced::new(now, peer, is_seed));
    }

    /// The peers of a torrent in one family, in random order.
    pub(super) fn peers(
        &self,
        now: Instant,
        torrent: InfoHash,
        v6: bool,
        rng: &mut Rng,
    ) -> Vec<SocketAddr> {
        let peers = self.alive(now, torrent).map(|peer| peer.address());
        let mut peers: Vec<_> = peers.filter(|peer| peer.is_ipv6() == v6).collect();
        rng.shuffle(&mut peers);
        peers
    }

    /// The sets of seeds and of others (BEP 33); `None` if there is neither.
    pub(super) fn counts(&self, now: Instant, torrent: InfoHash) -> Option<Box<[Bloom; 2]>> {
        let mut counts = Box::new([[0; 256]; 2]);
        for peer in self.alive(now, torrent) {
            insert(&mut counts[usize::from(!peer.is_seed)], peer.address().ip());
        }
        self.alive(now, torrent).next().map(|_| counts)
    }

    /// Drops what is over its time.
    pub(super) fn prune(&mut self, now: Instant) {
        self.torrents.retain(|_, peers| {
            peers.retain(|peer| peer.is_alive(now));
            !peers.is_empty()
        });
    }

    /// How many torrents and peers there are.
    pub(super) fn len(&self) -> (usize, usize) {
        let peers = self.torrents.values().map(Vec::len).sum();
        (self.torrents.len(), peers)
    }

    fn alive(&self, now: Instant, torrent: InfoHash) -> impl Iterator<Item = &Announced> {
        let peers = self.torrents.get(&torrent).into_iter().flatten();
        peers.filter(move |peer| peer.is_alive(now))
    }

    fn make_room(&mut self, now: Instant, own: NodeId, torrent: InfoHash) -> bool {
        if self.torrents.len() < TORRENTS_MAX {
            return true;
        }
        self.prune(now);
        if self.torrents.len() < TORRENTS_MAX {
            return true;
        }
        let distance = |torrent: InfoHash| own.distance(NodeId(torrent.0));
        let torrents = self.torrents.keys().copied();
        match torrents.max_by_key(|&torrent| distance(torrent)) {
            Some(farthest) if distance(torrent) < distance(farthest) => {
                self.torrents.remove(&farthest);
                true
            }
            Some(_) | None => false,
        }
    }
}

/// A peer in 24 bytes: there may be 50,000.
struct Announced {
    ip: [u8; 16],
    port: u16,
    is_seed: bool,
    /// Seconds since the start.
    at: u32,
}

impl Announced {
    fn new(now: Instant, peer: SocketAddr, is_seed: bool) -> Self {
        let ip = match peer.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        Self {
            ip: ip.octets(),
            port: peer.port(),
            is_seed,
            at: seconds(now),
        }
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::new(Ipv6Addr::from(self.ip).to_canonical(), self.port)
    }

    fn is_alive(&self, now: Instant) -> bool {
        seconds(now).saturating_sub(self.at) < PEER_LIFE
    }
}

fn seconds(now: Instant) -> u32 {
    u32::try_from(now.as_micros() / 1_000_000).unwrap_or(u32::MAX)
}

/// Tokens: proof that an announcer receives what is sent to its address (BEP 5). The secret changes every
/// 5 minutes, and tokens of the one before it are good too.
pub(super) struct Tokens {
    secrets: [[u8; 16]; 2],
    changed: Instant,
}

impl Tokens {
    pub(super) fn new(now: Instant, rng: &mut Rng) -> Self {
        Self {
            secrets: [rng.bytes(), rng.bytes()],
            changed: now,
        }
    }

    /// The token of an address for a torrent.
    pub(super) fn issue(
        &mut self,
        now: Instant,
        ip: IpAddr,
        torrent: InfoHash,
        rng: &mut Rng,
    ) -> [u8; 8] {
        self.rotate(now, rng);
        token(&self.secrets[0], ip, torrent)
    }

    /// Whether we gave this token to this address for this torrent in the last 5 to 10 minutes.
    pub(super) fn accepts(
        &mut self,
        now: Instant,
        ip: IpAddr,
        torrent: InfoHash,
        given: &[u8],
        rng: &mut Rng,
    ) -> bool {
        self.rotate(now, rng);
        let mut secrets = self.secrets.iter();
        secrets.any(|secret| token(secret, ip, torrent) == given)
    }

    fn rotate(&mut self, now: Instant, rng: &mut Rng) {
        let age = now.since(self.changed);
        if age < SECRET_LIFE {
            return;
        }
        let kept = if age < SECRET_LIFE * 2 {
            self.secrets[0]
        } else {
            rng.bytes()
        };
        self.secrets = [rng.bytes(), kept];
        self.changed = now;
    }
}

fn token(secret: &[u8; 16], ip: IpAddr, torrent: InfoHash) -> [u8; 8] {
    let mut hash = Sha1::new();
    hash.update(secret);
    match ip {
        IpAddr::V4(ip) => hash.update(ip.octets()),
        IpAddr::V6(ip) => hash.update(ip.octets()),
    }
    hash.update(torrent.0);
    let hash: [u8; 20] = hash.finalize().into();
    std::array::from_fn(|at| hash[at])
}

/// Adds an address to a set (BEP 33).
fn insert(bloom: &mut Bloom, ip: IpAddr) {
    let hash: [u8; 20] = match ip {
        IpAddr::V4(ip) => Sha1::digest(ip.octets()).into(),
        IpAddr::V6(ip) => Sha1::digest(ip.octets()).into(),
    };
    for pair in [[hash[0], hash[1]], [hash[2], hash[3]]] {
        let bit = usize::from(u16::from_le_bytes(pair)) % BITS;
        bloom[bit / 8] |= 1 << (bit % 8);
    }
}

/// Unites a set with another.
pub(super) fn unite(bloom: &mut Bloom, other: &Bloom) {
    bloom
        .iter_mut()
        .zip(other)
        .for_each(|(into, from)| *into |= from);
}

/// About how many addresses a set has (BEP 33): the logarithm of how many bits there are for each that is zero, over that
/// for one address. At most 7,768, when it is full.
pub(super) fn estimate(bloom: &Bloom) -> f64 {
    let zeros: u32 = bloom.iter().map(|byte| byte.count_zeros()).sum();
    // The logarithm is the area under 1/x, from here to there in strips: the mathematical library would be 5 KiB.
    let strips = zeros.max(1)..BITS as u32;
    let area: f64 = strips.map(|from| 1.0 / (f64::from(from) + 0.5)).sum();
    area / (2.0 * ONE_BIT)
}

/// `ln(BITS / (BITS - 1))`.
const ONE_BIT: f64 = 0.000_488_400_498_1;

const BITS: usize = 256 * 8;
/// Torrents whose peers are kept.
pub(super) const TORRENTS_MAX: usize = 500;
/// Peers that are kept of a torrent.
pub(super) const PEERS_MAX: usize = 100;
/// Ports of one public address that are kept of a torrent.
const PEERS_PER_PLACE: usize = 4;
/// Seconds for which an announce is good: clients announce every 15 minutes.
const PEER_LIFE: u32 = 30 * 60;
/// How long a secret makes tokens (BEP 5).
const SECRET_LIFE: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Instant {
        Instant::from_micros(s * 1_000_000)
    }

    fn peer(n: u32, port: u16) -> SocketAddr {
        (std::net::Ipv4Addr::from(0x0100_0000 + n * 256), port).into()
    }

    const OWN: NodeId = NodeId([0; 20]);

    #[test]
    fn a_peer_is_named_for_thirty_minutes() {
        let (mut store, mut rng) = (Store::default(), Rng::new([0; 32]));
        let torrent = InfoHash([1; 20]);
        store.add(at(0), OWN, torrent, peer(1, 1), false);
        assert_eq!(
            store.peers(at(1799), torrent, false, &mut rng),
            [peer(1, 1)]
        );
        assert!(store.peers(at(1799), torrent, true, &mut rng).is_empty());
        assert!(store.peers(at(1800), torrent, false, &mut rng).is_empty());
        store.prune(at(1800));
        assert_eq!(store.len(), (0, 0));
    }

    #[test]
    fn five_hundred_torrents_nearest_to_us_are_kept() {
        let mut store = Store::default();
        for n in 0..2000u16 {
            let mut torrent = InfoHash([0; 20]);
            // Neither in rising nor in falling order: 7 has no factor with 2000.
            torrent.0[..2].copy_from_slice(&(n * 7 % 2000).to_be_bytes());
            store.add(at(0), OWN, torrent, peer(1, 1), false);
        }
        assert_eq!(store.len(), (TORRENTS_MAX, TORRENTS_MAX));
        let farthest = store.torrents.keys().last().expect("full");
        assert_eq!(farthest.0[..2], 499u16.to_be_bytes());
    }

    #[test]
    fn a_hundred_peers_are_kept_and_four_ports_of_a_public_address() {
        let mut store = Store::default();
        let torrent = InfoHash([1; 20]);
        for n in 0..300 {
            store.add(at(n), OWN, torrent, peer(n as u32, 1), false);
        }
        assert_eq!(store.len(), (1, PEERS_MAX));
        let first = store.torrents[&torrent].first().map(Announced::address);
        assert_eq!(first, Some(peer(200, 1)));
        let peers = &store.torrents[&torrent];
        assert_eq!(peers.capacity() * size_of::<Announced>(), 2400);
        let other = InfoHash([2; 20]);
        for port in 1..50 {
            store.add(at(u64::from(port)), OWN, other, peer(1, port), false);
            store.add(
                at(u64::from(port)),
                OWN,
                other,
                ([10, 0, 0, 1], port).into(),
                false,
            );
        }
        assert_eq!(store.len(), (2, PEERS_MAX + 4 + 49));
    }

    #[test]
    fn a_token_is_good_for_its_address_and_torrent_for_two_generations() {
        let mut rng = Rng::new([0; 32]);
        let mut tokens = Tokens::new(at(0), &mut rng);
        let (ip, torrent) = ([9, 9, 9, 9].into(), InfoHash([1; 20]));
        let token = tokens.issue(at(299), ip, torrent, &mut rng);
        let other_ip = [9, 9, 9, 8].into();
        assert!(!tokens.accepts(at(299), other_ip, torrent, &token, &mut rng));
        assert!(!tokens.accepts(at(299), ip, InfoHash([2; 20]), &token, &mut rng));
        assert!(!tokens.accepts(at(299), ip, torrent, b"", &mut rng));
        assert!(tokens.accepts(at(300), ip, torrent, &token, &mut rng));
        assert!(tokens.accepts(at(599), ip, torrent, &token, &mut rng));
        assert!(!tokens.accepts(at(600), ip, torrent, &token, &mut rng));
        let token = tokens.issue(at(600), ip, torrent, &mut rng);
        assert!(!tokens.accepts(at(1200), ip, torrent, &token, &mut rng));
    }

    #[test]
    fn the_set_of_bep_33_has_its_bits_and_counts_1224_addresses() {
        let mut bloom = [0; 256];
        (0..=255).for_each(|n| insert(&mut bloom, [192, 0, 2, n].into()));
        for n in 0..=0x3e7 {
            insert(&mut bloom, [0x2001, 0xdb8, 0, 0, 0, 0, 0, n].into());
        }
        let head = [0xf6, 0xc3, 0xf5, 0xea, 0xa0, 0x7f, 0xfd, 0x91];
        assert_eq!(bloom[..8], head);
        assert_eq!(bloom[252..], [0xfd, 0x8f, 0x72, 0xef]);
        assert!((estimate(&bloom) - 1224.9308).abs() < 0.001);
        assert!(estimate(&[0; 256]).abs() < 0.001);
        assert!(estimate(&[0xff; 256]) < 10_000.0);
    }
}
