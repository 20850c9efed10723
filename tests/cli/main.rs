//! The command line as scripts see it: exit statuses, messages, and what is written where.

mod answers;
#[path = "../program/mod.rs"]
mod program;

use std::process::Command;

use program::{PIECE, Running, Scene, number, torrent};

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
            "error[torrent.select]: d: none of its 3 files is in 9, *.iso, it is left out; \
             `show` lists its files",
        ),
        (
            "x.torrent --select b?n",
            "error[torrent.select]: x.bin: its only file is not in b?n, ",
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
            "x.torrent --ipv6 --ipv4",
            "error[usage]: --ipv4 and --ipv6 exclude each other; without them both families are used, ",
        ),
        (
            "d.torrent --save-torrent saved.torrent",
            "error[usage]: --save-torrent keeps what a magnet link or an info-hash stands for, \
             and all that is named is a torrent file already, nothing was started",
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
            "create absent",
            "error[create]: absent: there is no such file or directory, no torrent was made",
        ),
        (
            "create d/empty -o out",
            "error[create]: d/empty: there is no content, no torrent was made",
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
        assert!(!scene.path("saved.torrent").exists(), "{line}");
    }
}

#[test]
fn an_empty_file_that_is_selected_alone_is_made_without_asking_anybody() {
    let scene = Scene::new("empty", 10);
    std::fs::create_dir(scene.path("d")).expect("the scene can be written to");
    scene.write("d/a.txt", b"a");
    scene.write("d/empty", b"");
    let made = scene.run(&["create", "d", "-o", "d.torrent"]);
    assert_eq!(made.code(), 0, "{made:?}");
    let fetch = ["d.torrent", "-o", "out", "--port", "0", "--select", "2"];
    // And once more, when it is there.
    for _ in 0..2 {
        let ended = scene.run(&fetch);
        assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
        assert_eq!(std::fs::read(scene.path("out/d/empty")).expect("made"), b"");
        assert!(!scene.path("out/d/a.txt").exists());
    }
    // There is nothing in it that could be hashed or sent.
    for command in ["check", "seed"] {
        let ended = scene.run(&[command, "d.torrent", "-o", "out", "--select", "2"]);
        let line = "error[torrent.select]: d: there is nothing in the files of 2, ";
        assert_eq!(ended.code(), 2, "{ended:?}");
        assert!(ended.stderr.starts_with(line), "{ended:?}");
    }
}

