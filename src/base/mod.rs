//! Values that know nothing of the network: identities, time, chance, slots, geometry, caps.

pub mod bitfield;
pub mod buffer;
pub mod crc32c;
pub mod escape;
pub mod geometry;
pub mod ids;
pub mod limits;
pub mod memory;
pub mod rate;
pub mod rng;
pub mod slots;
pub mod time;
