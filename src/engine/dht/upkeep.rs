//! Keeping the tables full: the bootstrap, questionable nodes, stale buckets.

use super::lookup::{Lookup, Purpose};
use super::table::K;
use super::{
    Action, BOOTSTRAP_MIN, CALLS_AT_ONCE, Dht, Plane, Router, SEEDS, UPKEEP, Warning, backoff,
    plane_of,
};
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::wire::krpc::Ask;

impl Dht {
    /// Looks for our own neighbours wherever nodes are short.
    pub(super) fn begin_bootstrap(&mut self, now: Instant, rng: &mut Rng) {
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

    pub(super) fn resolve_routers(&mut self) {
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
    pub(super) fn keep_up(&mut self, now: Instant, rng: &mut Rng) {
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

    pub(super) fn finish_bootstrap(&mut self) {
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
}
