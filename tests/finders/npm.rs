//! Trials in a DHT of npm's bittorrent-dht, whose modules `MINITORRENT_NPM_DHT` names (`tests/interop/wide`).

use std::env;

use crate::foreign::{Foreign, SEEDER, at, hidden_seeder, logs, start, we_fetch};
use crate::own::{magnet, seeder};
use crate::program::{PIECE, Scene};
use crate::{HERE, Play};

pub(crate) const ALL: &[Play] = &[
    (
        "npm/dht: we fetch by magnet from a peer that it was told of",
        fetched,
    ),
    ("npm/dht: it finds our seed", found),
];

/// The variable without which these trials are ignored.
pub(crate) const MODULES: &str = "MINITORRENT_NPM_DHT";

fn scene(name: &str) -> Scene {
    let scene = Scene::new(&format!("npm-{name}"), 300 * PIECE + 999);
    scene.write("on.json", b"{}");
    scene
}

/// Four nodes, the first of which everybody begins at, and what the last one does.
fn nodes(scene: &Scene, task: &[&str]) -> Foreign {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/finders/dht_node.mjs");
    let modules = env::var(MODULES).expect("it is on");
    let usual = [script, &modules, HERE, "7101", "4"];
    let nodes = start(scene, "nodes", "node", &[&usual[..], task].concat());
    nodes.wait_for("ready");
    nodes
}

/// The info-hash in a magnet link.
fn hash(link: &str) -> &str {
    let (_, rest) = link.split_once("btih:").expect("a link");
    &rest[..40]
}

/// The seeder knows of no DHT: whoever comes to it was told by these nodes.
fn fetched() {
    let scene = scene("fetched");
    let _seeder = hidden_seeder(&scene);
    let link = magnet(&scene);
    let nodes = nodes(&scene, &["announce", hash(&link), &SEEDER.to_string()]);
    nodes.wait_for("announced");
    we_fetch(
        &scene,
        &["--no-lsd", "--no-pex", "--dht-entry-point", ENTRY],
    );
}

fn found() {
    let scene = scene("found");
    let nodes = nodes(&scene, &["lookup", hash(&magnet(&scene))]);
    let (_seeder, port) = seeder(&scene, &["--no-lsd", "--dht-entry-point", ENTRY]);
    nodes.wait_for(&format!("peer {}\n", at(port)));
    assert!(!logs(&scene).contains("Error"), "{}", logs(&scene));
}

const ENTRY: &str = "10.77.0.1:7101";
