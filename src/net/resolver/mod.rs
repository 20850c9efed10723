//! A stub DNS resolver as a machine (RFC 1035, 2181, 2308): no socket, no file, no clock of its own.
//!
//! ```text
//! resolve --literal, hosts file, cache--------------------------------> poll_resolved
//!    \--queue--> lookup: A and AAAA at once --answers, or 10 s--------> poll_resolved
//!                  each: UDP --silence 1.5 s, failure--> next server
//!                         \--truncated--> TCP, same server
//! ```
//!
//! Each question has a socket of its own, so that its port is as hard to guess as its id. The shell opens a socket
//! when an [`Action`] first names it and forgets it at [`Action::Close`].
//!
//! ```
//! use minitorrent::base::{rng::Rng, time::Instant};
//! use minitorrent::net::resolver::{Action, Resolver, ResolverConfig};
//!
//! let mut resolver = Resolver::new(ResolverConfig::from_text("nameserver 192.0.2.1", ""));
//! let (now, mut rng) = (Instant::default(), Rng::new([0; 32]));
//! resolver.resolve(now, "tracker.example", &mut rng);
//! while let Some(action) = resolver.poll_action() {
//!     if let Action::Datagram { to, .. } = action {
//!         assert_eq!(to, "192.0.2.1:53".parse().expect("a literal"));
//!     }
//! }
//! while let Some((name, result)) = resolver.poll_resolved() {
//!     println!("{name}: {result:?}");
//! }
//! assert_eq!(resolver.poll_timeout(), Some(Instant::from_micros(1_500_000)));
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use self::config::{Families, ResolverConfig};

use self::cache::Cache;
use self::lookup::{Lookup, Owner, Verdict};
use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::slots::{Key, Slots};
use crate::base::time::{Instant, earliest};

mod cache;
mod config;
mod lookup;
mod message;
mod question;

#[cfg(test)]
mod tests;

/// Finds the addresses of names.
///
/// After each call of `resolve`, `reconfigure` and `handle_*`, drain [`Resolver::poll_action`] and
/// [`Resolver::poll_resolved`]; [`Resolver::handle_timeout`] is due at [`Resolver::poll_timeout`].
pub struct Resolver {
    config: ResolverConfig,
    /// Whether `config` is more than a guess: names wait until it is.
    is_configured: bool,
    /// Lookups that have asked somebody.
    lookups: Slots<Lookup>,
    /// Names that have to wait for their lookup, and until when they may.
    waiting: VecDeque<(String, Instant)>,
    net: Net,
    cache: Cache,
    resolved: VecDeque<(String, Result<Vec<IpAddr>, DnsError>)>,
    /// When the system's configuration was last asked for.
    config_asked: Option<Instant>,
}

impl Resolver {
    /// A resolver that knows nothing but its configuration.
    pub fn new(config: ResolverConfig) -> Self {
        Self {
            is_configured: true,
            ..Self::unconfigured(config)
        }
    }

    /// A resolver that asks nobody before the answer to its first [`Action::ReadConfig`]; `config` says what is known
    /// until then.
    pub fn unconfigured(config: ResolverConfig) -> Self {
        Self {
            config,
            is_configured: false,
            lookups: Slots::default(),
            waiting: VecDeque::new(),
            net: Net::default(),
            cache: Cache::default(),
            resolved: VecDeque::new(),
            config_asked: None,
        }
    }

    /// Looks up `name`: a host name or an IP address, in brackets or not. The result comes from
    /// [`Resolver::poll_resolved`] under the same name in lower case, at once if it is known, within
    /// [`limits::DNS_DEADLINE`] otherwise. Equal names share one lookup and one result.
    pub fn resolve(&mut self, now: Instant, name: &str, rng: &mut Rng) {
        let name = name.to_ascii_lowercase();
        if let Some(result) = self.at_once(now, &name) {
            self.resolved.push_back((name, result));
            return;
        }
        if self.is_under_way(&name) {
            return;
        }
        if self.waiting.len() >= limits::DNS_QUEUE_MAX {
            self.resolved.push_back((name, Err(DnsError::Busy)));
            return;
        }
        // Name servers come and go with networks; whoever starts before the network does finds none at first.
        let is_due = |asked: Instant| now.since(asked) >= limits::DNS_CONFIG_EVERY;
        if self.config_asked.is_none_or(is_due) {
            self.config_asked = Some(now);
            self.net.actions.push_back(Action::ReadConfig);
        }
        let deadline = now + limits::DNS_DEADLINE;
        self.waiting.push_back((name, deadline));
        self.start(now, rng);
    }

