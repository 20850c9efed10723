//! A build for another processor downloads from a native seeder, under an emulator.
//!
//! `tests/embedded/run` builds that program and calls this. Without `MINITORRENT_EMBEDDED` (the command that
//! runs it: emulator and program, separated by a space) there is nothing to try, and the trials are ignored; so is
//! the one that takes minutes without `MINITORRENT_EMBEDDED_SCALE=full`.

#[path = "../common/mod.rs"]
mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use common::process::{Outcome, Process};
use common::{Content, TempDir, free_port};
use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let foreign = std::env::var("MINITORRENT_EMBEDDED").ok();
    let is_full = std::env::var("MINITORRENT_EMBEDDED_SCALE").as_deref() == Ok("full");
    let trial = |name, body: fn(&str) -> Outcome, is_wanted: bool| {
        let foreign = foreign.clone();
        let ignored = foreign.is_none() || !is_wanted;
        let run = move || body(&foreign.unwrap_or_default()).map_err(Into::into);
        Trial::test(name, run).with_ignored_flag(ignored)
    };
    let trials = vec![
        trial("it_says_its_version", says_its_version, true),
        trial("it_downloads_many_files", downloads_many_files, true),
        trial("it_keeps_a_memory_limit", keeps_a_memory_limit, true),
        trial("it_writes_beyond_four_gib", writes_beyond_four_gib, is_full),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn says_its_version(foreign: &str) -> Outcome {
    let output = command(foreign).arg("--version").output();
    let output = output.map_err(|error| format!("{foreign}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let wanted = format!("minitorrent {}", env!("CARGO_PKG_VERSION"));
    match said.starts_with(&wanted) {
        true => Ok(()),
        false => Err(format!("it said {said:?}")),
    }
}

/// Empty files, files that end within a piece and within a block, and one of many pieces.
fn downloads_many_files(foreign: &str) -> Outcome {
    let lengths: Vec<u64> = (0..60)
        .map(|at| at * at * 1_013)
        .chain([0, 1, 16_384, 40_000_001])
        .collect();
    let content = Content::many_files("embedded-many", &lengths, 128 << 10);
    download(foreign, &content, &[], Duration::from_secs(240))
}

fn keeps_a_memory_limit(foreign: &str) -> Outcome {
    let content = Content::one_file("embedded-limit.bin", 30_000_000, 1 << 20);
    let limit = ["--mem-limit", "6M"];
    download(foreign, &content, &limit, Duration::from_secs(240))
}

/// Offsets that do not fit into 32 bits. Every byte of the 4 GiB before them is fetched and hashed too, so it
/// takes minutes: only with `MINITORRENT_EMBEDDED_SCALE=full`.
fn writes_beyond_four_gib(foreign: &str) -> Outcome {
    let content = Content::one_file("embedded-large.bin", (4 << 30) + 12_345_678, 8 << 20);
    download(foreign, &content, &[], Duration::from_secs(3600))
}

/// The native program seeds `content`, the foreign one fetches it, and every byte is compared.
fn download(foreign: &str, content: &Content, options: &[&str], limit: Duration) -> Outcome {
    let dir = TempDir::new(&content.name);
    let path = |name: &str| dir.path().join(name);
    let broken = |error| format!("the scene can't be set: {error}");
    let torrent = path("x.torrent");
    fs::write(&torrent, content.torrent(None)).map_err(broken)?;
    content.write_to(&path("seed")).map_err(broken)?;
    let port = free_port();
    let mut seeder = Command::new(env!("CARGO_BIN_EXE_minitorrent"));
    seeder.arg("seed").arg(&torrent).arg("-o").arg(path("seed"));
    seeder.args(["--no-dht", "--no-lsd", "--port", &port.to_string()]);
    let mut seeder = Process::start("the seeder", quiet(&mut seeder, dir.path()))?;
    let mut leecher = command(foreign);
    leecher.arg(&torrent).arg("-o").arg(path("out"));
    leecher.args([
        "--no-dht",
        "--no-lsd",
        "--port",
        "0",
        "--peers",
        &format!("127.0.0.1:{port}"),
    ]);
    leecher.args(options);
    let mut leecher = Process::start("the foreign program", quiet(&mut leecher, dir.path()))?;
    leecher.wait_for_success(limit)?;
    seeder.alive()?;
    content.verify(&path("out"))
}

/// Output would only fill a pipe; what is remembered stays in the scene.
fn quiet<'a>(command: &'a mut Command, home: &Path) -> &'a mut Command {
    command.env("XDG_STATE_HOME", home.join("state"));
    command.stdin(Stdio::null()).stdout(Stdio::null())
}

/// The foreign program, behind its emulator if there is one.
fn command(foreign: &str) -> Command {
    let mut words = foreign.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}
