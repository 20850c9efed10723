//! Where a trial plays: its directory, its processes, its tracker.

use std::env;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::common::process::{Outcome, Process, until};
use crate::common::{Content, TempDir, free_port};

/// The directory of one trial: logs, torrents, downloads, and a HOME for every process.
pub(crate) struct Stage {
    dir: TempDir,
}

impl Stage {
    /// An empty stage.
    pub(crate) fn new(trial: &str) -> Self {
        Self {
            dir: TempDir::new(trial),
        }
    }

    /// A path on the stage.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A directory on the stage, made if it isn't there.
    pub(crate) fn dir(&self, name: &str) -> Outcome<PathBuf> {
        let path = self.path(name);
        fs::create_dir_all(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(path)
    }

    /// Writes a file on the stage.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> Outcome<PathBuf> {
        let path = self.path(name);
        fs::write(&path, bytes).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(path)
    }

    /// Writes a shell script on the stage that can be run by its path.
    pub(crate) fn script(&self, name: &str, line: &str) -> Outcome<PathBuf> {
        let path = self.file(name, format!("#!/bin/sh\n{line}\n"))?;
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&path, mode).map_err(|e| e.to_string())?;
        Ok(path)
    }

    /// Starts a program; its output goes to `name.out` and `name.err`.
    ///
    /// The kernel kills it should this process die first, whatever the cause.
    pub(crate) fn start<A: AsRef<std::ffi::OsStr>>(
        &self,
        name: &str,
        program: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Outcome<Process> {
        let log =
            |end| File::create(self.path(&format!("{name}.{end}"))).map_err(|e| e.to_string());
        let home = self.dir(&format!("{name}.home"))?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--", program])
            .args(args)
            .current_dir(&home)
            .env("HOME", &home)
            .env("TMPDIR", &home)
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_STATE_HOME")
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_CACHE_HOME")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .stdout(log("out")?)
            .stderr(log("err")?);
        Process::start(name, &mut command)
    }

    /// The ends of all logs, for the person who reads of a failure.
    pub(crate) fn logs(&self) -> String {
        let mut text = String::new();
        let entries = fs::read_dir(self.dir.path())
            .into_iter()
            .flatten()
            .flatten();
        let mut paths = entries.map(|entry| entry.path()).collect::<Vec<_>>();
        paths.sort();
        for path in paths {
            let is_log = path
                .extension()
                .is_some_and(|end| end == "out" || end == "err");
            let bytes = if is_log {
                fs::read(&path).unwrap_or_default()
            } else {
                Vec::new()
            };
            if !bytes.is_empty() {
                let end = &bytes[bytes.len().saturating_sub(LOG_TAIL)..];
                let name = path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                text.push_str(&format!(
                    "\n--- {name}\n{}",
                    String::from_utf8_lossy(end).trim_end()
                ));
            }
        }
        text
    }
}

/// An opentracker that tracks one torrent over HTTP and UDP on the same port.
pub(crate) struct Tracker {
    process: Process,
    address: SocketAddr,
    info_hash: [u8; 20],
}

impl Tracker {
    /// Starts it, and waits until it answers. Debian builds it to serve only what a white list
    /// names.
    pub(crate) fn start(stage: &Stage, content: &Content) -> Outcome<Self> {
        let info_hash = content.info_hash();
        let port = free_port();
        let dir = stage.dir("tracker")?;
        fs::write(dir.join("whitelist"), format!("{}\n", hex(&info_hash)))
            .map_err(|e| e.to_string())?;
        let (port_text, home) = (port.to_string(), home().to_string());
        let process = stage.start(
            "opentracker",
            "opentracker",
            [
                "-i".as_ref(),
                home.as_ref(),
                "-p".as_ref(),
                port_text.as_ref(),
                "-P".as_ref(),
                port_text.as_ref(),
                "-d".as_ref(),
                dir.as_os_str(),
                "-w".as_ref(),
                "whitelist".as_ref(),
            ],
        )?;
        let address = local(port);
        let mut tracker = Self {
            process,
            address,
            info_hash,
        };
        until("the tracker's white list", START_LIMIT, || {
            tracker.process.alive()?;
            Ok(tracker.scrape().is_some())
        })?;
        Ok(tracker)
    }

    /// Its announce URL over HTTP or UDP.
    pub(crate) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}/announce", self.address)
    }

    /// Waits until it knows of so many seeders.
    pub(crate) fn wait_for_seeders(&self, seeders: u32, process: &mut Process) -> Outcome {
        until("the seeder's announce", START_LIMIT, || {
            process.alive()?;
            Ok(self.scrape().is_some_and(|known| known >= seeders))
        })
    }

    /// How many seeders it knows of, if it answers and tracks the torrent.
    fn scrape(&self) -> Option<u32> {
        let hash = self
            .info_hash
            .iter()
            .map(|byte| format!("%{byte:02x}"))
            .collect::<String>();
        // A tracker that knows no peers of a torrent leaves it out, so an announce of nobody's asks
        // first.
        let announce = format!(
            "/announce?info_hash={hash}&peer_id=-PROBE-0000000000000&port=9&uploaded=0&\
             downloaded=0&left=1&compact=1&event=stopped"
        );
        let reply = get(self.address, &announce)?;
        if find(&reply, b"failure reason").is_some() || find(&reply, b"8:interval").is_none() {
            return None;
        }
        let reply = get(self.address, &format!("/scrape?info_hash={hash}"))?;
        let Some(at) = find(&reply, COMPLETE) else {
            return Some(0);
        };
        let digits = &reply[at + COMPLETE.len()..];
        let end = digits.iter().position(|byte| *byte == b'e')?;
        std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
    }
}

