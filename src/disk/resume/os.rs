//! Lasting state in files of the operating system.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, CWD, FlockOperation, Mode, OFlags};
use rustix::io::{self, Errno, retry_on_intr};

use crate::disk::error::system;
use crate::disk::resume::files::{Locking, StateFiles};
use crate::engine::io::DiskError;

/// State below a directory of the user's. Only locks are held open.
#[derive(Default)]
pub struct OsState {
    locks: BTreeMap<PathBuf, OwnedFd>,
}

impl StateFiles for OsState {
    fn lock(&mut self, dir: &Path, place: u64) -> Result<Locking, DiskError> {
        let made = std::fs::create_dir_all(dir);
        made.map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            system("make", dir, errno)
        })?;
        let path = dir.join(LOCK);
        let fd = open(&path, OFlags::RDWR | OFlags::CREATE)
            .map_err(|errno| system("open", &path, errno))?;
        match retry_on_intr(|| fs::flock(&fd, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(held(&fd)),
            Err(errno) => return Err(system("lock", &path, errno)),
        }
        // What is written here only helps others to say more: a full disk is no reason not to work.
        let text = format!("{}\n{place:016x}\n", std::process::id());
        let _ = fs::ftruncate(&fd, 0);
        let _ = retry_on_intr(|| io::pwrite(&fd, text.as_bytes(), 0));
        self.locks.insert(dir.to_owned(), fd);
        Ok(Locking::Ours)
    }

    fn unlock(&mut self, dir: &Path) {
        self.locks.remove(dir);
    }

    fn read(&mut self, path: &Path, max: usize) -> Result<Option<Vec<u8>>, DiskError> {
        let failed = |errno| system("read", path, errno);
        let fd = match open(path, OFlags::RDONLY) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failed(errno)),
        };
        let stat = fs::fstat(&fd).map_err(failed)?;
        if fs::FileType::from_raw_mode(stat.st_mode) != fs::FileType::RegularFile {
            return Err(failed(Errno::INVAL));
        }
        let size = usize::try_from(stat.st_size).unwrap_or(0);
        let mut bytes = vec![0; size.min(max) + 1];
        let mut filled = 0;
        while filled < bytes.len() {
            let at = filled as u64;
            match retry_on_intr(|| io::pread(&fd, &mut bytes[filled..], at)).map_err(failed)? {
                0 => break,
                more => filled += more,
            }
        }
        bytes.truncate(filled);
        Ok(Some(bytes))
    }

    fn create(&mut self, path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
        // Another name of the same file, or a link put there, is not to be written through.
        self.remove(path)?;
        let fd = open(path, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)
            .map_err(|errno| system("make", path, errno))?;
        write(&fd, 0, bytes).map_err(|errno| system("write", path, errno))
    }

    fn append(&mut self, path: &Path, len: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let failed = |errno| system("write", path, errno);
        let fd = open(path, OFlags::WRONLY).map_err(failed)?;
        write(&fd, len, bytes).map_err(|errno| {
            let _ = fs::ftruncate(&fd, len);
            failed(errno)
        })
    }

    fn sync(&mut self, path: &Path) -> Result<(), DiskError> {
        let result = open(path, OFlags::WRONLY).and_then(|fd| retry_on_intr(|| fs::fdatasync(&fd)));
        result.map_err(|errno| system("sync", path, errno))
    }

    fn rename(&mut self, from: &Path, to: &Path) -> Result<(), DiskError> {
        fs::renameat(CWD, from, CWD, to).map_err(|errno| system("rename", from, errno))
    }

    fn sync_names(&mut self, dir: &Path) -> Result<(), DiskError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let result = open(dir, flags).and_then(|fd| retry_on_intr(|| fs::fsync(&fd)));
        result.map_err(|errno| system("sync", dir, errno))
    }

    fn remove(&mut self, path: &Path) -> Result<(), DiskError> {
        match fs::unlinkat(CWD, path, fs::AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(system("remove", path, errno)),
        }
    }

    fn resolve(&mut self, dir: &Path) -> PathBuf {
        let dir = if dir.as_os_str().is_empty() {
            Path::new(".")
        } else {
            dir
        };
        std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned())
    }

    fn boot(&mut self) -> Option<[u8; 16]> {
        let fd = open(Path::new(BOOT_ID), OFlags::RDONLY).ok()?;
        let mut text = [0; 64];
        let len = retry_on_intr(|| io::read(fd.as_fd(), &mut text)).ok()?;
        let mut digits = text[..len]
            .iter()
            .filter_map(|byte| char::from(*byte).to_digit(16));
        let mut id = [0; 16];
        for byte in &mut id {
            *byte = (digits.next()? << 4 | digits.next()?) as u8;
        }
        Some(id)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "file times are on the wall clock, and only they are held against it"
    )]
    fn wall(&mut self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| {
            i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
        })
    }
}

fn open(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    // Not to wait for the other end, should a pipe be there.
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    retry_on_intr(|| fs::openat(CWD, path, flags, Mode::from_raw_mode(0o666)))
}

/// Writes all of `bytes`; ends because every call writes something or fails.
fn write(fd: &OwnedFd, mut at: u64, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match retry_on_intr(|| io::pwrite(fd, bytes, at))? {
            0 => return Err(Errno::IO),
            more => {
                at += more as u64;
                bytes = &bytes[more..];
            }
        }
    }
    Ok(())
}

/// What the holder of a lock has left in it.
fn held(fd: &OwnedFd) -> Locking {
    let mut text = [0; 64];
    let len = retry_on_intr(|| io::pread(fd, &mut text, 0)).unwrap_or(0);
    let text = std::str::from_utf8(&text[..len]).unwrap_or("");
    let mut lines = text.lines();
    Locking::Held {
        pid: lines.next().and_then(|line| line.parse().ok()),
        place: lines
            .next()
            .and_then(|line| u64::from_str_radix(line, 16).ok()),
    }
}

const LOCK: &str = "lock";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
