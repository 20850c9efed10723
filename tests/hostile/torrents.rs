//! Torrent files that mean harm, and honest ones that are large: each in a process with 256 KiB of stack and little
//! more memory than its size.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::program::judge::judge;
use crate::program::{Ended, Scene};

/// Bytes of memory for the program itself, whatever it reads (stack and files not counted).
const OWN: usize = 8 << 20;

/// `show` with so many bytes of data at most; gives the processor time it took too.
fn shown(scene: &Scene, file: &Path, memory: usize) -> (Ended, Duration) {
    let script = format!(
        "ulimit -s 256; ulimit -d {}; {} show \"$1\" >/dev/null; code=$?; times; exit $code",
        memory / 1024,
        env!("CARGO_BIN_EXE_minitorrent")
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &script, "sh"]).arg(file);
    let ended = scene.start_command(shell).end();
    // The second line is that of the shell's children: user and system time, as in 0m0.123s.
    let line = ended.stdout.lines().nth(1).expect("times are told");
    let seconds = line.split_ascii_whitespace().map(|time| {
        let (minutes, rest) = time.split_once('m').expect("minutes");
        let rest: f64 = rest.trim_end_matches('s').parse().expect("seconds");
        minutes.parse::<f64>().expect("minutes") * 60.0 + rest
    });
    let cpu = Duration::from_secs_f64(seconds.sum());
    (ended, cpu)
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [format!("{}:", bytes.len()).as_bytes(), bytes].concat()
}

/// A torrent with this within `info`, and this before it.
fn with(before: &[u8], info: &[u8]) -> Vec<u8> {
    [b"d".as_slice(), before, b"4:infod", info, b"ee"].concat()
}

fn one_file(more: &[u8]) -> Vec<u8> {
    let hashes = b"6:pieces20:aaaaaaaaaaaaaaaaaaaa";
    let info = b"6:lengthi9e4:name1:x12:piece lengthi16384e".as_slice();
    [info, hashes, more].concat()
}

fn many_files(paths: impl Iterator<Item = String>) -> Vec<u8> {
    let mut files = b"5:filesl".to_vec();
    for path in paths {
        files.extend(b"d6:lengthi0e4:pathl");
        for element in path.split('/') {
            files.extend(string(element.as_bytes()));
        }
        files.extend(b"ee");
    }
    files.extend(b"d6:lengthi9e4:pathl4:lasteee4:name1:x12:piece lengthi16384e");
    files.extend(b"6:pieces20:aaaaaaaaaaaaaaaaaaaa");
    with(b"", &files)
}

/// What means harm, with the kind of error it is to end with; none: it loads.
fn hostile() -> Vec<(Vec<u8>, Option<&'static str>)> {
    let depth = Some("torrent.depth");
    let lists = vec![b'l'; 1 << 20];
    let dictionaries = b"d1:a".repeat(1 << 18);
    let mut all = vec![
        (lists.clone(), depth),
        (dictionaries.clone(), depth),
        (with(&[b"1:a", &lists[..]].concat(), &one_file(b"")), depth),
        (
            with(b"", &one_file(&[b"1:z", &dictionaries[..]].concat())),
            depth,
        ),
        (lists[..60_000].to_vec(), depth),
        (b"d4:info18446744073709551615:x".to_vec(), None),
        (b"d4:info4294967296:x".to_vec(), None),
        (b"d4:info100000000000000000000:x".to_vec(), None),
        (b"99999999999999999999999999999999999999999".to_vec(), None),
        (Vec::new(), None),
        (b"\x1f\x8b\x08\0\0\0".to_vec(), None),
        (vec![0; 1 << 20], None),
        (
            many_files((0..20_000).map(|n| format!("{n}/{}", "x".repeat(100)))),
            None,
        ),
        (many_files((0..499).map(|_| "same".into())), None),
        (
            many_files((0..600).map(|_| "same".into())),
            Some("torrent.duplicate-names"),
        ),
        (
            many_files(std::iter::once("a/".repeat(3000) + "a")),
            Some("torrent.path-too-long"),
        ),
        (many_files(std::iter::once("y".repeat(1 << 20))), None),
        (
            many_files((0..5000).map(|n| format!("{}/../../../etc/{n}", "..\\".repeat(9)))),
            None,
        ),
    ];
    let tiers = [
        b"13:announce-listl".as_slice(),
        &b"l14:http://a.b/annee".repeat(100_000),
        b"e",
    ];
    all.push((with(&tiers.concat(), &one_file(b"")), None));
    let url = string(&[b"http://a.b/".as_slice(), &vec![b'u'; 1 << 20]].concat());
    all.push((
        with(&[b"8:announce".as_slice(), &url].concat(), &one_file(b"")),
        None,
    ));
    for length in [
        "0",
        "-1",
        "1152921504606846976",
        "2147483648",
        "-0",
        "07",
        "9999999999999999999999",
    ] {
        let info =
            format!("6:lengthi9e4:name1:x12:piece lengthi{length}e6:pieces20:aaaaaaaaaaaaaaaaaaaa");
        all.push((with(b"", info.as_bytes()), None));
        let info = format!(
            "6:lengthi{length}e4:name1:x12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaa"
        );
        all.push((with(b"", info.as_bytes()), None));
    }
    // Every beginning of an honest one, and it with each byte turned over.
    let honest = with(b"", &one_file(b"7:privatei1e"));
    for at in 0..honest.len() {
        all.push((honest[..at].to_vec(), None));
    }
    all
}

