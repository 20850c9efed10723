//! Real torrent files against a table of what they are. `MINITORRENT_CORPUS` names the directory that holds
//! `corpus.tsv`: a header line, then a file a row. Without it the table is reported as ignored.
//!
//! The trials run on the main thread unless `--test-threads` says otherwise, so that `ulimit -s` holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

use minitorrent::wire::metainfo::{Metainfo, MetainfoError};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(1);
    let trials = match std::env::var_os("MINITORRENT_CORPUS") {
        None => vec![
            Trial::test("corpus", || Err("MINITORRENT_CORPUS is not set".into()))
                .with_ignored_flag(true),
        ],
        Some(directory) => match read_table(&PathBuf::from(directory)) {
            Ok(trials) => trials,
            Err(message) => vec![Trial::test("corpus", move || Err(message.into()))],
        },
    };
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn read_table(directory: &Path) -> Result<Vec<Trial>, String> {
    let path = directory.join("corpus.tsv");
    let table =
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut lines = table.lines();
    let header: Vec<String> = lines
        .next()
        .ok_or("the table is empty")?
        .split('\t')
        .map(str::to_owned)
        .collect();
    for needed in ["file", "expected", "infohash_v1", "infohash_v2", "name"] {
        if !header.iter().any(|column| column == needed) {
            return Err(format!("{}: no column `{needed}`", path.display()));
        }
    }
    let trials: Vec<Trial> = lines
        .map(|line| {
            let cells = line.split('\t').map(str::to_owned);
            let row = Row(header.iter().cloned().zip(cells).collect());
            let file = directory.join(row.cell("file"));
            Trial::test(row.cell("file").to_owned(), move || row.judge(&file))
        })
        .collect();
    match trials.is_empty() {
        true => Err(format!("{}: no rows", path.display())),
        false => Ok(trials),
    }
}

/// A line of the table by the names of its columns.
struct Row(BTreeMap<String, String>);

impl Row {
    fn cell(&self, column: &str) -> &str {
        self.0.get(column).map_or("", String::as_str)
    }

    fn judge(&self, file: &Path) -> Result<(), Failed> {
        let bytes = std::fs::read(file)?;
        let borrowed = Metainfo::parse(&bytes);
        let loaded = Metainfo::parse_owned(bytes);
        same(
            "owned or borrowed",
            &format!("{borrowed:?}"),
            &format!("{loaded:?}"),
        )?;
        match self.cell("expected") {
            "load" | "sanitised" if self.cell("infohash_v1").is_empty() => self.judge_v2(loaded),
            "load" | "sanitised" => self.judge_loaded(&loaded.map_err(|error| show(&error))?),
            "fail" => match loaded {
                Ok(_) => Err("loaded, but must be refused".into()),
                Err(error) => {
                    assert!(error.kind.starts_with("torrent."), "{}", show(&error));
                    Ok(())
                }
            },
            other => Err(format!("unknown verdict `{other}`").into()),
        }
    }

    fn judge_v2(&self, loaded: Result<Metainfo, MetainfoError>) -> Result<(), Failed> {
        match loaded {
            Ok(_) => Err("loaded, but is for v2 only".into()),
            Err(error) => same("kind", error.kind, "torrent.v2-only"),
        }
    }

    fn judge_loaded(&self, torrent: &Metainfo) -> Result<(), Failed> {
        let v2 = torrent.info_hash_v2.iter().flatten();
        let v2: String = v2.map(|byte| format!("{byte:02x}")).collect();
        same(
            "infohash_v1",
            &torrent.info_hash.to_string(),
            self.cell("infohash_v1"),
        )?;
        same("infohash_v2", &v2, self.cell("infohash_v2"))?;
        let geometry = torrent.geometry;
        for (column, found) in [
            ("files", torrent.files.len() as u64),
            ("pieces", u64::from(geometry.pieces())),
            ("piece_length", u64::from(geometry.piece_length())),
            ("total_size", geometry.total()),
        ] {
            same(column, &found.to_string(), self.cell(column))?;
        }
        same("name", &torrent.name, self.cell("name"))?;

        let paths: Vec<&str> = torrent
            .files
            .iter()
            .map(|file| file.path.as_str())
            .collect();
        let expected = self.cell("libtorrent_paths");
        if !expected.is_empty() {
            same("paths", &paths.join(" | "), expected)?;
        }
        let renames = self.cell("libtorrent_renames");
        if !renames.is_empty() {
            let renames: BTreeMap<usize, String> = serde_json::from_str(renames)?;
            for (index, path) in &renames {
                same(
                    "rename",
                    paths.get(*index).copied().unwrap_or_default(),
                    path,
                )?;
            }
        }

        let of_info = Metainfo::from_info(torrent.info()).map_err(|error| show(&error))?;
        same(
            "hash of info alone",
            &of_info.info_hash.to_string(),
            self.cell("infohash_v1"),
        )?;
        assert_eq!(of_info.files, torrent.files, "files from info alone");
        Ok(())
    }
}

fn same(what: &str, found: &str, expected: &str) -> Result<(), Failed> {
    match found == expected {
        true => Ok(()),
        false => Err(format!("{what}: `{found}`, expected `{expected}`").into()),
    }
}

fn show(error: &MetainfoError) -> String {
    format!("error[{}]: {}", error.kind, error.message)
}
