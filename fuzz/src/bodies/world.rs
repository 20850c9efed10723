//! One session between a model disk and ends that say anything, with the rules of the boundary checked at each step.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use minitorrent::base::ids::{Block, PeerId};
use minitorrent::base::time::Instant;
use minitorrent::base::{escape, limits};
use minitorrent::engine::Session;
use minitorrent::engine::command::{AddTorrent, Aim, Command, Reply, Settings};
use minitorrent::engine::io::{ConnId, Event, Input, Output, Segment, Segments, TorrentId};
use minitorrent::wire::handshake;
use minitorrent::wire::message::{self, Decoded, Message};
use minitorrent::wire::metainfo::Metainfo;

use super::disk::ModelDisk;
use super::source::Source;
use super::watch::Watch;

/// A session and everything around it.
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) session: Session,
    pub(super) torrent: TorrentId,
    pub(super) meta: Arc<Metainfo>,
    pub(super) content: Arc<Vec<u8>>,
    pub(super) disk: ModelDisk,
    pub(super) ends: BTreeMap<ConnId, End>,
    /// The last datagrams that were sent.
    pub(super) datagrams: VecDeque<(SocketAddr, Vec<u8>)>,
    serves: bool,
    peers: usize,
    peers_max: usize,
    stopped: bool,
    /// When the torrent is removed at the latest, as somebody wants it to be.
    leaving: Option<Instant>,
    /// It was, and none was added since.
    removed: bool,
}

/// The far end of a connection.
pub(super) struct End {
    pub(super) open: bool,
    /// It is one to a tracker.
    pub(super) tracker: bool,
    pub(super) greeted: bool,
    /// What it was asked for lately.
    pub(super) asked: VecDeque<Block>,
    watch: Option<Watch>,
    sent: Vec<u8>,
    heard_greeting: bool,
}

impl World {
    /// A session with one torrent, as the first bytes want it.
    pub(super) fn new(source: &mut Source<'_>) -> Self {
        let now = Instant::from_micros(1);
        let meta = Arc::new(torrent(source.flag(), source.below(4)));
        let mut settings = Settings::new(US);
        settings.port = 6881;
        settings.max_peers = 1 + source.below(6);
        settings.half_open = 1 + source.below(4);
        settings.serve_tracker = source.below(8) == 7;
        let (serves, peers_max) = (settings.serve_tracker, settings.max_peers);
        let mut session = Session::new(now, settings, [source.byte(); 32]);
        let aim = [Aim::Download, Aim::Download, Aim::Seed][source.below(3)];
        let add = AddTorrent {
            metainfo: Arc::clone(&meta),
            aim,
            peers: Vec::new(),
        };
        let reply = session.handle_command(now, Command::Add(add));
        let Ok(Reply::Added(torrent)) = reply else {
            panic!("the torrent was not taken: {reply:?}");
        };
        let length = meta.geometry.total() as usize;
        let mut world = Self {
            now,
            session,
            torrent,
            content: Arc::new((0..length).map(|at| (at * 7 + at / 251) as u8).collect()),
            disk: ModelDisk::new(meta.geometry),
            meta,
            ends: BTreeMap::new(),
            datagrams: VecDeque::new(),
            serves,
            peers: 0,
            peers_max,
            stopped: false,
            leaving: None,
            removed: false,
        };
        world.drain(&[]);
        world
    }

    /// Hands in one thing and drains what comes of it.
    pub(super) fn tell(&mut self, input: Input<'_>) {
        let received = match &input {
            Input::Received { bytes, .. } => *bytes,
            _ => &[],
        };
        self.session.handle(self.now, input);
        self.drain(received);
    }

    /// Somebody asks for something.
    pub(super) fn command(&mut self, command: Command) {
        let is_removal = matches!(command, Command::Remove(_));
        let is_end = matches!(command, Command::Shutdown);
        match self.session.handle_command(self.now, command) {
            Ok(Reply::Added(torrent)) => {
                assert!(self.removed, "there are two of it");
                (self.torrent, self.removed) = (torrent, false);
            }
            Ok(_) if is_removal => {
                assert!(!self.removed && self.leaving.is_none(), "it was removed");
                self.leaving = Some(self.now + limits::GOODBYE);
            }
            // The goodbyes of the whole session are waited for together.
            Ok(_) if is_end => self.leaving = None,
            Ok(_) | Err(_) => {}
        }
        self.drain(&[]);
    }

    /// A connection comes in.
    pub(super) fn knock(&mut self, from: SocketAddr) -> Option<ConnId> {
        let conn = self.session.accept(self.now, from);
        if let Some(conn) = conn {
            let end = self.new_end(true, false);
            assert!(self.ends.insert(conn, end).is_none(), "a name of another");
        }
        self.drain(&[]);
        conn
    }

