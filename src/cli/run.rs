//! Downloading and seeding: a client driven to its end while its face shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use super::exit::Exit;
use super::face::{Face, State};
use super::options::Options;
use super::progress::Progress;
use super::{logger, units};
use crate::base::escape::escape_field;
use crate::base::memory::Memory;
use crate::client::{
    Client, Error, Event, Goal, Reading, Target, TorrentId, TorrentSnapshot, waiting,
};
use crate::reactor::Interrupts;

/// Downloads or seeds the torrents. What goes wrong with one does not stop the others; the highest status of all
/// counts.
pub(super) fn run(options: &Options, interrupts: &Interrupts) -> Exit {
    let mut face = Face::new(Progress::new(options), options);
    for (kind, message) in &options.warnings {
        face.warning(Duration::ZERO, kind, message);
    }
    if options.torrents.len() > 1 {
        face.expect_several();
    }
    let (targets, mut worst, may_save) = load_all(options, interrupts, &mut face);
    if targets.is_empty() {
        return worst;
    }
    if options.plan.save_torrent.is_some() && !may_save {
        let why = "--save-torrent keeps what a magnet link or an info-hash stands for, \
                   and all that is named is a torrent file already";
        face.error("usage", why, "nothing was started, see --help");
        return worst.max(Exit::Usage);
    }
    let client = match Client::new(options.config.clone()) {
        Ok(client) => client,
        Err(error) => {
            face.client_error(&error, "");
            return worst.max(Exit::of(&error));
        }
    };
    // From here on the client looks at signals.
    if interrupts.came() {
        if worst < Exit::Interrupted {
            worst = face.unread(&Error::Interrupted, &options.torrents[0]);
        }
        return worst;
    }
    let mut run = Run::new(client, &mut face);
    for target in targets {
        worst = worst.max(run.add(options, target));
    }
    if !run.is_empty() {
        run.say_limits(options);
        worst = worst.max(run.drive());
    }
    face.close();
    worst
}

/// Reads what was named on the command line, each torrent once. Says too whether there may be something to save as a
/// torrent file: a magnet link, or what can't be told from one as it can't be read.
fn load_all(
    options: &Options,
    interrupts: &Interrupts,
    face: &mut Face,
) -> (Vec<Target>, Exit, bool) {
    let reading = Reading::of(&options.config, interrupts);
    let mut worst = Exit::Complete;
    let mut targets: Vec<Target> = Vec::new();
    let mut may_save = false;
    for name in &options.torrents {
        let target = match reading.target(Path::new(name)) {
            Ok(target) => target,
            Err(error) => {
                let exit = face.unread(&error, name);
                worst = worst.max(exit);
                may_save = true;
                if exit == Exit::Interrupted {
                    break;
                }
                continue;
            }
        };
        may_save |= target.metainfo.is_stand_in();
        let hash = target.metainfo.info_hash;
        match targets
            .iter_mut()
            .find(|known| known.metainfo.info_hash == hash)
        {
            None => targets.push(target),
            Some(known) => {
                let name = escape_field(name.as_encoded_bytes());
                let message = format!("{name}: the torrent is named twice, it is taken once");
                face.warning(Duration::ZERO, "torrent.twice", &message);
                known.peers.extend(target.peers);
                if known.metainfo.is_stand_in() {
                    known.metainfo = target.metainfo;
                }
            }
        }
    }
    (targets, worst, may_save)
}

/// What a memory limit means for this run.
fn within(limit: u64, memory: &Memory) -> String {
    format!(
        "within {}: {} peers at most, {} received at once, {} a connection in the kernel, {} requests a peer",
        units::bytes(limit),
        memory.peers,
        units::bytes(memory.receive as u64),
        units::bytes(memory.socket.map_or(0, |it| 2 * (it.receive + it.send)) as u64),
        memory.requests,
    )
}

/// A client and the face that shows it.
struct Run<'a> {
    client: Client,
    face: &'a mut Face,
    /// Torrents of which it was said what they are.
    started: BTreeSet<TorrentId>,
    /// Torrents that have ended, with the time that took.
    ended: BTreeMap<TorrentId, Duration>,
    /// Torrents whose end was told.
    told: BTreeSet<TorrentId>,
    hangups: u32,
    worst: Exit,
}

impl<'a> Run<'a> {
    fn new(client: Client, face: &'a mut Face) -> Self {
        Self {
            client,
            face,
            started: BTreeSet::new(),
            ended: BTreeMap::new(),
            told: BTreeSet::new(),
            hangups: 0,
            worst: Exit::Complete,
        }
    }

