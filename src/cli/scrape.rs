//! `scrape`: what a torrent's trackers count, a line each.

use std::path::Path;
use std::time::Duration;

use super::exit::Exit;
use super::face::Face;
use super::options::Options;
use super::progress::Progress;
use super::terminal;
use crate::base::escape::escape_field;
use crate::base::rng::Rng;
use crate::client::{Error, Event, Reading, os_seed, peer_id};
use crate::engine::Session;
use crate::engine::command::{AddTorrent, Aim, Command, Settings};
use crate::reactor::{Interrupts, Reactor};

/// Asks every tracker of the torrent.
pub(super) fn scrape(options: &Options, interrupts: &Interrupts) -> Exit {
    let mut face = Face::new(Progress::None, options);
    for (kind, message) in &options.warnings {
        face.warning(Duration::ZERO, kind, message);
    }
    let named = &options.torrents[0];
    let target = match Reading::of(&options.config, interrupts).target(Path::new(named)) {
        Ok(target) => target,
        Err(error) => return face.unread(&error, named),
    };
    let name = escape_field(target.metainfo.name.as_bytes());
    if target.metainfo.trackers.is_empty() {
        face.client_error(&Error::NoTracker, &name);
        return Exit::of(&Error::NoTracker);
    }
    let torrent = AddTorrent {
        metainfo: target.metainfo,
        aim: Aim::Scrape,
        peers: Vec::new(),
    };
    ask(options, torrent, &mut face, interrupts).unwrap_or_else(|error| {
        face.client_error(&error, &name);
        Exit::of(&error)
    })
}

/// Prints a line for each that answers, and says why of the others.
fn ask(
    options: &Options,
    torrent: AddTorrent,
    face: &mut Face,
    interrupts: &Interrupts,
) -> Result<Exit, Error> {
    let system = |what| move |error| Error::System { what, error };
    let config = &options.config;
    let mut rng = Rng::new(os_seed()?);
    let settings = Settings {
        user_agent: config.user_agent.clone(),
        families: config.families,
        tcp_only: config.tcp_only,
        ..Settings::new(peer_id(&config.peer_id_prefix, &mut rng))
    };
    let mut reactor = Reactor::new().map_err(system("wait for events"))?;
    // They wake the loop.
    reactor.watch_signals().map_err(system("catch signals"))?;
    let session = Session::new(reactor.now(), settings, rng.bytes());
    let host = reactor
        .host(session, Vec::new())
        .map_err(system("wait for events"))?;
    if let Some(file) = &config.ca_file {
        reactor.trust(host, file);
    }
    let began = reactor.now();
    let added = reactor.command(host, Command::Add(torrent));
    added.map_err(|_| Error::Stopped)?;
    let (mut answers, mut said) = (0, Exit::Complete);
    loop {
        for (_, event) in reactor.take_events() {
            if let Event::Scraped { url, counts, .. } = &event {
                answers += 1;
                let line = format!(
                    "{url}: {} seeders, {} leechers, {} downloads",
                    counts.seeders, counts.leechers, counts.completed
                );
                said = said.max(terminal::answer(&line, interrupts));
            } else if let Event::Tracker { url, result, .. } = &event {
                let why = result.as_ref().err().map_or("", String::as_str);
                face.warning(reactor.now() - began, "tracker", &format!("{url}: {why}"));
            } else {
                face.event(reactor.now() - began, &event);
            }
        }
        if interrupts.came() {
            return Err(Error::Interrupted);
        }
        let torrents = reactor.torrents(host);
        let is_over = !torrents.iter().any(|torrent| torrent.has_source);
        if is_over || reactor.now() - began >= WHOLE {
            break;
        }
        reactor
            .turn(Some(LOOK_EVERY))
            .map_err(system("wait for events"))?;
    }
    match answers {
        0 => Err(Error::NoAnswer),
        _ => Ok(said),
    }
}

/// As long as a tracker may take, and some more for those that had to wait for a name.
const WHOLE: Duration = Duration::from_secs(45);
/// How often it is seen whether all have answered.
const LOOK_EVERY: Duration = Duration::from_millis(200);
