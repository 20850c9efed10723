//! Hostile and odd torrents, made here, and what must come of each.

mod names;

use sha1::{Digest, Sha1};

use super::*;

/// A dictionary being written: keys stand as they were put, twice if asked.
#[derive(Clone, Default)]
struct Dict(Vec<(Vec<u8>, Vec<u8>)>);

impl Dict {
    fn with(mut self, key: &str, value: impl Into<Vec<u8>>) -> Self {
        self = self.without(key);
        self.again(key, value)
    }

    fn again(mut self, key: &str, value: impl Into<Vec<u8>>) -> Self {
        self.0.push((key.into(), value.into()));
        self
    }

    fn without(mut self, key: &str) -> Self {
        self.0.retain(|(present, _)| present != key.as_bytes());
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"d".to_vec();
        for (key, value) in &self.0 {
            bytes.extend(string(key));
            bytes.extend(value);
        }
        bytes.push(b'e');
        bytes
    }
}

fn string(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [text.len().to_string().as_bytes(), b":", text].concat()
}

fn int(number: i64) -> Vec<u8> {
    format!("i{number}e").into_bytes()
}

fn list<T: AsRef<[u8]>>(items: impl IntoIterator<Item = T>) -> Vec<u8> {
    let mut bytes = b"l".to_vec();
    items
        .into_iter()
        .for_each(|item| bytes.extend(item.as_ref()));
    bytes.push(b'e');
    bytes
}

fn strings<T: AsRef<[u8]>>(items: impl IntoIterator<Item = T>) -> Vec<u8> {
    list(items.into_iter().map(string))
}

fn hashes(count: usize) -> Vec<u8> {
    let bytes: Vec<u8> = (0..count * 20).map(|at| (at / 20) as u8).collect();
    string(bytes)
}

/// One file of 30 bytes in two pieces.
fn single() -> Dict {
    Dict::default()
        .with("length", int(30))
        .with("name", string("name"))
        .with("piece length", int(16))
        .with("pieces", hashes(2))
}

/// Several files in pieces of 16 bytes.
fn several(files: impl IntoIterator<Item = Dict>) -> Dict {
    let files: Vec<Vec<u8>> = files.into_iter().map(|file| file.bytes()).collect();
    single().without("length").with("files", list(files))
}

fn file(length: i64, path: &[&str]) -> Dict {
    Dict::default()
        .with("length", int(length))
        .with("path", strings(path))
}

fn around(info: &Dict) -> Dict {
    Dict::default().with("info", info.bytes())
}

fn load(info: &Dict) -> Result<Metainfo, MetainfoError> {
    let bytes = around(info).bytes();
    let whole = Metainfo::parse(&bytes);
    let alone = Metainfo::from_info(&info.bytes());
    match (&whole, &alone) {
        (Ok(whole), Ok(alone)) => {
            assert_eq!(whole.info_hash, alone.info_hash);
            assert_eq!(whole.files, alone.files);
        }
        (Err(whole), Err(alone)) => assert_eq!(whole.kind, alone.kind),
        (whole, alone) => panic!("whole: {whole:?}, alone: {alone:?}"),
    }
    whole
}

fn kind(info: &Dict) -> &'static str {
    load(info).expect_err("must be refused").kind
}

fn parse_kind(bytes: impl AsRef<[u8]>) -> &'static str {
    Metainfo::parse(bytes.as_ref())
        .expect_err("must be refused")
        .kind
}

fn warnings(torrent: &Metainfo) -> Vec<&'static str> {
    torrent
        .warnings
        .iter()
        .map(|warning| warning.kind)
        .collect()
}

fn paths(torrent: &Metainfo) -> Vec<&str> {
    torrent
        .files
        .iter()
        .map(|file| file.path.as_str())
        .collect()
}

