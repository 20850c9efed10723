//! A node of the DHT (BEP 5, 32, 33, 42, 43): finds peers of torrents without a tracker, and helps others to.
//!
//! [`Dht`] owns no socket. It asks for datagrams and names by [`Action`]s and is told what came of them. All but
//! [`Dht::handle_timeout`] may be called at any time; it is due at [`Dht::poll_timeout`]. After each call, drain
//! [`Dht::poll_action`]. It knows nothing of private torrents: those must not be searched for.
//!
//! ```no_run
//! # use minitorrent::base::{ids::InfoHash, rng::Rng, time::Instant};
//! # use minitorrent::engine::dht::{Action, Config, Dht};
//! # fn send(_: std::net::SocketAddr, _: &[u8]) {}
//! # fn wait_until(_: Option<Instant>) -> Instant { Instant::default() }
//! let (mut now, mut rng) = (Instant::default(), Rng::new([7; 32]));
//! let mut dht = Dht::new(now, Config::default(), &mut rng);
//! dht.search(now, InfoHash([1; 20]), Some(6881));
//! loop {
//!     while let Some(action) = dht.poll_action() {
//!         if let Action::Datagram { to, bytes } = action {
//!             send(to, &bytes);
//!         }
//!     }
//!     now = wait_until(dht.poll_timeout());
//!     dht.handle_timeout(now, &mut rng);
//! }
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | `mod.rs` | the boundary, and what happens because time passes |
//! | `answers.rs` | queries of others, and our answers |
//! | `exchange.rs` | our queries, and the answers of others |
//! | `lookup.rs` | one iterative lookup |
//! | `table.rs` | the routing table |
//! | `store.rs` | peers that others announced, tokens, counts |
//! | `gate.rs` | rates |
//! | `id.rs` | ids that belong to an address |
//! | `saved.rs` | nodes that survive a restart |

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use self::exchange::{Owed, Pending};
use self::gate::Gate;
use self::lookup::{Lookup, Purpose};
use self::saved::{SAVED_MAX, Saved};
use self::store::{Store, Tokens, estimate};
use self::table::{K, Table};
use crate::base::ids::InfoHash;
use crate::base::rng::Rng;
use crate::base::time::{Instant, earliest};
use crate::wire::krpc::{Ask, Node, NodeId};

pub use self::action::{Action, Config, Router, Snapshot, Warning};

mod action;
mod answers;
mod exchange;
mod gate;
mod id;
mod lookup;
mod saved;
mod store;
mod table;

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

/// A node of the DHT.
pub struct Dht {
    config: Config,
    planes: [Plane; 2],
    gate: Gate,
    tokens: Tokens,
    store: Store,
    pending: BTreeMap<u32, Pending>,
    lookups: BTreeMap<u32, Lookup>,
    next_lookup: u32,
    searches: BTreeMap<InfoHash, Search>,
    scrapes: VecDeque<InfoHash>,
    /// Nodes to be pinged when there is time: from `port` messages and from answers.
    callers: VecDeque<SocketAddr>,
    calls: Option<Instant>,
    /// Announces that are to be sent as soon as we may.
    owed: VecDeque<Owed>,
    /// Addresses of routers, of which the names' come and go.
    routers: Vec<SocketAddr>,
    bootstrap: Option<Instant>,
    failures: u32,
    is_warned: bool,
    /// The next look at the tables.
    upkeep: Option<Instant>,
    /// When what we may send is used up.
    throttled: Option<Instant>,
    due: Option<Instant>,
    queries: (u64, u64),
    bytes: (u64, u64),
    actions: VecDeque<Action>,
}

