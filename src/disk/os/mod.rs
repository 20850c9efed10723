//! Files of the operating system: few descriptors, no symlink ever followed, nothing written outside.

mod gather;
mod parts;
mod reserve;
mod tree;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{self, Advice, FileType, FlockOperation, OFlags, SeekFrom};
use rustix::io::{self, Errno, retry_on_intr};
use rustix::process::{Resource, getrlimit};

use crate::disk::error::{refused, system, unknown};
use crate::disk::files::{Allocate, FileId, Files, Place, Room, Stamp};
use crate::engine::io::{DiskError, DiskErrorKind, TorrentId};
use crate::wire::metainfo::{FileKind, Metainfo};
use reserve::{Stretches, reserve_all};
use tree::{Claim, Descent, PARTS, Seen, Tree, below, descend, not_regular, open_at, stamp_of};
use watch::Look;

/// Files below an output directory a torrent, of which only the last used are open.
///
/// Every path is walked from the output directory, one element at a time, with `O_NOFOLLOW`. The output
/// directory itself is opened by its name at each walk and must lie on the file system that it was on at
/// first: what is written never lands in the mount point of a disk that has gone. The last directories stay open, and
/// are believed until one of them lacks what it should have: what is moved away is written to where it is now.
pub struct OsFiles {
    torrents: BTreeMap<TorrentId, Tree>,
    open: BTreeMap<FileId, Open>,
    open_max: usize,
    /// Counts uses, for finding the file that was not used for longest.
    uses: u64,
    /// The directories that were used last, the very last at the end.
    directories: Vec<Directory>,
    /// Directories that were synced in this run, and in which nothing was made since.
    synced: BTreeMap<TorrentId, BTreeSet<String>>,
    /// Files of which somebody asks whether they are touched, as they were then, or as we left them. One that lies in the
    /// part file is touched whenever that is written to, by us as well.
    looks: BTreeMap<FileId, Look>,
}

struct Open {
    fd: OwnedFd,
    writable: bool,
    stretches: Option<Stretches>,
    used: u64,
}

/// What a file is opened for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Read,
    /// It is made if it is not there.
    Write,
    /// Nothing is done with its content, so that it need not be looked at.
    Sync,
}

/// A directory that was walked to: files of one come one after the other.
struct Directory {
    torrent: TorrentId,
    path: String,
    fd: OwnedFd,
}

impl Directory {
    fn leads_to(&self, path: &str) -> bool {
        self.path == path || below(path, &self.path).is_some()
    }
}

impl Default for OsFiles {
    /// With a quarter of the descriptors that the process may have, 8 to 128.
    fn default() -> Self {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self::new((limit / 4).clamp(8, 128) as usize)
    }
}

impl OsFiles {
    /// Keeps at most `open_max` files open, and four directories.
    pub fn new(open_max: usize) -> Self {
        Self {
            torrents: BTreeMap::new(),
            open: BTreeMap::new(),
            open_max: open_max.max(1),
            uses: 0,
            directories: Vec::new(),
            synced: BTreeMap::new(),
            looks: BTreeMap::new(),
        }
    }

