//! Finding a torrent's state: the lock, and the journal if it can be used.

use std::path::PathBuf;

use super::World;
use super::files::{Locking, StateFiles};
use super::journal::{Expected, Fault, Journal};
use super::{JOURNAL, NEW};
use crate::base::escape::escape;
use crate::engine::io::{DiskError, DiskErrorKind};

/// Where a torrent's state was found.
pub(super) enum Found {
    Here {
        dir: PathBuf,
        journal: Journal,
        len: u64,
    },
    /// This directory is another place's.
    Elsewhere,
}

/// Locks `dir` and reads its journal, or sets it aside.
pub(super) fn find<F, S: StateFiles>(
    world: &mut World<'_, F, S>,
    dir: PathBuf,
    expected: &Expected,
    second: bool,
) -> Result<Found, DiskError> {
    match world.state.lock(&dir, expected.place)? {
        Locking::Ours => {}
        Locking::Held {
            place: Some(place), ..
        } if place != expected.place && !second => return Ok(Found::Elsewhere),
        Locking::Held { pid, .. } => return Err(locked(pid)),
    }
    let path = dir.join(JOURNAL);
    // What a crash has left half made.
    let _ = world.state.remove(&dir.join(NEW));
    let longest = expected.longest();
    let (why, aside) = match world.state.read(&path, longest) {
        Ok(None) => {
            let journal = Journal::new(expected);
            let len = 0;
            return Ok(Found::Here { dir, journal, len });
        }
        Ok(Some(bytes)) if bytes.len() > longest => (String::from("it is too long"), BAD),
        Ok(Some(bytes)) => match Journal::parse(&bytes, expected) {
            Err(Fault::OtherPlace) if !second => {
                world.state.unlock(&dir);
                return Ok(Found::Elsewhere);
            }
            Err(Fault::Newer(version)) => (format!("it is of version {version}"), OLD),
            Err(Fault::OtherTorrent) => (String::from("it is about another torrent"), BAD),
            Err(Fault::Damaged | Fault::OtherPlace) => (String::from("it is damaged"), BAD),
            Ok(journal) => {
                let boot = world.state.boot().unwrap_or_default();
                // Only a power cut tears the end off; else someone has been at it.
                let torn_by_cut = journal.epoch.boot != boot && journal.epoch.boot != [0; 16];
                if journal.whole == bytes.len() || torn_by_cut {
                    let len = bytes.len() as u64;
                    return Ok(Found::Here { dir, journal, len });
                }
                (String::from("it is damaged"), BAD)
            }
        },
        Err(error) => (error.message, BAD),
    };
    let message = format!(
        "cannot use {}: {why}; it is set aside, and what is there is hashed",
        escape(path.as_os_str().as_encoded_bytes(), 400)
    );
    world.warn("state.bad", message);
    // If that fails, the next rewrite replaces it.
    let _ = world.state.rename(&path, &dir.join(aside));
    let journal = Journal::new(expected);
    let len = 0;
    Ok(Found::Here { dir, journal, len })
}

fn locked(pid: Option<u32>) -> DiskError {
    let who = match pid {
        Some(pid) => format!("process {pid}"),
        None => String::from("another process"),
    };
    DiskError {
        kind: DiskErrorKind::Locked,
        message: format!("{who} has this torrent in this directory already"),
    }
}

/// What a journal that can't be used is called.
const BAD: &str = "journal.bad";
/// What a journal of a later version is called.
const OLD: &str = "journal.bak";
