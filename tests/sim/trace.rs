//! What has happened in a world: a fingerprint of all of it, and the last lines.

use std::collections::VecDeque;
use std::hash::Hasher as _;

use minitorrent::base::time::Instant;

/// The trace of one run.
#[derive(Default)]
pub(crate) struct Trace {
    /// Every line is printed as it comes.
    pub(crate) loud: bool,
    /// The last lines.
    pub(crate) last: VecDeque<(Instant, String)>,
    hasher: Fnv,
}

impl Trace {
    /// Takes down one thing that happened.
    pub(crate) fn note(&mut self, now: Instant, line: impl FnOnce() -> String) {
        let line = line();
        self.hasher.write_u64(now.as_micros());
        self.hasher.write(line.as_bytes());
        if self.loud {
            println!("{now:?} {line}");
        }
        if self.last.len() == LINES {
            self.last.pop_front();
        }
        self.last.push_back((now, line));
    }

    /// One number for everything that has happened.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.hasher.finish()
    }
}

/// FNV-1a: the hasher of the standard library may change, and this one is as good for telling runs apart.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl std::hash::Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Lines that are kept.
const LINES: usize = 50;
