//! A client for one torrent: drives a session on a reactor until its goal is reached.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::config::{Builder, Config, Goal, Source};
use super::error::{Error, can_recover};
use super::finders::SavedNodes;
use super::load::load_target;
use super::select::choose;
use crate::base::limits;
use crate::base::memory::Memory;
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::disk::Place;
use crate::engine::Session;
use crate::engine::command::{AddTorrent, Aim, Command, Selection, Settings};
use crate::engine::io::{DiskErrorKind, Event, TorrentId};
use crate::engine::stats::{Phase, TorrentSnapshot};
use crate::net::resolver::Families;
use crate::reactor::{AddError, HostId, Listening, Reactor};
use crate::wire::metainfo::Metainfo;

/// One torrent, with all it takes to fetch or seed it.
pub struct TorrentClient {
    reactor: Reactor,
    host: HostId,
    metainfo: Arc<Metainfo>,
    config: Config,
    memory: Memory,
    nodes: Option<SavedNodes>,
    port: u16,
    port_in_range: bool,
    torrent: Option<TorrentId>,
    /// Told to stop, and when.
    stopping: Option<Instant>,
    stopped: bool,
    /// Whether nobody is connected to yet.
    holding: bool,
    /// What was there is hashed.
    checked: bool,
    complete: bool,
    outcome: Option<Outcome>,
    disk_faults: u32,
    /// When something last moved, and how much had by then.
    moved: (Instant, u64),
    judge_due: Instant,
    /// Since when it seeds.
    seeding: Option<Instant>,
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

