//! Lookups under way: which begin, whom they ask next, and what comes of them.

use std::time::Duration;

use super::lookup::{Lookup, Purpose};
use super::store::estimate;
use super::table::K;
use super::{Action, Dht, PENDING_MAX, REPEAT, SEEDS, THROTTLE, backoff, coarse};
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::wire::krpc::{Ask, NodeId};

impl Dht {
    pub(super) fn begin_searches(&mut self, now: Instant, rng: &mut Rng) -> bool {
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

    pub(super) fn begin(&mut self, plane: usize, target: NodeId, purpose: Purpose) {
        let mut lookup = Lookup::new(target, plane, purpose);
        for node in self.planes[plane].table.closest(target, SEEDS) {
            lookup.add(node);
        }
        self.lookups.insert(self.next_lookup, lookup);
        self.next_lookup = self.next_lookup.wrapping_add(1);
    }

    pub(super) fn has_room(&self) -> bool {
        let is_search = |lookup: &&Lookup| match lookup.purpose {
            Purpose::Peers(..) | Purpose::Scrape(_) => true,
            Purpose::Bootstrap | Purpose::Refresh => false,
        };
        self.lookups.values().filter(is_search).count() < SEARCHES_AT_ONCE
    }

    /// Sends what a lookup may send now, and ends it if it is done.
    pub(super) fn drive(&mut self, now: Instant, id: u32, rng: &mut Rng) {
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
                    search.ended = now;
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
}

/// A torrent whose peers are wanted.
pub(super) struct Search {
    pub(super) port: Option<u16>,
    pub(super) is_seed: bool,
    /// Whether it was asked for again while it ran.
    pub(super) is_again: bool,
    /// Whether peers are short.
    pub(super) is_short: bool,
    pub(super) due: Instant,
    /// When the last round ended; before that, when the search was asked for.
    pub(super) ended: Instant,
    /// Lookups under way for it.
    pub(super) running: usize,
    /// Nodes that answered in this round.
    pub(super) answered: usize,
    /// Rounds in a row in which too few answered, or after which peers were short.
    pub(super) shortfalls: u32,
}

impl Search {
    /// Peers are short from now on. Whether the next round may begin sooner for it.
    pub(super) fn want_peers(&mut self) -> bool {
        if self.is_short {
            return false;
        }
        self.is_short = true;
        self.shortfalls = 0;
        self.due = self.due.min(self.ended + RETRY_MIN);
        true
    }

    /// There are peers enough from now on: the next round has time, if it was to be sooner only for them.
    pub(super) fn have_peers(&mut self) {
        let was_short = std::mem::replace(&mut self.is_short, false);
        if was_short && self.answered >= K && !self.is_again {
            self.shortfalls = 0;
            self.due = self.due.max(self.ended + REPEAT);
        }
    }

    /// How long to wait for the next round: 15 minutes, give or take one; less if hardly anybody answered, or if
    /// peers are short.
    pub(super) fn pause(&mut self, rng: &mut Rng) -> Duration {
        if self.answered < K || self.is_short {
            self.shortfalls = self.shortfalls.saturating_add(1);
            return backoff(RETRY_MIN, self.shortfalls - 1);
        }
        self.shortfalls = 0;
        REPEAT - Duration::from_secs(60) + Duration::from_millis(rng.below(120_000) as u64)
    }
}

/// Searches that run at once.
pub(super) const SEARCHES_AT_ONCE: usize = 4;
/// How soon a search begins again if hardly anybody answered, or if peers are short; doubles.
const RETRY_MIN: Duration = Duration::from_secs(60);