#[test]
fn a_plain_torrent_is_read_in_full() {
    let root = around(&single().with("private", int(1)))
        .with("announce", string("http://a/x?k=1&b"))
        .with("comment", string("\x1b[31m\u{e9}"))
        .with("created by", string(b"maker \xff"))
        .with("creation date", int(-5))
        .with("url-list", string("http://seed/a b"));
    let torrent = Metainfo::parse(&root.bytes()).expect("a good torrent");
    let info = single().with("private", int(1)).bytes();
    assert_eq!(torrent.info(), info);
    assert_eq!(torrent.info_hash.0, <[u8; 20]>::from(Sha1::digest(&info)));
    assert_eq!(torrent.info_hash_v2, None);
    assert_eq!(torrent.hash(Piece(0)), [0; 20]);
    assert_eq!(torrent.hash(Piece(1)), [1; 20]);
    assert_eq!(torrent.name, "name");
    assert_eq!(
        torrent.files,
        [FileEntry {
            path: "name".into(),
            length: 30,
            kind: FileKind::Regular
        }]
    );
    assert_eq!(
        (torrent.geometry.pieces(), torrent.geometry.total()),
        (2, 30)
    );
    assert_eq!(torrent.trackers, [["http://a/x?k=1&b"]]);
    assert_eq!(torrent.web_seeds, ["http://seed/a b"]);
    assert_eq!(torrent.comment.as_deref(), Some("\x1b[31m\u{e9}"));
    assert_eq!(torrent.created_by.as_deref(), Some("maker \u{fffd}"));
    assert_eq!(torrent.creation_date, Some(-5));
    assert!(torrent.private && torrent.warnings.is_empty());

    let owned = Metainfo::parse_owned(root.bytes()).expect("the same");
    assert_eq!(format!("{owned:?}"), format!("{torrent:?}"));
}

#[test]
fn the_info_hash_is_that_of_the_raw_bytes() {
    // Unsorted, unknown and badly written keys are not put in order before they are hashed.
    let odd = single()
        .with("aaa", "i007e")
        .with("zzz", int(1))
        .again("zzz", "i-0e")
        .with("length", int(30));
    let torrent = load(&odd).expect("odd, but good");
    assert_eq!(
        torrent.info_hash.0,
        <[u8; 20]>::from(Sha1::digest(odd.bytes()))
    );
    assert_eq!(torrent.hash(Piece(1)), [1; 20]);
}

#[test]
fn nesting_ends_at_128_with_the_byte_that_broke_it() {
    for (bytes, at) in [
        ("l".repeat(1 << 20), 128),
        ("d1:a".repeat(1 << 18), 512),
        ("l".repeat(60_000), 128),
        (format!("d4:info{}", "d1:a".repeat(1 << 18)), 7 + 127 * 4),
        (format!("d1:x{}4:infod", "l".repeat(1 << 20)), 4 + 127),
    ] {
        let error = Metainfo::parse(bytes.as_bytes()).expect_err("too deep");
        assert_eq!(error.kind, "torrent.depth");
        assert_eq!(
            error.message,
            format!("nested deeper than 128 at byte {at}")
        );
    }
}

#[test]
fn string_lengths_are_held_against_what_is_left() {
    assert_eq!(
        parse_kind("d4:info18446744073709551615:x"),
        "torrent.truncated"
    );
    assert_eq!(parse_kind("d4:info4294967296:x"), "torrent.truncated");
    assert_eq!(
        parse_kind("d4:info100000000000000000000:x"),
        "torrent.number"
    );
    let whole = around(&single()).bytes();
    for cut in 1..whole.len() {
        assert_eq!(parse_kind(&whole[..cut]), "torrent.truncated", "{cut}");
    }
}

