//! The store's logic on files in memory.

mod checks;
mod hashing;
mod vouch;
mod writes;

use super::*;

use crate::base::limits;
use crate::base::rng::Rng;
use crate::disk::files::FileId;
use crate::disk::mem::{MemFiles, content, meta, torrent};
use crate::disk::sha1::sha1;
use crate::engine::io::{BlockData, DiskErrorKind};
use crate::wire::metainfo::FileKind::{Pad, Regular};

const B: usize = limits::BLOCK as usize;
/// What one read of a slice takes.
const READ: usize = memory::BUFFER;

/// A disk in memory with one torrent, and what it was asked and has answered.
struct Scene {
    disk: Disk<MemFiles>,
    meta: Arc<Metainfo>,
    content: Vec<u8>,
    done: VecDeque<DiskDone>,
}

impl Scene {
    fn new(piece_length: usize, files: &[(&str, u64, FileKind)]) -> Self {
        let lengths: u64 = files.iter().map(|file| file.1).sum();
        let mut content = content(lengths as usize);
        let mut at = 0;
        for &(_, length, kind) in files {
            if kind == Pad {
                content[at..at + length as usize].fill(0);
            }
            at += length as usize;
        }
        let meta = meta(piece_length as u32, files, &content);
        let mut disk = Disk::new(MemFiles::default());
        disk.add(torrent(0), Arc::clone(&meta), Place::new("/nowhere"))
            .expect("memory takes everything");
        Self {
            disk,
            meta,
            content,
            done: VecDeque::new(),
        }
    }

    fn write(&self, block: Block) -> DiskOp {
        let at = self.meta.geometry.offset(block) as usize;
        DiskOp::Write {
            torrent: torrent(0),
            block,
            data: BlockData::Received(at..at + block.len as usize),
        }
    }

    /// Writes blocks by their number in the whole content, in one batch, from the true content.
    fn batch(&mut self, blocks: &[usize]) -> Vec<String> {
        let content = self.content.clone();
        self.batch_of(blocks, &content)
    }

    fn batch_of(&mut self, blocks: &[usize], received: &[u8]) -> Vec<String> {
        let mut ops = blocks
            .iter()
            .map(|&at| self.write(self.block(at)))
            .collect();
        self.handle(&mut ops, received)
    }

    fn handle(&mut self, ops: &mut Vec<DiskOp>, received: &[u8]) -> Vec<String> {
        self.disk.handle(ops, received, &mut self.done);
        assert!(ops.is_empty());
        self.said()
    }

    fn block(&self, number: usize) -> Block {
        let in_piece = self.meta.geometry.blocks(Piece(0)) as usize;
        let piece = Piece((number / in_piece) as u32);
        self.meta.geometry.block(piece, (number % in_piece) as u32)
    }

    fn work(&mut self, budget: usize) -> (bool, Vec<String>) {
        let more = self.disk.work(Budget(budget), &mut self.done);
        (more, self.said())
    }

    fn check(&mut self) -> Vec<String> {
        let mut said = self.handle(
            &mut vec![DiskOp::Check {
                torrent: torrent(0),
            }],
            &[],
        );
        loop {
            let (more, lines) = self.work(usize::MAX);
            assert!(lines.len() <= DONE_MAX + 1, "{}", lines.len());
            said.extend(lines);
            if !more {
                return said;
            }
        }
    }

    fn said(&mut self) -> Vec<String> {
        self.done.drain(..).map(|done| short(&done)).collect()
    }

    fn file(&self, file: u32) -> &[u8] {
        let torrent = torrent(0);
        self.disk
            .files
            .files
            .get(&FileId { torrent, file })
            .map_or(&[], |content| content)
    }
}

fn short(done: &DiskDone) -> String {
    let at = |block: &Block| format!("{}/{}", block.piece, block.begin / limits::BLOCK);
    match done {
        DiskDone::Wrote { block, .. } => format!("wrote {}", at(block)),
        DiskDone::WriteFailed { block, error, .. } => {
            format!("failed {} {:?}", at(block), error.kind)
        }
        DiskDone::Verified { piece, good, .. } => format!("verified {piece} {good}"),
        DiskDone::Checked { piece, good, .. } => format!("checked {piece} {good}"),
        DiskDone::CheckEnded { error, .. } => {
            format!("ended {:?}", error.as_ref().map(|error| error.kind))
        }
        DiskDone::Digests { piece, blocks, .. } => {
            format!("digests {piece} {}", blocks.len())
        }
        DiskDone::ReadFailed { block, error, .. } => {
            format!("unread {} {:?}", at(block), error.kind)
        }
    }
}