/// The reply to a GET, if there is one. Some servers never close, whatever they are told: then it ends with the length
/// that they named.
pub(crate) fn get(server: SocketAddr, path: &str) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, PROBE_LIMIT).ok()?;
    stream.set_read_timeout(Some(PROBE_LIMIT)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {server}\r\n\r\n").ok()?;
    let (mut reply, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut part).ok()?;
        reply.extend(&part[..count]);
        if count == 0 || whole_length(&reply).is_some_and(|length| reply.len() >= length) {
            return Some(reply);
        }
    }
}

/// The length of a whole reply, if its head is there and names it.
fn whole_length(reply: &[u8]) -> Option<usize> {
    let end = find(reply, b"\r\n\r\n")?;
    let head = std::str::from_utf8(&reply[..end])
        .ok()?
        .to_ascii_lowercase();
    let body = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))?;
    Some(end + 4 + body.trim().parse::<usize>().ok()?)
}

/// Waits until the peer at this address greets for the torrent and says that it has all of it.
pub(crate) fn wait_for_seed(at: SocketAddr, content: &Content, process: &mut Process) -> Outcome {
    until("a seed that greets", START_LIMIT, || {
        process.alive()?;
        Ok(greets_as_seed(at, content).is_some())
    })
}

/// One greeting, from an address that nobody else has, so that nothing is held against the trial's
/// own.
fn greets_as_seed(at: SocketAddr, content: &Content) -> Option<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).ok()?;
    socket.bind(&SocketAddr::new(PROBE_IP, 0).into()).ok()?;
    socket.connect_timeout(&at.into(), PROBE_LIMIT).ok()?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PROBE_LIMIT)).ok()?;
    stream
        .write_all(&greeting(&content.info_hash(), b"-PR0000-probeprobe00"))
        .ok()?;
    let mut greeting = [0; 68];
    stream.read_exact(&mut greeting).ok()?;
    (greeting[28..48] == content.info_hash()).then_some(())?;
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length).ok()?;
        let mut body = vec![
            0;
            usize::try_from(u32::from_be_bytes(length))
                .ok()?
                .min(1 << 20)
        ];
        stream.read_exact(&mut body).ok()?;
        if let Some((0x05, bits)) = body.split_first() {
            let ones = bits
                .iter()
                .map(|byte| u64::from(byte.count_ones()))
                .sum::<u64>();
            return (ones == content.pieces()).then_some(());
        }
    }
}

/// The first 68 bytes of a connection (BEP 3), without extensions.
pub(crate) fn greeting(info_hash: &[u8; 20], peer_id: &[u8; 20]) -> Vec<u8> {
    let mut bytes = b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0".to_vec();
    bytes.extend(info_hash);
    bytes.extend(peer_id);
    bytes
}

/// This machine's address in the network that the trial plays in.
pub(crate) fn home() -> Ipv4Addr {
    let named = env::var(ADDRESS).ok().and_then(|text| text.parse().ok());
    named.unwrap_or(Ipv4Addr::LOCALHOST)
}

/// Where a client listens that takes all who share its address for itself.
pub(crate) fn guest() -> Ipv4Addr {
    if env::var_os(ADDRESS).is_some() {
        GUEST
    } else {
        home()
    }
}

/// A port of this machine.
pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(home()), port)
}

/// A path as text; all of ours are.
pub(crate) fn text(path: &Path) -> Outcome<&str> {
    path.to_str()
        .ok_or_else(|| format!("{} is not UTF-8", path.display()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// This machine's addresses in a network of a trial's own; the second is for [`guest`].
pub(crate) const AWAY: Ipv4Addr = Ipv4Addr::new(10, 9, 8, 6);
/// See [`AWAY`].
pub(crate) const GUEST: Ipv4Addr = Ipv4Addr::new(10, 9, 8, 7);
/// The variable that says which address that is, if it is not 127.0.0.1.
pub(crate) const ADDRESS: &str = "MINITORRENT_INTEROP_ADDRESS";
const COMPLETE: &[u8] = b"8:completei";
const PROBE_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 99));
const PROBE_LIMIT: Duration = Duration::from_secs(2);
/// Some of the others hash ten thousand files before they say a word.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(90);
const LOG_TAIL: usize = 2000;