#[test]
fn odd_numbers_fail_in_used_keys_and_pass_in_others() {
    let long = format!("i{}e", "1".repeat(40));
    for odd in [
        "i-0e",
        "i007e",
        "i+5e",
        "i 5e",
        "ie",
        "i-e",
        "i9223372036854775808e",
        &long,
    ] {
        for key in ["length", "piece length", "private"] {
            assert_eq!(
                kind(&single().with(key, odd)),
                "torrent.number",
                "{key} {odd}"
            );
        }
        let in_file = Dict::default()
            .with("length", odd)
            .with("path", strings(["a"]));
        assert_eq!(kind(&several([in_file])), "torrent.number", "{odd}");
        load(&single().with("unknown", odd)).expect("nobody asks for it");
        let root = around(&single())
            .with("unknown", odd)
            .with("creation date", odd);
        let torrent = Metainfo::parse(&root.bytes()).expect("the date is only shown");
        assert_eq!(torrent.creation_date, None);
        assert_eq!(warnings(&torrent), ["torrent.number"]);
    }
}

#[test]
fn a_key_that_is_used_may_not_stand_twice() {
    for (key, value) in [
        ("name", string("other")),
        ("pieces", hashes(2)),
        ("length", int(30)),
        ("piece length", int(16)),
    ] {
        assert_eq!(
            kind(&single().again(key, value)),
            "torrent.duplicate-key",
            "{key}"
        );
    }
    let twice = around(&single()).again("info", single().bytes());
    assert_eq!(parse_kind(twice.bytes()), "torrent.duplicate-key");
    let twice = file(30, &["a"]).again("path", strings(["b"]));
    assert_eq!(kind(&several([twice])), "torrent.duplicate-key");
    load(&single().again("x", int(1)).again("x", int(2))).expect("x is not used");
}

#[test]
fn keys_that_are_no_strings_are_refused() {
    for key in ["i0e", "le", "de"] {
        assert_eq!(parse_kind(format!("d{key}4:infode")), "torrent.syntax");
        assert_eq!(parse_kind(format!("d4:infod{key}1:aee")), "torrent.syntax");
    }
}

#[test]
fn bytes_behind_the_torrent_are_ignored_with_a_warning() {
    for tail in [b"\n".to_vec(), vec![0; 7], vec![b'x'; 1 << 20]] {
        let bytes = [around(&single()).bytes(), tail.clone()].concat();
        let torrent = Metainfo::parse_owned(bytes).expect("a good torrent");
        assert_eq!(torrent.info(), single().bytes());
        let warning = &torrent.warnings[0];
        assert_eq!(warning.kind, "torrent.trailing");
        assert_eq!(warning.message, format!("{} bytes ignored", tail.len()));
    }
    let error = Metainfo::from_info(&[single().bytes(), b"e".to_vec()].concat());
    assert_eq!(error.expect_err("not one value").kind, "torrent.syntax");
}

#[test]
fn files_of_other_kinds_are_named_as_such() {
    for bytes in [
        b"".as_slice(),
        b"<!DOCTYPE html>",
        b"\x1f\x8b\x08",
        b"\xef\xbb\xbfd4:infodee",
        b"404 not found",
        b"le",
        b"\0\0\0",
    ] {
        assert_eq!(
            parse_kind(bytes),
            "torrent.not-bencode",
            "{}",
            bytes.escape_ascii()
        );
    }
    assert_eq!(parse_kind("de"), "torrent.info");
    assert_eq!(parse_kind("d4:infolee"), "torrent.info");
}

#[test]
fn piece_lengths_are_1_byte_to_512_mib() {
    for bad in [
        int(0),
        int(-1),
        int((512 << 20) + 1),
        int(1 << 31),
        int(1 << 60),
        string("16"),
    ] {
        assert_eq!(
            kind(&single().with("piece length", bad)),
            "torrent.piece-length"
        );
    }
    assert_eq!(
        kind(&single().without("piece length")),
        "torrent.piece-length"
    );
    let tiny = single()
        .with("piece length", int(1))
        .with("pieces", hashes(30));
    assert_eq!(load(&tiny).expect("accepted").geometry.pieces(), 30);
    let huge = single()
        .with("piece length", int(512 << 20))
        .with("pieces", hashes(1));
    assert_eq!(load(&huge).expect("accepted").geometry.pieces(), 1);
}

