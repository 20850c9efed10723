//! The only code that names mio: the turn, sockets, the clock, signals.
//!
//! A [`Reactor`] hosts sessions and is all the world they see. It owns one `mio::Poll`, so the program has one
//! thread and waits in one place. One call of [`Reactor::turn`] is:
//!
//! ```text
//!  1 wait      until a socket is ready, a deadline has come, or not at all while work is left
//!  2 now       one reading of the clock decides everything in this turn
//!  3 mark      readiness is kept until a call would have blocked
//!  4 accept    up to 32 a listener
//!  5 read      every readable socket once, all through one buffer, a batch of them for the disk (`receive`)
//!  6 udp       up to 64 datagrams a socket; what name servers say
//!  7 jobs      hashing and checking, about 4 ms
//!  8 timers    Input::Timeout, the journals and one sync, if due
//!  9 write     every connection that has something to send and room for it, one writev each
//! 10 reap      closed sockets are freed
//! ```
//!
//! After each input the session's outputs are carried out before it hears the next (`host`); only what it wants of the
//! disk is gathered from some of them. Nothing but the
//! file system is ever waited for, and how long the longest turn took is measured: [`Reactor::longest_turn`].

mod authorities;
mod bulk;
mod calm;
mod clock;
mod groups;
mod host;
mod interrupts;
mod jobs;
mod listen;
mod lookup;
mod names;
mod receive;
mod send;
mod signals;
mod sockets;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mio::Events;

use self::calm::Calm;
use self::host::Host;
use self::jobs::JobPace;
use self::listen::Accepted;
use self::signals::Watch;
use self::sockets::{SocketKey, Sockets, Source};
use crate::base::buffer::Buffer;
use crate::base::limits;
use crate::base::memory::Memory;
use crate::base::time::{Instant, earliest};
use crate::disk::{Budget, DONE_MAX, FileStore, Place, Store as _, Totals};
use crate::engine::Session;
use crate::engine::command::{AddTorrent, Command, CommandError, Reply};
use crate::engine::io::{DiskError, Event, Input, TorrentId};
use crate::engine::stats::{Snapshot, TorrentSnapshot};
use crate::net::resolver::SocketEvent;
use crate::wire::metainfo::Metainfo;

pub use self::clock::Clock;
pub use self::host::HostId;
pub use self::interrupts::Interrupts;
pub use self::listen::Listening;
pub use self::lookup::look_up;

/// The loop: sessions, their sockets and disks, on one thread.
pub struct Reactor {
    clock: Clock,
    net: Sockets,
    events: Events,
    hosts: Vec<Host>,
    signals: Option<Watch>,
    /// Every byte that comes in passes through here.
    receive: Vec<u8>,
    /// Every block that goes out passes through here. Its pages cost nothing before they are used.
    send: Buffer,
    /// Sockets whose turn it is; empty between turns, kept for its capacity.
    queue: Vec<SocketKey>,
    heard: Vec<(HostId, Event)>,
    jobs: JobPace,
    memory: Memory,
    calm: Calm,
    longest: Duration,
    turns: u64,
}

impl Reactor {
    /// A reactor without sessions whose memory has no limit. Its clock starts at zero now.
    ///
    /// # Errors
    ///
    /// What the system says if it has no descriptor for the poll.
    pub fn new() -> io::Result<Self> {
        Self::within(Memory::default())
    }

    /// As [`Reactor::new`], with buffers of these sizes. How many peers there may be, the sessions' settings say.
    ///
    /// # Errors
    ///
    /// As [`Reactor::new`].
    pub fn within(memory: Memory) -> io::Result<Self> {
        Ok(Self {
            clock: Clock::new(),
            net: Sockets::new(memory.socket)?,
            events: Events::with_capacity(EVENTS),
            hosts: Vec::new(),
            signals: None,
            receive: vec![0; memory.receive],
            send: Buffer::new(memory.send + limits::BLOCK as usize),
            queue: Vec::new(),
            heard: Vec::new(),
            jobs: JobPace::new(),
            memory,
            calm: Calm::default(),
            longest: Duration::ZERO,
            turns: 0,
        })
    }

