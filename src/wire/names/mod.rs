//! File names from outside, made safe to create and distinct from each other.

mod canonical;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::base::escape::is_harmful;
use crate::base::limits;

/// One path element as it may be created: at most 255 bytes of UTF-8 without `/`, `\`, control, bidi and
/// zero-width characters, and neither empty nor `.` nor `..`; `None` if that leaves nothing. A second pass
/// changes nothing.
///
/// Slashes and invisible characters are dropped, control characters and each run of invalid bytes become `_`;
/// a long name is cut on a character's border and keeps a short extension.
pub fn element(raw: &[u8]) -> Option<String> {
    let mut name = String::with_capacity(raw.len());
    let mut after_invalid = false;
    for chunk in raw.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                name.push('_');
            } else if !matches!(character, '/' | '\\') && !is_harmful(character) {
                name.push(character);
            }
        }
        after_invalid &= chunk.valid().is_empty();
        if !chunk.invalid().is_empty() && !after_invalid {
            name.push('_');
            after_invalid = true;
        }
    }
    if name.len() > limits::NAME_MAX {
        let (stem, extension) = split_extension(&name);
        let room = limits::NAME_MAX - extension.len();
        name = [cut(stem, room), extension].concat();
    }
    (!matches!(name.as_str(), "" | "." | "..")).then_some(name)
}

/// As [`element`], with `_` where nothing is left: for the elements of a path, which must keep their number.
pub fn path_element(raw: &[u8]) -> Cow<'_, str> {
    // As nearly all names are, and a torrent may have a hundred thousand.
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'/' | b'\\');
    if raw.iter().all(is_plain)
        && (1..=limits::NAME_MAX).contains(&raw.len())
        && !matches!(raw, b"." | b"..")
        && let Ok(name) = std::str::from_utf8(raw)
    {
        return Cow::Borrowed(name);
    }
    element(raw).map_or(Cow::Borrowed("_"), Cow::Owned)
}

/// Renames files until no two paths are equal and none is also the directory of another, on file systems
/// that tell case or composed characters apart and on those that don't; gives the numbers of those it renamed, in order.
///
/// The first of equal files keeps its name, a directory always does; `bar.txt` becomes `bar.1.txt`. The same
/// paths always give the same names, and no file is renamed because another was. Errors: more than
/// [`limits::RENAMES_MAX`] would be renamed. Costs n log n, and little memory unless paths do clash.
pub fn resolve_clashes(paths: &mut [&mut String]) -> Result<Vec<usize>, TooManyClashes> {
    let hashes: Vec<u64> = paths.iter().map(|path| hash(path, |_, _| {})).collect();
    let mut files = hashes.clone();
    files.sort_unstable();

    // Equal hashes raise a suspicion; only suspects are compared by their text.
    let mut suspects: BTreeSet<u64> = files
        .windows(2)
        .filter(|pair| pair[0] == pair[1])
        .map(|pair| pair[0])
        .collect();
    each_directory(paths, |_, directory| {
        if files.binary_search(&directory).is_ok() {
            suspects.insert(directory);
        }
    });
    if suspects.is_empty() {
        return Ok(Vec::new());
    }

    let mut suspect_directories = BTreeSet::new();
    let mut directories = Vec::new();
    each_directory(paths, |path, directory| {
        directories.push(directory);
        if suspects.contains(&directory) {
            suspect_directories.insert(fold(path));
        }
    });
    directories.sort_unstable();

    let mut taken = BTreeSet::new();
    let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
    let mut renamed = Vec::new();
    for (index, path) in paths.iter_mut().enumerate() {
        if !suspects.contains(&hashes[index]) {
            continue;
        }
        let key = fold(path);
        if !suspect_directories.contains(&key) && taken.insert(key) {
            continue;
        }
        if renamed.len() == limits::RENAMES_MAX {
            return Err(TooManyClashes);
        }
        // Ends: every number is tried once a name, and there are fewer names than numbers.
        let number = numbers.entry(fold(&numbered(path, 0))).or_insert(0);
        loop {
            *number += 1;
            let candidate = numbered(path, *number);
            let candidate_hash = hash(&candidate, |_, _| {});
            let is_free = files.binary_search(&candidate_hash).is_err()
                && directories.binary_search(&candidate_hash).is_err();
            if is_free && taken.insert(fold(&candidate)) {
                **path = candidate;
                break;
            }
        }
        renamed.push(index);
    }
    Ok(renamed)
}

