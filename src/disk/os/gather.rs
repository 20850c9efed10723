//! What was kept of files that were not wanted goes to its place when they are.

use std::io::IoSlice;

use super::OsFiles;
use super::tree::{PARTS, Seen};
use crate::disk::files::{FileId, Files as _};
use crate::engine::io::{DiskError, TorrentId};
use crate::wire::metainfo::FileKind;

impl OsFiles {
    /// Brings what the part file has of files that are wanted now, and not there, to their places.
    pub(super) fn gather(&mut self, torrent: TorrentId) -> Result<(), DiskError> {
        let tree = self.tree(torrent)?;
        if tree.parts_seen == Seen::Missing || tree.place.read_only {
            return Ok(());
        }
        let Some(parts) = &tree.parts else {
            return Ok(());
        };
        let mut ranges = Vec::new();
        let files = (0..).zip(tree.meta.files.iter().zip(&tree.files));
        for (index, (entry, seen)) in files {
            let is_real = entry.kind == FileKind::Regular && entry.length > 0;
            if is_real && *seen == Seen::Missing && !tree.place.unwanted.contains(&index) {
                let of_file = parts.ranges(index, entry.length);
                let placed = of_file.into_iter().filter_map(|(offset, len)| {
                    let (at, _) = parts.place(index, offset)?;
                    Some((index, offset, len, at))
                });
                ranges.extend(placed);
            }
        }
        let mut buffer = vec![0; COPY];
        for (index, offset, len, at) in ranges {
            let id = |file| FileId { torrent, file };
            if self.is_hole(id(PARTS), at, len) {
                continue;
            }
            if let Some(tree) = self.torrents.get_mut(&torrent) {
                tree.gathered.insert(index);
            }
            let mut copied = 0;
            while copied < len {
                let want = usize::try_from(len - copied).unwrap_or(COPY).min(COPY);
                let got = self.read_at(id(PARTS), &mut buffer[..want], at + copied)?;
                if got == 0 {
                    break;
                }
                let mut put = 0;
                while put < got {
                    let part = [IoSlice::new(&buffer[put..got])];
                    put += self.write_at(id(index), &part, offset + copied + put as u64)?;
                }
                copied += got as u64;
            }
        }
        Ok(())
    }
}

/// Bytes copied at once.
const COPY: usize = 256 * 1024;
