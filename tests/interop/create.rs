//! Torrent files that the program makes, as others read them and make them.

use std::env;
use std::fs;
use std::path::Path;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::common::process::Outcome;
use crate::stage::{Stage, text};
use crate::trial;

/// Every trial of this kind.
pub(crate) fn all() -> Vec<Trial> {
    let plain: &[&str] = &[];
    let rich: &[&str] = &[
        "--piece-length",
        "32k",
        "--private",
        "--tracker",
        "http://127.0.0.1:1/announce udp://127.0.0.1:2/announce",
        "--tracker",
        "http://127.0.0.1:3/announce",
        "--web-seed",
        "http://127.0.0.1:4/",
        "--comment",
        "a comment",
        "--creation-date",
        "1700000000",
    ];
    [("one file", false), ("a directory", true)]
        .into_iter()
        .flat_map(|(what, many)| [("plain", plain, what, many), ("rich", rich, what, many)])
        .map(|(how, options, what, many)| {
            let name = format!("create/{how} torrent of {what}");
            trial(name, move |stage| play(stage, options, many))
        })
        .collect()
}

fn play(stage: &Stage, options: &[&str], many: bool) -> Outcome {
    let source = content(stage, many)?;
    let torrent = stage.path("made.torrent");
    let (source, made) = (text(&source)?, text(&torrent)?);
    let program = env::var("MINITORRENT_BINARY");
    let program = program.unwrap_or_else(|_| env!("CARGO_BIN_EXE_minitorrent").into());
    let arguments = ["create", source, "-o", made, "--json"];
    let arguments = arguments.iter().chain(options);
    run(stage, "minitorrent", &program, arguments)?;
    let output = read(&stage.path("minitorrent.out"))?;
    let shown: serde_json::Value = serde_json::from_str(&output).map_err(|e| e.to_string())?;
    let hash = shown["info_hash"].as_str().ok_or("no info-hash")?;

    run(stage, "transmission-show", "transmission-show", [&made])?;
    same(
        "transmission",
        &read(&stage.path("transmission-show.out"))?,
        hash,
    )?;
    run(stage, "aria2c", "aria2c", [&"--show-files=true", &made])?;
    same("aria2", &read(&stage.path("aria2c.out"))?, hash)?;

    let python = env::var("MINITORRENT_PYTHON").unwrap_or_else(|_| "python3".into());
    let length = shown["piece_length"].to_string();
    let private = shown["private"].to_string();
    let arguments = ["-c", LIBTORRENT, made, source, &length, &private];
    run(stage, "libtorrent", &python, arguments.iter())?;
    let output = read(&stage.path("libtorrent.out"))?;
    let expected = format!("{hash}\n{hash}\n");
    if output != expected {
        return Err(format!("libtorrent reads and makes\n{output}not {hash}"));
    }
    Ok(())
}

/// What is shared: bytes that repeat nowhere, in files that end within pieces.
fn content(stage: &Stage, many: bool) -> Outcome<std::path::PathBuf> {
    let bytes: Vec<u8> = (0..300_000u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    if !many {
        return stage.file("one.bin", bytes);
    }
    let dir = stage.dir("several")?;
    stage.dir("several/b")?;
    let files = [
        ("a", 0..70_001),
        ("b/c", 70_001..900_000),
        ("b.x", 900_000..900_000),
        ("\u{e4}", 900_000..bytes.len()),
    ];
    for (name, range) in files {
        stage.file(&format!("several/{name}"), &bytes[range])?;
    }
    Ok(dir)
}

fn run<A: AsRef<std::ffi::OsStr>>(
    stage: &Stage,
    name: &str,
    program: &str,
    arguments: impl IntoIterator<Item = A>,
) -> Outcome {
    let mut process = stage.start(name, program, arguments)?;
    process.wait_for_success(Duration::from_secs(60))
}

fn read(path: &Path) -> Outcome<String> {
    fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}

fn same(who: &str, output: &str, hash: &str) -> Outcome {
    if output.contains(hash) {
        return Ok(());
    }
    Err(format!(
        "{who} reads another info-hash than {hash}:\n{output}"
    ))
}

/// Prints the info-hash of what was made, and of what libtorrent makes of the same files and options.
const LIBTORRENT: &str = r#"
import os, sys
import libtorrent as lt
made, source, length, private = sys.argv[1:5]
print(lt.torrent_info(made).info_hash())
base, name = os.path.split(source)
if os.path.isdir(source):
    paths = [os.path.relpath(os.path.join(top, file), base)
             for top, _, files in os.walk(source) for file in files]
else:
    paths = [name]
storage = lt.file_storage()
for path in sorted(paths, key=lambda path: path.encode().split(b"/")):
    storage.add_file(path, os.path.getsize(os.path.join(base, path)))
maker = lt.create_torrent(storage, int(length), flags=lt.create_torrent.v1_only)
maker.set_priv(private == "true")
lt.set_piece_hashes(maker, base)
print(lt.torrent_info(lt.bencode(maker.generate())).info_hash())
"#;
