//! Every client with every client: one trial a cell.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::clients::{Client, Job};
use crate::common::process::Outcome;
use crate::common::{Content, free_port};
use crate::scripted::Scripted;
use crate::stage::{Stage, Tracker, local, wait_for_seed};
use crate::tracker6::Tracker6;
use crate::{trial, trial_away};

/// The other clients among themselves: if one of these fails, it is not the program under test that
/// is wrong.
pub(crate) fn drivers() -> Vec<Trial> {
    let pairs = [
        (Client::Aria2, Client::Libtorrent, Source::Udp),
        (Client::Libtorrent, Client::Aria2, Source::Http),
        (Client::Qbittorrent, Client::Libtorrent, Source::Peers),
        (Client::Rtorrent, Client::Libtorrent, Source::Udp),
    ];
    let cell = |(seeder, leecher, source): (Client, Client, Source)| {
        let name = format!("{}_to_{}_{}", seeder.name(), leecher.name(), source.name());
        trial(format!("drivers/{name}"), move |stage| {
            exchange(stage, seeder, leecher, Shape::OneFile, source)
        })
    };
    let mut trials = pairs.into_iter().map(cell).collect::<Vec<_>>();
    trials.push(trial(
        "drivers/scripted_to_libtorrent_peers".to_owned(),
        |stage| {
            let (content, _) = Shape::WidePieces.payload()?;
            let seeder = Scripted::start(content, Ipv4Addr::LOCALHOST, None)?;
            let torrent = stage.file("t.torrent", content.torrent(None))?;
            let out = stage.dir("out")?;
            let peers = [seeder.address()];
            let fetch = Job {
                torrent: &torrent,
                dir: &out,
                port: free_port(),
                peers: &peers,
                upload_limit: None,
                v6: false,
            };
            Client::Libtorrent.fetch(stage, &fetch, limit())?;
            content.verify(&out)
        },
    ));
    trials
}

/// minitorrent fetches: every seeder, every shape of payload, every way to find the seeder.
pub(crate) fn downloads() -> Vec<Trial> {
    let mut trials = Vec::new();
    for seeder in [
        Client::Aria2,
        Client::Libtorrent,
        Client::Qbittorrent,
        Client::Rtorrent,
        Client::Transmission,
    ] {
        for shape in Shape::ALL {
            for source in [Source::Http, Source::Udp, Source::Peers] {
                trials.push(cell(seeder, Client::Minitorrent, shape, source));
            }
        }
    }
    for seeder in [Client::Aria2, Client::Libtorrent, Client::Qbittorrent] {
        trials.push(cell(
            seeder,
            Client::Minitorrent,
            Shape::OneFile,
            Source::Http6,
        ));
    }
    trials
}

/// minitorrent seeds: every leecher, itself too.
pub(crate) fn uploads() -> Vec<Trial> {
    let mut trials = Vec::new();
    for leecher in [Client::Aria2, Client::Libtorrent, Client::Minitorrent] {
        for shape in Shape::ALL {
            for source in [Source::Http, Source::Udp, Source::Peers] {
                if source == Source::Peers && leecher == Client::Aria2 {
                    continue;
                }
                trials.push(cell(Client::Minitorrent, leecher, shape, source));
            }
        }
    }
    // A seeder dials nobody, so the leecher has to find it by a tracker.
    for shape in Shape::ALL {
        trials.push(cell(
            Client::Minitorrent,
            Client::Qbittorrent,
            shape,
            Source::Http,
        ));
        for leecher in [Client::Rtorrent, Client::Transmission] {
            for source in [Source::Http, Source::Udp] {
                trials.push(away("", Client::Minitorrent, leecher, shape, source));
            }
        }
    }
    for leecher in [Client::Aria2, Client::Libtorrent, Client::Minitorrent] {
        trials.push(cell(
            Client::Minitorrent,
            leecher,
            Shape::OneFile,
            Source::Http6,
        ));
    }
    trials
}

/// The clients that take long to install. They play in networks of their own: not all of them can be kept from asking
/// the whole world.
pub(crate) fn wide() -> Vec<Trial> {
    let mut trials = Vec::new();
    for other in [Client::Rqbit, Client::Webtorrent] {
        for shape in Shape::ALL {
            for source in [Source::Http, Source::Udp] {
                trials.push(away("wide/", other, Client::Minitorrent, shape, source));
                trials.push(away("wide/", Client::Minitorrent, other, shape, source));
            }
            trials.push(away(
                "wide/",
                other,
                Client::Minitorrent,
                shape,
                Source::Peers,
            ));
        }
    }
    trials
}

