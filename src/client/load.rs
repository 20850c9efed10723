//! Reading a torrent from a file, from standard input or from a web server.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

use super::error::Error;
use super::fetch::fetch;
use crate::base::escape::escape_field;
use crate::wire::metainfo::Metainfo;

/// Reads the torrent file at `path`, or standard input if that is `-`, of at most `most` bytes. An `http` or `https`
/// URL is asked for it, with the feature `fetch`; that takes at most half a minute.
///
/// # Errors
///
/// [`Error::Torrent`]: the file can't be read, is not a regular file, is too large, or is no torrent.
pub fn load(path: &Path, most: usize) -> Result<Metainfo, Error> {
    let name = path.as_os_str().as_encoded_bytes();
    if has_scheme(name, b"magnet:") {
        let what = "magnet links are not followed yet";
        return Err(error("torrent.source", path, what));
    }
    let is_url = has_scheme(name, b"http://") || has_scheme(name, b"https://");
    let bytes = if is_url {
        let url = path.to_str().unwrap_or_default();
        fetch(url, most).map_err(|why| error("torrent.fetch", path, &why))?
    } else if path.as_os_str() == "-" {
        read(io::stdin().lock(), most).map_err(|error| open_error(path, &error))?
    } else {
        // Opening a FIFO would wait for its other end.
        let mut options = OpenOptions::new();
        options
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits() as i32);
        let file = options
            .open(path)
            .map_err(|error| open_error(path, &error))?;
        let about = file.metadata().map_err(|error| open_error(path, &error))?;
        if !about.is_file() {
            let what = "it is not a regular file";
            return Err(error("torrent.open", path, what));
        }
        if about.len() > most as u64 {
            return Err(too_large(path, most));
        }
        read(file, most).map_err(|error| open_error(path, &error))?
    };
    if bytes.len() > most {
        return Err(too_large(path, most));
    }
    Metainfo::parse_owned(bytes).map_err(|fault| error(fault.kind, path, &fault.message))
}

/// Reads all of `source`, but stops one byte behind `most`.
fn read(source: impl Read, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn too_large(path: &Path, most: usize) -> Error {
    let what = format!("it is larger than {most} bytes (--max-torrent-size)");
    error("torrent.too-large", path, &what)
}

fn open_error(path: &Path, why: &io::Error) -> Error {
    error("torrent.open", path, &why.to_string())
}

fn error(kind: &'static str, path: &Path, what: &str) -> Error {
    let path = escape_field(path.as_os_str().as_encoded_bytes());
    Error::Torrent {
        kind,
        message: format!("{path}: {what}"),
    }
}

fn has_scheme(name: &[u8], scheme: &[u8]) -> bool {
    let start = name.get(..scheme.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(path: &str, most: usize) -> &'static str {
        load(Path::new(path), most).expect_err("no torrent").kind()
    }

    #[test]
    fn directories_devices_and_missing_files_are_refused_without_reading() {
        assert_eq!(kind("/", 100), "torrent.open");
        assert_eq!(kind("/dev/zero", 100), "torrent.open");
        assert_eq!(kind("magnet:?xt=urn:btih:a", 100), "torrent.source");
        assert_eq!(kind("/nonexistent\x1b[2J", 100), "torrent.open");
        assert_eq!(
            kind(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock"), 100),
            "torrent.too-large"
        );
    }
}
