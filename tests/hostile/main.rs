//! The real program among peers that lie, flood, drip and hang up, with the same invariants checked in each case.
//!
//! The names of the tests begin with the row of `docs/RELIABILITY.md` that they prove.
#![expect(
    clippy::disallowed_methods,
    reason = "faulty peers are threads that block and sleep, in real time"
)]

mod crowds;
mod downloads;
mod faces;
mod files;
mod kills;
mod kit;
mod limits;
#[path = "../program/mod.rs"]
mod program;
mod signals;
mod stage;
mod torrents;
mod uploads;
