//! What a download has to survive, and what it must never do.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::clients::{Client, Job, minitorrent, minitorrent_args};
use crate::common::process::{Outcome, until};
use crate::common::{Content, free_port};
use crate::matrix::{Shape, limit};
use crate::scripted::Scripted;
use crate::stage::{Stage, Tracker, local, text, wait_for_seed};
use crate::trial;

/// Every ordeal.
pub(crate) fn all() -> Vec<Trial> {
    let mut trials = vec![
        trial(
            "ordeals/a_liar_among_honest_seeders_is_named_and_banned".to_owned(),
            a_liar,
        ),
        trial(
            "ordeals/killed_five_times_in_a_row".to_owned(),
            killed_again_and_again,
        ),
    ];
    for scheme in ["http", "udp"] {
        let name = format!("ordeals/no_thread_and_no_process_is_made_{scheme}");
        trials.push(trial(name, move |stage| one_thread(stage, scheme)));
    }
    for (shape, name) in [
        (Shape::OneFile, "one_file"),
        (Shape::WidePieces, "wide_pieces"),
    ] {
        for percent in [0, 1, 30, 60, 99] {
            let name = format!("ordeals/killed_after_{percent}_percent_of_{name}");
            trials.push(trial(name, move |stage| killed_once(stage, shape, percent)));
        }
    }
    trials
}

/// A whole download over a tracker under `strace`: not one clone, not one fork.
fn one_thread(stage: &Stage, scheme: &str) -> Outcome {
    let (content, payload) = Shape::OneFile.payload()?;
    let tracker = Tracker::start(stage, content)?;
    let torrent = stage.file("t.torrent", content.torrent(Some(&tracker.url(scheme))))?;
    let seed = job(&torrent, payload);
    let mut seeder = Client::Libtorrent.seed(stage, &seed)?;
    tracker.wait_for_seeders(1, &mut seeder)?;
    let out = stage.dir("out")?;
    let trace = stage.path("strace");
    // With -D the traced program is our own child, and ends with us whatever becomes of the tracer.
    let mut args = [
        "-D",
        "-f",
        "-e",
        "trace=clone,clone3,fork,vfork",
        "-o",
        text(&trace)?,
    ]
    .map(str::to_owned)
    .to_vec();
    args.push(minitorrent());
    args.extend(minitorrent_args(&job(&torrent, &out))?);
    stage
        .start("minitorrent", "strace", args)?
        .wait_for_success(limit())?;
    content.verify(&out)?;
    let mut calls = String::new();
    until("the end of the trace", Duration::from_secs(5), || {
        calls = fs::read_to_string(&trace).map_err(|e| e.to_string())?;
        Ok(calls.contains("+++ exited with 0 +++"))
    })?;
    match calls
        .lines()
        .find(|line| CALLS.iter().any(|call| line.contains(call)))
    {
        None => Ok(()),
        Some(line) => Err(format!("it is not alone: {line}")),
    }
}

/// One seeder in three sends a wrong byte in one block of a hundred; the honest two are slow, so
/// that it is asked for much. All comes right, and its address, and no other, is named as banned.
fn a_liar(stage: &Stage) -> Outcome {
    let (content, payload) = Shape::OneFile.payload()?;
    let torrent = stage.file("t.torrent", content.torrent(None))?;
    let slow = |port| Job {
        upload_limit: Some(4 << 20),
        port,
        ..job(&torrent, payload)
    };
    let (first, second) = (slow(free_port()), slow(free_port()));
    let mut libtorrent = Client::Libtorrent.seed(stage, &first)?;
    let mut aria2 = Client::Aria2.seed(stage, &second)?;
    wait_for_seed(local(first.port), content, &mut libtorrent)?;
    wait_for_seed(local(second.port), content, &mut aria2)?;
    let liar = Scripted::start(content, LIAR, Some(100))?;
    let out = stage.dir("out")?;
    let peers = [liar.address(), local(first.port), local(second.port)];
    let fetch = Job {
        peers: &peers,
        ..job(&torrent, &out)
    };
    Client::Minitorrent.fetch(stage, &fetch, limit())?;
    content.verify(&out)?;
    libtorrent.alive()?;
    aria2.alive()?;
    if liar.lies() == 0 {
        return Err(format!(
            "the liar was asked for {} blocks and never lied",
            liar.blocks()
        ));
    }
    let said = ["out", "err"].map(|end| stage.path(&format!("minitorrent-fetch.{end}")));
    let mut said = said.iter().flat_map(fs::read_to_string).collect::<String>();
    said.make_ascii_lowercase();
    let banned = said
        .lines()
        .filter(|line| line.contains("ban"))
        .collect::<Vec<_>>();
    if !banned.iter().any(|line| line.contains(&LIAR.to_string())) {
        return Err(format!(
            "the liar is not named as banned, after {} lies",
            liar.lies()
        ));
    }
    match banned.iter().find(|line| line.contains("127.0.0.1:")) {
        None => Ok(()),
        Some(line) => Err(format!("an honest seeder is banned: {line}")),
    }
}

