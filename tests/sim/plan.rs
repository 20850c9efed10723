//! A world's parameters, all of them drawn from its seed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use minitorrent::base::rng::Rng;
use minitorrent::wire::metainfo::Metainfo;
use sha1::{Digest as _, Sha1};

use crate::script::Kind;
use crate::services::{NameKind, TrackerKind, TrackerPlan};

/// Everything that is decided before the world begins.
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) meta: Arc<Metainfo>,
    pub(crate) content: Arc<Vec<u8>>,
    pub(crate) nodes: Vec<NodePlan>,
    pub(crate) scripts: Vec<ScriptPlan>,
    pub(crate) trackers: Vec<TrackerPlan>,
    /// Name servers, in the order of `resolv.conf`.
    pub(crate) servers: Vec<(SocketAddr, NameKind)>,
    /// Chance in a hundred that a datagram is lost.
    pub(crate) loss: usize,
    /// Most bytes of one write and of one read.
    pub(crate) bite: usize,
    /// Connections that break, at most; each after so many bytes at most.
    pub(crate) resets: u32,
    pub(crate) reset_after: usize,
    /// Chance in a hundred that a connect is left unanswered, while any are left to be.
    pub(crate) hangs: u32,
    /// Nothing goes wrong: no liar, no fault, room for everyone.
    pub(crate) clean: bool,
    /// Virtual seconds within which every downloader must be through.
    pub(crate) bound: u64,
}

/// One session.
pub(crate) struct NodePlan {
    pub(crate) address: SocketAddr,
    /// Pieces that are on its disk at the start.
    pub(crate) have: Vec<bool>,
    /// Whether what it lacks is on its disk as wrong bytes.
    pub(crate) garbage: bool,
    pub(crate) max_peers: usize,
    pub(crate) knows: Vec<SocketAddr>,
    /// Bytes a second of each of its connections, and their delay in microseconds.
    pub(crate) rate: u64,
    pub(crate) delay: u64,
    /// Bytes that its sockets hold.
    pub(crate) buffer: usize,
    /// Longest wait for an answer of its disk, in microseconds.
    pub(crate) disk_delay: usize,
    pub(crate) faults: DiskFaults,
    /// When it takes up the torrent, in microseconds.
    pub(crate) starts: u64,
    /// From when to when it is paused, in seconds.
    pub(crate) pause: Option<(u64, u64)>,
    /// When it has to hash all that it has again, in seconds.
    pub(crate) recheck: Option<u64>,
    /// Whether what it has is remembered from one life to the next.
    pub(crate) remembers: bool,
    /// Ends of its lives: when, in microseconds, and how.
    pub(crate) ends: Vec<(u64, End)>,
    /// The disk operation in the middle of which its life ends, and how.
    pub(crate) cut: Option<(u64, End)>,
}

/// How a life ends before its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// The process is killed: what it wrote stays, and its connections are reset.
    Kill,
    /// The power fails: of what was not synced chance decides, and nobody is told.
    PowerCut,
}

/// What goes wrong on a disk.
#[derive(Clone, Copy, Default)]
pub(crate) struct DiskFaults {
    /// Full after so many bytes, until the given second.
    pub(crate) full: Option<(u64, u64)>,
    /// One write in so many fails with an input/output error, so many times.
    pub(crate) write_errors: (u32, u32),
    /// The same for reads.
    pub(crate) read_errors: (u32, u32),
    /// Most bytes that one write takes.
    pub(crate) bite: Option<usize>,
}

/// One scripted peer.
pub(crate) struct ScriptPlan {
    pub(crate) address: SocketAddr,
    pub(crate) kind: Kind,
    /// Sessions that it dials at the start.
    pub(crate) dials: Vec<SocketAddr>,
}