    /// The system's configuration, read anew. If it is another, the cache is forgotten and lookups begin again with
    /// the new servers in the time they have left.
    pub fn reconfigure(&mut self, now: Instant, config: ResolverConfig, rng: &mut Rng) {
        let was_configured = std::mem::replace(&mut self.is_configured, true);
        if was_configured && config == self.config {
            return;
        }
        self.config = config;
        self.cache.clear();
        self.net.avoided = None;
        let running: Vec<_> = self.lookups.iter().map(|(key, _)| key).collect();
        for key in running.into_iter().rev() {
            if let Some(mut lookup) = self.lookups.remove(key) {
                lookup.abandon(&mut self.net);
                self.waiting.push_front((lookup.name, lookup.deadline));
            }
        }
        for (name, deadline) in std::mem::take(&mut self.waiting) {
            match self.at_once(now, &name) {
                Some(result) => self.resolved.push_back((name, result)),
                None => self.waiting.push_back((name, deadline)),
            }
        }
        self.start(now, rng);
    }

    /// Forgets all names that are being looked up; their sockets are closed.
    pub fn abandon(&mut self) {
        for (_, lookup) in self.lookups.iter_mut() {
            lookup.abandon(&mut self.net);
        }
        self.lookups = Slots::default();
        self.waiting.clear();
        self.resolved.clear();
    }

    /// Something happened on a socket. What is said of a closed one is ignored.
    pub fn handle_socket(
        &mut self,
        now: Instant,
        socket: SocketId,
        event: SocketEvent<'_>,
        rng: &mut Rng,
    ) {
        let Some(&owner) = self.net.sockets.get(socket) else {
            return;
        };
        let Some(lookup) = self.lookups.get_mut(owner.lookup) else {
            return;
        };
        lookup.handle_socket(now, owner, event, &self.config, &mut self.net, rng);
        self.settle(now, owner.lookup, rng);
        self.start(now, rng);
    }

    /// The time of [`Resolver::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant, rng: &mut Rng) {
        let running: Vec<_> = self.lookups.iter().map(|(key, _)| key).collect();
        for key in running {
            if let Some(lookup) = self.lookups.get_mut(key) {
                lookup.handle_timeout(now, key, &self.config, &mut self.net, rng);
                self.settle(now, key, rng);
            }
        }
        let resolved = &mut self.resolved;
        self.waiting.retain(|(name, deadline)| {
            let is_over = *deadline <= now;
            if is_over {
                resolved.push_back((name.clone(), Err(DnsError::TimedOut)));
            }
            !is_over
        });
        self.start(now, rng);
    }

    /// What is to be done on sockets, in order.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.net.actions.pop_front()
    }

    /// A name in lower case, and its addresses (at least one, at most [`limits::DNS_ADDRESSES_MAX`], the families
    /// in turns) or why there are none.
    pub fn poll_resolved(&mut self) -> Option<(String, Result<Vec<IpAddr>, DnsError>)> {
        self.resolved.pop_front()
    }

    /// When [`Resolver::handle_timeout`] is due; nothing while no name is looked up.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let mut due = self.waiting.iter().map(|(_, deadline)| *deadline).min();
        for (_, lookup) in self.lookups.iter() {
            due = earliest(due, lookup.poll_timeout());
            // One that has turned slow lets the next one start.
            if !self.waiting.is_empty() && lookup.is_fresh {
                due = earliest(due, Some(lookup.began + limits::DNS_TIMEOUT));
            }
        }
        due
    }

    fn is_under_way(&self, name: &str) -> bool {
        let mut running = self.lookups.iter();
        running.any(|(_, lookup)| lookup.name == name)
            || self.waiting.iter().any(|(waiting, _)| waiting == name)
    }

    /// What can be said of a name without asking anybody.
    fn at_once(&self, now: Instant, name: &str) -> Option<Result<Vec<IpAddr>, DnsError>> {
        let literal = name
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = literal.unwrap_or(name).parse::<IpAddr>() {
            return Some(Ok(vec![address.to_canonical()]));
        }
        let whole = name.strip_suffix('.').unwrap_or(name);
        if !is_valid(whole) {
            return Some(Err(DnsError::BadName));
        }
        let known = self.config.known(whole);
        known.or_else(|| self.cache.get(now, name).cloned())
    }

    /// Begins lookups of waiting names while there is room. A lookup that has had no answer for a while makes room
    /// for others: names that never resolve delay nobody by more than that.
    fn start(&mut self, now: Instant, rng: &mut Rng) {
        if !self.is_configured {
            return;
        }
        let mut fresh = 0;
        for (_, lookup) in self.lookups.iter_mut() {
            lookup.is_fresh &= now < lookup.began + limits::DNS_TIMEOUT;
            fresh += usize::from(lookup.is_fresh);
        }
        while fresh < limits::DNS_LOOKUPS_FRESH && self.lookups.len() < limits::DNS_LOOKUPS_MAX {
            let Some((name, deadline)) = self.waiting.pop_front() else {
                return;
            };
            let candidates = self.config.candidates(&name);
            let lookup = Lookup::new(now, name, deadline, candidates);
            let key = self.lookups.insert(lookup);
            fresh += 1;
            if let Some(lookup) = self.lookups.get_mut(key) {
                lookup.ask_all(now, key, &self.config, &mut self.net, rng);
            }
            self.settle(now, key, rng);
        }
    }

    /// Carries out what a lookup's answers come to.
    fn settle(&mut self, now: Instant, key: Key<Lookup>, rng: &mut Rng) {
        let Some(lookup) = self.lookups.get_mut(key) else {
            return;
        };
        let Verdict::Over(result, ttl) = lookup.settle(now, key, &self.config, &mut self.net, rng)
        else {
            return;
        };
        if let Some(lookup) = self.lookups.remove(key) {
            let name = lookup.name;
            self.cache.insert(now, name.clone(), result.clone(), ttl);
            self.resolved.push_back((name, result));
        }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (running, waiting) = (self.lookups.len(), self.waiting.len());
        write!(f, "Resolver({running} lookups, {waiting} waiting)")
    }
}