/// A cell in a network of its own.
fn away(group: &str, seeder: Client, leecher: Client, shape: Shape, source: Source) -> Trial {
    let (name, play) = scene(seeder, leecher, shape, source);
    let (way, other) = way(seeder, leecher);
    trial_away(format!("{group}{name}"), play, move |is_good| {
        note(way, other, is_good)
    })
}

fn cell(seeder: Client, leecher: Client, shape: Shape, source: Source) -> Trial {
    let (name, play) = scene(seeder, leecher, shape, source);
    trial(name, play)
}

/// Which way the content goes, and who the other is.
fn way(seeder: Client, leecher: Client) -> (&'static str, Client) {
    match seeder {
        Client::Minitorrent => ("to", leecher),
        _ => ("from", seeder),
    }
}

/// A cell's name, and what is played.
fn scene(
    seeder: Client,
    leecher: Client,
    shape: Shape,
    source: Source,
) -> (String, impl FnOnce(&Stage) -> Outcome + Send + 'static) {
    let (way, other) = way(seeder, leecher);
    let name = format!("{way}_{}/{}_{}", other.name(), shape.name(), source.name());
    (name, move |stage: &Stage| {
        let outcome = exchange(stage, seeder, leecher, shape, source);
        note(way, other, outcome.is_ok());
        outcome
    })
}

/// Remembers how a cell ended.
fn note(way: &'static str, other: Client, is_good: bool) {
    if let Ok(mut cells) = CELLS.lock() {
        let (good, all) = cells.entry((other.name(), way)).or_default();
        *good += u32::from(is_good);
        *all += 1;
    }
}

/// Prints a line a client: of how many trials of both ways how many were good.
pub(crate) fn print() {
    let Ok(cells) = CELLS.lock() else {
        return;
    };
    let names: BTreeSet<&str> = cells.keys().map(|(name, _)| *name).collect();
    if !names.is_empty() {
        println!("{:<14} {:>12} {:>12}", "client", "it seeds", "it leeches");
    }
    for name in names {
        let [seeds, leeches] = ["from", "to"].map(|way| match cells.get(&(name, way)) {
            Some((good, all)) => format!("{good} of {all}"),
            None => "-".to_owned(),
        });
        println!("{name:<14} {seeds:>12} {leeches:>12}");
    }
}

/// Of how many trials with this client, in this way, how many were good.
type Cells = BTreeMap<(&'static str, &'static str), (u32, u32)>;

static CELLS: Mutex<Cells> = Mutex::new(Cells::new());

/// One seeds, one fetches; what came is compared byte by byte.
fn exchange(
    stage: &Stage,
    seeder: Client,
    leecher: Client,
    shape: Shape,
    source: Source,
) -> Outcome {
    let (content, payload) = shape.payload()?;
    let mut tracker = None;
    let mut url = None;
    let mut tracker6 = None;
    if source == Source::Http6 {
        url = Some(tracker6.insert(Tracker6::start()?).url());
    } else if let Some(scheme) = source.scheme() {
        let tracker = tracker.insert(Tracker::start(stage, content)?);
        url = Some(tracker.url(scheme));
    }
    // rtorrent takes no torrent without a tracker, so a seeder that needs none has one that nobody
    // answers at.
    let nobody = Some("http://127.0.0.1:9/announce");
    let seeded = stage.file("seeded.torrent", content.torrent(url.as_deref().or(nobody)))?;
    let torrent = stage.file("t.torrent", content.torrent(url.as_deref()))?;
    let seed = Job {
        torrent: &seeded,
        dir: payload,
        port: free_port(),
        peers: &[],
        upload_limit: None,
        v6: source == Source::Http6,
    };
    let mut process = seeder.seed(stage, &seed)?;
    match (&tracker, &tracker6) {
        (Some(tracker), _) => tracker.wait_for_seeders(1, &mut process)?,
        (None, Some(tracker)) => tracker.wait_for_seeder(&mut process)?,
        (None, None) => wait_for_seed(local(seed.port), content, &mut process)?,
    }
    let known = [local(seed.port)];
    let peers: &[SocketAddr] = if source == Source::Peers { &known } else { &[] };
    let out = stage.dir("out")?;
    let fetch = Job {
        torrent: &torrent,
        dir: &out,
        port: free_port(),
        peers,
        upload_limit: None,
        v6: source == Source::Http6,
    };
    leecher.fetch(stage, &fetch, limit())?;
    if leecher == Client::Transmission {
        content.make_empty_files(&out).map_err(|e| e.to_string())?;
    }
    content.verify(&out)?;
    process.alive()?;
    if seeder == Client::Minitorrent {
        // The first signal of PRODUCT: goodbyes said, state saved, out within three seconds.
        process.signal(Signal::TERM)?;
        let status = process.wait(Duration::from_secs(3))?;
        if !matches!(status.code(), Some(0 | 6)) {
            return Err(format!("the seeder answered SIGTERM with {status}"));
        }
    }
    Ok(())
}

