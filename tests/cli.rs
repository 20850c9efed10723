//! The command line as scripts see it: exit statuses, messages, and what is written where.

mod program;

use std::process::{Command, Stdio};

use program::{PIECE, Scene, torrent};

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
    assert!(!help.stdout.contains("--sequential"));
    let version = scene.run(&["--version"]);
    assert_eq!(
        version.stdout,
        format!("minitorrent {}\n", env!("CARGO_PKG_VERSION"))
    );
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    let full = full.expect("every Linux has it");
    let status = Command::new(env!("CARGO_BIN_EXE_minitorrent"))
        .arg("--help")
        .stdout(full)
        .stderr(Stdio::null())
        .status();
    assert_eq!(status.expect("the program was built").code(), Some(0));
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
    // Not even the directory is there: more likely a slip, or a disk that is not mounted.
    assert_eq!(none.code(), 4, "{none:?}");
    assert!(!scene.path("absent").exists());
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