impl Dht {
    /// A node that knows nobody but the routers of `config`; it begins at the first `handle_timeout`, which is
    /// due at once.
    pub fn new(now: Instant, mut config: Config, rng: &mut Rng) -> Self {
        config.routers.truncate(ROUTERS_MAX);
        let addresses = config.routers.iter().filter_map(|router| match router {
            Router::Address(address) => Some(canonical(*address)),
            Router::Name { .. } => None,
        });
        Self {
            routers: addresses.collect(),
            planes: [config.ipv4, config.ipv6].map(|is_on| Plane::new(is_on, rng)),
            config,
            gate: Gate::new(now),
            tokens: Tokens::new(now, rng),
            store: Store::default(),
            pending: BTreeMap::new(),
            lookups: BTreeMap::new(),
            next_lookup: 0,
            searches: BTreeMap::new(),
            scrapes: VecDeque::new(),
            callers: VecDeque::new(),
            calls: None,
            owed: VecDeque::new(),
            bootstrap: Some(now),
            failures: 0,
            is_warned: false,
            upkeep: None,
            throttled: None,
            due: Some(now),
            queries: (0, 0),
            bytes: (0, 0),
            actions: VecDeque::new(),
        }
    }

    /// Takes up where [`Dht::export`] left off; to be called before the first `handle_timeout`. Bytes that are
    /// not from there change nothing but for a warning.
    pub fn import(&mut self, bytes: &[u8]) {
        let Some(saved) = Saved::decode(bytes) else {
            self.actions.push_back(Action::Warning(Warning::SavedNodes));
            return;
        };
        for ((plane, id), nodes) in self.planes.iter_mut().zip(saved.ids).zip(saved.nodes) {
            plane.id = id;
            plane.table = Table::new(id);
            let nodes = nodes.into_iter();
            plane.known = nodes.filter(|node| id::is_usable(node.address)).collect();
        }
    }

    /// Searches for peers of a torrent, and announces us as one that takes connections at `announce_port`, if
    /// that is given; again about every 15 minutes until [`Dht::forget`]. Asked for again, it takes the new port
    /// and begins at once. At most 1000 torrents; more are not searched for.
    pub fn search(&mut self, now: Instant, info_hash: InfoHash, announce_port: Option<u16>) {
        if self.searches.len() >= SEARCHES_MAX && !self.searches.contains_key(&info_hash) {
            return;
        }
        let search = self.searches.entry(info_hash).or_insert(Search {
            port: None,
            is_seed: false,
            is_again: false,
            due: now,
            running: 0,
            answered: 0,
            shortfalls: 0,
        });
        search.port = announce_port.filter(|&port| port != 0);
        search.due = now;
        search.is_again = true;
        self.due = earliest(self.due, Some(now));
    }

    /// Says whether we have all of a torrent that is searched for: the next announce tells it (BEP 33).
    pub fn set_seed(&mut self, info_hash: InfoHash, is_seed: bool) {
        if let Some(search) = self.searches.get_mut(&info_hash) {
            search.is_seed = is_seed;
        }
    }

    /// Ends the search for a torrent.
    pub fn forget(&mut self, info_hash: InfoHash) {
        self.searches.remove(&info_hash);
        let is_other = |lookup: &Lookup| !matches!(lookup.purpose, Purpose::Peers(hash, _) if hash == info_hash);
        self.lookups.retain(|_, lookup| is_other(lookup));
    }

    /// Counts the peers of a torrent (BEP 33), once; [`Action::Scraped`] answers. At most 16 wait.
    pub fn scrape(&mut self, now: Instant, info_hash: InfoHash) {
        if self.scrapes.len() < SCRAPES_MAX && !self.scrapes.contains(&info_hash) {
            self.scrapes.push_back(info_hash);
            self.due = earliest(self.due, Some(now));
        }
    }

    /// A node may be there: from a `port` message (BEP 5) or a torrent's `nodes`. At most 32 wait to be pinged.
    pub fn add_node(&mut self, now: Instant, address: SocketAddr) {
        if self.call(canonical(address)) {
            self.calls = Some(now);
            self.due = earliest(self.due, Some(now));
        }
    }

