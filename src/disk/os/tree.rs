//! A torrent's files as they lie below its output directory, and the walk to them.

use std::collections::BTreeSet;
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{self, Access, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Resource, getrlimit};

use super::parts::{self, Parts};
use super::watch::{Left, is_lasting, is_watchable};
use crate::disk::error::{refused, system};
use crate::disk::files::{FileId, Place, Room, Stamp};
use crate::engine::io::{DiskError, DiskErrorKind};
use crate::wire::metainfo::{FileKind, Metainfo};

/// A torrent's files as they were found and made.
pub(super) struct Tree {
    pub(super) meta: Arc<Metainfo>,
    pub(super) place: Place,
    /// The file system of the output directory.
    device: u64,
    pub(super) files: Vec<Seen>,
    /// What was found at each target by the last look, or how we left it since.
    pub(super) left: Vec<Option<Left>>,
    /// Whether it is seen when somebody else writes to the files.
    pub(super) is_watched: bool,
    /// Whether what is synced is there after a power cut: not if all of it is in memory.
    pub(super) is_lasting: bool,
    /// A file that somebody else had a hand in since they were looked at.
    pub(super) meddled: Option<u32>,
    /// Space as it was at the last look.
    pub(super) room: Option<Room>,
    /// Where bytes of unwanted files go, if there are such files.
    pub(super) parts: Option<Parts>,
    /// Whether the part file is there.
    pub(super) parts_seen: Seen,
    /// Files that were not there until their bytes were brought from the part file.
    pub(super) gathered: BTreeSet<u32>,
    pub(super) claim: Claim,
}

/// What keeps other processes from writing a torrent's files: a lock on the first of them.
pub(super) enum Claim {
    None,
    /// It lasts as long as this descriptor.
    Held(#[expect(dead_code, reason = "it is held, not used")] OwnedFd),
    /// This file system has no locks.
    Impossible,
}

/// What is known of a file without asking.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    Missing,
    There,
    /// There, and longer than the torrent says.
    Long,
}

impl Tree {
    /// Finds, or makes, the output directory, and looks at every target in it.
    pub(super) fn find(meta: &Arc<Metainfo>, place: Place) -> Result<Self, DiskError> {
        let root = open_root(&place)?;
        let stat = fs::fstat(&root).map_err(|errno| system("look at", &place.root, errno))?;
        let denied = match place.read_only {
            true => None,
            false => writable(&root, &place.root).err(),
        };
        if !place.read_only {
            fits(longest(&root), meta, &place)?;
        }
        let mut tree = Self {
            meta: Arc::clone(meta),
            place,
            device: stat.st_dev,
            files: Vec::new(),
            left: Vec::new(),
            is_watched: is_watchable(&root),
            is_lasting: is_lasting(&root),
            meddled: None,
            room: None,
            parts: Some(Parts::of(meta)).filter(|_| meta.files.len() > 1),
            parts_seen: Seen::Missing,
            gathered: BTreeSet::new(),
            claim: Claim::None,
        };
        // What is all there can be seeded from a place that can't be written to.
        tree.place.read_only |= denied.is_some();
        tree.survey()?;
        match denied {
            Some(error) if tree.is_missing_any() => Err(error),
            Some(_) | None => Ok(tree),
        }
    }

