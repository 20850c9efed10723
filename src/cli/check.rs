//! `check`: hashes what is there of torrents, and asks and writes nothing.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use super::exit::Exit;
use super::face::Face;
use super::options::Options;
use super::progress::{Progress, json};
use super::run::{is_there, snapshot};
use super::terminal;
use crate::base::escape::escape_field;
use crate::client::{Client, Error, Event, Outcome, Reading, Target, pieces_wanted};
use crate::reactor::Interrupts;
use crate::wire::metainfo::Metainfo;

/// Hashes what is there of several torrents: a line each.
pub(super) fn check(options: &Options, interrupts: &Interrupts) -> Exit {
    let progress = || match options.json {
        true => Progress::Json(json::Json),
        false => Progress::None,
    };
    let mut worst = Exit::Complete;
    for torrent in &options.torrents {
        let mut face = Face::new(progress(), options);
        let exit = check_one(options, torrent, &mut face, interrupts);
        worst = worst.max(exit);
        if exit == Exit::Interrupted {
            break;
        }
    }
    worst
}

fn check_one(options: &Options, torrent: &OsStr, face: &mut Face, interrupts: &Interrupts) -> Exit {
    let target = match Reading::of(&options.config, interrupts).torrent(Path::new(torrent)) {
        Ok(metainfo) => Target::from(metainfo),
        Err(error) => return face.unread(&error, torrent),
    };
    let metainfo = Arc::clone(&target.metainfo);
    match hash(options, target, face, interrupts) {
        Ok(found) => {
            let exit = match found.complete {
                true => Exit::Complete,
                false => Exit::Incomplete,
            };
            exit.max(found.say(options, &metainfo, interrupts))
        }
        Err(error) => {
            face.torrent_error(&error, &metainfo, "", "");
            Exit::of(&error)
        }
    }
}

/// What is there of a torrent, or of the files of it that were selected.
struct Found {
    complete: bool,
    pieces: u32,
    of: u32,
}

fn hash(
    options: &Options,
    target: Target,
    face: &mut Face,
    interrupts: &Interrupts,
) -> Result<Found, Error> {
    let metainfo = Arc::clone(&target.metainfo);
    let of = pieces_wanted(&options.plan.select, &metainfo)?;
    if !is_there(&options.plan.output_dir) {
        // Nothing is there, and nothing is what there is to hash.
        return Ok(Found {
            complete: false,
            pieces: 0,
            of,
        });
    }
    let mut client = Client::new(options.config.clone())?;
    // From here on the client looks at signals.
    if interrupts.came() {
        return Err(Error::Interrupted);
    }
    let id = client.add(target, options.plan.clone())?;
    face.meet(id, &metainfo);
    // A signal of any kind wakes the loop, and here a hangup is one that ends it.
    while !client.is_over() && !interrupts.came() {
        for event in client.turn(None)? {
            if let Event::Warning { .. } = event {
                face.event(client.elapsed(), &event);
            }
        }
    }
    let outcome = client.download(id).and_then(|it| it.outcome().cloned());
    let pieces = snapshot(&client, id).map_or(0, |it| it.pieces_have);
    let complete = match outcome.unwrap_or(Outcome::Interrupted).into_result() {
        Ok(()) => true,
        Err(Error::Incomplete) => false,
        Err(error) => return Err(error),
    };
    Ok(Found {
        complete,
        pieces,
        of,
    })
}

impl Found {
    fn say(&self, options: &Options, metainfo: &Metainfo, interrupts: &Interrupts) -> Exit {
        let Self {
            complete,
            pieces,
            of,
        } = *self;
        if options.json {
            let name = &metainfo.name;
            let line = json::Line::Checked {
                name,
                complete,
                pieces,
                of,
            };
            let text = json::text(&line, Some(&metainfo.info_hash.to_string()));
            return text.map_or(Exit::Internal, |text| terminal::answer(&text, interrupts));
        }
        if options.quiet {
            return Exit::Complete;
        }
        let name = escape_field(metainfo.name.as_bytes());
        let word = if complete { "complete" } else { "incomplete" };
        let line = format!("{name}: {word}, {pieces} of {of} pieces");
        terminal::answer(&line, interrupts)
    }
}
