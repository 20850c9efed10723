//! Trials with other people's programs: DHT nodes, peers and neighbours that are not ours.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::own::{magnet, seeder};
use crate::program::{PIECE, Scene, number};
use crate::{HERE, Play};

pub(crate) const ALL: &[Play] = &[
    ("libtorrent/dht: we fetch by magnet", || {
        fetched_by_dht(Other::Libtorrent)
    }),
    ("libtorrent/dht: it fetches from us by magnet", || {
        given_by_dht(Other::Libtorrent)
    }),
    ("libtorrent/lsd: we fetch by magnet", || {
        fetched_by_lsd(Other::Libtorrent)
    }),
    ("libtorrent/lsd: it fetches from us by magnet", || {
        given_by_lsd(Other::Libtorrent)
    }),
    (
        "libtorrent/dht: who can't dial us fetches from us",
        dialled_by_dht,
    ),
    (
        "libtorrent/pex: we dial a peer of the one we know",
        fetched_by_pex,
    ),
    ("libtorrent/pex: it dials a peer that we know", given_by_pex),
    ("aria2/dht: we fetch by magnet", || {
        fetched_by_dht(Other::Aria2)
    }),
    ("aria2/dht: it fetches from us by magnet", || {
        given_by_dht(Other::Aria2)
    }),
    ("aria2/lsd: we fetch by magnet", || {
        fetched_by_lsd(Other::Aria2)
    }),
    ("aria2/lsd: it fetches from us", || {
        given_by_lsd(Other::Aria2)
    }),
    ("transmission/dht: we fetch by magnet", || {
        fetched_by_dht(Other::Transmission)
    }),
    ("transmission/dht: it fetches from us by magnet", || {
        given_by_dht(Other::Transmission)
    }),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Other {
    Aria2,
    Libtorrent,
    Transmission,
}

/// How the peers are to be found.
#[derive(Clone, Copy)]
enum Way {
    Dht,
    Lsd,
}

fn scene(name: &str, other: Other) -> Scene {
    let number = other as u8;
    let scene = Scene::new(&format!("foreign-{name}-{number}"), 300 * PIECE + 999);
    scene.write("on.json", b"{}");
    fs::create_dir_all(scene.path("theirs")).expect("the scene");
    scene
}

/// A node of libtorrent's DHT that everybody begins at.
fn node(scene: &Scene) -> Foreign {
    let node = libtorrent(
        scene,
        "node",
        &["node", "-", "theirs", &at(NODE), "--more", "9"],
    );
    node.wait_for("ready");
    node
}

fn fetched_by_dht(other: Other) {
    let scene = scene("fetched-dht", other);
    let _node = node(&scene);
    let _seeder = seeds(&scene, other, Way::Dht);
    // Nothing tells when others have announced themselves: a search that came too early is repeated after a minute.
    we_fetch(&scene, &["--no-lsd", "--dht-entry-point", &at(NODE)]);
}

fn given_by_dht(other: Other) {
    let scene = scene("given-dht", other);
    let _node = node(&scene);
    let entry = at(NODE);
    let (_seeder, _) = seeder(&scene, &["--no-lsd", "--dht-entry-point", &entry]);
    fetches(&scene, other, Way::Dht);
}

fn fetched_by_lsd(other: Other) {
    let scene = scene("fetched-lsd", other);
    let _seeder = seeds(&scene, other, Way::Lsd);
    we_fetch(&scene, &["--no-dht"]);
}

fn given_by_lsd(other: Other) {
    let scene = scene("given-lsd", other);
    let (_seeder, _) = seeder(&scene, &["--no-dht"]);
    fetches(&scene, other, Way::Lsd);
}

/// The one who fetches only takes connections, so we have to go to it though we need nothing of it.
fn dialled_by_dht() {
    let scene = scene("dialled-dht", Other::Libtorrent);
    let _node = node(&scene);
    let way = libtorrent_way(Way::Dht);
    let usual = ["fetch", &magnet(&scene), "theirs", &at(SEEDER), "--no-dial"];
    let mut fetcher = libtorrent(&scene, "fetcher", &[&usual[..], &way].concat());
    let entry = at(NODE);
    let (_seeder, _) = seeder(&scene, &["--no-lsd", "--dht-entry-point", &entry]);
    wait_until_there(&scene, &mut fetcher);
    let log = fs::read_to_string(&fetcher.1).expect("its log");
    assert!(!log.contains("outgoing connection"), "{log}");
}

/// A seeder that nobody tells of anybody, and that dials nobody: who is connected with it has dialled it.
pub(crate) fn hidden_seeder(scene: &Scene) -> Foreign {
    let usual = ["seed", "x.torrent", "seed", &at(SEEDER), "--no-dial"];
    let seeder = libtorrent(scene, "seeder", &usual);
    seeder.wait_for("ready");
    seeder
}

fn fetched_by_pex() {
    let scene = scene("fetched-pex", Other::Libtorrent);
    let _seeder = hidden_seeder(&scene);
    // It has next to nothing itself, but knows the seeder.
    let (known, seeder) = (at(KNOWN), at(SEEDER));
    let usual = ["seed", "x.torrent", "theirs", &known, "--pex"];
    let more = ["--limit", "60000", "--peer", &seeder];
    let middle = libtorrent(&scene, "known", &[&usual[..], &more].concat());
    middle.wait_for("peer_connect_alert");
    let link = format!("{}&x.pe={known}", magnet(&scene));
    let said = we_fetch_link(&scene, &link, &["--no-dht", "--no-lsd"]);
    let is_seeder = |line: &str| line.contains("\"connected\"") && line.contains(&seeder);
    assert!(said.lines().any(is_seeder), "{said}");
}

fn given_by_pex() {
    let scene = scene("given-pex", Other::Libtorrent);
    let _seeder = hidden_seeder(&scene);
    let seeder = at(SEEDER);
    let usual = ["x.torrent", "-o", "out", "--port", "0", "--json"];
    let alone = ["--no-dht", "--no-lsd", "--config", "on.json"];
    let slow = ["--peers", &seeder, "--max-download-rate", "60k"];
    let mut known = scene.start(&[&usual[..], &alone, &slow].concat());
    let port = number(&known.line_with("\"started\""), "port");
    let known_at = format!("{HERE}:{port}");
    known.line_with("\"connected\"");
    let link = magnet(&scene);
    let usual = [
        "fetch",
        &link,
        "theirs",
        &at(KNOWN),
        "--pex",
        "--peer",
        &known_at,
    ];
    let mut fetcher = libtorrent(&scene, "fetcher", &usual);
    wait_until_there(&scene, &mut fetcher);
    let log = fs::read_to_string(&fetcher.1).expect("its log");
    let is_dial = |line: &str| line.contains("outgoing connection") && line.contains(&seeder);
    assert!(log.lines().any(is_dial), "{log}");
}

pub(crate) fn we_fetch(scene: &Scene, more: &[&str]) {
    we_fetch_link(scene, &magnet(scene), more);
}

fn we_fetch_link(scene: &Scene, link: &str, more: &[&str]) -> String {
    let usual = ["-o", "out", "--port", "0", "--json", "--config", "on.json"];
    // Searches in the DHT begin after 0, 60 and 180 seconds.
    let limit = ["--stop-timeout", "300"];
    let ended = scene.run(&[&[link], &usual[..], &limit, more].concat());
    assert_eq!(ended.code(), 0, "{ended:?}\n{}", logs(scene));
    assert!(scene.is_complete("out/x.bin"));
    ended.stdout
}

/// Another client seeds what the scene has.
fn seeds(scene: &Scene, other: Other, way: Way) -> Foreign {
    match other {
        Other::Libtorrent => {
            let way = libtorrent_way(way);
            let usual = ["seed", "x.torrent", "seed", &at(SEEDER)];
            libtorrent(scene, "seeder", &[&usual[..], &way].concat())
        }
        Other::Aria2 => {
            let usual = [
                "--seed-ratio=0.0",
                "--check-integrity=true",
                "--bt-hash-check-seed=true",
            ];
            aria2(scene, "seed", way, &[&usual[..], &["x.torrent"]].concat())
        }
        Other::Transmission => transmission(scene, "seed", "x.torrent"),
    }
}

/// Another client fetches by the magnet link, to the end.
fn fetches(scene: &Scene, other: Other, way: Way) {
    let link = magnet(scene);
    let mut fetcher = match other {
        Other::Libtorrent => {
            let usual = ["fetch", &link, "theirs", &at(SEEDER)];
            libtorrent(
                scene,
                "fetcher",
                &[&usual[..], &libtorrent_way(way)].concat(),
            )
        }
        Other::Aria2 => {
            // Between metadata and content it drops its peers, and neighbours are told of once in five minutes.
            let target = match way {
                Way::Dht => &link,
                Way::Lsd => "x.torrent",
            };
            aria2(scene, "theirs", way, &["--seed-time=0", target])
        }
        Other::Transmission => transmission(scene, "theirs", &link),
    };
    wait_until_there(scene, &mut fetcher);
}

/// Waits until another client has everything.
fn wait_until_there(scene: &Scene, fetcher: &mut Foreign) {
    let is_there = || scene.is_complete("theirs/x.bin");
    let end = Instant::now() + LIMIT;
    while !is_there() {
        assert!(Instant::now() < end, "too late{}", logs(scene));
        let ended = fetcher.0.try_wait().expect("a child");
        assert!(
            ended.is_none_or(|status| status.success()),
            "{}",
            logs(scene)
        );
        thread::sleep(Duration::from_millis(100));
    }
}

fn libtorrent_way(way: Way) -> Vec<&'static str> {
    match way {
        Way::Dht => vec!["--dht", NODE_AT],
        Way::Lsd => vec!["--lsd"],
    }
}

