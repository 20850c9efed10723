//! A download whose life ends in the middle of each of its disk operations, and one that ends at any moment.

use crate::plan::{End, Plan};
use crate::play;
use crate::world::World;

/// Cuts the downloader's life at each operation of its disk in turn, and lets another one follow; how many there were.
fn cut_everywhere(test: &str, how: End, seeds: std::ops::Range<u64>) -> u64 {
    let chosen = std::env::var("MINITORRENT_SIM_CUT").ok();
    let chosen = chosen.map(|text| {
        let (seed, operation) = text.split_once(':').expect("SEED:OPERATION");
        let number = |text: &str| text.parse::<u64>().expect("a number");
        (number(seed), number(operation))
    });
    let mut lives = 0;
    for seed in seeds {
        let plan = |cut| {
            let mut plan = Plan::quiet(seed, |piece| piece % 5 == 3);
            plan.nodes[1].cut = cut;
            plan
        };
        let again = |operation| {
            format!("MINITORRENT_SIM_CUT={seed}:{operation} cargo test --test sim {test}")
        };
        let whole = play(World::new(plan(None)), &again(u64::MAX)).expect("a quiet life");
        let operations = whole.disk_operations(1);
        for operation in 0..operations {
            if chosen.is_none_or(|chosen| chosen == (seed, operation)) {
                let world = World::new(plan(Some((operation, how))));
                let world = play(world, &again(operation)).expect("another life makes it good");
                assert!(world.disk_operations(1) > operation);
                lives += 1;
            }
        }
    }
    lives
}

/// Every piece that the next life believes in is on the disk, and every one that is there is believed in.
#[test]
fn a_kill_in_any_disk_operation_is_made_good_by_the_next_life() {
    let test = "a_kill_in_any_disk_operation";
    let lives = cut_everywhere(test, End::Kill, 0..12);
    assert!(lives > 200 || std::env::var_os("MINITORRENT_SIM_CUT").is_some());
}

/// The same where what was not synced is lost, in part, in whole or not at all, whatever its order was.
#[test]
fn a_power_cut_in_any_disk_operation_is_made_good_by_the_next_life() {
    let test = "a_power_cut_in_any_disk_operation";
    let lives = cut_everywhere(test, End::PowerCut, 0..16);
    assert!(lives > 300 || std::env::var_os("MINITORRENT_SIM_CUT").is_some());
}

#[test]
fn a_life_that_ends_in_its_first_check_is_followed_by_one_that_checks_all() {
    for half_millis in 0..60 {
        for how in [End::Kill, End::PowerCut] {
            let mut plan = Plan::quiet(half_millis, |piece| piece % 2 == 0);
            plan.nodes[1].ends = vec![(half_millis * 500, how)];
            plan.nodes[1].disk_delay = 500;
            let again = "cargo test --test sim a_life_that_ends_in_its_first_check";
            assert!(play(World::new(plan), again).is_some(), "{half_millis}");
        }
    }
}

/// Each of its lives reads no more of its content than a few samples.
#[test]
fn a_seed_that_is_killed_a_hundred_times_never_reads_all_again() {
    let mut plan = Plan::quiet(1, |_| true);
    plan.nodes.truncate(1);
    let seconds = (0..100).map(|life| 10 + 45 * life);
    plan.nodes[0].ends = seconds
        .map(|second| (second * 1_000_000, End::Kill))
        .collect();
    plan.bound = 10_000;
    let again = "cargo test --test sim a_seed_that_is_killed";
    let world = play(World::new(plan), again).expect("it lives on");
    assert_eq!(world.lives_of(0), 101);
}
