//! The library's front door: torrents, fetched or seeded, on one thread.
//!
//! ```no_run
//! use minitorrent::client::TorrentClient;
//!
//! let mut client = TorrentClient::builder("big-buck-bunny.torrent")
//!     .output_dir("downloads")
//!     .max_peers(12)
//!     .build()?;
//! client.start()?; // blocks until complete
//! # Ok::<(), minitorrent::client::Error>(())
//! ```
//!
//! A program with a loop of its own drives the client by turns instead, and looks and commands in between:
//!
//! ```no_run
//! # use minitorrent::client::{Outcome, TorrentClient};
//! # use std::time::Duration;
//! # let mut client = TorrentClient::builder("a.torrent").build()?;
//! client.resume()?;
//! while client.outcome().is_none() {
//!     for event in client.turn(Some(Duration::from_millis(100)))? {
//!         println!("{event:?}");
//!     }
//! }
//! # Ok::<(), minitorrent::client::Error>(())
//! ```
//!
//! Several torrents share a [`Client`].

mod builder;
mod config;
pub mod create;
mod download;
mod error;
#[cfg_attr(not(feature = "fetch"), path = "no_fetch.rs")]
mod fetch;
mod finders;
mod load;
mod outcome;
mod plan;
mod ports;
mod process;
mod room;
mod select;
mod torrent_client;
mod whole;

pub use self::builder::{Builder, Source};
pub(crate) use self::config::DEFAULT_PORTS;
pub use self::config::{Config, PEER_ID_PREFIX_MAX, peer_id};
pub use self::download::Download;
pub use self::error::Error;
pub(crate) use self::error::disk_kind;
pub(crate) use self::load::Reading;
pub use self::load::{Target, load, load_target};
pub use self::outcome::Outcome;
pub use self::plan::{Goal, Plan};
pub use self::process::Client;
pub(crate) use self::process::os_seed;
pub use self::select::Choice;
pub(crate) use self::select::pieces_wanted;
pub use self::torrent_client::TorrentClient;
pub(crate) use self::whole::write_whole;
pub use crate::disk::files::Allocate;
pub use crate::engine::dht::Router;
pub use crate::engine::io::{DiskError, DiskErrorKind, Event, TorrentId};
pub use crate::engine::stats::{PeerSnapshot, Phase, Snapshot, TorrentSnapshot};
pub use crate::engine::why::{Waiting, waiting};
pub use crate::net::resolver::Families;