/// Killed when it has been sent so much of the payload; the next run fetches what was missing and
/// no more.
fn killed_once(stage: &Stage, shape: Shape, percent: u64) -> Outcome {
    let (content, _) = shape.payload()?;
    let seeder = Scripted::start(content, SEEDER, None)?;
    let torrent = stage.file("t.torrent", content.torrent(None))?;
    let out = stage.dir("out")?;
    let blocks = content.length().div_ceil(1 << 14) * percent / 100;
    kill_after(stage, &seeder, &torrent, &out, blocks)?;
    finish(stage, content, &seeder, &torrent, &out)
}

/// Killed five times on the way, each time a little further on.
fn killed_again_and_again(stage: &Stage) -> Outcome {
    let (content, _) = Shape::ManyFiles.payload()?;
    let seeder = Scripted::start(content, SEEDER, None)?;
    let torrent = stage.file("t.torrent", content.torrent(None))?;
    let out = stage.dir("out")?;
    let blocks = content.length().div_ceil(1 << 14) / 7;
    let mut before = content.length();
    for _ in 0..5 {
        kill_after(stage, &seeder, &torrent, &out, blocks)?;
        let missing = content.missing(&out);
        if missing >= before {
            return Err(format!(
                "a run brought nothing: {missing} bytes still missing"
            ));
        }
        before = missing;
    }
    finish(stage, content, &seeder, &torrent, &out)
}

/// Runs it until the seeder has served so many blocks, and kills it while more requests are on
/// their way.
fn kill_after(
    stage: &Stage,
    seeder: &Scripted,
    torrent: &Path,
    out: &Path,
    blocks: u64,
) -> Outcome {
    seeder.allow(blocks);
    let greetings = seeder.greetings();
    let peers = [seeder.address()];
    let args = minitorrent_args(&Job {
        peers: &peers,
        ..job(torrent, out)
    })?;
    let mut process = stage.start("minitorrent-killed", &minitorrent(), args)?;
    until("the moment to kill", limit(), || {
        process.alive()?;
        Ok(seeder.greetings() > greetings && seeder.is_silent())
    })?;
    // Zero to nineteen milliseconds more, so that not every kill finds the last block still unread.
    thread::sleep(Duration::from_millis(blocks % 20));
    process.alive()?;
    process.kill()?;
    // What the killed one asked for may lie unread at the seeder, which is about to be let go on.
    until("the end of the connection", limit(), || {
        Ok(seeder.is_alone())
    })
}

/// The last run: complete, byte-exact, and nothing fetched that was there.
fn finish(
    stage: &Stage,
    content: &Arc<Content>,
    seeder: &Scripted,
    torrent: &Path,
    out: &Path,
) -> Outcome {
    let missing = content.missing(out);
    let served = seeder.bytes();
    seeder.allow(u64::MAX);
    let peers = [seeder.address()];
    let fetch = Job {
        peers: &peers,
        ..job(torrent, out)
    };
    Client::Minitorrent.fetch(stage, &fetch, limit())?;
    content.verify(out)?;
    let downloaded = complete_event(stage)?;
    if downloaded == 0 || downloaded > missing {
        return Err(format!(
            "it says it fetched {downloaded} bytes; {missing} were missing"
        ));
    }
    let served = seeder.bytes() - served;
    if served > missing {
        return Err(format!(
            "{served} bytes were sent to it; {missing} were missing"
        ));
    }
    Ok(())
}

/// `downloaded` of the `complete` event of the last fetch.
fn complete_event(stage: &Stage) -> Outcome<u64> {
    let log = stage.path("minitorrent-fetch.out");
    let lines = fs::read_to_string(&log).map_err(|e| e.to_string())?;
    for line in lines.lines() {
        let event: Value = serde_json::from_str(line).map_err(|e| format!("{line}: {e}"))?;
        if event["event"] == "complete" {
            let downloaded = event["downloaded"].as_u64();
            return downloaded.ok_or_else(|| format!("`downloaded` is no number: {line}"));
        }
    }
    Err("there is no `complete` event".to_owned())
}

fn job<'a>(torrent: &'a Path, dir: &'a Path) -> Job<'a> {
    Job {
        torrent,
        dir,
        port: free_port(),
        peers: &[],
        upload_limit: None,
        v6: false,
    }
}

const CALLS: [&str; 4] = ["clone(", "clone3(", "fork(", "vfork("];
const LIAR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);
const SEEDER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 77);
