//! minitorrent: a BitTorrent client on one thread and one `mio::Poll`.
//!
//! # The map
//!
//! ```text
//! base  <-  wire  <-  net  <-  engine  <-  disk  <-  reactor  <-  client  <-  cli
//! ```
//!
//! A module imports its own layer and those to its left, never to its right (`tests/layers.rs` holds it).
//!
//! | layer | what it is |
//! |---|---|
//! | [`base`] | values that know nothing of the network: ids, time, chance, slots, geometry, caps |
//! | [`wire`] | bytes to values and back, no clock, no state |
//! | [`net`] | protocol machines that know nothing of torrents (HTTP, DNS, TLS) |
//! | [`engine`] | BitTorrent itself, pure: no socket, file, clock or chance of its own |
//! | [`disk`] | the store: pieces to files and back, SHA-1 |
//! | [`reactor`] | the only code that names mio: the turn, sockets, the clock |
//! | [`client`] | the library's front door |
//! | [`cli`] | the command line |
//!
//! # Vocabulary
//!
//! A *piece* has a hash, a *block* is at most 16 KiB of one; a *peer* is connected, an *address* is not yet.

pub mod base;
pub mod cli;
pub mod client;
pub mod disk;
pub mod engine;
pub mod net;
pub mod reactor;
pub mod wire;

/// The example in README.md, so that it compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
