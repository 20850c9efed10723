//! Files of the operating system: few descriptors, no symlink ever followed, nothing written outside.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{self, Access, AtFlags, FallocateFlags, FileType, Mode, OFlags, SeekFrom};
use rustix::io::{self, Errno, retry_on_intr};
use rustix::process::{Resource, getrlimit};

use crate::disk::error::{refused, system, unknown};
use crate::disk::files::{Allocate, FileId, Files, Place};
use crate::engine::io::{DiskError, DiskErrorKind, TorrentId};
use crate::wire::metainfo::{FileKind, Metainfo};

/// Files below an output directory a torrent, of which only the last used are open.
///
/// Every path is walked from the output directory, one element at a time, with `O_NOFOLLOW`. The output
/// directory itself is opened by its name at each walk and must lie on the file system that it was on at
/// first: what is written never lands in the mount point of a disk that has gone.
pub struct OsFiles {
    torrents: BTreeMap<TorrentId, Tree>,
    open: BTreeMap<FileId, Open>,
    open_max: usize,
    /// Counts uses, for finding the file that was not used for longest.
    uses: u64,
    directory: Option<Directory>,
}

/// A torrent's files as they were found and made.
struct Tree {
    meta: Arc<Metainfo>,
    place: Place,
    /// The file system of the output directory.
    device: u64,
    files: Vec<Seen>,
}

/// What is known of a file without asking.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Missing,
    There,
    /// There, and longer than the torrent says.
    Long,
}

struct Open {
    fd: OwnedFd,
    writable: bool,
    used: u64,
}

/// The directory that was used last: files of one directory come one after the other.
struct Directory {
    torrent: TorrentId,
    path: String,
    fd: OwnedFd,
}

impl Default for OsFiles {
    /// With a quarter of the descriptors that the process may have, 8 to 128.
    fn default() -> Self {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self::new((limit / 4).clamp(8, 128) as usize)
    }
}

