//! Writing a torrent file: the bytes for what is to be shared (BEP 3, 12, 19, 27).
//!
//! The same draft gives the same bytes everywhere: keys are sorted, nothing depends on the clock or the machine.

use super::Metainfo;
use crate::base::limits;

/// What a torrent file is to say.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The file's name, or the directory's.
    pub name: String,
    /// What is shared.
    pub content: Content,
    /// Bytes a piece.
    pub piece_length: u32,
    /// The SHA-1 of each piece, one behind the other.
    pub hashes: Vec<u8>,
    /// Peers come from trackers only (BEP 27).
    pub private: bool,
    /// Whom it is made for: part of `info`, so that the same files have another info-hash elsewhere.
    pub source: Option<String>,
    /// Announce URLs, a list a tier (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// Web seeds (BEP 19).
    pub web_seeds: Vec<String>,
    /// A line for people.
    pub comment: Option<String>,
    /// What made it.
    pub created_by: Option<String>,
    /// Seconds since 1970.
    pub creation_date: Option<i64>,
}

/// One file, or a directory of files.
#[derive(Clone, Debug)]
pub enum Content {
    /// One file of so many bytes.
    File(u64),
    /// Files by the elements of their paths below the directory, with their lengths.
    Directory(Vec<(Vec<String>, u64)>),
}

impl Draft {
    /// The bytes of the torrent file.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.hashes.len() + 1024);
        out.push(b'd');
        announce(&mut out, &self.trackers);
        optional(&mut out, "comment", self.comment.as_ref());
        optional(&mut out, "created by", self.created_by.as_ref());
        if let Some(date) = self.creation_date {
            string(&mut out, b"creation date");
            number(&mut out, date);
        }
        string(&mut out, b"info");
        self.encode_info(&mut out);
        web_seeds(&mut out, &self.web_seeds);
        out.push(b'e');
        out
    }

    fn encode_info(&self, out: &mut Vec<u8>) {
        out.push(b'd');
        match &self.content {
            Content::File(length) => {
                string(out, b"length");
                number(out, length);
            }
            Content::Directory(files) => {
                string(out, b"files");
                out.push(b'l');
                for (path, length) in files {
                    out.push(b'd');
                    string(out, b"length");
                    number(out, length);
                    string(out, b"path");
                    list(out, path);
                    out.push(b'e');
                }
                out.push(b'e');
            }
        }
        pair(out, "name", &self.name);
        string(out, b"piece length");
        number(out, self.piece_length);
        string(out, b"pieces");
        string(out, &self.hashes);
        if self.private {
            string(out, b"private");
            number(out, 1);
        }
        optional(out, "source", self.source.as_ref());
        out.push(b'e');
    }
}

/// The torrent file of a torrent that is known already: its `info` as it came, and its trackers and web seeds.
pub fn wrap(torrent: &Metainfo) -> Vec<u8> {
    let mut out = Vec::with_capacity(torrent.info().len() + 1024);
    out.push(b'd');
    announce(&mut out, &torrent.trackers);
    string(&mut out, b"info");
    out.extend_from_slice(torrent.info());
    web_seeds(&mut out, &torrent.web_seeds);
    out.push(b'e');
    out
}

fn announce(out: &mut Vec<u8>, trackers: &[Vec<String>]) {
    let Some(first) = trackers.iter().flatten().next() else {
        return;
    };
    pair(out, "announce", first);
    if trackers.iter().flatten().count() > 1 {
        string(out, b"announce-list");
        out.push(b'l');
        for tier in trackers.iter().filter(|tier| !tier.is_empty()) {
            list(out, tier);
        }
        out.push(b'e');
    }
}

fn web_seeds(out: &mut Vec<u8>, urls: &[String]) {
    if !urls.is_empty() {
        string(out, b"url-list");
        list(out, urls);
    }
}

/// The piece length for so many bytes: the smallest power of two from 16 KiB to 16 MiB that makes at most
/// 2048 pieces, so that a torrent has about 1000 to 2000, and its file is small.
pub fn piece_length_for(total: u64) -> u32 {
    let mut length = limits::BLOCK;
    while length < PIECE_LENGTH_MOST && total.div_ceil(u64::from(length)) > PIECES_AIM {
        length *= 2;
    }
    length
}

fn pair(out: &mut Vec<u8>, key: &str, value: &str) {
    string(out, key.as_bytes());
    string(out, value.as_bytes());
}

fn optional(out: &mut Vec<u8>, key: &str, value: Option<&String>) {
    if let Some(value) = value {
        pair(out, key, value);
    }
}

fn list(out: &mut Vec<u8>, items: &[String]) {
    out.push(b'l');
    items.iter().for_each(|item| string(out, item.as_bytes()));
    out.push(b'e');
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(bytes);
}

fn number(out: &mut Vec<u8>, value: impl ToString) {
    out.push(b'i');
    out.extend_from_slice(value.to_string().as_bytes());
    out.push(b'e');
}

/// Pieces of a torrent that chooses its piece length itself, at most.
const PIECES_AIM: u64 = 2048;
/// The longest piece that is chosen.
const PIECE_LENGTH_MOST: u32 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::metainfo::Metainfo;

    fn draft() -> Draft {
        Draft {
            name: "dir".into(),
            content: Content::Directory(vec![
                (vec!["a".into()], 3),
                (vec!["b".into(), "c".into()], 1),
            ]),
            piece_length: 16_384,
            hashes: b"01234567890123456789".to_vec(),
            private: true,
            source: Some("here".into()),
            trackers: vec![
                vec!["http://a/announce".into(), "udp://b:1".into()],
                vec!["http://c/announce".into()],
            ],
            web_seeds: vec!["http://w/".into()],
            comment: Some("ä".into()),
            created_by: Some("x".into()),
            creation_date: Some(5),
        }
    }

    #[test]
    fn every_key_stands_in_its_sorted_place() {
        let bytes = draft().encode();
        let expected = "d8:announce17:http://a/announce13:announce-listll17:http://a/announce\
            9:udp://b:1el17:http://c/announceee7:comment2:ä10:created by1:x13:creation datei5e\
            4:infod5:filesld6:lengthi3e4:pathl1:aeed6:lengthi1e4:pathl1:b1:ceee4:name3:dir\
            12:piece lengthi16384e6:pieces20:012345678901234567897:privatei1e6:source4:heree\
            8:url-listl9:http://w/ee";
        assert_eq!(String::from_utf8_lossy(&bytes), expected);
        let read = Metainfo::parse(&bytes).expect("our own torrent");
        assert_eq!(read.trackers, draft().trackers);
        assert_eq!(read.web_seeds, draft().web_seeds);
        assert!(read.private && read.warnings.is_empty());
    }

    #[test]
    fn a_single_file_with_nothing_else_is_only_its_info() {
        let draft = Draft {
            content: Content::File(7),
            private: false,
            source: None,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            comment: None,
            created_by: None,
            creation_date: None,
            ..draft()
        };
        let expected = "d4:infod6:lengthi7e4:name3:dir12:piece lengthi16384e\
            6:pieces20:01234567890123456789ee";
        assert_eq!(String::from_utf8_lossy(&draft.encode()), expected);
    }

    #[test]
    fn the_piece_length_grows_with_the_content_and_stays_in_its_bounds() {
        for (total, expected) in [
            (1, 16 << 10),
            (32 << 20, 16 << 10),
            ((32 << 20) + 1, 32 << 10),
            (1 << 30, 512 << 10),
            (32 << 30, 16 << 20),
            (u64::MAX, 16 << 20),
        ] {
            assert_eq!(piece_length_for(total), expected, "{total}");
        }
    }
}
