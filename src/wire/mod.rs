//! Bytes to values and back: no clock, no state, no I/O. Everything here is fuzzed.

pub mod bencode;
pub mod extension;
pub mod handshake;
pub mod krpc;
pub mod lsd;
pub mod magnet;
pub mod message;
pub mod metainfo;
pub mod names;
pub mod tracker_http;
pub mod tracker_udp;
pub mod ut_metadata;
pub mod ut_pex;
