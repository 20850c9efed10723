//! Cuts a stream of bytes into messages, and puts together those that the receive buffer cut in two.

use std::ops::Range;

use crate::base::limits;
use crate::wire::message::{self, Decoded, Message, WireError};

/// The part of a message that has come, while the rest has not.
#[derive(Default)]
pub struct Inbox {
    partial: Vec<u8>,
    needed: usize,
}

/// One message out of the bytes handed in.
#[derive(Debug)]
pub struct Frame<'a> {
    /// The message.
    pub message: Message<'a>,
    /// Where the data of a `piece` message is, counted from the front of the bytes it was decoded from.
    pub data: Range<usize>,
    /// Bytes of the whole message.
    pub used: usize,
}

impl Inbox {
    /// Whether a cut message waits for its rest: then [`Inbox::join`] comes before [`Inbox::frame`].
    pub fn is_partial(&self) -> bool {
        !self.partial.is_empty()
    }

    /// The next whole message at the front of `bytes`, or `None` if it is cut: then [`Inbox::keep`] it.
    pub fn frame(bytes: &[u8], bitfield_len: usize) -> Result<Option<Frame<'_>>, WireError> {
        match message::decode(bytes, bitfield_len)? {
            Decoded::Message { message, used } => {
                let data = message::PIECE_HEADER.min(used)..used;
                Ok(Some(Frame {
                    message,
                    data,
                    used,
                }))
            }
            Decoded::Incomplete { .. } => Ok(None),
        }
    }

    /// Keeps the front of a cut message, in a buffer of the pool if it is a long one.
    pub fn keep(&mut self, cut: &[u8], pool: &mut Pool) {
        debug_assert!(self.partial.is_empty(), "one message at a time is cut");
        if cut.is_empty() {
            return;
        }
        self.partial = pool.take();
        self.partial.extend_from_slice(cut);
        self.needed = 0;
    }

    /// Adds to the cut message what it needs from the front of `bytes`. Gives how many were taken and, when it
    /// is whole, the buffer that holds it and nothing else; the buffer then belongs to the caller.
    pub fn join(
        &mut self,
        bytes: &[u8],
        bitfield_len: usize,
    ) -> Result<(usize, Option<Vec<u8>>), WireError> {
        let mut taken = 0;
        loop {
            if self.partial.len() >= self.needed {
                match message::decode(&self.partial, bitfield_len)? {
                    Decoded::Message { .. } => {
                        self.needed = 0;
                        return Ok((taken, Some(std::mem::take(&mut self.partial))));
                    }
                    Decoded::Incomplete { needed } => self.needed = needed,
                }
            }
            // Up to five bytes first: the id tells whether the length is believable.
            let goal = if self.partial.len() < 5 {
                self.needed.min(5)
            } else {
                self.needed
            };
            let more = goal
                .saturating_sub(self.partial.len())
                .min(bytes.len() - taken);
            if more == 0 {
                return Ok((taken, None));
            }
            self.partial.extend_from_slice(&bytes[taken..taken + more]);
            taken += more;
            if self.partial.len() == 5 {
                self.needed = 0;
            }
        }
    }

    /// How much of `room` to read into: if what comes are blocks, the read then ends with one of them. What is
    /// never cut is never copied, and takes no buffer.
    pub fn read_size(&self, room: usize) -> usize {
        let length = match self.partial.first_chunk::<4>() {
            Some(head) => u32::from_be_bytes(*head) as usize + head.len(),
            None if self.partial.is_empty() => 0,
            None => BUFFER,
        };
        let missing = length.saturating_sub(self.partial.len());
        match room.checked_sub(missing).map(|rest| rest / BUFFER) {
            Some(blocks @ 1..) => missing + blocks * BUFFER,
            Some(0) | None => room,
        }
    }

    /// Gives the buffer back when the connection ends.
    pub fn close(&mut self, pool: &mut Pool) {
        pool.give(std::mem::take(&mut self.partial));
    }
}

/// Buffers for cut messages, each with room for a block: taken while a message is cut, given back when its
/// bytes are on disk.
#[derive(Default)]
pub struct Pool {
    free: Vec<Vec<u8>>,
    out: usize,
}

