//! Command lines as they are typed.

use std::os::unix::ffi::OsStringExt as _;

use super::*;

fn read(line: &str) -> Result<Options, String> {
    Options::read(
        line.split_whitespace().map(OsString::from).collect(),
        &Homes::default(),
    )
    .map_err(|error| error.message)
}

#[test]
fn the_five_options_of_the_original_work_unchanged() {
    let options = read(
        "--torrent a.torrent --peers 1.2.3.4:5,[::1]:6 --output-directory out \
         --use-progress-bar --max-peers 7",
    )
    .expect("a good line");
    assert_eq!(options.command, Command::Download);
    assert_eq!(options.torrents, ["a.torrent"]);
    assert_eq!(options.plan.peers.len(), 2);
    assert_eq!(options.plan.output_dir, PathBuf::from("out"));
    assert_eq!(options.progress, ProgressKind::Bar);
    assert_eq!(options.config.max_peers, 7);
}

#[test]
fn an_unknown_option_is_named_with_its_nearest_neighbour() {
    let wrong = |line: &str, words: [&str; 2]| {
        let message = read(line).expect_err("a bad line");
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    };
    wrong("--prot 1 a", ["--prot;", "--port"]);
    wrong("--max-peer=3 a", ["--max-peer;", "--max-peers"]);
    wrong("show --jsn a", ["--jsn;", "--json"]);
    wrong("--sequentail a", ["--sequentail;", "--sequential"]);
    for (far, known) in [("--bogus", "--peers"), ("-x", "-o"), ("--", "")] {
        assert!(!is_near(far, known), "{far} {known}");
    }
    let message = read("--bogus a").expect_err("a bad line");
    assert_eq!(message, "there is no option --bogus");
}

#[test]
fn values_that_are_missing_wrong_or_given_twice_are_named() {
    for (line, message) in [
        ("a --port", "--port needs a value: N[-M]"),
        ("-o -v a", "--output-directory needs a value: DIR"),
        (
            "--output-directory= a",
            "--output-directory needs a value: DIR",
        ),
        (
            "-o=--json a",
            "--output-directory needs a value, not --json",
        ),
        ("--json=1 a", "--json takes no value"),
        ("-o x -o y a", "--output-directory is given twice"),
        ("check --seed a", "--seed does not go with this command"),
        ("--max-peers 0 a", "--max-peers 0: a number from 1 to 10000"),
        (
            "--max-peers -1 a",
            "--max-peers -1: a number from 1 to 10000",
        ),
        (
            "--seed-ratio -.5 a",
            "--seed-ratio -.5: a number from 0 on, such as 1.5",
        ),
        (
            "--max-upload-rate -5k a",
            "--max-upload-rate -5k: a size above 0: 4096, 512k, 10M or 1G",
        ),
        (
            "scrape a b",
            "one torrent at a time, and this is one too many: b",
        ),
        (
            "--ipv6 --ipv4 a",
            "--ipv4 and --ipv6 exclude each other; without them both families are used",
        ),
        (
            "show -v -q a",
            "--quiet and --verbose exclude each other; --log-level and --log-file say what is logged where",
        ),
        (
            "a --progress bar --json",
            "--json and a progress bar or lines exclude each other",
        ),
        (
            "demo --json --use-progress-bar",
            "--json and a progress bar or lines exclude each other",
        ),
        ("", "no torrent is named"),
        ("demo x", "demo takes no torrent: x"),
        ("generate", GENERATE_WHAT),
        ("create a b", "several paths need a --name"),
        (
            "--select 3-1 a",
            "--select 3-1: files count from 1, and of a range the lower comes first",
        ),
    ] {
        assert_eq!(read(line).expect_err(line), message, "{line}");
    }
}

#[test]
fn no_progress_bar_is_no_contradiction_to_json() {
    for progress in ["none", "json", "auto"] {
        let options = read(&format!("a --json --progress {progress}"));
        assert!(options.expect("a good line").json, "{progress}");
    }
}

#[test]
fn two_dashes_end_the_options_and_bytes_are_kept() {
    let name = OsString::from_vec(b"-v\xff".to_vec());
    let options = Options::read(
        vec!["-q".into(), "--".into(), name.clone()],
        &Homes::default(),
    );
    let options = options.expect("a good line");
    assert_eq!(options.torrents, [name]);
    assert!(options.quiet && options.log_level == LevelFilter::Error);
    let joined = OsString::from_vec(b"--output-directory=\xfe=".to_vec());
    let options =
        Options::read(vec![joined, "show".into()], &Homes::default()).expect("a good line");
    assert_eq!(
        options.plan.output_dir.as_os_str().as_encoded_bytes(),
        b"\xfe="
    );
    assert_eq!(options.torrents, ["show"]);
}

#[test]
fn distances_count_single_characters() {
    assert_eq!(distance("--prot", "--port"), 2);
    assert_eq!(distance("", "abc"), 3);
    assert_eq!(distance("same", "same"), 0);
}
