//! The commands whose answer is all that is asked for: `show`, `check`, `magnet`, `scrape`.

use std::process::Command;

use sha1::{Digest as _, Sha1};

use crate::free_port;
use crate::program::{PIECE, Scene, torrent, web_server};

#[test]
fn show_prints_one_json_object() {
    let scene = Scene::new("show", PIECE + 1);
    let bytes = torrent(&scene.payload, Some("udp://tracker.example:6969"));
    scene.write("-t.torrent", &bytes);
    let ended = scene.run(&["show", "--json", "--", "-t.torrent"]);
    assert_eq!(ended.code(), 0, "{ended:?}");
    let shown: serde_json::Value = serde_json::from_str(&ended.stdout).expect("one object");
    assert_eq!(shown["name"], "x.bin");
    assert_eq!(shown["length"], 65537);
    assert_eq!(shown["piece_length"], 65536);
    assert_eq!(shown["pieces"], 2);
    assert_eq!(shown["private"], false);
    assert_eq!(shown["files"][0]["path"], "x.bin");
    assert_eq!(shown["trackers"][0][0], "udp://tracker.example:6969");
    assert_eq!(shown["info_hash"].as_str().map(str::len), Some(40));
    assert!(shown["info_hash_v2"].is_null() && shown["comment"].is_null());
    let text = scene.run(&["show", "x.torrent"]);
    assert!(
        text.stdout.contains("pieces        2 of 64.0 KiB\n"),
        "{text:?}"
    );
}

#[test]
fn what_is_no_torrent_ends_with_3_and_one_line() {
    let scene = Scene::new("no-torrent", 10);
    scene.write("cut.torrent", b"d4:info");
    scene.write("web.torrent", b"<html>");
    for (name, kind) in [
        ("absent.torrent", "torrent.open"),
        ("seed", "torrent.open"),
        ("/dev/zero", "torrent.open"),
        ("cut.torrent", "torrent.truncated"),
        ("web.torrent", "torrent.not-bencode"),
    ] {
        let ended = scene.run(&["show", name]);
        assert_eq!(ended.code(), 3, "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        assert!(
            ended
                .stderr
                .starts_with(&format!("error[{kind}]: {name}: ")),
            "{ended:?}"
        );
    }
}

#[test]
fn check_tells_complete_from_incomplete_and_writes_nothing() {
    let scene = Scene::new("check", 5 * PIECE - 7);
    let good = scene.run(&["check", "x.torrent", "-o", "seed"]);
    assert_eq!(
        (good.code(), good.stdout.as_str()),
        (0, "x.bin: complete, 5 of 5 pieces\n")
    );
    let mut bad = scene.payload.clone();
    bad[PIECE] ^= 1;
    scene.write("seed/x.bin", &bad);
    let two = scene.run(&["check", "x.torrent", "x.torrent", "-o", "seed"]);
    let line = "x.bin: incomplete, 4 of 5 pieces\n";
    assert_eq!((two.code(), two.stdout), (8, line.repeat(2)));
    let none = scene.run(&["check", "x.torrent", "-o", "absent"]);
    let line = "x.bin: incomplete, 0 of 5 pieces\n";
    assert_eq!((none.code(), none.stdout.as_str()), (8, line));
    assert!(!scene.path("absent").exists());
}