    /// The far end sends bytes, unless the session does not read now.
    pub(super) fn say(&mut self, conn: ConnId, bytes: &[u8]) {
        let Some(end) = self.ends.get_mut(&conn).filter(|end| end.open) else {
            return;
        };
        if bytes.is_empty() || self.session.read_allowance(self.now, conn) == 0 {
            return;
        }
        if self.serves && !end.greeted {
            // It may be an announce to our own small tracker.
            end.watch = None;
        }
        end.greeted = true;
        if let Some(watch) = &mut end.watch {
            watch.handed(bytes);
        }
        self.tell(Input::Received { conn, bytes });
        let waiting = self.session.queued(conn);
        assert!(waiting <= WAITING_MAX, "{waiting}");
        if let Some(watch) = self.ends.get_mut(&conn).and_then(|end| end.watch.as_mut())
            && watch.is_to_settle()
        {
            watch.settle(waiting);
        }
    }

    /// The far end takes up to `most` bytes.
    pub(super) fn take(&mut self, conn: ConnId, most: usize) {
        let Some(end) = self.ends.get_mut(&conn).filter(|end| end.open) else {
            return;
        };
        let mut segments = Segments::new(most);
        self.session.poll_transmit(self.now, conn, &mut segments);
        let mut bytes = Vec::new();
        for segment in segments.as_slice() {
            match *segment {
                Segment::Bytes(more) => bytes.extend_from_slice(more),
                Segment::Block { torrent, block } => {
                    assert_eq!(torrent, self.torrent);
                    let known = self.disk.verified.contains(&block.piece);
                    assert!(known, "serves {block:?}, which was not verified");
                    let from = self.meta.geometry.offset(block) as usize;
                    bytes.extend_from_slice(&self.content[from..][..block.len as usize]);
                }
            }
        }
        bytes.truncate(most);
        if bytes.is_empty() {
            return;
        }
        if let Some(watch) = &mut end.watch {
            watch.sent(&bytes);
            watch.new_haves.clear();
        }
        end.note(&bytes, self.meta.geometry.pieces().div_ceil(8) as usize);
        self.session.transmitted(self.now, conn, bytes.len());
        self.drain(&[]);
    }

    /// The block that a connection has to send next cannot be read.
    pub(super) fn lose(&mut self, conn: ConnId, mood: u8) {
        let mut segments = Segments::new(1);
        self.session.poll_transmit(self.now, conn, &mut segments);
        let first = segments
            .as_slice()
            .iter()
            .find_map(|segment| match segment {
                Segment::Block { block, .. } => Some(*block),
                Segment::Bytes(_) => None,
            });
        if let Some(block) = first {
            let done = self.disk.lose(self.torrent, block, mood);
            self.tell(Input::DiskDone(done));
        }
    }

