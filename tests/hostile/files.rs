//! Files that are not what they were, or never were what they should be.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::process::Command;
use std::time::Duration;

use crate::kit::{Target, message, numbers, read_message};
use crate::program::judge::judge;
use crate::program::{PIECE, Running, Scene};
use crate::stage::fetch;

/// Somebody asks for every block; what is given must be true. Gives how much was.
fn true_blocks(target: &Target, number: u8) -> usize {
    let (given, lies) = blocks(target, number);
    assert_eq!(lies, 0, "of {given}");
    given
}

/// Somebody asks for a block of every piece. Gives how many come, and how many of these are not what they should be.
fn blocks(target: &Target, number: u8) -> (usize, usize) {
    let mut stream = target.peer(number);
    stream
        .set_read_timeout(Some(Duration::from_millis(500)))
        .expect("TCP");
    stream.write_all(&message(2, &[])).expect("it reads");
    while let Some((id, _)) = read_message(&mut stream) {
        if id == 1 {
            break;
        }
    }
    for index in 0..target.pieces() as u32 {
        let request = message(6, &numbers([index, 0, 777]));
        // It may hang up when it sees what has become of its files.
        let _ = stream.write_all(&request);
    }
    let (mut given, mut lies) = (0, 0);
    while let Some((id, body)) = read_message(&mut stream) {
        if id == 7 {
            let index = u32::from_be_bytes(body[..4].try_into().expect("four")) as usize;
            lies += usize::from(body[8..] != target.payload[index * PIECE..][..777]);
            given += 1;
        }
    }
    (given, lies)
}

#[test]
fn h5_whatever_becomes_of_a_file_that_is_seeded_nothing_else_is_served() {
    let others = |scene: &Scene| vec![0x55; scene.payload.len()];
    type Change = fn(&Scene, Vec<u8>);
    let changes: [(&str, Change); 6] = [
        ("deleted", |scene, _| {
            fs::remove_file(scene.path("seed/x.bin")).expect("done")
        }),
        ("cut", |scene, _| {
            let file = File::options().write(true).open(scene.path("seed/x.bin"));
            file.expect("it is there").set_len(100).expect("done");
        }),
        ("grown", |scene, _| {
            let file = File::options().append(true).open(scene.path("seed/x.bin"));
            file.expect("it is there")
                .write_all(&[7; 5000])
                .expect("done");
        }),
        ("directory", |scene, _| {
            fs::remove_file(scene.path("seed/x.bin")).expect("done");
            fs::create_dir(scene.path("seed/x.bin")).expect("done");
        }),
        ("symlink", |scene, other| {
            scene.write("other.torrent", &other);
            fs::remove_file(scene.path("seed/x.bin")).expect("done");
            symlink(scene.path("other.torrent"), scene.path("seed/x.bin")).expect("done");
        }),
        ("forbidden", |scene, _| {
            let mode = fs::Permissions::from_mode(0o0);
            fs::set_permissions(scene.path("seed/x.bin"), mode).expect("done");
        }),
    ];
    for (name, change) in changes {
        let scene = Scene::new(&format!("hostile-h5-{name}"), 12 * PIECE + 777);
        let (seeder, address) = Running::seeder(&scene, &[]);
        let target = Target::of(&scene, &address);
        assert_eq!(true_blocks(&target, 2), 13, "before");
        change(&scene, others(&scene));
        true_blocks(&target, 3);
        seeder.signal("-INT");
        let ended = seeder.end();
        let code = ended.code();
        match name {
            "cut" => assert_eq!(code, 8, "{ended:?}"),
            _ => assert!(matches!(code, 0 | 4 | 6), "{name}: {ended:?}"),
        }
        judge(&scene, &ended, code);
        // And after a new start, when all files are opened again.
        let again = scene.run(&["check", "x.torrent", "-o", "seed"]);
        let whole = matches!(name, "forbidden" | "grown");
        assert!(whole || again.code() != 0, "{name}: {again:?}");
    }
}

/// Of the same length and time again: only its hash tells, or the time at which that was done.
#[test]
fn h6_what_is_hashed_before_it_is_sent_is_true_whoever_wrote_to_the_file() {
    for verifies in [false, true] {
        let scene = Scene::new(&format!("hostile-h6-{verifies}"), 12 * PIECE + 777);
        let options: &[&str] = if verifies {
            &["--verify-on-upload"]
        } else {
            &[]
        };
        let (seeder, address) = Running::seeder(&scene, options);
        let target = Target::of(&scene, &address);
        assert_eq!(blocks(&target, 2), (13, 0), "before");
        fetch(&scene, &address, "clean-before");
        let path = scene.path("seed/x.bin");
        let was = fs::metadata(&path).and_then(|was| was.modified());
        let file = File::options()
            .write(true)
            .open(&path)
            .expect("it is there");
        file.write_all_at(&[0x55; PIECE], 3 * PIECE as u64)
            .expect("done");
        file.set_modified(was.expect("known")).expect("done");
        drop(file);
        if verifies {
            let (given, lies) = blocks(&target, 3);
            assert!(given < 13 && lies == 0, "{lies} of {given}");
            // Who comes now hears that the piece is not there, and gets the others.
            assert_eq!(blocks(&target, 4), (12, 0));
        } else {
            assert_eq!(blocks(&target, 3), (13, 1), "nobody looks");
        }
        seeder.signal("-INT");
        let ended = seeder.end();
        judge(&scene, &ended, if verifies { 8 } else { 0 });
        let said = ended.stderr.matches("seed/x.bin").count();
        assert_eq!(said, usize::from(verifies), "{ended:?}");
        // Not to seed again, which would end as this did.
        let advice = "x.bin (12 of 13 pieces): some of the data is not there, run a download to fetch the rest\n";
        assert_eq!(ended.stderr.ends_with(advice), verifies, "{ended:?}");
    }
}

