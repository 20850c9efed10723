//! A plain line now and then on standard output, for files and pipes.

use super::{Labels, describing, phase, terminal, together, units};
use crate::base::escape::escape_field;
use crate::cli::face::State;
use crate::client::{Phase, waiting};
use crate::wire::metainfo::Metainfo;

/// Lines without control sequences.
pub(in crate::cli) struct Lines;

impl Lines {
    pub(super) fn started(&mut self, metainfo: &Metainfo) {
        terminal::tell(&format!(
            "{}: {} in {} pieces",
            escape_field(metainfo.name.as_bytes()),
            units::bytes(metainfo.geometry.total()),
            metainfo.geometry.pieces(),
        ));
    }

    pub(super) fn tick(&mut self, state: &State, labels: &Labels) {
        let time = units::time(state.elapsed);
        if state.torrents.len() > LINES_MAX {
            return terminal::tell(&format!("{time} {}", together(state)));
        }
        let several = labels.len() > 1;
        for it in &state.torrents {
            let label = labels.get(&it.torrent).filter(|_| several);
            let name = label.map_or(String::new(), |label| format!("{}: ", label.name));
            if it.phase == Phase::Describing {
                terminal::tell(&format!("{time} {name}{}", describing(it)));
                continue;
            }
            let why = waiting(it).map_or(String::new(), |why| format!(", waiting: {why}"));
            terminal::tell(&format!(
                "{time} {name}{}: {} of {} pieces, {}/s down, {}/s up, peers: {}{why}",
                phase(it.phase),
                it.pieces_have,
                it.pieces,
                units::bytes(it.down_rate),
                units::bytes(it.up_rate),
                it.peers,
            ));
        }
    }
}

/// Torrents that have a line each.
const LINES_MAX: usize = 20;
