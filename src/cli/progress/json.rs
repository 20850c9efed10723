//! Events as JSON on standard output: an object a line, `event` first. Fields may be added, none renamed.

use serde::Serialize;

use crate::cli::face::Run;
use crate::cli::terminal;
use crate::client::Event;
use crate::wire::metainfo::Metainfo;

/// A stream of JSON lines.
pub(in crate::cli) struct Json;

impl Json {
    pub(super) fn started(&mut self, metainfo: &Metainfo, port: u16) {
        line(&Line::Started {
            info_hash: metainfo.info_hash.to_string(),
            name: &metainfo.name,
            length: metainfo.geometry.total(),
            port,
        });
    }

    pub(super) fn tick(&mut self, run: &Run) {
        let it = &run.torrent;
        line(&Line::Progress {
            pieces: it.pieces_have,
            of: it.pieces,
            downloaded: it.downloaded,
            uploaded: it.uploaded,
            wasted: it.wasted,
            down_rate: it.down_rate,
            up_rate: it.up_rate,
            peers: it.peers,
            seeds: it.seeds,
            longest_turn_ms: run.longest_turn.as_secs_f64() * 1000.0,
            checked: it.pieces_checked,
        });
    }

    pub(super) fn complete(&mut self, run: &Run) {
        self.tick(run);
        line(&Line::Complete {
            seconds: run.elapsed.as_secs_f64(),
            downloaded: run.torrent.downloaded,
            uploaded: run.torrent.uploaded,
            wasted: run.torrent.wasted,
            verified: run.torrent.bytes_have,
        });
    }

    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::Tracker { url, result, .. } => line(&Line::Tracker {
                url,
                status: if result.is_ok() { "ok" } else { "error" },
                peers: *result.as_ref().unwrap_or(&0),
                message: result.as_ref().err().map_or("", String::as_str),
            }),
            Event::PeerConnected {
                address, client, ..
            } => peer(address.to_string(), client, "connected", ""),
            Event::PeerGone { address, why, .. } => peer(address.to_string(), "", "gone", why),
            Event::Metadata { info, .. } => {
                let of = info.len().div_ceil(METADATA_PIECE);
                line(&Line::Metadata { have: of, of });
            }
            Event::Banned { address, piece, .. } => {
                let message = format!("bad data in piece {piece}");
                peer(address.to_string(), "", "banned", &message);
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
            | Event::Stopped => {}
        }
    }
}

fn peer(address: String, client: &str, state: &'static str, message: &str) {
    line(&Line::Peer {
        address,
        client,
        state,
        message,
    });
}

/// One line of the stream.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(in crate::cli) enum Line<'a> {
    Started {
        info_hash: String,
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
    Complete {
        seconds: f64,
        downloaded: u64,
        uploaded: u64,
        wasted: u64,
        verified: u64,
    },
}

/// Writes one.
pub(in crate::cli) fn line(line: &Line<'_>) {
    // Numbers and text always have a JSON form; if not, a line is lost and nothing else.
    if let Ok(text) = serde_json::to_string(line) {
        terminal::out(&text);
    }
}

/// Bytes of a piece of metadata (BEP 9).
const METADATA_PIECE: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_the_fields_that_scripts_rely_on() {
        let text = |line: &Line<'_>| serde_json::to_string(line).expect("text has a JSON form");
        let name = "n";
        assert_eq!(
            text(&Line::Started {
                info_hash: "ab".into(),
                name,
                length: 1,
                port: 2
            }),
            r#"{"event":"started","info_hash":"ab","name":"n","length":1,"port":2}"#
        );
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
            }),
            r#"{"event":"progress","pieces":1,"of":2,"downloaded":3,"uploaded":4,"wasted":5,"down_rate":6,"up_rate":7,"peers":8,"seeds":9,"longest_turn_ms":1.5,"checked":10}"#
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
            text(&Line::Complete {
                seconds: 0.5,
                downloaded: 1,
                uploaded: 2,
                wasted: 3,
                verified: 4
            }),
            r#"{"event":"complete","seconds":0.5,"downloaded":1,"uploaded":2,"wasted":3,"verified":4}"#
        );
    }

    #[test]
    fn the_event_comes_first_and_fields_have_their_names() {
        let warning = Line::Warning {
            kind: "a.b",
            message: "\u{1b}",
        };
        let text = serde_json::to_string(&warning).expect("text has a JSON form");
        assert_eq!(
            text,
            r#"{"event":"warning","kind":"a.b","message":"\u001b"}"#
        );
    }
}
