//! A torrent: what is there, what is wanted, and what its peers are told.
//!
//! A torrent holds no peer and no socket. It is lent the one peer that an input is about, and answers with
//! changes to that peer, disk operations, and [`Order`]s about others, which the session carries out when
//! the borrow ends.
//!
//! ```text
//! describing --> checking --> ...            (a magnet link: the metadata comes from peers)
//! checking --> downloading --> seeding        (Aim::Download)
//! checking --> seeding | idle                 (Aim::Seed, Aim::Check)
//! ```

pub mod blame;
mod blind;
pub mod choker;
mod exchange;
mod fast;
mod fill;
pub mod metadata;
mod news;
pub mod picker;
pub mod pieces;
mod selection;
pub mod super_seed;
pub mod swarm;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use self::blame::{Blame, Verdict};
use self::choker::Choker;
use self::metadata::Collector;
use self::news::News;
use self::picker::Picker;
use self::pieces::Pieces;
use self::super_seed::SuperSeed;
use self::swarm::{Origin, Swarm};
use super::command::{AddTorrent, Aim};
use super::io::{ConnId, DiskError, DiskErrorKind, DiskOp, Event, Output, TorrentId};
use super::peer::{Availability, Peer};
use super::stats::Phase;
use crate::base::bitfield::Bitfield;
use crate::base::geometry::Geometry;
use crate::base::ids::{Block, Piece};
use crate::base::limits;
use crate::base::rate::Meter;
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::wire::message::Message;
use crate::wire::metainfo::Metainfo;

/// A torrent of a session.
pub struct Torrent {
    /// Its name in the session.
    pub id: TorrentId,
    /// What the .torrent says.
    pub metainfo: Arc<Metainfo>,
    /// Pieces there and begun.
    pub pieces: Pieces,
    /// Addresses.
    pub swarm: Swarm,
    /// Who may request.
    pub choker: Choker,
    /// Its peers.
    pub members: Vec<ConnId>,
    /// What has flowed.
    pub flow: Flow,
    /// How far a check has come; `None` when it is through.
    pub checking: Option<u32>,
    /// Stopped by command.
    pub paused: bool,
    /// What is wrong with the disk, while something is.
    pub disk: Option<DiskTrouble>,
    /// What has come of the metadata, while it is looked for.
    pub collector: Option<Collector>,
    /// What is shown to whom, while pieces are revealed one by one (BEP 16).
    pub super_seed: Option<SuperSeed>,
    is_described: bool,
    aim: Aim,
    picker: Picker,
    blame: Blame,
    news: News,
    /// Pieces that failed too often, and until when they rest.
    resting: Vec<(Instant, Piece)>,
    /// What was said last of a piece that could not be read: other pieces of the same file are lost without a word.
    lost_said: String,
    /// A piece was fetched in this run.
    fetched: bool,
    seeds: u32,
}

/// What has flowed through a torrent in this run, in bytes of payload.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// Received, whatever became of it.
    pub downloaded: u64,
    /// Sent.
    pub uploaded: u64,
    /// Received in vain.
    pub wasted: u64,
    /// Received, lately.
    pub down: Meter,
    /// Sent, lately.
    pub up: Meter,
}

/// A disk that fails.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskTrouble {
    /// What is wrong.
    pub error: DiskError,
    /// When it is tried again.
    pub retry_at: Instant,
    /// It is being tried: each peer may be asked for a block.
    pub trying: bool,
}

/// What a torrent is lent with an input.
pub struct Context<'a> {
    /// The time.
    pub now: Instant,
    /// Chance.
    pub rng: &'a mut Rng,
    /// What the world is asked for.
    pub out: &'a mut VecDeque<Output>,
    /// What is to be done to other peers.
    pub orders: &'a mut VecDeque<Order>,
}

