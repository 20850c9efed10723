//! A client for one torrent: the simple face of a [`Client`].

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::builder::{Builder, Source};
use super::config::Config;
use super::error::Error;
use super::load::Target;
use super::outcome::Outcome;
use super::plan::{Goal, Plan};
use super::process::Client;
use crate::base::memory::Memory;
use crate::engine::io::{Event, TorrentId};
use crate::engine::stats::TorrentSnapshot;
use crate::wire::metainfo::Metainfo;

/// One torrent, with all it takes to fetch or seed it.
pub struct TorrentClient {
    client: Client,
    target: Target,
    plan: Plan,
    torrent: Option<TorrentId>,
    /// Whether nobody is connected to yet.
    holding: bool,
}

impl TorrentClient {
    /// Begins to set up a client for a torrent file.
    pub fn builder(torrent: impl Into<PathBuf>) -> Builder {
        Builder::new(Source::File(torrent.into()))
    }

    /// Begins to set up a client for a torrent that was read already.
    pub fn of(metainfo: Metainfo) -> Builder {
        Builder::new(Source::Metainfo(Box::new(metainfo)))
    }

    pub(super) fn new(target: Target, mut config: Config, plan: Plan) -> Result<Self, Error> {
        if plan.goal == Goal::Check {
            config = config.alone();
        }
        Ok(Self {
            client: Client::new(config)?,
            target,
            plan,
            torrent: None,
            holding: false,
        })
    }

    /// Looks at what is there and at who has the rest, without fetching anything: the files are hashed and the
    /// trackers are asked, until one has answered, all have failed, or half a minute has passed.
    /// [`TorrentClient::snapshot`] then says what is missing and how many addresses are known.
    /// [`TorrentClient::start`] goes on from there.
    ///
    /// # Errors
    ///
    /// [`Error::Disk`] if the files can't be used; [`Error::System`].
    pub fn setup(&mut self) -> Result<(), Error> {
        self.hold(true)?;
        let torrent = self.torrent()?;
        let trackers: BTreeSet<_> = self.target.metainfo.trackers.iter().flatten().collect();
        let mut unanswered = match self.plan.goal {
            Goal::Check => 0,
            Goal::Download | Goal::DownloadAndSeed | Goal::Seed => trackers.len(),
        };
        let until = self.client.elapsed() + SETUP_MAX;
        let looked = |client: &Client| {
            let download = client.download(torrent);
            download.is_none_or(super::Download::is_checked)
        };
        while self.outcome().is_none() && !(looked(&self.client) && unanswered == 0) {
            let left = until.saturating_sub(self.client.elapsed());
            if left.is_zero() {
                break;
            }
            for event in self.turn(Some(left))? {
                match event {
                    Event::Tracker { result: Ok(_), .. } => unanswered = 0,
                    Event::Tracker { result: Err(_), .. } => {
                        unanswered = unanswered.saturating_sub(1);
                    }
                    _ => {}
                }
            }
        }
        match self.outcome() {
            Some(Outcome::Disk(error)) => Err(Error::Disk(error.clone())),
            _ => Ok(()),
        }
    }

    /// Runs until the goal is reached, then says goodbye to trackers and peers.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from the goal.
    pub fn start(&mut self) -> Result<(), Error> {
        self.resume()?;
        self.client.run()?;
        let outcome = self.outcome().cloned();
        outcome.map_or(Err(Error::Stopped), Outcome::into_result)
    }

    /// Runs the loop once, waiting at most `most` for something to happen, and gives the events.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the loop can't go on.
    pub fn turn(&mut self, most: Option<Duration>) -> Result<Vec<Event>, Error> {
        self.client.turn(most)
    }

    // ---------------------------------------------------------------------------------- commands

    /// Takes the torrent up, or goes on after a pause.
    ///
    /// # Errors
    ///
    /// [`Error::Disk`] if its files can't be used, [`Error::Stopped`], and the others of [`Client::add`].
    pub fn resume(&mut self) -> Result<(), Error> {
        match self.torrent {
            None => self.torrent().map(|_| ()),
            Some(_) if self.outcome().is_some() => Ok(()),
            Some(_) if self.holding => self.hold(false),
            Some(torrent) => self.client.resume(torrent),
        }
    }

    /// Closes all peers and asks for nothing until [`TorrentClient::resume`].
    ///
    /// # Errors
    ///
    /// As [`TorrentClient::resume`].
    pub fn pause(&mut self) -> Result<(), Error> {
        let torrent = self.torrent()?;
        self.client.pause(torrent)
    }

    /// Tells of a peer.
    ///
    /// # Errors
    ///
    /// As [`TorrentClient::resume`].
    pub fn add_peer(&mut self, address: SocketAddr) -> Result<(), Error> {
        match self.torrent {
            Some(torrent) => self.client.add_peer(torrent, address),
            None => {
                self.plan.peers.push(address);
                Ok(())
            }
        }
    }

    /// Begins to say goodbye; turns go on until [`TorrentClient::is_stopped`].
    pub fn stop(&mut self) {
        self.client.stop();
    }

    // ---------------------------------------------------------------------------------- questions

    /// How it ended, once that is known.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.client.download(self.torrent?)?.outcome()
    }

    /// The sizes that follow from the memory limit.
    pub fn memory(&self) -> Memory {
        self.client.memory()
    }

    /// Whether goodbye has been said, or has taken too long.
    pub fn is_stopped(&self) -> bool {
        self.client.is_stopped()
    }

    /// How the torrent stands, or stood when it ended; `None` before it was taken up.
    pub fn snapshot(&self) -> Option<TorrentSnapshot> {
        self.client.snapshots().into_iter().next()
    }

    /// What the torrent file says.
    pub fn metainfo(&self) -> &Metainfo {
        let download = self.torrent.and_then(|id| self.client.download(id));
        download.map_or(&self.target.metainfo, |download| download.metainfo())
    }

    /// The port that peers can reach, 0 if none; and whether it is one of those asked for.
    pub fn port(&self) -> (u16, bool) {
        self.client.port()
    }

    /// Bytes of lasting state written in this run: what flash memory has to take beside the content.
    pub fn state_written(&self) -> u64 {
        self.client.state_written()
    }

    /// How long the loop was busy at most before it could look at its sockets again.
    pub fn longest_turn(&self) -> Duration {
        self.client.longest_turn()
    }

    /// How often the process was asked by a signal to stop.
    pub fn stop_signals(&self) -> u32 {
        self.client.stop_signals()
    }

    /// How often SIGHUP came: whoever writes a log may open it anew.
    pub fn hangups(&self) -> u32 {
        self.client.hangups()
    }

    /// The time since the client was built.
    pub fn elapsed(&self) -> Duration {
        self.client.elapsed()
    }

    /// The torrent, which is taken up if it was not.
    fn torrent(&mut self) -> Result<TorrentId, Error> {
        if let Some(torrent) = self.torrent {
            return Ok(torrent);
        }
        let torrent = self.client.add(self.target.clone(), self.plan.clone())?;
        self.torrent = Some(torrent);
        Ok(torrent)
    }

    fn hold(&mut self, holding: bool) -> Result<(), Error> {
        self.holding = holding;
        self.client.hold(holding)
    }
}

/// How long [`TorrentClient::setup`] waits for trackers: as long as one may take.
const SETUP_MAX: Duration = Duration::from_secs(30);
