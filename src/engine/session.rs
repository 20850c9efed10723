//! A session: torrents, connections, and the law by which the world drives them.

use std::net::SocketAddr;

use super::command::{Command, CommandError, Reply, Settings};
use super::io::{ConnId, Input, Output, Segments};
use super::stats::Snapshot;
use crate::base::time::Instant;

/// The engine: pure, driven by `handle` and drained by `poll_output`.
pub struct Session {
    settings: Settings,
}

impl Session {
    /// A session that knows no torrent yet; all its chance follows from `seed`.
    pub fn new(_now: Instant, settings: Settings, _seed: [u8; 32]) -> Self {
        Self { settings }
    }

    /// The world tells the session one thing. Drain `poll_output` before the next call.
    pub fn handle(&mut self, _now: Instant, _input: Input<'_>) {}

    /// A connection came in; `None` refuses it (close the socket).
    pub fn accept(&mut self, _now: Instant, _from: SocketAddr) -> Option<ConnId> {
        None
    }

    /// A person or program commands. Drain `poll_output` afterwards, too.
    pub fn handle_command(
        &mut self,
        _now: Instant,
        _command: Command,
    ) -> Result<Reply, CommandError> {
        Err(CommandError::Unknown)
    }

    /// The next thing the session wants of the world.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// What `conn` has to send, as much as `out` has room for; the same until `transmitted` says it went.
    pub fn poll_transmit<'a>(&'a self, _conn: ConnId, _out: &mut Segments<'a>) {}

    /// The first `bytes` bytes of what `poll_transmit` gave are on their way. Drain `poll_output` afterwards.
    pub fn transmitted(&mut self, _now: Instant, _conn: ConnId, _bytes: usize) {}

    /// When to hand in `Input::Timeout`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// How many bytes the world may read from `conn` now; 0 while there is no room or a rate is used up.
    pub fn read_allowance(&self, _now: Instant, _conn: ConnId) -> usize {
        usize::MAX
    }

    /// How the session stands.
    pub fn snapshot(&self, _now: Instant) -> Snapshot {
        let _ = &self.settings;
        Snapshot::default()
    }
}
