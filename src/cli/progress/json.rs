//! Events as JSON on standard output: an object a line, `event` first. Fields may be added, none renamed.

use std::net::SocketAddr;

use serde::Serialize;

use super::Labels;
use crate::cli::face::{Label, State};
use crate::cli::terminal;
use crate::client::{Event, Phase, TorrentSnapshot, waiting};
use crate::wire::metainfo::Metainfo;

/// A stream of JSON lines.
pub(in crate::cli) struct Json;

impl Json {
    pub(super) fn started(&mut self, metainfo: &Metainfo, port: u16) {
        let hash = metainfo.info_hash.to_string();
        let started = Line::Started {
            name: &metainfo.name,
            length: metainfo.geometry.total(),
            port,
        };
        line(&started, Some(&hash));
    }

    pub(super) fn tick(&mut self, state: &State, labels: &Labels) {
        for it in &state.torrents {
            let Some(label) = labels.get(&it.torrent) else {
                continue;
            };
            if it.phase == Phase::Describing {
                let (have, of) = (it.metadata.0 as usize, it.metadata.1 as usize);
                line(&Line::Metadata { have, of }, Some(&label.hash));
            }
            self.progress(state, it, label);
        }
    }

    fn progress(&self, state: &State, it: &TorrentSnapshot, label: &Label) {
        let progress = Line::Progress {
            pieces: it.pieces_have,
            of: it.pieces,
            downloaded: it.downloaded,
            uploaded: it.uploaded,
            wasted: it.wasted,
            down_rate: it.down_rate,
            up_rate: it.up_rate,
            peers: it.peers,
            seeds: it.seeds,
            longest_turn_ms: state.longest_turn.as_secs_f64() * 1000.0,
            checked: it.pieces_checked,
            state_written: state.state_written,
            waiting: waiting(it).map(|why| why.to_string()),
        };
        line(&progress, Some(&label.hash));
    }

    pub(super) fn complete(&mut self, state: &State, it: &TorrentSnapshot, label: &Label) {
        self.progress(state, it, label);
        let complete = Line::Complete {
            seconds: state.elapsed.as_secs_f64(),
            downloaded: it.downloaded,
            uploaded: it.uploaded,
            wasted: it.wasted,
            verified: it.bytes_have,
            state_written: state.state_written,
        };
        line(&complete, Some(&label.hash));
    }

    /// `hash` is that of the torrent that it is about.
    pub(super) fn event(&mut self, event: &Event, hash: Option<&str>) {
        let peer = |address: &SocketAddr, client: &str, state: &'static str, message: &str| {
            let address = address.to_string();
            let peer = Line::Peer {
                address,
                client,
                state,
                message,
            };
            line(&peer, hash);
        };
        match event {
            Event::Tracker { url, result, .. } => {
                let tracker = Line::Tracker {
                    url,
                    status: if result.is_ok() { "ok" } else { "error" },
                    peers: *result.as_ref().unwrap_or(&0),
                    message: result.as_ref().err().map_or("", String::as_str),
                };
                line(&tracker, hash);
            }
            Event::PeerConnected {
                address, client, ..
            } => peer(address, client, "connected", ""),
            Event::PeerGone { address, why, .. } => peer(address, "", "gone", why),
            Event::Metadata { info, .. } => {
                let of = info.len().div_ceil(METADATA_PIECE);
                line(&Line::Metadata { have: of, of }, hash);
            }
            Event::Banned { address, piece, .. } => {
                let message = format!("bad data in piece {piece}");
                peer(address, "", "banned", &message);
            }
            // These are in the progress, or become warnings and errors.
            Event::Checked { .. }
            | Event::PieceDone { .. }
            | Event::PieceFailed { .. }
            | Event::Complete { .. }
            | Event::DiskTrouble { .. }
            | Event::DiskRecovered { .. }
            | Event::Warning { .. }
            | Event::Scraped { .. }
            | Event::Removed { .. }
            | Event::Stopped => {}
        }
    }
}

