//! Two real programs on 127.0.0.1, and what signals do to them.

mod program;

use std::fs;
use std::time::{Duration, Instant};

use minitorrent::client::TorrentClient;
use program::{PIECE, Running, Scene, number, torrent, tracker_answer, web_server};

#[test]
fn two_programs_exchange_a_torrent_without_a_tracker() {
    let scene = Scene::new("exchange", 40 * PIECE + 12_345);
    let (seeder, address) = Running::seeder(&scene, &[]);
    let ended = scene.run(&["x.torrent", "-o", "out", "--port", "0", "--peers", &address]);
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(scene.is_complete("out/x.bin"));
    seeder.signal("-INT");
    let ended = seeder.end();
    // Everything is there: an end by a signal is a good end for a seeder.
    assert_eq!(ended.code(), 0, "{ended:?}");
    let last = ended.stdout.lines().last().expect("the last event");
    assert_eq!(number(last, "uploaded"), scene.payload.len() as u64);
}

#[test]
fn a_magnet_link_and_a_bare_info_hash_are_followed_to_the_file() {
    // 2,400 pieces make 48 KB of metadata: three pieces of it.
    let scene = Scene::new("magnet", 2_400 * PIECE);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    let link = scene.run(&["magnet", "x.torrent"]).stdout;
    let link = format!("{}&x.pe={address}", link.trim_end());
    let ended = scene.run(&[&link, "-o", "by-link", "--port", "0"]);
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(scene.is_complete("by-link/x.bin"));
    let shown = scene.run(&["show", "x.torrent", "--json"]).stdout;
    let hash = shown
        .split("\"info_hash\":\"")
        .nth(1)
        .and_then(|rest| rest.get(..40));
    let hash = hash.expect("it has one");
    let ended = scene.run(&[hash, "-o", "by-hash", "--port", "0", "--peers", &address]);
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(scene.is_complete("by-hash/x.bin"));
}

#[test]
fn a_chain_of_three_passes_the_content_on() {
    let scene = Scene::new("chain", 20 * PIECE);
    let (_seeder, first) = Running::seeder(&scene, &[]);
    let arguments = [
        "x.torrent",
        "-o",
        "middle",
        "--port",
        "0",
        "--json",
        "--seed",
        "--peers",
    ];
    let mut middle = scene.start(&[&arguments[..], &[&first]].concat());
    let port = number(&middle.line_with("\"started\""), "port");
    loop {
        let progress = middle.line_with("\"progress\"");
        if number(&progress, "pieces") == 20 {
            break;
        }
    }
    let address = format!("127.0.0.1:{port}");
    let ended = scene.run(&["x.torrent", "-o", "out", "--port", "0", "--peers", &address]);
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(scene.is_complete("out/x.bin"));
    middle.signal("-TERM");
    assert_eq!(middle.end().code(), 0);
}

#[test]
fn what_is_there_is_not_fetched_again() {
    let scene = Scene::new("resume", 20 * PIECE);
    fs::create_dir(scene.path("out")).expect("a new directory");
    let mut part = scene.payload.clone();
    part[7 * PIECE..9 * PIECE].fill(0);
    scene.write("out/x.bin", &part);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    let arguments = [
        "x.torrent",
        "-o",
        "out",
        "--port",
        "0",
        "--json",
        "--peers",
        &address,
    ];
    let ended = scene.run(&arguments);
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(scene.is_complete("out/x.bin"));
    let last = ended.stdout.lines().last().expect("the last event");
    assert_eq!(number(last, "downloaded"), 2 * PIECE as u64);
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a bound in wall time is what is tested"
)]
fn an_interrupt_ends_a_download_with_6_within_three_seconds() {
    let scene = Scene::new("interrupt", 20 * PIECE);
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = deaf.local_addr().expect("it is bound").to_string();
    let arguments = [
        "x.torrent",
        "-o",
        "out",
        "--port",
        "0",
        "--json",
        "--peers",
        &address,
    ];
    let mut download = scene.start(&arguments);
    download.line_with("\"progress\"");
    for harmless in ["-HUP", "-USR1", "-PIPE", "-WINCH"] {
        download.signal(harmless);
    }
    download.signal("-INT");
    let since = Instant::now();
    let ended = download.end();
    assert_eq!(ended.code(), 6, "{ended:?}");
    assert!(
        since.elapsed() < Duration::from_secs(3),
        "{:?}",
        since.elapsed()
    );
    assert!(
        ended.stderr.starts_with("error[interrupted]: x.bin: "),
        "{ended:?}"
    );
}