/// What the session does for a torrent when the borrow ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// There is a new piece: tell those at once that wait for it.
    Have(TorrentId, Piece),
    /// Tell every peer of the new pieces.
    Tell(TorrentId),
    /// A block came: whoever else was asked for it is told that it is no longer wanted.
    CancelElsewhere(TorrentId, Block, ConnId),
    /// Never speak to this host again.
    Ban(TorrentId, SocketAddr, Piece),
    /// A peer that had an upload slot is gone: another gets it.
    PassSlotOn(TorrentId),
    /// Every piece is there.
    Complete(TorrentId),
    /// A piece is gone from disk: close the peers that were promised it.
    Lost(TorrentId, Piece),
    /// Look at every peer's pipeline: there is something to ask for again.
    Refill(TorrentId),
    /// A peer has a node of the DHT here (BEP 5).
    DhtNode(SocketAddr),
    /// The torrent is described and checked: judge what its peers have said.
    OpenEyes(TorrentId),
    /// A super seed may show a piece to somebody (BEP 16).
    Show(TorrentId),
}

/// Why a connection ends: words for a log.
pub type Why = &'static str;

impl Torrent {
    /// A torrent that has to be checked first.
    pub fn new(now: Instant, id: TorrentId, add: AddTorrent, rng: &mut Rng) -> Self {
        let geometry = add.metainfo.geometry;
        let mut swarm = Swarm::default();
        swarm.add(add.peers, Origin::Person);
        Self {
            id,
            pieces: Pieces::new(geometry),
            swarm,
            choker: Choker::default(),
            members: Vec::new(),
            flow: Flow {
                downloaded: 0,
                uploaded: 0,
                wasted: 0,
                down: Meter::new(now, RATE_WINDOW),
                up: Meter::new(now, RATE_WINDOW),
            },
            checking: Some(0),
            paused: false,
            disk: None,
            collector: None,
            super_seed: None,
            is_described: true,
            aim: add.aim,
            picker: Picker::new(geometry.pieces(), rng),
            blame: Blame::default(),
            lost_said: String::new(),
            news: News::default(),
            resting: Vec::new(),
            fetched: false,
            seeds: 0,
            metainfo: add.metainfo,
        }
    }

    /// A torrent of which the info-hash is known and nothing else; `add.metainfo` is a stand-in
    /// ([`Metainfo::stand_in`]).
    pub fn undescribed(now: Instant, id: TorrentId, add: AddTorrent, rng: &mut Rng) -> Self {
        let collector = Self::collector_of(add.metainfo.info_hash);
        let collector = Some(collector);
        Self {
            collector,
            is_described: false,
            checking: None,
            ..Self::new(now, id, add, rng)
        }
    }

    /// The metadata is there, and was found good: the torrent has to be checked now. False if it was described
    /// already, or this is another torrent.
    pub fn describe(&mut self, metainfo: Arc<Metainfo>, rng: &mut Rng) -> bool {
        if self.is_described || metainfo.info_hash != self.metainfo.info_hash {
            return false;
        }
        self.pieces = Pieces::new(metainfo.geometry);
        self.picker = Picker::new(metainfo.geometry.pieces(), rng);
        self.metainfo = metainfo;
        self.collector = None;
        self.is_described = true;
        self.checking = Some(0);
        self.seeds = 0;
        true
    }

    /// What was there is in doubt: it has to be checked again. False if there is a check already, or nothing to check.
    pub fn begin_recheck(&mut self) -> bool {
        if self.checking.is_some() || !self.is_described || self.aim == Aim::Scrape {
            return false;
        }
        self.checking = Some(0);
        self.end_super_seeding();
        true
    }

    /// Knows nothing of any piece any more, and has none begun: nobody is connected who was asked for one.
    pub fn forget_pieces(&mut self) {
        for piece in (0..self.geometry().pieces()).map(Piece) {
            self.pieces.lose(piece);
            self.pieces.forget(piece);
            self.picker.close(piece);
        }
        self.resting.clear();
    }

    /// One piece was looked at by the check.
    pub fn handle_checked(&mut self, piece: Piece, good: bool) {
        if let Some(checked) = &mut self.checking {
            *checked += 1;
            if good {
                self.pieces.complete(piece);
            }
        }
    }

