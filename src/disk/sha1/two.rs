//! Two SHA-1 at once with the processor's own instructions (SHA-NI).
//!
//! The crate `fearless_simd` looks at the processor and makes calling such instructions safe. It knows them only as part
//! of what processors with AVX-512 have (Intel from Ice Lake on in servers, AMD from Zen 4 on); elsewhere the two go one
//! after the other.

use fearless_simd::x86::Avx512;
use fearless_simd::{Level, prelude::*, u8x16, u32x4};

/// That the processor has them.
pub(super) fn instructions() -> Option<Avx512> {
    Level::new().as_avx512()
}

/// Four rounds with the function and constant of that number, for each stream and its words.
macro_rules! rounds {
    ($number:literal, $($stream:ident: $words:expr),+) => {$(
        let e = _mm_sha1nexte_epu32($stream.before, $words);
        $stream.before = $stream.abcd;
        $stream.abcd = _mm_sha1rnds4_epu32::<$number>($stream.abcd, e);
    )+};
}

/// The next four words of a stream's schedule, in the place of the oldest of its sixteen.
macro_rules! words {
    ($stream:ident, $oldest:ident, $second:ident, $third:ident, $newest:ident) => {{
        let mixed = _mm_sha1msg1_epu32($stream.$oldest, $stream.$second);
        let mixed = _mm_xor_si128(mixed, $stream.$third);
        $stream.$oldest = _mm_sha1msg2_epu32(mixed, $stream.$newest);
        $stream.$oldest
    }};
}

fearless_simd::kernel!(
    pub(super) fn interleaved(
        avx512: Avx512,
        states: [&mut [u32; 5]; 2],
        blocks: [&[[u8; 64]]; 2],
    ) {
        use core::arch::x86_64::*;

        /// A to D with A on top, E on top, A to D before the last four rounds, and the last sixteen words.
        struct Stream {
            abcd: __m128i,
            e: __m128i,
            before: __m128i,
            m0: __m128i,
            m1: __m128i,
            m2: __m128i,
            m3: __m128i,
        }

        let zero = _mm_setzero_si128();
        let turned = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
        let load = |bytes: &[u8]| _mm_shuffle_epi8(u8x16::from_slice(avx512, bytes).into(), turned);
        let begin = |state: &[u32; 5]| {
            let [a, b, c, d, e] = state.map(u32::cast_signed);
            Stream {
                abcd: _mm_set_epi32(a, b, c, d),
                e: _mm_set_epi32(e, 0, 0, 0),
                before: zero,
                m0: zero,
                m1: zero,
                m2: zero,
                m3: zero,
            }
        };
        let end = |stream: Stream| {
            let abcd: u32x4<_> = stream.abcd.simd_into(avx512);
            let [d, c, b, a] = abcd.into();
            [a, b, c, d, _mm_extract_epi32::<3>(stream.e).cast_unsigned()]
        };

        let [state_a, state_b] = states;
        let (mut a, mut b) = (begin(state_a), begin(state_b));
        for (of_a, of_b) in blocks[0].iter().zip(blocks[1]) {
            (a.m0, a.m1) = (load(&of_a[..16]), load(&of_a[16..32]));
            (a.m2, a.m3) = (load(&of_a[32..48]), load(&of_a[48..]));
            (b.m0, b.m1) = (load(&of_b[..16]), load(&of_b[16..32]));
            (b.m2, b.m3) = (load(&of_b[32..48]), load(&of_b[48..]));
            let (was_a, was_b) = (a.abcd, b.abcd);
            // The first four take E as it is; those behind make it of A four rounds ago.
            (a.before, b.before) = (a.abcd, b.abcd);
            a.abcd = _mm_sha1rnds4_epu32::<0>(a.abcd, _mm_add_epi32(a.e, a.m0));
            b.abcd = _mm_sha1rnds4_epu32::<0>(b.abcd, _mm_add_epi32(b.e, b.m0));
            rounds!(0, a: a.m1, b: b.m1);
            rounds!(0, a: a.m2, b: b.m2);
            rounds!(0, a: a.m3, b: b.m3);
            rounds!(0, a: words!(a, m0, m1, m2, m3), b: words!(b, m0, m1, m2, m3));
            rounds!(1, a: words!(a, m1, m2, m3, m0), b: words!(b, m1, m2, m3, m0));
            rounds!(1, a: words!(a, m2, m3, m0, m1), b: words!(b, m2, m3, m0, m1));
            rounds!(1, a: words!(a, m3, m0, m1, m2), b: words!(b, m3, m0, m1, m2));
            rounds!(1, a: words!(a, m0, m1, m2, m3), b: words!(b, m0, m1, m2, m3));
            rounds!(1, a: words!(a, m1, m2, m3, m0), b: words!(b, m1, m2, m3, m0));
            rounds!(2, a: words!(a, m2, m3, m0, m1), b: words!(b, m2, m3, m0, m1));
            rounds!(2, a: words!(a, m3, m0, m1, m2), b: words!(b, m3, m0, m1, m2));
            rounds!(2, a: words!(a, m0, m1, m2, m3), b: words!(b, m0, m1, m2, m3));
            rounds!(2, a: words!(a, m1, m2, m3, m0), b: words!(b, m1, m2, m3, m0));
            rounds!(2, a: words!(a, m2, m3, m0, m1), b: words!(b, m2, m3, m0, m1));
            rounds!(3, a: words!(a, m3, m0, m1, m2), b: words!(b, m3, m0, m1, m2));
            rounds!(3, a: words!(a, m0, m1, m2, m3), b: words!(b, m0, m1, m2, m3));
            rounds!(3, a: words!(a, m1, m2, m3, m0), b: words!(b, m1, m2, m3, m0));
            rounds!(3, a: words!(a, m2, m3, m0, m1), b: words!(b, m2, m3, m0, m1));
            rounds!(3, a: words!(a, m3, m0, m1, m2), b: words!(b, m3, m0, m1, m2));
            a.abcd = _mm_add_epi32(a.abcd, was_a);
            b.abcd = _mm_add_epi32(b.abcd, was_b);
            a.e = _mm_sha1nexte_epu32(a.before, a.e);
            b.e = _mm_sha1nexte_epu32(b.before, b.e);
        }
        *state_a = end(a);
        *state_b = end(b);
    }
);
