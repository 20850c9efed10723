//! Many sessions in one small world with its own clock, links, disks and liars; every run follows from a seed.
//!
//! `MINITORRENT_SIM_SEEDS=1..2000` runs more worlds, `MINITORRENT_SIM_SEED=77` runs one;
//! `MINITORRENT_SIM_LOUD=1` prints all that happens.

mod files;
mod plan;
mod script;
mod watch;
mod world;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::plan::Plan;
use crate::world::World;

#[test]
fn every_world_comes_to_its_good_end() {
    let mut failed = Vec::new();
    for seed in seeds() {
        if run(seed).is_none() {
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in seeds().step_by(10).take(20) {
        let (one, two) = (run(seed), run(seed));
        assert!(one.is_some() && one == two, "seed {seed}");
    }
}

/// Runs the world of a seed; gives the fingerprint of its trace, or says what went wrong and how to see it
/// again.
fn run(seed: u64) -> Option<[u8; 20]> {
    let mut world = World::new(Plan::new(seed));
    world.loud = std::env::var_os("MINITORRENT_SIM_LOUD").is_some();
    if catch_unwind(AssertUnwindSafe(|| world.run())).is_ok() {
        return Some(world.fingerprint());
    }
    world.log.iter().for_each(|line| println!("{line}"));
    println!("seed {seed} failed at {:?}; again with:", world.now);
    println!("MINITORRENT_SIM_SEED={seed} cargo test --test sim every_world");
    None
}

fn seeds() -> Range<u64> {
    if let Some(seed) = number("MINITORRENT_SIM_SEED", |text| text.parse().ok()) {
        return seed..seed + 1;
    }
    let range = |text: &str| {
        let (from, to) = text.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    };
    number("MINITORRENT_SIM_SEEDS", range).unwrap_or(0..50)
}

fn number<T>(name: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(read(&text).unwrap_or_else(|| panic!("{name}={text}: neither a seed nor a range")))
}
