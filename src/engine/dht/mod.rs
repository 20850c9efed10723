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
//!         if let Action::Datagram { to, bytes, .. } = action {
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
//! | `mod.rs` | the boundary, and the deadlines |
//! | `searches.rs` | lookups under way |
//! | `upkeep.rs` | keeping the tables full |
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
use self::searches::Search;
use self::store::{Store, Tokens};
use self::table::{K, Table};
use crate::base::ids::InfoHash;
use crate::base::limits;
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
mod searches;
mod store;
mod table;
mod upkeep;

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
        config.routers.truncate(limits::DHT_ROUTERS_MAX);
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
    /// not from there change nothing but for a warning. With `keeps_ids` it is the same node as then: no other
    /// may be in the DHT under those ids.
    pub fn import(&mut self, bytes: &[u8], keeps_ids: bool) {
        let Some(saved) = Saved::decode(bytes) else {
            self.actions.push_back(Action::Warning(Warning::SavedNodes));
            return;
        };
        for ((plane, id), nodes) in self.planes.iter_mut().zip(saved.ids).zip(saved.nodes) {
            if keeps_ids {
                plane.id = id;
                plane.table = Table::new(id);
            }
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
            is_short: false,
            due: now,
            ended: now,
            running: 0,
            answered: 0,
            shortfalls: 0,
        });
        search.port = announce_port.filter(|&port| port != 0);
        search.due = now;
        search.is_again = true;
        self.due = earliest(self.due, Some(now));
    }

    /// Peers of a torrent are short: until [`Dht::have_peers`] a search begins again after a minute, then after two, four
    /// and so on up to 15. May be called often.
    pub fn want_peers(&mut self, info_hash: InfoHash) {
        if let Some(search) = self.searches.get_mut(&info_hash)
            && search.want_peers()
        {
            self.due = earliest(self.due, Some(coarse(search.due)));
        }
    }

    /// There are peers enough of a torrent, for now.
    pub fn have_peers(&mut self, info_hash: InfoHash) {
        if let Some(search) = self.searches.get_mut(&info_hash) {
            search.have_peers();
        }
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

    /// Where one may begin is known of, too: a torrent names it. One more than the 16 that are used is not.
    pub fn add_router(&mut self, now: Instant, router: Router) {
        if self.config.routers.len() >= limits::DHT_ROUTERS_MAX
            || self.config.routers.contains(&router)
        {
            return;
        }
        match &router {
            Router::Address(address) => self.routers.push(canonical(*address)),
            // It is looked up with all others, in the round of the bootstrap that begins now.
            Router::Name { .. } => {}
        }
        self.config.routers.push(router);
        if self
            .planes
            .iter()
            .any(|plane| plane.is_on && plane.table.len() < K)
        {
            self.bootstrap = Some(now);
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

    /// The answer to [`Action::Resolve`]: the addresses of a name, of which 8 are kept, or none.
    /// Names that were not asked for change nothing.
    pub fn handle_resolved(
        &mut self,
        now: Instant,
        name: &str,
        addresses: &[IpAddr],
        rng: &mut Rng,
    ) {
        let ports = self
            .config
            .routers
            .iter()
            .filter_map(|router| match router {
                Router::Name { name: ours, port } if ours.eq_ignore_ascii_case(name) => Some(*port),
                Router::Name { .. } | Router::Address(_) => None,
            });
        let ports: Vec<u16> = ports.collect();
        if ports.is_empty() {
            return;
        }
        let mut found = Vec::new();
        for port in ports {
            let addresses = addresses.iter().take(ADDRESSES_PER_NAME);
            found.extend(addresses.map(|ip| canonical((*ip, port).into())));
        }
        for address in found {
            let room = limits::DHT_ROUTERS_MAX * ADDRESSES_PER_NAME;
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

    /// Our addresses over IPv4 and IPv6 as most others see them (BEP 42).
    pub fn external(&self) -> [Option<IpAddr>; 2] {
        self.planes.each_ref().map(|plane| plane.external)
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
const SCRAPES_MAX: usize = 16;
/// How often a search begins again: an announce is good for half an hour.
const REPEAT: Duration = Duration::from_secs(15 * 60);
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
const ADDRESSES_PER_NAME: usize = 8;