fn libtorrent(scene: &Scene, name: &str, arguments: &[&str]) -> Foreign {
    let python = env::var("MINITORRENT_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/finders/libtorrent_node.py"
    );
    start(scene, name, &python, &[&[script], arguments].concat())
}

fn aria2(scene: &Scene, dir: &str, way: Way, more: &[&str]) -> Foreign {
    let (listen, dht) = (
        format!("--listen-port={SEEDER}"),
        format!("--dht-listen-port={SEEDER}"),
    );
    let (entry, dir) = (
        format!("--dht-entry-point={NODE_AT}"),
        format!("--dir={dir}"),
    );
    let interface = format!("--bt-lpd-interface={HERE}");
    let table = format!("--dht-file-path={}", scene.path("aria2.dht").display());
    let mut usual = vec![
        "--no-conf",
        "--disable-ipv6=true",
        "--file-allocation=none",
        &listen,
        &dir,
    ];
    usual.extend([
        "--enable-peer-exchange=false",
        "--summary-interval=0",
        "--console-log-level=info",
    ]);
    match way {
        Way::Dht => usual.extend(["--enable-dht=true", &dht, &entry, &table]),
        Way::Lsd => usual.extend(["--enable-dht=false", "--bt-enable-lpd=true", &interface]),
    }
    start(scene, "aria2", "aria2c", &[&usual[..], more].concat())
}