    /// Takes a datagram. Whether it was meant for the DHT: then nobody else needs to see it.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: &[u8],
        rng: &mut Rng,
    ) -> bool {
        // No message of a UDP tracker, of uTP or of LSD begins so.
        if bytes.first() != Some(&b'd') {
            return false;
        }
        let from = canonical(from);
        if self.handle_message(now, from, bytes, rng) {
            self.settle(now, rng);
        }
        true
    }

    /// The answer to [`Action::Resolve`]: the addresses of a name, of which 8 are kept, or why there are none.
    pub fn handle_resolved(
        &mut self,
        now: Instant,
        name: &str,
        result: Result<&[IpAddr], &str>,
        rng: &mut Rng,
    ) {
        let ports = self
            .config
            .routers
            .iter()
            .filter_map(|router| match router {
                Router::Name { name: ours, port } if ours == name => Some(*port),
                Router::Name { .. } | Router::Address(_) => None,
            });
        let addresses = result.unwrap_or_default();
        let mut found = Vec::new();
        for port in ports {
            let addresses = addresses.iter().take(ADDRESSES_PER_NAME);
            found.extend(addresses.map(|ip| canonical((*ip, port).into())));
        }
        for address in found {
            let room = ROUTERS_MAX * ADDRESSES_PER_NAME;
            if !self.routers.contains(&address) && self.routers.len() < room {
                self.routers.push(address);
            }
        }
        self.begin_bootstrap(now, rng);
        self.settle(now, rng);
    }

    /// Judges silence, looks after the tables, begins what is due.
    pub fn handle_timeout(&mut self, now: Instant, rng: &mut Rng) {
        self.expire(now);
        if self.upkeep.is_some_and(|at| at <= now) {
            self.keep_up(now, rng);
        }
        if self.bootstrap.is_some_and(|at| at <= now) {
            self.resolve_routers();
            self.begin_bootstrap(now, rng);
            let wait = backoff(BOOTSTRAP_MIN, self.failures);
            self.failures = self.failures.saturating_add(1);
            self.bootstrap = Some(now + wait);
        }
        if self.calls.is_some_and(|at| at <= now) {
            self.calls = None;
            let count = self.callers.len().min(CALLS_AT_ONCE);
            for address in self.callers.drain(..count).collect::<Vec<_>>() {
                self.check(now, address, None, Ask::Ping, rng);
            }
        }
        self.settle(now, rng);
    }

    /// What is to be done next; drained after every call.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Dht::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// What [`Dht::import`] needs to begin without routers: our ids and at most 200 nodes of a family, 13 KB.
    pub fn export(&self, now: Instant) -> Vec<u8> {
        let nodes = self.planes.each_ref().map(|plane| {
            let good: Vec<_> = plane.table.good(now).take(SAVED_MAX).collect();
            // One that was never online should not forget what it began with.
            if good.is_empty() {
                plane.known.clone()
            } else {
                good
            }
        });
        let ids = self.planes.each_ref().map(|plane| plane.id);
        Saved { ids, nodes }.encode()
    }

    /// How things stand.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let planes = self.planes.each_ref();
        Snapshot {
            ids: planes.map(|plane| plane.id),
            external: planes.map(|plane| plane.external),
            nodes: planes.map(|plane| plane.table.len()),
            good: planes.map(|plane| plane.table.good(now).count()),
            in_flight: self.pending.len(),
            lookups: self.lookups.len(),
            searches: self.searches.len(),
            stored: self.store.len(),
            queries: self.queries,
            blocked: self.gate.blocked(now),
            bytes: self.bytes,
        }
    }

    /// Begins and ends what can be, and finds the next deadline. Ends: each round begins a search whose time has
    /// come, and its next time lies in the future.
    fn settle(&mut self, now: Instant, rng: &mut Rng) {
        self.throttled = None;
        // A lookup that ended makes room for another.
        loop {
            let began = self.begin_searches(now, rng);
            for id in self.lookups.keys().copied().collect::<Vec<_>>() {
                self.drive(now, id, rng);
            }
            if !began {
                break;
            }
        }
        self.send_owed(now, rng);
        self.reschedule(now);
    }

    fn reschedule(&mut self, now: Instant) {
        let is_empty = self.planes.iter().all(|plane| plane.table.is_empty());
        if is_empty {
            self.upkeep = None;
        } else if self.upkeep.is_none() {
            self.upkeep = Some(now + UPKEEP);
        }
        let mut due = earliest(self.upkeep, earliest(self.bootstrap, self.throttled));
        let waits = self
            .pending
            .values()
            .map(|pending| coarse(pending.deadline()));
        due = earliest(due, waits.min());
        if self.callers.is_empty() {
            self.calls = None;
        } else if self.calls.is_none() {
            self.calls = Some(coarse(now + CALLS_EVERY));
        }
        due = earliest(due, self.calls);
        if !is_empty && self.has_room() {
            let searches = self.searches.values().filter(|search| search.running == 0);
            due = earliest(due, searches.map(|search| coarse(search.due)).min());
        }
        self.due = due;
    }

    fn begin_searches(&mut self, now: Instant, rng: &mut Rng) -> bool {
        let mut began = false;
        while self.has_room() && self.planes.iter().any(|plane| !plane.table.is_empty()) {
            if let Some(info_hash) = self.scrapes.pop_front() {
                self.begin_everywhere(NodeId(info_hash.0), Purpose::Scrape(info_hash));
                began = true;
                continue;
            }
            let ready = self.searches.iter_mut();
            let mut ready = ready.filter(|(_, search)| search.running == 0 && search.due <= now);
            let Some((&info_hash, search)) = ready.next() else {
                break;
            };
            search.answered = 0;
            search.is_again = false;
            let purpose = Purpose::Peers(info_hash, search.port);
            let running = self.begin_everywhere(NodeId(info_hash.0), purpose);
            if let Some(search) = self.searches.get_mut(&info_hash) {
                search.running = running;
            }
            // We may be the one who knows.
            let peers = [false, true].map(|v6| self.store.peers(now, info_hash, v6, rng));
            let peers = peers.concat();
            if !peers.is_empty() {
                self.actions.push_back(Action::Peers { info_hash, peers });
            }
            began = true;
        }
        began
    }

    /// Begins a lookup in each family that has nodes; says how many there are.
    fn begin_everywhere(&mut self, target: NodeId, purpose: Purpose) -> usize {
        let has_nodes = |plane: &usize| !self.planes[*plane].table.is_empty();
        let planes: Vec<_> = (0..2).filter(has_nodes).collect();
        for &plane in &planes {
            self.begin(plane, target, purpose);
        }
        planes.len()
    }

    fn begin(&mut self, plane: usize, target: NodeId, purpose: Purpose) {
        let mut lookup = Lookup::new(target, plane, purpose);
        for node in self.planes[plane].table.closest(target, SEEDS) {
            lookup.add(node);
        }
        self.lookups.insert(self.next_lookup, lookup);
        self.next_lookup = self.next_lookup.wrapping_add(1);
    }

    fn has_room(&self) -> bool {
        let is_search = |lookup: &&Lookup| match lookup.purpose {
            Purpose::Peers(..) | Purpose::Scrape(_) => true,
            Purpose::Bootstrap | Purpose::Refresh => false,
        };
        self.lookups.values().filter(is_search).count() < SEARCHES_AT_ONCE
    }

    /// Looks for our own neighbours wherever nodes are short.
    fn begin_bootstrap(&mut self, now: Instant, rng: &mut Rng) {
        for at in 0..2 {
            let running = self
                .lookups
                .iter()
                .find(|(_, lookup)| lookup.plane == at && lookup.purpose == Purpose::Bootstrap);
            let running = running.map(|(&id, _)| id);
            let plane = &mut self.planes[at];
            if !plane.is_on || plane.table.len() >= K {
                continue;
            }
            let id = running.unwrap_or_else(|| {
                self.begin(at, self.planes[at].id, Purpose::Bootstrap);
                self.next_lookup.wrapping_sub(1)
            });
            let Some(lookup) = self.lookups.get_mut(&id) else {
                continue;
            };
            let plane = &mut self.planes[at];
            rng.shuffle(&mut plane.known);
            plane
                .known
                .iter()
                .take(SEEDS)
                .for_each(|&node| lookup.add(node));
            for &router in self
                .routers
                .iter()
                .filter(|router| plane_of(**router) == at)
            {
                lookup.add_router(router);
            }
            self.drive(now, id, rng);
        }
    }

    fn resolve_routers(&mut self) {
        for router in &self.config.routers {
            if let Router::Name { name, .. } = router {
                let name = name.clone();
                let action = Action::Resolve { name };
                if !self.actions.contains(&action) {
                    self.actions.push_back(action);
                }
            }
        }
    }

    /// Asks a few nodes that were quiet whether they are alive, and fills a bucket.
    fn keep_up(&mut self, now: Instant, rng: &mut Rng) {
        self.upkeep = Some(now + UPKEEP);
        self.store.prune(now);
        for at in 0..2 {
            for _ in 0..CALLS_AT_ONCE {
                let quiet = self.planes[at].table.poll_questionable(now, rng);
                let Some((node, target)) = quiet else {
                    break;
                };
                let ask = Ask::FindNode { target };
                self.check(now, node.address, Some(node.id), ask, rng);
            }
            let is_busy =
                |lookup: &Lookup| lookup.plane == at && lookup.purpose == Purpose::Refresh;
            if !self.lookups.values().any(is_busy)
                && let Some(target) = self.planes[at].table.poll_stale(now, rng)
            {
                self.begin(at, target, Purpose::Refresh);
            }
        }
        let is_short = |plane: &Plane| plane.is_on && plane.table.len() < K;
        if self.bootstrap.is_none() && self.planes.iter().any(is_short) {
            self.bootstrap = Some(now + backoff(BOOTSTRAP_MIN, self.failures));
        }
    }

    /// Sends what a lookup may send now, and ends it if it is done.
    fn drive(&mut self, now: Instant, id: u32, rng: &mut Rng) {
        // Ends: each round asks a candidate, of which there are a limited number.
        while let Some(lookup) = self.lookups.get_mut(&id) {
            if lookup.is_done() {
                self.finish(now, id, rng);
                return;
            }
            if !self.gate.affords_query(now) || self.pending.len() >= PENDING_MAX {
                self.throttled = Some(coarse(now + THROTTLE));
                return;
            }
            let Some((to, node)) = lookup.poll_query() else {
                return;
            };
            let ask = match lookup.purpose {
                Purpose::Bootstrap | Purpose::Refresh => Ask::FindNode {
                    target: lookup.target,
                },
                Purpose::Peers(info_hash, _) => Ask::GetPeers {
                    info_hash,
                    scrape: false,
                },
                Purpose::Scrape(info_hash) => Ask::GetPeers {
                    info_hash,
                    scrape: true,
                },
            };
            if !self.ask_for_lookup(now, id, to, node, ask, rng) {
                self.throttled = Some(coarse(now + THROTTLE));
                return;
            }
        }
    }

    fn finish(&mut self, now: Instant, id: u32, rng: &mut Rng) {
        let Some(lookup) = self.lookups.remove(&id) else {
            return;
        };
        match lookup.purpose {
            Purpose::Refresh => {}
            Purpose::Bootstrap => self.finish_bootstrap(),
            Purpose::Scrape(info_hash) => {
                let counts = lookup.counts().unwrap_or(&[[0; 256]; 2]);
                let [seeds, leechers] = counts.each_ref().map(|set| estimate(set).round() as u32);
                self.actions.push_back(Action::Scraped {
                    info_hash,
                    seeds,
                    leechers,
                });
            }
            Purpose::Peers(info_hash, port) => {
                let Some(search) = self.searches.get_mut(&info_hash) else {
                    return;
                };
                search.running = search.running.saturating_sub(1);
                search.answered += lookup.answered();
                let (is_last, is_seed) = (search.running == 0, search.is_seed);
                if is_last && !search.is_again {
                    search.due = now + search.pause(rng);
                }
                if let Some(port) = port {
                    self.owe_announces(&lookup, info_hash, port, is_seed);
                }
                if is_last {
                    self.actions.push_back(Action::LookupDone { info_hash });
                }
            }
        }
    }

    fn finish_bootstrap(&mut self) {
        let mut planes = self.planes.iter().filter(|plane| plane.is_on);
        if planes.all(|plane| plane.table.len() >= K) {
            self.bootstrap = None;
            self.failures = 0;
        }
        let is_alone = self.planes.iter().all(|plane| plane.table.is_empty());
        // The first attempt may have had nobody to ask yet.
        if is_alone && !self.is_warned && self.failures >= 2 {
            self.actions.push_back(Action::Warning(Warning::NoNodes));
            self.is_warned = true;
        }
        self.is_warned &= is_alone;
    }

    fn call(&mut self, address: SocketAddr) -> bool {
        let is_new = id::is_usable(address)
            && self.planes[plane_of(address)].is_on
            && self.callers.len() < CALLERS_MAX
            && !self.callers.contains(&address);
        if is_new {
            self.callers.push_back(address);
        }
        is_new
    }
}

