//! A bar a torrent on a terminal, redrawn in place on standard error.
//!
//! They are drawn when the loop ticks; indicatif's own ticker would be a thread.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Labels, describing, phase, terminal, together, units};
use crate::base::escape::escape;
use crate::cli::face::State;
use crate::client::{Phase, TorrentSnapshot, waiting};

/// Lines with a bar in each.
pub(in crate::cli) struct Bar {
    screen: MultiProgress,
    lines: Vec<ProgressBar>,
}

/// What a line shows.
struct Line {
    done: u64,
    of: u64,
    message: String,
}

impl Default for Bar {
    fn default() -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(DRAWS);
        Self {
            screen: MultiProgress::with_draw_target(target),
            lines: Vec::new(),
        }
    }
}

impl Bar {
    pub(super) fn tick(&mut self, state: &State, labels: &Labels) {
        let name = |it: &TorrentSnapshot| {
            let label = labels.get(&it.torrent);
            label.map_or(String::new(), |label| {
                escape(label.name.as_bytes(), NAME_MAX)
            })
        };
        let narrow = terminal::columns() < NARROW;
        // The line where the next message of the shell goes stays free.
        let fits = state.torrents.len() < terminal::lines();
        let lines = match fits {
            true => state
                .torrents
                .iter()
                .map(|it| line(it, &name(it), narrow))
                .collect(),
            false => vec![Line {
                done: state.torrents.iter().map(|it| it.bytes_have).sum(),
                of: state.torrents.iter().map(|it| it.bytes).sum(),
                message: together(state),
            }],
        };
        while self.lines.len() > lines.len() {
            if let Some(bar) = self.lines.pop() {
                bar.finish_and_clear();
                self.screen.remove(&bar);
            }
        }
        while self.lines.len() < lines.len() {
            self.lines.push(self.screen.add(new_bar()));
        }
        for (bar, line) in self.lines.iter().zip(lines) {
            bar.set_message(line.text(narrow));
        }
    }

    /// Writes something above the bars.
    pub(super) fn aside(&self, write: impl FnOnce()) {
        self.screen.suspend(write);
    }

    /// Takes the bars away.
    pub(super) fn end(&mut self) {
        for bar in self.lines.drain(..) {
            bar.finish_and_clear();
            self.screen.remove(&bar);
        }
    }
}

fn new_bar() -> ProgressBar {
    let bar = ProgressBar::no_length();
    // The message is cut where the terminal ends: a line that wrapped could not be redrawn. It is all there is, so that
    // it is drawn at once: a bar, drawn when it moves, would stand before the words of the time before. Without
    // colours: they would say nothing that the words don't.
    match ProgressStyle::with_template("{wide_msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

impl Line {
    /// The whole line, with the picture of a bar unless that would hide what is said.
    fn text(&self, narrow: bool) -> String {
        let part = |whole: u64| {
            let done = u128::from(self.done.min(self.of)) * u128::from(whole);
            done.checked_div(u128::from(self.of)).unwrap_or(0) as usize
        };
        let (percent, message) = (part(100), &self.message);
        if narrow {
            return format!("{percent:>3}% {message}");
        }
        let mut cells = "=".repeat(part(CELLS as u64));
        if (1..self.of).contains(&self.done) {
            cells.push('>');
        }
        format!("[{cells:CELLS$}] {percent:>3}% {message}")
    }
}

fn line(it: &TorrentSnapshot, name: &str, narrow: bool) -> Line {
    if it.phase == Phase::Checking {
        return Line {
            done: u64::from(it.pieces_checked) * it.bytes / u64::from(it.pieces.max(1)),
            of: it.bytes,
            message: format!("checking {name}"),
        };
    }
    if it.phase == Phase::Describing {
        return Line {
            done: u64::from(it.metadata.0),
            of: u64::from(it.metadata.1),
            message: format!("{}, {name}", describing(it)),
        };
    }
    let left = it.bytes.saturating_sub(it.bytes_have);
    let rest = match left.checked_div(it.down_rate) {
        Some(seconds) if left > 0 => {
            let time = std::time::Duration::from_secs(seconds);
            format!(", {} left", units::time(time))
        }
        _ => String::new(),
    };
    let doing = match it.phase {
        _ if it.down_rate == 0
            && let Some(why) = waiting(it) =>
        {
            format!("{}{why}", if narrow { "" } else { "waiting: " })
        }
        Phase::Downloading => format!("{}/s{rest}", units::bytes(it.down_rate)),
        other => phase(other).to_owned(),
    };
    // What matters most comes first.
    let (peers, up) = (it.peers, units::bytes(it.up_rate));
    let message = match narrow {
        true => format!("{}/{} {doing}, peers: {peers}", it.pieces_have, it.pieces),
        false => format!("{doing}, peers: {peers}, {up}/s up, {name}"),
    };
    Line {
        done: it.bytes_have,
        of: it.bytes,
        message,
    }
}

/// Characters of the picture.
const CELLS: usize = 12;
/// Columns below which the picture of a bar makes room for what it says.
const NARROW: usize = 50;
/// Draws a second at most.
const DRAWS: u8 = 8;
/// Of the torrent's name, so that the bar fits into a usual terminal.
const NAME_MAX: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_what_is_done_of_what() {
        let line = |done, of| Line {
            done,
            of,
            message: "m".into(),
        };
        for (done, of, wide, narrow) in [
            (0, 0, "[            ]   0% m", "  0% m"),
            (0, 9, "[            ]   0% m", "  0% m"),
            (1, 1000, "[>           ]   0% m", "  0% m"),
            (6, 12, "[======>     ]  50% m", " 50% m"),
            (u64::MAX - 1, u64::MAX, "[===========>]  99% m", " 99% m"),
            (9, 9, "[============] 100% m", "100% m"),
        ] {
            assert_eq!(line(done, of).text(false), wide);
            assert_eq!(line(done, of).text(true), narrow);
        }
    }
}