    /// Takes up a session. Its settings name the port of `listening`, which was bound before.
    ///
    /// # Errors
    ///
    /// What the system says if a listening socket can't be watched.
    pub fn host(&mut self, session: Session, listening: Vec<Listening>) -> io::Result<HostId> {
        let id = HostId(self.hosts.len());
        let port = listening.first().map_or(0, |one| one.address().port());
        let mut store = FileStore::default();
        store.set_reads(self.memory.read_back, self.memory.check);
        self.hosts.push(Host::new(id, session, store, port));
        for one in listening {
            self.net.listen(id, one.into_socket())?;
        }
        Ok(id)
    }

    /// Catches SIGINT and SIGTERM from now on ([`Reactor::stop_signals`]), and keeps SIGHUP, SIGUSR1, SIGUSR2
    /// and SIGXFSZ from ending the process.
    ///
    /// # Errors
    ///
    /// What the system says if it can't.
    pub fn watch_signals(&mut self) -> io::Result<()> {
        self.signals = Some(Watch::new(self.net.registry())?);
        Ok(())
    }

    /// Makes a session's TLS connections trust the authorities of this PEM file (`--ca-file`) and no others. Else they
    /// are those of `SSL_CERT_FILE`, of the system, or built in; they are read when a connection first needs them.
    pub fn trust(&mut self, host: HostId, ca_file: impl Into<PathBuf>) {
        self.hosts[host.0].authorities.set_file(ca_file.into());
    }

    /// Takes up a torrent: its store learns where its files are before the session asks for them.
    ///
    /// # Errors
    ///
    /// [`AddError`]: the session refuses it, or its files can't be used.
    pub fn add(
        &mut self,
        host: HostId,
        torrent: AddTorrent,
        place: Place,
    ) -> Result<TorrentId, AddError> {
        let now = self.clock.now();
        let metainfo = Arc::clone(&torrent.metainfo);
        let host = &mut self.hosts[host.0];
        let reply = host.session.handle_command(now, Command::Add(torrent));
        let result = match reply {
            Ok(Reply::Added(id)) => match host.store.add(id, metainfo, place) {
                Ok(()) => Ok(id),
                Err(error) => {
                    host.take_back(now, id);
                    Err(AddError::Disk(error))
                }
            },
            Ok(Reply::Done) => Err(AddError::Command(CommandError::Unknown)),
            Err(error) => Err(AddError::Command(error)),
        };
        host.hear_store(&mut self.heard);
        host.settle(&mut self.net, now, &[], &mut self.heard);
        result
    }

    /// Takes up a torrent of which only the info-hash is known: its store learns of it by [`Reactor::describe`].
    ///
    /// # Errors
    ///
    /// [`AddError::Command`]: the session refuses it.
    pub fn add_undescribed(
        &mut self,
        host: HostId,
        torrent: AddTorrent,
    ) -> Result<TorrentId, AddError> {
        match self.command(host, Command::AddUndescribed(torrent)) {
            Ok(Reply::Added(id)) => Ok(id),
            Ok(Reply::Done) => Err(AddError::Command(CommandError::Unknown)),
            Err(error) => Err(AddError::Command(error)),
        }
    }

    /// Says what such a torrent is, to its store first.
    ///
    /// # Errors
    ///
    /// [`AddError`]: its files can't be used, or the session refuses it.
    pub fn describe(
        &mut self,
        host: HostId,
        torrent: TorrentId,
        metainfo: Arc<Metainfo>,
        place: Place,
    ) -> Result<(), AddError> {
        let store = &mut self.hosts[host.0].store;
        store
            .add(torrent, Arc::clone(&metainfo), place)
            .map_err(AddError::Disk)?;
        self.command(host, Command::Describe { torrent, metainfo })
            .map(|_| ())
            .map_err(AddError::Command)
    }

    /// Gives a session a command and carries out what follows from it. With `Command::Shutdown` what was
    /// verified is synced, a file at a time, for at most 0.7 s and one file.
    ///
    /// # Errors
    ///
    /// What the session says to it.
    pub fn command(&mut self, host: HostId, command: Command) -> Result<Reply, CommandError> {
        let now = self.clock.now();
        let host = &mut self.hosts[host.0];
        let stops = matches!(command, Command::Shutdown);
        if let Command::Remove(_) = command {
            host.note_totals(now);
        }
        let reply = host.session.handle_command(now, command);
        host.settle(&mut self.net, now, &[], &mut self.heard);
        if stops && !std::mem::replace(&mut host.stopping, true) {
            // The goodbyes are on their way already.
            let is_time = || self.clock.now() - now < FLUSH;
            host.flush_store(now, &mut self.heard, is_time);
        }
        reply
    }

