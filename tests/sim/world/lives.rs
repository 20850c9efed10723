//! Machines and the lives of their processes: how one begins, works with its disk, and ends before its time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use minitorrent::base::ids::{PeerId, Piece};
use minitorrent::base::rng::Rng;
use minitorrent::base::time::Instant;
use minitorrent::disk::{Budget, Disk, Place as DiskPlace, Store};
use minitorrent::engine::Session;
use minitorrent::engine::command::{AddTorrent, Aim, Command, Reply, Settings};
use minitorrent::engine::io::{DiskDone, DiskOp, Input, TorrentId};

use super::{Ev, Node, Place, World, answer_line};
use crate::files::SimFiles;
use crate::plan::{End, NodePlan, Plan};
use crate::state::SimState;

/// What is true of one process only.
#[derive(Default)]
pub(super) struct Life {
    pub(super) torrent: Option<TorrentId>,
    pub(super) peers: usize,
    pub(super) complete: bool,
    /// When each piece was done.
    pub(super) done: BTreeMap<Piece, Instant>,
    /// Bytes of pieces that the life before surely noted as there.
    noted: u64,
    /// Calls of the disk's timer at one moment.
    disk_calls: (Instant, u32),
}

impl World {
    pub(super) fn add_node(&mut self, at: usize) {
        let plan = &self.plan.nodes[at];
        let mut files = SimFiles::new(plan.faults, Rng::new(self.rng.bytes()));
        lay_out(&self.plan, plan, &mut files);
        files.settle();
        let mut state = SimState::default();
        state.power = files.power.clone();
        let (starts, pause, full) = (plan.starts, plan.pause, plan.faults.full);
        if let Some((operation, _)) = plan.cut {
            files.power.go_at(operation);
        }
        let ends = plan.ends.clone();
        self.to_come += ends.len();
        for (micros, how) in ends {
            self.schedule(starts + micros, Ev::End { node: at, how });
        }
        self.schedule(starts, Ev::Boot { node: at });
        if let Some((_, until)) = full {
            self.schedule(until * 1_000_000, Ev::Free { node: at });
        }
        if let Some((from, to)) = pause {
            for (second, paused) in [(from, true), (to, false)] {
                let wait = starts + second * 1_000_000 + 1;
                self.schedule(wait, Ev::Pause { node: at, paused });
            }
        }
        if let Some(second) = self.plan.nodes[at].recheck {
            self.to_come += 1;
            self.schedule(starts + second * 1_000_000 + 1, Ev::Recheck { node: at });
        }
        let (session, peer_id) = self.session(at);
        self.nodes.push(Node {
            session,
            peer_id,
            disk: Disk::with_state(files, state),
            number: 0,
            up: false,
            names: BTreeMap::new(),
            due: None,
            disk_due: None,
            joined: 0,
            life: Life::default(),
            conns: BTreeMap::new(),
            done: VecDeque::new(),
            disk_free: self.now,
            working: false,
            stopped: false,
            failed: 0,
            banned: Vec::new(),
            timeouts: (self.now, 0),
            wakes: 0,
            met: 0,
        });
    }

    fn session(&mut self, at: usize) -> (Session, PeerId) {
        let mut id = *b"-MI0100-............";
        self.rng.fill(&mut id[8..]);
        let mut settings = Settings::new(PeerId(id));
        settings.port = 6881;
        settings.max_peers = self.plan.nodes[at].max_peers;
        let session = Session::new(self.now, settings, self.rng.bytes());
        (session, PeerId(id))
    }

    pub(super) fn place(&self, at: usize) -> Place {
        Place {
            node: at,
            number: self.nodes[at].number,
        }
    }

    /// Whether it is still this process that the node runs.
    pub(super) fn lives(&self, life: Place) -> bool {
        let node = &self.nodes[life.node];
        node.up && node.number == life.number
    }

