//! Metainfo files: what a .torrent says (BEP 3, 12, 17, 19, 27, 47, and the v1 half of BEP 52 hybrids).

use std::ops::Range;

use crate::base::geometry::{FileTable, Geometry};
use crate::base::ids::{InfoHash, Piece};

/// A torrent's content and sources, checked and made safe.
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
    /// Whether peers may come from trackers only (BEP 27).
    pub private: bool,
    /// As written by the maker, not escaped.
    pub comment: Option<String>,
    /// As written by the maker, not escaped.
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

impl Metainfo {
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
}
