//! Receiving: what several connections brought goes to the disk together.
//!
//! All connections are read into one buffer, each behind the one before, while there is room. Only then is what the
//! session made of it carried to the store as one batch, because there two pieces are hashed in little more time than
//! one, and from a connection that is read often comes a single block at a time, of a single piece.
//!
//! ```text
//!  receive   | read of A | read of B | read of C |   room   |
//!                                                 ^ len
//! ```
//!
//! A fast connection would fill the buffer alone. Where that would be with a single piece it is read in halves of the
//! buffer while others wait, so that each batch has blocks of two.
//!
//! The batch is over when less than ROOM_MIN is left behind it, when another session's turn comes, when a connection ends
//! or may read nothing, when more buffers with cut blocks are out than there are connections (so many are in the memory
//! limit), and when nobody is left to read.

#[cfg(test)]
mod tests;

use std::io::{self, Read as _};

use super::Reactor;
use super::host::HostId;
use super::sockets::SocketKey;
use crate::base::memory;
use crate::base::time::Instant;
use crate::engine::io::{ConnId, Input};

/// What was read and is not with the store yet: so many bytes at the front of the buffer, all of one session.
struct Batch {
    host: HostId,
    len: usize,
}

impl Reactor {
    pub(super) fn read(&mut self, now: Instant) {
        let mut queue = std::mem::take(&mut self.queue);
        self.net.take_readable(&mut queue);
        let mut left = READ_TURN;
        let mut turns = queue.iter();
        let mut batch = Batch {
            host: HostId(0),
            len: 0,
        };
        while left > 0
            && let Some(&key) = turns.next()
        {
            let waiting = !turns.as_slice().is_empty();
            left = left.saturating_sub(self.read_one(now, key, waiting, &mut batch));
        }
        self.end_batch(now, &mut batch);
        // Who got no turn now is the first in the next.
        self.net.queue_first(turns.as_slice());
        self.queue = queue;
    }

    /// Reads once from a connection and hands in what came; gives how many bytes. Others may be `waiting` for their turn.
    fn read_one(
        &mut self,
        now: Instant,
        key: SocketKey,
        waiting: bool,
        batch: &mut Batch,
    ) -> usize {
        let Some(stream) = self.net.stream(key) else {
            return 0;
        };
        let (id, conn) = (stream.host, stream.conn);
        if batch.host != id
            || self.receive.len() - batch.len < ROOM_MIN
            || self.hosts[id.0].session.holds_cut_blocks()
        {
            self.end_batch(now, batch);
            batch.host = id;
        }
        let mut room = self.room(now, id, conn, waiting, batch);
        if room == 0 {
            // What is not with the store yet may be what the session waits for.
            self.end_batch(now, batch);
            room = self.room(now, id, conn, waiting, batch);
        }
        // Its own answers may have closed it.
        let Some(stream) = self.net.stream_mut(key) else {
            return 0;
        };
        if room == 0 {
            self.net.queue(key);
            return 0;
        }
        let buffer = &mut self.receive[batch.len..][..room];
        let result = stream.tcp.read(buffer);
        match result {
            Ok(0) => {
                self.end_batch(now, batch);
                self.net.handle_end(now, key);
                self.hand_in(now, id, Input::Ended { conn });
                0
            }
            Ok(bytes) => {
                self.net.handle_read(now, key, Some(bytes), room);
                let buffer = self.memory.socket.map(|socket| socket.receive);
                self.calm.handle_moved(bytes, buffer);
                let host = &mut self.hosts[id.0];
                let came = &self.receive[batch.len..][..bytes];
                host.gather(&mut self.net, now, conn, came, batch.len, &mut self.heard);
                batch.len += bytes;
                bytes
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.net.handle_read(now, key, None, room);
                0
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.net.queue(key);
                0
            }
            Err(error) => {
                log::debug!("connection {conn:?} broke: {error}");
                self.end_batch(now, batch);
                self.hosts[id.0].close(&mut self.net, conn);
                self.hand_in(now, id, Input::Failed { conn });
                0
            }
        }
    }

    /// How much may be read from a connection behind what the batch holds.
    fn room(
        &self,
        now: Instant,
        host: HostId,
        conn: ConnId,
        waiting: bool,
        batch: &Batch,
    ) -> usize {
        let session = &self.hosts[host.0].session;
        let pieces = session.piece_length(conn);
        let most = most(self.receive.len(), batch.len, waiting, pieces);
        session.read_size(now, conn, most)
    }

    fn hand_in(&mut self, now: Instant, host: HostId, input: Input<'_>) {
        self.hosts[host.0].handle(&mut self.net, now, input, &mut self.heard);
    }

    /// Carries to the store what was read, and begins anew at the front of the buffer.
    fn end_batch(&mut self, now: Instant, batch: &mut Batch) {
        let len = std::mem::take(&mut batch.len);
        if len > 0 {
            let host = &mut self.hosts[batch.host.0];
            host.settle(&mut self.net, now, &self.receive[..len], &mut self.heard);
        }
    }
}

/// The most of a buffer that one read takes when the batch has `filled` bytes of it: what is left, but no more than half
/// where one connection would fill it with a single piece although there are others, as that would be hashed alone.
fn most(buffer: usize, filled: usize, waiting: bool, piece_length: Option<u32>) -> usize {
    let half = buffer / 2;
    let is_long = piece_length.is_some_and(|length| length as usize > half);
    let in_halves = memory::HASHES_TWO && half >= ROOM_MIN && is_long && (waiting || filled > 0);
    (buffer - filled).min(if in_halves { half } else { buffer })
}

/// Bytes read in a turn from all sockets together, so that timers and writes get their turn too.
const READ_TURN: usize = 4 << 20;
/// With less room than this behind a batch the next read begins at the front again: four blocks, as a read that is cut
/// short costs another. A buffer that is no larger holds one read at a time.
const ROOM_MIN: usize = 64 * 1024;