    /// Takes a torrent up, or says why not.
    fn add(&mut self, options: &Options, target: Target) -> Exit {
        let metainfo = std::sync::Arc::clone(&target.metainfo);
        let dir = &options.plan.output_dir;
        if options.plan.goal == Goal::Seed && !is_there(dir) {
            let dir = escape_field(dir.as_os_str().as_encoded_bytes());
            let nowhere = format!(" (there is no {dir})");
            self.face
                .torrent_error(&Error::Incomplete, &metainfo, &nowhere, "");
            return Exit::Incomplete;
        }
        match self.client.add(target, options.plan.clone()) {
            Ok(id) => {
                self.face.meet(id, &metainfo);
                self.say_started();
                Exit::Complete
            }
            Err(error) => {
                self.face.torrent_error(&error, &metainfo, "", "");
                Exit::of(&error)
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.client.downloads().next().is_none()
    }

    fn say_limits(&mut self, options: &Options) {
        if let (port, false) = self.client.port() {
            let message = format!("the ports asked for are taken, listening on {port}");
            self.face.warning(Duration::ZERO, "net.port", &message);
        }
        if let Some(limit) = options.config.mem_limit {
            self.face.note(&within(limit, &self.client.memory()));
        }
    }

    /// Goes on until each torrent has reached its goal and said goodbye, and tells how each ended.
    fn drive(&mut self) -> Exit {
        match self.turns() {
            Ok(()) => self.worst,
            Err(error) => {
                self.face.client_error(&error, "");
                self.worst.max(Exit::of(&error))
            }
        }
    }

    /// Turns the client until all is over, or a second signal ends that.
    fn turns(&mut self) -> Result<(), Error> {
        while !self.client.is_over() {
            self.turn()?;
            let elapsed = self.client.elapsed();
            if self.face.wait(elapsed).is_zero() {
                let state = self.state(elapsed);
                self.face.tick(&state);
            }
        }
        self.client.stop();
        while !self.client.is_stopped() && self.client.stop_signals() < 2 {
            self.turn()?;
        }
        let ended: Vec<TorrentId> = self.ended.keys().copied().collect();
        ended.into_iter().for_each(|id| self.tell(id));
        Ok(())
    }

    fn turn(&mut self) -> Result<(), Error> {
        let wait = self.face.wait(self.client.elapsed());
        let events = self.client.turn(Some(wait))?;
        let elapsed = self.client.elapsed();
        for (id, download) in self.client.downloads() {
            if download.outcome().is_some() {
                self.ended.entry(id).or_insert(elapsed);
            }
        }
        for event in &events {
            // What ends a torrent is said at its end, and nothing of its disk then.
            let ended = |id| self.ended.contains_key(&id);
            let is_last = event.torrent().is_some_and(ended);
            let of_disk = matches!(
                event,
                Event::DiskTrouble { .. } | Event::DiskRecovered { .. }
            );
            if !(is_last && of_disk) {
                self.face.event(elapsed, event);
            }
            if let Event::Removed { torrent } = event {
                self.tell(*torrent);
            }
        }
        self.say_started();
        if self.client.hangups() != self.hangups {
            self.hangups = self.client.hangups();
            if let Err(error) = logger::reopen() {
                let message = format!("it can't be opened anew: {error}, the old one is used");
                self.face.warning(elapsed, "log.file", &message);
            }
        }
        Ok(())
    }

    /// Says what the torrents are of which that has become known.
    fn say_started(&mut self) {
        for (id, download) in self.client.downloads() {
            if !download.metainfo().is_stand_in() && self.started.insert(id) {
                let port = self.client.port().0;
                self.face.started(id, download.metainfo(), port);
            }
        }
    }

    /// Tells how a torrent ended, once: when it has said its goodbyes.
    fn tell(&mut self, id: TorrentId) {
        let Some(download) = self.client.download(id) else {
            return;
        };
        let (Some(outcome), Some(elapsed)) = (download.outcome(), self.ended.get(&id)) else {
            return;
        };
        if !self.told.insert(id) {
            return;
        }
        let state = self.state(*elapsed);
        let snapshot = snapshot(&self.client, id);
        match outcome.clone().into_result() {
            Ok(()) => {
                if let Some(it) = &snapshot {
                    self.face.complete(&state, it, download.plan().goal);
                }
            }
            Err(error) => {
                let metainfo = download.metainfo();
                let (mut more, mut why) = (String::new(), String::new());
                match (&error, &snapshot) {
                    (Error::Incomplete, Some(it)) => {
                        more = format!(" ({} of {} pieces)", it.pieces_have, it.pieces);
                    }
                    (Error::Stalled | Error::NoSource, Some(it)) => {
                        why = waiting(it).map_or(why, |cause| format!(": {cause}"));
                    }
                    _ => {}
                }
                self.face.torrent_error(&error, metainfo, &more, &why);
                self.worst = self.worst.max(Exit::of(&error));
            }
        }
    }

    fn state(&self, elapsed: Duration) -> State {
        let mut torrents = self.client.snapshots();
        torrents.retain(|it| !self.ended.contains_key(&it.torrent));
        State {
            elapsed,
            torrents,
            ended: self.ended.len(),
            longest_turn: self.client.longest_turn(),
            state_written: self.client.state_written(),
        }
    }
}

pub(super) fn snapshot(client: &Client, id: TorrentId) -> Option<TorrentSnapshot> {
    let mut all = client.snapshots().into_iter();
    all.find(|it| it.torrent == id)
}

/// Whether a directory is there, as far as that can be seen.
pub(super) fn is_there(dir: &Path) -> bool {
    dir.try_exists().unwrap_or(true)
}
