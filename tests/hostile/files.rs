//! Files that are not what they were, or never were what they should be.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;
use std::time::Duration;

use crate::kit::{Target, message, numbers, read_message};
use crate::program::judge::judge;
use crate::program::{PIECE, Running, Scene};

/// Somebody asks for every block; what is given must be true. Gives how much was.
fn true_blocks(target: &Target, number: u8) -> usize {
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
    let mut given = 0;
    while let Some((id, body)) = read_message(&mut stream) {
        if id == 7 {
            let index = u32::from_be_bytes(body[..4].try_into().expect("four")) as usize;
            assert!(body[8..] == target.payload[index * PIECE..][..777], "a lie");
            given += 1;
        }
    }
    given
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
        assert!(matches!(code, 0 | 4 | 6), "{name}: {ended:?}");
        judge(&scene, &ended, code);
        // And after a new start, when all files are opened again.
        let again = scene.run(&["check", "x.torrent", "-o", "seed"]);
        let whole = matches!(name, "forbidden" | "grown");
        assert!(whole || again.code() != 0, "{name}: {again:?}");
    }
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