    /// Time passes, with all timeouts in it.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let most = 1000 + time.as_millis() / 10;
        for count in 0.. {
            assert!(count < most, "it wakes too often");
            let Some(at) = self.session.poll_timeout().filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(at);
            self.session.handle(self.now, Input::Timeout);
            let next = self.session.poll_timeout();
            let now = self.now;
            assert!(next.is_none_or(|next| next > now), "it spins");
            self.drain(&[]);
        }
        self.now = end;
        self.judge();
    }

    /// What a person or program may see is within its bounds, and fit to be seen.
    pub(super) fn judge(&self) {
        let snapshot = self.session.snapshot(self.now);
        assert!(snapshot.peers.len() <= self.peers_max);
        assert_eq!(snapshot.peers.len(), self.peers);
        assert_eq!(snapshot.torrents.len(), usize::from(!self.removed));
        let is_late = self.leaving.is_some_and(|by| self.now >= by);
        assert!(!is_late, "it is not removed in time");
        for torrent in &snapshot.torrents {
            assert!(torrent.addresses as usize <= limits::ADDRESSES_MAX);
            assert!(torrent.bytes_have <= torrent.bytes);
            assert_eq!(torrent.pieces_have as usize, self.disk.verified.len());
        }
        for peer in &snapshot.peers {
            assert!(!peer.client.contains(escape::is_harmful));
            assert!(peer.in_flight as usize <= limits::REQQ);
        }
    }

    /// Shuts everything down: goodbyes end in time.
    pub(super) fn finish(&mut self) {
        self.judge();
        self.command(Command::Shutdown);
        self.pass(limits::GOODBYE);
        assert!(self.stopped && self.peers == 0, "it does not stop");
        assert!(self.ends.values().all(|end| end.tracker), "an end is left");
    }

    fn new_end(&self, open: bool, tracker: bool) -> End {
        let watch = Watch::new(
            Arc::clone(&self.content),
            self.meta.geometry,
            self.meta.info_hash,
            US,
        );
        End {
            open,
            tracker,
            greeted: false,
            asked: VecDeque::new(),
            watch: (!tracker).then_some(watch),
            sent: Vec::new(),
            heard_greeting: false,
        }
    }

    pub(super) fn drain(&mut self, received: &[u8]) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Connect { conn, to } => {
                    let end = self.new_end(false, to.port() == TRACKER_PORT);
                    assert!(self.ends.insert(conn, end).is_none(), "a name of another");
                }
                Output::Close { conn } => {
                    assert!(
                        self.ends.remove(&conn).is_some(),
                        "closes what is not there"
                    );
                }
                Output::Transmit { conn } => {
                    let end = self.ends.get(&conn).expect("it names what is there");
                    assert!(end.open, "sends before it is connected");
                }
                Output::Datagram { to, bytes } => {
                    assert!(bytes.len() <= 1500);
                    self.datagrams.push_front((to, bytes));
                    self.datagrams.truncate(4);
                }
                Output::Multicast { bytes, .. } => assert!(bytes.len() <= 1500),
                // No name server answers here, and nothing speaks TLS.
                Output::Dns(_) | Output::ReadAuthorities { .. } => {}
                Output::Disk(op) => self.disk.handle(op, received),
                Output::Event(event) => self.heed(event),
            }
        }
    }

    fn heed(&mut self, event: Event) {
        match event {
            Event::PeerConnected { client, .. } => {
                self.peers += 1;
                assert!(self.peers <= self.peers_max, "too many peers");
                assert!(!client.contains(escape::is_harmful));
            }
            Event::PeerGone { .. } => self.peers -= 1,
            Event::PieceDone { piece, .. } => assert!(self.disk.verified.contains(&piece)),
            Event::Complete { .. } => {
                let all = self.meta.geometry.pieces() as usize;
                assert_eq!(self.disk.verified.len(), all, "complete without all pieces");
            }
            Event::Stopped => assert!(!std::mem::replace(&mut self.stopped, true), "twice"),
            Event::Tracker { url, result, .. } => {
                let text = result.err().unwrap_or_default();
                assert!(!url.contains(escape::is_harmful) && !text.contains(escape::is_harmful));
                assert!(text.len() < 1500);
            }
            Event::Removed { torrent } => {
                assert!(torrent == self.torrent && self.leaving.take().is_some());
                self.removed = true;
                self.disk.remove(torrent);
                assert_eq!(self.peers, 0, "its peers are still there");
                let is_tracker = |end: &End| end.tracker;
                assert!(!self.ends.values().any(is_tracker), "a call is left");
            }
            Event::Warning { message, .. } => assert!(!message.contains(escape::is_harmful)),
            Event::Checked { .. }
            | Event::PieceFailed { .. }
            | Event::Banned { .. }
            | Event::DiskTrouble { .. }
            | Event::DiskRecovered { .. }
            | Event::Metadata { .. }
            | Event::Scraped { .. } => {}
        }
    }
}

impl End {
    /// Remembers what it is asked for.
    fn note(&mut self, bytes: &[u8], bitfield_len: usize) {
        if self.watch.is_none() {
            return;
        }
        self.sent.extend_from_slice(bytes);
        let mut at = 0;
        if !self.heard_greeting {
            if self.sent.len() < handshake::LEN {
                return;
            }
            (self.heard_greeting, at) = (true, handshake::LEN);
        }
        while let Ok(Decoded::Message { message, used }) =
            message::decode(&self.sent[at..], bitfield_len)
        {
            if let Message::Request(block) = message {
                self.asked.push_back(block);
            }
            at += used;
        }
        self.sent.drain(..at);
        let surplus = self.asked.len().saturating_sub(64);
        self.asked.drain(..surplus);
    }
}

/// A torrent of small pieces, or of some of more than one block.
fn torrent(small: bool, trackers: usize) -> Metainfo {
    let (length, total) = if small {
        (40, 1005)
    } else {
        (16_400, 4 * 16_400 + 100)
    };
    let pieces: u64 = u64::div_ceil(total, length);
    let announce = [
        "",
        "8:announce30:http://127.0.0.1:8080/announce",
        "8:announce20:udp://127.0.0.1:8081",
        "13:announce-listll30:http://127.0.0.1:8080/announceel20:udp://127.0.0.1:8081ee",
    ];
    let mut bytes = format!(
        "d{}4:infod6:lengthi{total}e4:name1:f12:piece lengthi{length}e6:pieces{}:",
        announce[trackers],
        pieces * 20
    )
    .into_bytes();
    bytes.resize(bytes.len() + pieces as usize * 20, b'h');
    bytes.extend_from_slice(b"ee");
    Metainfo::parse(&bytes).expect("a plain torrent")
}

/// The session's own name.
pub(super) const US: PeerId = PeerId(*b"-MI0100-............");
/// The port of the torrent's HTTP tracker.
const TRACKER_PORT: u16 = 8080;
/// Bytes that may wait for one connection.
const WAITING_MAX: usize = 2 * limits::OUTBOX_MAX;
