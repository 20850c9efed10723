//! Downloading, seeding and checking: a client driven to its end while its face shows it.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use super::exit::Exit;
use super::face::{Face, Run};
use super::options::Options;
use super::progress::Progress;
use super::{logger, terminal, units};
use crate::base::escape::escape_field;
use crate::base::memory::Memory;
use crate::client::{
    Error, Event, Goal, Outcome, TorrentClient, TorrentSnapshot, load, load_target,
};

/// Downloads or seeds one torrent.
pub(super) fn run(options: &Options, torrent: &OsStr) -> Exit {
    let mut face = Face::new(Progress::new(options), options.quiet);
    match drive(options, torrent, &mut face) {
        Ok(()) => Exit::Complete,
        Err((error, name)) => {
            face.client_error(&error, &name);
            Exit::of(&error)
        }
    }
}

/// What a memory limit means for this run.
fn within(limit: u64, memory: &Memory) -> String {
    format!(
        "within {}: {} peers at most, buffers of {}, {} a connection in the kernel, {} requests a peer",
        units::bytes(limit),
        memory.peers,
        units::bytes(memory.receive as u64),
        units::bytes(memory.socket.map_or(0, |it| 2 * (it.receive + it.send)) as u64),
        memory.requests,
    )
}

fn drive(options: &Options, torrent: &OsStr, face: &mut Face) -> Result<(), (Error, String)> {
    let unnamed = |error| (error, String::new());
    for (kind, message) in &options.warnings {
        face.warning(Duration::ZERO, kind, message);
    }
    let target =
        load_target(Path::new(torrent), options.config.max_torrent_size).map_err(unnamed)?;
    let name = escape_field(target.metainfo.name.as_bytes());
    let with_name = |error| (error, name.clone());
    let mut config = options.config.clone();
    config.peers.extend(target.peers);
    let builder = TorrentClient::of(target.metainfo).config(config);
    let mut client = builder.build().map_err(with_name)?;
    let (port, _) = client.port();
    if !client.metainfo().is_stand_in() {
        face.started(client.metainfo(), port);
    }
    if let (port, false) = client.port() {
        let message = format!("the ports asked for are taken, listening on {port}");
        face.warning(Duration::ZERO, "net.port", &message);
    }
    if let Some(limit) = options.config.mem_limit {
        face.note(&within(limit, &client.memory()));
    }
    client.resume().map_err(with_name)?;
    let (outcome, run) = turns(&mut client, face).map_err(with_name)?;
    match (&outcome, run) {
        (Outcome::Complete, Some(run)) => face.complete(&run, &name),
        (Outcome::Incomplete, Some(run)) => {
            let have = have(&run.torrent);
            return Err((Error::Incomplete, format!("{name} ({have})")));
        }
        _ => {}
    }
    outcome.into_result().map_err(with_name)
}

/// Turns the client until it has reached its goal and said goodbye, or a second signal ends that. Gives how it
/// ended, and how the torrent stood at that moment.
fn turns(client: &mut TorrentClient, face: &mut Face) -> Result<(Outcome, Option<Run>), Error> {
    let mut hangups = 0;
    let mut is_described = !client.metainfo().is_stand_in();
    while client.outcome().is_none() {
        let wait = face.wait(client.elapsed());
        for event in client.turn(Some(wait))? {
            // What ends the run is said at its end.
            let is_last = matches!(event, Event::DiskTrouble { .. }) && client.outcome().is_some();
            if !is_last {
                face.event(client.elapsed(), &event);
            }
        }
        if !is_described && !client.metainfo().is_stand_in() {
            is_described = true;
            face.started(client.metainfo(), client.port().0);
        }
        if client.hangups() != hangups {
            hangups = client.hangups();
            if let Err(error) = logger::reopen() {
                let message = format!("it can't be opened anew: {error}, the old one is used");
                face.warning(client.elapsed(), "log.file", &message);
            }
        }
        if face.wait(client.elapsed()).is_zero()
            && let Some(run) = state(client)
        {
            face.tick(&run);
        }
    }
    let run = state(client);
    client.stop();
    while !client.is_stopped() && client.stop_signals() < 2 {
        for event in client.turn(None)? {
            face.event(client.elapsed(), &event);
        }
    }
    let outcome = client.outcome().cloned().unwrap_or(Outcome::Interrupted);
    Ok((outcome, run))
}

fn state(client: &TorrentClient) -> Option<Run> {
    Some(Run {
        elapsed: client.elapsed(),
        torrent: client.snapshot()?,
        longest_turn: client.longest_turn(),
    })
}

/// Hashes what is there of several torrents: a line each.
pub(super) fn check(options: &Options) -> Exit {
    let mut worst = Exit::Complete;
    for torrent in &options.torrents {
        let exit = check_one(options, torrent);
        worst = worst.max(exit);
        if exit == Exit::Interrupted {
            break;
        }
    }
    worst
}

fn check_one(options: &Options, torrent: &OsStr) -> Exit {
    let mut face = Face::new(Progress::None, options.quiet);
    let mut name = escape_field(torrent.as_encoded_bytes());
    let result = load(Path::new(torrent), options.config.max_torrent_size).and_then(|metainfo| {
        name = escape_field(metainfo.name.as_bytes());
        let config = options.config.clone();
        if config.output_dir.try_exists().is_ok_and(|there| !there) {
            // Nothing is there, and nothing is what there is to hash.
            let pieces = metainfo.geometry.pieces();
            return Ok((Outcome::Incomplete, (0, pieces)));
        }
        debug_assert_eq!(config.goal, Goal::Check, "the command is `check`");
        let mut client = TorrentClient::of(metainfo).config(config).build()?;
        client.resume()?;
        let (outcome, run) = turns(&mut client, &mut face)?;
        let found = run.map(|run| (run.torrent.pieces_have, run.torrent.pieces));
        Ok((outcome, found.unwrap_or_default()))
    });
    match result {
        Ok((outcome @ (Outcome::Complete | Outcome::Incomplete), (have, pieces))) => {
            let word = match outcome {
                Outcome::Complete => "complete",
                _ => "incomplete",
            };
            if !options.quiet {
                terminal::out(&format!("{name}: {word}, {have} of {pieces} pieces"));
            }
            outcome
                .into_result()
                .map_or_else(|error| Exit::of(&error), |()| Exit::Complete)
        }
        Ok((outcome, _)) => match outcome.into_result() {
            Ok(()) => Exit::Complete,
            Err(error) => fail(&mut face, &error, &name),
        },
        Err(error) => fail(&mut face, &error, &name),
    }
}

fn fail(face: &mut Face, error: &Error, name: &str) -> Exit {
    face.client_error(error, name);
    Exit::of(error)
}

fn have(torrent: &TorrentSnapshot) -> String {
    format!("{} of {} pieces", torrent.pieces_have, torrent.pieces)
}
