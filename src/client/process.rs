//! Several torrents in one process: one loop, one port, one set of limits.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::config::{Config, peer_id};
use super::download::{Act, Download, JUDGE_EVERY};
use super::error::Error;
use super::finders::SavedNodes;
use super::load::Target;
use super::outcome::Outcome;
use super::plan::{Goal, Plan};
use super::ports::listen;
use super::room::memory;
use super::select::{Choice, choose, choose_some, in_words};
use super::whole::write_whole;
use crate::base::escape::escape_field;
use crate::base::limits;
use crate::base::memory::Memory;
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::disk::Place;
use crate::engine::Session;
use crate::engine::command::{AddTorrent, Command, CommandError, Selection, Settings};
use crate::engine::io::{Event, TorrentId};
use crate::engine::stats::TorrentSnapshot;
use crate::reactor::{AddError, HostId, Reactor};
use crate::wire::metainfo::{Metainfo, build};

/// Torrents that share a loop, a port and the limits of [`Config`]; each has a [`Plan`] and an end of its own.
///
/// ```no_run
/// use minitorrent::client::{Client, Config, Plan, load_target};
///
/// let config = Config::default();
/// let mut client = Client::new(config.clone())?;
/// for path in ["one.torrent", "two.torrent"] {
///     let target = load_target(path.as_ref(), &config)?;
///     client.add(target, Plan { output_dir: "downloads".into(), ..Plan::default() })?;
/// }
/// client.run()?; // blocks until each has ended
/// for (_, download) in client.downloads() {
///     println!("{}: {:?}", download.metainfo().name, download.outcome());
/// }
/// # Ok::<(), minitorrent::client::Error>(())
/// ```
pub struct Client {
    pub(super) reactor: Reactor,
    pub(super) host: HostId,
    pub(super) config: Config,
    pub(super) memory: Memory,
    nodes: Option<SavedNodes>,
    /// Events of our own, for the next turn's.
    said: Vec<Event>,
    /// The port that peers can reach, and whether it is one of those asked for.
    port: (u16, bool),
    /// In the order in which they were added: names of torrents grow.
    pub(super) downloads: BTreeMap<TorrentId, Download>,
    /// Told to stop, and when.
    stopping: Option<Instant>,
    stopped: bool,
    /// Whether nobody is connected to yet.
    holding: bool,
    judge_due: Instant,
}

impl Client {
    /// Binds the port; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`Error::System`], [`Error::Memory`].
    pub fn new(config: Config) -> Result<Self, Error> {
        let system = |what| move |error| Error::System { what, error };
        let mut rng = Rng::new(os_seed()?);
        let (mut listening, mut port) = (Vec::new(), (0, true));
        if let Some(ports) = config.ports.clone() {
            listening = listen(config.families, ports).map_err(system("listen for peers"))?;
            if let Some(first) = listening.first() {
                port = (first.address().port(), first.in_range());
            }
        }
        let memory = memory(&config, 0)?;
        let mut settings = Settings {
            port: port.0,
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
            super_seed: config.super_seed,
            ..Settings::new(peer_id(&config.peer_id_prefix, &mut rng))
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
        if let Some(file) = &config.ca_file {
            reactor.trust(host, file);
        }
        Ok(Self {
            reactor,
            host,
            config,
            memory,
            nodes,
            said: Vec::new(),
            port,
            downloads: BTreeMap::new(),
            stopping: None,
            stopped: false,
            holding: false,
            judge_due: now,
        })
    }

    /// Takes a torrent up: what is there is hashed, then what is missing is fetched.
    ///
    /// # Errors
    ///
    /// Only for this torrent: [`Error::Disk`] if its files can't be used, [`Error::Clash`] if they would lie
    /// where another torrent's do, [`Error::Duplicate`] if it is there already, [`Error::Unselected`] if none of its
    /// files is selected, [`Error::Memory`] if it does not fit into the memory limit; [`Error::Stopped`].
    pub fn add(&mut self, target: Target, plan: Plan) -> Result<TorrentId, Error> {
        let Target {
            metainfo,
            peers,
            select,
        } = target;
        let mut plan = plan;
        if plan.select.is_empty() {
            plan.select = select;
        }
        let peers = plan.peers.iter().copied().chain(peers).collect();
        let torrent = AddTorrent {
            metainfo: Arc::clone(&metainfo),
            aim: plan.goal.aim(),
            peers,
        };
        let id = if metainfo.is_stand_in() {
            let added = self.reactor.add_undescribed(self.host, torrent);
            added.map_err(add_error)?
        } else {
            self.make_room(None, &metainfo, &plan)?;
            let (place, selection, missed) = self.choose(&metainfo, &plan)?;
            let added = self.reactor.add(self.host, torrent, place);
            let id = added.map_err(add_error)?;
            self.select(id, selection, &missed);
            id
        };
        let download = Download::new(self.reactor.now(), metainfo, plan);
        self.downloads.insert(id, download);
        self.fit()?;
        Ok(id)
    }

    /// Runs until each torrent has ended, then says goodbye to trackers and peers. [`Download::outcome`] says how.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the loop can't go on.
    pub fn run(&mut self) -> Result<(), Error> {
        while !self.is_over() {
            self.turn(None)?;
        }
        self.stop();
        while !self.is_stopped() {
            self.turn(None)?;
        }
        Ok(())
    }

    /// Runs the loop once, waiting at most `most` for something to happen, and gives the events. A torrent that has
    /// ended leaves: its trackers are told and its peers closed, while the others go on.
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
        let events = self.reactor.take_events().into_iter();
        let mut events: Vec<Event> = events.map(|(_, event)| event).collect();
        for event in &mut events {
            self.name_room(event);
        }
        for event in &events {
            self.handle_event(event);
        }
        self.judge(events.iter().any(may_end_one));
        self.let_go()?;
        if self.stopping.is_none() {
            self.save_nodes(false);
        }
        events.append(&mut self.said);
        Ok(events)
    }

