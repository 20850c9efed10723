//! `magnet`: a torrent's magnet link.

use std::path::Path;

use super::exit::Exit;
use super::face::Face;
use super::options::Options;
use super::progress::Progress;
use super::terminal;
use crate::client::Reading;
use crate::reactor::Interrupts;

/// Prints a link a torrent.
pub(super) fn magnet(options: &Options, interrupts: &Interrupts) -> Exit {
    let mut worst = Exit::Complete;
    for torrent in &options.torrents {
        let read = Reading::of(&options.config, interrupts).magnet(Path::new(torrent));
        let exit = match read {
            Ok(magnet) => terminal::answer(&magnet.to_string(), interrupts),
            Err(error) => Face::new(Progress::None, options).unread(&error, torrent),
        };
        worst = worst.max(exit);
        if exit == Exit::Interrupted {
            break;
        }
    }
    worst
}
