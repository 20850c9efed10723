//! Two real programs on 127.0.0.1, and what signals do to them.

mod program;

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use minitorrent::client::TorrentClient;
use program::{
    PIECE, Running, Scene, heard_web_server, number, text, torrent, torrent_of, tracker_answer,
    web_server,
};

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

/// Three torrents of one file each beside each other: `a.bin`, `b.bin`, `c.bin`, in `seed` and as `NAME.torrent`.
fn three(name: &str) -> Scene {
    let scene = Scene::new(name, 40 * PIECE);
    for (n, file) in [(1, "a.bin"), (2, "b.bin"), (3, "c.bin")] {
        let mut payload = scene.payload.clone();
        payload.rotate_left(n * 1000);
        scene.write(&format!("seed/{file}"), &payload);
        let bytes = torrent_of(file, &payload, None);
        scene.write(&format!("{file}.torrent"), &bytes);
    }
    scene
}

const THREE: [&str; 3] = ["a.bin.torrent", "b.bin.torrent", "c.bin.torrent"];

/// A process that seeds all three, and its address.
fn seeder_of_three(scene: &Scene) -> (Running, String) {
    let more = ["-o", "seed", "--json"];
    let mut seeder = scene.start(&[&["seed"], &THREE[..], &more, &ALONE].concat());
    let port = number(&seeder.line_with("\"started\""), "port");
    let mut complete = std::collections::BTreeSet::new();
    while complete.len() < 3 {
        let progress = seeder.line_with("\"progress\"");
        if number(&progress, "pieces") == number(&progress, "of") {
            complete.insert(text(&progress, "info_hash"));
        }
    }
    (seeder, format!("127.0.0.1:{port}"))
}

const ALONE: [&str; 4] = ["--port", "0", "--no-dht", "--no-lsd"];

#[test]
fn three_torrents_come_from_one_process_to_one_process_and_a_broken_one_stops_nobody() {
    let scene = three("three");
    scene.write("broken.torrent", b"d4:infod6:lengthi1e");
    // Where the second one goes something else is in its way.
    fs::create_dir_all(scene.path("out/b.bin")).expect("a new directory");
    let (seeder, address) = seeder_of_three(&scene);
    let more = ["-o", "out", "--json", "--peers", &address];
    let torrents = [&THREE[..], &["broken.torrent"]].concat();
    let ended = scene.run(&[&torrents, &more[..], &ALONE].concat());
    // 3 for the broken torrent, 4 for the place that is taken: the highest counts.
    assert_eq!(ended.code(), 4, "{ended:?}");
    for file in ["a.bin", "c.bin"] {
        let (ours, theirs) = (format!("out/{file}"), format!("seed/{file}"));
        let read = |name: &str| fs::read(scene.path(name)).expect("it is there");
        assert!(read(&ours) == read(&theirs), "{file}");
    }
    let errors: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[0].starts_with("error[torrent.truncated]: broken.torrent: "));
    assert!(errors[0].ends_with(", it is left out"), "{errors:?}");
    assert!(errors[1].starts_with("error[disk.not-regular]: b.bin: "));
    // Every event says which torrent it is about, and each torrent ends once.
    let mut complete = Vec::new();
    for line in ended
        .stdout
        .lines()
        .filter(|line| !line.contains("torrent.truncated"))
    {
        assert_eq!(text(line, "info_hash").len(), 40, "{line}");
        if text(line, "event") == "complete" {
            complete.push(text(line, "info_hash"));
        }
    }
    complete.sort();
    complete.dedup();
    assert_eq!(complete.len(), 2, "{ended:?}");
    seeder.signal("-INT");
    let seeder = seeder.end();
    assert_eq!(seeder.code(), 0, "{seeder:?}");
}