#[test]
fn a_choice_that_no_file_is_in_is_named_and_the_others_are_fetched() {
    let scene = Scene::new("choice", 3 * PIECE);
    let all = ["x.torrent", "-o", "seed", "--port", "0"];
    let more = ["--select", "*.bin,7", "--first", "*.txt"];
    let ended = scene.run(&[&all[..], &more].concat());
    assert_eq!(ended.code(), 0, "{ended:?}");
    let line = "warning[torrent.select]: no file is in 7, *.txt\n";
    assert_eq!(ended.stderr, line);
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
fn what_was_fetched_with_a_choice_of_files_is_checked_and_seeded_with_it() {
    let scene = Scene::new("seed-some", 5 * PIECE);
    std::fs::create_dir(scene.path("d")).expect("the scene can be written to");
    // The middle one has a part in both pieces at its borders, which is kept apart.
    let (a, b) = (PIECE + 1000, 4 * PIECE - 1000);
    scene.write("d/a", &scene.payload[..a]);
    scene.write("d/b", &scene.payload[a..b]);
    scene.write("d/c", &scene.payload[b..]);
    let made = ["create", "d", "-o", "d.torrent", "--piece-length", "64k"];
    assert_eq!(scene.run(&made).code(), 0);
    let seed = |dir, more: &[&str]| {
        let all = ["seed", "d.torrent", "-o", dir, "--port", "0", "--json"];
        let mut seeder = scene.start(&[&all[..], more].concat());
        let port = number(&seeder.line_with("\"started\""), "port");
        while number(&seeder.line_with("\"progress\""), "pieces") == 0 {}
        (seeder, format!("127.0.0.1:{port}"))
    };
    let fetch = |dir, peer: &str| {
        let all = ["d.torrent", "-o", dir, "--port", "0", "--select", "a,3"];
        let ended = scene.run(&[&all[..], &["--peers", peer]].concat());
        assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
        let names = ["a", "b", "c"].map(|name| scene.path(&format!("{dir}/d/{name}")).exists());
        assert_eq!(names, [true, false, true]);
    };
    let (whole, address) = seed(".", &[]);
    fetch("one", &address);
    drop(whole);
    let (some, address) = seed("one", &["--select", "a,3"]);
    fetch("two", &address);
    drop(some);
    let check = |more: &[&str]| {
        let ended = scene.run(&[&["check", "d.torrent", "-o", "two"], more].concat());
        (ended.code(), ended.stdout)
    };
    let complete = String::from("d: complete, 4 of 4 pieces\n");
    assert_eq!(check(&["--select", "a,3"]), (0, complete));
    assert_eq!(check(&[]).0, 8);
    let all = ["seed", "d.torrent", "-o", "one", "--port", "0"];
    assert_eq!(scene.run(&all).code(), 8);
}

#[test]
fn a_seeder_that_is_stopped_says_what_it_seeded() {
    let scene = Scene::new("seeded", 3 * PIECE);
    let mut lines = vec!["seed", "x.torrent", "-o", "seed", "--port", "0"];
    lines.extend(["--progress", "lines"]);
    let mut seeder = scene.start(&lines);
    seeder.line_with("seeding");
    seeder.signal("-TERM");
    let ended = seeder.end();
    assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
    let said = ended.stdout.lines().last().expect("a line at the end");
    assert!(said.starts_with("seeded: x.bin, 192.0 KiB for "), "{said}");
    assert!(said.ends_with("; 0 B up (ratio 0.00)"), "{said}");
}

#[test]
fn who_has_not_everything_is_told_that_it_can_not_be_the_only_seed() {
    let scene = Scene::new("super-seed", 3 * PIECE);
    let warning = "warning[torrent.super-seed]: ";
    let run = ["x.torrent", "--super-seed", "--seed-time", "1s"];
    let here = |dir| [&run[..], &["-o", dir, "--port", "0"]].concat();
    let whole = scene.run(&here("seed"));
    assert_eq!((whole.code(), whole.stderr.as_str()), (0, ""));
    std::fs::create_dir(scene.path("part")).expect("the scene can be written to");
    scene.write("part/x.bin", &scene.payload[..2 * PIECE]);
    let part = scene.run(&here("part"));
    let said = "2 of 3 pieces are there: it is fetched and seeded as without --super-seed\n";
    let said = [warning, said].concat();
    assert!(part.stderr.starts_with(&said), "{part:?}");
    assert_eq!(part.code(), 5, "{part:?}");
    // Who never fetches says what is wrong by its end.
    let ended = scene.run(&[&["seed"], &here("part")[..]].concat());
    assert_eq!(ended.code(), 8, "{ended:?}");
    assert!(!ended.stderr.contains(warning), "{ended:?}");
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
    let pipe = "error[disk.not-regular]: ";
    let long =
        "error[disk.longer]: cannot use long/x.bin: it has 262144 bytes rather than 196608, ";
    for (words, line, advice) in [
        ("-o pipe --port 0", pipe, "move it away"),
        ("-o long --port 0", long, "; --force lets it be cut, "),
        // These do not take --force.
        ("seed -o long --port 0", long, "; a download with --force "),
        ("check -o long", long, "; a download with --force "),
    ] {
        let words: Vec<&str> = words.split(' ').chain(["x.torrent"]).collect();
        let ended = scene.run(&words);
        assert_eq!(ended.code(), 4, "{ended:?}");
        assert!(ended.stderr.starts_with(line), "{ended:?}");
        assert!(ended.stderr.contains(advice), "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
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
fn a_change_that_keeps_size_and_time_is_found_by_recheck() {
    let scene = Scene::new("recheck", 400 * PIECE);
    let done = scene.run(&["x.torrent", "-o", "seed", "--port", "0"]);
    assert_eq!(done.code(), 0, "{done:?}");
    let path = scene.path("seed/x.bin");
    let time = std::fs::metadata(&path).and_then(|found| found.modified());
    let mut bytes = scene.payload.clone();
    bytes[7 * PIECE] ^= 1;
    scene.write("seed/x.bin", &bytes);
    let file = std::fs::File::options().write(true).open(&path);
    let set = file.and_then(|file| file.set_modified(time.expect("it is there")));
    set.expect("it is ours");
    let seed = ["seed", "x.torrent", "-o", "seed", "--port", "0"];
    let ended = scene.run(&[&seed[..], &["--seed-time", "1s", "--recheck"]].concat());
    assert_eq!(ended.code(), 8, "{ended:?}");
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
    let (seeder, address) = Running::seeder(&scene, &more);
    let log = || std::fs::read_to_string(scene.path("log")).expect("it was made");
    assert_eq!(scene.download(&address, &[]).code(), 0);
    until(|| log().contains(" connected: -MI") && log().contains(" has gone: "));
    let log = log();
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