    // ---------------------------------------------------------------------------------- commands

    /// Closes all peers of a torrent and asks for nothing until [`Client::resume`].
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] if it has ended.
    pub fn pause(&mut self, torrent: TorrentId) -> Result<(), Error> {
        self.command(Command::Pause(torrent))
    }

    /// Goes on with a torrent after a pause.
    ///
    /// # Errors
    ///
    /// As [`Client::pause`].
    pub fn resume(&mut self, torrent: TorrentId) -> Result<(), Error> {
        self.command(Command::Resume(torrent))
    }

    /// Tells a torrent of a peer.
    ///
    /// # Errors
    ///
    /// As [`Client::pause`].
    pub fn add_peer(&mut self, torrent: TorrentId, address: SocketAddr) -> Result<(), Error> {
        let peers = vec![address];
        self.command(Command::AddPeers { torrent, peers })
    }

    /// Connects to nobody from now on (`true`), while trackers are asked as ever; or does so again (`false`).
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`].
    pub fn hold(&mut self, holding: bool) -> Result<(), Error> {
        self.holding = holding;
        let now = self.reactor.now();
        self.downloads
            .values_mut()
            .for_each(|it| it.handle_moved(now));
        self.command(Command::Hold(holding))
    }

    /// Begins to say goodbye; turns go on until [`Client::is_stopped`].
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

    /// All torrents, in the order in which they were added; those that have ended stay.
    pub fn downloads(&self) -> impl Iterator<Item = (TorrentId, &Download)> {
        self.downloads.iter().map(|(id, download)| (*id, download))
    }

    /// One of them.
    pub fn download(&self, torrent: TorrentId) -> Option<&Download> {
        self.downloads.get(&torrent)
    }

    /// Whether each torrent has ended.
    pub fn is_over(&self) -> bool {
        self.downloads.values().all(|it| it.outcome().is_some())
    }

    /// Whether goodbye has been said, or has taken too long.
    pub fn is_stopped(&self) -> bool {
        let late = self
            .stopping
            .is_some_and(|since| self.reactor.now() - since >= GOODBYE_MAX);
        self.stopped || late
    }

    /// How the torrents stand, in the order in which they were added; those that have ended, as they stood then.
    pub fn snapshots(&self) -> Vec<TorrentSnapshot> {
        let mut now: BTreeMap<_, _> = self
            .reactor
            .torrents(self.host)
            .into_iter()
            .map(|it| (it.torrent, it))
            .collect();
        let one = |(id, it): (&TorrentId, &Download)| it.last().cloned().or_else(|| now.remove(id));
        self.downloads.iter().filter_map(one).collect()
    }

    /// The sizes that follow from the memory limit.
    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// The port that peers can reach, 0 if none; and whether it is one of those asked for.
    pub fn port(&self) -> (u16, bool) {
        self.port
    }

    /// Bytes of lasting state written in this run: what flash memory has to take beside the content.
    pub fn state_written(&self) -> u64 {
        self.reactor.state_written()
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

    /// The time since the client was made.
    pub fn elapsed(&self) -> Duration {
        self.reactor.now() - Instant::default()
    }

    // ------------------------------------------------------------------------ a torrent's way

    fn handle_event(&mut self, event: &Event) {
        if let Event::Stopped = event {
            self.stopped = true;
        }
        let now = self.reactor.now();
        let Some(id) = event.torrent() else {
            return;
        };
        if let Event::Checked { have, .. } = event {
            self.see_to_super_seed(id, *have);
        }
        let download = self.downloads.get_mut(&id);
        match download.and_then(|download| download.handle_event(now, event)) {
            Some(Act::Finish) => self.finish(id),
            Some(Act::Describe(info)) => {
                let described = self.describe(id, &info);
                if let Some(download) = self.downloads.get_mut(&id) {
                    described.unwrap_or_else(|outcome| download.end(outcome));
                }
            }
            None => {}
        }
    }

    /// The first check is through: only who has everything can be the first and only seed.
    fn see_to_super_seed(&mut self, torrent: TorrentId, have: u32) {
        let download = self.downloads.get(&torrent);
        let Some(download) = download.filter(|it| self.config.super_seed && !it.is_checked())
        else {
            return;
        };
        let pieces = download.metainfo.geometry.pieces();
        if have < pieces && download.plan().goal == Goal::DownloadAndSeed {
            self.said.push(Event::Warning {
                torrent: Some(torrent),
                kind: "torrent.super-seed",
                message: format!(
                    "{have} of {pieces} pieces are there: it is fetched and seeded as without --super-seed"
                ),
            });
        }
    }

    /// Brings the files of a torrent that is there into their last form.
    fn finish(&mut self, torrent: TorrentId) {
        let result = self.reactor.finish(self.host, torrent);
        let now = self.reactor.now();
        let download = self.downloads.get_mut(&torrent);
        if let Some(why) = download.and_then(|it| it.handle_finished(now, result)) {
            self.said.push(Event::Warning {
                torrent: Some(torrent),
                kind: "disk.changed",
                message: format!("{why}: everything is hashed again"),
            });
            // A session that refuses is stopping, and then the next run hashes it.
            let _ = self.reactor.command(self.host, Command::Recheck(torrent));
        }
    }

    /// Takes the metadata that peers gave: its hash is right, the rest is judged as that of any torrent file.
    fn describe(&mut self, torrent: TorrentId, info: &[u8]) -> Result<(), Outcome> {
        let Some(download) = self.downloads.get_mut(&torrent) else {
            return Ok(());
        };
        let mut metainfo =
            Metainfo::from_info(info).map_err(|fault| Outcome::BadMetadata(fault.to_string()))?;
        metainfo.info_hash = download.metainfo.info_hash;
        metainfo.trackers = download.metainfo.trackers.clone();
        let metainfo = Arc::new(metainfo);
        download.metainfo = Arc::clone(&metainfo);
        let plan = download.plan().clone();
        self.save_torrent(torrent, &plan, &metainfo);
        let refused = |error: Error| match error {
            Error::Clash { message } => Outcome::Clash(message),
            Error::Unselected { message } => Outcome::Unselected(message),
            Error::Memory { limit, least } => Outcome::Memory { limit, least },
            error => Outcome::BadMetadata(error.to_string()),
        };
        self.make_room(Some(torrent), &metainfo, &plan)
            .map_err(refused)?;
        let (place, selection, missed) = self.choose(&metainfo, &plan).map_err(refused)?;
        self.reactor
            .describe(self.host, torrent, metainfo, place)
            .map_err(|error| match error {
                AddError::Disk(error) => Outcome::Disk(error),
                AddError::Command(_) => Outcome::Interrupted,
            })?;
        self.select(torrent, selection, &missed);
        if let Some(download) = self.downloads.get_mut(&torrent) {
            download.handle_moved(self.reactor.now());
        }
        self.fit().map_err(refused)
    }

    /// Writes what is known now as a torrent file; what is there stays, unless it may be replaced. If that fails the
    /// download goes on all the same.
    fn save_torrent(&mut self, torrent: TorrentId, plan: &Plan, metainfo: &Metainfo) {
        let Some(path) = &plan.save_torrent else {
            return;
        };
        let path = match path.is_dir() {
            true => path.join(format!("{}.torrent", metainfo.name)),
            false => path.to_owned(),
        };
        let bytes = build::wrap(metainfo);
        let why = match write_whole(&path, &bytes, plan.force) {
            Ok(()) => return,
            // The same link was followed before.
            Err(why) if is_taken(&why) && holds(&path, &bytes) => return,
            Err(why) if is_taken(&why) => "is there already, it is left alone".to_owned(),
            Err(why) => format!("can't be written: {why}"),
        };
        let path = escape_field(path.as_os_str().as_encoded_bytes());
        self.said.push(Event::Warning {
            torrent: Some(torrent),
            kind: "torrent.save",
            message: format!("{path} {why}"),
        });
    }

    /// Sees whether there is any sense in going on with each.
    fn judge(&mut self, at_once: bool) {
        let now = self.reactor.now();
        let stop = self.stop_signals() > 0;
        if self.is_over() || now < self.judge_due && !at_once && !stop {
            return;
        }
        self.judge_due = now + JUDGE_EVERY;
        for torrent in self.reactor.torrents(self.host) {
            let Some(download) = self.downloads.get_mut(&torrent.torrent) else {
                continue;
            };
            if stop {
                download.interrupt(&torrent);
            } else {
                download.judge(now, self.holding, &torrent);
            }
        }
    }

    /// Lets go of the torrents that have ended, and gives what they used to the others.
    fn let_go(&mut self) -> Result<(), Error> {
        let ended = |it: &Download| it.outcome().is_some() && it.last().is_none();
        if !self.downloads.values().any(ended) {
            return Ok(());
        }
        let torrents = self.reactor.torrents(self.host);
        for torrent in torrents {
            let id = torrent.torrent;
            let download = self.downloads.get_mut(&id);
            if let Some(download) = download.filter(|it| ended(it)) {
                download.keep(Some(torrent));
                // A session that refuses is stopping, and then all leave.
                let _ = self.reactor.command(self.host, Command::Remove(id));
            }
        }
        self.fit()
    }

    // ------------------------------------------------------------------------------ what is wanted

    /// Where a torrent's files go, which of them are wanted, and choices that no file is in.
    fn choose(
        &self,
        metainfo: &Metainfo,
        plan: &Plan,
    ) -> Result<(Place, Selection, Vec<Choice>), Error> {
        let mut missed = Vec::new();
        let mut place = plan.place(self.config.state_dir.as_ref());
        let mut selection = Selection {
            sequential: plan.sequential,
            ..Selection::default()
        };
        if !plan.select.is_empty() {
            let chosen = choose_some(&plan.select, metainfo, !plan.goal.only_reads())?;
            place.unwanted = chosen.unwanted;
            selection.pieces = Some(chosen.pieces);
            missed.extend(chosen.missed);
        }
        if !plan.first.is_empty() {
            let chosen = choose(&plan.first, metainfo);
            selection.first = Some(chosen.pieces);
            missed.extend(chosen.missed);
        }
        Ok((place, selection, missed))
    }

    fn save_nodes(&mut self, at_once: bool) {
        if let Some(nodes) = &mut self.nodes {
            nodes.save(&self.reactor, self.host, at_once);
        }
    }

    fn select(&mut self, torrent: TorrentId, selection: Selection, missed: &[Choice]) {
        if !missed.is_empty() {
            self.said.push(Event::Warning {
                torrent: Some(torrent),
                kind: "torrent.select",
                message: format!("no file is in {}", in_words(missed)),
            });
        }
        let command = Command::Select { torrent, selection };
        // A session that refuses is stopping, and then nothing is wanted any more.
        let _ = self.reactor.command(self.host, command);
    }

    fn command(&mut self, command: Command) -> Result<(), Error> {
        let reply = self.reactor.command(self.host, command);
        reply.map(|_| ()).map_err(|_| Error::Stopped)
    }

    fn wait_at_most(&self, most: Option<Duration>) -> Option<Duration> {
        let own = match self.stopping {
            Some(_) => Some(GOODBYE_MAX),
            None => self
                .downloads
                .values()
                .filter_map(Download::judge_within)
                .min(),
        };
        match (own, most) {
            (Some(own), Some(most)) => Some(own.min(most)),
            (one, None) | (None, one) => one,
        }
    }
}

fn is_taken(why: &io::Error) -> bool {
    why.kind() == io::ErrorKind::AlreadyExists
}

/// Whether a file has just these bytes.
fn holds(path: &Path, bytes: &[u8]) -> bool {
    let is_as_long = |about: fs::Metadata| about.is_file() && about.len() == bytes.len() as u64;
    fs::metadata(path).is_ok_and(is_as_long) && fs::read(path).is_ok_and(|is| is == bytes)
}

fn add_error(error: AddError) -> Error {
    match error {
        AddError::Disk(error) => Error::Disk(error),
        AddError::Command(CommandError::Duplicate(hash)) => Error::Duplicate(hash),
        AddError::Command(CommandError::Unknown | CommandError::Stopping) => Error::Stopped,
    }
}

/// Whether the event may have taken away a torrent's last source, so that it should be looked at now.
fn may_end_one(event: &Event) -> bool {
    matches!(
        event,
        Event::Checked { .. }
            | Event::Complete { .. }
            | Event::Tracker { .. }
            | Event::PeerGone { .. }
    )
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