/// So many paths clash that the torrent is no honest one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooManyClashes;

/// Shows `visit` the directories of all paths with their hashes, passing over those that the path before
/// had too.
fn each_directory(paths: &[&mut String], mut visit: impl FnMut(&str, u64)) {
    let mut before = "";
    for path in paths {
        let parent = path.rfind('/').map_or("", |slash| &path[..slash]);
        if parent != before {
            hash(path, |end, directory| visit(&path[..end], directory));
            before = parent;
        }
    }
}

/// A hash (FNV-1a) of the folded path; `visit` is shown the end and the hash of each directory on the way.
fn hash(path: &str, mut visit: impl FnMut(usize, u64)) -> u64 {
    let mut state = 0xcbf2_9ce4_8422_2325u64;
    for (at, character) in path.char_indices() {
        if character == '/' {
            visit(at, state);
        }
        fold_character(character, |folded| {
            state = (state ^ u64::from(u32::from(folded))).wrapping_mul(0x0100_0000_01b3);
        });
    }
    state
}

/// The text that two paths share if some file system takes them for the same.
pub fn fold(path: &str) -> String {
    let mut folded = String::with_capacity(path.len());
    for character in path.chars() {
        fold_character(character, |character| folded.push(character));
    }
    folded
}

fn fold_character(character: char, mut push: impl FnMut(char)) {
    if character.is_ascii() {
        push(character.to_ascii_lowercase());
        return;
    }
    for lower in character.to_lowercase() {
        canonical::decompose(lower, &mut push);
    }
}

/// `dir/bar.txt` as `dir/bar.N.txt`, its last element cut so that any number fits.
fn numbered(path: &str, number: u32) -> String {
    let (parent, name) = match path.rfind('/') {
        Some(slash) => path.split_at(slash + 1),
        None => ("", path),
    };
    let (stem, extension) = split_extension(name);
    let room = limits::NAME_MAX - extension.len() - NUMBER_ROOM;
    format!("{parent}{}.{number}{extension}", cut(stem, room))
}

/// The name without and the extension with its dot; an extension is short and not the whole name.
fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= EXTENSION_MAX => name.split_at(dot),
        _ => (name, ""),
    }
}

