//! Names of trackers: one resolver for all torrents, its wishes to the world and its answers to the announcers.

use super::Session;
use crate::base::time::Instant;
use crate::engine::io::{Output, TorrentId};
use crate::net::resolver::{ResolverConfig, SocketEvent, SocketId};

impl Session {
    /// Something happened on one of the resolver's sockets.
    pub(super) fn handle_dns(&mut self, now: Instant, socket: SocketId, event: SocketEvent<'_>) {
        self.resolver
            .handle_socket(now, socket, event, &mut self.rng);
        self.settle_names(now);
    }

    /// The system's texts were read, or read again.
    pub(super) fn handle_dns_config(&mut self, now: Instant, resolv_conf: &str, hosts: &str) {
        let mut config = ResolverConfig::from_text(resolv_conf, hosts);
        config.families = self.settings.families;
        self.resolver.reconfigure(now, config, &mut self.rng);
        self.settle_names(now);
    }

    /// Gives the resolver its time.
    pub(super) fn drive_names(&mut self, now: Instant) {
        if self.resolver.poll_timeout().is_some_and(|at| at <= now) {
            self.resolver.handle_timeout(now, &mut self.rng);
            self.settle_names(now);
        }
    }

    /// Tells every announcer what became of names, and the world what is to be done for others. Ends: an announcer
    /// that has an answer asks for another name only after the next redirect or time-out.
    pub(super) fn settle_names(&mut self, now: Instant) {
        while let Some((name, result)) = self.resolver.poll_resolved() {
            let result = result.as_deref().map_err(|error| *error);
            self.tell_dht_of_name(now, &name, result.unwrap_or_default());
            let ids: Vec<TorrentId> = self.torrents.iter().map(|(id, _)| id).collect();
            for id in ids {
                if let Some(seat) = self.torrents.get_mut(id) {
                    seat.announcer
                        .handle_resolved(now, &name, result, &mut self.rng);
                }
                self.drain_actions(now, id);
            }
        }
        while let Some(action) = self.resolver.poll_action() {
            self.look_up(now, action);
        }
    }

    /// The end: nobody waits for a name any more.
    pub(super) fn forget_names(&mut self) {
        self.resolver.abandon();
        while let Some(action) = self.resolver.poll_action() {
            self.out.push_back(Output::Dns(action));
        }
    }
}