impl Plan {
    /// The world of this seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = &mut Rng::new(bytes);
        let bite = [40, 700, 5000, 70_000, 70_000][rng.below(5)];
        let most = match bite {
            40 => 30_000,
            700 => 300_000,
            _ => 1_500_000,
        };
        let (mut meta, content) = torrent(rng, most);
        let pieces = meta.geometry.pieces() as usize;
        // A third of the worlds are clean, a third have faults, a third have liars too.
        let trouble = rng.below(3);
        let count = 2 + rng.below(5);
        let seeds = 1 + rng.below(2).min(count - 2);
        let scripts: Vec<_> = match trouble {
            2 => (0..1 + rng.below(4))
                .map(|at| script(rng, at, count))
                .collect(),
            _ => Vec::new(),
        };
        let (mut trackers, mut servers) = (Vec::new(), Vec::new());
        if rng.below(3) == 0 {
            trackers = tracker_plans(rng, trouble > 0);
            servers = name_servers(rng, trouble > 0);
            meta.trackers = tiers(rng, &trackers);
        }
        // Nobody is known beforehand: only the trackers can tell.
        let lonely = !trackers.is_empty() && rng.below(2) == 0;
        // Of a private torrent the first tracker that names peers is believed: if it makes them up, that is that.
        let deceived = trackers.iter().any(|it| it.kind == TrackerKind::Endless);
        meta.private = lonely && rng.below(3) == 0 && !deceived;
        let crowded = trouble == 1 && rng.below(3) == 0;
        let nodes = (0..count)
            .map(|at| {
                let chance = rng.below(10);
                let part = (0..pieces).map(|_| at < seeds || rng.below(10) < chance);
                let mut have: Vec<bool> = part.collect();
                if at >= seeds && rng.below(2) == 0 {
                    have.fill(false);
                }
                let mut faults = DiskFaults::default();
                if trouble > 0 && at >= seeds {
                    faults = disk_faults(rng, content.len() as u64);
                }
                NodePlan {
                    address: node_address(at),
                    have,
                    garbage: rng.below(3) == 0,
                    max_peers: if crowded {
                        2 + rng.below(2)
                    } else {
                        count + scripts.len() + 4
                    },
                    knows: match lonely {
                        true => Vec::new(),
                        false => knows(rng, at, seeds, count, &scripts),
                    },
                    rate: [20_000, 200_000, 1_000_000, 20_000_000][rng.below(4)],
                    delay: [50, 5000, 40_000, 150_000][rng.below(4)],
                    buffer: [1500, 16_000, 65_536, 300_000][rng.below(4)],
                    disk_delay: [0, 0, 3000, 400_000][rng.below(4)],
                    faults,
                    starts: [0, 0, 0, 3_000_000, 70_000_000][rng.below(5)],
                    pause: (trouble > 0 && rng.below(6) == 0).then(|| {
                        let from = rng.below(40) as u64;
                        (from, from + rng.below(40) as u64)
                    }),
                    recheck: (trouble > 0 && rng.below(6) == 0).then(|| rng.below(60) as u64),
                    remembers: rng.below(2) == 0,
                    ends: match trouble > 0 && rng.below(4) == 0 {
                        true => (0..1 + rng.below(2)).map(|_| end(rng)).collect(),
                        false => Vec::new(),
                    },
                    cut: None,
                }
            })
            .collect();
        let nodes: Vec<NodePlan> = nodes;
        // The slowest line, or a socket's buffer a round trip. A connect to one that is not ready is tried
        // again after a minute.
        let slowest = nodes.iter().map(|node| node.rate).min().unwrap_or(1);
        let buffer = nodes
            .iter()
            .map(|node| node.buffer as u64)
            .min()
            .unwrap_or(1);
        let trip = nodes
            .iter()
            .map(|node| 2 * node.delay + 1)
            .max()
            .unwrap_or(1);
        let ideal = content.len() as u64 / slowest.min(buffer * 1_000_000 / trip).max(1);
        let bound = match (trouble, crowded) {
            // The first to announce hears of the others when it does so again.
            (0, _) if lonely => 600 + 3 * ideal,
            (0, _) => 210 + 3 * ideal,
            // A tracker may let an announce in five hang, and the pauses double to half an hour: in one world of 20,000
            // six of them in a row keep a node alone for the first hour.
            (_, false) => 2 * 3600,
            (_, true) => 4 * 3600,
        };
        Self {
            seed,
            meta: Arc::new(meta),
            content: Arc::new(content),
            nodes,
            bite,
            resets: if trouble > 0 { rng.below(8) as u32 } else { 0 },
            reset_after: [300, 20_000, 300_000][rng.below(3)],
            hangs: if trouble > 0 {
                [0, 20][rng.below(2)]
            } else {
                0
            },
            clean: trouble == 0,
            bound,
            scripts,
            trackers,
            servers,
            loss: if trouble > 0 { rng.below(20) } else { 0 },
        }
    }
}

