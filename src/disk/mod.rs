//! The disk: pieces to files and back, SHA-1 of every piece.
//!
//! [`Disk`] holds all the logic and names no system call; it stands on [`Files`], which is [`OsFiles`] in
//! the program and memory in a simulated world. Bytes are written to their final place from the buffer
//! they came in, neighbouring blocks in one call, and hashed from that same buffer when they come in
//! order, two pieces at once where the buffer has blocks of two (`sha1/`); what came out of order is read
//! back. Nothing holds a piece in memory.
//!
//! ```text
//! DiskOp::Write ─> runs of neighbours ─> spans of files ─> Files::write_at
//!                        └─> Running (SHA-1 of a piece so far) ─> DiskDone::Verified
//! DiskOp::Check, Digest, late hashing ─> jobs ─> slices in `work` ─> Files::read_at
//! ```
//!
//! [`resume`] remembers what is there from one run to the next, in a journal a torrent.
//!
//! The loop that drives a [`Store`], once a drain of the session:
//!
//! ```
//! # use std::collections::VecDeque;
//! # use minitorrent::disk::{Budget, FileStore, Store};
//! # use minitorrent::engine::io::{DiskDone, DiskOp};
//! # let (mut ops, received): (Vec<DiskOp>, &[u8]) = (Vec::new(), &[]);
//! let mut store = FileStore::default();
//! let mut done: VecDeque<DiskDone> = VecDeque::new();
//! store.handle(&mut ops, received, &mut done); // all operations of one input, in order
//! let more = store.work(Budget(2 << 20), &mut done); // a slice of what takes long, once a turn
//! assert!(!more && done.is_empty());
//! let now = minitorrent::base::time::Instant::default();
//! if store.poll_timeout().is_some_and(|due| due <= now) {
//!     store.handle_timeout(now); // journal and syncs, at most one long call
//! }
//! ```

mod content;
mod error;
pub mod files;
mod jobs;
#[cfg(test)]
pub(crate) mod mem;
pub mod nodes;
pub mod os;
pub mod resume;
mod sha1;
pub mod store;
mod verify;

pub use error::DiskWarning;
pub use files::{Allocate, FileId, Files, Place, Room, Stamp};
pub use jobs::DONE_MAX;
pub use nodes::NodesFile;
pub use os::OsFiles;
pub use resume::{Journal, OsState, StateFiles, Totals};
pub use store::{Budget, Disk, Store};

/// The store of the program: files of the operating system.
pub type FileStore = Disk<OsFiles, OsState>;