#[test]
fn the_number_of_hashes_must_fit_the_length() {
    for (hashes, message) in [
        (hashes(1), "have 1 need 2"),
        (hashes(3), "have 3 need 2"),
        (hashes(0), "have 0 need 2"),
        (string([0; 39]), "have 1 and 19 bytes need 2"),
    ] {
        let error = load(&single().with("pieces", hashes)).expect_err("must be refused");
        assert_eq!(
            (error.kind, error.message.as_str()),
            ("torrent.pieces", message)
        );
    }
    assert_eq!(kind(&single().with("pieces", int(2))), "torrent.pieces");
    assert_eq!(kind(&single().without("pieces")), "torrent.pieces");
}

#[test]
fn lengths_never_overflow() {
    for bad in [int(-1), int(i64::MAX), int(0), string("30")] {
        assert_eq!(kind(&single().with("length", bad)), "torrent.length");
    }
    let huge = [
        file(1 << 62, &["a"]),
        file(1 << 62, &["b"]),
        file(1 << 62, &["c"]),
    ];
    assert_eq!(kind(&several(huge)), "torrent.length");
    assert_eq!(
        kind(&several([file(0, &["a"]), file(0, &["b"])])),
        "torrent.length"
    );
    assert_eq!(
        kind(&several([file(31, &["a"]), file(-1, &["b"])])),
        "torrent.length"
    );
    assert_eq!(kind(&several([])), "torrent.length");
    assert_eq!(kind(&single().without("length")), "torrent.length");
    assert_eq!(
        kind(&several([file(30, &["a"]).without("length")])),
        "torrent.length"
    );
    let both = several([file(30, &["a"])]).with("length", int(30));
    assert_eq!(kind(&both), "torrent.ambiguous");
    assert_eq!(
        kind(&single().without("length").with("files", int(1))),
        "torrent.files"
    );
    assert_eq!(
        kind(&single().without("length").with("files", "li1ee")),
        "torrent.files"
    );
}

#[test]
fn what_only_version_2_understands_is_refused_by_name() {
    let v2 = single()
        .without("pieces")
        .without("length")
        .with("meta version", int(2));
    assert_eq!(kind(&v2), "torrent.v2-only");
    assert_eq!(kind(&v2.with("file tree", "de")), "torrent.v2-only");
    assert_eq!(
        kind(&single().without("pieces").with("file tree", "de")),
        "torrent.v2-only"
    );
}

/// The v2 half of a file.
fn leaf(length: i64) -> Vec<u8> {
    let properties = Dict::default().with("length", int(length));
    Dict::default().with("", properties.bytes()).bytes()
}

fn hybrid(v1: Dict, tree: &Dict) -> Dict {
    v1.with("meta version", int(2))
        .with("file tree", tree.bytes())
}

#[test]
fn a_hybrid_is_loaded_by_its_v1_half_if_both_halves_agree() {
    let tree = Dict::default()
        .with(
            "a",
            Dict::default()
                .with("b", leaf(5))
                .with("c", leaf(0))
                .bytes(),
        )
        .with("d", leaf(14));
    let pad = file(11, &[".pad", "11"]).with("attr", string("p"));
    let v1 = [
        file(5, &["a", "b"]),
        pad,
        file(0, &["a", "c"]),
        file(14, &["d"]),
    ];
    let good = hybrid(several(v1.clone()), &tree);
    let torrent = load(&good).expect("both agree");
    assert_eq!(
        torrent.info_hash.0,
        <[u8; 20]>::from(Sha1::digest(good.bytes()))
    );
    let v2 = <[u8; 32]>::from(sha2::Sha256::digest(good.bytes()));
    assert_eq!(torrent.info_hash_v2, Some(v2));
    let one = hybrid(single(), &Dict::default().with("name", leaf(30)));
    assert!(load(&one).expect("both agree").info_hash_v2.is_some());

    let mut longer = v1.to_vec();
    longer.push(file(0, &["e"]));
    for (v1, tree) in [
        (several(v1.clone()), tree.clone().with("d", leaf(13))),
        (several(v1.clone()), tree.clone().without("d")),
        (several(v1.clone()), tree.clone().with("e", leaf(0))),
        (
            several(v1.clone()),
            tree.clone().without("d").with("D", leaf(14)),
        ),
        (several(longer), tree.clone()),
        (single(), Dict::default().with("name", leaf(29))),
        (single(), Dict::default().with("other", leaf(30))),
        (single(), Dict::default()),
        (single(), Dict::default().with("name", string("x"))),
        (single(), Dict::default().with("name", "le")),
    ] {
        assert_eq!(kind(&hybrid(v1, &tree)), "torrent.hybrid");
    }
    assert_eq!(
        kind(&single().with("meta version", int(2))),
        "torrent.hybrid"
    );
    assert_eq!(
        kind(&hybrid(single(), &tree).with("file tree", "le")),
        "torrent.hybrid"
    );
}

