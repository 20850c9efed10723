//! Trials with nobody but ourselves.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use minitorrent::base::ids::{InfoHash, PeerId};
use minitorrent::wire::extension::UT_METADATA;
use minitorrent::wire::handshake::{self, Reserved};
use minitorrent::wire::message::Message;
use minitorrent::wire::ut_metadata::MetadataMessage;
use sha1::{Digest as _, Sha1};

use crate::capture::{Capture, Packets};
use crate::program::{PIECE, Running, Scene, number};
use crate::{HERE, Play, is_there};

pub(crate) const ALL: &[Play] = &[
    (
        "a_magnet_link_is_followed_by_the_neighbourhood_alone",
        by_lsd,
    ),
    (
        "a_magnet_link_is_followed_by_the_neighbourhood_alone_over_ipv6",
        by_lsd6,
    ),
    (
        "a_magnet_link_is_followed_by_the_dht_alone_on_one_thread",
        by_dht,
    ),
    (
        "nodes_are_remembered_and_a_damaged_file_of_them_only_warns",
        nodes_are_remembered,
    ),
    (
        "a_magnet_link_is_followed_by_peers_of_the_one_peer_that_is_known",
        by_pex,
    ),
    (
        "b9_metadata_that_is_a_hostile_torrent_ends_with_3",
        hostile_metadata,
    ),
    (
        "g8_of_a_private_torrent_no_packet_of_dht_lsd_or_pex_is_seen",
        private_is_silent,
    ),
];

/// A seeder of the scene's torrent with these options; its port.
pub(crate) fn seeder(scene: &Scene, more: &[&str]) -> (Running, u16) {
    let (seeder, address) = Running::seeder(scene, &[more, &["--config", "on.json"]].concat());
    let port = address
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok());
    (seeder, port.expect("a port"))
}

fn scene(name: &str) -> Scene {
    let scene = Scene::new(&format!("finders-{name}"), 300 * PIECE + 999);
    scene.write("on.json", b"{}");
    scene
}

pub(crate) fn magnet(scene: &Scene) -> String {
    let link = scene.run(&["magnet", "x.torrent"]).stdout;
    link.trim_end().to_owned()
}

/// Fetches `target` into `out` with these options; what was said.
fn fetch(scene: &Scene, target: &str, out: &str, more: &[&str]) -> crate::program::Ended {
    let usual = ["-o", out, "--port", "0", "--json", "--config", "on.json"];
    let usual = [&[target], &usual[..], &["--stop-timeout", "100"]].concat();
    let ended = scene.run(&[&usual[..], more].concat());
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(scene.is_complete(&format!("{out}/x.bin")));
    ended
}

fn by_lsd() {
    let scene = scene("lsd");
    let (_seeder, _) = seeder(&scene, &["--no-dht"]);
    fetch(&scene, &magnet(&scene), "out", &["--no-dht"]);
}

fn by_lsd6() {
    let scene = scene("lsd6");
    let (_seeder, _) = seeder(&scene, &["--no-dht", "--ipv6"]);
    fetch(&scene, &magnet(&scene), "out", &["--no-dht", "--ipv6"]);
}

fn by_dht() {
    let scene = scene("dht");
    let (seeder, port) = seeder(&scene, &["--no-lsd", "--dht-entry-point", "127.0.0.1:9"]);
    // By a name, so that the resolver has its part in it.
    let entry = format!("node.test:{port}");
    let traced = scene.path("clones");
    let mut command = match is_there("strace") {
        true => {
            let mut strace = Command::new("strace");
            strace.args(["-f", "-qq", "--trace=clone,clone3,fork,vfork", "-o"]);
            strace.arg(&traced).arg(env!("CARGO_BIN_EXE_minitorrent"));
            strace
        }
        false => Command::new(env!("CARGO_BIN_EXE_minitorrent")),
    };
    command.args([&magnet(&scene), "-o", "out", "--port", "0", "--json"]);
    command.args([
        "--config",
        "on.json",
        "--no-lsd",
        "--dht-entry-point",
        &entry,
    ]);
    let ended = scene.start_command(command).end();
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(scene.is_complete("out/x.bin"));
    if traced.exists() {
        assert_eq!(fs::read_to_string(&traced).expect("a trace"), "");
    }
    let tasks = fs::read_dir(format!("/proc/{}/task", seeder.id())).expect("it runs");
    assert_eq!(tasks.count(), 1);
}

