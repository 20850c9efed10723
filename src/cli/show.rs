//! `show`: what a torrent file says, for people or as JSON.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use super::exit::Exit;
use super::face::Face;
use super::options::Options;
use super::progress::Progress;
use super::{terminal, units};
use crate::base::escape::{escape, escape_field};
use crate::client::Reading;
use crate::reactor::Interrupts;
use crate::wire::metainfo::{FileKind, Metainfo};

/// Shows every torrent.
pub(super) fn show(options: &Options, interrupts: &Interrupts) -> Exit {
    let mut worst = Exit::Complete;
    for torrent in &options.torrents {
        let exit = show_one(options, torrent, interrupts);
        worst = worst.max(exit);
        if exit == Exit::Interrupted {
            break;
        }
    }
    worst
}

fn show_one(options: &Options, torrent: &OsStr, interrupts: &Interrupts) -> Exit {
    match Reading::of(&options.config, interrupts).torrent(Path::new(torrent)) {
        Ok(metainfo) if options.json => {
            json(&metainfo).map_or(Exit::Internal, |text| terminal::answer(&text, interrupts))
        }
        Ok(metainfo) => terminal::answer(text(&metainfo).trim_end(), interrupts),
        Err(error) => Face::new(Progress::None, options).unread(&error, torrent),
    }
}

/// All of it as one JSON object.
pub(super) fn json(metainfo: &Metainfo) -> Option<String> {
    serde_json::to_string(&Shown::of(metainfo)).ok()
}

/// The JSON object. Fields may be added, none renamed.
#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    info_hash: Option<String>,
    info_hash_v2: Option<String>,
    length: u64,
    piece_length: u32,
    pieces: u32,
    private: bool,
    files: Vec<ShownFile<'a>>,
    trackers: &'a [Vec<String>],
    web_seeds: &'a [String],
    comment: Option<&'a str>,
    created_by: Option<&'a str>,
    creation_date: Option<i64>,
    warnings: Vec<ShownWarning<'a>>,
}

#[derive(Serialize)]
struct ShownFile<'a> {
    path: &'a str,
    length: u64,
}

#[derive(Serialize)]
struct ShownWarning<'a> {
    kind: &'a str,
    message: &'a str,
}

impl<'a> Shown<'a> {
    fn of(metainfo: &'a Metainfo) -> Self {
        Self {
            name: &metainfo.name,
            info_hash: Some(metainfo.info_hash.to_string()),
            info_hash_v2: metainfo.info_hash_v2.as_ref().map(|hash| hex(hash)),
            length: metainfo.geometry.total(),
            piece_length: metainfo.geometry.piece_length(),
            pieces: metainfo.geometry.pieces(),
            private: metainfo.private,
            files: written(metainfo)
                .map(|(path, length)| ShownFile { path, length })
                .collect(),
            trackers: &metainfo.trackers,
            web_seeds: &metainfo.web_seeds,
            comment: metainfo.comment.as_deref(),
            created_by: metainfo.created_by.as_deref(),
            creation_date: metainfo.creation_date,
            warnings: metainfo
                .warnings
                .iter()
                .map(|warning| ShownWarning {
                    kind: warning.kind,
                    message: &warning.message,
                })
                .collect(),
        }
    }
}

/// The files that a download writes.
fn written(metainfo: &Metainfo) -> impl Iterator<Item = (&str, u64)> {
    let regular = |kind| match kind {
        FileKind::Regular => true,
        FileKind::Pad | FileKind::Symlink => false,
    };
    let files = metainfo.files.iter().filter(move |file| regular(file.kind));
    files.map(|file| (file.path.as_str(), file.length))
}

fn text(metainfo: &Metainfo) -> String {
    let mut text = String::new();
    let mut line = |what: &str, value: &str| {
        let _ = writeln!(text, "{what:<13} {value}");
    };
    let geometry = &metainfo.geometry;
    line("name", &escape_field(metainfo.name.as_bytes()));
    line("info-hash", &metainfo.info_hash.to_string());
    if let Some(hash) = &metainfo.info_hash_v2 {
        line("info-hash v2", &hex(hash));
    }
    let total = geometry.total();
    line("size", &format!("{} ({total} bytes)", units::bytes(total)));
    let each = units::bytes(u64::from(geometry.piece_length()));
    line("pieces", &format!("{} of {each}", geometry.pieces()));
    line("private", if metainfo.private { "yes" } else { "no" });
    let optional = [
        ("comment", metainfo.comment.as_deref()),
        ("created by", metainfo.created_by.as_deref()),
    ];
    for (what, value) in optional {
        if let Some(value) = value {
            line(what, &escape_field(value.as_bytes()));
        }
    }
    if let Some(seconds) = metainfo.creation_date {
        line("created", &format!("{seconds} (seconds since 1970)"));
    }
    for (tier, urls) in metainfo.trackers.iter().enumerate() {
        for url in urls {
            line(
                "tracker",
                &format!("{} {}", tier + 1, escape_field(url.as_bytes())),
            );
        }
    }
    for url in &metainfo.web_seeds {
        line("web seed", &escape_field(url.as_bytes()));
    }
    for warning in &metainfo.warnings {
        line(
            "warning",
            &format!("[{}] {}", warning.kind, warning.message),
        );
    }
    line("files", &written(metainfo).count().to_string());
    for (number, (path, length)) in (1..).zip(written(metainfo)) {
        let path = escape(path.as_bytes(), PATH_MAX);
        let _ = writeln!(text, "{number:>4} {:>13} {path}", units::bytes(length));
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Longer than any path that is accepted.
const PATH_MAX: usize = 5000;