    /// A process begins, and takes up the torrent.
    pub(super) fn boot(&mut self, at: usize) {
        self.note(|| format!("{at} begins"));
        let meta = Arc::clone(&self.plan.meta);
        let add = AddTorrent {
            metainfo: Arc::clone(&meta),
            aim: Aim::Download,
            peers: self.plan.nodes[at].knows.clone(),
        };
        self.set_clock(at);
        let place = DiskPlace {
            state_dir: self.plan.nodes[at].remembers.then(|| "/state".into()),
            ..DiskPlace::new("/content")
        };
        let node = &mut self.nodes[at];
        node.up = true;
        let reply = node.session.handle_command(self.now, Command::Add(add));
        let Ok(Reply::Added(torrent)) = reply else {
            panic!("the torrent was not taken: {reply:?}");
        };
        node.life.torrent = Some(torrent);
        node.disk.files_mut().read = 0;
        let added = node.disk.add(torrent, meta, place);
        if !self.is_dark(at) {
            added.expect("memory takes everything");
            self.drain(at, &[]);
        }
    }

    pub(super) fn pause(&mut self, at: usize, paused: bool) {
        let node = &mut self.nodes[at];
        if let Some(torrent) = node.life.torrent
            && node.up
            && !self.closing
        {
            let command = match paused {
                true => Command::Pause(torrent),
                false => Command::Resume(torrent),
            };
            let reply = node.session.handle_command(self.now, command);
            assert_eq!(reply, Ok(Reply::Done));
            self.note(|| format!("{at} paused: {paused}"));
            self.drain(at, &[]);
            assert!(
                !paused || self.nodes[at].life.peers == 0,
                "paused, with peers"
            );
        }
    }

    /// Nothing of what a node has is believed any more.
    pub(super) fn recheck(&mut self, at: usize) {
        self.to_come -= 1;
        let node = &mut self.nodes[at];
        if let Some(torrent) = node.life.torrent
            && node.up
            && !self.closing
        {
            node.life.complete = false;
            node.life.noted = 0;
            let command = Command::Recheck(torrent);
            let reply = node.session.handle_command(self.now, command);
            assert_eq!(reply, Ok(Reply::Done));
            self.note(|| format!("{at} hashes all again"));
            self.drain(at, &[]);
            assert!(self.nodes[at].life.peers == 0, "hashing, with peers");
        }
    }

    /// A life ends before its time, as planned.
    pub(super) fn end(&mut self, at: usize, how: End) {
        self.to_come -= 1;
        if self.nodes[at].up {
            self.die(at, how);
        }
    }

    /// The process of a node is gone. Another begins after a while.
    fn die(&mut self, at: usize, how: End) {
        self.note(|| format!("{at} dies: {how:?}"));
        let (session, peer_id) = self.session(at);
        let socks: Vec<usize> = self.nodes[at].conns.values().copied().collect();
        for sock in socks {
            self.abandon(sock, how);
        }
        let noted = self.noted(at, how);
        let node = &mut self.nodes[at];
        let mut files = std::mem::take(node.disk.files_mut());
        let mut state = std::mem::take(node.disk.state_mut());
        match how {
            End::Kill => state.kill(),
            End::PowerCut => {
                files.crash(&mut self.rng);
                state.crash(&mut self.rng);
            }
        }
        files.power.come_back();
        node.disk = Disk::with_state(files, state);
        (node.session, node.peer_id) = (session, peer_id);
        node.number += 1;
        node.up = false;
        node.names.clear();
        node.conns.clear();
        node.done.clear();
        node.joined = 0;
        node.working = false;
        (node.due, node.disk_due) = (None, None);
        node.life = Life {
            noted,
            ..Life::default()
        };
        let wait = self.rng.below(30_000_000) as u64;
        self.schedule(wait, Ev::Boot { node: at });
    }

    /// Bytes of the pieces that a killed process has surely noted: each second it notes what it has.
    fn noted(&self, at: usize, how: End) -> u64 {
        if how != End::Kill || !self.plan.nodes[at].remembers {
            return 0;
        }
        let long_ago = |done: &&Instant| **done + Duration::from_secs(3) < self.now;
        let noted = self.nodes[at].life.done.iter();
        let noted = noted.filter(|(_, done)| long_ago(done));
        noted
            .map(|(piece, _)| u64::from(self.plan.meta.geometry.piece_len(*piece)))
            .sum()
    }