#[test]
fn a_liar_is_named_and_nothing_of_it_counts() {
    let scene = Scene::new("liar", 30 * PIECE);
    // It believes in its bytes: they change behind its back once they are checked.
    let (_liar, address) = Running::seeder(&scene, &[]);
    let mut wrong = scene.payload.clone();
    wrong.iter_mut().for_each(|byte| *byte ^= 0x55);
    scene.write("seed/x.bin", &wrong);
    let arguments = [
        "x.torrent",
        "-o",
        "out",
        "--port",
        "0",
        "--stop-timeout",
        "2s",
        "--peers",
    ];
    let ended = scene.run(&[&arguments[..], &[&address]].concat());
    assert_eq!(ended.code(), 5, "{ended:?}");
    let warning = format!("warning[peer.banned]: {address} sent bad data in piece ");
    assert!(ended.stderr.contains(&warning), "{ended:?}");
    let checked = scene.run(&["check", "x.torrent", "-o", "out"]);
    assert_eq!(checked.stdout, "x.bin: incomplete, 0 of 30 pieces\n");
}

#[test]
fn peers_are_reached_over_ipv6_and_only_over_the_family_that_is_wanted() {
    let scene = Scene::new("families", 5 * PIECE);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    let port = address.rsplit(':').next().expect("it has a port");
    let v6 = format!("[::1]:{port}");
    let fetch = |out: &str, more: &[&str], peer: &str| {
        let arguments = ["x.torrent", "-o", out, "--port", "0", "--peers", peer];
        scene.run(&[&arguments[..], more].concat())
    };
    // The same port in both families.
    let ended = fetch("six", &["--ipv6"], &v6);
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(scene.is_complete("six/x.bin"));
    for (family, peer) in [("--ipv4", v6.as_str()), ("--ipv6", address.as_str())] {
        let ended = fetch("none", &[family], peer);
        assert_eq!(ended.code(), 5, "{ended:?}");
        assert!(ended.stderr.starts_with("error[peers.none]"), "{ended:?}");
    }
    assert_eq!(fetch("four", &["--ipv4"], &address).code(), 0);
}

#[test]
fn setup_asks_the_tracker_and_connects_to_nobody() {
    let scene = Scene::new("setup", 12 * PIECE);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    let url = web_server("announce", vec![("200 OK", tracker_answer(&address))]);
    scene.write("t.torrent", &torrent(&scene.payload, Some(&url)));
    let mut client = TorrentClient::builder(scene.path("t.torrent"))
        .output_dir(scene.path("out"))
        .ports(0..=0)
        .build()
        .expect("a good torrent");
    client.setup().expect("a tracker that answers");
    let looked = client.snapshot().expect("it was taken up");
    assert_eq!(
        (looked.addresses, looked.peers, looked.downloaded),
        (1, 0, 0)
    );
    assert_eq!(client.outcome(), None);
    client.start().expect("an honest seeder");
    assert!(scene.is_complete("out/x.bin"));
}

#[test]
fn the_library_looks_first_and_then_fetches() {
    let scene = Scene::new("library", 12 * PIECE);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    let address = address.parse().expect("an address");
    let mut client = TorrentClient::builder(scene.path("x.torrent"))
        .output_dir(scene.path("out"))
        .max_peers(12)
        .peers([address])
        .ports(0..=0)
        .build()
        .expect("a good torrent");
    client.setup().expect("a directory that can be made");
    let looked = client.snapshot().expect("it was taken up");
    assert_eq!((looked.pieces_checked, looked.pieces_have), (12, 0));
    client.start().expect("an honest seeder");
    assert!(scene.is_complete("out/x.bin"));
    let done = client.snapshot().expect("it was taken up");
    assert_eq!((done.pieces_have, done.downloaded), (12, 12 * PIECE as u64));
}
