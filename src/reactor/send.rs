//! Sending: what a session has for one connection, gathered into one `writev`.
//!
//! Headers are lent by the session. Blocks are read from disk into one buffer, and neighbours of a piece by one
//! read: for blocks of 16 KiB that costs less than `sendfile`.

use std::io::{self, IoSlice, Write as _};

use super::host::Host;
use super::sockets::{SocketKey, Sockets, Stream};
use crate::base::ids::Block;
use crate::base::limits;
use crate::base::memory;
use crate::base::time::Instant;
use crate::disk::{FileStore, Store as _};
use crate::engine::io::{DiskDone, Event, Input, Segment, Segments, TorrentId};

use super::host::HostId;

/// Sends on one connection, once, what its session has and its socket takes; gives how many bytes.
pub(super) fn send(
    host: &mut Host,
    net: &mut Sockets,
    now: Instant,
    key: SocketKey,
    buffer: &mut [u8],
    heard: &mut Vec<(HostId, Event)>,
) -> usize {
    let Some(stream) = net.stream_mut(key) else {
        return 0;
    };
    let conn = stream.conn;
    // The segment that passes the room still counts: the buffer has a block more.
    let most = buffer.len() - limits::BLOCK as usize;
    stream.room = stream.room.min(most);
    let mut segments = Segments::new(stream.room);
    host.session.poll_transmit(now, conn, &mut segments);
    if segments.as_slice().is_empty() {
        net.handle_write(key, true, false);
        return 0;
    }
    let mut failed = None;
    let ready = read_blocks(&mut host.store, segments.as_slice(), buffer, &mut failed);
    // What is not read now is hashed first, or can't be read.
    host.has_job |= ready < segments.as_slice().len();
    let wrote = write(stream, &segments.as_slice()[..ready], buffer);
    if let Some(failed) = failed {
        host.done.push_back(failed);
    }
    match wrote {
        Ok(Wrote { bytes, all }) => {
            if bytes > 0 {
                host.session.transmitted(now, conn, bytes);
            }
            host.settle(net, now, &[], heard);
            let more = net.stream(key).is_some() && has_more(host, now, conn);
            net.handle_write(key, all, more);
            bytes
        }
        Err(error) => {
            log::debug!("connection {conn:?} broke: {error}");
            host.close(net, conn);
            host.handle(net, now, Input::Failed { conn }, heard);
            0
        }
    }
}

fn has_more(host: &Host, now: Instant, conn: crate::engine::io::ConnId) -> bool {
    let mut one = Segments::new(1);
    host.session.poll_transmit(now, conn, &mut one);
    !one.as_slice().is_empty()
}