    /// The check is through.
    pub fn handle_check_ended(&mut self, cx: &mut Context<'_>, error: Option<DiskError>) {
        self.checking = None;
        self.lost_said.clear();
        let have = self.pieces.have().count();
        cx.out.push_back(Output::Event(Event::Checked {
            torrent: self.id,
            have,
            missing: self.pieces.missing(),
        }));
        if self.aim == Aim::Download {
            for piece in (0..self.geometry().pieces()).map(Piece) {
                if !self.pieces.have().has(piece) && self.pieces.wants(piece) {
                    self.picker.open(piece);
                }
            }
        }
        if let Some(error) = error {
            self.handle_disk_trouble(cx, error);
        }
        if self.is_complete() {
            cx.out
                .push_back(Output::Event(Event::Complete { torrent: self.id }));
        }
        // Peers that came before the torrent was described have waited for this.
        if !self.members.is_empty() {
            cx.orders.push_back(Order::OpenEyes(self.id));
        }
    }

    /// A peer greeted us: it is told what we have.
    pub fn handle_joined(&mut self, cx: &Context<'_>, conn: ConnId, peer: &mut Peer) {
        self.members.push(conn);
        peer.told = self.news.end();
        if let Some(super_seed) = &mut self.super_seed
            && super_seed.handle_joined(cx.now, conn)
        {
            if peer.fast() {
                peer.send(cx.now, Message::HaveNone);
            }
            return;
        }
        let have = self.pieces.have();
        match (peer.fast(), have.is_full(), have.is_empty()) {
            (true, true, _) => peer.send(cx.now, Message::HaveAll),
            (true, _, true) => peer.send(cx.now, Message::HaveNone),
            (false, _, true) => {}
            (_, _, false) => peer.send(cx.now, Message::Bitfield(have.as_bytes())),
        }
    }

    /// A peer is gone.
    pub fn handle_left(&mut self, cx: &mut Context<'_>, conn: ConnId, peer: &mut Peer) {
        self.members.retain(|member| *member != conn);
        if let Some(collector) = &mut self.collector {
            collector.handle_left(conn);
        }
        self.choker.forget(conn);
        if !peer.choked && peer.wants_slot() {
            cx.orders.push_back(Order::PassSlotOn(self.id));
        }
        self.forget_availability(peer);
        if let Some(super_seed) = &mut self.super_seed {
            super_seed.handle_left(conn);
            cx.orders.push_back(Order::Show(self.id));
        }
        self.withdraw(peer);
        self.pieces.disown(conn, None);
        if self.pieces.free() > 0 {
            cx.orders.push_back(Order::Refill(self.id));
        }
    }

    /// A block is on disk; [`DiskOp::Write`] of the last one also brings the verdict on its piece.
    pub fn handle_wrote(&mut self, cx: &mut Context<'_>, block: Block) {
        self.pieces.written(block);
        if self.disk.take().is_some() {
            cx.out
                .push_back(Output::Event(Event::DiskRecovered { torrent: self.id }));
            cx.orders.push_back(Order::Refill(self.id));
        }
    }

    /// A block could not be written: the torrent waits for its disk.
    pub fn handle_write_failed(&mut self, cx: &mut Context<'_>, block: Block, error: DiskError) {
        self.pieces.write_failed(block);
        self.flow.wasted += u64::from(block.len);
        self.handle_disk_trouble(cx, error);
    }

    /// A piece was hashed.
    pub fn handle_verified(&mut self, cx: &mut Context<'_>, piece: Piece, good: bool) {
        let begun = if good {
            self.pieces.complete(piece)
        } else {
            self.pieces.forget(piece)
        };
        let Some(begun) = begun else { return };
        if good {
            self.fetched = true;
            cx.out.push_back(Output::Event(Event::PieceDone {
                torrent: self.id,
                piece,
            }));
            self.add_news(cx, piece);
            if self.blame.handle_success(piece) {
                cx.out.push_back(Output::Disk(DiskOp::Digest {
                    torrent: self.id,
                    piece,
                }));
            }
            if self.is_complete() {
                cx.out
                    .push_back(Output::Event(Event::Complete { torrent: self.id }));
                cx.orders.push_back(Order::Complete(self.id));
            }
            return;
        }
        self.flow.wasted += u64::from(self.geometry().piece_len(piece));
        if begun.is_unread() {
            // The disk is to blame, and nobody else.
            return self.reopen(cx, piece);
        }
        cx.out.push_back(Output::Event(Event::PieceFailed {
            torrent: self.id,
            piece,
        }));
        match self
            .blame
            .handle_failure(piece, begun.givers(), begun.giver_of_each())
        {
            Verdict::Guilty(address) => {
                cx.orders.push_back(Order::Ban(self.id, address, piece));
                self.reopen(cx, piece);
            }
            Verdict::Unclear => {
                cx.out.push_back(Output::Disk(DiskOp::Digest {
                    torrent: self.id,
                    piece,
                }));
            }
        }
    }

