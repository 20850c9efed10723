//! The command line as scripts see it: exit statuses, messages, and what is written where.

mod program;

use std::process::Command;

use sha1::{Digest as _, Sha1};

use program::{PIECE, Running, Scene, number, torrent, web_server};

#[test]
fn an_unknown_option_ends_with_2_and_names_its_nearest_neighbour() {
    let scene = Scene::new("unknown-option", 10);
    let ended = scene.run(&["--prot", "1", "x.torrent"]);
    assert_eq!(ended.code(), 2);
    assert_eq!(
        ended.stderr,
        "error[usage]: there is no option --prot; the nearest is --port, nothing was started, see --help\n"
    );
    assert_eq!(ended.stdout, "");
    assert_eq!(scene.run(&["--help", "--nonsense"]).code(), 2);
    assert_eq!(scene.run(&[]).code(), 2);
}

#[test]
fn help_and_version_end_with_0_even_if_no_one_reads_them() {
    let scene = Scene::new("help", 10);
    let help = scene.run(&["--help"]);
    assert_eq!(help.code(), 0);
    assert!(help.stdout.contains("--output-directory DIR"));
    assert!(!help.stdout.contains("--encryption"));
    let version = scene.run(&["--version"]);
    assert_eq!(
        version.stdout,
        format!("minitorrent {}\n", env!("CARGO_PKG_VERSION"))
    );
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_minitorrent"));
    let ended = command.arg("--help").stdout(writer).output();
    let ended = ended.expect("the program was built");
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert_eq!(ended.stderr, b"", "{ended:?}");
}

