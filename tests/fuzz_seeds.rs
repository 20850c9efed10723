//! Runs every seed of every fuzz target through the target's own body, without a fuzzer.
//!
//! `fuzz/seeds/NAME/*` holds what a run begins with, and every input that once broke something.

#[path = "../fuzz/src/bodies/mod.rs"]
#[expect(unreachable_pub, reason = "the fuzz workspace builds it as a library")]
mod bodies;

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

#[test]
fn no_seed_breaks_anything() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let mut broken = Vec::new();
    for (name, body) in bodies::ALL {
        let dir = root.join(name);
        let seeds = fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        let mut count = 0;
        for seed in seeds {
            let path = seed.expect("a readable directory").path();
            let bytes = fs::read(&path).expect("a readable seed");
            if catch_unwind(|| body(&bytes)).is_err() {
                broken.push(path);
            }
            count += 1;
        }
        assert!(count > 0, "{name} has no seed");
    }
    assert!(broken.is_empty(), "broken by {broken:?}");
}

#[test]
fn the_empty_input_breaks_nothing() {
    bodies::ALL.iter().for_each(|(_, body)| body(&[]));
}

/// Every target is a binary of the fuzz workspace, and the other way round.
#[test]
fn every_body_is_a_target() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let files = fs::read_dir(dir).expect("the targets");
    let mut files: Vec<String> = files
        .map(|file| {
            file.expect("readable")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    let mut bodies: Vec<_> = bodies::ALL
        .iter()
        .map(|(name, _)| format!("{name}.rs"))
        .collect();
    files.sort();
    bodies.sort();
    assert_eq!(files, bodies);
}