/// What there is once for each family (BEP 32).
struct Plane {
    is_on: bool,
    id: NodeId,
    table: Table,
    /// Nodes that were there once: saved ones, and those that lost their place.
    known: Vec<Node>,
    external: Option<IpAddr>,
    /// Which network told us which address we have, the latest last.
    votes: VecDeque<(u64, IpAddr)>,
}

impl Plane {
    fn new(is_on: bool, rng: &mut Rng) -> Self {
        let id = NodeId(rng.bytes());
        Self {
            is_on,
            id,
            table: Table::new(id),
            known: Vec::new(),
            external: None,
            votes: VecDeque::new(),
        }
    }
}

/// A torrent whose peers are wanted.
struct Search {
    port: Option<u16>,
    is_seed: bool,
    /// Whether it was asked for again while it ran.
    is_again: bool,
    due: Instant,
    /// Lookups under way for it.
    running: usize,
    /// Nodes that answered in this round.
    answered: usize,
    /// Rounds in a row in which too few answered.
    shortfalls: u32,
}

impl Search {
    /// How long to wait for the next round: 15 minutes, give or take one; less if hardly anybody answered.
    fn pause(&mut self, rng: &mut Rng) -> Duration {
        if self.answered < K {
            self.shortfalls = self.shortfalls.saturating_add(1);
            return backoff(RETRY_MIN, self.shortfalls - 1);
        }
        self.shortfalls = 0;
        REPEAT - Duration::from_secs(60) + Duration::from_millis(rng.below(120_000) as u64)
    }
}

