//! A bar on a terminal, redrawn in place on standard error.
//!
//! It is drawn when the loop ticks; indicatif's own ticker would be a thread.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{phase, units};
use crate::base::escape::escape;
use crate::cli::face::Run;
use crate::client::Phase;
use crate::wire::metainfo::Metainfo;

/// A line with a bar in it.
#[derive(Default)]
pub(in crate::cli) struct Bar {
    bar: Option<ProgressBar>,
    name: String,
}

impl Bar {
    pub(super) fn started(&mut self, metainfo: &Metainfo) {
        let target = ProgressDrawTarget::stderr_with_hz(DRAWS);
        let bar = ProgressBar::with_draw_target(Some(metainfo.geometry.total()), target);
        // The message is cut where the terminal ends: a line that wrapped could not be redrawn. Without colours: they
        // would say nothing that the words don't.
        if let Ok(style) = ProgressStyle::with_template("[{bar:12}] {percent:>3}% {wide_msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        self.name = escape(metainfo.name.as_bytes(), NAME_MAX);
        self.bar = Some(bar);
    }

    pub(super) fn tick(&mut self, run: &Run) {
        let Some(bar) = &self.bar else {
            return;
        };
        let it = &run.torrent;
        if it.phase == Phase::Checking {
            let part = u64::from(it.pieces_checked) * it.bytes / u64::from(it.pieces.max(1));
            bar.set_position(part);
            bar.set_message(format!("checking {}", self.name));
            return;
        }
        bar.set_position(it.bytes_have);
        let left = it.bytes.saturating_sub(it.bytes_have);
        let rest = match left.checked_div(it.down_rate) {
            Some(seconds) if left > 0 => {
                let time = std::time::Duration::from_secs(seconds);
                format!(", {} left", units::time(time))
            }
            _ => String::new(),
        };
        let doing = match it.phase {
            Phase::Downloading => format!("{}/s{rest}", units::bytes(it.down_rate)),
            other => phase(other).to_owned(),
        };
        // What matters most comes first.
        bar.set_message(format!(
            "{doing}, peers: {}, {}/s up, {}",
            it.peers,
            units::bytes(it.up_rate),
            self.name,
        ));
    }

    /// Writes something above the bar.
    pub(super) fn aside(&self, write: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Takes the line away, so that what is said last stands alone.
    pub(super) fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// Draws a second at most.
const DRAWS: u8 = 8;
/// Of the torrent's name, so that the bar fits into a usual terminal.
const NAME_MAX: usize = 24;