impl Pool {
    /// An empty buffer.
    pub fn take(&mut self) -> Vec<u8> {
        self.out += 1;
        self.free
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(BUFFER))
    }

    /// Takes a buffer back. A few are kept, those that grew are not.
    pub fn give(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() == 0 {
            return;
        }
        self.out = self.out.saturating_sub(1);
        if self.free.len() < KEPT && buffer.capacity() <= 2 * BUFFER {
            buffer.clear();
            self.free.push(buffer);
        }
    }

    /// Buffers that were taken and have not come back.
    pub fn out(&self) -> usize {
        self.out
    }
}

const BUFFER: usize = limits::BLOCK as usize + message::PIECE_HEADER;
const KEPT: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{Block, Piece};

    fn stream() -> (Vec<u8>, Vec<Message<'static>>) {
        let block = Block {
            piece: Piece(0),
            begin: 0,
            len: 16_384,
        };
        let messages = vec![
            Message::Bitfield(&[0xff, 0xff]),
            Message::KeepAlive,
            Message::Unchoke,
            Message::Piece {
                piece: Piece(1),
                begin: 0,
                data: b"some data of a block",
            },
            Message::Request(block),
            Message::Extended {
                id: 0,
                payload: b"de",
            },
        ];
        let mut bytes = Vec::new();
        messages
            .iter()
            .for_each(|message| message.encode(&mut bytes));
        (bytes, messages)
    }

    /// What comes out when the stream arrives in these parts.
    fn read(parts: &[&[u8]]) -> Vec<String> {
        let (mut inbox, mut pool, mut seen) = (Inbox::default(), Pool::default(), Vec::new());
        for part in parts {
            let mut bytes = *part;
            while !bytes.is_empty() {
                if inbox.is_partial() {
                    let (taken, whole) = inbox.join(bytes, 2).expect("honest");
                    bytes = &bytes[taken..];
                    if let Some(whole) = whole {
                        let frame = Inbox::frame(&whole, 2).expect("honest").expect("whole");
                        assert_eq!(frame.used, whole.len());
                        seen.push(format!("{:?}", frame.message));
                        pool.give(whole);
                    }
                } else if let Some(frame) = Inbox::frame(bytes, 2).expect("honest") {
                    if let Message::Piece { data, .. } = frame.message {
                        assert_eq!(&bytes[frame.data.clone()], data);
                    }
                    seen.push(format!("{:?}", frame.message));
                    bytes = &bytes[frame.used..];
                } else {
                    inbox.keep(bytes, &mut pool);
                    bytes = &[];
                }
            }
        }
        assert_eq!(pool.out(), 0);
        seen
    }

    #[test]
    fn the_messages_are_the_same_however_the_stream_is_cut() {
        let (bytes, messages) = stream();
        let want: Vec<_> = messages
            .iter()
            .map(|message| format!("{message:?}"))
            .collect();
        assert_eq!(read(&[&bytes]), want);
        for at in 1..bytes.len() {
            assert_eq!(read(&[&bytes[..at], &bytes[at..]]), want, "cut at {at}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(&single), want);
    }

    #[test]
    fn a_read_of_the_right_size_ends_with_a_block_wherever_the_last_one_ended() {
        let room = 262_144;
        let block = [&[0, 0, 0x40, 9, 7], [0; BUFFER - 5].as_slice()].concat();
        for at in [0, 1, 3, 4, 5, 13, 9_000, BUFFER - 1] {
            let (mut inbox, mut pool) = (Inbox::default(), Pool::default());
            inbox.keep(&block[..at], &mut pool);
            let size = inbox.read_size(room);
            assert!(size <= room && size > room - 2 * BUFFER, "{at}: {size}");
            assert_eq!((at + size) % BUFFER, 0, "{at}: {size}");
            // A small room, that of a rate limit, is used as it is.
            assert_eq!(inbox.read_size(10_000), 10_000);
        }
    }

    #[test]
    fn nothing_is_gathered_for_a_length_that_no_message_has() {
        let (mut inbox, mut pool) = (Inbox::default(), Pool::default());
        inbox.keep(&[0x00], &mut pool);
        let (taken, whole) = inbox
            .join(&[0x01, 0x00, 0x00], 2)
            .expect("only the length so far");
        assert_eq!((taken, whole), (3, None));
        assert!(inbox.join(&[0x07, 1, 2, 3], 2).is_err());
    }
}
