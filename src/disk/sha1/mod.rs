//! SHA-1 of bytes that come in parts, and of two pieces in less time than one after the other.
//!
//! The processor's own instructions for SHA-1 wait for each other: every four rounds need the four before. Two hashes
//! that need nothing of each other fill each other's waits, where the processor is known to have those instructions
//! (`two.rs`); elsewhere they go one after the other.

#[cfg(target_arch = "x86_64")]
mod two;

use sha1::Digest as _;
use sha1::block_api::compress;

/// Bytes that are hashed in one step.
const STEP: usize = 64;

/// A SHA-1 on its way.
#[derive(Clone)]
pub(super) struct Sha1 {
    state: [u32; 5],
    len: u64,
    /// The last `len % STEP` bytes, which wait for those that make a step of them.
    rest: [u8; STEP],
}

impl Default for Sha1 {
    fn default() -> Self {
        Self {
            // RFC 3174, section 6.1.
            state: [
                0x6745_2301,
                0xefcd_ab89,
                0x98ba_dcfe,
                0x1032_5476,
                0xc3d2_e1f0,
            ],
            len: 0,
            rest: [0; STEP],
        }
    }
}

impl Sha1 {
    /// Hashes the next bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        let waiting = self.waiting();
        self.len += bytes.len() as u64;
        let mut bytes = bytes;
        if waiting > 0 {
            let (head, rest) = bytes.split_at(bytes.len().min(STEP - waiting));
            self.rest[waiting..waiting + head.len()].copy_from_slice(head);
            if waiting + head.len() < STEP {
                return;
            }
            compress(&mut self.state, &[self.rest]);
            bytes = rest;
        }
        let (steps, rest) = bytes.as_chunks();
        compress(&mut self.state, steps);
        self.rest[..rest.len()].copy_from_slice(rest);
    }

    /// The hash of all that came, and a new beginning.
    pub(super) fn finish(&mut self) -> [u8; 20] {
        let bits = self.len * 8;
        let waiting = self.waiting();
        let mut end = [0; 2 * STEP];
        end[..waiting].copy_from_slice(&self.rest[..waiting]);
        end[waiting] = 0x80;
        let len = if waiting < STEP - 8 { STEP } else { 2 * STEP };
        end[len - 8..len].copy_from_slice(&bits.to_be_bytes());
        compress(&mut self.state, end[..len].as_chunks().0);
        let words = std::mem::take(self).state;
        let mut hash = [0; 20];
        for (bytes, word) in hash.as_chunks_mut().0.iter_mut().zip(words) {
            *bytes = word.to_be_bytes();
        }
        hash
    }

    fn waiting(&self) -> usize {
        (self.len % STEP as u64) as usize
    }
}

/// Hashes the next bytes of two pieces.
pub(super) fn update_both(one: (&mut Sha1, &[u8]), other: (&mut Sha1, &[u8])) {
    let ((a, mut of_a), (b, mut of_b)) = (one, other);
    if a.waiting() == 0 && b.waiting() == 0 {
        let steps = (of_a.len().min(of_b.len())) / STEP;
        let (both_a, rest_a) = of_a.split_at(steps * STEP);
        let (both_b, rest_b) = of_b.split_at(steps * STEP);
        let blocks = [both_a.as_chunks().0, both_b.as_chunks().0];
        compress_two([&mut a.state, &mut b.state], blocks);
        a.len += both_a.len() as u64;
        b.len += both_b.len() as u64;
        (of_a, of_b) = (rest_a, rest_b);
    }
    a.update(of_a);
    b.update(of_b);
}

/// The SHA-1 of `bytes`.
pub(super) fn sha1(bytes: &[u8]) -> [u8; 20] {
    sha1::Sha1::digest(bytes).into()
}

/// Hashes as many steps for each of two states: both slices are of one length.
fn compress_two(states: [&mut [u32; 5]; 2], blocks: [&[[u8; STEP]]; 2]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(instructions) = two::instructions() {
        return two::interleaved(instructions, states, blocks);
    }
    one_after_the_other(states, blocks);
}

fn one_after_the_other(states: [&mut [u32; 5]; 2], blocks: [&[[u8; STEP]]; 2]) {
    let ([a, b], [of_a, of_b]) = (states, blocks);
    compress(a, of_a);
    compress(b, of_b);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(len: usize, seed: usize) -> Vec<u8> {
        (0..len).map(|at| (at * seed + at / 251) as u8).collect()
    }

    #[test]
    fn the_hash_is_the_same_however_the_bytes_are_cut() {
        let all = bytes(300, 7);
        for len in 0..all.len() {
            for cut in [0, 1, 55, 56, 63, 64, 65, 128, 200] {
                let (head, rest) = all[..len].split_at(cut.min(len));
                let mut sha = Sha1::default();
                sha.update(head);
                sha.update(rest);
                assert_eq!(sha.finish(), sha1(&all[..len]), "{len} cut at {cut}");
                assert_eq!(sha.finish(), sha1(b""), "a new beginning");
            }
        }
    }

    #[test]
    fn two_at_once_are_as_one_after_the_other() {
        let (x, y) = (bytes(1000, 3), bytes(1000, 11));
        for (before, of_x, of_y) in [
            (0, 0, 0),
            (0, 64, 64),
            (0, 640, 640),
            (0, 1000, 64),
            (0, 63, 1000),
            (0, 999, 1000),
            (1, 640, 640),
            (64, 640, 128),
        ] {
            let (mut a, mut b) = (Sha1::default(), Sha1::default());
            b.update(&y[..before]);
            update_both((&mut a, &x[..of_x]), (&mut b, &y[before..of_y.max(before)]));
            update_both((&mut a, &x[of_x..]), (&mut b, &y[of_y.max(before)..]));
            assert_eq!(a.finish(), sha1(&x), "{before} {of_x} {of_y}");
            assert_eq!(b.finish(), sha1(&y), "{before} {of_x} {of_y}");
        }
    }

    /// What `compress_two` chooses from, whatever this processor has; the interleaved one says so where it can't run.
    #[test]
    fn both_ways_make_the_same_states() {
        let (x, y) = (bytes(640, 3), bytes(640, 11));
        let blocks = [x.as_chunks().0, y.as_chunks().0];
        let mut expected = [[1, 2, 3, 4, 5], [u32::MAX, 7, 8, 9, u32::MAX - 1]];
        let begun = expected;
        for (state, blocks) in expected.iter_mut().zip(blocks) {
            compress(state, blocks);
        }
        let [mut a, mut b] = begun;
        one_after_the_other([&mut a, &mut b], blocks);
        assert_eq!([a, b], expected);
        #[cfg(target_arch = "x86_64")]
        if let Some(instructions) = two::instructions() {
            let [mut a, mut b] = begun;
            two::interleaved(instructions, [&mut a, &mut b], blocks);
            assert_eq!([a, b], expected);
        } else {
            eprintln!("not seen: this processor lacks the instructions for two at once");
        }
    }
}
