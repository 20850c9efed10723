//! Which files of a torrent are wanted, in a person's words.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;

use super::error::Error;
use crate::base::bitfield::Bitfield;
use crate::base::escape::escape_field;
use crate::base::ids::Piece;
use crate::wire::metainfo::{FileKind, Metainfo};

/// Files by number, as `show` counts them from 1, or by a pattern.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Choice {
    /// These numbers.
    Numbers(RangeInclusive<u32>),
    /// These places in the torrent's list of files, from 0, as magnet links count them (BEP 53).
    Places(RangeInclusive<u32>),
    /// Paths that match: `*` is any text, `?` any one character; with the torrent's name in front or without it.
    Pattern(String),
}

/// What follows from the choices for one torrent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Chosen {
    /// The files that are not wanted, by their place in [`Metainfo::files`].
    pub(super) unwanted: BTreeSet<u32>,
    /// The pieces that are.
    pub(super) pieces: Bitfield,
    /// Choices that no file is in.
    pub(super) missed: Vec<Choice>,
    /// How many files there are to choose from.
    pub(super) files: u32,
}

/// What these choices mean for a torrent; no piece is chosen if no file with content is.
pub(super) fn choose(choices: &[Choice], metainfo: &Metainfo) -> Chosen {
    let length = u64::from(metainfo.geometry.piece_length());
    let mut pieces = Bitfield::new(metainfo.geometry.pieces());
    let mut unwanted = BTreeSet::new();
    let mut missed: Vec<&Choice> = choices.iter().collect();
    let (mut at, mut number) = (0u64, 0);
    for (index, file) in (0..).zip(&metainfo.files) {
        let (start, end) = (at, at + file.length);
        at = end;
        if file.kind != FileKind::Regular {
            continue;
        }
        number += 1;
        let takes = |choice: &Choice| choice.takes(index, number, &file.path);
        missed.retain(|choice| !takes(choice));
        if !choices.iter().any(takes) {
            unwanted.insert(index);
        } else if end > start {
            let of_file = (start / length) as u32..=((end - 1) / length) as u32;
            of_file.for_each(|piece| {
                pieces.insert(Piece(piece));
            });
        }
    }
    Chosen {
        unwanted,
        pieces,
        missed: missed.into_iter().cloned().collect(),
        files: number,
    }
}

/// The same, of which something must be left: content, or for who `makes` files one that is empty.
///
/// # Errors
///
/// [`Error::Unselected`].
pub(super) fn choose_some(
    choices: &[Choice],
    metainfo: &Metainfo,
    makes: bool,
) -> Result<Chosen, Error> {
    let chosen = choose(choices, metainfo);
    let makes_some = makes && chosen.unwanted.len() < chosen.files as usize;
    if makes_some || !chosen.pieces.is_empty() {
        return Ok(chosen);
    }
    let words = in_words(choices);
    let message = match (chosen.missed.len() == choices.len(), chosen.files) {
        (true, 1) => format!("its only file is not in {words}"),
        (true, files) => format!("none of its {files} files is in {words}"),
        (false, _) => format!("there is nothing in the files of {words}"),
    };
    Err(Error::Unselected { message })
}

/// How many pieces these choices take of a torrent, at least one; none named: all.
///
/// # Errors
///
/// [`Error::Unselected`].
pub(crate) fn pieces_wanted(choices: &[Choice], metainfo: &Metainfo) -> Result<u32, Error> {
    match choices {
        [] => Ok(metainfo.geometry.pieces()),
        choices => choose_some(choices, metainfo, false).map(|chosen| chosen.pieces.count()),
    }
}

/// What a person asked for, in one escaped line.
pub(super) fn in_words(choices: &[Choice]) -> String {
    let words: Vec<String> = choices.iter().map(Choice::to_string).collect();
    words.join(", ")
}

impl Choice {
    fn takes(&self, index: u32, number: u32, path: &str) -> bool {
        match self {
            Self::Places(range) => range.contains(&index),
            Self::Numbers(range) => range.contains(&number),
            Self::Pattern(pattern) => {
                let below = path.split_once('/').map_or(path, |(_, below)| below);
                matches(pattern, path) || matches(pattern, below)
            }
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, range) = match self {
            Self::Numbers(range) => ("", range),
            Self::Places(range) => ("so=", range),
            Self::Pattern(pattern) => return f.write_str(&escape_field(pattern.as_bytes())),
        };
        match range.start() == range.end() {
            true => write!(f, "{what}{}", range.start()),
            false => write!(f, "{what}{}-{}", range.start(), range.end()),
        }
    }
}

/// Whether all of `text` is as `pattern` says. Takes steps of the order of both lengths multiplied at most: only
/// the last `*` is ever tried again.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(letter) if *letter == '?' || *letter == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, taken)) = star else {
                    return false;
                };
                star = Some((at, taken + 1));
                p = at + 1;
                t = taken + 1;
            }
        }
    }
    pattern[p..].iter().all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> Metainfo {
        let mut info = b"d5:filesl".to_vec();
        for (path, length) in [("a.txt", 20), ("b.mkv", 28), ("c.txt", 40)] {
            info.extend(format!("d6:lengthi{length}e4:pathl5:{path}ee").bytes());
        }
        info.extend(b"e4:name1:n12:piece lengthi16e6:pieces120:");
        info.extend([1; 120]);
        info.push(b'e');
        Metainfo::from_info(&info).expect("a plain torrent")
    }

    #[test]
    fn choices_that_no_file_is_in_are_named() {
        let choices = [
            Choice::Numbers(3..=4),
            Choice::Numbers(4..=9),
            Choice::Pattern("*.avi".into()),
            Choice::Places(3..=3),
        ];
        let chosen = choose(&choices, &meta());
        assert_eq!(in_words(&chosen.missed), "4-9, *.avi, so=3");
        assert_eq!((chosen.files, chosen.unwanted.len()), (3, 2));
    }

    fn chosen(choices: &[Choice]) -> (Vec<u32>, Vec<u32>) {
        let chosen = choose(choices, &meta());
        let pieces = chosen.pieces.iter().map(|piece| piece.0).collect();
        (chosen.unwanted.into_iter().collect(), pieces)
    }

    #[test]
    fn files_are_chosen_by_number_and_by_pattern_with_the_pieces_that_they_touch() {
        let numbers = Choice::Numbers(2..=2);
        assert_eq!(chosen(&[numbers]), (vec![0, 2], vec![1, 2]));
        let places = Choice::Places(1..=1);
        assert_eq!(chosen(&[places]), (vec![0, 2], vec![1, 2]));
        let pattern = |text: &str| Choice::Pattern(text.into());
        let texts = chosen(&[pattern("*.txt")]);
        assert_eq!(texts, (vec![1], vec![0, 1, 3, 4, 5]));
        assert_eq!(chosen(&[pattern("n/?.mkv")]), chosen(&[pattern("b*")]));
        let nothing = [pattern("*.avi"), Choice::Numbers(4..=9)];
        assert_eq!(chosen(&nothing), (vec![0, 1, 2], vec![]));
    }

    #[test]
    fn patterns_match_the_whole_text() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*b*c", "aXbXbc", true),
            ("a*b", "abc", false),
            ("?", "\u{e4}", true),
            ("", "a", false),
            ("**a", "ba", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
