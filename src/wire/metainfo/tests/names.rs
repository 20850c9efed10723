//! Names and paths of files: made safe, cut, told apart.

use super::*;

#[test]
fn a_name_that_is_no_file_name_is_refused_and_others_are_made_safe() {
    for bad in ["", ".", "..", "/", "/..", "\u{202e}"] {
        assert_eq!(
            kind(&single().with("name", string(bad))),
            "torrent.name",
            "{bad:?}"
        );
    }
    assert_eq!(kind(&single().without("name")), "torrent.name");
    assert_eq!(kind(&single().with("name", int(1))), "torrent.name");
    let torrent = load(&single().with("name", string("../../etc\0"))).expect("made safe");
    assert_eq!(
        (torrent.name.as_str(), paths(&torrent)),
        ("....etc_", vec!["....etc_"])
    );
    let torrent = load(&single().with("name.utf-8", string("é"))).expect("preferred");
    assert_eq!(torrent.name, "é");
    let torrent = load(&single().with("name.utf-8", string(b"\xff"))).expect("not preferred");
    assert_eq!(torrent.name, "name");
}

#[test]
fn a_name_and_piece_length_outside_of_info_are_found() {
    let info = single().without("name").without("piece length");
    let root = around(&info)
        .with("name", string("outer"))
        .with("piece length", int(16));
    let torrent = Metainfo::parse(&root.bytes()).expect("found");
    assert_eq!(
        (torrent.name.as_str(), torrent.geometry.piece_length()),
        ("outer", 16)
    );
    assert_eq!(
        warnings(&torrent),
        ["torrent.misplaced", "torrent.misplaced"]
    );
}

#[test]
fn paths_never_leave_the_directory_of_the_torrent() {
    let hostile = [
        file(1, &["..", "..", "x"]),
        file(1, &["/etc", "passwd"]),
        file(1, &["a/../b"]),
        file(1, &["", ".", "c"]),
        file(1, &["..\\..\\d"]),
        file(25, &["e\0\n"]),
    ];
    let torrent = load(&several(hostile)).expect("made safe");
    assert_eq!(
        paths(&torrent),
        [
            "name/_/_/x",
            "name/etc/passwd",
            "name/a..b",
            "name/_/_/c",
            "name/....d",
            "name/e__"
        ]
    );
    assert_eq!(kind(&several([file(30, &[])])), "torrent.path");
    assert_eq!(
        kind(&several([file(30, &["a"]).without("path")])),
        "torrent.path"
    );
    assert_eq!(
        kind(&several([file(30, &["a"]).with("path", "li1ee")])),
        "torrent.path"
    );
    let utf8 = file(30, &["a"]).with("path.utf-8", strings(["é"]));
    assert_eq!(
        paths(&load(&several([utf8])).expect("preferred")),
        ["name/é"]
    );
    let not_utf8 = file(30, &["a"]).with("path.utf-8", strings([b"\xff"]));
    assert_eq!(
        paths(&load(&several([not_utf8])).expect("not preferred")),
        ["name/a"]
    );
}

#[test]
fn paths_are_cut_or_refused_when_too_long() {
    for length in [300, 5000] {
        let long = [&"x".repeat(length), ".test"].concat();
        let torrent = load(&several([file(30, &[&long])])).expect("cut");
        assert_eq!(paths(&torrent), [format!("name/{}.test", "x".repeat(250))]);
    }
    let deep = |depth| several([file(30, &vec!["d"; depth])]);
    assert_eq!(
        load(&deep(99)).expect("deep").files[0].path.len(),
        4 + 2 * 99
    );
    assert_eq!(kind(&deep(100)), "torrent.path-too-long");
    assert_eq!(kind(&deep(3000)), "torrent.path-too-long");
    let element = "x".repeat(249);
    let wide = |count| several([file(30, &vec![element.as_str(); count])]);
    assert_eq!(
        load(&wide(15)).expect("wide").files[0].path.len(),
        4 + 250 * 15
    );
    assert_eq!(kind(&wide(16)), "torrent.path-too-long");
}

#[test]
fn clashing_paths_are_renamed_with_a_warning() {
    let clashing = [
        file(10, &["bar.txt"]),
        file(10, &["bar.txt"]),
        file(4, &["BAR.TXT"]),
        file(3, &["a"]),
        file(3, &["a", "b"]),
    ];
    let torrent = load(&several(clashing)).expect("renamed");
    assert_eq!(
        paths(&torrent),
        [
            "name/bar.txt",
            "name/bar.1.txt",
            "name/BAR.2.TXT",
            "name/a.1",
            "name/a/b"
        ]
    );
    assert_eq!(torrent.warnings[0].kind, "torrent.renamed");
    assert_eq!(
        torrent.warnings[0].message,
        "3 files renamed, their paths clash: `name/bar.1.txt`"
    );
    let many = several((0..502).map(|_| file(1, &["same"]))).with("pieces", hashes(32));
    assert_eq!(kind(&many), "torrent.duplicate-names");
}

#[test]
fn symbolic_links_are_listed_and_never_made() {
    let link = |path: &str| {
        Dict::default()
            .with("attr", string("l"))
            .with("path", strings([path]))
            .with("symlink path", strings(["..", "etc"]))
    };
    let torrent = load(&several([
        link("escape").with("length", int(0)),
        link("without length"),
        link("with content").with("length", int(10)),
        file(20, &["escape", "passwd"]),
    ]));
    let torrent = torrent.expect("loads");
    let kinds: Vec<_> = torrent.files.iter().map(|file| file.kind).collect();
    use FileKind::{Regular, Symlink};
    assert_eq!(kinds, [Symlink, Symlink, Regular, Regular]);
    assert_eq!(warnings(&torrent), ["torrent.symlink-ignored"]);
    assert_eq!(
        torrent.warnings[0].message,
        "2 symbolic links are not made: `name/escape`"
    );
}

#[test]
fn padding_counts_and_is_never_in_the_way() {
    let pad = |file: Dict| file.with("attr", string("p"));
    let torrent = load(&several([
        file(5, &["a"]),
        pad(file(11, &[".pad", "11"])),
        pad(file(1, &["a"])),
        pad(file(2, &[]).without("path")),
        file(3, &[".pad", "3"]),
        file(1, &["_____padding_file_0_if you see this file"]),
        file(4, &[".pad", "5"]),
        file(3, &["b"]).with("attr", string("x")),
    ]));
    let torrent = torrent.expect("loads");
    let pads: Vec<_> = torrent
        .files
        .iter()
        .map(|file| file.kind == FileKind::Pad)
        .collect();
    assert_eq!(pads, [false, true, true, true, true, true, false, false]);
    assert_eq!(torrent.files[3].path, "name/.pad/2");
    assert_eq!(torrent.table.total(), 30);
    assert!(torrent.warnings.is_empty());
}