    /// Payload of a torrent moved in all runs, this one included, as far as is remembered: received, sent.
    pub fn totals(&self, host: HostId, torrent: TorrentId) -> Totals {
        self.hosts[host.0].store.totals(torrent)
    }

    /// For a torrent that is complete: makes its empty files, cuts longer ones if that was allowed, and sees whether all
    /// are still there.
    ///
    /// # Errors
    ///
    /// What the disk says; [`DiskErrorKind::Changed`](crate::engine::io::DiskErrorKind::Changed) if a file has gone.
    pub fn finish(&mut self, host: HostId, torrent: TorrentId) -> Result<(), DiskError> {
        self.hosts[host.0].store.finish(torrent)
    }

    /// Makes the buffers of these sizes from now on; how many peers there may be, [`Command::Resize`] says.
    pub fn resize(&mut self, memory: Memory) {
        self.receive.resize(memory.receive, 0);
        self.receive.shrink_to_fit();
        self.send.resize(memory.send + limits::BLOCK as usize);
        self.net.set_buffers(memory.socket);
        for host in &mut self.hosts {
            host.store.set_reads(memory.read_back, memory.check);
        }
        self.memory = memory;
    }

    /// Closes all sockets of a session at once. It should have stopped; it is driven no more.
    pub fn retire(&mut self, host: HostId) {
        self.net.close_host(host);
        self.hosts[host.0].retired = true;
    }

    /// Waits at most `most` for something to happen (`None`: as long as it takes), and does what is to be done.
    ///
    /// # Errors
    ///
    /// What the system says if it can't wait: there is no going on.
    pub fn turn(&mut self, most: Option<Duration>) -> io::Result<()> {
        let mut now = self.clock.now();
        let mut wait = self.wait_at_most(now, most);
        // What is at hand is done at once, and so is what is due; only sockets are left alone for a while.
        let rest = self.calm.rest(now);
        let rest = wait.map_or(rest, |wait| wait.min(rest));
        if !rest.is_zero() {
            self.clock.wait_begins(Some(rest));
            self.net.rest(rest)?;
            now = self.clock.now();
            wait = self.wait_at_most(now, most);
        }
        self.clock.wait_begins(wait);
        self.net.wait(&mut self.events, wait)?;
        let now = self.clock.now();
        self.mark(now);
        self.connect(now);
        self.accept(now);
        self.read(now);
        self.receive_datagrams(now);
        self.receive_names(now);
        self.work(now);
        self.time_out(now);
        self.write(now);
        self.net.reap();
        self.calm.handle_turn(now);
        self.turns += 1;
        self.longest = self.longest.max(self.clock.now() - now);
        Ok(())
    }

    /// The events since the last call, in order.
    pub fn take_events(&mut self) -> Vec<(HostId, Event)> {
        std::mem::take(&mut self.heard)
    }

    /// How the torrents of a session stand.
    pub fn torrents(&self, host: HostId) -> Vec<TorrentSnapshot> {
        self.hosts[host.0].session.torrents(self.clock.now())
    }

    /// How a session stands, with each of its peers.
    pub fn snapshot(&self, host: HostId) -> Snapshot {
        self.hosts[host.0].session.snapshot(self.clock.now())
    }

    /// What a session's DHT needs to begin again without the usual nodes ([`Session::dht_nodes`]).
    pub fn dht_nodes(&self, host: HostId) -> Vec<u8> {
        self.hosts[host.0].session.dht_nodes(self.clock.now())
    }

    /// The time on the reactor's clock.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// How often SIGINT or SIGTERM came.
    pub fn stop_signals(&self) -> u32 {
        self.signals.as_ref().map_or(0, Watch::stops)
    }

    /// How often SIGHUP came.
    pub fn hangups(&self) -> u32 {
        self.signals.as_ref().map_or(0, Watch::hangups)
    }

    /// How long the longest turn took, waiting not counted: whatever happens waits at most so long.
    pub fn longest_turn(&self) -> Duration {
        self.longest
    }

