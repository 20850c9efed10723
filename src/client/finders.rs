//! What of a client's settings concerns finding peers without a tracker, and the nodes that survive it.

use super::config::Config;
use crate::base::limits;
use crate::base::time::Instant;
use crate::disk::NodesFile;
use crate::engine::command::Settings;
use crate::engine::dht::Router;
use crate::reactor::{HostId, Reactor};

/// The DHT's nodes, saved now and then while the client runs, and at its end.
pub(super) struct SavedNodes {
    file: NodesFile,
    due: Instant,
}

impl SavedNodes {
    /// Says to the session's settings how peers are found; gives the place where nodes are saved, if they are to be.
    pub(super) fn open(config: &Config, settings: &mut Settings, now: Instant) -> Option<Self> {
        settings.pex = config.pex;
        settings.lsd = config.lsd && !config.tcp_only;
        settings.dht = config.dht && !config.tcp_only;
        settings.dht_routers = match &config.dht_entry_points[..] {
            [] => usual_routers(),
            own => own.to_vec(),
        };
        let dir = config.state_dir.as_ref().filter(|_| settings.dht)?;
        match NodesFile::open(dir) {
            Ok((file, bytes)) => {
                settings.dht_nodes = bytes;
                settings.dht_is_second = !file.is_ours();
                let due = now + limits::DHT_SAVE_FIRST;
                Some(Self { file, due })
            }
            Err(error) => {
                log::warn!("the DHT's nodes are not remembered: {}", error.message);
                None
            }
        }
    }

    /// Saves the nodes if it is time to; `at_once`: anyway.
    pub(super) fn save(&mut self, reactor: &Reactor, host: HostId, at_once: bool) {
        let now = reactor.now();
        if now < self.due && !at_once {
            return;
        }
        self.due = now + limits::DHT_SAVE_EVERY;
        let nodes = reactor.dht_nodes(host);
        if !nodes.is_empty()
            && let Err(error) = self.file.save(&nodes)
        {
            log::warn!("the DHT's nodes are not saved: {}", error.message);
        }
    }
}

/// Where most clients begin.
fn usual_routers() -> Vec<Router> {
    let routers = [
        ("router.bittorrent.com", 6881),
        ("dht.transmissionbt.com", 6881),
        ("dht.libtorrent.org", 25_401),
        ("router.utorrent.com", 6881),
    ];
    let router = |(name, port): (&str, u16)| {
        let name = name.to_owned();
        Router::Name { name, port }
    };
    routers.map(router).into()
}