#[test]
fn check_looks_at_the_files_that_are_selected_and_answers_as_json() {
    let scene = Scene::new("check-some", 6 * PIECE);
    std::fs::create_dir(scene.path("d")).expect("the scene can be written to");
    scene.write("d/a", &scene.payload[..3 * PIECE]);
    scene.write("d/b", &scene.payload[3 * PIECE..5 * PIECE]);
    scene.write("d/c", &scene.payload[5 * PIECE..]);
    let made = ["create", "d", "-o", "d.torrent", "--piece-length", "64k"];
    let made = scene.run(&[&made[..], &["--json"]].concat());
    let made: serde_json::Value = serde_json::from_str(&made.stdout).expect("one object");
    std::fs::remove_file(scene.path("d/b")).expect("it was there");
    let check = |dir, more: &[&str]| {
        let ended = scene.run(&[&["check", "d.torrent", "-o", dir], more].concat());
        (ended.code(), ended.stdout, ended.stderr)
    };
    let plain = |text: &str| (text.to_owned(), String::new());
    for (dir, select, status, line) in [
        (".", "1,3", 0, "d: complete, 4 of 4 pieces\n"),
        (".", "2-3", 8, "d: incomplete, 1 of 3 pieces\n"),
        ("absent", "1", 8, "d: incomplete, 0 of 3 pieces\n"),
    ] {
        let (code, stdout, stderr) = check(dir, &["--select", select]);
        assert_eq!((code, (stdout, stderr)), (status, plain(line)), "{select}");
    }
    let (code, _, stderr) = check(".", &["--select", "1,9"]);
    let line = "warning[torrent.select]: no file is in 9\n";
    assert_eq!((code, stderr.as_str()), (0, line));
    let (code, _, stderr) = check(".", &["--select", "9"]);
    let line = "error[torrent.select]: d: none of its 3 files is in 9, it is left out; ";
    assert!(code == 2 && stderr.starts_with(line), "{stderr}");

    for (more, status, complete, pieces, of) in [
        (&["--json"][..], 8, false, 4, 6),
        (&["--json", "--select", "?"], 8, false, 4, 6),
        (&["--json", "--select", "a"], 0, true, 3, 3),
    ] {
        let (code, stdout, _) = check(".", more);
        let said: serde_json::Value = serde_json::from_str(&stdout).expect("one object");
        let expected = serde_json::json!({
            "event": "checked", "name": "d", "complete": complete,
            "pieces": pieces, "of": of, "info_hash": made["info_hash"],
        });
        assert_eq!((code, said), (status, expected));
    }
    let bad = scene.run(&["check", "absent.torrent", "-o", ".", "--json"]);
    let begins = r#"{"event":"error","kind":"torrent.open","#;
    assert!(bad.code() == 3 && bad.stdout.starts_with(begins), "{bad:?}");
}