    /// The digests of a piece's blocks are there.
    pub fn handle_digests(&mut self, cx: &mut Context<'_>, piece: Piece, digests: &[[u8; 20]]) {
        let good = self.pieces.have().has(piece);
        for address in self.blame.handle_digests(piece, digests, good) {
            cx.orders.push_back(Order::Ban(self.id, address, piece));
        }
        if !good {
            self.reopen(cx, piece);
        }
    }

    /// A piece that was served is no longer on disk as it was verified, or one that is being written can't be
    /// read back for its hash.
    pub fn handle_read_failed(&mut self, cx: &mut Context<'_>, piece: Piece, error: DiskError) {
        if !self.pieces.lose(piece) {
            if self.pieces.unread(piece) {
                self.handle_disk_trouble(cx, error);
            }
            return;
        }
        self.end_super_seeding();
        cx.orders.push_back(Order::Lost(self.id, piece));
        if self.lost_said != error.message {
            self.lost_said = error.message;
            cx.out.push_back(Output::Event(Event::Warning {
                torrent: Some(self.id),
                kind: "disk.changed",
                message: self.lost_said.clone(),
            }));
        }
        if self.aim == Aim::Download {
            cx.out.push_back(Output::Disk(DiskOp::Forget {
                torrent: self.id,
                piece,
            }));
            self.reopen(cx, piece);
        }
    }

    /// The disk failed: nothing is asked for until it is tried again.
    pub fn handle_disk_trouble(&mut self, cx: &mut Context<'_>, error: DiskError) {
        // An input/output error may pass, and so is told again if it has not when the disk is tried again.
        let again = |known: &DiskTrouble| known.trying && error.kind == DiskErrorKind::Io;
        if self
            .disk
            .as_ref()
            .is_none_or(|known| known.error.kind != error.kind || again(known))
        {
            let event = Event::DiskTrouble {
                torrent: self.id,
                error: error.clone(),
            };
            cx.out.push_back(Output::Event(event));
        }
        let retry_at = cx.now + limits::DISK_RETRY;
        self.disk = Some(DiskTrouble {
            error,
            retry_at,
            trying: false,
        });
    }

