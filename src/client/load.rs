//! Reading a torrent from a file, from standard input or from a web server.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;

use super::config::Config;
use super::error::Error;
use super::fetch::fetch;
use super::select::Choice;
use crate::base::escape::escape_field;
use crate::reactor::Interrupts;
use crate::wire::magnet::Magnet;
use crate::wire::metainfo::Metainfo;
use crate::wire::names;

/// Reads the torrent file at `path`, or standard input if that is `-`, of at most `most` bytes. An `http` or `https`
/// URL is asked for it, with the feature `fetch`; that takes at most half a minute.
///
/// # Errors
///
/// [`Error::Torrent`]: the file can't be read, is not a regular file, is too large, or is no torrent.
pub fn load(path: &Path, most: usize) -> Result<Metainfo, Error> {
    let reading = Reading {
        most,
        ca_file: None,
        interrupts: &Interrupts::none(),
    };
    reading.torrent(path)
}

/// What was named on the command line: a torrent file as [`load`] takes it, a magnet link, or an info-hash of 40
/// hexadecimal digits or 32 in base 32 (unless there is a file of that name). Of `config` count the largest size and whom TLS trusts.
///
/// # Errors
///
/// As [`load`]; the kinds of a magnet link that is none begin with `magnet.`.
pub fn load_target(path: &Path, config: &Config) -> Result<Target, Error> {
    Reading::of(config, &Interrupts::none()).target(path)
}

/// How torrents are read.
pub(crate) struct Reading<'a> {
    /// Bytes of a torrent file.
    most: usize,
    /// Whom TLS trusts; `None`: the system's authorities.
    ca_file: Option<&'a Path>,
    /// What ends a wait for one that does not come: [`Error::Interrupted`].
    interrupts: &'a Interrupts,
}

impl<'a> Reading<'a> {
    /// As the configuration says.
    pub(crate) fn of(config: &'a Config, interrupts: &'a Interrupts) -> Self {
        Self {
            most: config.max_torrent_size,
            ca_file: config.ca_file.as_deref(),
            interrupts,
        }
    }

    /// As [`load`].
    pub(crate) fn torrent(&self, path: &Path) -> Result<Metainfo, Error> {
        if self.interrupts.came() {
            return Err(Error::Interrupted);
        }
        let name = path.as_os_str().as_encoded_bytes();
        if has_scheme(name, b"magnet:") {
            let what = "a magnet link does not say it, only peers know";
            return Err(error("torrent.source", path, what));
        }
        if link(path)?.is_some() {
            let what = "an info-hash does not say it, only peers know";
            return Err(error("torrent.source", path, what));
        }
        let bytes = if has_scheme(name, b"http://") || has_scheme(name, b"https://") {
            let url = path.to_str().unwrap_or_default();
            fetch(url, self.most, self.ca_file, self.interrupts)
                .map_err(|why| self.waited(error("torrent.fetch", path, &why)))?
        } else if path.as_os_str() == "-" {
            let read = self.interrupts.read(io::stdin().lock(), self.most);
            read.map_err(|why| self.waited(open_error(path, &why)))?
        } else {
            self.file(path)?
        };
        if bytes.len() > self.most {
            return Err(too_large(path, self.most));
        }
        Metainfo::parse_owned(bytes).map_err(|fault| error(fault.kind, path, &fault.message))
    }

    fn file(&self, path: &Path) -> Result<Vec<u8>, Error> {
        let name = path.to_string_lossy();
        let failed = |why: io::Error| match why.kind() {
            // It was meant to be more than a name.
            io::ErrorKind::NotFound if name.contains("urn:btih:") => {
                let what = "a magnet link begins with `magnet:?`";
                error("magnet.syntax", path, what)
            }
            io::ErrorKind::NotFound if name.contains("://") => {
                let what = "only http and https URLs are fetched, and no file has that name";
                error("torrent.open", path, what)
            }
            _ => open_error(path, &why),
        };
        // Opening a FIFO would wait for its other end.
        let mut options = OpenOptions::new();
        options
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits() as i32);
        let file = options.open(path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if !about.is_file() {
            let what = "it is not a regular file";
            return Err(error("torrent.open", path, what));
        }
        if about.len() > self.most as u64 {
            return Err(too_large(path, self.most));
        }
        // One byte more, so that the end is seen without growing.
        let mut bytes = Vec::with_capacity(about.len() as usize + 1);
        let mut most = file.take(self.most as u64 + 1);
        most.read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    /// What a wait ended with: a signal, or this.
    fn waited(&self, error: Error) -> Error {
        match self.interrupts.came() {
            true => Error::Interrupted,
            false => error,
        }
    }

    /// The link to whatever [`load_target`] takes.
    pub(crate) fn magnet(&self, path: &Path) -> Result<Magnet, Error> {
        match link(path)? {
            Some(magnet) => Ok(magnet),
            None => self.torrent(path).map(|metainfo| Magnet::of(&metainfo)),
        }
    }

    /// As [`load_target`].
    pub(crate) fn target(&self, path: &Path) -> Result<Target, Error> {
        let Some(magnet) = link(path)? else {
            return self.torrent(path).map(Target::from);
        };
        let name = magnet
            .name
            .as_deref()
            .and_then(|name| names::element(name.as_bytes()));
        let name = name.unwrap_or_else(|| magnet.info_hash.to_string());
        // A magnet link has no tiers: each tracker is one of its own.
        let trackers = magnet.trackers.into_iter().map(|url| vec![url]).collect();
        let metainfo = Metainfo::stand_in(magnet.info_hash, name, trackers);
        Ok(Target {
            metainfo: Arc::new(metainfo),
            peers: magnet.peers,
            select: magnet.select.into_iter().map(Choice::Places).collect(),
        })
    }
}

/// A torrent to take up.
#[derive(Clone, Debug)]
pub struct Target {
    /// What it is; a stand-in if only its info-hash is known.
    pub metainfo: Arc<Metainfo>,
    /// Peers that a magnet link names.
    pub peers: Vec<SocketAddr>,
    /// Files that a magnet link asks for (BEP 53); none: all of them. What a person chooses comes before it.
    pub select: Vec<Choice>,
}

impl From<Metainfo> for Target {
    fn from(metainfo: Metainfo) -> Self {
        Self {
            metainfo: Arc::new(metainfo),
            peers: Vec::new(),
            select: Vec::new(),
        }
    }
}

/// The magnet link or the info-hash that is named; `None`: it is something to read.
fn link(path: &Path) -> Result<Option<Magnet>, Error> {
    let text = path.to_str().unwrap_or_default();
    if has_scheme(text.as_bytes(), b"magnet:") {
        let magnet = Magnet::parse(text);
        return magnet
            .map(Some)
            .map_err(|fault| error(fault.kind, path, &fault.message));
    }
    Ok(Magnet::from_hash(text).filter(|_| !path.exists()))
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
        assert_eq!(kind(&"0f".repeat(20), 100), "torrent.source");
        let ftp = load(Path::new("ftp://example.org/a.torrent"), 100);
        assert!(ftp.is_err_and(|why| why.to_string().contains("only http and https")));
        assert_eq!(kind("/nonexistent\x1b[2J", 100), "torrent.open");
        assert_eq!(
            kind(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock"), 100),
            "torrent.too-large"
        );
    }
}
