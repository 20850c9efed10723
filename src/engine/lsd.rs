//! Finding peers in the neighbourhood (BEP 14): shouts which torrents we have, hears who else has them.
//!
//! [`Lsd`] owns no socket: send its datagrams to the group on every interface, tell it what comes from the
//! group. After each call, drain [`Lsd::poll_action`]. It knows nothing of private torrents: those must not be
//! added.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::base::ids::InfoHash;
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::wire::lsd::{Announce, GROUP_V4, GROUP_V6, HASHES_MAX};
use crate::wire::tracker_http::url::is_local;

/// Local service discovery for all torrents.
pub struct Lsd {
    port: u16,
    cookie: Vec<u8>,
    groups: Vec<SocketAddr>,
    /// When each torrent is to be announced.
    torrents: BTreeMap<InfoHash, Instant>,
    /// No announce before: one a minute is allowed.
    gate: Instant,
    /// When each host was last named for each torrent.
    heard: BTreeMap<(IpAddr, InfoHash), Instant>,
    hosts: BTreeMap<IpAddr, Instant>,
    actions: VecDeque<Action>,
}

impl Lsd {
    /// Shouts in the groups of the families that there are; `port` is where we take connections.
    pub fn new(now: Instant, port: u16, ipv4: bool, ipv6: bool, rng: &mut Rng) -> Self {
        let groups = [(ipv4, GROUP_V4), (ipv6, GROUP_V6)];
        let groups = groups.into_iter().filter(|(is_on, _)| *is_on);
        Self {
            port,
            cookie: format!("{:016x}", rng.next_u64()).into_bytes(),
            groups: groups.map(|(_, group)| group).collect(),
            torrents: BTreeMap::new(),
            gate: now,
            heard: BTreeMap::new(),
            hosts: BTreeMap::new(),
            actions: VecDeque::new(),
        }
    }

    /// Announces a public torrent, from now on every 5 minutes. At most 1000 torrents; more are not announced.
    pub fn add(&mut self, now: Instant, info_hash: InfoHash) {
        if self.torrents.len() < TORRENTS_MAX {
            self.torrents.entry(info_hash).or_insert(now);
        }
    }

    /// Says nothing more of a torrent.
    pub fn remove(&mut self, info_hash: InfoHash) {
        self.torrents.remove(&info_hash);
        self.heard.retain(|(_, torrent), _| *torrent != info_hash);
    }

    /// Takes a datagram. Whether it was an announce, ours or not. A host is named once in 60 s, whatever it
    /// shouts. Public IPv4 hosts are not named; over IPv6 neighbours have public addresses, too.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> bool {
        let Some(announce) = Announce::decode(bytes) else {
            return false;
        };
        let host = from.ip().to_canonical();
        let is_near = host.is_ipv6() || is_local(host);
        if announce.cookie == self.cookie || !is_near || self.is_resting(now, host) {
            return true;
        }
        let mut wanted = announce.torrents.iter();
        let wanted = wanted.find(|torrent| {
            let heard = self.heard.get(&(host, **torrent));
            let is_new = heard.is_none_or(|at| now.since(*at) >= REPEAT_MIN);
            self.torrents.contains_key(torrent) && is_new
        });
        let Some(&info_hash) = wanted else {
            return true;
        };
        if self.hosts.len() >= HOSTS_MAX {
            self.hosts.retain(|_, at| now.since(*at) < REST);
            if self.hosts.len() >= HOSTS_MAX {
                return true;
            }
        }
        if self.heard.len() >= HOSTS_MAX {
            self.heard.retain(|_, at| now.since(*at) < REPEAT_MIN);
        }
        if self.heard.len() < HOSTS_MAX {
            self.heard.insert((host, info_hash), now);
        }
        self.hosts.insert(host, now);
        let mut peer = from;
        // A link-local address is nothing without its interface, so it stays as it came.
        if host.is_ipv4() {
            peer.set_ip(host);
        }
        peer.set_port(announce.port);
        self.actions.push_back(Action::Peer { info_hash, peer });
        true
    }

    /// Shouts the torrents whose time has come, as many as fit in one announce.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return;
        }
        let mut due: Vec<_> = self
            .torrents
            .iter()
            .map(|(&hash, &at)| (at, hash))
            .collect();
        due.sort_unstable();
        // Those that are due before the next announce may go along: it saves waking up for each.
        let soon = now + GATE;
        due.retain(|(at, _)| *at <= soon);
        due.truncate(HASHES_MAX);
        let torrents: Vec<_> = due.into_iter().map(|(_, hash)| hash).collect();
        for torrent in &torrents {
            self.torrents.insert(*torrent, now + EVERY);
        }
        self.gate = now + GATE;
        let announce = Announce {
            port: self.port,
            torrents,
            cookie: self.cookie.clone(),
        };
        for &to in &self.groups {
            let bytes = announce.encode(to);
            self.actions.push_back(Action::Datagram { to, bytes });
        }
    }

    /// What is to be done next; drained after every call.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Lsd::handle_timeout`] is due; `None` without torrents.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let first = self.torrents.values().min()?;
        Some(*first.max(&self.gate))
    }

    fn is_resting(&self, now: Instant, host: IpAddr) -> bool {
        let named = self.hosts.get(&host);
        named.is_some_and(|at| now.since(*at) < REST)
    }
}