/// One line of the stream.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(in crate::cli) enum Line<'a> {
    Started {
        name: &'a str,
        length: u64,
        port: u16,
    },
    /// Pieces of 16 KiB of what peers say a magnet link stands for.
    Metadata {
        have: usize,
        of: usize,
    },
    Progress {
        pieces: u32,
        of: u32,
        downloaded: u64,
        uploaded: u64,
        wasted: u64,
        down_rate: u64,
        up_rate: u64,
        peers: u32,
        seeds: u32,
        longest_turn_ms: f64,
        checked: u32,
        /// Bytes of lasting state: what flash memory takes beside the content.
        state_written: u64,
        /// Why nothing comes in.
        waiting: Option<String>,
    },
    Tracker {
        url: &'a str,
        status: &'static str,
        peers: u32,
        message: &'a str,
    },
    Peer {
        address: String,
        client: &'a str,
        state: &'static str,
        message: &'a str,
    },
    Warning {
        kind: &'a str,
        message: &'a str,
    },
    Error {
        kind: &'a str,
        message: &'a str,
    },
    /// What `check` found.
    Checked {
        name: &'a str,
        complete: bool,
        pieces: u32,
        of: u32,
    },
    Complete {
        seconds: f64,
        downloaded: u64,
        uploaded: u64,
        wasted: u64,
        verified: u64,
        state_written: u64,
    },
}

/// A line, and which torrent it is about.
#[derive(Serialize)]
struct About<'a> {
    #[serde(flatten)]
    line: &'a Line<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info_hash: Option<&'a str>,
}

/// Writes one; `info_hash` is that of the torrent that it is about, if it is about one.
pub(in crate::cli) fn line(line: &Line<'_>, info_hash: Option<&str>) {
    // Numbers and text always have a JSON form; if not, a line is lost and nothing else.
    if let Ok(text) = text(line, info_hash) {
        match line {
            Line::Complete { .. } => terminal::tell_end(&text),
            _ => terminal::tell(&text),
        }
    }
}

/// The same as text, for whom it is the answer.
pub(in crate::cli) fn text(line: &Line<'_>, info_hash: Option<&str>) -> serde_json::Result<String> {
    serde_json::to_string(&About { line, info_hash })
}

/// Bytes of a piece of metadata (BEP 9).
const METADATA_PIECE: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_the_fields_that_scripts_rely_on() {
        let started = Line::Started {
            name: "n",
            length: 1,
            port: 2,
        };
        assert_eq!(
            super::text(&started, Some("ab")).expect("text has a JSON form"),
            r#"{"event":"started","name":"n","length":1,"port":2,"info_hash":"ab"}"#
        );
        let text = |line: &Line<'_>| super::text(line, None).expect("text has a JSON form");
        assert_eq!(
            text(&Line::Metadata { have: 3, of: 12 }),
            r#"{"event":"metadata","have":3,"of":12}"#
        );
        assert_eq!(
            text(&Line::Progress {
                pieces: 1,
                of: 2,
                downloaded: 3,
                uploaded: 4,
                wasted: 5,
                down_rate: 6,
                up_rate: 7,
                peers: 8,
                seeds: 9,
                longest_turn_ms: 1.5,
                checked: 10,
                state_written: 11,
                waiting: Some("w".into()),
            }),
            r#"{"event":"progress","pieces":1,"of":2,"downloaded":3,"uploaded":4,"wasted":5,"down_rate":6,"up_rate":7,"peers":8,"seeds":9,"longest_turn_ms":1.5,"checked":10,"state_written":11,"waiting":"w"}"#
        );
        assert_eq!(
            text(&Line::Tracker {
                url: "u",
                status: "ok",
                peers: 1,
                message: ""
            }),
            r#"{"event":"tracker","url":"u","status":"ok","peers":1,"message":""}"#
        );
        assert_eq!(
            text(&Line::Peer {
                address: "a".into(),
                client: "c",
                state: "connected",
                message: ""
            }),
            r#"{"event":"peer","address":"a","client":"c","state":"connected","message":""}"#
        );
        let (kind, message) = ("k", "m");
        assert_eq!(
            text(&Line::Error { kind, message }),
            r#"{"event":"error","kind":"k","message":"m"}"#
        );
        assert_eq!(
            text(&Line::Checked {
                name: "n",
                complete: false,
                pieces: 1,
                of: 2
            }),
            r#"{"event":"checked","name":"n","complete":false,"pieces":1,"of":2}"#
        );
        assert_eq!(
            text(&Line::Complete {
                seconds: 0.5,
                downloaded: 1,
                uploaded: 2,
                wasted: 3,
                verified: 4,
                state_written: 5
            }),
            r#"{"event":"complete","seconds":0.5,"downloaded":1,"uploaded":2,"wasted":3,"verified":4,"state_written":5}"#
        );
    }

    #[test]
    fn the_event_comes_first_and_fields_have_their_names() {
        let warning = Line::Warning {
            kind: "a.b",
            message: "\u{1b}",
        };
        let text = text(&warning, None).expect("text has a JSON form");
        assert_eq!(
            text,
            r#"{"event":"warning","kind":"a.b","message":"\u001b"}"#
        );
    }
}
