//! A session in the reactor, with its store and its sockets: the law of the boundary is kept here.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use mio::net::UdpSocket;
use socket2::{Domain, Protocol, Socket, Type};

use super::authorities::Authorities;
use super::clock::unix_seconds;
use super::groups;
use super::names::{NameSocket, Wire, read_config};
use super::sockets::{SocketKey, Sockets};
use crate::base::time::Instant;
use crate::disk::{DiskWarning, FileStore, Store as _};
use crate::engine::Session;
use crate::engine::command::Command;
use crate::engine::io::{ConnId, ConnectError, DiskDone, DiskOp, Event, Input, Output, TorrentId};
use crate::net::resolver::{self, SocketEvent, SocketId};

/// Names a session of a reactor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HostId(pub(super) usize);

/// A session with all that it stands on.
pub(super) struct Host {
    pub(super) id: HostId,
    pub(super) session: Session,
    pub(super) store: FileStore,
    /// What the disk answered and the session has not heard yet.
    pub(super) done: VecDeque<DiskDone>,
    /// Whether the disk has a job that goes on.
    pub(super) has_job: bool,
    /// Whether it is driven no more.
    pub(super) retired: bool,
    /// Whether the session was told to stop.
    pub(super) stopping: bool,
    /// When the store was last told what was moved.
    totals_noted: Instant,
    /// Torrents that the session has forgotten and the store has not.
    parting: VecDeque<TorrentId>,
    ops: Vec<DiskOp>,
    answers: VecDeque<Answer>,
    /// The resolver's sockets.
    names: BTreeMap<SocketId, SocketKey>,
    /// Whom its TLS connections trust.
    pub(super) authorities: Authorities,
    /// By the slot of the connection's name.
    sockets: Vec<Option<(ConnId, SocketKey)>>,
    udp: [Family; 2],
    groups: [Family; 2],
    port: u16,
}

impl Host {
    /// A session whose peers reach it at `port` (0: they don't).
    pub(super) fn new(id: HostId, session: Session, store: FileStore, port: u16) -> Self {
        Self {
            id,
            session,
            store,
            done: VecDeque::new(),
            has_job: false,
            retired: false,
            stopping: false,
            totals_noted: Instant::default(),
            parting: VecDeque::new(),
            ops: Vec::new(),
            answers: VecDeque::new(),
            names: BTreeMap::new(),
            authorities: Authorities::default(),
            sockets: Vec::new(),
            udp: [Family::Unopened, Family::Unopened],
            groups: [Family::Unopened, Family::Unopened],
            port,
        }
    }

    /// Hands one thing in and carries out all that follows from it. What was gathered must have been settled before.
    pub(super) fn handle(
        &mut self,
        net: &mut Sockets,
        now: Instant,
        input: Input<'_>,
        heard: &mut Vec<(HostId, Event)>,
    ) {
        debug_assert!(self.ops.is_empty(), "they name bytes that are not at hand");
        self.session.handle(now, input);
        self.settle(net, now, &[], heard);
    }

    /// Hands in what a connection brought, and carries out what follows from it but for the disk's part: that is
    /// gathered, for [`Host::settle`]. `came` lies `at` bytes into what will be given there.
    pub(super) fn gather(
        &mut self,
        net: &mut Sockets,
        now: Instant,
        conn: ConnId,
        came: &[u8],
        at: usize,
        heard: &mut Vec<(HostId, Event)>,
    ) {
        let gathered = self.ops.len();
        self.session
            .handle(now, Input::Received { conn, bytes: came });
        self.drain(net, now, heard);
        for op in &mut self.ops[gathered..] {
            op.shift(at);
        }
    }

    /// Carries out what the session wants until it wants nothing more. `received` is what was gathered.
    ///
    /// Operations go to the disk in one batch, so that neighbouring blocks become one write. Its answers are inputs
    /// of their own, each followed by a drain. It ends because an answer is the end of an operation, and the session
    /// asks for new ones only out of what a peer sent.
    pub(super) fn settle(
        &mut self,
        net: &mut Sockets,
        now: Instant,
        mut received: &[u8],
        heard: &mut Vec<(HostId, Event)>,
    ) {
        loop {
            self.drain(net, now, heard);
            if !self.ops.is_empty() {
                self.store.handle(&mut self.ops, received, &mut self.done);
                self.has_job = true;
            }
            received = &[];
            if let Some(done) = self.done.pop_front() {
                self.session.handle(now, Input::DiskDone(done));
            } else if let Some(answer) = self.answers.pop_front() {
                self.answer(now, answer);
            } else {
                break;
            }
        }
        for v6 in [false, true] {
            if self.session.hears_strangers(v6) {
                self.open_udp(net, v6);
            }
        }
    }

