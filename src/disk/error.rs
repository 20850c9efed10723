//! Errors of the operating system, in the words of [`DiskError`], and what is odd and no error.

use std::path::Path;

use rustix::io::Errno;

use crate::base::escape::escape;
use crate::engine::io::{DiskError, DiskErrorKind, TorrentId};

/// Something odd that does not stop anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskWarning {
    /// Of which torrent.
    pub torrent: TorrentId,
    /// What kind: `state.bad`, `state.write`, `disk.changed`, `disk.sync`, `disk.space`.
    pub kind: &'static str,
    /// One line. Names in it are escaped.
    pub message: String,
}

/// An error of the system at `path`, while it was asked to `verb` it.
pub(super) fn system(verb: &str, path: &Path, errno: Errno) -> DiskError {
    refused(kind(errno), verb, path, &errno.to_string())
}

/// A trouble with `path` that no single system call names.
pub(super) fn refused(kind: DiskErrorKind, verb: &str, path: &Path, why: &str) -> DiskError {
    let name = escape(path.as_os_str().as_encoded_bytes(), NAME_MAX);
    DiskError {
        kind,
        message: format!("cannot {verb} {name}: {why}"),
    }
}

/// An operation that no torrent of this store, or no block of it, answers to.
pub(super) fn unknown(what: &str) -> DiskError {
    DiskError {
        kind: DiskErrorKind::Io,
        message: format!("the store was asked for {what} it does not know"),
    }
}

/// What kind of trouble an error number is.
pub(super) fn kind(errno: Errno) -> DiskErrorKind {
    match errno {
        Errno::NOSPC | Errno::DQUOT => DiskErrorKind::Full,
        Errno::ACCESS | Errno::PERM | Errno::ROFS => DiskErrorKind::Denied,
        Errno::NOENT | Errno::NXIO | Errno::NODEV | Errno::STALE | Errno::NOTCONN => {
            DiskErrorKind::Gone
        }
        Errno::ISDIR | Errno::LOOP | Errno::NOTDIR | Errno::SPIPE => DiskErrorKind::NotRegular,
        Errno::FBIG => DiskErrorKind::TooBig,
        _ => DiskErrorKind::Io,
    }
}

/// Bytes of a path shown in a message: it is one line for a person.
const NAME_MAX: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_the_escaped_path_and_the_cause() {
        let error = system("write", Path::new("/a/\u{1b}[2Jb"), Errno::NOSPC);
        assert_eq!(error.kind, DiskErrorKind::Full);
        assert!(
            error.message.starts_with("cannot write /a/\\u{1b}[2Jb: "),
            "{}",
            error.message
        );
        assert_eq!(kind(Errno::ROFS), DiskErrorKind::Denied);
        assert_eq!(kind(Errno::FBIG), DiskErrorKind::TooBig);
        assert_eq!(kind(Errno::IO), DiskErrorKind::Io);
    }
}
