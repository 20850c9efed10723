//! What torrents share: room in memory and on the disk, and no place of their files.

use std::fs;
use std::path::{Path, PathBuf};

use super::config::Config;
use super::download::Download;
use super::error::Error;
use super::plan::Plan;
use super::process::Client;
use crate::base::escape::escape_field;
use crate::base::memory::Memory;
use crate::engine::command::Command;
use crate::engine::io::{DiskErrorKind, Event, TorrentId};
use crate::wire::metainfo::Metainfo;
use crate::wire::names;

impl Client {
    /// Whether a torrent, `own` if it is known already, has a place of its own on the disk and in memory.
    pub(super) fn make_room(
        &mut self,
        own: Option<TorrentId>,
        metainfo: &Metainfo,
        plan: &Plan,
    ) -> Result<(), Error> {
        let others = self.downloads.iter().filter(|(id, _)| Some(**id) != own);
        let root = root(metainfo, plan);
        for (_, other) in others {
            let reads = plan.goal.only_reads() && other.plan().goal.only_reads();
            let theirs = root_of(other);
            let clash = theirs.is_some_and(|it| it.starts_with(&root) || root.starts_with(&it));
            if clash && !reads && other.metainfo.info_hash != metainfo.info_hash {
                let dir = escape_field(plan.output_dir.as_os_str().as_encoded_bytes());
                let other = escape_field(other.metainfo.name.as_bytes());
                return Err(Error::Clash {
                    message: format!("its files would lie in {dir} where those of {other} do"),
                });
            }
        }
        let known = self.downloads.iter().filter(|(id, _)| Some(**id) != own);
        let known: u64 = known.map(|(_, it)| tables_of(it)).sum();
        memory(&self.config, known + tables(metainfo)).map(|_| ())
    }

    /// Fits the buffers and the number of peers to what the torrents leave of the memory limit.
    pub(super) fn fit(&mut self) -> Result<(), Error> {
        let known: u64 = self.downloads.values().map(tables_of).sum();
        let memory = memory(&self.config, known)?;
        if memory == self.memory {
            return Ok(());
        }
        self.memory = memory;
        self.reactor.resize(memory);
        let resize = Command::Resize {
            max_peers: self.config.max_peers.min(memory.peers),
            requests: memory.requests,
        };
        // A session that refuses is stopping, and needs no more room.
        let _ = self.reactor.command(self.host, resize);
        Ok(())
    }

    /// Says behind the news of a full disk how much is missing there.
    pub(super) fn name_room(&self, event: &mut Event) {
        if let Event::DiskTrouble { torrent, error } = event
            && error.kind == DiskErrorKind::Full
            && let Some(download) = self.downloads.get(torrent)
            && let torrents = self.reactor.torrents(self.host)
            && let Some(it) = torrents.iter().find(|it| it.torrent == *torrent)
            && let Ok(stat) = rustix::fs::statvfs(&download.plan().output_dir)
        {
            let need = it.bytes.saturating_sub(it.bytes_have);
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let more = format!(": need {need} bytes, have {free}");
            error.message.push_str(&more);
        }
    }
}

/// The one file or directory below the output directory that all of a torrent is in, as file systems compare names.
fn root(metainfo: &Metainfo, plan: &Plan) -> PathBuf {
    let dir = &plan.output_dir;
    let dir = fs::canonicalize(dir).or_else(|_| std::path::absolute(dir));
    let path = metainfo.files.first().map_or("", |file| &file.path);
    let name = path.split('/').next().unwrap_or_default();
    dir.as_deref()
        .unwrap_or(Path::new(""))
        .join(names::fold(name))
}

fn root_of(download: &Download) -> Option<PathBuf> {
    let is_known = !download.metainfo.is_stand_in();
    is_known.then(|| root(&download.metainfo, download.plan()))
}

/// What the limit allows when the tables of torrents take so many bytes.
pub(super) fn memory(config: &Config, tables: u64) -> Result<Memory, Error> {
    let Some(limit) = config.mem_limit else {
        return Ok(Memory::default());
    };
    Memory::within(limit, tables, config.max_peers).map_err(|least| Error::Memory { limit, least })
}

/// Bytes of a torrent's tables: hashes, the picker's, paths and what is known of files.
fn tables(metainfo: &Metainfo) -> u64 {
    u64::from(metainfo.geometry.pieces()) * PIECE_COST + metainfo.files.len() as u64 * FILE_COST
}

fn tables_of(download: &Download) -> u64 {
    match download.outcome() {
        Some(_) => 0,
        None => tables(&download.metainfo),
    }
}

/// Bytes that each piece of a torrent costs: its hash, its places in the picker, its bits.
const PIECE_COST: u64 = 48;
/// Bytes that each file costs: entry, path, what is known of it.
const FILE_COST: u64 = 400;