fn nodes_are_remembered() {
    let scene = scene("remembered");
    let (_seeder, port) = seeder(&scene, &["--no-lsd", "--state-dir", "seed-state"]);
    let entry = format!("{HERE}:{port}");
    let link = magnet(&scene);
    fetch(
        &scene,
        &link,
        "first",
        &["--no-lsd", "--dht-entry-point", &entry],
    );
    let file = scene.path("state/minitorrent/dht/nodes");
    let nodes = fs::read(&file).expect("nodes were saved");
    assert!(nodes.starts_with(b"minitorrent dht 1\n"));
    // The entry point is dead now, but the seeder was met.
    let short = |out: &str, entry: &str| {
        let usual = [
            &link, "-o", out, "--port", "0", "--json", "--config", "on.json",
        ];
        let more = [
            "--no-lsd",
            "--dht-entry-point",
            entry,
            "--stop-timeout",
            "3",
        ];
        scene.run(&[&usual[..], &more].concat())
    };
    let capture = Capture::begin();
    let ended = short("second", "127.0.0.1:9");
    assert!(!ended.stderr.contains("damaged"), "{ended:?}");
    assert!(capture.end().udp_to(port) > 0, "the seeder's node is asked");
    fs::write(&file, &nodes[..nodes.len() - 1]).expect("it is ours");
    let ended = short("third", &entry);
    let damaged = "warning[dht]: the saved DHT nodes are damaged and ignored";
    assert!(ended.stderr.contains(damaged), "{ended:?}");
    let again = fs::read(&file).expect("saved again");
    assert!(again.starts_with(b"minitorrent dht 1\n") && again.len() >= nodes.len());
}

fn by_pex() {
    let scene = scene("pex");
    let alone = ["--no-dht", "--no-lsd"];
    let (_seeder, seed) = seeder(&scene, &alone);
    // The one who is known has next to nothing, but knows the seeder.
    let (seed, slow) = (format!("{HERE}:{seed}"), ["--max-download-rate", "64k"]);
    let usual = [
        "x.torrent",
        "-o",
        "middle",
        "--port",
        "0",
        "--json",
        "--config",
        "on.json",
    ];
    let state = ["--state-dir", "middle-state", "--peers", &seed];
    let mut middle = scene.start(&[&usual[..], &alone, &slow, &state].concat());
    let port = number(&middle.line_with("\"started\""), "port");
    middle.line_with("\"connected\"");
    let link = format!("{}&x.pe={HERE}:{port}", magnet(&scene));
    let ended = fetch(&scene, &link, "out", &alone);
    // Of us the seeder is told as we are of it, and it may be the first to dial, from any port.
    let known = format!("{HERE}:{port}");
    let is_seed = |line: &str| line.contains("\"connected\"") && !line.contains(&known);
    assert!(ended.stdout.lines().any(is_seed), "{ended:?}");
}

/// Everything on, a torrent that is private or not: two of us exchange it, and the packets of it all are given.
fn exchange(name: &str, is_private: bool) -> (Packets, u16) {
    let scene = scene(name);
    if is_private {
        scene.write("x.torrent", &private(&scene.payload));
    }
    let capture = Capture::begin();
    let entry = ["--dht-entry-point", "127.0.0.1:4999"];
    let (_seeder, port) = seeder(&scene, &entry);
    let address = format!("{HERE}:{port}");
    // A second one stays, so that there is somebody to tell of: the third has all that peer exchange needs.
    let usual = [
        "x.torrent",
        "-o",
        "middle",
        "--port",
        "0",
        "--json",
        "--config",
        "on.json",
    ];
    let more = ["--seed", "--state-dir", "middle-state", "--peers", &address];
    let mut middle = scene.start(&[&usual[..], &entry, &more].concat());
    middle.line_with("\"connected\"");
    fetch(
        &scene,
        "x.torrent",
        "out",
        &[&entry[..], &["--peers", &address]].concat(),
    );
    // Long enough for the first round of peer exchange, and announces that come late.
    for _ in 0..12 {
        middle.line_with("\"progress\"");
    }
    drop(middle);
    let packets = capture.end();
    assert!(packets.len() > 300, "the exchange itself was seen");
    (packets, port)
}