    pub(super) fn new(source: Source, mut config: Config) -> Result<Self, Error> {
        let metainfo = match source {
            Source::File(path) => {
                let target = load_target(&path, config.max_torrent_size)?;
                config.peers.extend(target.peers);
                target.metainfo
            }
            Source::Metainfo(metainfo) => *metainfo,
        };
        let system = |what| move |error| Error::System { what, error };
        let mut rng = Rng::new(os_seed()?);
        let mut listening = Vec::new();
        let (mut port, mut port_in_range) = (0, true);
        if config.goal != Goal::Check {
            listening = listen(config.families, config.ports.clone())
                .map_err(system("listen for peers"))?;
            if let Some(first) = listening.first() {
                (port, port_in_range) = (first.address().port(), first.in_range());
            }
        }
        let memory = memory(&config, &metainfo)?;
        let mut settings = Settings {
            port,
            max_peers: config.max_peers.min(memory.peers),
            requests: memory.requests,
            half_open: config.half_open,
            max_download_rate: config.max_download_rate,
            max_upload_rate: config.max_upload_rate,
            user_agent: config.user_agent.clone(),
            families: config.families,
            tcp_only: config.tcp_only,
            connect_timeout: config.connect_timeout,
            sweep: config.sweep,
            ..Settings::new(super::config::peer_id(&config.peer_id_prefix, &mut rng))
        };
        let mut reactor = Reactor::within(memory).map_err(system("wait for events"))?;
        if config.catch_signals {
            reactor.watch_signals().map_err(system("catch signals"))?;
        }
        let now = reactor.now();
        let nodes = SavedNodes::open(&config, &mut settings, now);
        let session = Session::new(now, settings, rng.bytes());
        let host = reactor
            .host(session, listening)
            .map_err(system("listen for peers"))?;
        Ok(Self {
            reactor,
            host,
            metainfo: Arc::new(metainfo),
            config,
            memory,
            nodes,
            port,
            port_in_range,
            torrent: None,
            stopping: None,
            stopped: false,
            holding: false,
            checked: false,
            complete: false,
            outcome: None,
            disk_faults: 0,
            moved: (now, 0),
            judge_due: now,
            seeding: None,
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
        if self.torrent.is_none() {
            self.add()?;
        }
        let trackers: BTreeSet<_> = self.metainfo.trackers.iter().flatten().collect();
        let mut unanswered = match self.config.goal {
            Goal::Check => 0,
            Goal::Download | Goal::DownloadAndSeed | Goal::Seed => trackers.len(),
        };
        let until = self.reactor.now() + SETUP_MAX;
        while self.outcome.is_none() && !(self.checked && unanswered == 0) {
            let left = self.reactor.now().until(until);
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
        match &self.outcome {
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
        let outcome = loop {
            if let Some(outcome) = self.outcome.clone() {
                break outcome;
            }
            self.turn(None)?;
        };
        self.stop();
        while !self.is_stopped() {
            self.turn(None)?;
        }
        outcome.into_result()
    }

    /// Runs the loop once, waiting at most `most` for something to happen, and gives the events.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the loop can't go on.
    pub fn turn(&mut self, most: Option<Duration>) -> Result<Vec<Event>, Error> {
        let most = self.wait_at_most(most);
        self.reactor.turn(most).map_err(|error| Error::System {
            what: "wait for events",
            error,
        })?;
        let events: Vec<_> = self.reactor.take_events();
        let mut events: Vec<_> = events.into_iter().map(|(_, event)| event).collect();
        for event in &mut events {
            self.name_room(event);
        }
        for event in &events {
            self.handle_event(event);
        }
        self.judge(events.iter().any(may_end_it));
        if self.stopping.is_none() {
            self.save_nodes(false);
        }
        Ok(events)
    }

    // ---------------------------------------------------------------------------------- commands

    /// Takes the torrent up, or goes on after a pause.
    ///
    /// # Errors
    ///
    /// [`Error::Disk`] if its files can't be used, [`Error::Stopped`].
    pub fn resume(&mut self) -> Result<(), Error> {
        match self.torrent {
            None => self.add().map(|_| ()),
            Some(_) if self.holding => self.hold(false),
            Some(torrent) => self.command(Command::Resume(torrent)),
        }
    }

    /// Closes all peers and asks for nothing until [`TorrentClient::resume`].
    ///
    /// # Errors
    ///
    /// As [`TorrentClient::resume`].
    pub fn pause(&mut self) -> Result<(), Error> {
        let torrent = match self.torrent {
            None => self.add()?,
            Some(torrent) => torrent,
        };
        self.command(Command::Pause(torrent))
    }

    /// Tells of a peer.
    ///
    /// # Errors
    ///
    /// As [`TorrentClient::resume`].
    pub fn add_peer(&mut self, address: SocketAddr) -> Result<(), Error> {
        let Some(torrent) = self.torrent else {
            self.config.peers.push(address);
            return Ok(());
        };
        let peers = vec![address];
        self.command(Command::AddPeers { torrent, peers })
    }

    /// Begins to say goodbye; turns go on until [`TorrentClient::is_stopped`].
    pub fn stop(&mut self) {
        if self.stopping.is_none() {
            self.stopping = Some(self.reactor.now());
            // The session leaves the DHT when it is told to stop.
            self.save_nodes(true);
            let reply = self.reactor.command(self.host, Command::Shutdown);
            // A session that refuses has stopped already.
            self.stopped |= reply.is_err();
        }
    }

    // ---------------------------------------------------------------------------------- questions

    /// How it ended, once that is known.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// The sizes that follow from the memory limit.
    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// Whether goodbye has been said, or has taken too long.
    pub fn is_stopped(&self) -> bool {
        let late = self
            .stopping
            .is_some_and(|since| self.reactor.now() - since >= GOODBYE_MAX);
        self.stopped || late
    }

    /// How the torrent stands; `None` before it was taken up.
    pub fn snapshot(&self) -> Option<TorrentSnapshot> {
        let snapshot = self.reactor.snapshot(self.host);
        snapshot.torrents.into_iter().next()
    }

    /// What the torrent file says.
    pub fn metainfo(&self) -> &Metainfo {
        &self.metainfo
    }

    /// The port that peers can reach, 0 if none; and whether it is one of those asked for.
    pub fn port(&self) -> (u16, bool) {
        (self.port, self.port_in_range)
    }

    /// How long the loop was busy at most before it could look at its sockets again.
    pub fn longest_turn(&self) -> Duration {
        self.reactor.longest_turn()
    }

    /// How often the process was asked by a signal to stop.
    pub fn stop_signals(&self) -> u32 {
        self.reactor.stop_signals()
    }

    /// How often SIGHUP came: whoever writes a log may open it anew.
    pub fn hangups(&self) -> u32 {
        self.reactor.hangups()
    }

    /// The time since the client was built.
    pub fn elapsed(&self) -> Duration {
        self.reactor.now() - Instant::default()
    }

    fn add(&mut self) -> Result<TorrentId, Error> {
        let torrent = AddTorrent {
            metainfo: Arc::clone(&self.metainfo),
            aim: match self.config.goal {
                Goal::Download | Goal::DownloadAndSeed => Aim::Download,
                Goal::Seed => Aim::Seed,
                Goal::Check => Aim::Check,
            },
            peers: self.config.peers.clone(),
        };
        let is_stand_in = self.metainfo.is_stand_in();
        let mut selection = Selection::default();
        let added = if is_stand_in {
            self.reactor.add_undescribed(self.host, torrent)
        } else {
            let place;
            (place, selection) = self.choose()?;
            self.reactor.add(self.host, torrent, place)
        };
        let id = added.map_err(|error| match error {
            AddError::Disk(error) => Error::Disk(error),
            AddError::Command(_) => Error::Stopped,
        })?;
        if !is_stand_in {
            self.select(id, selection);
        }
        self.torrent = Some(id);
        self.moved.0 = self.reactor.now();
        Ok(id)
    }

    /// Takes the metadata that peers gave: its hash is right, the rest is judged as that of any torrent file.
    fn describe(&mut self, torrent: TorrentId, info: &[u8]) -> Result<(), Outcome> {
        let mut metainfo =
            Metainfo::from_info(info).map_err(|fault| Outcome::BadMetadata(fault.to_string()))?;
        metainfo.info_hash = self.metainfo.info_hash;
        metainfo.trackers = self.metainfo.trackers.clone();
        self.metainfo = Arc::new(metainfo);
        let metainfo = Arc::clone(&self.metainfo);
        let (place, selection) = self
            .choose()
            .map_err(|error| Outcome::BadMetadata(error.to_string()))?;
        self.reactor
            .describe(self.host, torrent, metainfo, place)
            .map_err(|error| match error {
                AddError::Disk(error) => Outcome::Disk(error),
                AddError::Command(_) => Outcome::Interrupted,
            })?;
        self.select(torrent, selection);
        self.moved.0 = self.reactor.now();
        Ok(())
    }

    /// Where the torrent's files go and which of them are wanted, now that it is known what they are.
    fn choose(&self) -> Result<(Place, Selection), Error> {
        let (mut place, sequential) = (self.config.place(), self.config.sequential);
        let mut pieces = None;
        if !self.config.select.is_empty() {
            let chosen = choose(&self.config.select, &self.metainfo);
            let chosen = chosen.ok_or_else(|| Error::Torrent {
                kind: "torrent.select",
                message: "no file with anything in it is selected".into(),
            })?;
            place.unwanted = chosen.unwanted;
            pieces = Some(chosen.pieces);
        }
        Ok((place, Selection { pieces, sequential }))
    }

    fn save_nodes(&mut self, at_once: bool) {
        if let Some(nodes) = &mut self.nodes {
            nodes.save(&self.reactor, self.host, at_once);
        }
    }

    fn select(&mut self, torrent: TorrentId, selection: Selection) {
        let command = Command::Select { torrent, selection };
        // A session that refuses is stopping, and then nothing is wanted any more.
        let _ = self.reactor.command(self.host, command);
    }

    fn hold(&mut self, holding: bool) -> Result<(), Error> {
        self.holding = holding;
        self.moved.0 = self.reactor.now();
        self.command(Command::Hold(holding))
    }

    fn command(&mut self, command: Command) -> Result<(), Error> {
        let reply = self.reactor.command(self.host, command);
        reply.map(|_| ()).map_err(|_| Error::Stopped)
    }

    /// Says behind the news of a full disk how much is missing there.
    fn name_room(&self, event: &mut Event) {
        if let Event::DiskTrouble { error, .. } = event
            && error.kind == DiskErrorKind::Full
            && let Some(torrent) = self.snapshot()
            && let Ok(stat) = rustix::fs::statvfs(&self.config.output_dir)
        {
            let need = torrent.bytes.saturating_sub(torrent.bytes_have);
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let more = format!(": need {need} bytes, have {free}");
            error.message.push_str(&more);
        }
    }

    fn handle_event(&mut self, event: &Event) {
        match event {
            Event::Checked { have, .. } => {
                let all = *have == self.metainfo.geometry.pieces();
                match self.config.goal {
                    Goal::Check if all => self.end(Outcome::Complete),
                    Goal::Check | Goal::Seed if !all => self.end(Outcome::Incomplete),
                    _ => {}
                }
                self.checked = true;
                self.moved.0 = self.reactor.now();
            }
            Event::Complete { torrent } => {
                if self.complete || matches!(self.config.goal, Goal::Check | Goal::Seed) {
                    return;
                }
                self.complete = true;
                match self.reactor.finish(self.host, *torrent) {
                    Err(error) => self.end(Outcome::Disk(error)),
                    Ok(()) if self.config.goal == Goal::Download => self.end(Outcome::Complete),
                    Ok(()) => {}
                }
            }
            Event::DiskTrouble { error, .. } => {
                self.disk_faults += 1;
                // An input/output error may pass; a second one without recovery will not.
                let again = error.kind == DiskErrorKind::Io && self.disk_faults == 1;
                let full = self.config.exit_on_full && error.kind == DiskErrorKind::Full;
                let waits = (can_recover(error.kind) || again) && !full;
                if self.config.goal == Goal::Check || !waits {
                    self.end(Outcome::Disk(error.clone()));
                }
            }
            Event::DiskRecovered { .. } => self.disk_faults = 0,
            Event::Stopped => self.stopped = true,
            Event::Metadata { torrent, info } => {
                if let Err(outcome) = self.describe(*torrent, info) {
                    self.end(outcome);
                }
            }
            Event::PieceDone { .. }
            | Event::PieceFailed { .. }
            | Event::Tracker { .. }
            | Event::Scraped { .. }
            | Event::PeerConnected { .. }
            | Event::PeerGone { .. }
            | Event::Banned { .. }
            | Event::Warning { .. } => {}
        }
    }

    /// Sees whether there is any sense in going on.
    fn judge(&mut self, at_once: bool) {
        if self.outcome.is_some() {
            return;
        }
        if self.stop_signals() > 0 {
            let seeding = self.complete || self.config.goal == Goal::Seed && self.is_seeding();
            self.end(if seeding {
                Outcome::Complete
            } else {
                Outcome::Interrupted
            });
            return;
        }
        let now = self.reactor.now();
        if now < self.judge_due && !at_once {
            return;
        }
        self.judge_due = now + JUDGE_EVERY;
        let Some(torrent) = self.snapshot() else {
            return;
        };
        if self.has_seeded_enough(now, &torrent) {
            self.end(Outcome::Complete);
            return;
        }
        let fetching = torrent.phase == Phase::Downloading;
        if fetching
            && !self.holding
            && !torrent.has_source
            && torrent.peers + torrent.half_open == 0
        {
            self.end(Outcome::NoSource);
            return;
        }
        let amount = torrent.downloaded + torrent.uploaded + u64::from(torrent.pieces_checked);
        let waits = self.holding || matches!(torrent.phase, Phase::DiskTrouble | Phase::Paused);
        if amount != self.moved.1 || waits {
            self.moved = (now, amount);
        }
        let limit = self.config.stop_timeout;
        if limit.is_some_and(|limit| now - self.moved.0 >= limit) {
            self.end(if self.complete || torrent.phase == Phase::Seeding {
                Outcome::Complete
            } else {
                Outcome::Stalled
            });
        }
    }

    fn has_seeded_enough(&mut self, now: Instant, torrent: &TorrentSnapshot) -> bool {
        if torrent.phase != Phase::Seeding {
            return false;
        }
        let since = *self.seeding.get_or_insert(now);
        let sent = torrent.uploaded as f64;
        let ratio = self.config.seed_ratio;
        let time = self.config.seed_time;
        ratio.is_some_and(|ratio| sent >= ratio * torrent.bytes_have as f64)
            || time.is_some_and(|time| now - since >= time)
    }

    fn is_seeding(&self) -> bool {
        self.snapshot().is_some_and(|it| it.phase == Phase::Seeding)
    }

    fn end(&mut self, outcome: Outcome) {
        self.outcome.get_or_insert(outcome);
    }

    fn wait_at_most(&self, most: Option<Duration>) -> Option<Duration> {
        let own = if self.stopping.is_some() {
            Some(GOODBYE_MAX)
        } else {
            let ends = self.config.seed_ratio.is_some() || self.config.seed_time.is_some();
            let seeding = (ends && self.seeding.is_some()).then_some(SEEDING_EVERY);
            let stop = self.config.stop_timeout.map(|_| JUDGE_EVERY);
            stop.or(seeding)
        };
        match (own, most) {
            (Some(own), Some(most)) => Some(own.min(most)),
            (one, None) | (None, one) => one,
        }
    }
}

/// Whether the event may have taken away the last source, so that it should be looked at now.
fn may_end_it(event: &Event) -> bool {
    matches!(
        event,
        Event::Checked { .. }
            | Event::Complete { .. }
            | Event::Tracker { .. }
            | Event::PeerGone { .. }
    )
}

/// How it ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Everything is there and verified.
    Complete,
    /// Some of it is not there, and it was not to be fetched.
    Incomplete,
    /// A signal asked the process to stop.
    Interrupted,
    /// No one is known who could be asked.
    NoSource,
    /// Nothing moved for as long as was allowed.
    Stalled,
    /// Peers gave metadata whose hash is right, but it is no torrent that can be used.
    BadMetadata(String),
    /// The disk can't be used, and that won't change by itself.
    Disk(crate::engine::io::DiskError),
}

impl Outcome {
    /// The outcome as an error, unless it is [`Outcome::Complete`].
    ///
    /// # Errors
    ///
    /// The variant of the same name.
    pub fn into_result(self) -> Result<(), Error> {
        match self {
            Self::Complete => Ok(()),
            Self::Incomplete => Err(Error::Incomplete),
            Self::Interrupted => Err(Error::Interrupted),
            Self::NoSource => Err(Error::NoSource),
            Self::Stalled => Err(Error::Stalled),
            Self::Disk(error) => Err(Error::Disk(error)),
            Self::BadMetadata(message) => Err(Error::Torrent {
                kind: "magnet.bad-metadata",
                message,
            }),
        }
    }
}

/// A socket of each family on one port: the first of `ports` that all of them have free, else any. A family that
/// the machine does not have is done without, unless it is the only one wanted.
fn listen(families: Families, mut ports: RangeInclusive<u16>) -> io::Result<Vec<Listening>> {
    let v4 = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    let v6 = IpAddr::from(Ipv6Addr::UNSPECIFIED);
    let (first, second) = match families {
        Families::V4 => (v4, None),
        Families::V6 => (v6, None),
        Families::Both => (v4, Some(v6)),
    };
    loop {
        let one = Listening::bind(first, ports.clone())?;
        let Some(second) = second else {
            return Ok(vec![one]);
        };
        let port = one.address().port();
        match Listening::bind(second, port..=port) {
            Ok(other) if other.in_range() => return Ok(vec![one, other]),
            // Somebody has the port in the other family: the next one, as long as there are any.
            Ok(_) if one.in_range() && port < *ports.end() => ports = port + 1..=*ports.end(),
            Ok(_) => return Ok(vec![one]),
            Err(error) => {
                log::info!("listening over IPv4 only: {error}");
                return Ok(vec![one]);
            }
        }
    }
}

/// What the limit allows. Of the torrent, its tables count: hashes, the picker's, paths and what is known of files.
fn memory(config: &Config, metainfo: &Metainfo) -> Result<Memory, Error> {
    let Some(limit) = config.mem_limit else {
        return Ok(Memory::default());
    };
    let pieces = u64::from(metainfo.geometry.pieces()) * PIECE_COST;
    let files = metainfo.files.len() as u64 * FILE_COST;
    Memory::within(limit, pieces + files, config.max_peers).map_err(|least| Error::System {
        what: "keep within the memory limit",
        error: std::io::Error::other(format!("this torrent needs {} KiB", least.div_ceil(1024))),
    })
}

/// 32 bytes that no one can guess.
pub(crate) fn os_seed() -> Result<[u8; 32], Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| Error::System {
        what: "get random bytes",
        error: io::Error::other(error.to_string()),
    })?;
    Ok(seed)
}

/// The session's own time to say goodbye, and some more: then the process goes anyway.
const GOODBYE_MAX: Duration = limits::GOODBYE.saturating_add(Duration::from_millis(500));
/// How long [`TorrentClient::setup`] waits for trackers: as long as one may take.
const SETUP_MAX: Duration = Duration::from_secs(30);
/// Bytes that each piece of a torrent costs: its hash, its places in the picker, its bits.
const PIECE_COST: u64 = 48;
/// Bytes that each file costs: entry, path, what is known of it.
const FILE_COST: u64 = 400;
/// How often it is seen whether enough was seeded.
const SEEDING_EVERY: Duration = Duration::from_secs(1);
/// How often it is seen whether anything moves.
const JUDGE_EVERY: Duration = Duration::from_millis(200);
