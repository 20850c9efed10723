//! Finding peers without a tracker: the DHT (BEP 5) and the neighbourhood (BEP 14), for public torrents only.

use std::net::{IpAddr, SocketAddr};

use super::{Seat, Session};
use crate::base::ids::InfoHash;
use crate::base::time::Instant;
use crate::engine::command::Aim;
use crate::engine::dht::{self, Config, Dht, Router};
use crate::engine::io::{Event, Output, TorrentId};
use crate::engine::lsd::{self, Lsd};
use crate::engine::timers::Timer;
use crate::engine::torrent::Torrent;
use crate::engine::torrent::swarm::Origin;
use crate::net::resolver::Families;
use crate::wire::message::Message;

impl Session {
    /// Begins or ends to look for a torrent's peers everywhere, as it is now. A private torrent is never looked
    /// for (BEP 27); one whose metadata is not known can't be known to be private.
    pub(super) fn seek(&mut self, now: Instant, id: TorrentId) {
        let Some(Seat { torrent, .. }) = self.torrents.get(id) else {
            return;
        };
        let info_hash = torrent.metainfo.info_hash;
        let wanted = torrent.is_ready() && !torrent.metainfo.private && !self.stopping;
        let (is_seed, is_short) = (torrent.is_complete(), torrent.wants_peers());
        let nodes = torrent.metainfo.nodes.iter();
        let routers: Vec<_> = nodes.map(|(host, port)| router(host, *port)).collect();
        if wanted && self.dht.is_none() {
            self.new_dht(now);
        }
        if let Some(dht) = &mut self.dht {
            if wanted {
                let port = Some(self.settings.port).filter(|port| *port > 0);
                dht.search(now, info_hash, port);
                dht.set_seed(info_hash, is_seed);
                match is_short {
                    true => dht.want_peers(info_hash),
                    false => dht.have_peers(info_hash),
                }
                for router in routers {
                    dht.add_router(now, router);
                }
            } else {
                dht.forget(info_hash);
            }
        }
        if let Some(lsd) = &mut self.lsd {
            if wanted && self.settings.port > 0 {
                lsd.add(now, info_hash);
            } else {
                lsd.remove(info_hash);
            }
        }
        self.drain_finders(now);
        self.leave_dht(now);
        self.settle_names(now);
    }

    /// Leaves the DHT when only private torrents are left: nothing is to be sent there for those.
    fn leave_dht(&mut self, now: Instant) {
        let mut torrents = self.torrents.iter();
        if torrents.all(|(_, seat)| seat.torrent.metainfo.private) && self.dht.is_some() {
            self.settings.dht_nodes = self.dht_nodes(now);
            self.dht = None;
        }
    }

    /// Gives the DHT and the neighbourhood their time.
    pub(super) fn drive_finders(&mut self, now: Instant) {
        if let Some(dht) = &mut self.dht
            && dht.poll_timeout().is_some_and(|at| at <= now)
        {
            dht.handle_timeout(now, &mut self.rng);
        }
        if let Some(lsd) = &mut self.lsd
            && lsd.poll_timeout().is_some_and(|at| at <= now)
        {
            lsd.handle_timeout(now);
        }
        self.drain_finders(now);
        self.settle_names(now);
    }

