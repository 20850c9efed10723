//! `demo`: the whole program on one screen, without network or input.
//!
//! A payload of random bytes is made, a session seeds it and answers announces as a small tracker, and another
//! session on the same loop and thread finds it there and downloads it. Then the two files are compared.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use sha1::{Digest as _, Sha1};

use super::exit::Exit;
use super::face::{Face, State};
use super::options::Options;
use super::progress::Progress;
use super::units;
use crate::base::escape::escape_field;
use crate::base::rng::Rng;
use crate::client::{Event, Goal, TorrentSnapshot, os_seed, peer_id};
use crate::disk::Place;
use crate::engine::Session;
use crate::engine::command::{AddTorrent, Aim, Command, Settings};
use crate::reactor::{AddError, HostId, Listening, Reactor};
use crate::wire::metainfo::Metainfo;

/// Runs the demo and removes what it made.
pub(super) fn demo(options: &Options) -> Exit {
    let mut face = Face::new(Progress::new(options), options);
    let dir = std::env::temp_dir().join(format!("minitorrent-demo-{}", std::process::id()));
    let result = fs::create_dir(&dir)
        .map_err(|error| Failure::io("make a directory", &dir, &error))
        .and_then(|()| Demo::new(options, &dir)?.run(&mut face));
    let _ = fs::remove_dir_all(&dir);
    match result {
        Ok(exit) => exit,
        Err(failure) => {
            face.error(failure.kind, &failure.message, "the demo ends");
            failure.exit
        }
    }
}

struct Demo {
    reactor: Reactor,
    seeder: HostId,
    leecher: HostId,
    metainfo: Arc<Metainfo>,
    original: PathBuf,
    copy: PathBuf,
    port: u16,
}

impl Demo {
    fn new(options: &Options, dir: &Path) -> Result<Self, Failure> {
        let system = |error: io::Error| Failure::new("system", error.to_string(), Exit::Internal);
        let mut rng = Rng::new(
            os_seed().map_err(|error| Failure::new("system", error.to_string(), Exit::Internal))?,
        );
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let listening = Listening::bind(here, 0..=0).map_err(system)?;
        let announce = format!("http://{}/announce", listening.address());

        let (seeding, leeching) = (dir.join("seeder"), dir.join("leecher"));
        for part in [&seeding, &leeching] {
            fs::create_dir(part).map_err(|error| Failure::io("make a directory", part, &error))?;
        }
        let original = seeding.join(NAME);
        let mut reactor = Reactor::new().map_err(system)?;
        reactor.watch_signals().map_err(system)?;
        let bytes = make(&mut reactor, &mut rng, &original, options.size, &announce)?;
        let metainfo = Metainfo::parse_owned(bytes)
            .map_err(|error| Failure::new(error.kind, error.message, Exit::Internal))?;
        let metainfo = Arc::new(metainfo);

        let mut host = |listening: Listening, serve_tracker, aim, root: &Path| {
            let settings = Settings {
                port: listening.address().port(),
                serve_tracker,
                ..Settings::new(peer_id(&options.config.peer_id_prefix, &mut rng))
            };
            let session = Session::new(reactor.now(), settings, rng.bytes());
            let host = reactor.host(session, vec![listening]).map_err(system)?;
            let torrent = AddTorrent {
                metainfo: Arc::clone(&metainfo),
                aim,
                peers: Vec::new(),
            };
            let added = reactor.add(host, torrent, Place::new(root));
            added.map(|_| host).map_err(|error| match error {
                AddError::Disk(error) => Failure::new("disk", error.message, Exit::Disk),
                AddError::Command(error) => {
                    Failure::new("internal", format!("{error:?}"), Exit::Internal)
                }
            })
        };
        let seeder = host(listening, true, Aim::Seed, &seeding)?;
        let second = Listening::bind(here, 0..=0).map_err(system)?;
        let port = second.address().port();
        let leecher = host(second, false, Aim::Download, &leeching)?;
        Ok(Self {
            reactor,
            seeder,
            leecher,
            metainfo,
            original,
            copy: leeching.join(NAME),
            port,
        })
    }

    fn run(mut self, face: &mut Face) -> Result<Exit, Failure> {
        if let Some(torrent) = self.torrent() {
            face.started(torrent.torrent, &self.metainfo, self.port);
        }
        let mut began = self.reactor.now();
        loop {
            let elapsed = self.reactor.now() - began;
            let turned = self.reactor.turn(Some(face.wait(elapsed)));
            turned.map_err(|error| Failure::new("system", error.to_string(), Exit::Internal))?;
            let mut complete = false;
            for (host, event) in self.reactor.take_events() {
                if host == self.leecher {
                    // Until then the seeder looked at its data: the download begins now.
                    if matches!(event, Event::PeerConnected { .. }) {
                        began = self.reactor.now();
                    }
                    complete |= matches!(event, Event::Complete { .. });
                    face.event(elapsed, &event);
                } else if let Event::DiskTrouble { error, .. } = event {
                    return Err(Failure::new("disk", error.message, Exit::Disk));
                }
            }
            if self.reactor.stop_signals() > 0 {
                return Err(Failure::interrupted());
            }
            let Some(torrent) = self.torrent() else {
                let message = "the torrent is gone".into();
                return Err(Failure::new("internal", message, Exit::Internal));
            };
            let state = State {
                elapsed: self.reactor.now() - began,
                torrents: vec![torrent],
                ended: 0,
                longest_turn: self.reactor.longest_turn(),
                state_written: self.reactor.state_written(),
            };
            if complete {
                return self.finish(face, &state);
            }
            face.tick(&state);
        }
    }