/// How the leecher finds the seeder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Http,
    /// By a tracker on ::1, over which the exchange goes too.
    Http6,
    Udp,
    Peers,
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Http6 => "http6",
            Self::Udp => "udp",
            Self::Peers => "peers",
        }
    }

    fn scheme(self) -> Option<&'static str> {
        match self {
            Self::Http | Self::Http6 => Some("http"),
            Self::Udp => Some("udp"),
            Self::Peers => None,
        }
    }
}

/// What is exchanged, and the directory its files are in.
pub(crate) type Payload = (Arc<Content>, PathBuf);

/// The shape of a payload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One file, 256 KiB pieces, an odd end.
    OneFile,
    /// A thousand files, or ten thousand, most of them smaller than a piece, some empty.
    ManyFiles,
    /// Pieces of 4 MiB, across the borders of a few files.
    WidePieces,
}

impl Shape {
    const ALL: [Self; 3] = [Self::OneFile, Self::ManyFiles, Self::WidePieces];

    fn name(self) -> &'static str {
        match self {
            Self::OneFile => "one_file",
            Self::ManyFiles => "many_files",
            Self::WidePieces => "wide_pieces",
        }
    }

    /// The content and the directory of its files, made once in a build's directory and shared:
    /// nobody writes there.
    pub(crate) fn payload(self) -> Outcome<&'static Payload> {
        static MADE: [OnceLock<Outcome<Payload>>; 3] = [const { OnceLock::new() }; 3];
        let at = Self::ALL
            .iter()
            .position(|shape| *shape == self)
            .unwrap_or_default();
        let made = MADE[at].get_or_init(|| {
            let content = self.content();
            let size = if is_full() { "full" } else { "small" };
            let dir = Path::new(env!("CARGO_TARGET_TMPDIR"))
                .join("payloads")
                .join(size);
            if content.verify(&dir).is_err() {
                content
                    .write_to(&dir)
                    .map_err(|e| format!("{}: {e}", dir.display()))?;
            }
            Ok((Arc::new(content), dir))
        });
        made.as_ref().map_err(Clone::clone)
    }

    fn content(self) -> Content {
        let full = is_full();
        let total = if full { 1 << 30 } else { 24 << 20 };
        match self {
            Self::OneFile => Content::one_file("one file.bin", total + 12_345, 256 << 10),
            Self::ManyFiles => {
                let files = if full { 10_000 } else { 1_000 };
                let length = |at: u64| {
                    if at % 97 == 5 {
                        0
                    } else {
                        1 + at * 7_919 % 40_000
                    }
                };
                Content::many_files(
                    "many",
                    &(0..files).map(length).collect::<Vec<_>>(),
                    64 << 10,
                )
            }
            Self::WidePieces => {
                let part = total / 16;
                let lengths = [
                    part * 5 + 1,
                    part / 3,
                    1,
                    0,
                    part * 7 + 4_095,
                    77,
                    part * 3 + 5,
                ];
                Content::many_files("wide", &lengths, 4 << 20)
            }
        }
    }
}

/// The time a transfer may take.
pub(crate) fn limit() -> Duration {
    Duration::from_secs(if is_full() { 600 } else { 60 })
}

fn is_full() -> bool {
    env::var("MINITORRENT_INTEROP_SCALE").is_ok_and(|scale| scale == "full")
}