/// Takes a block of each piece, writes over one piece of `seed/x.bin`, and asks again: that one does not come.
fn lose_a_piece(scene: &Scene, address: &str) {
    let target = Target::of(scene, address);
    assert_eq!(blocks(&target, 2), (13, 0));
    let file = File::options().write(true).open(scene.path("seed/x.bin"));
    file.expect("it is there")
        .write_all_at(&[0x55; PIECE], 3 * PIECE as u64)
        .expect("done");
    assert_eq!(blocks(&target, 3).1, 0);
}

#[test]
fn h6_a_seed_that_lost_a_piece_still_ends_when_it_has_seeded_enough() {
    let scene = Scene::new("hostile-h6-enough", 12 * PIECE + 777);
    // Each time 13 requests of 777 bytes are an eightieth of it.
    let more = ["--verify-on-upload", "--seed-ratio", "0.02"];
    let (seeder, address) = Running::seeder(&scene, &more);
    lose_a_piece(&scene, &address);
    judge(&scene, &seeder.end(), 8);
}

#[test]
fn h6_a_download_that_lost_a_piece_while_it_seeded_is_not_complete() {
    let scene = Scene::new("hostile-h6-lost", 12 * PIECE + 777);
    let again = [
        "x.torrent",
        "-o",
        "seed",
        "--port",
        "0",
        "--json",
        "--peers",
        "127.0.0.9:9",
    ];
    let more = ["--no-dht", "--no-lsd", "--seed", "--verify-on-upload"];
    let (seeder, address) = Running::with_all(&scene, &[&again[..], &more].concat());
    lose_a_piece(&scene, &address);
    seeder.signal("-INT");
    judge(&scene, &seeder.end(), 6);
}

#[test]
fn h10_what_is_there_is_kept_unless_it_is_a_wrong_piece_of_a_regular_file() {
    let scene = Scene::new("hostile-h10", 12 * PIECE + 777);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    let fetch = |more: &[&str]| scene.download(&address, more);
    let fresh = || {
        let _ = fs::remove_dir_all(scene.path("out"));
        let _ = fs::remove_dir_all(scene.path("state"));
        fs::create_dir(scene.path("out")).expect("done");
    };
    // Other content of the same size, one piece of it right: that one is not fetched.
    fresh();
    let mut other = vec![0x55; scene.payload.len()];
    other[3 * PIECE..4 * PIECE].copy_from_slice(&scene.payload[3 * PIECE..4 * PIECE]);
    scene.write("out/x.bin", &other);
    let ended = fetch(&[]);
    judge(&scene, &ended, 0);
    assert!(scene.is_complete("out/x.bin"));
    let complete = ended
        .stdout
        .lines()
        .find(|line| line.contains("\"complete\""));
    let downloaded = crate::program::number(complete.expect("said"), "downloaded");
    assert_eq!(downloaded as usize, scene.payload.len() - PIECE);

    // A longer one is the user's.
    fresh();
    let longer = [&scene.payload[..], b"and more"].concat();
    scene.write("out/x.bin", &longer);
    let ended = fetch(&[]);
    judge(&scene, &ended, 4);
    assert!(ended.stderr.starts_with("error[disk.longer]"), "{ended:?}");
    assert_eq!(fs::read(scene.path("out/x.bin")).expect("kept"), longer);
    judge(&scene, &fetch(&["--force"]), 0);
    assert!(scene.is_complete("out/x.bin"));

    // What is no file is not replaced, nor followed.
    scene.write("other.torrent", b"somebody else's");
    let make: [fn(&Scene); 3] = [
        |scene| fs::create_dir(scene.path("out/x.bin")).expect("done"),
        |scene| symlink(scene.path("other.torrent"), scene.path("out/x.bin")).expect("done"),
        |scene| {
            let made = Command::new("mkfifo").arg(scene.path("out/x.bin")).status();
            assert!(made.is_ok_and(|status| status.success()));
        },
    ];
    for make in make {
        fresh();
        make(&scene);
        let ended = fetch(&[]);
        judge(&scene, &ended, 4);
        assert!(
            ended.stderr.starts_with("error[disk.not-regular]"),
            "{ended:?}"
        );
    }
    let other = fs::read(scene.path("other.torrent")).expect("kept");
    assert_eq!(other, b"somebody else's");

    // A hard link is a regular file: its wrong pieces are mended, under both names.
    fresh();
    scene.write("out-before", &vec![0x55; scene.payload.len()]);
    fs::hard_link(scene.path("out-before"), scene.path("out/x.bin")).expect("done");
    judge(&scene, &fetch(&[]), 0);
    assert!(scene.is_complete("out/x.bin"));
}
