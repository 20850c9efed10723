//! Metainfo files: what a .torrent says (BEP 3, 12, 17, 19, 27, 47, and the v1 half of BEP 52 hybrids).

pub mod build;
mod files;
mod hybrid;
mod info;
mod sources;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

use crate::base::escape::escape_field;
use crate::base::geometry::{FileTable, Geometry};
use crate::base::ids::{InfoHash, Piece};
use crate::base::limits;
use crate::wire::bencode::{BencodeError, Fault, Fields, Value};

pub use sources::{TRACKER_SCHEMES, WEB_SEED_SCHEMES, checked_url};

/// A torrent's content and sources, checked and made safe.
///
/// The text fields are as the maker wrote them and not fit for a terminal: escape them.
#[derive(Clone, Debug)]
pub struct Metainfo {
    /// SHA-1 of the raw bytes of `info`.
    pub info_hash: InfoHash,
    /// SHA-256 of the same bytes, if the torrent is a hybrid (BEP 52).
    pub info_hash_v2: Option<[u8; 32]>,
    /// The name, safe as one path element.
    pub name: String,
    /// Pieces and blocks.
    pub geometry: Geometry,
    /// The files in the torrent's order, pad files and symlinks among them.
    pub files: Vec<FileEntry>,
    /// Where each of `files` lies in the content.
    pub table: FileTable,
    /// Announce URLs, verbatim, a list a tier (BEP 12); http, https and udp only, at most 50.
    pub trackers: Vec<Vec<String>>,
    /// Web seeds (BEP 19), verbatim, http and https only.
    pub web_seeds: Vec<String>,
    /// Nodes of the DHT to begin at (BEP 5): a name or an address and a port each, at most 16.
    pub nodes: Vec<(String, u16)>,
    /// Whether peers may come from trackers only (BEP 27).
    pub private: bool,
    /// As written by the maker, not escaped; its first 64 KiB.
    pub comment: Option<String>,
    /// As written by the maker, not escaped; its first 64 KiB.
    pub created_by: Option<String>,
    /// Seconds since 1970.
    pub creation_date: Option<i64>,
    /// What was odd and could be lived with.
    pub warnings: Vec<Warning>,
    /// The raw bytes of `info`.
    info: Vec<u8>,
    /// Where in them the piece hashes are.
    hashes: Range<usize>,
}

impl Metainfo {
    /// A stand-in for a torrent of which only the info-hash is known, and perhaps a name and trackers: one
    /// piece of 16 KiB, so that an announce says that something is missing.
    pub fn stand_in(info_hash: InfoHash, name: String, trackers: Vec<Vec<String>>) -> Self {
        let geometry = Geometry::new(1 << 14, 1 << 14).expect("both are above zero");
        Self {
            info_hash,
            info_hash_v2: None,
            name,
            geometry,
            files: Vec::new(),
            table: FileTable::default(),
            trackers,
            web_seeds: Vec::new(),
            nodes: Vec::new(),
            private: false,
            comment: None,
            created_by: None,
            creation_date: None,
            warnings: Vec::new(),
            info: Vec::new(),
            hashes: 0..0,
        }
    }