#[test]
fn a3_no_torrent_file_kills_it_in_256_kib_of_stack() {
    let scene = Scene::new("hostile-a3", 10);
    let mut files: Vec<(std::path::PathBuf, Option<&str>)> = Vec::new();
    for (number, (bytes, kind)) in hostile().into_iter().enumerate() {
        let name = format!("h{number}.torrent");
        scene.write(&name, &bytes);
        files.push((scene.path(&name), kind));
    }
    if let Some(corpus) = std::env::var_os("MINITORRENT_CORPUS") {
        let entries = fs::read_dir(corpus).expect("the corpus").flatten();
        let torrents = entries.map(|entry| entry.path());
        files.extend(
            torrents
                .filter(|it| it.extension().is_some_and(|end| end == "torrent"))
                .map(|it| (it, None)),
        );
    }
    for (file, kind) in files {
        let size = fs::metadata(&file).expect("it is there").len() as usize;
        let (ended, _) = shown(&scene, &file, 4 * size + OWN);
        let code = ended.code();
        assert!(matches!(code, 0 | 3), "{}: {ended:?}", file.display());
        judge(&scene, &ended, code);
        if let Some(kind) = kind {
            assert!(
                ended.stderr.starts_with(&format!("error[{kind}]")),
                "{ended:?}"
            );
        }
    }
}

#[test]
fn a20_half_a_million_pieces_load_in_a_tenth_of_a_second_and_eight_mebibytes_more() {
    let scene = Scene::new("hostile-a20", 10);
    let pieces = 500_000u64;
    let head = format!(
        "6:lengthi{}e4:name1:x12:piece lengthi16384e6:pieces{}:",
        pieces << 14,
        pieces * 20
    );
    let hashes: Vec<u8> = (0..pieces * 20).map(|n| (n % 251) as u8).collect();
    let bytes = with(b"", &[head.as_bytes(), &hashes].concat());
    scene.write("large.torrent", &bytes);
    let (ended, cpu) = shown(&scene, &scene.path("large.torrent"), bytes.len() + OWN);
    judge(&scene, &ended, 0);
    assert!(cpu <= Duration::from_millis(100), "{cpu:?}");
    scene.write("larger.torrent", &vec![b'd'; (32 << 20) + 1]);
    let (ended, _) = shown(&scene, &scene.path("larger.torrent"), OWN);
    judge(&scene, &ended, 3);
    assert!(
        ended.stderr.starts_with("error[torrent.too-large]"),
        "{ended:?}"
    );
}

#[test]
fn a15_two_hundred_thousand_files_load_in_a_second_and_120_mib() {
    let scene = Scene::new("hostile-a15", 10);
    let path = |n: usize| {
        format!(
            "directory {:03}/a file of an honest name {n:06}.bin",
            n / 500
        )
    };
    scene.write("many.torrent", &many_files((0..200_000).map(path)));
    let (ended, cpu) = shown(&scene, &scene.path("many.torrent"), 120 << 20);
    judge(&scene, &ended, 0);
    assert!(cpu <= Duration::from_secs(1), "{cpu:?}");
    // Clashes cost little too.
    let path = |n: usize| format!("a file {}", n / 2);
    scene.write("clash.torrent", &many_files((0..998).map(path)));
    let (ended, cpu) = shown(&scene, &scene.path("clash.torrent"), OWN);
    judge(&scene, &ended, 0);
    assert!(cpu <= Duration::from_millis(50), "{cpu:?}");
}