#[test]
fn a_torrent_named_twice_is_taken_once_and_one_in_the_place_of_another_is_left_out() {
    let scene = three("clash");
    let other = torrent_of("A.BIN", &scene.payload, None);
    scene.write("other.torrent", &other);
    let (_seeder, address) = seeder_of_three(&scene);
    let hash = text(
        scene
            .run(&["show", "b.bin.torrent", "--json"])
            .stdout
            .trim(),
        "info_hash",
    );
    let torrents = [
        "a.bin.torrent",
        &hash,
        "b.bin.torrent",
        "a.bin.torrent",
        "other.torrent",
    ];
    let more = ["-o", "out", "--peers", &address];
    let ended = scene.run(&[&torrents[..], &more, &ALONE].concat());
    assert_eq!(ended.code(), 2, "{ended:?}");
    let twice = "the torrent is named twice, it is taken once";
    let expected = [
        format!("warning[torrent.twice]: b.bin.torrent: {twice}"),
        format!("warning[torrent.twice]: a.bin.torrent: {twice}"),
        "error[torrent.clash]: A.BIN: its files would lie in out where those of a.bin do, it is left \
         out; give it an output directory of its own"
            .into(),
    ];
    assert_eq!(ended.stderr.lines().collect::<Vec<_>>(), expected);
    for file in ["a.bin", "b.bin"] {
        let read = |dir: &str| fs::read(scene.path(dir).join(file)).expect("it is there");
        assert!(read("out") == read("seed"), "{file}");
    }
    assert!(!scene.path("out/A.BIN").exists());
}