    /// Says goodbye, tells the rate and compares the files.
    fn finish(mut self, face: &mut Face, state: &State) -> Result<Exit, Failure> {
        let turns = self.reactor.turns();
        for host in [self.leecher, self.seeder] {
            // The demo's peers and tracker end with it: there is no one to wait for.
            let _ = self.reactor.command(host, Command::Shutdown);
            self.reactor.retire(host);
        }
        face.complete(state, &state.torrents[0], Goal::Download);
        if !same(&self.original, &self.copy)? {
            let message = "the copy differs from the original".into();
            return Err(Failure::new("internal", message, Exit::Internal));
        }
        let total = self.metainfo.geometry.total();
        face.note(&format!(
            "demo: {} byte for byte the same, on one thread ({turns} turns, the longest {:.1} ms)",
            units::bytes(total),
            self.reactor.longest_turn().as_secs_f64() * 1000.0,
        ));
        Ok(Exit::Complete)
    }

    fn torrent(&self) -> Option<TorrentSnapshot> {
        self.reactor.torrents(self.leecher).into_iter().next()
    }
}

/// Makes a payload and gives the bytes of its torrent file. `reactor` hears of signals meanwhile.
fn make(
    reactor: &mut Reactor,
    rng: &mut Rng,
    path: &Path,
    size: u64,
    announce: &str,
) -> Result<Vec<u8>, Failure> {
    let fail = |error: io::Error| Failure::io("write", path, &error);
    let mut file = File::create_new(path).map_err(fail)?;
    let mut piece = vec![0; PIECE];
    let mut pieces = Vec::new();
    let mut left = size;
    while left > 0 {
        let len = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let part = &mut piece[..len];
        rng.fill(part);
        file.write_all(part).map_err(fail)?;
        pieces.extend_from_slice(&Sha1::digest(&*part));
        left -= len as u64;
        let turned = reactor.turn(Some(Duration::ZERO));
        turned.map_err(|error| Failure::new("system", error.to_string(), Exit::Internal))?;
        if reactor.stop_signals() > 0 {
            return Err(Failure::interrupted());
        }
    }
    let torrent = TorrentFile {
        announce,
        info: InfoDict {
            length: size,
            name: NAME,
            piece_length: PIECE as u32,
            pieces: serde_bytes::Bytes::new(&pieces),
        },
    };
    serde_bencoded::to_vec(&torrent)
        .map_err(|error| Failure::new("internal", error.to_string(), Exit::Internal))
}

/// Whether two files have the same bytes.
fn same(one: &Path, other: &Path) -> Result<bool, Failure> {
    let open = |path: &Path| File::open(path).map_err(|error| Failure::io("read", path, &error));
    let (mut files, mut parts) = ([open(one)?, open(other)?], [Vec::new(), Vec::new()]);
    loop {
        for (file, part) in files.iter_mut().zip(&mut parts) {
            part.clear();
            let read = file.take(PIECE as u64).read_to_end(part);
            read.map_err(|error| Failure::io("read", one, &error))?;
        }
        if parts[0] != parts[1] {
            return Ok(false);
        }
        if parts[0].is_empty() {
            return Ok(true);
        }
    }
}

/// BEP 3; the keys are in their order.
#[derive(Serialize)]
struct TorrentFile<'a> {
    announce: &'a str,
    info: InfoDict<'a>,
}

#[derive(Serialize)]
struct InfoDict<'a> {
    length: u64,
    name: &'a str,
    #[serde(rename = "piece length")]
    piece_length: u32,
    pieces: &'a serde_bytes::Bytes,
}

struct Failure {
    kind: &'static str,
    message: String,
    exit: Exit,
}

impl Failure {
    fn new(kind: &'static str, message: String, exit: Exit) -> Self {
        Self {
            kind,
            message,
            exit,
        }
    }

    fn interrupted() -> Self {
        let message = "interrupted by a signal".into();
        Self::new("interrupted", message, Exit::Interrupted)
    }

    fn io(verb: &str, path: &Path, error: &io::Error) -> Self {
        let path = escape_field(path.as_os_str().as_encoded_bytes());
        Self::new("disk", format!("cannot {verb} {path}: {error}"), Exit::Disk)
    }
}

const NAME: &str = "demo.bin";
/// Bytes of a piece of the demo.
const PIECE: usize = 256 * 1024;
