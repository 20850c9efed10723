//! What the fuzz targets run: `cargo +nightly fuzz run NAME`, from the directory above.
//!
//! Each target's body is one function of [`bodies`], which `tests/fuzz_seeds.rs` runs as well, on every seed.

pub mod bodies;