#[test]
fn only_trackers_that_can_be_asked_are_kept_each_once() {
    let long = format!("http://h/{}", "x".repeat(2048));
    let tiers = list([
        strings([
            "http://a/ann?k=1&x",
            "wss://b/",
            "HTTPS://[::1]:80/a",
            "http://a/ann?k=1&x",
        ]),
        strings(["file:///etc/passwd", "gopher://c/", "ftp://d/", "", "none"]),
        strings(["udp://e:80", "http://a/ann?k=1&x", " udp://f "]),
        strings([
            &long,
            "http://g/\r\nHost: x",
            "http://\u{43f}/",
            "http://xn--p1ai/",
        ]),
        strings([
            b"http://\xff/".as_slice(),
            b"http://",
            b"http://:80/",
            b"http://u@/",
        ]),
        string("http://no.tier/"),
        int(5),
    ]);
    let root = around(&single()).with("announce-list", tiers);
    let root = root.with("announce", string("http://other/"));
    let torrent = Metainfo::parse(&root.bytes()).expect("loads");
    assert_eq!(
        torrent.trackers,
        [
            vec!["http://a/ann?k=1&x", "HTTPS://[::1]:80/a"],
            vec!["udp://e:80", "udp://f"],
            vec!["http://no.tier/"],
        ]
    );
    assert_eq!(torrent.warnings.len(), 1);
    assert_eq!(
        torrent.warnings[0].message,
        "14 trackers ignored: `wss://b/` (unknown scheme)"
    );
}

#[test]
fn announce_stands_in_for_a_list_without_a_tracker() {
    let root = around(&single()).with("announce", string("udp://a:1"));
    let torrent = Metainfo::parse(&root.bytes()).expect("loads");
    assert_eq!(torrent.trackers, [["udp://a:1"]]);
    let root = root.with("announce-list", list([strings(["wss://x/"])]));
    let torrent = Metainfo::parse(&root.bytes()).expect("loads");
    assert_eq!(torrent.trackers, [["udp://a:1"]]);
    let torrent = Metainfo::parse(&around(&single()).with("announce", int(1)).bytes());
    let torrent = torrent.expect("loads");
    assert_eq!(
        (torrent.trackers.len(), warnings(&torrent)),
        (0, vec!["torrent.tracker"])
    );
}

#[test]
fn a_flood_of_trackers_is_cut_at_fifty() {
    let tiers = list((0..100_000).map(|number| strings([format!("http://t/{number}")])));
    let seeds = strings((0..60).map(|number| format!("http://s/{number}")));
    let root = around(&single())
        .with("announce-list", tiers)
        .with("url-list", seeds);
    let torrent = Metainfo::parse(&root.bytes()).expect("loads");
    assert_eq!((torrent.trackers.len(), torrent.web_seeds.len()), (50, 50));
    assert_eq!(torrent.trackers[49], ["http://t/49"]);
    let messages: Vec<_> = torrent
        .warnings
        .iter()
        .map(|w| w.message.as_str())
        .collect();
    assert_eq!(
        messages,
        [
            "99950 trackers beyond the first 50 ignored",
            "10 web seeds beyond the first 50 ignored"
        ]
    );
}