    /// Takes a datagram that no tracker sent.
    pub(super) fn handle_dht_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        if let Some(dht) = &mut self.dht {
            dht.handle_datagram(now, from, bytes, &mut self.rng);
            self.drain_finders(now);
        }
    }

    /// Takes a datagram that was sent to the group of the neighbourhood.
    pub(super) fn handle_lsd_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        if let Some(lsd) = &mut self.lsd {
            lsd.handle_datagram(now, from, bytes);
            self.drain_finders(now);
        }
    }

    /// A peer has a DHT node (BEP 5), on this port of its host.
    pub(super) fn handle_dht_port(&mut self, now: Instant, node: SocketAddr) {
        if let Some(dht) = &mut self.dht {
            dht.add_node(now, node);
            self.drain_finders(now);
        }
    }

    /// Our own `port` message, for a peer that can use it.
    pub(super) fn dht_port(&self) -> Option<Message<'static>> {
        let port = Some(self.settings.port).filter(|port| *port > 0 && self.dht.is_some());
        port.map(Message::Port)
    }

    /// Nodes worth remembering, for the next run; what there was before if the DHT is not on.
    pub fn dht_nodes(&self, now: Instant) -> Vec<u8> {
        let dht = self.dht.as_ref();
        dht.map_or_else(|| self.settings.dht_nodes.clone(), |dht| dht.export(now))
    }

    /// Enters the DHT, if it is to be used: with the first public torrent.
    fn new_dht(&mut self, now: Instant) {
        if !self.settings.dht {
            return;
        }
        let families = self.settings.families;
        let config = Config {
            ipv4: families != Families::V6,
            ipv6: families != Families::V4,
            read_only: self.settings.port == 0,
            routers: self.settings.dht_routers.clone(),
            ..Config::default()
        };
        let mut dht = Dht::new(now, config, &mut self.rng);
        if !self.settings.dht_nodes.is_empty() {
            dht.import(&self.settings.dht_nodes, !self.settings.dht_is_second);
        }
        self.dht = Some(dht);
    }

    pub(super) fn new_lsd(&mut self, now: Instant) {
        if self.settings.lsd && self.settings.port > 0 {
            let families = self.settings.families;
            let (v4, v6) = (families != Families::V6, families != Families::V4);
            self.lsd = Some(Lsd::new(now, self.settings.port, v4, v6, &mut self.rng));
        }
    }

    fn drain_finders(&mut self, now: Instant) {
        while let Some(action) = self.dht.as_mut().and_then(Dht::poll_action) {
            match action {
                dht::Action::Datagram {
                    to,
                    bytes,
                    is_answer,
                } => match is_answer {
                    true => self.send_answer(now, to, bytes),
                    false => self.send_patiently(now, to, bytes),
                },
                dht::Action::Peers { info_hash, peers } => {
                    self.found(now, info_hash, peers, Origin::Dht);
                }
                dht::Action::Resolve { name } => self.resolver.resolve(now, &name, &mut self.rng),
                dht::Action::Warning(warning) => {
                    let message = warning.to_string();
                    self.out.push_back(Output::Event(Event::Warning {
                        torrent: None,
                        kind: "dht",
                        message,
                    }));
                }
                dht::Action::LookupDone { .. } | dht::Action::Scraped { .. } => {}
            }
        }
        while let Some(action) = self.lsd.as_mut().and_then(Lsd::poll_action) {
            match action {
                lsd::Action::Datagram { to, bytes } => {
                    self.send_multicast(now, to, bytes);
                }
                lsd::Action::Peer { info_hash, peer } => {
                    self.found(now, info_hash, vec![peer], Origin::Neighbour);
                }
            }
        }
    }

    /// Whether datagrams are to be heard over IPv4, or IPv6, before one was sent: a node of the DHT is asked by
    /// strangers.
    pub fn hears_strangers(&self, v6: bool) -> bool {
        let other = if v6 { Families::V4 } else { Families::V6 };
        self.dht.is_some() && self.settings.families != other
    }

    /// Our own addresses as others see them, as far as they are known.
    pub(super) fn own_addresses(&self) -> impl Iterator<Item = SocketAddr> + use<> {
        let seen = self.dht.as_ref().map(Dht::external).unwrap_or_default();
        let port = self.settings.port;
        seen.into_iter().flatten().map(move |ip| (ip, port).into())
    }

    fn found(&mut self, now: Instant, hash: InfoHash, peers: Vec<SocketAddr>, origin: Origin) {
        let Some(seat) = self
            .torrent_of(hash)
            .and_then(|id| self.torrents.get_mut(id))
        else {
            return;
        };
        let is_new = seat.torrent.swarm.add(peers, origin) > 0 && seat.torrent.wants_peers();
        if is_new || origin == Origin::Neighbour || seat.torrent.serves() {
            self.timers.set_earlier(Timer::Sweep, now);
        }
    }

    /// Tells the DHT what became of a name, whoever had asked for it.
    pub(super) fn tell_dht_of_name(&mut self, now: Instant, name: &str, addresses: &[IpAddr]) {
        if let Some(dht) = &mut self.dht {
            dht.handle_resolved(now, name, addresses, &mut self.rng);
            self.drain_finders(now);
        }
    }

    /// Whether somebody looks for a torrent's peers, so that they may turn up at any time.
    pub(super) fn is_sought(&self, torrent: &Torrent) -> bool {
        let is_public = !torrent.metainfo.private && torrent.aim() != Aim::Scrape;
        is_public && (self.settings.dht || self.lsd.is_some())
    }
}

/// A place to begin at, by an address or by a name.
fn router(host: &str, port: u16) -> Router {
    match host.parse::<IpAddr>() {
        Ok(ip) => Router::Address((ip, port).into()),
        Err(_) => Router::Name {
            name: host.to_owned(),
            port,
        },
    }
}