#[test]
fn an_answer_that_is_lost_ends_with_1_and_one_line() {
    let scene = Scene::new("lost", 3 * PIECE);
    for arguments in [
        &["show", "x.torrent"][..],
        &["show", "x.torrent", "--json"],
        &["magnet", "x.torrent"],
        &["check", "x.torrent", "-o", "seed"],
        &["generate", "man"],
        &["create", "seed", "-o", "made.torrent"],
        &["--help"],
        &["--version"],
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let mut command = Command::new(env!("CARGO_BIN_EXE_minitorrent"));
        command.args(arguments).current_dir(scene.path("."));
        command.stdout(full.expect("every Linux has it"));
        let ended = command.output().expect("the program was built");
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert!(
            stderr.starts_with("error[output]: standard output: "),
            "{stderr}"
        );
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn a_torrent_file_that_can_not_be_written_ends_with_4() {
    let scene = Scene::new("unwritten", PIECE);
    let ended = scene.run(&["create", "seed", "-o", "absent/s.torrent"]);
    assert_eq!(ended.code(), 4, "{ended:?}");
    let begins = "error[create.disk]: absent/s.torrent: No such file or directory";
    assert!(ended.stderr.starts_with(begins), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
}

#[test]
fn a_reader_that_has_read_enough_is_no_error() {
    let scene = Scene::new("enough", 3 * PIECE);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_minitorrent"));
    command
        .args(["show", "x.torrent"])
        .current_dir(scene.path("."));
    let ended = command.stdout(writer).output().expect("it was built");
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert_eq!(ended.stderr, b"", "{ended:?}");
}

#[test]
fn a_torrent_comes_from_standard_input_or_a_web_server() {
    let scene = Scene::new("sources", 3 * PIECE);
    let torrent = std::fs::read(scene.path("x.torrent")).expect("it was written");
    let stdin = std::fs::File::open(scene.path("x.torrent")).expect("it was written");
    let shown = Command::new(env!("CARGO_BIN_EXE_minitorrent"))
        .args(["check", "-", "-o", "seed"])
        .current_dir(scene.path("."))
        .stdin(stdin)
        .output()
        .expect("the program was built");
    assert_eq!(
        String::from_utf8_lossy(&shown.stdout),
        "x.bin: complete, 3 of 3 pieces\n"
    );

    let url = web_server(
        "x.torrent",
        vec![
            ("200 OK", torrent.clone()),
            ("404 Not Found", b"no".to_vec()),
            ("200 OK", b"<html>".to_vec()),
            ("200 OK", torrent),
        ],
    );
    let good = scene.run(&["check", &url, "-o", "seed"]);
    assert_eq!(
        (good.code(), good.stdout.as_str()),
        (0, "x.bin: complete, 3 of 3 pieces\n")
    );
    for (kind, more) in [
        ("torrent.fetch", [].as_slice()),
        ("torrent.not-bencode", &[]),
        ("torrent.too-large", &["--max-torrent-size", "100"]),
    ] {
        let bad = scene.run(&[&["show", &url], more].concat());
        assert_eq!(bad.code(), 3, "{bad:?}");
        assert!(
            bad.stderr.starts_with(&format!("error[{kind}]: {url}: ")),
            "{bad:?}"
        );
    }
}

#[test]
fn magnet_prints_the_link() {
    let scene = Scene::new("magnet", PIECE);
    let bytes = torrent(&scene.payload, Some("http://t.example/announce?a=1"));
    scene.write("t.torrent", &bytes);
    let shown = scene.run(&["show", "--json", "t.torrent"]);
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout).expect("one object");
    let link = format!(
        "magnet:?xt=urn:btih:{}&dn=x.bin&tr=http%3A%2F%2Ft.example%2Fannounce%3Fa%3D1\n",
        shown["info_hash"].as_str().expect("it has one")
    );
    let ended = scene.run(&["magnet", "t.torrent", "absent.torrent"]);
    assert_eq!((ended.code(), ended.stdout), (3, link));
}

#[test]
fn magnet_makes_a_link_of_an_info_hash_and_a_better_one_of_a_link() {
    let scene = Scene::new("magnet-of", 10);
    let link = "magnet:?xt=urn:btih:2eb0b23c2297b9a81ac7d1aaab99a7bbe1080597";
    for given in [
        "2eb0b23c2297b9a81ac7d1aaab99a7bbe1080597",
        "2EB0B23C2297B9A81AC7D1AAAB99A7BBE1080597",
        "F2YLEPBCS642QGWH2GVKXGNHXPQQQBMX",
        "magnet:?tr=gopher:x&xt=urn:btih:F2YLEPBCS642QGWH2GVKXGNHXPQQQBMX",
    ] {
        let ended = scene.run(&["magnet", given]);
        assert_eq!(
            (ended.code(), ended.stdout),
            (0, format!("{link}\n")),
            "{given}"
        );
    }
    for (given, said) in [
        ("xt=urn:btih:zzz", "a magnet link begins with `magnet:?`"),
        ("magnet:?xt=urn:btih:zzz", "no info-hash: `zzz`"),
    ] {
        let ended = scene.run(&["magnet", given]);
        assert_eq!(ended.code(), 3, "{ended:?}");
        let line = format!("error[magnet.syntax]: {given}: {said}, nothing was started\n");
        assert_eq!(ended.stderr, line);
    }
    // A file of that name comes first.
    scene.write("2eb0b23c2297b9a81ac7d1aaab99a7bbe1080597", b"de");
    let ended = scene.run(&["magnet", "2eb0b23c2297b9a81ac7d1aaab99a7bbe1080597"]);
    assert_eq!(ended.code(), 3, "{ended:?}");
    // A download begins with it, too, and finds nobody to ask.
    let ended = scene.run(&[
        "F2YLEPBCS642QGWH2GVKXGNHXPQQQBMX",
        "-o",
        "out",
        "--port",
        "0",
    ]);
    assert_eq!(ended.code(), 5, "{ended:?}");
}

#[test]
fn scrape_prints_what_each_tracker_counts() {
    let scene = Scene::new("scrape", PIECE);
    let counts = |bytes: &[u8]| {
        let info = bytes
            .windows(6)
            .position(|it| it == b"4:info")
            .expect("it has one");
        let info_hash = Sha1::digest(&bytes[info + 6..bytes.len() - 1]);
        let counts = b"d8:completei5e10:downloadedi50e10:incompletei10eeee";
        [&b"d5:filesd20:"[..], &info_hash, counts].concat()
    };
    // The announce URL is no part of the info-hash.
    let answer = counts(&torrent(&scene.payload, None));
    let url = web_server("announce", vec![("200 OK", answer)]);
    scene.write("http.torrent", &torrent(&scene.payload, Some(&url)));
    let ended = scene.run(&["scrape", "http.torrent"]);
    let line = format!("{url}: 5 seeders, 10 leechers, 50 downloads\n");
    assert_eq!((ended.code(), ended.stdout), (0, line));

    let url = udp_tracker();
    scene.write("udp.torrent", &torrent(&scene.payload, Some(&url)));
    let ended = scene.run(&["scrape", "udp.torrent"]);
    let line = format!("{url}: 7 seeders, 9 leechers, 8 downloads\n");
    assert_eq!((ended.code(), ended.stdout), (0, line));

    let refusing = format!("http://127.0.0.1:{}/announce", free_port());
    scene.write("bad.torrent", &torrent(&scene.payload, Some(&refusing)));
    let ended = scene.run(&["scrape", "bad.torrent"]);
    assert_eq!(ended.code(), 5, "{ended:?}");
    let warning = format!("warning[tracker]: {refusing}: [tracker.connect] connection refused\n");
    assert!(ended.stderr.starts_with(&warning), "{ended:?}");
    assert!(
        ended.stderr.contains("error[tracker.none]: x.bin: "),
        "{ended:?}"
    );
    let ended = scene.run(&["scrape", "x.torrent"]);
    let line = "error[tracker.absent]: x.bin: it has no tracker that could be asked, giving up\n";
    assert_eq!((ended.code(), ended.stderr.as_str()), (5, line));
}

#[test]
fn hostile_names_reach_the_terminal_as_harmless_text() {
    let scene = Scene::new("hostile-name", 2 * PIECE);
    let bytes = torrent(&scene.payload, None);
    let hostile = b"4:name24:\x1b]0;x\x07\x1b[2J\r\n\xe2\x80\xae.bin\xc2\x9b31m";
    let at = bytes
        .windows(12)
        .position(|it| it == b"4:name5:x.bi")
        .expect("it is in there");
    let name_end = at + b"4:name5:x.bin".len();
    let bytes = [&bytes[..at], &hostile[..], &bytes[name_end..]].concat();
    scene.write("h.torrent", &bytes);
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = deaf.local_addr().expect("it is bound").to_string();
    for arguments in [
        &["show", "h.torrent"][..],
        &["check", "h.torrent", "-o", "."],
        &[
            "h.torrent",
            "-o",
            "out",
            "--port",
            "0",
            "--stop-timeout",
            "1",
            "--peers",
            &address,
        ],
    ] {
        let ended = scene.run(arguments);
        let all = ended.stdout + &ended.stderr;
        let harmful = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!all.is_empty() && !all.contains(harmful), "{all:?}");
    }
}

/// A UDP tracker (BEP 15) that gives connection ids and counts; gives its URL.
#[expect(
    clippy::disallowed_methods,
    reason = "the program under test is the one that is not to wait"
)]
fn udp_tracker() -> String {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let mut request = [0; 2048];
        while let Ok((len, from)) = socket.recv_from(&mut request) {
            let numbers = match request[11] {
                0 if len == 16 => [0x0102_0304, 0x0506_0708, 0].to_vec(),
                2 if len == 36 => [7u32, 8, 9].to_vec(),
                _ => continue,
            };
            let mut reply = [&request[8..12], &request[12..16]].concat();
            reply.extend(numbers.into_iter().flat_map(u32::to_be_bytes));
            let _ = socket.send_to(&reply, from);
        }
    });
    format!("udp://{address}/announce")
}