/// Transmission's daemon takes its first nodes from a file.
fn transmission(scene: &Scene, dir: &str, target: &str) -> Foreign {
    let home = scene.path("transmission");
    fs::create_dir_all(&home).expect("the scene");
    // It does nothing before it knows nine.
    let nodes = std::iter::once(NODE).chain(NODE + 100..NODE + 109);
    let nodes: String = nodes.map(|port| format!("{HERE} {port}\n")).collect();
    fs::write(home.join("dht.bootstrap"), nodes).expect("the scene");
    let dir = scene.path(dir);
    let settings = format!(
        "{{\"dht-enabled\": true, \"lpd-enabled\": false, \"pex-enabled\": false, \"utp-enabled\": false,
          \"peer-port\": {SEEDER}, \"bind-address-ipv4\": \"{HERE}\", \"port-forwarding-enabled\": false,
          \"download-dir\": \"{}\", \"rpc-port\": {RPC}, \"rpc-bind-address\": \"127.0.0.1\",
          \"incomplete-dir-enabled\": false, \"rename-partial-files\": false, \"encryption\": 0}}",
        dir.display()
    );
    fs::write(home.join("settings.json"), settings).expect("the scene");
    let home = home.to_str().expect("text").to_owned();
    let daemon = start(
        scene,
        "transmission",
        "transmission-daemon",
        &["-f", "-g", &home],
    );
    let remote = |arguments: &[&str]| {
        let rpc = format!("127.0.0.1:{RPC}");
        let mut command = Command::new("transmission-remote");
        command.arg(rpc).args(arguments).current_dir(scene.path(""));
        let output = output_of(&mut command);
        output.is_some_and(|text| text.contains("success") || text.contains("ID"))
    };
    let end = Instant::now() + LIMIT;
    while !remote(&["-l"]) {
        assert!(Instant::now() < end, "the daemon is silent{}", logs(scene));
        thread::sleep(Duration::from_millis(100));
    }
    assert!(remote(&["-a", target]), "it does not take the torrent");
    daemon
}

fn output_of(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Starts a program here; what it says goes to `NAME.log`.
pub(crate) fn start(scene: &Scene, name: &str, program: &str, arguments: &[&str]) -> Foreign {
    let log = scene.path(&format!("{name}.log"));
    let file = fs::File::create(&log).expect("the scene");
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(scene.path(""))
        .stdin(Stdio::null());
    command
        .env("HOME", scene.path(""))
        .env_remove("XDG_CONFIG_HOME");
    command
        .stdout(file.try_clone().expect("a descriptor"))
        .stderr(file);
    let child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    Foreign(child, log.to_str().expect("text").to_owned())
}

/// Somebody else's program while it runs, and its log.
pub(crate) struct Foreign(Child, String);

impl Foreign {
    pub(crate) fn wait_for(&self, word: &str) {
        let end = Instant::now() + LIMIT;
        loop {
            let log = fs::read_to_string(&self.1).unwrap_or_default();
            if log.contains(word) {
                return;
            }
            assert!(Instant::now() < end, "no {word} in {log}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The ends of all logs of a scene.
pub(crate) fn logs(scene: &Scene) -> String {
    let entries = fs::read_dir(scene.path("")).into_iter().flatten().flatten();
    let logs = entries.map(|entry| entry.path());
    let logs = logs.filter(|path: &PathBuf| path.extension().is_some_and(|end| end == "log"));
    let end = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(40).collect();
        let lines: Vec<&str> = lines.into_iter().rev().collect();
        format!("\n--- {}\n{}", path.display(), lines.join("\n"))
    };
    logs.map(end).collect()
}

pub(crate) fn at(port: u16) -> String {
    format!("{HERE}:{port}")
}

/// Longer than any of them needs: only for what hangs.
const LIMIT: Duration = Duration::from_secs(150);
/// Ports in a network that a trial has to itself.
const NODE: u16 = 7001;
const NODE_AT: &str = "10.77.0.1:7001";
pub(crate) const SEEDER: u16 = 7002;
const KNOWN: u16 = 7003;
const RPC: u16 = 7004;
