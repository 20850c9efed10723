//! Signals, as readiness in the same poll.

use std::io;

use mio::{Interest, Registry, Token};
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook_mio::v1_0::Signals;

/// Catches the process's signals and counts those that ask it to stop.
pub(super) struct Watch {
    signals: Signals,
    stops: u32,
    hangups: u32,
}

impl Watch {
    /// Catches signals from now on and registers their pipe.
    ///
    /// SIGINT and SIGTERM count as wishes to stop. The others are caught so that they do nothing: a terminal
    /// that goes away (SIGHUP) does not end a download, and a write beyond the file size limit (SIGXFSZ) fails
    /// with `EFBIG` instead of killing the process.
    pub(super) fn new(registry: &Registry) -> io::Result<Self> {
        let caught = [SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXFSZ];
        let mut signals = Signals::new(caught)?;
        registry.register(&mut signals, TOKEN, Interest::READABLE)?;
        Ok(Self {
            signals,
            stops: 0,
            hangups: 0,
        })
    }

    /// Their pipe has become readable: takes what came.
    pub(super) fn handle_ready(&mut self) {
        for signal in self.signals.pending() {
            if signal == SIGINT || signal == SIGTERM {
                self.stops += 1;
            } else if signal == SIGHUP {
                self.hangups = self.hangups.wrapping_add(1);
            }
        }
    }

    /// How often the process was asked to stop.
    pub(super) fn stops(&self) -> u32 {
        self.stops
    }

    /// How often SIGHUP came.
    pub(super) fn hangups(&self) -> u32 {
        self.hangups
    }
}

/// The pipe's token: no source has it, since indices are far smaller.
pub(super) const TOKEN: Token = Token(usize::MAX);