/// One thing that [`Lsd`] wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Send this to a group, on every interface.
    Datagram {
        /// The group.
        to: SocketAddr,
        /// What, at most 1400 bytes.
        bytes: Vec<u8>,
    },
    /// A peer of a torrent of ours.
    Peer {
        /// The torrent.
        info_hash: InfoHash,
        /// The peer, in this network.
        peer: SocketAddr,
    },
}

/// How often a torrent is announced (BEP 14).
const EVERY: Duration = Duration::from_secs(300);
/// The least time between announces (BEP 14).
const GATE: Duration = Duration::from_secs(60);
/// How long a host that was named is not named again, for any torrent.
const REST: Duration = Duration::from_secs(60);
/// How long it is not named again for the same torrent: others of its torrents come first.
const REPEAT_MIN: Duration = Duration::from_secs(240);
const TORRENTS_MAX: usize = 1000;
/// Hosts that are remembered; more are not named.
const HOSTS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV6};

    use super::*;

    const A: InfoHash = InfoHash([1; 20]);
    const B: InfoHash = InfoHash([2; 20]);

    fn at(s: u64) -> Instant {
        Instant::from_micros(s * 1_000_000)
    }

    fn lsd(torrents: &[InfoHash]) -> Lsd {
        let mut lsd = Lsd::new(at(0), 6881, true, false, &mut Rng::new([1; 32]));
        torrents.iter().for_each(|torrent| lsd.add(at(0), *torrent));
        lsd
    }

    fn sent(lsd: &mut Lsd, now: Instant) -> Vec<Announce> {
        lsd.handle_timeout(now);
        let actions = std::iter::from_fn(|| lsd.poll_action());
        let sent = actions.map(|action| match action {
            Action::Datagram { to, bytes } => {
                assert_eq!(to, GROUP_V4);
                Announce::decode(&bytes).expect("our own")
            }
            Action::Peer { .. } => panic!("nobody was heard"),
        });
        sent.collect()
    }

    fn shout(port: u16, torrents: &[InfoHash]) -> Vec<u8> {
        let announce = Announce {
            port,
            torrents: torrents.to_vec(),
            cookie: b"theirs".to_vec(),
        };
        announce.encode(GROUP_V4)
    }

    fn heard(lsd: &mut Lsd, s: u64, host: u8, bytes: &[u8]) -> Option<Action> {
        assert!(lsd.handle_datagram(at(s), ([10, 0, 0, host], 6771).into(), bytes));
        let action = lsd.poll_action();
        assert_eq!(lsd.poll_action(), None);
        action
    }

    fn peer(host: u8, info_hash: InfoHash) -> Option<Action> {
        let peer = ([10, 0, 0, host], 7).into();
        Some(Action::Peer { info_hash, peer })
    }

    #[test]
    fn all_torrents_are_announced_at_once_and_every_five_minutes() {
        let mut lsd = lsd(&[A, B]);
        assert_eq!(lsd.poll_timeout(), Some(at(0)));
        let first = sent(&mut lsd, at(0));
        assert_eq!(first.len(), 1);
        assert_eq!((first[0].port, &first[0].torrents), (6881, &vec![A, B]));
        assert_eq!(lsd.poll_timeout(), Some(at(300)));
        assert!(sent(&mut lsd, at(299)).is_empty());
        assert_eq!(sent(&mut lsd, at(300)), first);
        lsd.remove(A);
        lsd.remove(B);
        assert_eq!(lsd.poll_timeout(), None);
    }

    #[test]
    fn a_thousand_torrents_take_one_announce_a_minute() {
        let mut lsd = lsd(&[]);
        for n in 0..2000u16 {
            let mut hash = InfoHash([0; 20]);
            hash.0[..2].copy_from_slice(&n.to_be_bytes());
            lsd.add(at(0), hash);
        }
        for minute in 0..100 {
            assert_eq!(lsd.poll_timeout(), Some(at(minute * 60)));
            let sent = sent(&mut lsd, at(minute * 60));
            assert_eq!((sent.len(), sent[0].torrents.len()), (1, HASHES_MAX));
        }
    }

    #[test]
    fn a_flood_of_one_host_names_it_once_a_minute() {
        let mut lsd = lsd(&[A, B]);
        let bytes = shout(7, &[A, B]);
        assert_eq!(heard(&mut lsd, 0, 1, &bytes), peer(1, A));
        for _ in 0..10_000 {
            assert_eq!(heard(&mut lsd, 59, 1, &bytes), None);
        }
        assert_eq!(heard(&mut lsd, 59, 2, &bytes), peer(2, A));
        assert_eq!(heard(&mut lsd, 60, 1, &bytes), peer(1, B));
        assert_eq!(heard(&mut lsd, 120, 1, &bytes), None);
        assert_eq!(heard(&mut lsd, 240, 1, &bytes), peer(1, A));
    }

    #[test]
    fn our_own_voice_strange_torrents_strangers_and_nonsense_name_nobody() {
        let mut lsd = lsd(&[A]);
        let own = sent(&mut lsd, at(0)).remove(0).encode(GROUP_V4);
        assert_eq!(heard(&mut lsd, 0, 1, &own), None);
        assert_eq!(heard(&mut lsd, 0, 1, &shout(7, &[B])), None);
        let public = ([9, 9, 9, 9], 6771).into();
        assert!(lsd.handle_datagram(at(0), public, &shout(7, &[A])));
        assert_eq!(lsd.poll_action(), None);
        let long = [b"BT-SEARCH * HTTP/1.1\r\n".to_vec(), vec![b'x'; 1 << 20]].concat();
        assert!(!lsd.handle_datagram(at(0), ([10, 0, 0, 1], 1).into(), &long));
        assert_eq!(heard(&mut lsd, 0, 1, &shout(7, &[B, A])), peer(1, A));
    }

    #[test]
    fn a_link_local_neighbour_keeps_its_interface_and_a_mapped_address_is_unmapped() {
        let mut lsd = lsd(&[A]);
        let bytes = shout(7, &[A]);
        let near = |port| SocketAddrV6::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), port, 0, 3);
        assert!(lsd.handle_datagram(at(0), near(6771).into(), &bytes));
        let (info_hash, peer) = (A, near(7).into());
        assert_eq!(lsd.poll_action(), Some(Action::Peer { info_hash, peer }));
        let mapped = Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped();
        assert!(lsd.handle_datagram(at(0), (mapped, 6771).into(), &bytes));
        assert_eq!(lsd.poll_action(), self::peer(1, A));
    }

    #[test]
    fn ten_thousand_hosts_are_not_remembered() {
        let mut lsd = lsd(&[A]);
        let bytes = shout(7, &[A]);
        for n in 0..10_000u16 {
            let [a, b] = n.to_be_bytes();
            lsd.handle_datagram(at(0), ([10, 0, a, b], 1).into(), &bytes);
        }
        let named = std::iter::from_fn(|| lsd.poll_action()).count();
        assert_eq!(
            (named, lsd.hosts.len(), lsd.heard.len()),
            (1000, 1000, 1000)
        );
        assert!(lsd.handle_datagram(at(60), ([10, 99, 0, 1], 1).into(), &bytes));
        assert!(lsd.poll_action().is_some());
    }
}