#[test]
fn what_cannot_be_meant_ends_with_2_and_one_line() {
    let scene = Scene::new("meant", 10);
    std::fs::create_dir(scene.path("d")).expect("the scene can be written to");
    scene.write("d/a.txt", b"a");
    scene.write("d/b.txt", b"b");
    scene.write("d/empty", b"");
    let made = scene.run(&["create", "d", "-o", "d.torrent"]);
    assert_eq!(made.code(), 0, "{made:?}");
    for (line, said) in [
        (
            "d.torrent --select 9 --select *.iso",
            "error[torrent.select]: d: none of its 3 files is in 9, *.iso, nothing of it is \
             fetched; `show` lists them",
        ),
        (
            "x.torrent --select b?n",
            "error[torrent.select]: x.bin: its only file is not in b?n, ",
        ),
        (
            "d.torrent --select 3",
            "error[torrent.select]: d: there is nothing in the files of 3, ",
        ),
        (
            "d.torrent --select 0",
            "error[usage]: --select 0: files count from 1",
        ),
        (
            "d.torrent --first 3-1",
            "error[usage]: --first 3-1: files count from 1",
        ),
        (
            "d.torrent --mem-limit 1M",
            "error[memory.limit]: 1024 KiB of memory are not enough, it takes 4608 KiB, nothing was started",
        ),
        (
            "create d x.torrent",
            "error[usage]: several paths need a --name, ",
        ),
        (
            "create d -o d.torrent",
            "error[usage]: d.torrent is there already (--force replaces it), ",
        ),
    ] {
        let mut arguments: Vec<&str> = line.split(' ').collect();
        if !line.starts_with("create") {
            arguments.extend(["-o", "out", "--port", "0"]);
        }
        let ended = scene.run(&arguments);
        assert_eq!(ended.code(), 2, "{ended:?}");
        assert!(ended.stderr.starts_with(said), "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        assert_eq!(ended.stdout, "", "{ended:?}");
        assert!(!scene.path("out").exists(), "{line}");
    }
}

#[test]
fn a_choice_that_no_file_is_in_is_named_and_the_others_are_fetched() {
    let scene = Scene::new("choice", 3 * PIECE);
    let all = ["x.torrent", "-o", "seed", "--port", "0", "--select", "1,7"];
    let ended = scene.run(&[&all[..], &["--first", "*.txt"]].concat());
    assert_eq!(ended.code(), 0, "{ended:?}");
    let line = "warning[torrent.select]: no file is in 7, *.txt\n";
    assert_eq!(ended.stderr, line);
}

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
fn seed_never_fetches() {
    let scene = Scene::new("seed-incomplete", 3 * PIECE);
    scene.write("seed/x.bin", &scene.payload[..2 * PIECE]);
    let ended = scene.run(&["seed", "x.torrent", "-o", "seed", "--port", "0"]);
    assert_eq!(ended.code(), 8, "{ended:?}");
    assert!(
        ended
            .stderr
            .starts_with("error[data.incomplete]: x.bin (2 of 3 pieces)")
    );
    let nowhere = scene.run(&["seed", "x.torrent", "-o", "absent", "--port", "0"]);
    assert_eq!(nowhere.code(), 8, "{nowhere:?}");
    let line = "error[data.incomplete]: x.bin (there is no absent)";
    assert!(nowhere.stderr.starts_with(line), "{nowhere:?}");
    assert!(!scene.path("absent").exists());
}

#[test]
fn a_torrent_that_no_one_can_be_asked_for_ends_with_5() {
    let scene = Scene::new("no-source", 3 * PIECE);
    let ended = scene.run(&["x.torrent", "-o", "out", "--port", "0"]);
    assert_eq!(ended.code(), 5, "{ended:?}");
    assert!(
        ended.stderr.starts_with("error[peers.none]: x.bin: "),
        "{ended:?}"
    );
    // What a bare info-hash stands for can't be asked of anybody either.
    let hash = "2eb0b23c2297b9a81ac7d1aaab99a7bbe1080597";
    let ended = scene.run(&[hash, "-o", "out", "--port", "0"]);
    assert_eq!(ended.code(), 5, "{ended:?}");
    assert!(ended.stderr.starts_with("error[peers.none]"), "{ended:?}");
}

#[test]
fn what_is_there_already_is_complete_without_a_source() {
    let scene = Scene::new("there-already", 3 * PIECE);
    let ended = scene.run(&["x.torrent", "-o", "seed", "--port", "0"]);
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(
        ended
            .stdout
            .contains("complete: x.bin, 192.0 KiB verified; 0 B down"),
        "{ended:?}"
    );
}

#[test]
fn a_directory_that_cannot_be_made_ends_with_4() {
    let scene = Scene::new("bad-directory", 3 * PIECE);
    let ended = scene.run(&["x.torrent", "-o", "x.torrent/below", "--port", "0"]);
    assert_eq!(ended.code(), 4, "{ended:?}");
    assert!(ended.stderr.starts_with("error[disk."), "{ended:?}");
}

#[test]
fn what_is_advised_fits_what_went_wrong() {
    let scene = Scene::new("advice", 3 * PIECE);
    std::fs::create_dir_all(scene.path("pipe/x.bin")).expect("the scene can be written to");
    std::fs::create_dir(scene.path("long")).expect("the scene can be written to");
    scene.write("long/x.bin", &[0; 4 * PIECE]);
    for (dir, kind, advice) in [
        ("pipe", "disk.not-regular", "move it away"),
        ("long", "disk.longer", "--force lets it be cut"),
    ] {
        let ended = scene.run(&["x.torrent", "-o", dir, "--port", "0"]);
        assert_eq!(ended.code(), 4, "{ended:?}");
        let line = format!("error[{kind}]: ");
        assert!(ended.stderr.starts_with(&line), "{ended:?}");
        assert!(ended.stderr.contains(advice), "{ended:?}");
    }
}

#[test]
fn nothing_that_moves_for_the_time_allowed_ends_with_5() {
    let scene = Scene::new("stalled", 3 * PIECE);
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = deaf.local_addr().expect("it is bound").to_string();
    let arguments = [
        "x.torrent",
        "-o",
        "out",
        "--port",
        "0",
        "--stop-timeout",
        "1s",
        "--peers",
    ];
    let ended = scene.run(&[&arguments[..], &[&address]].concat());
    assert_eq!(ended.code(), 5, "{ended:?}");
    assert!(
        ended.stderr.starts_with("error[peers.stalled]"),
        "{ended:?}"
    );
}

#[test]
fn demo_ends_with_0_and_leaves_nothing_and_no_control_sequences() {
    let scene = Scene::new("demo", 10);
    let before = demo_directories();
    let ended = scene.run(&["demo", "--size", "3M", "--use-progress-bar"]);
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(
        ended
            .stdout
            .contains("complete: demo.bin, 3.0 MiB verified"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("byte for byte the same"), "{ended:?}");
    assert_eq!(
        format!("{ended:?}").matches("iB/s").count(),
        1,
        "one rate: {ended:?}"
    );
    let all = ended.stdout + &ended.stderr;
    assert!(
        !all.contains(|c: char| c.is_control() && c != '\n'),
        "{all:?}"
    );
    assert_eq!(demo_directories(), before);
}

/// Directories of demos whose process is gone.
fn demo_directories() -> Vec<std::ffi::OsString> {
    let entries = std::fs::read_dir(std::env::temp_dir()).expect("there is one");
    let names = entries.flatten().map(|entry| entry.file_name());
    let demo = "minitorrent-demo-";
    let running = |name: &str| {
        std::path::Path::new("/proc")
            .join(&name[demo.len()..])
            .exists()
    };
    names
        .filter(|name| {
            name.to_str()
                .is_some_and(|name| name.starts_with(demo) && !running(name))
        })
        .collect()
}

#[test]
fn what_the_system_refuses_ends_with_1() {
    let scene = Scene::new("no-descriptors", 3 * PIECE);
    let program = env!("CARGO_BIN_EXE_minitorrent");
    let ended = Command::new("sh")
        // Whoever runs the tests may have left descriptors open.
        .args([
            "-c",
            "exec 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&-; ulimit -n 4; exec \"$@\"",
        ])
        .args(["sh", program])
        .args(["seed", "x.torrent", "-o", "seed", "--port", "0"])
        .current_dir(scene.path("."))
        .output()
        .expect("there is a shell");
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{stderr}");
    assert!(stderr.starts_with("error[system]: cannot "), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn a_second_process_on_the_same_torrent_ends_with_7_and_names_the_first() {
    let scene = Scene::new("locked", 3 * PIECE);
    let (_first, _) = Running::seeder(&scene, &[]);
    let second = scene.run(&["seed", "x.torrent", "-o", "seed", "--port", "0"]);
    assert_eq!(second.code(), 7, "{second:?}");
    assert!(
        second.stderr.starts_with("error[state.locked]: process "),
        "{second:?}"
    );
    // Looking is allowed all the same.
    assert_eq!(scene.run(&["check", "x.torrent", "-o", "seed"]).code(), 0);
}

#[test]
fn two_processes_never_write_the_same_files_whatever_their_state_directories() {
    let scene = Scene::new("claimed", 20 * PIECE);
    let (_seeder, address) = Running::seeder(&scene, &["--max-upload-rate", "64k"]);
    let start = |state: &str| scene.start_download(&address, &["--state-dir", state]);
    let first = start("one");
    // It has written something: the file is there, and is claimed.
    until(|| scene.path("out/x.bin").exists());
    let second = start("two").end();
    assert_eq!(second.code(), 7, "{second:?}");
    let line = "error[state.locked]: cannot use out/x.bin: another process";
    assert!(second.stderr.contains(line), "{second:?}");
    // Nothing but the file is there, and a seeder may read it once the first has ended, however it ended.
    let names = std::fs::read_dir(scene.path("out")).expect("it was made");
    assert_eq!(names.count(), 1);
    first.signal("-KILL");
    drop(first);
    let mut third = start("two");
    third.line_with("\"connected\"");
}

#[test]
fn another_torrent_in_the_same_directory_is_not_in_the_way() {
    let scene = Scene::new("side-by-side", 20 * PIECE);
    let (_seeder, address) = Running::seeder(&scene, &["--max-upload-rate", "64k"]);
    let _first = scene.start_download(&address, &[]);
    until(|| scene.path("out/x.bin").exists());
    let info = scene.payload[..PIECE].to_vec();
    let other = torrent(&info, None);
    let at = other.windows(5).position(|part| part == b"x.bin");
    let mut other = other;
    other[at.expect("its name")] = b'y';
    scene.write("y.torrent", &other);
    scene.write("out/y.bin", &info);
    let ended = scene.run(&["y.torrent", "-o", "out", "--port", "0"]);
    assert_eq!(ended.code(), 0, "{ended:?}");
}

#[test]
fn the_configuration_file_sets_what_the_command_line_does_not() {
    let scene = Scene::new("config", 3 * PIECE);
    let (one, two) = (free_port(), free_port());
    let file = format!(
        "{{\"listening_port\": \"{one}\", \"max_listening_port\": {one}, \"_note\": 1, \"dht\": false,\n\
         \"udp_tracker_receive_size\": 16384, \"sequential\": true, \"lsd\": 0}}"
    );
    scene.write("config.json", file.as_bytes());
    let seed = ["seed", "x.torrent", "-o", "seed", "--json"];
    let mut seeder = scene.start(&seed);
    let meaningless = seeder.line_with("\"config.meaningless\"");
    assert!(
        meaningless.contains("./config.json: without meaning"),
        "{meaningless}"
    );
    assert_eq!(
        number(&seeder.line_with("\"started\""), "port"),
        u64::from(one)
    );
    seeder.signal("-INT");
    let ended = seeder.end();
    let unknown = "warning[config.unknown]: ./config.json: unknown: sequential; left out\n";
    assert!(ended.stderr.contains(unknown), "{ended:?}");
    // It is read, never written.
    let after = std::fs::read_to_string(scene.path("config.json")).expect("it is there");
    assert_eq!(after, file);

    let mut seeder = scene.start(&[&seed[..], &["--port", &two.to_string()]].concat());
    assert_eq!(
        number(&seeder.line_with("\"started\""), "port"),
        u64::from(two)
    );
}

#[test]
fn a_bad_configuration_ends_with_2_if_it_was_named_and_is_skipped_if_it_was_found() {
    let scene = Scene::new("bad-config", 3 * PIECE);
    scene.write("bad.json", b"{\n  \"max_peers\": \"many\"\n}");
    let quiet = ["--no-dht", "--no-lsd"];
    let run = [&["x.torrent", "-o", "seed", "--port", "0"], &quiet[..]].concat();
    let named = scene.run(&[&run[..], &["--config", "bad.json"]].concat());
    assert_eq!(named.code(), 2, "{named:?}");
    assert_eq!(
        named.stderr,
        "error[usage]: bad.json: line 2: max_peers: a whole number from 1 to 10000 is needed, \
         nothing was started, see --help\n"
    );
    for (name, why) in [
        ("absent.json", "there is no such file"),
        ("seed", "not a regular file"),
    ] {
        let ended = scene.run(&[&run[..], &["--config", name]].concat());
        assert_eq!(ended.code(), 2, "{ended:?}");
        assert!(ended.stderr.contains(why), "{ended:?}");
    }
    std::fs::rename(scene.path("bad.json"), scene.path("config.json")).expect("one directory");
    let found = scene.run(&run);
    assert_eq!(found.code(), 0, "{found:?}");
    assert!(
        found
            .stderr
            .starts_with("warning[config.skipped]: ./config.json: line 2: max_peers"),
        "{found:?}"
    );
}

#[test]
fn the_log_goes_to_its_file_and_a_hangup_opens_it_anew() {
    let scene = Scene::new("log", 3 * PIECE);
    scene.write(
        "config.json",
        b"{\"unknown\": 1, \"dht\": false, \"lsd\": false}",
    );
    let more = ["--log-file", "log", "--log-level", "debug"];
    let (seeder, _) = Running::seeder(&scene, &more);
    let log = std::fs::read_to_string(scene.path("log")).expect("it was made");
    let line = log.lines().find(|line| line.contains("config.unknown"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    assert!(
        line.starts_with("20") && line.as_bytes()[19] == b'Z',
        "{line}"
    );
    std::fs::rename(scene.path("log"), scene.path("log.1")).expect("one directory");
    seeder.signal("-HUP");
    until(|| scene.path("log").exists());
    seeder.signal("-INT");
    assert_eq!(seeder.end().code(), 0);
    let no_file = scene.run(&["x.torrent", "-o", "seed", "--log-file", "absent/log"]);
    assert_eq!(no_file.code(), 2, "{no_file:?}");
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
fn without_datagrams_udp_trackers_are_skipped() {
    let scene = Scene::new("tcp-only", 3 * PIECE);
    let bytes = torrent(&scene.payload, Some("UDP://127.0.0.1:9/announce"));
    scene.write("t.torrent", &bytes);
    let ended = scene.run(&["t.torrent", "-o", "out", "--port", "0", "--tcp-only"]);
    assert_eq!(ended.code(), 5, "{ended:?}");
    assert!(
        ended.stderr.starts_with(
            "warning[tracker.udp]: no datagrams are sent, so 1 UDP trackers are skipped\n\
             error[peers.none]"
        ),
        "{ended:?}"
    );
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

#[test]
fn bash_completes_options_commands_and_words() {
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/docs/packaging/completions/minitorrent.bash"
    );
    let complete = |words: &str| {
        let count = words.split_whitespace().count() - 1;
        let program = format!(
            "source '{script}'; COMP_WORDS=({words}); COMP_CWORD={count}; _minitorrent 2>/dev/null; \
             printf '%s ' \"${{COMPREPLY[@]}}\""
        );
        let ended = Command::new("bash")
            .args(["-c", &program])
            .output()
            .expect("bash is there");
        String::from_utf8_lossy(&ended.stdout).trim().to_owned()
    };
    assert_eq!(complete("minitorrent --stop"), "--stop-timeout");
    assert_eq!(complete("minitorrent --progress j"), "json");
    assert_eq!(complete("minitorrent dem"), "demo");
    assert_eq!(complete("minitorrent demo --si"), "--size");
    assert_eq!(complete("minitorrent seed --si"), "");
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("0.0.0.0:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
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

/// Asks until it is so.
#[expect(clippy::disallowed_methods, reason = "another process is waited for")]
fn until(is_so: impl Fn() -> bool) {
    for _ in 0..500 {
        if is_so() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("it did not come to be within ten seconds");
}