    /// Bytes of lasting state written by all sessions.
    pub fn state_written(&self) -> u64 {
        self.hosts
            .iter()
            .map(|host| host.store.state_written())
            .sum()
    }

    /// How many turns there were: about as often as that the process woke up.
    pub fn turns(&self) -> u64 {
        self.turns
    }

    // ---------------------------------------------------------------------- the steps of the turn

    fn wait_at_most(&self, now: Instant, most: Option<Duration>) -> Option<Duration> {
        let hosts = self.hosts.iter().filter(|host| !host.retired);
        let has_job = hosts.clone().any(|host| host.has_job || host.is_parting());
        // What a command brought about is told as soon as what a turn did.
        if has_job || self.net.has_work(now) || !self.heard.is_empty() {
            return Some(Duration::ZERO);
        }
        let mut most = most;
        let mut readable = self.net.readable().peekable();
        if readable.peek().is_some() {
            let allowed = |stream: &sockets::Stream| {
                let session = &self.hosts[stream.host.0].session;
                session.read_allowance(now, stream.conn) > 0
            };
            if readable.any(allowed) {
                return Some(Duration::ZERO);
            }
            most = Some(most.map_or(HELD_BACK, |most| most.min(HELD_BACK)));
        }
        let due = hosts.fold(self.net.poll_timeout(), |sooner, host| {
            let store = host.store.poll_timeout();
            earliest(sooner, earliest(host.session.poll_timeout(), store))
        });
        let until = due.map(|due| now.until(due));
        match (until, most) {
            (Some(until), Some(most)) => Some(until.min(most)),
            (one, None) | (None, one) => one,
        }
    }

    fn mark(&mut self, now: Instant) {
        for event in &self.events {
            if event.token() == signals::TOKEN {
                if let Some(signals) = &mut self.signals {
                    signals.handle_ready();
                }
            } else {
                self.net.mark(event);
            }
        }
        self.net.mark_bulk(now);
    }

    fn connect(&mut self, now: Instant) {
        for key in self.net.take_connecting() {
            let Some(stream) = self.net.stream(key) else {
                continue;
            };
            let (host, conn) = (&mut self.hosts[stream.host.0], stream.conn);
            match self.net.connected(key) {
                None => {}
                Some(Ok(())) => {
                    let input = Input::Connected { conn };
                    host.handle(&mut self.net, now, input, &mut self.heard);
                }
                Some(Err(why)) => {
                    host.close(&mut self.net, conn);
                    let input = Input::ConnectFailed { conn, why };
                    host.handle(&mut self.net, now, input, &mut self.heard);
                }
            }
        }
    }

    fn accept(&mut self, now: Instant) {
        let mut index = 0;
        while let Some(source) = self.net.port_mut(index) {
            index += 1;
            if !matches!(source, Source::Listener(_)) {
                continue;
            }
            for _ in 0..ACCEPTS {
                if !self.accept_one(now, index - 1) {
                    break;
                }
            }
        }
    }

    /// Takes one connection from the `index`th port; false if there was none.
    fn accept_one(&mut self, now: Instant, index: usize) -> bool {
        let Some(Source::Listener(listener)) = self.net.port_mut(index) else {
            return false;
        };
        let host = &mut self.hosts[listener.host.0];
        let (tcp, from) = match listener.accept(now) {
            Accepted::One(tcp, from) => (tcp, from),
            Accepted::Gone => return true,
            Accepted::Shortage(error) => {
                let warning = Event::Warning {
                    torrent: None,
                    kind: "net.fds",
                    message: format!("cannot take up a connection: {error}; trying again"),
                };
                self.heard.push((host.id, warning));
                return false;
            }
            Accepted::None => return false,
        };
        let wanted = host.session.accept(now, from);
        // First whatever made room for it is closed: its place in the table may be the new one's.
        host.settle(&mut self.net, now, &[], &mut self.heard);
        // Whom the session does not want is closed by dropping the socket.
        if let Some(conn) = wanted {
            self.calm.handle_arrival();
            match self.net.adopt(now, host.id, conn, tcp) {
                Ok(socket) => host.bind(conn, socket),
                Err(error) => {
                    log::debug!("a connection from {from} can't be watched: {error}");
                    host.handle(&mut self.net, now, Input::Failed { conn }, &mut self.heard);
                }
            }
        }
        true
    }