    fn answer(&mut self, now: Instant, answer: Answer) {
        let session = &mut self.session;
        match answer {
            Answer::Refused(conn, why) => session.handle(now, Input::ConnectFailed { conn, why }),
            Answer::NameFailed(socket) => {
                let event = SocketEvent::Failed;
                session.handle(now, Input::Dns { socket, event });
            }
            Answer::DnsConfig => {
                let (resolv_conf, hosts) = &read_config();
                session.handle(now, Input::DnsConfig { resolv_conf, hosts });
            }
            Answer::Authorities(conn) => {
                let input = Input::Authorities {
                    conn,
                    trust: self.authorities.load(),
                    now_unix: unix_seconds(),
                };
                session.handle(now, input);
            }
        }
    }

    /// What the store has to do by the clock, if it is due.
    pub(super) fn handle_store_timeout(&mut self, now: Instant, heard: &mut Vec<(HostId, Event)>) {
        if now - self.totals_noted >= TOTALS_EVERY {
            self.note_totals(now);
        }
        if self.store.poll_timeout().is_some_and(|due| due <= now) {
            self.note_totals(now);
            self.store.handle_timeout(now);
        }
        self.hear_store(heard);
    }

    /// Syncs what is left for a stop in good order, a file at a time and while there is time.
    pub(super) fn flush_store(
        &mut self,
        now: Instant,
        heard: &mut Vec<(HostId, Event)>,
        is_time: impl Fn() -> bool,
    ) {
        self.note_totals(now);
        let torrents = self.session.moved().map(|it| it.0);
        for torrent in torrents.chain(self.parting.iter().copied()) {
            while self.store.flush(torrent) && is_time() {}
            if !is_time() {
                break;
            }
        }
        self.hear_store(heard);
    }

    /// Takes back a torrent that the store refused. Of what the session wanted for it nothing is carried out.
    pub(super) fn take_back(&mut self, now: Instant, torrent: TorrentId) {
        while self.session.poll_output().is_some() {}
        // It was added a moment ago.
        let _ = self.session.handle_command(now, Command::Remove(torrent));
    }

    /// Whether the store still has torrents that the session has forgotten.
    pub(super) fn is_parting(&self) -> bool {
        !self.parting.is_empty()
    }

    /// Syncs one file of such a torrent, or forgets it if nothing is left to sync.
    pub(super) fn part(&mut self, heard: &mut Vec<(HostId, Event)>) {
        let Some(&torrent) = self.parting.front() else {
            return;
        };
        if !self.store.flush(torrent) {
            self.store.remove(torrent);
            self.parting.pop_front();
        }
        self.hear_store(heard);
    }

    /// Hands on what the store has to say.
    pub(super) fn hear_store(&mut self, heard: &mut Vec<(HostId, Event)>) {
        while let Some(warning) = self.store.poll_warning() {
            let DiskWarning {
                torrent,
                kind,
                message,
            } = warning;
            let torrent = Some(torrent);
            let event = Event::Warning {
                torrent,
                kind,
                message,
            };
            heard.push((self.id, event));
        }
    }

    /// Tells the store what was moved.
    pub(super) fn note_totals(&mut self, now: Instant) {
        self.totals_noted = now;
        for (torrent, down, up) in self.session.moved() {
            self.store.handle_totals(torrent, down, up);
        }
    }

    /// The socket of a connection.
    pub(super) fn socket(&self, conn: ConnId) -> Option<SocketKey> {
        match self.sockets.get(conn.index()) {
            Some(Some((name, socket))) if *name == conn => Some(*socket),
            _ => None,
        }
    }

    /// Remembers the socket of a connection.
    pub(super) fn bind(&mut self, conn: ConnId, socket: SocketKey) {
        if self.sockets.len() <= conn.index() {
            self.sockets.resize(conn.index() + 1, None);
        }
        self.sockets[conn.index()] = Some((conn, socket));
    }

    /// Forgets the socket of a connection and closes it.
    pub(super) fn close(&mut self, net: &mut Sockets, conn: ConnId) {
        if let Some(socket) = self.socket(conn) {
            self.sockets[conn.index()] = None;
            net.close(socket);
        }
    }

    fn drain(&mut self, net: &mut Sockets, now: Instant, heard: &mut Vec<(HostId, Event)>) {
        while let Some(output) = self.session.poll_output() {
            self.carry_out(net, now, output, heard);
        }
    }

    fn carry_out(
        &mut self,
        net: &mut Sockets,
        now: Instant,
        output: Output,
        heard: &mut Vec<(HostId, Event)>,
    ) {
        match output {
            Output::Connect { conn, to } => match net.connect(now, self.id, conn, to) {
                Ok(socket) => self.bind(conn, socket),
                Err(why) => self.answers.push_back(Answer::Refused(conn, why)),
            },
            Output::Close { conn } => self.close(net, conn),
            Output::Transmit { conn } => {
                if let Some(socket) = self.socket(conn) {
                    net.wants_write(socket);
                }
            }
            Output::Datagram { to, bytes } => self.send_datagram(net, to, &bytes),
            Output::Multicast { to, bytes } => self.tell_group(net, to, &bytes),
            Output::Dns(action) => self.look_up(net, action),
            Output::ReadAuthorities { conn } => self.answers.push_back(Answer::Authorities(conn)),
            Output::Disk(op) => self.ops.push(op),
            Output::Event(event) => {
                if let Event::Removed { torrent } = event {
                    self.parting.push_back(torrent);
                }
                heard.push((self.id, event));
            }
        }
    }