/// Reads the blocks among `segments` one behind the other into `buffer`, and says how many segments can be
/// sent: all but those from the first that the buffer has no room for; or from the header of the first that can't be
/// read, or whose piece is hashed before it is read.
fn read_blocks(
    store: &mut FileStore,
    segments: &[Segment<'_>],
    buffer: &mut [u8],
    failed: &mut Option<DiskDone>,
) -> usize {
    let mut filled = 0;
    let mut at = 0;
    while at < segments.len() {
        let Segment::Block { torrent, block } = segments[at] else {
            at += 1;
            continue;
        };
        let (next, run) = run_of_neighbours(segments, at, torrent, block, buffer.len() - filled);
        let Some(next) = next else {
            return at;
        };
        let place = &mut buffer[filled..filled + run.len as usize];
        match store.read(torrent, run, place) {
            Ok(true) => {
                filled += place.len();
                at = next;
                continue;
            }
            Ok(false) => return at.saturating_sub(1),
            Err(_) => {}
        }
        // One of them can't be read: the others still can.
        let place = &mut place[..block.len as usize];
        match store.read(torrent, block, place) {
            Ok(true) => {}
            Ok(false) => return at.saturating_sub(1),
            Err(error) => {
                *failed = Some(DiskDone::ReadFailed {
                    torrent,
                    block,
                    error,
                });
                return at.saturating_sub(1);
            }
        }
        filled += place.len();
        at += 1;
    }
    segments.len()
}

/// The blocks from segment `at` that follow each other without a gap within their piece and fit into `room`, as
/// one, and the first segment behind them; `None` if not even the first fits.
fn run_of_neighbours(
    segments: &[Segment<'_>],
    at: usize,
    of: TorrentId,
    first: Block,
    room: usize,
) -> (Option<usize>, Block) {
    let mut run = first;
    if first.len as usize > room {
        return (None, run);
    }
    let mut next = at + 1;
    for (index, segment) in segments.iter().enumerate().skip(at + 1) {
        let Segment::Block { torrent, block } = segment else {
            continue;
        };
        let follows = *torrent == of && block.piece == run.piece && run.end() == Some(block.begin);
        let Some(len) = run.len.checked_add(block.len) else {
            break;
        };
        if !follows || len as usize > room {
            break;
        }
        run.len = len;
        next = index + 1;
    }
    (Some(next), run)
}

struct Wrote {
    bytes: usize,
    all: bool,
}

/// One `writev` of these segments, whose blocks lie one behind the other in `buffer`.
fn write(stream: &mut Stream, segments: &[Segment<'_>], buffer: &[u8]) -> io::Result<Wrote> {
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let mut used = 0;
    let mut at = 0;
    let mut offered = 0;
    for (slice, segment) in slices.iter_mut().zip(segments) {
        *slice = IoSlice::new(match segment {
            Segment::Bytes(bytes) => bytes,
            Segment::Block { block, .. } => {
                let from = at;
                at += block.len as usize;
                &buffer[from..at]
            }
        });
        offered += slice.len();
        used += 1;
    }
    if offered == 0 {
        return Ok(Wrote {
            bytes: 0,
            all: true,
        });
    }
    let bytes = match stream.tcp.write_vectored(&slices[..used]) {
        Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            return Ok(Wrote {
                bytes: 0,
                all: true,
            });
        }
        Err(error) => return Err(error),
    };
    let all = bytes == offered;
    // What the socket does not take was read from disk for nothing, so offer about what it took last.
    stream.room = if all {
        (stream.room * 2).min(ROOM_MAX)
    } else {
        bytes.max(limits::BLOCK as usize)
    };
    Ok(Wrote { bytes, all })
}

/// What a new connection is offered at once.
pub(super) const ROOM_START: usize = 64 * 1024;
/// The most that one turn sends on one connection, if the buffer has room for it.
const ROOM_MAX: usize = memory::BUFFER;
/// As many as a session gives in one call.
const SLICES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::Piece;
    use crate::base::slots::Key;

    #[test]
    fn neighbours_with_headers_between_are_one_read_and_a_gap_or_another_piece_ends_it() {
        let torrent = Key::from_bits(0);
        let block = |piece, begin, len| Segment::Block {
            torrent,
            block: Block {
                piece: Piece(piece),
                begin,
                len,
            },
        };
        let head = Segment::Bytes(&[0; 13]);
        let segments = [
            head,
            block(1, 0, 10),
            head,
            block(1, 10, 20),
            head,
            block(1, 40, 5),
            block(2, 45, 5),
        ];
        let first = |at: usize| match segments[at] {
            Segment::Block { block, .. } => block,
            Segment::Bytes(_) => unreachable!("a block stands there"),
        };
        let run = |at, room| run_of_neighbours(&segments, at, torrent, first(at), room);
        let joined = Block {
            piece: Piece(1),
            begin: 0,
            len: 30,
        };
        assert_eq!(run(1, 1000), (Some(4), joined));
        assert_eq!(run(1, 29), (Some(2), first(1)));
        assert_eq!(run(1, 9).0, None);
        assert_eq!(run(5, 1000), (Some(6), first(5)));
    }
}