/// Tags the keys of a resolver's sockets.
pub enum SocketTag {}
/// A socket of a resolver, UDP or TCP. Its bits serve as a token.
pub type SocketId = Key<SocketTag>;

/// What the resolver asks of the shell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Send a datagram from a UDP socket that is opened now: any free port, connected to `to` if that can be, so
    /// that "port unreachable" is heard. If it can't be opened or sent on, say [`SocketEvent::Failed`].
    Datagram {
        /// The socket's name from now on.
        socket: SocketId,
        /// The name server.
        to: SocketAddr,
        /// The question.
        bytes: Vec<u8>,
    },
    /// Open a TCP connection; answered by [`SocketEvent::Connected`] or [`SocketEvent::Failed`].
    Connect {
        /// The connection's name from now on.
        socket: SocketId,
        /// The name server.
        to: SocketAddr,
    },
    /// Send these bytes, at most 300, on a connection that stands: a fresh socket takes them at once.
    Send {
        /// Which.
        socket: SocketId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Close the socket and forget its name. Comes for every socket, also for one that failed.
    Close {
        /// Which.
        socket: SocketId,
    },
    /// Read the texts of `resolv.conf` and the hosts file and call [`Resolver::reconfigure`]; not more often than
    /// every [`limits::DNS_CONFIG_EVERY`], and only when a name has to be asked for.
    ReadConfig,
}

/// What happened on a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SocketEvent<'a> {
    /// A datagram came.
    Datagram {
        /// Its sender.
        from: SocketAddr,
        /// Its payload; of longer ones, at least the first 4 KiB.
        bytes: &'a [u8],
    },
    /// The TCP connection stands.
    Connected,
    /// Bytes came on the TCP connection.
    Received(&'a [u8]),
    /// The socket can't be opened, was refused, reset, or ended by the server.
    Failed,
}

/// Why a name has no addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DnsError {
    /// There is no such name, or it has no address.
    NotFound,
    /// The name servers can't or won't answer, or what they say makes no sense.
    ServerFailure,
    /// No name server answered in time.
    TimedOut,
    /// No name server can be reached.
    Unreachable,
    /// That can't be the name of a host.
    BadName,
    /// Too many names are waiting already.
    Busy,
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "no such name, or it has no address",
            Self::ServerFailure => "the name server failed",
            Self::TimedOut => "no name server answered in time",
            Self::Unreachable => "no name server can be reached",
            Self::BadName => "not a valid host name",
            Self::Busy => "too many names are being looked up",
        })
    }
}

/// What lookups share: sockets, what is to be done on them, and which server worked last.
#[derive(Default)]
struct Net {
    sockets: Slots<Owner, SocketTag>,
    actions: VecDeque<Action>,
    /// The server to ask first, and since when it is not the first of the configuration: one that is silent costs
    /// its time-out once, not once a name.
    avoided: Option<(usize, Instant)>,
}

impl Net {
    /// The place of the server to ask first.
    fn first(&self, now: Instant) -> usize {
        match self.avoided {
            Some((next, since)) if now.since(since) < limits::DNS_AVOID => next,
            Some(_) | None => 0,
        }
    }

    /// A server was silent: the next of `servers` is asked first for a while.
    fn avoid(&mut self, now: Instant, silent: usize, servers: usize) {
        if self.first(now) == silent {
            self.avoided = Some(((silent + 1) % servers.max(1), now));
        }
    }

    fn close(&mut self, socket: SocketId) {
        if self.sockets.remove(socket).is_some() {
            self.actions.push_back(Action::Close { socket });
        }
    }
}

/// Whether `name`, without a dot at its end, can be a host's: letters, digits, `-` and `_` in labels of 1 to 63.
fn is_valid(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=limits::DNS_LABEL_MAX).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.len() <= limits::DNS_NAME_MAX && name.split('.').all(is_label)
}

/// A server's time to live between the two bounds.
fn clamp(seconds: u32, max: Duration) -> Duration {
    Duration::from_secs(seconds.into()).clamp(limits::DNS_TTL_MIN, max)
}