#[test]
fn a_torrent_that_nobody_has_gives_up_for_itself_and_says_why() {
    let scene = three("one-starves");
    let (_seeder, address) = seeder_of_three(&scene);
    // The seeder does not know this one.
    let more = [
        "-o",
        "out",
        "--stop-timeout",
        "2s",
        "--json",
        "--peers",
        &address,
    ];
    let torrents = ["x.torrent", "a.bin.torrent"];
    let ended = scene.run(&[&torrents[..], &more, &ALONE].concat());
    assert_eq!(ended.code(), 5, "{ended:?}");
    let expected = "error[peers.stalled]: x.bin: nothing has moved for the time allowed: the one address \
                    known is not reached, trying again later, giving up; run again to go on\n";
    assert_eq!(ended.stderr, expected);
    let waiting = ended
        .stdout
        .lines()
        .filter(|line| line.contains("\"waiting\":\"the one address"));
    assert!(waiting.count() > 0, "{ended:?}");
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
fn what_a_magnet_link_stands_for_is_saved_as_a_torrent_file_beside_what_is_there() {
    let scene = Scene::new("save-torrent", 5 * PIECE + 9);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    let link = scene.run(&["magnet", "x.torrent"]).stdout;
    let link = format!("{}&tr=http://127.0.0.1:1/a&x.pe={address}", link.trim_end());
    let hash = link["magnet:?xt=urn:btih:".len()..][..40].to_owned();
    let read = |name: &str| std::fs::read(scene.path(name)).expect("it is there");
    let follow = |what: &str, more: &[&str]| {
        let arguments = [what, "-o", "out", "--port", "0", "--peers", &address];
        let ended = scene.run(&[&arguments[..], &["--save-torrent"], more].concat());
        assert_eq!(ended.code(), 0, "{ended:?}");
        ended.stderr
    };

    follow(&link, &["saved.torrent"]);
    let shown = scene.run(&["show", "saved.torrent", "--json"]).stdout;
    assert!(
        shown.contains(&format!("\"info_hash\":\"{hash}\"")),
        "{shown}"
    );
    assert!(
        shown.contains("\"trackers\":[[\"http://127.0.0.1:1/a\"]]"),
        "{shown}"
    );
    let checked = scene.run(&["check", "saved.torrent", "-o", "out"]);
    assert_eq!(checked.stdout, "x.bin: complete, 6 of 6 pieces\n");

    // Into a directory, for a bare info-hash; and once more, which changes nothing.
    for _ in 0..2 {
        assert_eq!(follow(&hash, &["out"]), "");
        let (saved, given) = (read("out/x.bin.torrent"), read("x.torrent"));
        let info = |bytes: &[u8]| bytes.windows(6).position(|it| it == b"4:info");
        let (from, to) = (info(&saved).expect("a torrent"), info(&given).expect("one"));
        assert_eq!(saved[from..], given[to..]);
    }

    scene.write("mine.torrent", b"mine");
    let said = follow(&hash, &["mine.torrent"]);
    let line = "warning[torrent.save]: mine.torrent is there already, it is left alone\n";
    assert_eq!(
        (said.as_str(), read("mine.torrent")),
        (line, b"mine".to_vec())
    );
    assert_eq!(follow(&hash, &["mine.torrent", "--force"]), "");
    assert_eq!(read("mine.torrent"), read("out/x.bin.torrent"));
    let said = follow(&hash, &["nowhere/x.torrent"]);
    let line = "warning[torrent.save]: nowhere/x.torrent can't be written: No such file";
    assert!(said.starts_with(line), "{said}");

    // The torrent file may be named, too; and a link that says nothing keeps nobody else from coming.
    let said = follow(&link, &["again.torrent", "x.torrent"]);
    let line = "warning[torrent.twice]: x.torrent: the torrent is named twice, it is taken once\n";
    assert_eq!(said, line);
    let broken = [
        "magnet:?xt=urn:btih:no",
        "x.torrent",
        "-o",
        "beside",
        "--peers",
    ];
    let more = [&address, "--port", "0", "--save-torrent", "s.torrent"];
    let ended = scene.run(&[&broken[..], &more].concat());
    assert_eq!(ended.code(), 3, "{ended:?}");
    assert!(scene.is_complete("beside/x.bin"));
}

#[test]
fn a_tracker_hears_of_the_start_the_completion_and_the_end() {
    let scene = Scene::new("events", 12 * PIECE);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    let (url, heard) = heard_web_server("announce", vec![("200 OK", tracker_answer(&address))]);
    scene.write("t.torrent", &torrent(&scene.payload, Some(&url)));
    let events = || {
        let event = |asked: &str| {
            let (_, rest) = asked.split_once("event=").expect("an event");
            rest.split(['&', ' ']).next().map(str::to_owned)
        };
        let events = heard.try_iter().map(|asked| event(&asked));
        events
            .map(|event| event.expect("its name"))
            .collect::<Vec<_>>()
    };
    let ended = scene.run(&[&["t.torrent", "-o", "out"][..], &ALONE].concat());
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert_eq!(events(), ["started", "completed", "stopped"]);
    assert!(!ended.stderr.contains("warning[tracker]"), "{ended:?}");
    let mut seeder =
        scene.start(&[&["seed", "t.torrent", "-o", "out", "--json"][..], &ALONE].concat());
    seeder.line_with("\"tracker\"");
    seeder.signal("-TERM");
    assert_eq!(seeder.end().code(), 0);
    assert_eq!(events(), ["started", "stopped"]);
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
    let ended = scene.download(&address, &[]);
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(scene.is_complete("out/x.bin"));
    let last = ended.stdout.lines().last().expect("the last event");
    assert_eq!(number(last, "downloaded"), 2 * PIECE as u64);
}

#[test]
fn what_somebody_does_to_a_file_while_it_comes_is_found_and_mended_at_the_end() {
    let meddle = |name: &str, act: &dyn Fn(&Path, u64)| {
        let scene = Scene::new(name, 20 * PIECE);
        let (_seeder, address) = Running::seeder(&scene, &[]);
        let rate = (10 * PIECE).to_string();
        let mut download = scene.start_download(&address, &["--max-download-rate", &rate]);
        while number(&download.line_with("\"progress\""), "pieces") == 0 {}
        act(&scene.path("out/x.bin"), 20 * PIECE as u64);
        let ended = download.end();
        assert_eq!(ended.code(), 0, "{name}: {ended:?}");
        assert!(ended.stderr.contains("out/x.bin"), "{name}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{name}: {ended:?}");
        assert!(scene.is_complete("out/x.bin"), "{name}");
    };
    let removed = |path: &Path, _| fs::remove_file(path).expect("it was begun");
    let emptied = |path: &Path, _| fs::write(path, "").expect("it was begun");
    let written_over = |path: &Path, len| {
        let file = fs::OpenOptions::new().write(true).open(path);
        let written = file.and_then(|file| file.write_all_at(&vec![7; len as usize], 0));
        written.expect("it was begun");
    };
    let replaced = |path: &Path, len| {
        let other = path.with_extension("other");
        fs::write(&other, vec![7; len as usize]).expect("there is room");
        fs::rename(&other, path).expect("it was begun");
    };
    // Each waits most of the time.
    thread::scope(|scope| {
        scope.spawn(|| meddle("removed", &removed));
        scope.spawn(|| meddle("emptied", &emptied));
        scope.spawn(|| meddle("written-over", &written_over));
        scope.spawn(|| meddle("replaced", &replaced));
    });
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
    let mut download = scene.start_download(&address, &[]);
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
    let line = "error[peers.none]: x.bin: there is no tracker and no peer to ask: \
                no peers known but those banned for bad data, giving up\n";
    assert!(ended.stderr.ends_with(line), "{ended:?}");
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