/// At most the first `max` bytes, whole characters only.
fn cut(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Longest extension that a cut name keeps, dot included.
const EXTENSION_MAX: usize = 32;
/// Bytes kept free for a number and its dot.
const NUMBER_ROOM: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(paths: &[&str]) -> Vec<String> {
        let mut owned: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        let mut lent: Vec<&mut String> = owned.iter_mut().collect();
        resolve_clashes(&mut lent).expect("few clashes");
        owned
    }

    #[test]
    fn names_from_outside_are_made_safe() {
        for (raw, safe) in [
            (b"/a/".as_slice(), "a"),
            (b"a...b", "a...b"),
            (b"..", "_"),
            (b".", "_"),
            (b"", "_"),
            (b"/..", "_"),
            (b"//\\", "_"),
            (b"../../x", "....x"),
            (b"a/../b", "a..b"),
            (b"/etc/passwd", "etcpasswd"),
            (b"..\\..\\x", "....x"),
            (b"\\c", "c"),
            (b"c:", "c:"),
            (b"dev:", "dev:"),
            (b"abc...", "abc..."),
            (b"a. . .", "a. . ."),
            (b"abc   ", "abc   "),
            (b"   ", "   "),
            (b"\x08", "_"),
            (b"\x08?filename=4", "_?filename=4"),
            (b"a\0b\x7fc\n", "a_b_c_"),
            (b"\0\0\xed\0\x80", "_____"),
            (b"filename\xc2\xa1", "filename\u{a1}"),
            (b"filename\xc2", "filename_"),
            (b"filename\xe2\x9f\xb9", "filename\u{27f9}"),
            (b"filename\xe2\x9f", "filename_"),
            (b"filename\xe2", "filename_"),
            (b"filename\xf0\x9f\x92\x88", "filename\u{1f488}"),
            (b"filename\xf0\x9f\x92", "filename_"),
            (b"filename\xf8\x9f\x9f\x9f\x9ffoobar", "filename_foobar"),
            (b"filename\xc0\xae", "filename_"),
            (b"filename\xe0\x80\xae", "filename_"),
            (b"filename\xf0\x80\x80\xae", "filename_"),
            (b"\xffa\xffb\xff\xff", "_a_b_"),
            (b"foo\xe2\x80\x8ebar", "foobar"),
            (b"foo\xe2\x80\xabbar", "foobar"),
            (b".\xe2\x80\x8b.", "_"),
            (b"\xef\xbb\xbfbom", "bom"),
        ] {
            assert_eq!(path_element(raw), safe, "{}", raw.escape_ascii());
            assert_eq!(path_element(safe.as_bytes()), safe, "again");
        }
        assert_eq!(element(b".."), None);
        assert_eq!(element(b"\\"), None);
    }

    #[test]
    fn long_names_are_cut_on_a_border_and_keep_their_extension() {
        let long = "x".repeat(300);
        assert_eq!(path_element(long.as_bytes()), "x".repeat(255));
        let with_extension = format!("{long}.test");
        let cut = path_element(with_extension.as_bytes());
        assert_eq!(cut, format!("{}.test", "x".repeat(250)));
        let wide = format!("{}.jpg", "é".repeat(2500));
        let cut = path_element(wide.as_bytes());
        assert_eq!(cut, format!("{}.jpg", "é".repeat(125)));
        let no_extension = format!(".{long}");
        assert_eq!(path_element(no_extension.as_bytes()).len(), 255);
        for name in [long, with_extension, wide, no_extension] {
            let once = path_element(name.as_bytes());
            assert_eq!(path_element(once.as_bytes()), once);
        }
    }

    #[test]
    fn equal_paths_are_numbered_and_no_other_file_is_moved_for_them() {
        assert_eq!(
            resolved(&[
                "a/bar.txt",
                "a/bar.txt",
                "a/bar.1.txt",
                "a/bar.txt",
                "b/bar.txt"
            ]),
            [
                "a/bar.txt",
                "a/bar.2.txt",
                "a/bar.1.txt",
                "a/bar.3.txt",
                "b/bar.txt"
            ]
        );
        assert_eq!(
            resolved(&["x", "x", ".rc", ".rc", "a.b/c", "a.b/c"]),
            ["x", "x.1", ".rc", ".rc.1", "a.b/c", "a.b/c.1"]
        );
    }

    #[test]
    fn names_that_differ_only_in_case_are_told_apart() {
        assert_eq!(
            resolved(&["Dir/A.txt", "dir/a.TXT", "ÄÖ", "äö"]),
            ["Dir/A.txt", "dir/a.1.TXT", "ÄÖ", "äö.1"]
        );
    }

    #[test]
    fn names_that_differ_only_in_composition_are_told_apart() {
        assert_eq!(
            resolved(&[
                "caf\u{e9}",
                "CAFE\u{301}",
                "cafe",
                "\u{d55c}",
                "\u{1112}\u{1161}\u{11ab}"
            ]),
            [
                "caf\u{e9}",
                "CAFE\u{301}.1",
                "cafe",
                "\u{d55c}",
                "\u{1112}\u{1161}\u{11ab}.1"
            ]
        );
    }

    #[test]
    fn a_file_that_is_also_a_directory_gives_way_in_both_orders() {
        assert_eq!(resolved(&["t/a", "t/a/b"]), ["t/a.1", "t/a/b"]);
        assert_eq!(resolved(&["t/a/b", "t/a"]), ["t/a/b", "t/a.1"]);
        assert_eq!(
            resolved(&["t/a/b/c", "t/A", "t/a/B", "t/a.1/x"]),
            ["t/a/b/c", "t/A.2", "t/a/B.1", "t/a.1/x"]
        );
    }

    #[test]
    fn a_numbered_name_is_never_longer_than_a_name_may_be() {
        let name = format!("t/{}.txt", "é".repeat(125));
        let names = resolved(&[&name, &name, &name]);
        assert_eq!(names[0], name);
        assert_eq!(names[2], format!("t/{}.2.txt", "é".repeat(120)));
        assert!(names.iter().all(|name| name.len() <= 2 + 255));
    }

    #[test]
    fn five_hundred_clashes_are_resolved_and_one_more_is_refused() {
        let mut names = vec!["same".to_owned(); 501];
        let mut lent: Vec<&mut String> = names.iter_mut().collect();
        assert_eq!(
            resolve_clashes(&mut lent).map(|renamed| renamed.len()),
            Ok(500)
        );
        assert_eq!(names[500], "same.500");
        let mut names = vec!["same".to_owned(); 502];
        let mut lent: Vec<&mut String> = names.iter_mut().collect();
        assert_eq!(resolve_clashes(&mut lent), Err(TooManyClashes));
    }
}