    /// Pieces that have rested are up for picking again, a disk that failed is tried again.
    pub fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        let (picker, pieces) = (&mut self.picker, &self.pieces);
        self.resting.retain(|(until, piece)| {
            let rests = *until > cx.now;
            if !rests && pieces.wants(*piece) {
                picker.open(*piece);
            }
            rests
        });
        if let Some(disk) = &mut self.disk
            && disk.retry_at <= cx.now
        {
            disk.trying = true;
            disk.retry_at = cx.now + limits::DISK_RETRY;
        }
        if self.news.poll_timeout().is_some_and(|at| at <= cx.now) {
            cx.orders.push_back(Order::Tell(self.id));
        }
    }

    /// When the torrent itself has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let retry = self.disk.as_ref().map(|disk| disk.retry_at);
        let rested = self.resting.iter().map(|(until, _)| *until);
        rested.chain(retry).chain(self.news.poll_timeout()).min()
    }

    /// Pieces and blocks.
    pub fn geometry(&self) -> Geometry {
        self.metainfo.geometry
    }

    /// What is wanted of it.
    pub fn aim(&self) -> Aim {
        self.aim
    }

    /// Whether every piece that is wanted is there.
    pub fn is_complete(&self) -> bool {
        self.pieces.missing() == 0
    }

    /// Whether pieces are to be fetched, now or when the disk is well again.
    pub fn is_fetching(&self) -> bool {
        self.aim == Aim::Download && self.is_described && self.is_ready() && !self.is_complete()
    }

    /// Whether nothing can be judged that peers say of their pieces.
    pub fn is_blind(&self) -> bool {
        !self.is_described || self.checking.is_some()
    }

    /// Bytes of a bitfield; while that is not known, of the longest that is kept.
    pub fn bitfield_len(&self) -> usize {
        if self.is_blind() {
            return limits::OPENING_MAX / 2;
        }
        self.pieces.have().as_bytes().len()
    }

    /// Whether it is checked and not stopped: peers are welcome.
    pub fn is_ready(&self) -> bool {
        self.aim != Aim::Check && self.checking.is_none() && !self.paused
    }

    /// Whether peers are looked for, not only waited for.
    pub fn wants_peers(&self) -> bool {
        self.is_fetching() || (self.collector.is_some() && self.is_ready())
    }

    /// Whether there is something to give, and nothing to fetch.
    pub fn serves(&self) -> bool {
        self.is_ready() && self.is_described && self.is_complete() && self.aim != Aim::Scrape
    }

    /// Whether this run fetched it to the end, and not an earlier one.
    pub fn was_fetched(&self) -> bool {
        self.fetched && self.pieces.have().is_full()
    }

    /// Bytes of wanted pieces that are missing.
    pub fn left(&self) -> u64 {
        self.pieces.bytes_missing()
    }

    /// Peers that have everything.
    pub fn seeds(&self) -> u32 {
        self.seeds
    }

    /// A piece that is missing and that no peer has, and how many such pieces there are.
    pub fn unavailable(&self) -> Option<(u32, u32)> {
        if !self.is_fetching() {
            return None;
        }
        let (open, count) = self.picker.without_copies();
        let begun = self.pieces.begun().map(|(piece, _)| piece);
        let begun = begun.filter(|piece| self.picker.copies(*piece) == 0);
        let nothing = (open, count);
        let (piece, count) = begun.fold(nothing, |(lowest, count), piece| {
            let lowest = lowest.map_or(piece, |lowest| lowest.min(piece));
            (Some(lowest), count + 1)
        });
        Some((piece?.0, count))
    }

    /// What it is doing.
    pub fn phase(&self) -> Phase {
        match () {
            () if self.paused => Phase::Paused,
            () if !self.is_described => Phase::Describing,
            () if self.checking.is_some() => Phase::Checking,
            () if self.aim == Aim::Check => Phase::Idle,
            () if self.disk.is_some() => Phase::DiskTrouble,
            () if self.is_complete() => Phase::Seeding,
            () if self.aim == Aim::Download => Phase::Downloading,
            () => Phase::Idle,
        }
    }

    /// Takes all requests of a peer out of flight; the blocks are free for others.
    fn withdraw(&mut self, peer: &mut Peer) -> Vec<Block> {
        let blocks = peer.pipeline.withdraw_all();
        blocks.iter().for_each(|block| self.pieces.release(*block));
        blocks
    }

    fn forget_availability(&mut self, peer: &Peer) {
        match &peer.has {
            Availability::All => {
                self.seeds -= 1;
                self.picker.remove_seed();
            }
            Availability::Some(bits) => {
                bits.iter().for_each(|piece| self.picker.remove_copy(piece));
            }
        }
    }

    /// Forgets all that is known of a peer's pieces; the counts are those of a torrent just described.
    fn reset_availability(&mut self, peer: &mut Peer) {
        peer.has = Availability::Some(Bitfield::new(self.geometry().pieces()));
        peer.useful = 0;
        peer.allowed_fast.clear();
    }

    /// A piece must be fetched again, if it is wanted: at once, or when it has rested.
    fn reopen(&mut self, cx: &mut Context<'_>, piece: Piece) {
        if !self.pieces.wants(piece) {
            return;
        }
        match self.blame.rests_until(cx.now, piece) {
            Some(until) => self.resting.push((until, piece)),
            None => {
                self.picker.open(piece);
                cx.orders.push_back(Order::Refill(self.id));
            }
        }
    }
}

impl Flow {
    /// Payload came in.
    pub fn received(&mut self, now: Instant, bytes: u64) {
        self.downloaded += bytes;
        self.down.add(now, bytes);
    }

    /// Payload went out.
    pub fn sent(&mut self, now: Instant, bytes: u64) {
        self.uploaded += bytes;
        self.up.add(now, bytes);
    }
}

/// What a person is shown is the rate over about this time.
const RATE_WINDOW: Duration = Duration::from_secs(5);
