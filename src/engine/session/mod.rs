//! A session: torrents, connections, and the law by which the world drives them.
//!
//! | file | what of the session it holds |
//! |---|---|
//! | `mod.rs` | the boundary: what the world calls |
//! | `finders.rs` | the DHT and the neighbourhood: peers without a tracker |
//! | `gentle.rs` | the budget of connections and datagrams a second |
//! | `greetings.rs` | accepting, handshakes: how a connection becomes a peer |
//! | `partings.rs` | how a torrent is paused or removed, and how all of it ends |
//! | `peers.rs` | messages of peers, orders of torrents |
//! | `places.rs` | places for peers: dialling, and how torrents share |
//! | `rates.rs` | the limits of all peers together |
//! | `snapshot.rs` | how it stands, in plain values |
//! | `sweep.rs` | everything that happens because time passes |
//! | `trackers.rs` | announces: over HTTP connections, over UDP, and those made to us |
//! | `names.rs` | the addresses of trackers' names |

mod finders;
mod gentle;
mod greetings;
mod names;
mod partings;
mod peers;
mod places;
mod rates;
mod snapshot;
mod sweep;
#[cfg(test)]
mod tests;
mod trackers;

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use self::gentle::Gentle;
use self::rates::Rates;
use super::command::{AddTorrent, Aim, Command, CommandError, Reply, Selection, Settings};
use super::conn::{Conn, Kind};
use super::dht::Dht;
use super::io::{
    ConnId, ConnTag, DiskDone, DiskOp, Event, Input, Output, Segment, Segments, TorrentId,
    TorrentTag,
};
use super::lsd::Lsd;
use super::peer::inbox::Pool;
use super::timers::{Timer, TimerTable};
use super::torrent::swarm::Origin;
use super::torrent::{Context, Order, Torrent};
use super::tracker::serve::TinyTracker;
use super::tracker::{Announcer, Identity};
use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::slots::Slots;
use crate::base::time::{Instant, earliest};
use crate::net::resolver::{Resolver, ResolverConfig};

/// The engine: pure, driven by `handle` and drained by `poll_output`.
///
/// ```no_run
/// # use minitorrent::base::{ids::PeerId, time::Instant};
/// # use minitorrent::engine::{Session, command::Settings, io::Input};
/// # fn wait_until(_: Option<Instant>) -> Instant { Instant::default() }
/// # fn carry_out(_: minitorrent::engine::io::Output) {}
/// let mut now = Instant::default();
/// let mut session = Session::new(now, Settings::new(PeerId(*b"-MI0100-............")), [7; 32]);
/// loop {
///     session.handle(now, Input::Timeout);
///     while let Some(output) = session.poll_output() {
///         carry_out(output);
///     }
///     now = wait_until(session.poll_timeout());
/// }
/// ```
pub struct Session {
    settings: Settings,
    rng: Rng,
    conns: Slots<Conn, ConnTag>,
    torrents: Slots<Seat, TorrentTag>,
    out: VecDeque<Output>,
    orders: VecDeque<Order>,
    pool: Pool,
    timers: TimerTable,
    banned: BTreeSet<IpAddr>,
    rates: Rates,
    gentle: Gentle,
    tracker: Option<TinyTracker>,
    dht: Option<Dht>,
    lsd: Option<Lsd>,
    resolver: Resolver,
    key: u32,
    stopping: bool,
    /// Whether nobody is connected to.
    holding: bool,
    /// Torrents that say goodbye, and when that has to be over.
    leaving: Vec<(TorrentId, Instant)>,
}

/// A torrent and what announces it.
struct Seat {
    torrent: Torrent,
    announcer: Announcer,
    /// Whether a tracker has answered.
    answered: bool,
    /// The tracker that failed last and what went wrong, until one answers.
    tracker_trouble: Option<(String, String)>,
    /// Whether a peer of it was banned.
    knew_banned: bool,
}