    /// Looks at every target, without making anything.
    pub(super) fn survey(&mut self) -> Result<(), DiskError> {
        let mut seen = vec![Seen::Missing; self.meta.files.len()];
        let mut left = vec![None; self.meta.files.len()];
        let mut wanted = 0u64;
        let mut here: Option<(&str, OwnedFd)> = None;
        let mut missing: Option<&str> = None;
        let mut is_lasting = self.is_lasting;
        let targets = self.meta.files.iter().zip(seen.iter_mut().zip(&mut left));
        let parts = self.look_at_parts();
        for (index, (entry, (seen, left))) in (0..).zip(targets) {
            if entry.kind != FileKind::Regular {
                continue;
            }
            let is_wanted = !self.place.unwanted.contains(&index);
            if is_wanted {
                wanted = wanted.saturating_add(entry.length);
            } else {
                // Until the file itself is found: what is known of its bytes stands and falls with the part file.
                *left = parts.map(|parts| parts.of_length(entry.length));
            }
            let (directory, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
            if missing.is_some_and(|gone| directory == gone || below(directory, gone).is_some()) {
                continue;
            }
            if here.as_ref().is_none_or(|(path, _)| *path != directory) {
                let walked = self.root().and_then(|root| descend(root, directory, None));
                match walked {
                    Ok(Descent::Found(fd)) => here = Some((directory, fd)),
                    Ok(Descent::Missing { parent, at }) => {
                        missing = Some(&directory[..at]);
                        self.may_make(&parent, &directory[..at])?;
                        continue;
                    }
                    Err(errno) => {
                        let error = system("enter", &self.place.root.join(directory), errno);
                        return Err(self.away().unwrap_or(error));
                    }
                }
            }
            let Some((_, parent)) = &here else {
                continue;
            };
            let path = || self.place.root.join(&entry.path);
            let found = look(parent, name, path)?;
            // Another file system may be mounted somewhere below.
            is_lasting |= found.as_ref().is_some_and(|it| it.st_dev != self.device);
            if is_wanted || found.is_some() {
                *left = found.as_ref().map(Left::of);
            }
            if !is_wanted {
                *seen = match found {
                    Some(_) => Seen::There,
                    None => Seen::Missing,
                };
                continue;
            }
            wanted = wanted.saturating_sub(found.as_ref().map_or(0, allocated).min(entry.length));
            *seen = match left.map(|left| left.stamp.size) {
                None => Seen::Missing,
                Some(size) if size <= entry.length => Seen::There,
                Some(size) if !self.place.force => {
                    let why = format!("it has {size} bytes rather than {}", entry.length);
                    return Err(refused(DiskErrorKind::Longer, "use", &path(), &why));
                }
                Some(_) => Seen::Long,
            };
            if *seen == Seen::Missing && !self.place.read_only {
                self.may_make(parent, directory)?;
            }
        }
        self.parts_seen = match parts {
            Some(_) => Seen::There,
            None => Seen::Missing,
        };
        self.files = seen;
        self.left = left;
        self.is_lasting = is_lasting;
        self.meddled = None;
        self.room = self.root().ok().and_then(|root| {
            let stat = fs::fstatvfs(&root).ok().filter(|_| !self.place.read_only)?;
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            Some(Room { wanted, free })
        });
        Ok(())
    }

    fn is_missing_any(&self) -> bool {
        let mut files = (0..).zip(self.meta.files.iter().zip(&self.files));
        files.any(|(index, (entry, seen))| {
            let is_wanted = !self.place.unwanted.contains(&index);
            entry.kind == FileKind::Regular && *seen == Seen::Missing && is_wanted
        })
    }

    /// Looks again at every target, and says which file others had a hand in: a wanted one that is missing or has another
    /// length, or any that is not as it was left.
    pub(super) fn find_changed(&mut self) -> Result<Option<u32>, DiskError> {
        let left = mem::take(&mut self.left);
        let seen = mem::take(&mut self.files);
        let meddled = self.meddled;
        self.survey()?;
        let changed = (0..).zip(&self.meta.files).find(|(index, entry)| {
            let at = *index as usize;
            let is_wanted = !self.place.unwanted.contains(index);
            let (before, now) = (&left[at], &self.left[at]);
            let differs = before.is_some() && before != now;
            let is_wrong = match self.files[at] {
                // What lies apart of an unwanted file changes as the part file does.
                Seen::Missing if !is_wanted => seen[at] != Seen::Missing,
                Seen::Missing => true,
                Seen::There | Seen::Long if !is_wanted => seen[at] == Seen::Missing || differs,
                Seen::There | Seen::Long => {
                    differs || now.is_none_or(|now| now.stamp.size != entry.length)
                }
            };
            entry.kind == FileKind::Regular && is_wrong
        });
        Ok(changed.map(|(index, _)| index).or(meddled))
    }

    /// A file is about to be written to: it should be as it was left.
    pub(super) fn expect(&mut self, file: u32, fd: impl AsFd) {
        let left = self.left.get(file as usize).copied().flatten();
        if self.is_watched && left.is_some() && left != Left::now(fd) {
            self.meddled.get_or_insert(file);
        }
    }

    /// A file was written to: this is how it is left.
    pub(super) fn leave(&mut self, file: u32, fd: impl AsFd) {
        if let Some(left) = self.left.get_mut(file as usize) {
            let stat = fs::fstat(fd).ok();
            // Another file system may be mounted somewhere below.
            self.is_lasting |= stat.as_ref().is_some_and(|it| it.st_dev != self.device);
            *left = stat.as_ref().map(Left::of).filter(|_| self.is_watched);
        }
    }

    /// How the part file is; `None` if there is none.
    fn look_at_parts(&self) -> Option<Left> {
        let root = self.root().ok()?;
        let name = parts::name(&self.meta);
        let found = look(&root, &name, || self.place.root.join(&name)).ok()??;
        Some(Left::of(&found))
    }

    /// What is known of a file's bytes while they lie in the part file; `None` if they do not.
    pub(super) fn stamp_apart(&self, file: u32) -> Option<Stamp> {
        if self.files.get(file as usize) != Some(&Seen::Missing) {
            return None;
        }
        let length = self.meta.files.get(file as usize)?.length;
        let parts = self.look_at_parts()?;
        Some(parts.of_length(length).stamp)
    }

    /// Whether bytes of this file go to the part file: it is neither wanted nor there.
    pub(super) fn is_apart(&self, file: u32) -> bool {
        let seen = self.files.get(file as usize);
        self.place.unwanted.contains(&file) && seen == Some(&Seen::Missing)
    }

    /// The file by whose lock the torrent is claimed: the first that is wanted and not empty. It is one of the
    /// content, so that nothing is left behind, and no other torrent in the same directory is in the way.
    pub(super) fn claimed(&self) -> Option<u32> {
        let mut files = (0..).zip(&self.meta.files);
        let found = files.find(|(index, entry)| {
            let is_real = entry.kind == FileKind::Regular && entry.length > 0;
            is_real && !self.place.unwanted.contains(index)
        });
        found.map(|(index, _)| index)
    }

    /// Removes the part file if no file is left whose bytes are kept in it.
    pub(super) fn drop_parts(&mut self) {
        let mut files = 0..self.files.len() as u32;
        if self.parts_seen == Seen::Missing || files.any(|file| self.is_apart(file)) {
            return;
        }
        let name = parts::name(&self.meta);
        let removed = self
            .root()
            .and_then(|root| fs::unlinkat(root, name.as_str(), AtFlags::empty()));
        // Where it can't be removed it takes some room and does no harm.
        if removed.is_ok() {
            self.parts_seen = Seen::Missing;
        }
    }

    /// The file system of the output directory.
    pub(super) fn device(&self) -> u64 {
        self.device
    }

    /// Believes from now on that the root was on another file system.
    #[cfg(test)]
    pub(super) fn move_away(&mut self) {
        self.device = self.device.wrapping_add(1);
    }

    fn may_make(&self, parent: &OwnedFd, directory: &str) -> Result<(), DiskError> {
        if self.place.read_only {
            return Ok(());
        }
        writable(parent, &self.place.root.join(directory))
    }

    /// The output directory, if it is still on the file system it was on; else `ENODEV`.
    pub(super) fn root(&self) -> Result<OwnedFd, Errno> {
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

    /// What has become of the output directory, in words; `None` if it is where and what it was.
    pub(super) fn away(&self) -> Option<DiskError> {
        let path = &self.place.root;
        match (self.root(), open_directory(path)) {
            (Ok(_), _) => None,
            (Err(Errno::NODEV), Err(Errno::NOENT)) => {
                let why = "it is not there any more: moved away, removed or unmounted";
                Some(refused(DiskErrorKind::Gone, "use", path, why))
            }
            (Err(Errno::NODEV), _) => {
                let why = "it is on another file system now: the disk it was on has gone";
                Some(refused(DiskErrorKind::Gone, "use", path, why))
            }
            (Err(errno), _) => Some(system("use", path, errno)),
        }
    }

    /// As [`Tree::root`]; a directory on another file system will do too, if it has the torrent's files: the
    /// disk is back under another number. An empty mount point has none of them.
    pub(super) fn root_again(&mut self) -> Result<OwnedFd, Errno> {
        match self.root() {
            Err(Errno::NODEV) => {}
            result => return result,
        }
        let fd = open_directory(&self.place.root).map_err(|_| Errno::NODEV)?;
        let known = self.meta.files.iter().zip(&self.files);
        let known = known.filter(|(entry, seen)| entry.length > 0 && **seen != Seen::Missing);
        let mut found = 0;
        for (entry, _) in known.take(KNOWN_AGAIN) {
            let (directory, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
            let above = fd.try_clone().map_err(|_| Errno::MFILE)?;
            let Descent::Found(parent) = descend(above, directory, None)? else {
                return Err(Errno::NODEV);
            };
            let there = look(&parent, name, || PathBuf::from(name));
            if there.is_ok_and(|stat| stat.is_none()) {
                return Err(Errno::NODEV);
            }
            found += 1;
        }
        if found == 0 {
            return Err(Errno::NODEV);
        }
        self.device = fs::fstat(&fd)?.st_dev;
        self.is_watched = is_watchable(&fd);
        self.is_lasting = is_lasting(&fd);
        Ok(fd)
    }

    pub(super) fn path(&self, file: FileId) -> PathBuf {
        match self.meta.files.get(file.file as usize) {
            None if file.file == PARTS => self.place.root.join(parts::name(&self.meta)),
            Some(entry) => self.place.root.join(&entry.path),
            None => self.place.root.clone(),
        }
    }
}

/// Where a walk down a path ended.
pub(super) enum Descent {
    Found(OwnedFd),
    /// `parent` has no such element; the path up to and with it is `at` bytes long.
    Missing {
        parent: OwnedFd,
        at: usize,
    },
}

/// Walks from `start` down `path`, an element at a time and through no symlink. What is missing is made if `made` is
/// there, which is told in what it was made: how long the path to that is.
pub(super) fn descend(
    start: OwnedFd,
    path: &str,
    mut made: Option<&mut dyn FnMut(usize)>,
) -> Result<Descent, Errno> {
    let mut fd = start;
    let mut at = 0;
    for element in path.split('/').filter(|_| !path.is_empty()) {
        let above = at;
        at += element.len() + usize::from(at > 0);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        fd = match (open_at(&fd, element, flags), &mut made) {
            (Ok(next), _) => next,
            (Err(Errno::NOENT), None) => return Ok(Descent::Missing { parent: fd, at }),
            (Err(Errno::NOENT), Some(made)) => {
                match fs::mkdirat(&fd, element, Mode::from_raw_mode(0o777)) {
                    Ok(()) => made(above),
                    Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno),
                }
                open_at(&fd, element, flags)?
            }
            (Err(errno), _) => return Err(errno),
        };
    }
    Ok(Descent::Found(fd))
}

/// Opens one element in `parent`. Names that would lead elsewhere were refused with the torrent; should
/// one get here, it is no file.
pub(super) fn open_at(parent: &OwnedFd, element: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
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

/// The longest file that may be made here.
fn longest(root: &OwnedFd) -> u64 {
    let limit = getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX);
    let on_fat = fs::fstatfs(root).is_ok_and(|stat| stat.f_type as u64 == MSDOS_MAGIC);
    limit.min(if on_fat { FAT_FILE_MAX } else { u64::MAX })
}

/// Refuses files that are longer than `max`.
pub(super) fn fits(max: u64, meta: &Metainfo, place: &Place) -> Result<(), DiskError> {
    let mut real = meta
        .files
        .iter()
        .filter(|entry| entry.kind == FileKind::Regular);
    let Some(entry) = real.find(|entry| entry.length > max) else {
        return Ok(());
    };
    let why = format!("{} bytes are too many for one file here", entry.length);
    let path = place.root.join(&entry.path);
    Err(refused(DiskErrorKind::TooBig, "make", &path, &why))
}

/// What is at a target; `None` if nothing is.
fn look(
    parent: &OwnedFd,
    name: &str,
    path: impl Fn() -> PathBuf,
) -> Result<Option<Stat>, DiskError> {
    let stat = match fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(system("look at", &path(), errno)),
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(not_regular(&path()));
    }
    Ok(Some(stat))
}

/// Size and time of a file.
pub(super) fn stamp_of(stat: &Stat) -> Stamp {
    let nanos = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    let seconds = stat.st_mtime.saturating_mul(1_000_000_000);
    Stamp {
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified: seconds.saturating_add(nanos),
    }
}

/// Bytes that a file has on the disk already, holes left out.
fn allocated(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks)
        .unwrap_or(0)
        .saturating_mul(512)
}

pub(super) fn not_regular(path: &Path) -> DiskError {
    let why = "something else than a regular file is there";
    refused(DiskErrorKind::NotRegular, "use", path, why)
}

/// The part of `path` below the directory `above`.
pub(super) fn below<'a>(path: &'a str, above: &str) -> Option<&'a str> {
    if above.is_empty() {
        return Some(path);
    }
    path.strip_prefix(above)?.strip_prefix('/')
}

/// The number that the part file goes by among the files.
pub(super) const PARTS: u32 = u32::MAX;

/// Files by which a disk is known again.
const KNOWN_AGAIN: usize = 16;

/// The `f_type` of FAT file systems.
const MSDOS_MAGIC: u64 = 0x4d44;

/// The longest file of FAT: lengths have 32 bits.
const FAT_FILE_MAX: u64 = 0xffff_ffff;
