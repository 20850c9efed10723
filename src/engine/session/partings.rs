//! Partings: a torrent that is paused, hashed anew or removed, and the end of the session.

use super::Session;
use crate::base::limits;
use crate::base::time::Instant;
use crate::engine::command::{CommandError, Reply};
use crate::engine::conn::{Conn, Kind};
use crate::engine::io::{ConnId, DiskOp, Event, Output, TorrentId};
use crate::engine::timers::{Timer, TimerTable};
use crate::engine::torrent::Why;

impl Session {
    /// Closes a torrent's peers and asks for nothing more of it.
    pub(super) fn pause(
        &mut self,
        now: Instant,
        torrent: TorrentId,
    ) -> Result<Reply, CommandError> {
        let seat = self
            .torrents
            .get_mut(torrent)
            .ok_or(CommandError::Unknown)?;
        seat.torrent.paused = true;
        seat.announcer.stop(now);
        self.seek(now, torrent);
        self.part_from_all(now, torrent, "paused");
        Ok(Reply::Done)
    }

    /// Closes a torrent's peers and hashes anew what is there; who comes back hears what was found.
    pub(super) fn recheck(
        &mut self,
        now: Instant,
        torrent: TorrentId,
    ) -> Result<Reply, CommandError> {
        let seat = self
            .torrents
            .get_mut(torrent)
            .ok_or(CommandError::Unknown)?;
        if !seat.torrent.begin_recheck() {
            return Ok(Reply::Done);
        }
        self.part_from_all(now, torrent, "disk.changed");
        if let Some(seat) = self.torrents.get_mut(torrent) {
            seat.torrent.forget_pieces();
            seat.torrent.swarm.revive(now);
        }
        self.out.push_back(Output::Disk(DiskOp::Check { torrent }));
        Ok(Reply::Done)
    }

    /// Closes a torrent's peers, and the connections that were to bring more.
    fn part_from_all(&mut self, now: Instant, torrent: TorrentId, why: Why) {
        let seat = self.torrents.get(torrent);
        let members = seat.map_or(Vec::new(), |seat| seat.torrent.members.clone());
        for conn in members {
            self.close(now, conn, why);
        }
        let half_open = self.conns.iter().filter(|(_, conn)| match &conn.kind {
            Kind::Dialling { torrent: of } => *of == torrent,
            Kind::Greeting(greeting) => greeting.torrent == Some(torrent),
            Kind::Peer { .. } | Kind::Tracker(_) | Kind::Served(_) => false,
        });
        let half_open: Vec<ConnId> = half_open.map(|(id, _)| id).collect();
        half_open.into_iter().for_each(|conn| self.put_back(conn));
    }

    /// Pauses a torrent for good: it is forgotten when its trackers know.
    pub(super) fn remove(&mut self, now: Instant, id: TorrentId) -> Result<Reply, CommandError> {
        self.pause(now, id)?;
        self.leaving.push((id, now + limits::GOODBYE));
        self.drive_announcers(now);
        Ok(Reply::Done)
    }

    /// Forgets the torrents whose goodbyes are said, or took too long.
    pub(super) fn finish_partings(&mut self, now: Instant) {
        let mut index = 0;
        while let Some(&(id, until)) = self.leaving.get(index) {
            let seat = self.torrents.get(id);
            if now < until && seat.is_some_and(|seat| !seat.announcer.is_stopped()) {
                index += 1;
                continue;
            }
            self.leaving.swap_remove(index);
            let is_call =
                |conn: &Conn| matches!(&conn.kind, Kind::Tracker(call) if call.torrent == id);
            let calls = self.conns.iter().filter(|(_, conn)| is_call(conn));
            let calls: Vec<ConnId> = calls.map(|(conn, _)| conn).collect();
            for conn in calls {
                self.conns.remove(conn);
                self.out.push_back(Output::Close { conn });
            }
            self.torrents.remove(id);
            let event = Event::Removed { torrent: id };
            self.out.push_back(Output::Event(event));
        }
    }

    /// Says goodbye to everyone.
    pub(super) fn shut_down(&mut self, now: Instant) {
        self.stopping = true;
        self.leaving.clear();
        (self.dht, self.lsd) = (None, None);
        self.drop_held();
        // A tracker may be hearing that we are complete, or that we leave: which calls end the announcers say.
        let is_call = |conn: &Conn| matches!(conn.kind, Kind::Tracker(_));
        let others = self.conns.iter().filter(|(_, conn)| !is_call(conn));
        let others: Vec<ConnId> = others.map(|(id, _)| id).collect();
        others
            .into_iter()
            .for_each(|conn| self.close(now, conn, "stopping"));
        for (_, seat) in self.torrents.iter_mut() {
            seat.announcer.stop(now);
        }
        self.timers = TimerTable::default();
        self.timers.set(Timer::Goodbye, now + limits::GOODBYE);
        self.drive_announcers(now);
        self.finish_stop();
    }

    /// Says that all goodbyes are said, once; from then on there is no deadline.
    pub(super) fn finish_stop(&mut self) {
        if !self.stopping {
            return;
        }
        self.timers.stop(Timer::Sweep);
        let said = self
            .torrents
            .iter()
            .all(|(_, seat)| seat.announcer.is_stopped());
        if said && self.timers.is_set(Timer::Goodbye) {
            self.timers.stop(Timer::Goodbye);
            self.end();
        }
    }

    /// Every goodbye is said, or it is too late for it: nothing is left open.
    pub(super) fn end(&mut self) {
        self.forget_names();
        for conn in self.conns.iter().map(|(id, _)| id).collect::<Vec<_>>() {
            self.conns.remove(conn);
            self.out.push_back(Output::Close { conn });
        }
        self.out.push_back(Output::Event(Event::Stopped));
    }
}