    /// The descriptor of `file`, opened if need be; `None` if it is only to be read and isn't there.
    fn open(&mut self, file: FileId, write: bool) -> Result<Option<BorrowedFd<'_>>, DiskError> {
        self.uses += 1;
        let cached = self.open.get(&file);
        if !cached.is_some_and(|open| open.writable || !write) {
            if !write && self.seen(file) == Seen::Missing {
                return Ok(None);
            }
            self.open.remove(&file);
            if self.open.len() >= self.open_max {
                self.close_oldest(self.open_max.div_ceil(8));
            }
            let purpose = if write { Purpose::Write } else { Purpose::Read };
            let Some(fd) = self.open_anew(file, purpose)? else {
                self.see(file, Seen::Missing);
                return Ok(None);
            };
            if self.seen(file) == Seen::Missing {
                self.see(file, Seen::There);
            }
            let stretches = match self.length(file) {
                Some(length) if write => Stretches::of(&fd, length),
                Some(_) | None => None,
            };
            let open = Open {
                fd,
                writable: write,
                stretches,
                used: 0,
            };
            self.open.insert(file, open);
        }
        let uses = self.uses;
        Ok(self.open.get_mut(&file).map(|open| {
            open.used = uses;
            open.fd.as_fd()
        }))
    }

    /// Opens `file`, and makes room or walks its path again where that helps.
    fn open_anew(&mut self, file: FileId, purpose: Purpose) -> Result<Option<OwnedFd>, DiskError> {
        let write = purpose == Purpose::Write;
        let tree = self.tree(file.torrent)?;
        let meta = Arc::clone(&tree.meta);
        let full = tree.place.allocate == Allocate::Full;
        if write && tree.place.read_only {
            return Err(system("write", &tree.path(file), Errno::ROFS));
        }
        let hidden;
        let (path, length) = match meta.files.get(file.file as usize) {
            Some(entry) => (entry.path.as_str(), entry.length),
            None => {
                hidden = parts::name(&meta);
                (hidden.as_str(), 0)
            }
        };
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut new = self.seen(file) == Seen::Missing;
        // Each turn but the last changes something that stood in the way.
        for _ in 0..OPEN_TRIES {
            let mut cached = self.directories.iter();
            let cached = cached.any(|at| at.torrent == file.torrent && at.leads_to(directory));
            let opened = match self.enter(file.torrent, directory, write) {
                Ok(Some(parent)) if write && new => {
                    open_at(parent, name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)
                }
                Ok(Some(parent)) if write => open_at(parent, name, OFlags::RDWR),
                Ok(Some(parent)) => open_at(parent, name, OFlags::RDONLY),
                Ok(None) => Err(Errno::NOENT),
                Err(errno) => Err(errno),
            };
            match opened {
                Ok(fd) if write && new => {
                    if let Some(synced) = self.synced.get_mut(&file.torrent) {
                        synced.remove(directory);
                    }
                    if full {
                        let reserved = reserve_all(&fd, length);
                        reserved.map_err(|e| system("allocate", &self.path(file), e))?;
                    }
                    return Ok(Some(fd));
                }
                Ok(fd) if purpose == Purpose::Sync => return Ok(Some(fd)),
                Ok(fd) => return regular(fd, || self.path(file)).map(Some),
                Err(Errno::EXIST) => new = false,
                // The cached directory, or one below it, may have been removed, and another be there.
                Err(Errno::NOENT) if cached => self.leave(file.torrent),
                Err(Errno::NOENT) if !write => return Ok(None),
                Err(Errno::NOENT) => new = true,
                Err(Errno::MFILE | Errno::NFILE) if !self.open.is_empty() => {
                    self.close_oldest(self.open.len().div_ceil(2));
                }
                Err(errno) => return Err(self.failed("open", file, errno)),
            }
        }
        Err(system("open", &self.path(file), Errno::AGAIN))
    }

    /// Makes the directory `path` of a torrent the last used one; `None` if it isn't there and not to be made.
    fn enter(
        &mut self,
        torrent: TorrentId,
        path: &str,
        make: bool,
    ) -> Result<Option<&OwnedFd>, Errno> {
        let tree = self.torrents.get_mut(&torrent).ok_or(Errno::NODEV)?;
        let known = self.directories.iter().enumerate();
        let known = known.filter(|(_, at)| at.torrent == torrent && at.leads_to(path));
        let known = known.max_by_key(|(_, at)| at.path.len()).map(|at| at.0);
        let here = match known.map(|at| self.directories.remove(at)) {
            Some(here) if here.path == path => here,
            above => {
                let (above, from) = match above {
                    Some(above) => (above.fd, above.path),
                    None => (tree.root_again()?, String::new()),
                };
                let rest = below(path, &from).unwrap_or(path);
                let mut synced = self.synced.get_mut(&torrent);
                let mut note = |parent: usize| {
                    let parent = match parent {
                        0 => from.as_str(),
                        parent => &path[..path.len() - rest.len() + parent],
                    };
                    if let Some(synced) = &mut synced {
                        synced.remove(parent);
                    }
                };
                let note: &mut dyn FnMut(usize) = &mut note;
                let Descent::Found(fd) = descend(above, rest, make.then_some(note))? else {
                    return Ok(None);
                };
                let path = String::from(path);
                Directory { torrent, path, fd }
            }
        };
        if self.directories.len() >= DIRECTORIES {
            self.directories.remove(0);
        }
        self.directories.push(here);
        Ok(self.directories.last().map(|last| &last.fd))
    }

    /// Closes the directories of a torrent.
    fn leave(&mut self, torrent: TorrentId) {
        self.directories.retain(|at| at.torrent != torrent);
    }

    /// The error of a system call on `file`; one that may mean that the disk is gone asks the root.
    fn failed(&mut self, verb: &str, file: FileId, errno: Errno) -> DiskError {
        let Some(tree) = self.torrents.get(&file.torrent) else {
            return system(verb, Path::new(""), errno);
        };
        let error = system(verb, &tree.path(file), errno);
        match error.kind {
            DiskErrorKind::Io | DiskErrorKind::Gone | DiskErrorKind::Changed => {
                let error = tree.away().unwrap_or(error);
                self.close_all(file.torrent);
                error
            }
            DiskErrorKind::Full
            | DiskErrorKind::Denied
            | DiskErrorKind::NotRegular
            | DiskErrorKind::Longer
            | DiskErrorKind::TooBig
            | DiskErrorKind::Locked => error,
        }
    }

    /// Does something to an open file, which should be as we left it, and notes how it is left then.
    fn change<T>(
        &mut self,
        file: FileId,
        act: impl FnOnce(&mut Open) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let tree = self.torrents.get_mut(&file.torrent);
        let (Some(tree), Some(open)) = (tree, self.open.get_mut(&file)) else {
            return Err(Errno::BADF);
        };
        let look = self.looks.remove(&file);
        let as_left = look.is_some() && Look::now(&open.fd) == look;
        tree.expect(file.file, &open.fd);
        let result = act(open);
        tree.leave(file.file, &open.fd);
        if as_left && let Some(look) = Look::now(&open.fd) {
            self.looks.insert(file, look);
        }
        result
    }

    /// Closes the `count` files that were not used for longest: some at once, since each takes a look at all.
    fn close_oldest(&mut self, count: usize) {
        let mut uses: Vec<u64> = self.open.values().map(|open| open.used).collect();
        if let Some(last) = count.min(uses.len()).checked_sub(1) {
            let (_, last, _) = uses.select_nth_unstable(last);
            self.open.retain(|_, open| open.used > *last);
        }
    }

    /// Takes the claim, unless it is held: at the first write the file is made if need be.
    fn take_claim(&mut self, torrent: TorrentId, write: bool) -> Result<(), DiskError> {
        let tree = self.tree(torrent)?;
        let file = match (&tree.claim, tree.claimed()) {
            (Claim::None, Some(file)) if !tree.place.read_only => FileId { torrent, file },
            (Claim::None | Claim::Held(_) | Claim::Impossible, _) => return Ok(()),
        };
        let path = tree.path(file);
        let Some(fd) = self.open(file, write)? else {
            return Ok(());
        };
        // The lock is the open file's, however many descriptors it has, and ends with the last of them.
        let copy = fd.try_clone_to_owned();
        let locked = retry_on_intr(|| fs::flock(fd, FlockOperation::NonBlockingLockExclusive));
        let claim = match (locked, copy) {
            (Err(Errno::WOULDBLOCK), _) => {
                let why = "another process, or another torrent, writes to it already";
                return Err(refused(DiskErrorKind::Locked, "use", &path, why));
            }
            (Ok(()), Ok(copy)) => Claim::Held(copy),
            (Ok(()) | Err(_), _) => Claim::Impossible,
        };
        if let Some(tree) = self.torrents.get_mut(&torrent) {
            tree.claim = claim;
        }
        Ok(())
    }

    fn close_all(&mut self, torrent: TorrentId) {
        // A disk that is to be unmounted must not be kept.
        if let Some(tree) = self.torrents.get_mut(&torrent) {
            tree.claim = Claim::None;
        }
        self.open.retain(|file, _| file.torrent != torrent);
        self.leave(torrent);
    }

    fn path(&self, file: FileId) -> PathBuf {
        let tree = self.torrents.get(&file.torrent);
        tree.map(|tree| tree.path(file)).unwrap_or_default()
    }

    /// How long `file` will be; `None` of the part file.
    fn length(&self, file: FileId) -> Option<u64> {
        let files = &self.torrents.get(&file.torrent)?.meta.files;
        Some(files.get(file.file as usize)?.length)
    }

    fn tree(&self, torrent: TorrentId) -> Result<&Tree, DiskError> {
        let tree = self.torrents.get(&torrent);
        tree.ok_or_else(|| unknown("a torrent"))
    }

    fn seen(&self, file: FileId) -> Seen {
        let tree = self.torrents.get(&file.torrent);
        let seen = tree.and_then(|tree| match file.file {
            PARTS => Some(&tree.parts_seen),
            file => tree.files.get(file as usize),
        });
        seen.copied().unwrap_or(Seen::Missing)
    }

    fn see(&mut self, file: FileId, seen: Seen) {
        let tree = self.torrents.get_mut(&file.torrent);
        let slot = tree.and_then(|tree| match file.file {
            PARTS => Some(&mut tree.parts_seen),
            file => tree.files.get_mut(file as usize),
        });
        if let Some(slot) = slot {
            *slot = seen;
        }
    }

    /// Where byte `offset` of `file` is to be written and read, and how many bytes from there on. `None`: it is in
    /// a file that is not wanted, and in a piece that nobody should have asked for.
    fn place(&self, file: FileId, offset: u64) -> Option<(FileId, u64, u64)> {
        let tree = self.torrents.get(&file.torrent)?;
        if !tree.is_apart(file.file) {
            return Some((file, offset, u64::MAX));
        }
        let (at, len) = tree.parts.as_ref()?.place(file.file, offset)?;
        let apart = FileId {
            file: PARTS,
            ..file
        };
        Some((apart, at, len))
    }

    /// Tells the system how the file will be read that this byte lies in.
    fn advise(&mut self, file: FileId, offset: u64, advice: Advice) {
        if let Some((file, ..)) = self.place(file, offset)
            && let Ok(Some(fd)) = self.open(file, false)
        {
            let _ = fs::fadvise(fd, 0, None, advice);
        }
    }
}

