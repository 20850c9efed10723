//! One budget for memory (`--mem-limit`): from it follow the sizes of buffers and how many peers there may be.
//!
//! What a limit is spent on:
//!
//! ```text
//! the program itself   PROGRAM: code that is in use, stack, what the C library keeps
//! the torrent          its hashes, paths and the picker's tables: as large as they are
//! the rest             an eighth each: receive buffer, send buffer, read-back buffer
//!                      half: the peers, PEER each at least, most of it in the kernel's socket buffers
//! ```

use super::limits;

/// Sizes that follow from how much memory there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// Bytes of the one buffer that everything received passes through.
    pub receive: usize,
    /// The most bytes sent at once, read from disk into one buffer.
    pub send: usize,
    /// Bytes of one read when data is hashed that was written just now.
    pub read_back: usize,
    /// Bytes of one read when what is there is checked: two pieces, to be hashed at once, unless memory is short.
    pub check: usize,
    /// The most peers there is room for.
    pub peers: usize,
    /// The most requests in flight to a peer.
    pub requests: usize,
    /// Bytes of a connection's receive and send buffers in the kernel; `None` leaves them to the kernel.
    pub socket: Option<Socket>,
}

/// Sizes of a connection's buffers in the kernel, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Socket {
    /// For what comes in.
    pub receive: usize,
    /// For what goes out.
    pub send: usize,
}

impl Default for Memory {
    /// No limit.
    fn default() -> Self {
        Self {
            receive: RECEIVE,
            send: BUFFER,
            read_back: BUFFER,
            check: 2 * BUFFER,
            peers: usize::MAX,
            requests: limits::REQQ,
            socket: None,
        }
    }
}

impl Memory {
    /// What fits into `limit` bytes, of which the torrent itself takes `torrent`, for at most `peers` peers.
    ///
    /// # Errors
    ///
    /// The least limit that would do.
    pub fn within(limit: u64, torrent: u64, peers: usize) -> Result<Self, u64> {
        let Some(least) = torrent.checked_add(PROGRAM + SPARE_MIN) else {
            return Err(u64::MAX);
        };
        if limit < least {
            return Err(least);
        }
        let spare = limit - least + SPARE_MIN;
        let spare = usize::try_from(spare).unwrap_or(usize::MAX);
        let buffer = (spare / 8).min(BUFFER) / BLOCK * BLOCK;
        let peers = peers.clamp(1, (spare / 2 / PEER).max(1));
        // The kernel counts its own overhead within, and reserves twice what is asked for.
        let share = (spare / 2 / peers).min(SOCKET_MAX) - PEER_OWN;
        Ok(Self {
            receive: (spare / 8).min(RECEIVE) / FRAME * FRAME,
            send: buffer,
            read_back: buffer,
            check: buffer,
            peers,
            requests: (share / REQUEST_SHARE).clamp(limits::PIPELINE_START, limits::REQQ),
            socket: Some(Socket {
                receive: share / 3,
                send: share / 6,
            }),
        })
    }
}

/// The usual size of each buffer: larger calls are hardly cheaper and spill out of the cache.
pub const BUFFER: usize = 256 * 1024;

/// Whether two pieces may be hashed at once, in little more time than one: on x86-64, if the processor has AVX-512
/// (`disk/sha1`).
pub const HASHES_TWO: bool = cfg!(target_arch = "x86_64");

/// The receive buffer: as large, and as large as whole messages are (BEP 3: 13 bytes before each block). Twice that where
/// two pieces may be hashed at once: however it lies over pieces of the usual 256 KiB, no piece has more than half of it.
const RECEIVE: usize = (if HASHES_TWO { 2 * BUFFER } else { BUFFER }) / BLOCK * FRAME;
const FRAME: usize = BLOCK + 13;
const BLOCK: usize = limits::BLOCK as usize;
/// What the program takes without peers, with a torrent of a few pieces: measured, and rounded up.
const PROGRAM: u64 = 4 << 20;
/// With less than this beside the program and the torrent, not two blocks would fit into a buffer.
const SPARE_MIN: u64 = 512 * 1024;
/// What a peer takes at the least, in its own tables and in the kernel.
const PEER: usize = 80 * 1024;
/// Of which in its own tables: a cut block, requests of both sides, what goes out next.
const PEER_OWN: usize = 32 * 1024;
/// More does not make a connection faster before 100 ms times 40 MiB a second.
const SOCKET_MAX: usize = 16 << 20;
/// A request in flight for each of so many bytes: two blocks of payload may wait in the kernel for each.
const REQUEST_SHARE: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_set_fits_into_the_limit() {
        for limit in [5u64, 6, 8, 12, 16, 64, 1024, 1 << 20].map(|mib| mib << 20) {
            for peers in [1, 12, 200, 10_000] {
                let memory = Memory::within(limit, 100_000, peers).expect("enough");
                let socket = memory.socket.expect("limited");
                // The kernel doubles what it is asked for.
                let peer = 2 * (socket.receive + socket.send) + PEER_OWN;
                let buffers = memory.receive + memory.send + memory.read_back;
                let all = PROGRAM + 100_000 + (buffers + memory.peers * peer) as u64;
                assert!(all <= limit, "{limit} {peers}: {memory:?}");
                assert!(memory.receive >= 2 * BLOCK && memory.send >= 2 * BLOCK);
                assert!(memory.peers >= 1 && memory.peers <= peers);
            }
        }
    }

    #[test]
    fn a_limit_that_is_too_small_names_the_one_that_would_do() {
        let torrent = 1 << 20;
        let least = Memory::within(1, torrent, 12).expect_err("too small");
        assert_eq!(least, (5 << 20) + (512 << 10));
        assert!(Memory::within(least, torrent, 12).is_ok());
        assert!(Memory::within(least - 1, torrent, 12).is_err());
        assert!(Memory::within(u64::MAX, u64::MAX, 12).is_err());
    }

    #[test]
    fn more_peers_than_fit_are_fewer_and_a_wide_limit_keeps_them_all() {
        let peers = |mib: u64| Memory::within(mib << 20, 0, 200).map(|memory| memory.peers);
        assert_eq!(peers(8), Ok(25));
        assert_eq!(peers(64), Ok(200));
    }
}
