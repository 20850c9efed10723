//! How the session stands, in plain values.

use super::{Seat, Session};
use crate::base::time::Instant;
use crate::engine::conn::Kind;
use crate::engine::io::TorrentId;
use crate::engine::stats::{PeerSnapshot, Snapshot, TorrentSnapshot};

impl Session {
    /// How the torrents stand.
    pub fn torrents(&self, now: Instant) -> Vec<TorrentSnapshot> {
        let seats = self.torrents.iter();
        seats
            .map(|(id, seat)| self.snapshot_of(now, id, seat))
            .collect()
    }

    /// What each torrent has moved in this run: payload received, and sent.
    pub fn moved(&self) -> impl Iterator<Item = (TorrentId, u64, u64)> {
        self.torrents.iter().map(|(id, seat)| {
            let flow = &seat.torrent.flow;
            (id, flow.downloaded, flow.uploaded)
        })
    }

    /// How the torrents stand and each of their peers: with many peers not for every turn.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let mut snapshot = Snapshot {
            torrents: self.torrents(now),
            ..Snapshot::default()
        };
        for (_, conn) in self.conns.iter() {
            if let Kind::Peer { torrent, peer, .. } = &conn.kind {
                let seat = self.torrents.get(*torrent);
                let pieces = seat.map_or(0, |seat| seat.torrent.geometry().pieces());
                snapshot.peers.push(PeerSnapshot {
                    torrent: *torrent,
                    address: peer.address,
                    client: peer.client.clone(),
                    pieces_have: peer.has.count(pieces),
                    unchoked_us: !peer.choking_us,
                    unchoked: !peer.choked,
                    in_flight: peer.pipeline.len() as u32,
                    down_rate: peer.down.rate(now),
                    up_rate: peer.up.rate(now),
                });
            }
        }
        snapshot
    }

    fn snapshot_of(&self, now: Instant, id: TorrentId, seat: &Seat) -> TorrentSnapshot {
        let (torrent, announcer) = (&seat.torrent, &seat.announcer);
        let (mut useful, mut unchoked_us, mut in_flight) = (0, 0, 0);
        for conn in &torrent.members {
            if let Some(Kind::Peer { peer, .. }) = self.conns.get(*conn).map(|conn| &conn.kind) {
                useful += u32::from(peer.useful > 0);
                unchoked_us += u32::from(peer.useful > 0 && !peer.choking_us);
                in_flight += peer.pipeline.len() as u32;
            }
        }
        let has_answer = seat.answered || seat.tracker_trouble.is_some();
        TorrentSnapshot {
            phase: torrent.phase(),
            pieces_have: torrent.pieces.wanted() - torrent.pieces.missing(),
            pieces: torrent.pieces.wanted(),
            metadata: torrent.collector.as_ref().map_or((0, 0), |c| c.progress()),
            pieces_checked: torrent.checking.unwrap_or(torrent.geometry().pieces()),
            bytes_have: torrent.pieces.bytes_wanted() - torrent.left(),
            bytes: torrent.pieces.bytes_wanted(),
            downloaded: torrent.flow.downloaded,
            uploaded: torrent.flow.uploaded,
            wasted: torrent.flow.wasted,
            down_rate: torrent.flow.down.rate(now),
            up_rate: torrent.flow.up.rate(now),
            peers: torrent.members.len() as u32,
            seeds: torrent.seeds(),
            half_open: self.half_open_of(id) as u32,
            addresses: torrent.swarm.len() as u32,
            has_source: torrent.members.len() + torrent.swarm.len() > 0
                || announcer.has_hope()
                || self.is_sought(torrent),
            disk: torrent.disk.as_ref().map(|disk| disk.error.clone()),
            is_disk_behind: self.is_disk_behind(),
            is_limited: self.rates.holds_back(now),
            useful,
            unchoked_us,
            in_flight,
            unavailable: torrent.unavailable(),
            is_sought: self.is_sought(torrent),
            is_announcing: announcer.has_hope() && !has_answer,
            tracker_trouble: seat.tracker_trouble.clone(),
            knew_banned: seat.knew_banned,
            ..TorrentSnapshot::empty(id, torrent.metainfo.info_hash)
        }
    }
}