#[test]
fn texts_that_are_only_shown_are_cut() {
    let root = around(&single()).with("comment", string(vec![b'x'; 1 << 20]));
    let torrent = Metainfo::parse(&root.bytes()).expect("loads");
    assert_eq!(torrent.comment.map(|comment| comment.len()), Some(65_536));
}

#[test]
fn privacy_is_kept_in_doubt() {
    for (value, private) in [
        (int(0), false),
        (int(1), true),
        (int(2), true),
        (string("1"), true),
    ] {
        let torrent = load(&single().with("private", value)).expect("loads");
        assert_eq!(torrent.private, private);
    }
}

#[test]
fn text_from_outside_is_escaped_in_messages() {
    let root = around(&single()).with("announce", string("\x1b[31m\u{202e}\n"));
    let torrent = Metainfo::parse(&root.bytes()).expect("loads");
    assert_eq!(
        torrent.warnings[0].message,
        "1 trackers ignored: `\\u{1b}[31m\\u{202e}\\u{a}` (control characters)"
    );
    let deep = several([file(30, &vec!["\x1b\u{9b}"; 100])]);
    let message = load(&deep).expect_err("too deep").message;
    assert!(
        !message.chars().any(char::is_control) && message.len() < 250,
        "{message}"
    );
}

#[test]
fn no_damage_to_a_torrent_makes_it_unsafe() {
    let tree = Dict::default().with("..", leaf(5)).with("d", leaf(25));
    let v1 = hybrid(several([file(5, &[".."]), file(25, &["d"])]), &tree);
    let whole = around(&v1)
        .with("announce-list", list([strings(["udp://a:1", "http://b/"])]))
        .with("url-list", string("http://c/"))
        .bytes();
    Metainfo::parse(&whole).expect("whole");
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut chance = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as usize % below
    };
    let mut loaded = 0;
    for _ in 0..20_000 {
        let mut bytes = whole.clone();
        for _ in 0..=chance(3) {
            let at = chance(bytes.len());
            match chance(4) {
                0 => bytes[at] = b"0123456789ilde:-./"[chance(18)],
                1 => bytes[at] = chance(256) as u8,
                2 => drop(bytes.remove(at)),
                _ => bytes.insert(at, b"0123456789ilde:-./"[chance(18)]),
            }
        }
        let Ok(torrent) = Metainfo::parse(&bytes) else {
            continue;
        };
        loaded += 1;
        assert_eq!(
            torrent.info_hash.0,
            <[u8; 20]>::from(Sha1::digest(torrent.info()))
        );
        assert_eq!(torrent.table.total(), torrent.geometry.total());
        torrent.hash(Piece(torrent.geometry.pieces() - 1));
        for path in paths(&torrent) {
            let is_safe = |name: &str| !["", ".", ".."].contains(&name) && name.len() <= 255;
            assert!(
                path.split('/').all(is_safe) && !path.contains('\0'),
                "{path:?}"
            );
        }
    }
    assert!(
        loaded > 1000,
        "{loaded} loaded: the damage is too great to tell"
    );
}

#[test]
fn half_a_million_pieces_and_two_hundred_thousand_files_load() {
    let length = 500_000 * 16;
    let big = single()
        .with("length", int(length))
        .with("pieces", hashes(500_000));
    assert_eq!(
        load(&big).expect("loads").hash(Piece(499_999)),
        [(499_999 % 256) as u8; 20]
    );
    let files = (0..200_000).map(|number| file(1, &["dir", &number.to_string()]));
    let many = several(files).with("pieces", hashes(200_000 / 16));
    let torrent = load(&many).expect("loads");
    assert_eq!(torrent.files.len(), 200_000);
    assert_eq!(torrent.files[199_999].path, "name/dir/199999");
    assert!(torrent.warnings.is_empty());
}