impl OsFiles {
    /// Keeps at most `open_max` files open, and one directory.
    pub fn new(open_max: usize) -> Self {
        Self {
            torrents: BTreeMap::new(),
            open: BTreeMap::new(),
            open_max: open_max.max(1),
            uses: 0,
            directory: None,
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
            while self.open.len() >= self.open_max {
                self.close_oldest();
            }
            let Some(fd) = self.open_anew(file, write)? else {
                self.see(file, Seen::Missing);
                return Ok(None);
            };
            if self.seen(file) == Seen::Missing {
                self.see(file, Seen::There);
            }
            let open = Open {
                fd,
                writable: write,
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
    fn open_anew(&mut self, file: FileId, write: bool) -> Result<Option<OwnedFd>, DiskError> {
        let tree = self.tree(file.torrent)?;
        let meta = Arc::clone(&tree.meta);
        let (place, full) = (tree.path(file), tree.place.allocate == Allocate::Full);
        if write && tree.place.read_only {
            return Err(system("write", &place, Errno::ROFS));
        }
        let entry = &meta.files[file.file as usize];
        let (directory, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
        let mut new = self.seen(file) == Seen::Missing;
        // Each turn but the last changes something that stood in the way.
        for _ in 0..OPEN_TRIES {
            let cached = self
                .directory
                .as_ref()
                .is_some_and(|cached| cached.torrent == file.torrent && cached.path == directory);
            let opened = match self.enter(file.torrent, directory, write) {
                Ok(Some(parent)) if write && new => {
                    open_at(parent, name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)
                }
                Ok(Some(parent)) if write => open_at(parent, name, OFlags::RDWR),
                Ok(Some(parent)) => open_at(parent, name, OFlags::RDONLY),
                Ok(None) => return Ok(None),
                Err(errno) => Err(errno),
            };
            match opened {
                Ok(fd) if write && new => {
                    reserve(&fd, full, entry.length).map_err(|e| system("allocate", &place, e))?;
                    return Ok(Some(fd));
                }
                Ok(fd) => return regular(fd, &place).map(Some),
                Err(Errno::EXIST) => new = false,
                // The cached directory itself may have been removed.
                Err(Errno::NOENT) if cached => self.directory = None,
                Err(Errno::NOENT) if !write => return Ok(None),
                Err(Errno::NOENT) => new = true,
                Err(Errno::MFILE | Errno::NFILE) if !self.open.is_empty() => {
                    let keep = self.open.len() / 2;
                    while self.open.len() > keep {
                        self.close_oldest();
                    }
                }
                Err(errno) => return Err(self.failed("open", file, errno)),
            }
        }
        Err(system("open", &place, Errno::AGAIN))
    }

    /// Makes the directory `path` of a torrent the current one; `None` if it isn't there and not to be made.
    fn enter(
        &mut self,
        torrent: TorrentId,
        path: &str,
        make: bool,
    ) -> Result<Option<&OwnedFd>, Errno> {
        let tree = self.torrents.get(&torrent).ok_or(Errno::NODEV)?;
        let above = self.directory.take_if(|last| last.torrent == torrent);
        let walked = match above {
            Some(here) if here.path == path => Ok(Descent::Found(here.fd)),
            Some(above) if below(path, &above.path).is_some() => {
                let rest = below(path, &above.path).unwrap_or(path);
                descend(above.fd, rest, make)
            }
            Some(_) | None => tree.root().and_then(|root| descend(root, path, make)),
        };
        let Descent::Found(fd) = walked? else {
            return Ok(None);
        };
        let path = String::from(path);
        let here = self.directory.insert(Directory { torrent, path, fd });
        Ok(Some(&here.fd))
    }

    /// The error of a system call on `file`; one that may mean that the disk is gone asks the root.
    fn failed(&mut self, verb: &str, file: FileId, errno: Errno) -> DiskError {
        let Some(tree) = self.torrents.get(&file.torrent) else {
            return system(verb, Path::new(""), errno);
        };
        let error = system(verb, &tree.path(file), errno);
        match error.kind {
            DiskErrorKind::Io | DiskErrorKind::Gone | DiskErrorKind::Changed => {
                let root = tree.root().err();
                let error = root.map_or(error, |errno| system("use", &tree.place.root, errno));
                self.close_all(file.torrent);
                error
            }
            DiskErrorKind::Full
            | DiskErrorKind::Denied
            | DiskErrorKind::NotRegular
            | DiskErrorKind::Longer
            | DiskErrorKind::TooBig => error,
        }
    }

    fn close_oldest(&mut self) {
        let oldest = self.open.iter().min_by_key(|(_, open)| open.used);
        if let Some(file) = oldest.map(|(file, _)| *file) {
            self.open.remove(&file);
        }
    }

    fn close_all(&mut self, torrent: TorrentId) {
        self.open.retain(|file, _| file.torrent != torrent);
        self.directory.take_if(|last| last.torrent == torrent);
    }

    fn tree(&self, torrent: TorrentId) -> Result<&Tree, DiskError> {
        let tree = self.torrents.get(&torrent);
        tree.ok_or_else(|| unknown("a torrent"))
    }

    fn seen(&self, file: FileId) -> Seen {
        let tree = self.torrents.get(&file.torrent);
        let seen = tree.and_then(|tree| tree.files.get(file.file as usize));
        seen.copied().unwrap_or(Seen::Missing)
    }

    fn see(&mut self, file: FileId, seen: Seen) {
        let tree = self.torrents.get_mut(&file.torrent);
        if let Some(slot) = tree.and_then(|tree| tree.files.get_mut(file.file as usize)) {
            *slot = seen;
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
        let root = open_root(&place)?;
        let stat = fs::fstat(&root).map_err(|errno| system("look at", &place.root, errno))?;
        if !place.read_only {
            writable(&root, &place.root)?;
            fits(&root, meta, &place)?;
        }
        let mut tree = Tree {
            meta: Arc::clone(meta),
            place,
            device: stat.st_dev,
            files: Vec::new(),
        };
        tree.survey()?;
        self.close_all(torrent);
        self.torrents.insert(torrent, tree);
        Ok(())
    }

    fn remove(&mut self, torrent: TorrentId) {
        self.close_all(torrent);
        self.torrents.remove(&torrent);
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
        let Some(fd) = self.open(file, true)? else {
            return Ok(0);
        };
        let result = retry_on_intr(|| io::pwritev(fd, parts, offset));
        result.map_err(|errno| self.failed("write", file, errno))
    }

    fn read_at(&mut self, file: FileId, out: &mut [u8], offset: u64) -> Result<usize, DiskError> {
        let Some(fd) = self.open(file, false)? else {
            return Ok(0);
        };
        let result = retry_on_intr(|| io::pread(fd, &mut *out, offset));
        result.map_err(|errno| self.failed("read", file, errno))
    }

    fn len(&mut self, file: FileId) -> Result<u64, DiskError> {
        let Some(fd) = self.open(file, false)? else {
            return Ok(0);
        };
        let result = fs::fstat(fd);
        let stat = result.map_err(|errno| self.failed("look at", file, errno))?;
        Ok(u64::try_from(stat.st_size).unwrap_or(0))
    }

    fn is_hole(&mut self, file: FileId, offset: u64, len: u64) -> bool {
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
            if entry.kind != FileKind::Regular || !(make || cut) {
                continue;
            }
            let Some(fd) = self.open(file, true)? else {
                continue;
            };
            if cut {
                let result = fs::ftruncate(fd, entry.length);
                result.map_err(|errno| self.failed("cut", file, errno))?;
                self.see(file, Seen::There);
            }
        }
        Ok(())
    }

    fn changed(&mut self, file: FileId) -> DiskError {
        self.open.remove(&file);
        let tree = self.torrents.get(&file.torrent);
        let path = tree.map(|tree| tree.path(file)).unwrap_or_default();
        let why = "bytes that were verified are there no longer";
        refused(DiskErrorKind::Changed, "read", &path, why)
    }
}

impl Tree {
    /// Looks at every target, without making anything.
    fn survey(&mut self) -> Result<(), DiskError> {
        let mut seen = vec![Seen::Missing; self.meta.files.len()];
        let mut here: Option<(&str, OwnedFd)> = None;
        let mut missing: Option<&str> = None;
        for (entry, seen) in self.meta.files.iter().zip(&mut seen) {
            if entry.kind != FileKind::Regular {
                continue;
            }
            let (directory, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
            if missing.is_some_and(|gone| directory == gone || below(directory, gone).is_some()) {
                continue;
            }
            if here.as_ref().is_none_or(|(path, _)| *path != directory) {
                let walked = self.root().and_then(|root| descend(root, directory, false));
                match walked {
                    Ok(Descent::Found(fd)) => here = Some((directory, fd)),
                    Ok(Descent::Missing { parent, at }) => {
                        missing = Some(&directory[..at]);
                        self.may_make(&parent, &directory[..at])?;
                        continue;
                    }
                    Err(errno) => {
                        return Err(system("enter", &self.place.root.join(directory), errno));
                    }
                }
            }
            let Some((_, parent)) = &here else {
                continue;
            };
            let path = self.place.root.join(&entry.path);
            *seen = match look(parent, name, entry.length, &path)? {
                Seen::Long if !self.place.force => {
                    let why = format!("it is longer than the {} bytes wanted", entry.length);
                    return Err(refused(DiskErrorKind::Longer, "use", &path, &why));
                }
                seen => seen,
            };
            if *seen == Seen::Missing && !self.place.read_only {
                self.may_make(parent, directory)?;
            }
        }
        self.files = seen;
        Ok(())
    }

    fn may_make(&self, parent: &OwnedFd, directory: &str) -> Result<(), DiskError> {
        if self.place.read_only {
            return Ok(());
        }
        writable(parent, &self.place.root.join(directory))
    }

    /// The output directory, if it is still on the file system it was on; else `ENODEV`.
    fn root(&self) -> Result<OwnedFd, Errno> {
        let fd = match open_directory(&self.place.root) {
            Err(Errno::NOENT) => return Err(Errno::NODEV),
            result => result?,
        };
        if fs::fstat(&fd)?.st_dev == self.device {
            Ok(fd)
        } else {
            Err(Errno::NODEV)
        }
    }

    fn path(&self, file: FileId) -> PathBuf {
        match self.meta.files.get(file.file as usize) {
            Some(entry) => self.place.root.join(&entry.path),
            None => self.place.root.clone(),
        }
    }
}

/// Where a walk down a path ended.
enum Descent {
    Found(OwnedFd),
    /// `parent` has no such element; the path up to and with it is `at` bytes long.
    Missing {
        parent: OwnedFd,
        at: usize,
    },
}

/// Walks from `start` down `path`, an element at a time and through no symlink.
fn descend(start: OwnedFd, path: &str, make: bool) -> Result<Descent, Errno> {
    let mut fd = start;
    let mut at = 0;
    for element in path.split('/').filter(|_| !path.is_empty()) {
        at += element.len() + usize::from(at > 0);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        fd = match open_at(&fd, element, flags) {
            Ok(next) => next,
            Err(Errno::NOENT) if !make => return Ok(Descent::Missing { parent: fd, at }),
            Err(Errno::NOENT) => match fs::mkdirat(&fd, element, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => open_at(&fd, element, flags)?,
                Err(errno) => return Err(errno),
            },
            Err(errno) => return Err(errno),
        };
    }
    Ok(Descent::Found(fd))
}

/// Opens one element in `parent`. Names that would lead elsewhere were refused with the torrent; should
/// one get here, it is no file.
fn open_at(parent: &OwnedFd, element: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    if matches!(element, "" | "." | "..") || element.contains('/') {
        return Err(Errno::LOOP);
    }
    // Not to wait for the other end, should a pipe be there: it is refused a moment later.
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    retry_on_intr(|| fs::openat(parent, element, flags, Mode::from_raw_mode(0o666)))
}

fn open_root(place: &Place) -> Result<OwnedFd, DiskError> {
    let path = &place.root;
    match open_directory(path) {
        Err(Errno::NOENT) if !place.read_only => {
            let made = std::fs::create_dir_all(path);
            made.map_err(|error| {
                let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                system("make", path, errno)
            })?;
            open_directory(path).map_err(|errno| system("open", path, errno))
        }
        result => result.map_err(|errno| system("open", path, errno)),
    }
}

/// Opens a directory that a person named: symlinks in its path are theirs.
fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    retry_on_intr(|| fs::openat(fs::CWD, path, flags, Mode::empty()))
}

fn writable(fd: &OwnedFd, path: &Path) -> Result<(), DiskError> {
    let access = Access::WRITE_OK | Access::EXEC_OK;
    let result = fs::accessat(fd, ".", access, AtFlags::empty());
    result.map_err(|errno| system("write to", path, errno))
}

/// Refuses files that the file system or a limit of the process has no room for in one piece.
fn fits(root: &OwnedFd, meta: &Metainfo, place: &Place) -> Result<(), DiskError> {
    let mut max = getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX);
    if let Ok(stat) = fs::fstatfs(root)
        && stat.f_type as u64 == MSDOS_MAGIC
    {
        max = max.min(u64::from(u32::MAX));
    }
    let real = |kind| kind == FileKind::Regular;
    match meta
        .files
        .iter()
        .find(|entry| real(entry.kind) && entry.length > max)
    {
        None => Ok(()),
        Some(entry) => {
            let why = format!("{} bytes are too many for one file here", entry.length);
            let path = place.root.join(&entry.path);
            Err(refused(DiskErrorKind::TooBig, "make", &path, &why))
        }
    }
}

/// What is at a target.
fn look(parent: &OwnedFd, name: &str, length: u64, path: &Path) -> Result<Seen, DiskError> {
    let stat = match fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(Seen::Missing),
        Err(errno) => return Err(system("look at", path, errno)),
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(not_regular(path));
    }
    if u64::try_from(stat.st_size).unwrap_or(0) > length {
        return Ok(Seen::Long);
    }
    Ok(Seen::There)
}

fn regular(fd: OwnedFd, path: &Path) -> Result<OwnedFd, DiskError> {
    let stat = fs::fstat(&fd).map_err(|errno| system("look at", path, errno))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(fd),
        _ => Err(not_regular(path)),
    }
}

fn not_regular(path: &Path) -> DiskError {
    let why = "something else than a regular file is there";
    refused(DiskErrorKind::NotRegular, "use", path, why)
}

/// Reserves a new file's blocks if that was asked for and the file system can.
fn reserve(fd: &OwnedFd, full: bool, length: u64) -> Result<(), Errno> {
    if !full || length == 0 {
        return Ok(());
    }
    match retry_on_intr(|| fs::fallocate(fd, FallocateFlags::empty(), 0, length)) {
        Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::IO)) => Err(errno),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The part of `path` below the directory `above`.
fn below<'a>(path: &'a str, above: &str) -> Option<&'a str> {
    if above.is_empty() {
        return Some(path);
    }
    path.strip_prefix(above)?.strip_prefix('/')
}

/// Existing, directory gone, made by another, out of descriptors, and once more.
const OPEN_TRIES: u32 = 5;

/// The `f_type` of FAT file systems, whose files end below 4 GiB.
const MSDOS_MAGIC: u64 = 0x4d44;
