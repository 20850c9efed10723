//! The limits of all peers together: bytes a second, each way.
//!
//! Down, the world is allowed to read so much and no more, and TCP makes the senders wait. Up, payload is held back
//! while headers and other messages go ahead, since requests must not wait behind what others are sent.

use super::Session;
use crate::base::rate::Bucket;
use crate::base::time::{Instant, earliest};
use crate::engine::command::Settings;
use crate::engine::conn::Kind;
use crate::engine::io::{ConnId, Output};

/// The limits of a session, both or one or none.
pub(super) struct Rates {
    down: Option<Bucket>,
    up: Option<Bucket>,
    /// Who was sent something last: the others come first when there is something to give again.
    last: Option<ConnId>,
}

impl Rates {
    pub(super) fn new(now: Instant, settings: &Settings) -> Self {
        let bucket = |rate| Bucket::new(now, rate);
        Self {
            down: settings.max_download_rate.map(bucket),
            up: settings.max_upload_rate.map(bucket),
            last: None,
        }
    }

    /// A peer sent us so much.
    pub(super) fn received(&mut self, now: Instant, bytes: usize) {
        if let Some(down) = &mut self.down {
            down.take(now, bytes as u64);
        }
    }

    /// A peer was sent so much.
    pub(super) fn sent(&mut self, now: Instant, conn: ConnId, bytes: usize) {
        if let Some(up) = &mut self.up {
            up.take(now, bytes as u64);
            self.last = Some(conn);
        }
    }

    /// Bytes that may be read of peers now.
    pub(super) fn down_allowance(&self, now: Instant) -> usize {
        allowance(&self.down, now)
    }

    /// Whether what peers may send is used up faster than it comes: within its last helping.
    pub(super) fn holds_back(&self, now: Instant) -> bool {
        self.down.as_ref().is_some_and(|down| down.is_in_use(now))
    }

    /// Bytes of blocks that peers may be sent now.
    pub(super) fn up_allowance(&self, now: Instant) -> usize {
        allowance(&self.up, now)
    }

    /// When there is something to give again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let timeout = |bucket: &Option<Bucket>| bucket.as_ref().and_then(Bucket::poll_timeout);
        earliest(timeout(&self.down), timeout(&self.up))
    }
}

impl Session {
    /// The world asks again what it may read by itself; of what it may send it is told anew, each peer in turn.
    pub(super) fn handle_rate_timeout(&mut self, now: Instant) {
        if let Some(down) = &mut self.rates.down {
            down.handle_timeout(now);
        }
        let up = self.rates.up.as_mut();
        if !up.is_some_and(|up| up.handle_timeout(now)) {
            return;
        }
        let waits =
            |kind: &Kind| matches!(kind, Kind::Peer { peer, .. } if !peer.outbox.is_empty());
        let conns = self.conns.iter();
        let mut waiting: Vec<ConnId> = conns
            .filter(|(_, conn)| waits(&conn.kind))
            .map(|(id, _)| id)
            .collect();
        if let Some(last) = self.rates.last {
            let next = waiting.partition_point(|conn| conn.index() <= last.index());
            waiting.rotate_left(next);
        }
        let transmit = waiting.into_iter().map(|conn| Output::Transmit { conn });
        self.out.extend(transmit);
    }
}

fn allowance(bucket: &Option<Bucket>, now: Instant) -> usize {
    let bytes = bucket.as_ref().map(|bucket| bucket.allowance(now));
    bytes.map_or(usize::MAX, |bytes| {
        usize::try_from(bytes).unwrap_or(usize::MAX)
    })
}
