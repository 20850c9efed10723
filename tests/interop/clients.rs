//! How each client is made to seed or to fetch one torrent.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::common::free_port;
use crate::common::process::{Outcome, Process, until};
use crate::stage::{Stage, find, get, guest, home, text};

/// A BitTorrent client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Client {
    Aria2,
    Libtorrent,
    Minitorrent,
    Qbittorrent,
    Rqbit,
    Rtorrent,
    Transmission,
    Webtorrent,
}

/// What a client is to work on.
pub(crate) struct Job<'a> {
    /// The .torrent.
    pub(crate) torrent: &'a Path,
    /// Where the payload is, or comes to be.
    pub(crate) dir: &'a Path,
    /// The port to listen on.
    pub(crate) port: u16,
    /// Peers to know from the start; only libtorrent and minitorrent can be told.
    pub(crate) peers: &'a [SocketAddr],
    /// The most bytes a second to send; only aria2 and libtorrent are asked for it.
    pub(crate) upload_limit: Option<u32>,
    /// Whether it is to be had over IPv6, and over that alone; aria2, libtorrent, minitorrent and qBittorrent can.
    pub(crate) v6: bool,
}

impl Job<'_> {
    /// The loopback address of its family.
    fn ip(&self) -> &'static str {
        if self.v6 { "::1" } else { "127.0.0.1" }
    }
}

impl Client {
    /// Its name in the trials' names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Aria2 => "aria2",
            Self::Libtorrent => "libtorrent",
            Self::Minitorrent => "minitorrent",
            Self::Qbittorrent => "qbittorrent",
            Self::Rqbit => "rqbit",
            Self::Rtorrent => "rtorrent",
            Self::Transmission => "transmission",
            Self::Webtorrent => "webtorrent",
        }
    }

    /// Starts it as a seeder of what is in the job's directory.
    pub(crate) fn seed(self, stage: &Stage, job: &Job<'_>) -> Outcome<Process> {
        let name = format!("{}-seed", self.name());
        match self {
            Self::Aria2 => {
                let more = [
                    "--seed-ratio=0.0",
                    "--check-integrity=true",
                    "--bt-hash-check-seed=true",
                ];
                stage.start(&name, "aria2c", aria2_args(job, &more)?)
            }
            Self::Libtorrent => stage.start(&name, &python(), libtorrent_args("seed", job)?),
            Self::Minitorrent => {
                let mut args = vec!["seed".to_owned()];
                args.extend(minitorrent_args(job)?);
                // Many trials seed one payload at a time: each has a state of its own.
                let state = job.torrent.with_extension(format!("{}.state", job.port));
                let last = args.iter().position(|arg| arg == "--state-dir");
                let last = last.ok_or("no state directory is named")?;
                args[last + 1] = text(&state)?.to_owned();
                stage.start(&name, &minitorrent(), args)
            }
            Self::Qbittorrent => Ok(qbittorrent(stage, &name, job)?.0),
            Self::Rqbit => rqbit(stage, &name, job, false),
            Self::Rtorrent => rtorrent(stage, &name, job, None),
            Self::Transmission => transmission(stage, &name, job, None),
            Self::Webtorrent => webtorrent(stage, &name, job, true),
        }
    }

    /// Lets it fetch the torrent into the job's directory, and ends it.
    pub(crate) fn fetch(self, stage: &Stage, job: &Job<'_>, limit: Duration) -> Outcome {
        let name = format!("{}-fetch", self.name());
        let done = stage.path("done");
        match self {
            Self::Aria2 => stage
                .start(
                    &name,
                    "aria2c",
                    aria2_args(job, &["--seed-time=0", "--file-allocation=none"])?,
                )?
                .wait_for_success(limit),
            Self::Libtorrent => stage
                .start(&name, &python(), libtorrent_args("fetch", job)?)?
                .wait_for_success(limit),
            Self::Minitorrent => stage
                .start(&name, &minitorrent(), minitorrent_args(job)?)?
                .wait_for_success(limit),
            Self::Qbittorrent => {
                // What it can run at the end it does not run for a torrent that has ended before it has
                // finished adding it.
                let (process, web) = qbittorrent(stage, &name, job)?;
                wait_for(process, limit, || {
                    get(web, "/api/v2/torrents/info?filter=completed")
                        .is_some_and(|reply| find(&reply, b"\"hash\":").is_some())
                })
            }
            Self::Rqbit => rqbit(stage, &name, job, true)?.wait_for_success(limit),
            Self::Rtorrent => {
                let process = rtorrent(stage, &name, job, Some(&done))?;
                wait_for(process, limit, || done.exists())
            }
            Self::Transmission => {
                let process = transmission(stage, &name, job, Some(&done))?;
                wait_for(process, limit, || done.exists())
            }
            Self::Webtorrent => webtorrent(stage, &name, job, false)?.wait_for_success(limit),
        }
    }
}