    /// Does what the resolver asks for.
    fn look_up(&mut self, net: &mut Sockets, action: resolver::Action) {
        use resolver::Action as A;
        let (socket, opened) = match action {
            A::Datagram { socket, to, bytes } => (socket, Wire::ask(to, &bytes)),
            A::Connect { socket, to } => (socket, Wire::connect(to)),
            A::Send { socket, bytes } => {
                let known = self.names.get(&socket).and_then(|key| net.name_mut(*key));
                let sent = known.map(|name| name.wire.send(&bytes));
                if !matches!(sent, Some(Ok(()))) {
                    self.answers.push_back(Answer::NameFailed(socket));
                }
                return;
            }
            A::Close { socket } => {
                if let Some(key) = self.names.remove(&socket) {
                    net.close(key);
                }
                return;
            }
            A::ReadConfig => return self.answers.push_back(Answer::DnsConfig),
        };
        let host = self.id;
        let named = opened.map(|wire| NameSocket { host, socket, wire });
        match named.and_then(|name| net.watch_name(name)) {
            Ok(key) => {
                self.names.insert(socket, key);
            }
            Err(error) => {
                log::debug!("a name server can't be asked: {error}");
                self.answers.push_back(Answer::NameFailed(socket));
            }
        }
    }

    /// Sends a datagram to a group on every interface, and hears the group from now on.
    fn tell_group(&mut self, net: &mut Sockets, group: SocketAddr, bytes: &[u8]) {
        let family = &mut self.groups[usize::from(group.is_ipv6())];
        if let Family::Unopened = family {
            let opened = groups::open(group).and_then(|it| net.bind_udp(self.id, it, true));
            *family = match opened {
                Ok(socket) => Family::Open(socket),
                Err(error) => {
                    log::info!("no peers from the local network by {group}: {error}");
                    Family::Missing
                }
            };
        }
        if let Family::Open(socket) = *family
            && let Some(udp) = net.udp_mut(socket)
            && groups::announce(&udp.socket, group, bytes) == 0
        {
            log::debug!("no interface carries anything to {group}");
        }
    }

    /// Opens the UDP socket of a family, if it was not tried before.
    fn open_udp(&mut self, net: &mut Sockets, v6: bool) {
        let family = &mut self.udp[usize::from(v6)];
        if !matches!(family, Family::Unopened) {
            return;
        }
        let opened = open_udp(v6, self.port).and_then(|it| net.bind_udp(self.id, it, false));
        *family = match opened {
            Ok(socket) => Family::Open(socket),
            Err(error) => {
                let family = if v6 { "IPv6" } else { "IPv4" };
                log::warn!("no UDP socket for {family}: {error}");
                Family::Missing
            }
        };
    }

    /// Sends a datagram, or loses it: whoever uses datagrams reckons with that.
    fn send_datagram(&mut self, net: &mut Sockets, to: SocketAddr, bytes: &[u8]) {
        self.open_udp(net, to.is_ipv6());
        let Family::Open(socket) = self.udp[usize::from(to.is_ipv6())] else {
            return;
        };
        if let Some(udp) = net.udp_mut(socket)
            && let Err(error) = udp.socket.send_to(bytes, to)
        {
            log::debug!("a datagram to {to} was lost: {error}");
        }
    }
}

/// How often the store is told what was moved, if it has nothing else to do.
const TOTALS_EVERY: Duration = Duration::from_secs(60);
/// An input that an output brought about at once.
enum Answer {
    Refused(ConnId, ConnectError),
    NameFailed(SocketId),
    DnsConfig,
    Authorities(ConnId),
}

/// A UDP socket, opened when it is first needed.
#[derive(Clone, Copy)]
enum Family {
    Unopened,
    Open(SocketKey),
    /// The system has no such address family, or no port.
    Missing,
}

/// A UDP socket on the port that peers know, else on any.
fn open_udp(v6: bool, port: u16) -> io::Result<UdpSocket> {
    let (domain, ip) = if v6 {
        (Domain::IPV6, IpAddr::V6(Ipv6Addr::UNSPECIFIED))
    } else {
        (Domain::IPV4, IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    };
    let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if v6 {
        socket.set_only_v6(true)?;
    }
    if socket.bind(&SocketAddr::new(ip, port).into()).is_err() {
        socket.bind(&SocketAddr::new(ip, 0).into())?;
    }
    Ok(UdpSocket::from_std(socket.into()))
}
