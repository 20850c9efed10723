//! Torrent files that the real program makes, and parts of them that it fetches, on 127.0.0.1.

mod program;

use std::fs;

use program::{Ended, PIECE, Scene, number};

/// Three files in `seed/d`; they end within pieces of 64 KiB.
fn three_files(name: &str) -> Scene {
    let scene = Scene::new(name, 10 * PIECE);
    fs::create_dir(scene.path("seed/d")).expect("a new directory");
    for (file, range) in FILES {
        scene.write(&format!("seed/d/{file}"), &scene.payload[range]);
    }
    let ended = scene.run(&[
        "create",
        "seed/d",
        "-o",
        "x.torrent",
        "--force",
        "--piece-length",
        "64k",
    ]);
    assert_eq!(ended.code(), 0, "{ended:?}");
    scene
}

fn is_there(scene: &Scene, at: usize) -> bool {
    let (file, range) = FILES[at].clone();
    let bytes = fs::read(scene.path(&format!("out/d/{file}")));
    bytes.is_ok_and(|bytes| bytes == scene.payload[range])
}

fn downloaded(ended: &Ended) -> u64 {
    number(ended.stdout.lines().last().expect("an event"), "downloaded")
}

#[test]
fn a_selected_file_comes_alone_and_the_others_later_without_what_came_along() {
    let scene = three_files("select");
    let (_seeder, address) = program::Running::seeder(&scene, &[]);
    let ended = scene.download(&address, &["--select", "2"]);
    assert_eq!(ended.code(), 0, "{ended:?}");
    // The second file touches pieces 2 to 4.
    assert_eq!(downloaded(&ended), 3 * PIECE as u64);
    assert!(is_there(&scene, 1));
    assert!(!scene.path("out/d/a.bin").exists() && !scene.path("out/d/c.bin").exists());
    assert!(scene.path("out/.d.parts").exists());
    let again = scene.download(&address, &["--select", "b.*"]);
    assert_eq!((again.code(), downloaded(&again)), (0, 0), "{again:?}");
    let ended = scene.download(&address, &[]);
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert_eq!(downloaded(&ended), 7 * PIECE as u64);
    assert!((0..3).all(|at| is_there(&scene, at)));
    // Nothing is left that it would be needed for.
    assert!(!scene.path("out/.d.parts").exists());
}

#[test]
fn nothing_selected_is_an_error() {
    let scene = three_files("select-none");
    let ended = scene.download("127.0.0.1:1", &["--select", "4"]);
    assert_eq!(ended.code(), 2, "{ended:?}");
    assert!(
        ended.stderr.starts_with("error[torrent.select]: "),
        "{ended:?}"
    );
}

#[test]
fn a_limit_holds_and_a_ratio_ends_the_seeder() {
    let scene = three_files("limits");
    let (seeder, address) =
        program::Running::seeder(&scene, &["--max-upload-rate", "400k", "--seed-ratio", "1"]);
    let ended = scene.download(&address, &["--sequential"]);
    assert_eq!(ended.code(), 0, "{ended:?}");
    let last = ended.stdout.lines().last().expect("an event");
    let event: serde_json::Value = serde_json::from_str(last).expect("a JSON line");
    // 640 KiB, of which two helpings of a tenth of a second may come at once.
    let seconds = event["seconds"].as_f64().expect("a number");
    assert!(seconds > 1.3, "{seconds}");
    assert_eq!(seeder.end().code(), 0);
}

#[test]
fn what_is_made_is_not_overwritten_and_the_same_files_make_the_same_bytes() {
    let scene = three_files("create");
    let arguments = [
        "create",
        "seed/d",
        "-o",
        "y.torrent",
        "--piece-length",
        "64k",
    ];
    assert_eq!(scene.run(&arguments).code(), 0);
    let read = |name: &str| fs::read(scene.path(name)).expect("it was made");
    assert_eq!(read("x.torrent"), read("y.torrent"));
    let ended = scene.run(&arguments);
    assert_eq!(ended.code(), 2, "{ended:?}");
    let line = "error[usage]: y.torrent is there already (--force replaces it), ";
    assert!(ended.stderr.starts_with(line), "{ended:?}");
    assert_eq!(read("x.torrent"), read("y.torrent"));
}

const FILES: [(&str, std::ops::Range<usize>); 3] = [
    ("a.bin", 0..2 * PIECE + 1000),
    ("b.bin", 2 * PIECE + 1000..4 * PIECE + 7),
    ("c.bin", 4 * PIECE + 7..10 * PIECE),
];
