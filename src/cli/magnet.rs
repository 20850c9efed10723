//! `magnet`: a torrent's magnet link.

use std::path::Path;

use super::exit::Exit;
use super::face::Face;
use super::options::Options;
use super::progress::Progress;
use super::terminal;
use crate::client::load;
use crate::wire::magnet::Magnet;

/// Prints a link a torrent.
pub(super) fn magnet(options: &Options) -> Exit {
    let mut worst = Exit::Complete;
    for torrent in &options.torrents {
        match load(Path::new(torrent), options.config.max_torrent_size) {
            Ok(metainfo) => {
                worst = worst.max(terminal::answer(&Magnet::of(&metainfo).to_string()));
            }
            Err(error) => {
                Face::new(Progress::None, options.quiet).client_error(&error, "");
                worst = worst.max(Exit::of(&error));
            }
        }
    }
    worst
}
