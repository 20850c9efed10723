//! The bodies of the fuzz targets: each takes any bytes, and panics where a promise is broken.

mod disk;
mod finders;
mod journal;
mod machines;
mod parsers;
mod script;
mod source;
#[path = "../../../tests/sim/watch.rs"]
mod watch;
mod world;

pub use finders::{dht, extended, krpc, lsd};
pub use journal::journal;
pub use machines::{dns, http_call, http_serve, message};
pub use parsers::{
    bencode, config_file, extension, handshake, magnet, message_round_trip, metainfo, names,
    tracker_http, tracker_udp,
};
pub use script::{peer_script, session_script};

/// A target: its name and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const ALL: &[Target] = &[
    ("bencode", bencode),
    ("metainfo", metainfo),
    ("names", names),
    ("magnet", magnet),
    ("handshake", handshake),
    ("message", message),
    ("message_round_trip", message_round_trip),
    ("extension", extension),
    ("config_file", config_file),
    ("extended", extended),
    ("krpc", krpc),
    ("lsd", lsd),
    ("dht", dht),
    ("tracker_http", tracker_http),
    ("tracker_udp", tracker_udp),
    ("dns", dns),
    ("http_call", http_call),
    ("http_serve", http_serve),
    ("journal", journal),
    ("peer_script", peer_script),
    ("session_script", session_script),
];
