//! BitTorrent itself, pure: sockets, files, the clock and chance stay outside.
//!
//! [`Session`] is the whole engine; [`io`] is everything that crosses its boundary.

pub mod command;
pub mod conn;
pub mod dht;
pub mod io;
pub mod lsd;
pub mod peer;
pub mod session;
pub mod stats;
pub mod timers;
pub mod torrent;
pub mod tracker;
pub mod why;

pub use session::Session;