    /// Sets the clock that a node's files are stamped by.
    fn set_clock(&mut self, at: usize) {
        let wall = EPOCH + self.now.as_micros() as i64 * 1000;
        let disk = &mut self.nodes[at].disk;
        disk.files_mut().clock = wall;
        disk.state_mut().wall = wall;
    }

    /// Operations that the disk of a node has been asked for.
    pub(crate) fn disk_operations(&self, at: usize) -> u64 {
        self.nodes[at].disk.files().power.operations()
    }

    /// How many processes a node has had.
    pub(crate) fn lives_of(&self, at: usize) -> u32 {
        self.nodes[at].number + 1
    }

    /// Whether the power has gone: then the life ends here.
    fn is_dark(&mut self, at: usize) -> bool {
        if !self.nodes[at].disk.files().power.is_out() {
            return false;
        }
        let how = self.plan.nodes[at].cut.map_or(End::Kill, |(_, how)| how);
        self.die(at, how);
        true
    }

    /// Hands a drain's operations to the disk.
    pub(super) fn do_disk(&mut self, at: usize, ops: &mut Vec<DiskOp>, received: &[u8]) {
        self.set_clock(at);
        let life = self.place(at);
        let node = &mut self.nodes[at];
        node.disk.handle(ops, received, &mut node.done);
        if self.is_dark(at) {
            return;
        }
        if !std::mem::replace(&mut self.nodes[at].working, true) {
            self.schedule(1000, Ev::Work { life });
        }
        self.answer(at);
    }

    /// The disk goes on with what takes long.
    pub(super) fn work(&mut self, life: Place) {
        let at = life.node;
        self.set_clock(at);
        let budget = Budget(1 + self.rng.below(400_000));
        let node = &mut self.nodes[at];
        node.working = node.disk.work(budget, &mut node.done);
        if self.is_dark(at) {
            return;
        }
        if self.nodes[at].working {
            self.schedule(1000, Ev::Work { life });
        }
        self.answer(at);
    }

    /// The disk's timer is due.
    pub(super) fn ring_disk(&mut self, at: usize) {
        self.note(|| format!("{at} disk timeout"));
        self.set_clock(at);
        let now = self.now;
        let node = &mut self.nodes[at];
        let (last, calls) = node.life.disk_calls;
        node.life.disk_calls = (now, if last == now { calls + 1 } else { 1 });
        assert!(node.life.disk_calls.1 < 200, "the disk of {at} spins");
        node.disk.handle_timeout(now);
        if !self.is_dark(at) {
            self.answer(at);
        }
    }

    /// Lets the disk's answers come, in order, when they are due.
    fn answer(&mut self, at: usize) {
        let life = self.place(at);
        while let Some(done) = self.nodes[at].done.pop_front() {
            let wait = self.rng.below(self.plan.nodes[at].disk_delay + 1) as u64;
            let due = self.now + Duration::from_micros(wait);
            let node = &mut self.nodes[at];
            let due = due.max(node.disk_free);
            node.disk_free = due;
            let done = Box::new(done);
            self.schedule_at(due, Ev::Disk { life, done });
        }
        while let Some(warning) = self.nodes[at].disk.poll_warning() {
            self.note(|| format!("{at} warns of {}", warning.kind));
        }
        let node = &mut self.nodes[at];
        node.disk_due = node.disk.poll_timeout();
    }

    /// An answer of the disk comes.
    pub(super) fn disk_done(&mut self, at: usize, done: DiskDone) {
        self.note(|| format!("{at} {}", answer_line(&done)));
        self.nodes[at].joined -= usize::from(brings_buffer(&done));
        match &done {
            DiskDone::Checked { piece, good, .. } => self.judge_check(at, *piece, *good),
            DiskDone::CheckEnded { error: None, .. } => self.judge_reading(at),
            _ => {}
        }
        self.tell(at, Input::DiskDone(done));
        self.read_stalled(at);
    }

    /// What a check says is there is there, and what it says is missing is not.
    fn judge_check(&mut self, at: usize, piece: Piece, good: bool) {
        if good {
            self.nodes[at].life.done.insert(piece, self.now);
        }
        let there = self.is_on_disk(at, piece);
        assert!(there || !good, "node {at} believes in {piece}");
        let faulty = self.plan.nodes[at].faults.read_errors.1 > 0;
        assert!(good || !there || faulty, "node {at} misses {piece}");
    }