impl Files for OsFiles {
    fn add(
        &mut self,
        torrent: TorrentId,
        meta: &Arc<Metainfo>,
        place: Place,
    ) -> Result<(), DiskError> {
        let tree = Tree::find(meta, place)?;
        self.close_all(torrent);
        self.torrents.insert(torrent, tree);
        let gathered = self.gather(torrent);
        gathered.inspect_err(|_| self.remove(torrent))
    }

    fn claim(&mut self, torrent: TorrentId) -> Result<(), DiskError> {
        self.take_claim(torrent, false)
    }

    fn remove(&mut self, torrent: TorrentId) {
        self.close_all(torrent);
        self.torrents.remove(&torrent);
        self.synced.remove(&torrent);
        self.looks.retain(|file, _| file.torrent != torrent);
    }

    fn survey(&mut self, torrent: TorrentId) -> Result<(), DiskError> {
        self.close_all(torrent);
        match self.torrents.get_mut(&torrent) {
            Some(tree) => tree.survey(),
            None => self.tree(torrent).map(|_| ()),
        }
    }

    fn write_at(
        &mut self,
        file: FileId,
        parts: &[IoSlice<'_>],
        offset: u64,
    ) -> Result<usize, DiskError> {
        self.take_claim(file.torrent, true)?;
        // What nobody should have asked for goes where it belongs.
        let (file, offset, most) = self.place(file, offset).unwrap_or((file, offset, u64::MAX));
        let mut left = usize::try_from(most).unwrap_or(usize::MAX);
        let fits = parts.iter().map(|part| part.len()).sum::<usize>() <= left;
        let cut: Vec<IoSlice<'_>>;
        let parts = if fits {
            parts
        } else {
            let each = parts.iter().map(|part| {
                let len = part.len().min(left);
                left -= len;
                IoSlice::new(&part[..len])
            });
            cut = each.collect();
            &cut
        };
        self.open(file, true)?;
        let written = self.change(file, |Open { fd, stretches, .. }| {
            if let Some(stretches) = stretches {
                let bytes = parts.iter().map(|part| part.len() as u64).sum();
                stretches.cover(&*fd, offset, bytes);
            }
            retry_on_intr(|| io::pwritev(&*fd, parts, offset))
        });
        match written {
            // Nothing written and no reason given: to go on would be to spin.
            Ok(0) => Err(self.failed("write", file, Errno::IO)),
            Ok(written) => Ok(written),
            Err(errno) => Err(self.failed("write", file, errno)),
        }
    }

    fn read_at(&mut self, file: FileId, out: &mut [u8], offset: u64) -> Result<usize, DiskError> {
        let Some((file, offset, most)) = self.place(file, offset) else {
            return Ok(0);
        };
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(out.len());
        let Some(fd) = self.open(file, false)? else {
            return Ok(0);
        };
        let result = retry_on_intr(|| io::pread(fd, &mut out[..most], offset));
        result.map_err(|errno| self.failed("read", file, errno))
    }

    fn read_without_readahead(
        &mut self,
        file: FileId,
        out: &mut [u8],
        offset: u64,
    ) -> Result<usize, DiskError> {
        // Nothing but speed depends on whether it is taken.
        self.advise(file, offset, Advice::Random);
        let result = self.read_at(file, out, offset);
        self.advise(file, offset, Advice::Normal);
        result
    }

    fn len(&mut self, file: FileId) -> Result<u64, DiskError> {
        let tree = self.tree(file.torrent)?;
        if tree.is_apart(file.file) {
            // Which of its bytes are there only reading tells.
            let length = tree.meta.files[file.file as usize].length;
            let there = tree.parts_seen != Seen::Missing;
            return Ok(if there { length } else { 0 });
        }
        let Some(fd) = self.open(file, false)? else {
            return Ok(0);
        };
        let result = fs::fstat(fd);
        let stat = result.map_err(|errno| self.failed("look at", file, errno))?;
        Ok(u64::try_from(stat.st_size).unwrap_or(0))
    }

    fn is_hole(&mut self, file: FileId, offset: u64, len: u64) -> bool {
        if self
            .tree(file.torrent)
            .is_ok_and(|tree| tree.is_apart(file.file))
        {
            return false;
        }
        let Ok(Some(fd)) = self.open(file, false) else {
            return false;
        };
        match fs::seek(fd, SeekFrom::Data(offset)) {
            Ok(data) => data >= offset.saturating_add(len),
            Err(errno) => errno == Errno::NXIO,
        }
    }

    fn finish(&mut self, torrent: TorrentId) -> Result<(), DiskError> {
        let meta = Arc::clone(&self.tree(torrent)?.meta);
        let force = self.tree(torrent)?.place.force;
        for (entry, index) in meta.files.iter().zip(0u32..) {
            let file = FileId {
                torrent,
                file: index,
            };
            let seen = self.seen(file);
            let make = entry.length == 0 && seen == Seen::Missing;
            let cut = force && seen == Seen::Long;
            let unwanted = &self.tree(torrent)?.place.unwanted;
            if entry.kind != FileKind::Regular || !(make || cut) || unwanted.contains(&index) {
                continue;
            }
            self.open(file, true)?;
            if cut {
                let result = self.change(file, |open| fs::ftruncate(&open.fd, entry.length));
                result.map_err(|errno| self.failed("cut", file, errno))?;
                self.see(file, Seen::There);
            }
        }
        // Others may have been at work meanwhile: what was verified is to be found under the files' names.
        let tree = self.torrents.get_mut(&torrent);
        if let Some(file) = tree.map_or(Ok(None), Tree::find_changed)? {
            let file = FileId { torrent, file };
            self.open.remove(&file);
            let why = "another program has removed or changed it";
            return Err(refused(
                DiskErrorKind::Changed,
                "use",
                &self.path(file),
                why,
            ));
        }
        let file = PARTS;
        self.open.remove(&FileId { torrent, file });
        if let Some(tree) = self.torrents.get_mut(&torrent) {
            tree.drop_parts();
        }
        Ok(())
    }

    fn is_meddled(&self, torrent: TorrentId) -> bool {
        let tree = self.torrents.get(&torrent);
        tree.is_some_and(|tree| tree.meddled.is_some())
    }

    fn is_touched(&mut self, file: FileId) -> bool {
        let tree = self.torrents.get(&file.torrent);
        let mut there = file;
        if tree.is_some_and(|tree| tree.is_apart(file.file)) {
            there.file = PARTS;
        }
        let opened = self.open(there, false).ok().flatten();
        let Some(now) = opened.and_then(Look::now) else {
            self.looks.remove(&file);
            return true;
        };
        self.looks.insert(file, now) != Some(now)
    }

    fn stamp(&self, file: FileId) -> Option<Stamp> {
        let tree = self.torrents.get(&file.torrent)?;
        let left = tree.left.get(file.file as usize)?.as_ref();
        left.map(|left| left.stamp)
    }

    fn stamp_apart(&self, file: FileId) -> Option<Stamp> {
        self.torrents.get(&file.torrent)?.stamp_apart(file.file)
    }

    fn is_gathered(&self, file: FileId) -> bool {
        let tree = self.torrents.get(&file.torrent);
        tree.is_some_and(|tree| tree.gathered.contains(&file.file))
    }

    fn sync(&mut self, file: FileId) -> Result<Option<Stamp>, DiskError> {
        let tree = self.tree(file.torrent)?;
        if tree.is_apart(file.file) {
            let size = tree.meta.files[file.file as usize].length;
            let apart = FileId {
                file: PARTS,
                ..file
            };
            let stamp = self.sync(apart)?;
            return Ok(stamp.map(|stamp| Stamp { size, ..stamp }));
        }
        let left = tree.left.get(file.file as usize).copied().flatten();
        let left = left.filter(|_| tree.is_watched);
        if let Some(left) = left
            && !tree.is_lasting
        {
            return Ok(Some(left.stamp));
        }
        // A file that is not open by now will hardly be used again: it is not kept open.
        let opened;
        let fd = if let Some(open) = self.open.get(&file) {
            &open.fd
        } else if let Some(fd) = self.open_anew(file, Purpose::Sync)? {
            opened = fd;
            &opened
        } else {
            return Ok(None);
        };
        // Not only its data: the stamp must be what is found after a power cut. If it is known how we left the file, it is
        // that: what another makes of it since is not ours to vouch for.
        let synced = retry_on_intr(|| fs::fsync(fd)).and_then(|()| match left {
            Some(left) => Ok(left.stamp),
            None => fs::fstat(fd).as_ref().map(stamp_of).map_err(|errno| *errno),
        });
        let stamp = synced.map_err(|errno| self.failed("sync", file, errno))?;
        let meta = Arc::clone(&self.tree(file.torrent)?.meta);
        let path = meta
            .files
            .get(file.file as usize)
            .map_or("", |entry| &entry.path);
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        for path in and_above(directory) {
            let synced = self.synced.get(&file.torrent);
            if synced.is_some_and(|synced| synced.contains(path)) {
                continue;
            }
            let done = match self.enter(file.torrent, path, false) {
                Ok(Some(fd)) => retry_on_intr(|| fs::fsync(fd)),
                Ok(None) => return Ok(None),
                Err(errno) => Err(errno),
            };
            done.map_err(|errno| self.failed("sync", file, errno))?;
            let synced = self.synced.entry(file.torrent).or_default();
            synced.insert(String::from(path));
        }
        Ok(Some(stamp))
    }

    fn device(&self, torrent: TorrentId) -> u64 {
        self.torrents.get(&torrent).map_or(0, Tree::device)
    }

    fn room(&self, torrent: TorrentId) -> Option<Room> {
        self.torrents.get(&torrent)?.room
    }

    fn changed(&mut self, file: FileId) -> DiskError {
        self.open.remove(&file);
        let path = self.path(file);
        let why = "bytes that were verified are there no longer";
        refused(DiskErrorKind::Changed, "read", &path, why)
    }
}

/// The directory `path` and those above it, up to the output directory, which is "".
fn and_above(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| match path.rsplit_once('/') {
        Some((above, _)) => Some(above),
        None => (!path.is_empty()).then_some(""),
    })
}

fn regular(fd: OwnedFd, path: impl Fn() -> PathBuf) -> Result<OwnedFd, DiskError> {
    let stat = fs::fstat(&fd).map_err(|errno| system("look at", &path(), errno))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(fd),
        _ => Err(not_regular(&path())),
    }
}

/// A read brings the end of a piece and the beginning of another; and somewhere else files are synced.
const DIRECTORIES: usize = 4;

/// Existing, directory gone, made by another, out of descriptors, and once more.
const OPEN_TRIES: u32 = 5;

#[cfg(test)]
mod tests;