impl Plan {
    /// A quiet world: a seed, and a node that has `part` of a small torrent and fetches the rest in some seconds; chance
    /// decides nothing but lengths, bytes and what a power cut leaves.
    pub(crate) fn quiet(seed: u64, part: impl Fn(usize) -> bool) -> Self {
        let mut bytes = [2; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = &mut Rng::new(bytes);
        let (meta, content) = loop {
            let (meta, content) = torrent(rng, 400_000);
            if (6..40).contains(&meta.geometry.pieces()) && content.len() > 100_000 {
                break (meta, content);
            }
        };
        let pieces = meta.geometry.pieces() as usize;
        let node = |at: usize| NodePlan {
            address: node_address(at),
            have: (0..pieces).map(|piece| at == 0 || part(piece)).collect(),
            garbage: false,
            max_peers: 4,
            knows: (0..at).map(node_address).collect(),
            rate: 60_000,
            delay: 10_000,
            buffer: 65_536,
            disk_delay: 0,
            faults: DiskFaults::default(),
            starts: 0,
            pause: None,
            recheck: None,
            remembers: true,
            ends: Vec::new(),
            cut: None,
        };
        Self {
            seed,
            meta: Arc::new(meta),
            content: Arc::new(content),
            nodes: vec![node(0), node(1)],
            scripts: Vec::new(),
            trackers: Vec::new(),
            servers: Vec::new(),
            loss: 0,
            bite: 70_000,
            resets: 0,
            reset_after: 0,
            hangs: 0,
            clean: false,
            bound: 3600,
        }
    }
}

/// When and how a life ends.
fn end(rng: &mut Rng) -> (u64, End) {
    let latest = [1_000_000, 10_000_000, 90_000_000][rng.below(3)];
    let how = [End::Kill, End::PowerCut][rng.below(2)];
    (rng.below(latest) as u64, how)
}

/// Trackers, one of them honest and within reach; if there is `trouble`, others that are anything else. Two honest
/// ones that do not know of each other would keep apart what belongs together.
fn tracker_plans(rng: &mut Rng, trouble: bool) -> Vec<TrackerPlan> {
    let count = if trouble { 1 + rng.below(4) } else { 1 };
    let honest = rng.below(count);
    let mut plan = |at: usize| {
        let udp = rng.below(2) == 0;
        let ip = Ipv4Addr::new(10, 0, 2, at as u8 + 1);
        let name = format!("t{at}.example");
        TrackerPlan {
            kind: match trouble && at != honest {
                true => TrackerKind::FAULTY[rng.below(TrackerKind::FAULTY.len())],
                false => TrackerKind::Honest,
            },
            address: SocketAddr::new(IpAddr::V4(ip), if udp { 6969 } else { 80 }),
            name: (rng.below(2) == 0).then_some(name),
            udp,
        }
    };
    (0..count).map(&mut plan).collect()
}

/// Their URLs in tiers, and perhaps one whose name nobody knows.
fn tiers(rng: &mut Rng, trackers: &[TrackerPlan]) -> Vec<Vec<String>> {
    let mut tiers: Vec<Vec<String>> = vec![Vec::new()];
    if rng.below(3) == 0 {
        tiers[0].push(String::from("http://never.example/announce"));
    }
    for tracker in trackers {
        if rng.below(2) == 0 {
            tiers.push(Vec::new());
        }
        let tier = tiers.last_mut().expect("there is one");
        tier.push(tracker.url());
    }
    tiers.retain(|tier| !tier.is_empty());
    tiers
}

/// One to three name servers, one of them honest.
fn name_servers(rng: &mut Rng, trouble: bool) -> Vec<(SocketAddr, NameKind)> {
    let count = 1 + rng.below(3);
    let honest = rng.below(count);
    let kind = |at: usize, rng: &mut Rng| match trouble && at != honest {
        true => NameKind::ALL[rng.below(NameKind::ALL.len())],
        false => NameKind::Honest,
    };
    (0..count)
        .map(|at| {
            let ip = Ipv4Addr::new(10, 0, 3, at as u8 + 1);
            (SocketAddr::new(IpAddr::V4(ip), 53), kind(at, rng))
        })
        .collect()
}

/// Where the `at`th session listens.
pub(crate) fn node_address(at: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, at as u8 + 1)), 6881)
}