impl Session {
    /// A session that knows no torrent yet; all its chance follows from `seed`.
    pub fn new(now: Instant, settings: Settings, seed: [u8; 32]) -> Self {
        let mut rng = Rng::new(seed);
        let mut session = Self {
            tracker: settings.serve_tracker.then(TinyTracker::default),
            resolver: Resolver::unconfigured(ResolverConfig::default()),
            key: rng.next_u32(),
            rates: Rates::new(now, &settings),
            gentle: Gentle::default(),
            settings,
            rng,
            conns: Slots::default(),
            torrents: Slots::default(),
            out: VecDeque::new(),
            orders: VecDeque::new(),
            pool: Pool::default(),
            timers: TimerTable::default(),
            banned: BTreeSet::new(),
            stopping: false,
            holding: false,
            leaving: Vec::new(),
            dht: None,
            lsd: None,
        };
        session.new_lsd(now);
        session
    }

    /// The world tells the session one thing. Drain `poll_output` before the next call.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        debug_assert!(
            self.out.is_empty(),
            "the outputs of the last input were not drained"
        );
        match input {
            Input::Timeout => self.handle_timeout(now),
            Input::Connected { conn } => self.handle_connected(now, conn),
            Input::ConnectFailed { conn, why } => self.handle_connect_failed(now, conn, why),
            Input::Received { conn, bytes } => self.handle_received(now, conn, bytes),
            Input::Ended { conn } => self.handle_ended(now, conn),
            Input::Failed { conn } => self.close(now, conn, "broken"),
            Input::Datagram { from, bytes } => self.handle_datagram(now, from, bytes),
            Input::Multicast { from, bytes } => self.handle_lsd_datagram(now, from, bytes),
            Input::Dns { socket, event } => self.handle_dns(now, socket, event),
            Input::DnsConfig { resolv_conf, hosts } => {
                self.handle_dns_config(now, resolv_conf, hosts);
            }
            Input::Authorities {
                conn,
                trust,
                now_unix,
            } => self.handle_trust(now, conn, trust, now_unix),
            Input::DiskDone(done) => self.handle_disk(now, done),
        }
        self.carry_out(now);
        self.finish_partings(now);
        self.finish_stop();
    }

    /// A connection came in; `None` refuses it (close the socket). Drain `poll_output` afterwards, and before the
    /// new name is put where another may still stand: one may be closed to make room.
    pub fn accept(&mut self, now: Instant, from: SocketAddr) -> Option<ConnId> {
        self.handle_accepted(now, from)
    }

    /// A person or program commands. Drain `poll_output` afterwards, too.
    ///
    /// # Errors
    /// [`CommandError`], and then nothing has changed.
    pub fn handle_command(
        &mut self,
        now: Instant,
        command: Command,
    ) -> Result<Reply, CommandError> {
        if self.stopping {
            return Err(CommandError::Stopping);
        }
        let is_leaving = |id| self.leaving.iter().any(|(leaving, _)| *leaving == id);
        if command.torrent().is_some_and(is_leaving) {
            return Err(CommandError::Unknown);
        }
        let reply = match command {
            Command::Add(add) => Reply::Added(self.add(now, add, true)?),
            Command::AddUndescribed(add) => Reply::Added(self.add(now, add, false)?),
            Command::Describe { torrent, metainfo } => {
                let seat = self
                    .torrents
                    .get_mut(torrent)
                    .ok_or(CommandError::Unknown)?;
                if !seat.torrent.describe(metainfo, &mut self.rng) {
                    return Err(CommandError::Unknown);
                }
                self.out.push_back(Output::Disk(DiskOp::Check { torrent }));
                // It may have turned out to be private.
                self.seek(now, torrent);
                Reply::Done
            }
            Command::AddPeers { torrent, peers } => {
                let seat = self
                    .torrents
                    .get_mut(torrent)
                    .ok_or(CommandError::Unknown)?;
                seat.torrent.swarm.add(peers, Origin::Person);
                self.timers.set_earlier(Timer::Sweep, now);
                Reply::Done
            }
            Command::Pause(torrent) => self.pause(now, torrent)?,
            Command::Recheck(torrent) => self.recheck(now, torrent)?,
            Command::Remove(torrent) => self.remove(now, torrent)?,
            Command::Resume(torrent) => {
                let seat = self
                    .torrents
                    .get_mut(torrent)
                    .ok_or(CommandError::Unknown)?;
                seat.torrent.paused = false;
                if seat.torrent.is_ready() {
                    seat.announcer.start(now);
                }
                self.timers.set_earlier(Timer::Sweep, now);
                self.seek(now, torrent);
                Reply::Done
            }
            Command::Select { torrent, selection } => self.select(now, torrent, selection)?,
            Command::Hold(holding) => {
                self.holding = holding;
                self.timers.set_earlier(Timer::Sweep, now);
                Reply::Done
            }
            Command::Resize {
                max_peers,
                requests,
            } => {
                (self.settings.max_peers, self.settings.requests) = (max_peers, requests);
                self.timers.set_earlier(Timer::Sweep, now);
                Reply::Done
            }
            Command::Shutdown => {
                self.shut_down(now);
                Reply::Done
            }
        };
        self.carry_out(now);
        self.finish_partings(now);
        Ok(reply)
    }

    /// The next thing the session wants of the world.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// What `conn` has to send, as much as `out` has room for; the same until `transmitted` says it went.
    pub fn poll_transmit<'a>(&'a self, now: Instant, conn: ConnId, out: &mut Segments<'a>) {
        match self.conns.get(conn).map(|conn| &conn.kind) {
            Some(Kind::Peer { torrent, peer, .. }) => {
                let payload = self.rates.up_allowance(now);
                peer.outbox.poll_transmit(*torrent, payload, out);
            }
            Some(Kind::Greeting(greeting)) => {
                let nothing = TorrentId::from_bits(0);
                greeting.outbox.poll_transmit(nothing, 0, out);
            }
            Some(Kind::Tracker(call)) => push_bytes(out, call.poll_transmit()),
            Some(Kind::Served(http)) => push_bytes(out, http.poll_transmit()),
            Some(Kind::Dialling { .. }) | None => {}
        }
    }

    /// The first `bytes` bytes of what `poll_transmit` gave are on their way. Drain `poll_output` afterwards.
    pub fn transmitted(&mut self, now: Instant, conn: ConnId, bytes: usize) {
        let Some(Conn { kind, .. }) = self.conns.get_mut(conn) else {
            return;
        };
        let ended = match kind {
            Kind::Peer { torrent, peer, .. } => {
                let payload = peer.outbox.transmitted(now, bytes);
                self.rates.sent(now, conn, bytes);
                if let Some(seat) = self.torrents.get_mut(*torrent) {
                    if payload > 0 {
                        seat.torrent.flow.sent(now, payload);
                        peer.up.add(now, payload);
                        peer.uploaded += payload;
                        peer.given += payload;
                        peer.of_use = now;
                    }
                    seat.torrent.serve(now, peer);
                }
                peer.announced = !peer.outbox.is_empty();
                false
            }
            Kind::Greeting(greeting) => {
                greeting.outbox.transmitted(now, bytes);
                false
            }
            Kind::Tracker(call) => {
                call.transmitted(bytes);
                false
            }
            Kind::Served(http) => {
                http.transmitted(bytes);
                http.is_done()
            }
            Kind::Dialling { .. } => false,
        };
        if ended {
            self.close(now, conn, "served");
        }
    }

    /// When to hand in `Input::Timeout`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.stopping && !self.timers.is_set(Timer::Goodbye) {
            // All goodbyes are said; whoever has not heard his is waited for no more.
            return None;
        }
        let seats = self.torrents.iter().map(|(_, seat)| {
            let own = if self.stopping {
                None
            } else {
                seat.torrent.poll_timeout()
            };
            earliest(own, seat.announcer.poll_timeout())
        });
        let dht = self.dht.as_ref().and_then(Dht::poll_timeout);
        let lsd = self.lsd.as_ref().and_then(Lsd::poll_timeout);
        let finders = earliest(earliest(dht, lsd), self.gentle.poll_timeout());
        let names = self.resolver.poll_timeout();
        let rates = earliest(self.timers.next(), self.rates.poll_timeout());
        let leaving = self.leaving.iter().map(|(_, until)| Some(*until));
        let seats = seats.chain(leaving);
        seats.fold(earliest(earliest(rates, names), finders), earliest)
    }

    /// How many bytes wait to be sent on `conn`, those of blocks included, whatever the rates let go now.
    pub fn queued(&self, conn: ConnId) -> usize {
        match self.conns.get(conn).map(|conn| &conn.kind) {
            Some(Kind::Peer { peer, .. }) => peer.outbox.len(),
            Some(Kind::Greeting(greeting)) => greeting.outbox.len(),
            Some(Kind::Tracker(call)) => call.poll_transmit().len(),
            Some(Kind::Served(http)) => http.poll_transmit().len(),
            Some(Kind::Dialling { .. }) | None => 0,
        }
    }

    /// How many bytes the world may read from `conn` now; 0 while there is no room or a rate is used up.
    pub fn read_allowance(&self, now: Instant, conn: ConnId) -> usize {
        // The buffers of cut blocks come back when the disk has them. When too many are out, the disk is
        // behind: TCP makes the senders wait.
        let behind = self.is_disk_behind();
        // Who does not take what its messages make us say sends no more of them.
        match self.conns.get(conn).map(|conn| &conn.kind) {
            _ if behind => 0,
            Some(Kind::Peer { peer, .. }) if peer.outbox.chatter() >= limits::CHATTER_MAX => 0,
            Some(Kind::Peer { .. }) => self.rates.down_allowance(now),
            _ => usize::MAX,
        }
    }

    /// How many bytes to read from `conn` into a buffer of `room`, so that the read ends where a block does; see
    /// [`Session::read_allowance`].
    pub fn read_size(&self, now: Instant, conn: ConnId, room: usize) -> usize {
        let room = self.read_allowance(now, conn).min(room);
        match self.conns.get(conn).map(|conn| &conn.kind) {
            Some(Kind::Peer { inbox, .. }) => inbox.read_size(room),
            _ => room,
        }
    }

    /// Bytes of a piece of the torrent that a peer is of; `None` if the connection is no peer's.
    pub fn piece_length(&self, conn: ConnId) -> Option<u32> {
        let Kind::Peer { torrent, .. } = &self.conns.get(conn)?.kind else {
            return None;
        };
        let seat = self.torrents.get(*torrent)?;
        Some(seat.torrent.geometry().piece_length())
    }

    fn add(
        &mut self,
        now: Instant,
        add: AddTorrent,
        is_described: bool,
    ) -> Result<TorrentId, CommandError> {
        let info_hash = add.metainfo.info_hash;
        if self.torrent_of(info_hash).is_some() {
            return Err(CommandError::Duplicate(info_hash));
        }
        let is_scrape = add.aim == Aim::Scrape;
        let tiers = self.announced(&add);
        let announcer = Announcer::new(
            &tiers,
            add.metainfo.private,
            Identity {
                info_hash,
                peer_id: self.settings.peer_id,
                port: self.settings.port,
                key: self.key,
                user_agent: self.settings.user_agent.clone(),
            },
            &mut self.rng,
        );
        let (nowhere, rng) = (TorrentId::from_bits(0), &mut self.rng);
        let torrent = if is_described {
            Torrent::new(now, nowhere, add, rng)
        } else {
            Torrent::undescribed(now, nowhere, add, rng)
        };
        let id = self.torrents.insert(Seat {
            torrent,
            announcer,
            answered: false,
            tracker_trouble: None,
            knew_banned: false,
        });
        let seat = self
            .torrents
            .get_mut(id)
            .expect("it was inserted in the line above");
        seat.torrent.id = id;
        if is_scrape {
            seat.announcer.scrape(now);
        } else if is_described {
            self.out
                .push_back(Output::Disk(DiskOp::Check { torrent: id }));
        } else {
            seat.announcer.start(now);
            self.timers.set_earlier(Timer::Sweep, now);
            self.drive_announcers(now);
            self.seek(now, id);
        }
        Ok(id)
    }

    /// The trackers that are told of a torrent.
    fn announced(&mut self, add: &AddTorrent) -> Vec<Vec<String>> {
        if add.aim == Aim::Check {
            return Vec::new();
        }
        let mut tiers = add.metainfo.trackers.clone();
        if self.settings.tcp_only {
            let is_udp = |url: &String| {
                let scheme = url.get(..UDP_SCHEME.len());
                scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(UDP_SCHEME))
            };
            let count = tiers.iter().flatten().filter(|url| is_udp(url)).count();
            tiers
                .iter_mut()
                .for_each(|tier| tier.retain(|url| !is_udp(url)));
            if count > 0 {
                let message = format!("no datagrams are sent, so {count} UDP trackers are skipped");
                let kind = "tracker.udp";
                self.out.push_back(Output::Event(Event::Warning {
                    torrent: None,
                    kind,
                    message,
                }));
            }
        }
        tiers
    }

    fn select(
        &mut self,
        now: Instant,
        id: TorrentId,
        selection: Selection,
    ) -> Result<Reply, CommandError> {
        let seat = self.torrents.get_mut(id).ok_or(CommandError::Unknown)?;
        let (rng, out, orders) = (&mut self.rng, &mut self.out, &mut self.orders);
        let cx = &mut Context {
            now,
            rng,
            out,
            orders,
        };
        seat.torrent.select(cx, selection);
        self.for_members(now, id, |cx, _, torrent, peer| torrent.reconsider(cx, peer));
        self.timers.set_earlier(Timer::Sweep, now);
        Ok(Reply::Done)
    }

    fn handle_disk(&mut self, now: Instant, mut done: DiskDone) {
        // Whatever became of the torrent, the buffer is wanted back.
        if let DiskDone::Wrote { buffer, .. } | DiskDone::WriteFailed { buffer, .. } = &mut done {
            buffer
                .take()
                .into_iter()
                .for_each(|buffer| self.pool.give(buffer));
        }
        let id = match &done {
            DiskDone::Checked { torrent, .. }
            | DiskDone::CheckEnded { torrent, .. }
            | DiskDone::Wrote { torrent, .. }
            | DiskDone::WriteFailed { torrent, .. }
            | DiskDone::Verified { torrent, .. }
            | DiskDone::Digests { torrent, .. }
            | DiskDone::ReadFailed { torrent, .. } => *torrent,
        };
        let Some(Seat {
            torrent, announcer, ..
        }) = self.torrents.get_mut(id)
        else {
            return;
        };
        let (rng, out, orders) = (&mut self.rng, &mut self.out, &mut self.orders);
        let cx = &mut Context {
            now,
            rng,
            out,
            orders,
        };
        match done {
            DiskDone::Checked { piece, good, .. } => torrent.handle_checked(piece, good),
            DiskDone::CheckEnded { error, .. } => {
                torrent.handle_check_ended(cx, error);
                if self.settings.super_seed {
                    torrent.begin_super_seeding(cx.rng);
                }
                if torrent.is_ready() && !self.stopping {
                    announcer.start(now);
                    self.timers.set_earlier(Timer::Sweep, now);
                    self.drive_announcers(now);
                    self.seek(now, id);
                }
            }
            DiskDone::Wrote { block, .. } => torrent.handle_wrote(cx, block),
            DiskDone::WriteFailed { block, error, .. } => {
                torrent.handle_write_failed(cx, block, error);
            }
            DiskDone::Verified { piece, good, .. } => torrent.handle_verified(cx, piece, good),
            DiskDone::Digests { piece, blocks, .. } => torrent.handle_digests(cx, piece, &blocks),
            DiskDone::ReadFailed { block, error, .. } => {
                torrent.handle_read_failed(cx, block.piece, error);
            }
        }
    }

    /// Whether more blocks that were cut are being put together, or on their way to the disk, than there are connections:
    /// the disk is to have those that are whole.
    pub fn holds_cut_blocks(&self) -> bool {
        self.pool.out() > self.conns.len()
    }

    fn is_disk_behind(&self) -> bool {
        self.pool.out() > self.conns.len() + JOINED_MAX
    }

    fn torrent_of(&self, info_hash: crate::base::ids::InfoHash) -> Option<TorrentId> {
        let mut seats = self.torrents.iter();
        seats
            .find(|(_, seat)| seat.torrent.metainfo.info_hash == info_hash)
            .map(|(id, _)| id)
    }
}

/// What a ban covers: an IPv4 address, or the /64 that an IPv6 host can choose from at will.
fn ban_key(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6(Ipv6Addr::from_bits(
                v6.to_bits() & 0xffff_ffff_ffff_ffff << 64,
            )),
        },
    }
}

fn push_bytes<'a>(out: &mut Segments<'a>, bytes: &'a [u8]) {
    if !bytes.is_empty() {
        out.push(Segment::Bytes(bytes));
    }
}

/// Buffers of cut blocks that may be out beside one a connection.
const JOINED_MAX: usize = 64;
/// How the URL of a UDP tracker begins.
const UDP_SCHEME: &str = "udp:";
