//! `check`: hashes what is there of torrents, and asks and writes nothing.

use std::ffi::OsStr;
use std::path::Path;

use super::exit::Exit;
use super::face::Face;
use super::options::Options;
use super::progress::Progress;
use super::run::{is_there, snapshot};
use super::terminal;
use crate::base::escape::escape_field;
use crate::client::{Client, Error, Outcome, Reading, Target};
use crate::reactor::Interrupts;

/// Hashes what is there of several torrents: a line each.
pub(super) fn check(options: &Options, interrupts: &Interrupts) -> Exit {
    let mut worst = Exit::Complete;
    for torrent in &options.torrents {
        let exit = check_one(options, interrupts, torrent);
        worst = worst.max(exit);
        if exit == Exit::Interrupted {
            break;
        }
    }
    worst
}

fn check_one(options: &Options, interrupts: &Interrupts, torrent: &OsStr) -> Exit {
    let mut face = Face::new(Progress::None, options.quiet);
    let mut name = escape_field(torrent.as_encoded_bytes());
    let read = Reading::of(&options.config, interrupts).torrent(Path::new(torrent));
    let result = read.and_then(|metainfo| {
        name = escape_field(metainfo.name.as_bytes());
        let pieces = metainfo.geometry.pieces();
        if !is_there(&options.plan.output_dir) {
            // Nothing is there, and nothing is what there is to hash.
            return Ok((false, 0, pieces));
        }
        let mut client = Client::new(options.config.clone())?;
        // From here on the client looks at signals.
        if interrupts.came() {
            return Err(Error::Interrupted);
        }
        let id = client.add(Target::from(metainfo), options.plan.clone())?;
        // A signal of any kind wakes the loop, and here a hangup is one that ends it.
        while !client.is_over() && !interrupts.came() {
            client.turn(None)?;
        }
        let outcome = client.download(id).and_then(|it| it.outcome().cloned());
        let have = snapshot(&client, id).map_or(0, |it| it.pieces_have);
        match outcome.unwrap_or(Outcome::Interrupted).into_result() {
            Ok(()) => Ok((true, have, pieces)),
            Err(Error::Incomplete) => Ok((false, have, pieces)),
            Err(error) => Err(error),
        }
    });
    match result {
        Ok((all, have, pieces)) => {
            let word = if all { "complete" } else { "incomplete" };
            let said = match options.quiet {
                true => Exit::Complete,
                false => {
                    let line = format!("{name}: {word}, {have} of {pieces} pieces");
                    terminal::answer(&line, interrupts)
                }
            };
            let found = match all {
                true => Exit::Complete,
                false => Exit::Incomplete,
            };
            found.max(said)
        }
        Err(error) => {
            face.client_error(&error, &name);
            Exit::of(&error)
        }
    }
}