/// The program under test: this build's, or the one that `MINITORRENT_BINARY` names.
pub(crate) fn minitorrent() -> String {
    env::var("MINITORRENT_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_minitorrent").to_owned())
}

/// The arguments of a download; a seeder's are the same behind `seed`.
pub(crate) fn minitorrent_args(job: &Job<'_>) -> Outcome<Vec<String>> {
    let mut args = vec![
        text(job.torrent)?.to_owned(),
        "-o".to_owned(),
        text(job.dir)?.to_owned(),
        "--max-peers".to_owned(),
        "12".to_owned(),
        "--port".to_owned(),
        job.port.to_string(),
        "--progress".to_owned(),
        "none".to_owned(),
        "--json".to_owned(),
        // Only the trial's own peers and tracker.
        "--no-dht".to_owned(),
        "--no-lsd".to_owned(),
        "--state-dir".to_owned(),
        text(&job.dir.with_extension("state"))?.to_owned(),
    ];
    if !job.peers.is_empty() {
        args.push("--peers".to_owned());
        args.push(
            job.peers
                .iter()
                .map(SocketAddr::to_string)
                .collect::<Vec<_>>()
                .join(","),
        );
    }
    Ok(args)
}

/// A Python that has the module `libtorrent`.
fn python() -> String {
    env::var("MINITORRENT_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

fn libtorrent_args(mode: &str, job: &Job<'_>) -> Outcome<Vec<String>> {
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/interop/libtorrent_client.py"
    );
    let mut args = [script, mode, text(job.torrent)?, text(job.dir)?]
        .map(str::to_owned)
        .to_vec();
    args.push(job.port.to_string());
    args.push(format!("--ip={}", job.ip()));
    if let Some(limit) = job.upload_limit {
        args.push(format!("--upload-limit={limit}"));
    }
    args.extend(job.peers.iter().map(|peer| format!("--peer={peer}")));
    Ok(args)
}

fn aria2_args(job: &Job<'_>, more: &[&str]) -> Outcome<Vec<String>> {
    let mut args = [
        "--no-conf",
        // UDP trackers are spoken to through the socket of its DHT, which knows no node and asks
        // nobody.
        "--enable-dht=true",
        "--bt-enable-lpd=false",
        "--enable-peer-exchange=false",
        "--summary-interval=0",
        "--show-console-readout=false",
        "--console-log-level=notice",
    ]
    .map(str::to_owned)
    .to_vec();
    args.extend(more.iter().map(|arg| (*arg).to_owned()));
    args.push(format!("--interface={}", job.ip()));
    args.push(format!("--disable-ipv6={}", !job.v6));
    args.push(format!("--listen-port={}", job.port));
    args.push(format!("--dht-listen-port={}", job.port));
    args.push(format!("--dir={}", text(job.dir)?));
    if let Some(limit) = job.upload_limit {
        args.push(format!("--max-overall-upload-limit={limit}"));
    }
    args.push(text(job.torrent)?.to_owned());
    Ok(args)
}

fn rtorrent(stage: &Stage, name: &str, job: &Job<'_>, done: Option<&Path>) -> Outcome<Process> {
    let on_done = done.map_or_else(String::new, |done| {
        let done = done.display();
        format!("method.set_key = event.download.finished,done,\"execute.nothrow=touch,{done}\"\n")
    });
    let (dir, torrent, port) = (text(job.dir)?, text(job.torrent)?, job.port);
    let ip = guest();
    let config = stage.file(
        &format!("{name}.rc"),
        format!(
            "system.daemon.set = true\n\
             directory.default.set = {dir}\n\
             network.bind_address.set = {ip}\n\
             network.port_range.set = {port}-{port}\n\
             network.port_random.set = no\n\
             dht.mode.set = disable\n\
             trackers.use_udp.set = yes\n\
             protocol.pex.set = no\n\
             protocol.encryption.set = allow_incoming\n\
             pieces.hash.on_completion.set = no\n\
             {on_done}\
             load.start = {torrent}\n"
        ),
    )?;
    stage.start(
        name,
        "rtorrent",
        ["-n", "-o", &format!("import={}", text(&config)?)],
    )
}

/// And where its web interface is.
fn qbittorrent(stage: &Stage, name: &str, job: &Job<'_>) -> Outcome<(Process, SocketAddr)> {
    let profile = stage.dir(&format!("{name}.profile"))?;
    let config = profile.join("qBittorrent/config");
    fs::create_dir_all(&config).map_err(|e| e.to_string())?;
    let (dir, port, ip) = (text(job.dir)?, job.port, job.ip());
    fs::write(
        config.join("qBittorrent.conf"),
        format!(
            "[LegalNotice]\nAccepted=true\n\
             [Network]\nPortForwardingEnabled=false\n\
             [BitTorrent]\n\
             Session\\AddTorrentPaused=false\n\
             Session\\BTProtocol=TCP\n\
             Session\\DHTEnabled=false\n\
             Session\\LSDEnabled=false\n\
             Session\\PeXEnabled=false\n\
             Session\\Encryption=2\n\
             Session\\MultiConnectionsPerIp=true\n\
             Session\\SSRFMitigation=false\n\
             Session\\Interface=lo\n\
             Session\\InterfaceName=lo\n\
             Session\\InterfaceAddress={ip}\n\
             Session\\Port={port}\n\
             Session\\QueueingSystemEnabled=false\n\
             Session\\DefaultSavePath={dir}\n\
             [Preferences]\nWebUI\\Address=127.0.0.1\nWebUI\\LocalHostAuth=false\n"
        ),
    )
    .map_err(|e| e.to_string())?;
    let profile = format!("--profile={}", text(&profile)?);
    let save = format!("--save-path={dir}");
    // This build has no way to do without its web interface; two on one port end the second.
    let web = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let web_port = format!("--webui-port={}", web.port());
    let args = [
        &profile,
        &save,
        &web_port,
        "--skip-dialog=true",
        "--add-paused=false",
        text(job.torrent)?,
    ];
    Ok((stage.start(name, "qbittorrent-nox", args)?, web))
}

/// It takes up what lies in a directory that it watches.
fn transmission(stage: &Stage, name: &str, job: &Job<'_>, done: Option<&Path>) -> Outcome<Process> {
    let (config, watched) = (format!("{name}.config"), format!("{name}.watched"));
    let (config, watched) = (stage.dir(&config)?, stage.dir(&watched)?);
    fs::copy(job.torrent, watched.join("t.torrent")).map_err(|e| e.to_string())?;
    let script = match done {
        Some(done) => {
            let done = done.display();
            stage.script(&format!("{name}.sh"), &format!("touch {done}"))?
        }
        None => PathBuf::new(),
    };
    let settings = serde_json::json!({
        "bind-address-ipv4": guest().to_string(),
        "bind-address-ipv6": "::1",
        "dht-enabled": false,
        "download-dir": text(job.dir)?,
        "encryption": 0,
        "lpd-enabled": false,
        "peer-port": job.port,
        "pex-enabled": false,
        "port-forwarding-enabled": false,
        "preallocation": 0,
        "rename-partial-files": false,
        "rpc-enabled": false,
        "script-torrent-done-enabled": done.is_some(),
        "script-torrent-done-filename": text(&script)?,
        "utp-enabled": false,
        "watch-dir": text(&watched)?,
        "watch-dir-enabled": true,
    });
    let settings = settings.to_string();
    fs::write(config.join("settings.json"), settings).map_err(|e| e.to_string())?;
    let args = [
        "--foreground",
        "--log-debug",
        "--config-dir",
        text(&config)?,
    ];
    stage.start(name, "transmission-daemon", args)
}

/// As a seeder it is a download of what is there already.
fn rqbit(stage: &Stage, name: &str, job: &Job<'_>, ends: bool) -> Outcome<Process> {
    let program = named("MINITORRENT_RQBIT")?;
    let port = job.port.to_string();
    let mut args = vec!["-v", "info", "--disable-dht", "--disable-lsd"];
    args.extend(["--disable-upnp-port-forward", "--ipv4-only", "--listen-ip"]);
    let home = home().to_string();
    args.extend([&home, "--listen-port", &port]);
    args.extend(["download", "--disable-http-api", "--overwrite"]);
    args.extend(["-o", text(job.dir)?]);
    if ends {
        args.push("--exit-on-finish");
    }
    let peers: Vec<String> = job.peers.iter().map(SocketAddr::to_string).collect();
    let peers = peers.join(",");
    if !peers.is_empty() {
        args.extend(["--initial-peers", &peers]);
    }
    args.push(text(job.torrent)?);
    stage.start(name, &program, args)
}

/// As a seeder it is a download of what is there already.
fn webtorrent(stage: &Stage, name: &str, job: &Job<'_>, goes_on: bool) -> Outcome<Process> {
    let program = named("MINITORRENT_WEBTORRENT")?;
    let port = job.port.to_string();
    let mut args = vec!["download", text(job.torrent)?, "--out", text(job.dir)?];
    args.extend(["--torrent-port", &port, "--verbose"]);
    if goes_on {
        args.push("--keep-seeding");
    }
    stage.start(name, &program, args)
}

fn named(variable: &str) -> Outcome<String> {
    env::var(variable).map_err(|_| format!("{variable} does not name the program"))
}

/// Waits until a client has everything. One that goes on is ended then.
fn wait_for(mut process: Process, limit: Duration, has_all: impl Fn() -> bool) -> Outcome {
    until("the download", limit, || {
        process.alive()?;
        Ok(has_all())
    })
}