    /// What a killed process had noted is not read again, but for a few samples.
    fn judge_reading(&self, at: usize) {
        let node = &self.nodes[at];
        let total = self.plan.meta.geometry.total();
        let piece = u64::from(self.plan.meta.geometry.piece_length());
        let faulty = self.plan.nodes[at].faults.read_errors.1 > 0;
        let most = total - node.life.noted.min(total) + SAMPLES * piece;
        let read = node.disk.files().read;
        assert!(
            node.life.noted == 0 || faulty || read <= most,
            "node {at} has read {read} bytes again, {} were noted",
            node.life.noted
        );
    }

    /// After a stop in good order, another life believes in everything without reading it, on any machine.
    pub(super) fn judge_rebirth(&mut self, at: usize) {
        self.set_clock(at);
        let Some(torrent) = self.nodes[at].life.torrent else {
            return;
        };
        if !self.plan.nodes[at].remembers {
            return;
        }
        let node = &mut self.nodes[at];
        let mut calls = 0;
        while node.disk.flush(torrent) {
            calls += 1;
            assert!(calls < 1000, "a flush without end");
        }
        node.disk.remove(torrent);
        let mut files = std::mem::take(node.disk.files_mut());
        let mut state = std::mem::take(node.disk.state_mut());
        files.faults.read_errors = (0, 0);
        files.crash(&mut self.rng);
        state.crash(&mut self.rng);
        let most = state.paths().count();
        assert!(most <= 1, "{most} files of state are left");
        node.disk = Disk::with_state(files, state);
        self.set_clock(at);
        let place = DiskPlace {
            state_dir: Some("/state".into()),
            ..DiskPlace::new("/content")
        };
        let meta = Arc::clone(&self.plan.meta);
        let node = &mut self.nodes[at];
        node.disk.files_mut().read = 0;
        node.disk.add(torrent, meta, place).expect("a second time");
        let mut done = VecDeque::new();
        let mut ops = vec![DiskOp::Check { torrent }];
        node.disk.handle(&mut ops, &[], &mut done);
        while node.disk.work(Budget(1 << 20), &mut done) {}
        let good = done
            .iter()
            .filter(|done| matches!(done, DiskDone::Checked { good: true, .. }));
        assert_eq!(good.count() as u32, self.plan.meta.geometry.pieces());
        let piece = u64::from(self.plan.meta.geometry.piece_length());
        let read = node.disk.files().read;
        let warnings: Vec<_> = std::iter::from_fn(|| node.disk.poll_warning()).collect();
        assert!(
            read <= SAMPLES * piece,
            "{at} reads {read} bytes again: {warnings:?}"
        );
    }
}

/// Whether an answer gives a buffer back.
fn brings_buffer(done: &DiskDone) -> bool {
    match done {
        DiskDone::Wrote { buffer, .. } | DiskDone::WriteFailed { buffer, .. } => buffer.is_some(),
        _ => false,
    }
}

/// Puts what a node has at the start on its disk: its pieces, and perhaps wrong bytes for the others.
fn lay_out(plan: &Plan, node: &NodePlan, files: &mut SimFiles) {
    let length = u64::from(plan.meta.geometry.piece_length());
    for (piece, has) in node.have.iter().enumerate() {
        if !has && !node.garbage {
            continue;
        }
        let offset = piece as u64 * length;
        let mut from = offset as usize;
        for span in plan.meta.table.spans(offset, length) {
            let file = files.files.entry(span.file).or_default();
            let (start, len) = (span.offset as usize, span.len as usize);
            file.resize(file.len().max(start + len), 0);
            if *has {
                file[start..start + len].copy_from_slice(&plan.content[from..from + len]);
            }
            from += len;
        }
    }
}

/// When the world begins, in nanoseconds since 1970.
const EPOCH: i64 = 1_700_000_000_000_000_000;
/// Pieces that may be read though they were noted: samples, and one that was being noted.
const SAMPLES: u64 = 8;