    fn receive_datagrams(&mut self, now: Instant) {
        let mut index = 0;
        while self.net.port_mut(index).is_some() {
            for _ in 0..DATAGRAMS {
                if !self.receive_datagram(now, index) {
                    break;
                }
            }
            index += 1;
        }
    }

    /// Takes one datagram from the `index`th port; false if there was none.
    fn receive_datagram(&mut self, now: Instant, index: usize) -> bool {
        let Some(Source::Udp(udp)) = self.net.port_mut(index) else {
            return false;
        };
        if !udp.readable {
            return false;
        }
        let host = &mut self.hosts[udp.host.0];
        match udp.socket.recv_from(&mut self.receive) {
            Ok((len, from)) => {
                let bytes = &self.receive[..len];
                let input = match udp.is_group {
                    true => Input::Multicast { from, bytes },
                    false => Input::Datagram { from, bytes },
                };
                host.handle(&mut self.net, now, input, &mut self.heard);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                udp.readable = false;
                false
            }
            // What went wrong with an earlier datagram is reported here (ICMP): more may wait behind it.
            Err(_) => true,
        }
    }

    /// Hands in what happened on resolvers' sockets.
    fn receive_names(&mut self, now: Instant) {
        for key in self.net.take_names() {
            let mut turns = 0;
            while let Some(name) = self.net.name_mut(key) {
                turns += 1;
                if turns > DATAGRAMS {
                    self.net.queue_name(key);
                    break;
                }
                let (host, socket) = (&mut self.hosts[name.host.0], name.socket);
                let Some(event) = name.wire.poll(&mut self.receive) else {
                    break;
                };
                let is_over = event == SocketEvent::Failed;
                let input = Input::Dns { socket, event };
                host.handle(&mut self.net, now, input, &mut self.heard);
                if is_over {
                    break;
                }
            }
        }
    }

    fn work(&mut self, now: Instant) {
        let mut began = now;
        let mut spent = Duration::ZERO;
        for host in &mut self.hosts {
            while host.has_job && spent < jobs::SLICE && !host.retired {
                let budget = Budget(self.jobs.budget());
                host.has_job = host.store.work(budget, &mut host.done);
                let is_short = host.done.len() >= DONE_MAX;
                host.settle(&mut self.net, now, &[], &mut self.heard);
                let ended = self.clock.now();
                spent += ended - began;
                // The last slice of a job, and one that had much to say, is short for another reason than speed.
                if host.has_job && !is_short {
                    self.jobs.handle_slice(began, ended);
                }
                began = ended;
            }
        }
    }

    fn time_out(&mut self, now: Instant) {
        for host in self.hosts.iter_mut().filter(|host| !host.retired) {
            if host.session.poll_timeout().is_some_and(|due| due <= now) {
                host.handle(&mut self.net, now, Input::Timeout, &mut self.heard);
            }
            host.handle_store_timeout(now, &mut self.heard);
            host.part(&mut self.heard);
        }
    }

    fn write(&mut self, now: Instant) {
        let buffer = self.memory.socket.map(|socket| socket.send);
        let mut queue = std::mem::take(&mut self.queue);
        self.net.take_sending(&mut queue);
        for &key in &queue {
            let Some(stream) = self.net.stream(key) else {
                continue;
            };
            let host = &mut self.hosts[stream.host.0];
            let net = &mut self.net;
            let sent = send::send(host, net, now, key, &mut self.send, &mut self.heard);
            self.calm.handle_moved(sent, buffer);
        }
        self.queue = queue;
    }
}

/// Why a torrent was not taken up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AddError {
    /// The session refused it.
    Command(CommandError),
    /// Its files can't be used.
    Disk(DiskError),
}

/// How long a stop may take to sync what was verified.
const FLUSH: Duration = Duration::from_millis(700);
/// Events taken at once; more wait for the next turn.
const EVENTS: usize = 256;
/// Connections accepted in a turn, a listener.
const ACCEPTS: usize = 32;
/// Datagrams taken in a turn, a socket.
const DATAGRAMS: usize = 64;
/// How soon a connection is looked at again that could be read but may not be.
const HELD_BACK: Duration = Duration::from_millis(20);
