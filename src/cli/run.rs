//! Downloading, seeding and checking: a client driven to its end while its face shows it.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use super::exit::Exit;
use super::face::{Face, Run};
use super::options::Options;
use super::progress::Progress;
use super::{terminal, units};
use crate::base::escape::escape_field;
use crate::base::memory::Memory;
use crate::client::{Error, Goal, Outcome, TorrentClient, TorrentSnapshot, load};

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
    let metainfo = load(Path::new(torrent), options.max_torrent_size).map_err(unnamed)?;
    let name = escape_field(metainfo.name.as_bytes());
    let with_name = |error| (error, name.clone());
    let builder = TorrentClient::of(metainfo).config(options.config());
    let mut client = builder.build().map_err(with_name)?;
    let (port, _) = client.port();
    face.started(client.metainfo(), port);
    if let (port, false) = client.port() {
        let message = format!("the ports asked for are taken, listening on {port}");
        face.warning(Duration::ZERO, "net.port", &message);
    }
    if let Some(limit) = options.mem_limit {
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
    while client.outcome().is_none() {
        let wait = face.wait(client.elapsed());
        for event in client.turn(Some(wait))? {
            face.event(client.elapsed(), &event);
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
    let result = load(Path::new(torrent), options.max_torrent_size).and_then(|metainfo| {
        name = escape_field(metainfo.name.as_bytes());
        let config = options.config();
        debug_assert_eq!(config.goal, Goal::Check, "the command is `check`");
        let mut client = TorrentClient::of(metainfo).config(config).build()?;
        client.resume()?;
        turns(&mut client, &mut face)
    });
    match result {
        Ok((outcome @ (Outcome::Complete | Outcome::Incomplete), run)) => {
            let word = match outcome {
                Outcome::Complete => "complete",
                _ => "incomplete",
            };
            if !options.quiet {
                let have = run.map(|run| have(&run.torrent)).unwrap_or_default();
                terminal::out(&format!("{name}: {word}, {have}"));
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