fn script(rng: &mut Rng, at: usize, nodes: usize) -> ScriptPlan {
    let kind = Kind::ALL[rng.below(Kind::ALL.len())];
    let ip = Ipv4Addr::new(10, 0, 1, at as u8 + 1);
    let dials = (0..nodes).filter(|_| rng.below(3) == 0);
    ScriptPlan {
        address: SocketAddr::new(IpAddr::V4(ip), 6881),
        kind,
        dials: dials.map(node_address).collect(),
    }
}

/// Whom a session knows: at least one seed, so that it can get everything.
fn knows(
    rng: &mut Rng,
    at: usize,
    seeds: usize,
    count: usize,
    scripts: &[ScriptPlan],
) -> Vec<SocketAddr> {
    let all = rng.below(2) == 0;
    let sure = rng.below(seeds);
    let mut known = |other: usize| match other == at {
        true => rng.below(8) == 0,
        false => all || other == sure || rng.below(2) == 0,
    };
    let nodes = (0..count).filter(|other| known(*other));
    let liars = scripts.iter().map(|script| script.address);
    nodes.map(node_address).chain(liars).collect()
}

fn disk_faults(rng: &mut Rng, total: u64) -> DiskFaults {
    let mut faults = DiskFaults::default();
    match rng.below(6) {
        0 => {
            let until = 5 + rng.below(60) as u64;
            faults.full = Some((rng.below(total as usize) as u64, until));
        }
        1 => faults.write_errors = (1 + rng.below(8) as u32, 1 + rng.below(5) as u32),
        2 => faults.read_errors = (1 + rng.below(4) as u32, 1 + rng.below(5) as u32),
        3 => faults.bite = Some(1 + rng.below(9000)),
        _ => {}
    }
    faults
}

/// A torrent of random bytes: one file or several, some of them empty, pieces of even and odd lengths.
fn torrent(rng: &mut Rng, most: usize) -> (Metainfo, Vec<u8>) {
    let lengths = [
        16_384, 32_768, 65_536, 262_144, 16_385, 40_000, 100_001, 1000,
    ];
    let piece_length = lengths[rng.below(lengths.len())];
    let total = 1 + rng.below(most.min(piece_length * 120));
    let mut content = vec![0; total];
    rng.fill(&mut content);
    let mut info = Vec::from(*b"d");
    if rng.below(2) == 0 {
        info.extend(format!("6:lengthi{total}e4:name1:f").bytes());
    } else {
        info.extend(b"5:filesl");
        let (mut left, mut number) = (total, 0);
        while left > 0 || number == 0 {
            let length = match rng.below(4) {
                0 => 0,
                1 => left,
                _ => rng.below(left + 1),
            };
            let name = format!("f{number}");
            let entry = format!("d6:lengthi{length}e4:pathl{}:{name}ee", name.len());
            info.extend(entry.bytes());
            left -= length;
            number += 1;
        }
        info.extend(b"e4:name1:t");
    }
    let hashes: Vec<u8> = content
        .chunks(piece_length)
        .flat_map(Sha1::digest)
        .collect();
    info.extend(format!("12:piece lengthi{piece_length}e6:pieces{}:", hashes.len()).bytes());
    info.extend(hashes);
    info.push(b'e');
    let meta = Metainfo::from_info(&info).expect("a plain torrent");
    (meta, content)
}
