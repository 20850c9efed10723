//! BitTorrent itself, pure: sockets, files, the clock and chance stay outside.

pub mod io;
pub mod tracker;