fn private_is_silent() {
    let (public, _) = exchange("public", false);
    assert!(public.udp_to(4999) > 0, "the DHT's entry point");
    assert!(public.udp_to(6771) > 0, "the neighbourhood");
    assert!(public.with(b"6:ut_pex") > 0, "peer exchange");
    let (private, _) = exchange("private", true);
    assert_eq!(private.udp().count(), 0, "{:?}", private.udp().next());
    assert_eq!(private.with(b"ut_pex"), 0);
}

/// The scene's torrent, made private.
fn private(payload: &[u8]) -> Vec<u8> {
    let hashes: Vec<u8> = payload.chunks(PIECE).flat_map(Sha1::digest).collect();
    let head = format!(
        "d4:infod6:lengthi{}e4:name5:x.bin12:piece lengthi{PIECE}e6:pieces{}:",
        payload.len(),
        hashes.len()
    );
    [head.as_bytes(), &hashes, b"7:privatei1eee"].concat()
}

/// The hash of each is right, so peers can say nothing against it; the torrent itself is as wrong as a file could be.
fn hostile_metadata() {
    let scene = scene("hostile-metadata");
    let hashes = "6:pieces20:aaaaaaaaaaaaaaaaaaaa";
    let nested = format!("d1:a{}{}e", "l".repeat(60_000), "e".repeat(60_000));
    for info in [
        format!("d6:lengthi9e4:name1:x12:piece lengthi0e{hashes}e"),
        format!("d6:lengthi9e4:name2:..12:piece lengthi16384e{hashes}e"),
        format!("d6:lengthi-9e4:name1:x12:piece lengthi16384e{hashes}e"),
        "d6:lengthi9e4:name1:x12:piece lengthi16384e6:pieces3:aaae".to_owned(),
        "le".to_owned(),
        nested,
    ] {
        let hash: [u8; 20] = Sha1::digest(&info).into();
        let address = giver_of(info.clone().into_bytes(), hash);
        let link = format!("magnet:?xt=urn:btih:{}&x.pe={address}", InfoHash(hash));
        let arguments = [&link, "-o", "out", "--port", "0", "--stop-timeout", "100"];
        let ended = scene.run(&arguments);
        let shown = &info[..info.len().min(80)];
        assert_eq!(ended.code(), 3, "{shown}: {ended:?}");
        let kind = "error[magnet.bad-metadata]: ";
        assert_eq!(ended.stderr.matches(kind).count(), 1, "{shown}: {ended:?}");
        assert!(!scene.path("out").exists(), "{shown}");
    }
}

/// A peer that gives this metadata to whoever comes.
fn giver_of(info: Vec<u8>, hash: [u8; 20]) -> SocketAddr {
    let listener = TcpListener::bind((HERE, 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // However that ends: the program decides.
            let _ = give(stream, &info, hash);
        }
    });
    address
}

fn give(mut stream: TcpStream, info: &[u8], hash: [u8; 20]) -> io::Result<()> {
    let mut theirs = [0; handshake::LEN];
    stream.read_exact(&mut theirs)?;
    let id = PeerId(*b"-XX0000-hostile-----");
    stream.write_all(&handshake::encode(Reserved::OURS, InfoHash(hash), id))?;
    let send = |stream: &mut TcpStream, id: u8, payload: &[u8]| {
        let mut bytes = Vec::new();
        Message::Extended { id, payload }.encode(&mut bytes);
        stream.write_all(&bytes)
    };
    let greeting = format!("d1:md11:ut_metadatai3ee13:metadata_sizei{}ee", info.len());
    send(&mut stream, 0, greeting.as_bytes())?;
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut body)?;
        let Some((20, [3, payload @ ..])) = body.split_first() else {
            continue;
        };
        if let Ok(MetadataMessage::Request { piece }) = MetadataMessage::decode(payload) {
            let at = piece as usize * 16_384;
            let data = MetadataMessage::Data {
                piece,
                total_size: Some(info.len() as i64),
                data: &info[at..info.len().min(at + 16_384)],
            };
            send(&mut stream, UT_METADATA, &data.encode())?;
        }
    }
}