/// `first`, doubled with each failure up to 15 minutes.
fn backoff(first: Duration, failures: u32) -> Duration {
    first.saturating_mul(1 << failures.min(16)).min(REPEAT)
}

/// The next half second: deadlines that lie close together wake us once.
fn coarse(at: Instant) -> Instant {
    let micros = at.as_micros().div_ceil(GRAIN).saturating_mul(GRAIN);
    Instant::from_micros(micros)
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn plane_of(address: SocketAddr) -> usize {
    usize::from(address.is_ipv6())
}

/// Microseconds to which deadlines are rounded up.
const GRAIN: u64 = 500_000;
/// Torrents searched for.
const SEARCHES_MAX: usize = 1000;
/// Of those, how many at once.
const SEARCHES_AT_ONCE: usize = 4;
const SCRAPES_MAX: usize = 16;
/// How often a search begins again: an announce is good for half an hour.
const REPEAT: Duration = Duration::from_secs(15 * 60);
/// How soon a search begins again if hardly anybody answered; doubles.
const RETRY_MIN: Duration = Duration::from_secs(60);
/// How soon a bootstrap begins again; doubles.
const BOOTSTRAP_MIN: Duration = Duration::from_secs(5);
/// How often the tables are looked at.
const UPKEEP: Duration = Duration::from_secs(10);
/// Nodes a lookup begins with.
const SEEDS: usize = 32;
/// Nodes that wait to be pinged, how many are at once, and how often.
const CALLERS_MAX: usize = 32;
const CALLS_AT_ONCE: usize = 4;
const CALLS_EVERY: Duration = Duration::from_secs(1);
/// Queries of ours that wait for an answer.
const PENDING_MAX: usize = 256;
/// How long a lookup waits when what we may send is used up.
const THROTTLE: Duration = Duration::from_millis(500);
const ROUTERS_MAX: usize = 16;
const ADDRESSES_PER_NAME: usize = 8;