    /// Reads a torrent file. Bytes behind it are ignored with a warning; the info-hash is that of the raw
    /// bytes of `info`. Needs memory for a copy of `info`; [`Metainfo::parse_owned`] needs none.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetainfoError> {
        let (mut metainfo, info) = Self::read(bytes)?;
        metainfo.info = bytes[info].to_vec();
        Ok(metainfo)
    }

    /// As [`Metainfo::parse`], within the memory of `bytes`.
    pub fn parse_owned(mut bytes: Vec<u8>) -> Result<Self, MetainfoError> {
        let (mut metainfo, info) = Self::read(&bytes)?;
        bytes.truncate(info.end);
        bytes.drain(..info.start);
        bytes.shrink_to_fit();
        metainfo.info = bytes;
        Ok(metainfo)
    }

    /// Reads an `info` dictionary as peers send it (BEP 9), under the same rules; it names no sources. That
    /// its hash is the one that was wanted is for the caller to see to.
    pub fn from_info(bytes: &[u8]) -> Result<Self, MetainfoError> {
        let mut fields = Fields::new(info::KEYS);
        // As deep as it may be within a file.
        let depth_max = limits::DEPTH_FILE - 1;
        let (info, used) = Value::parse_seeing(bytes, depth_max, |outer, key, value| {
            if outer.is_none() {
                fields.note(key, value);
            }
        })?;
        if used != bytes.len() {
            return Err(Fault::Syntax.at(used).into());
        }
        if info.as_dict().is_none() {
            return Err(Fault::Type.at(0).into());
        }
        let mut metainfo = info::read(info, fields.found()?, None)?;
        metainfo.info = bytes.to_vec();
        Ok(metainfo)
    }

    /// Whether it stands in for metadata that is not known yet ([`Metainfo::stand_in`]).
    pub fn is_stand_in(&self) -> bool {
        self.info.is_empty()
    }

    /// The SHA-1 of `piece`, which must be below `geometry.pieces()`.
    pub fn hash(&self, piece: Piece) -> [u8; 20] {
        let at = self.hashes.start + piece.index() * 20;
        let mut hash = [0; 20];
        hash.copy_from_slice(&self.info[at..at + 20]);
        hash
    }

    /// The raw bytes of the `info` dictionary, as other peers may ask for (BEP 9).
    pub fn info(&self) -> &[u8] {
        &self.info
    }

    /// Everything but the bytes of `info`, and where those are.
    fn read(bytes: &[u8]) -> Result<(Self, Range<usize>), MetainfoError> {
        let not_bencode = |what| MetainfoError::new("torrent.not-bencode", what);
        match bytes.first() {
            None => return Err(not_bencode("the file is empty")),
            Some(b'd' | b'l') => {}
            Some(_) => return Err(not_bencode("the file does not begin as a torrent does")),
        }
        // Most of a file is its list of files: to look for a key behind that is to read it again.
        let mut fields = Fields::new(KEYS);
        let mut info_fields = Fields::new(info::KEYS);
        let see = |outer: Option<&[u8]>, key: &[u8], value| match outer {
            None => fields.note(key, value),
            Some(b"info") => info_fields.note(key, value),
            Some(_) => {}
        };
        let (root, used) = Value::parse_seeing(bytes, limits::DEPTH_FILE, see)?;
        if root.as_dict().is_none() {
            return Err(not_bencode("the file is a list, not a dictionary"));
        }
        let [
            info,
            announce,
            announce_list,
            url_list,
            nodes,
            comment,
            created_by,
            created,
        ] = fields.found()?;
        let info = info
            .filter(|info| info.as_dict().is_some())
            .ok_or_else(|| MetainfoError::new("torrent.info", "there is no info dictionary"))?;
        let mut metainfo = info::read(info, info_fields.found()?, Some(root))?;

        let warnings = &mut metainfo.warnings;
        metainfo.trackers = sources::trackers(announce, announce_list, warnings);
        metainfo.web_seeds = sources::web_seeds(url_list, warnings);
        metainfo.nodes = sources::nodes(nodes);
        metainfo.comment = text(comment);
        metainfo.created_by = text(created_by);
        metainfo.creation_date = created.and_then(|date| match date.as_int() {
            Ok(seconds) => Some(seconds),
            Err(error) => {
                // It is only shown, so it must not cost a torrent that is good otherwise.
                warnings.push(Warning::new(
                    error.kind(),
                    format!("creation date: {error}"),
                ));
                None
            }
        });
        if used < bytes.len() {
            let message = format!("{} bytes ignored", bytes.len() - used);
            warnings.push(Warning::new("torrent.trailing", message));
        }
        let start = info.offset();
        Ok((metainfo, start..start + info.raw().len()))
    }
}

/// One file of a torrent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileEntry {
    /// Where it goes below the output directory: safe elements between `/`, the torrent's name first if it
    /// has several files.
    pub path: String,
    /// Bytes.
    pub length: u64,
    /// Whether it is written at all.
    pub kind: FileKind,
}

/// What an entry of the file list is (BEP 47).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// Content, written to disk.
    Regular,
    /// Padding: counts as zero bytes, is never written.
    Pad,
    /// A symbolic link: never made.
    Symlink,
}

/// Something odd in a torrent file that does not stop it from loading.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning {
    /// The kind, as in `torrent.trailing`.
    pub kind: &'static str,
    /// One line, escaped.
    pub message: String,
}

/// Why bytes are no torrent that can be loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetainfoError {
    /// The kind, as in `torrent.pieces`.
    pub kind: &'static str,
    /// One line, escaped.
    pub message: String,
}

impl MetainfoError {
    fn new(kind: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, message }
    }

    /// An error of `kind` about what was written as `raw`.
    fn about(kind: &'static str, what: &str, raw: &[u8]) -> Self {
        Self::new(kind, format!("{what}: `{}`", escape_field(raw)))
    }

    /// A number that can't be used: a bad one is named so, any other value is an error of `kind`.
    fn number(kind: &'static str, key: &str, error: BencodeError) -> Self {
        let kind = match error.fault {
            Fault::Number => error.kind(),
            _ => kind,
        };
        Self::new(kind, format!("{key}: {error}"))
    }
}

impl From<BencodeError> for MetainfoError {
    fn from(error: BencodeError) -> Self {
        Self::new(error.kind(), error.to_string())
    }
}

impl fmt::Display for MetainfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for MetainfoError {}

impl Warning {
    fn new(kind: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, message }
    }
}

/// The keys around `info` that are read.
const KEYS: [&[u8]; 8] = [
    b"info",
    b"announce",
    b"announce-list",
    b"url-list",
    b"nodes",
    b"comment",
    b"created by",
    b"creation date",
];

fn text(value: Option<Value<'_>>) -> Option<String> {
    let bytes = value?.as_bytes()?;
    let kept = &bytes[..bytes.len().min(limits::TEXT_MAX)];
    Some(String::from_utf8_lossy(kept).into_owned())
}
