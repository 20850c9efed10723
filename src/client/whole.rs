//! Writing a torrent file so that there is never half of one.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

/// Writes the file whole or not at all: first under another name beside it.
///
/// # Errors
///
/// [`io::ErrorKind::AlreadyExists`] if there is something, unless it may be replaced by `force`; what the system says.
pub(crate) fn write_whole(out: &Path, bytes: &[u8], force: bool) -> io::Result<()> {
    let name = out.file_name().unwrap_or(OsStr::new("torrent"));
    let mut beside = name.to_owned();
    beside.push(format!(".{}.part", std::process::id()));
    let beside = out.with_file_name(beside);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&beside)?;
    let done = file.write_all(bytes).and_then(|()| {
        file.sync_all()?;
        if force {
            fs::rename(&beside, out)
        } else {
            // A link does not replace what has come there meanwhile; some file systems know no links.
            match fs::hard_link(&beside, out) {
                Ok(()) => fs::remove_file(&beside),
                Err(why) if why.kind() == io::ErrorKind::AlreadyExists => Err(why),
                Err(_) => fs::rename(&beside, out),
            }
        }
    });
    if done.is_err() {
        // What is left of it is of no use to anybody.
        let _ = fs::remove_file(&beside);
    }
    done
}
