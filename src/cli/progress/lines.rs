//! A plain line now and then on standard output, for files and pipes.

use super::{phase, terminal, units};
use crate::base::escape::escape_field;
use crate::cli::face::Run;
use crate::wire::metainfo::Metainfo;

/// Lines without control sequences.
#[derive(Default)]
pub(in crate::cli) struct Lines {
    name: String,
}

impl Lines {
    pub(super) fn started(&mut self, metainfo: &Metainfo) {
        self.name = escape_field(metainfo.name.as_bytes());
        terminal::out(&format!(
            "{}: {} in {} pieces",
            self.name,
            units::bytes(metainfo.geometry.total()),
            metainfo.geometry.pieces(),
        ));
    }

    pub(super) fn tick(&mut self, run: &Run) {
        let it = &run.torrent;
        terminal::out(&format!(
            "{} {}: {} of {} pieces, {}/s down, {}/s up, peers: {}",
            units::time(run.elapsed),
            phase(it.phase),
            it.pieces_have,
            it.pieces,
            units::bytes(it.down_rate),
            units::bytes(it.up_rate),
            it.peers,
        ));
    }
}
