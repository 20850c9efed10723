//! Many sessions in one small world with its own clock, links, disks and liars; every run follows from a seed.
//!
//! `MINITORRENT_SIM_SEEDS=1..2000` runs other worlds, `MINITORRENT_SIM_SEED=77` runs one;
//! `MINITORRENT_SIM_LOUD=1` prints all that happens.

mod crash;
mod files;
mod plan;
mod power;
mod script;
mod services;
mod state;
mod swarm;
mod trace;
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
    for seed in seeds().step_by(23).take(20) {
        let (one, two) = (run(seed), run(seed));
        assert!(one.is_some() && one == two, "seed {seed}");
    }
}

/// Runs the world of a seed; gives the fingerprint of its trace, or says what went wrong and how to see it
/// again.
fn run(seed: u64) -> Option<u64> {
    let world = World::new(Plan::new(seed));
    let again = format!("MINITORRENT_SIM_SEED={seed} cargo test --test sim every_world");
    Some(play(world, &again)?.trace.fingerprint())
}

/// Plays a world to its end; says what went wrong otherwise, and how to see it `again`.
fn play(mut world: World, again: &str) -> Option<World> {
    world.trace.loud = std::env::var_os("MINITORRENT_SIM_LOUD").is_some();
    if catch_unwind(AssertUnwindSafe(|| world.run())).is_ok() {
        return Some(world);
    }
    for (at, line) in &world.trace.last {
        println!("{at:?} {line}");
    }
    println!("failed at {:?}; again with:\n{again}", world.now);
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
    number("MINITORRENT_SIM_SEEDS", range).unwrap_or(0..500)
}

fn number<T>(name: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(read(&text).unwrap_or_else(|| panic!("{name}={text}: neither a seed nor a range")))
}
