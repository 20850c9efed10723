//! Lives that end in a power cut, at any operation.

use super::*;

/// One torrent's life with kills and power cuts at the `cut`th operation on its state; the number of those.
fn troubled_life(seed: u64, cut: usize) -> usize {
    let mut seeds = [0; 32];
    seeds[..8].copy_from_slice(&seed.to_le_bytes());
    let mut rng = Rng::new(seeds);
    let pieces = 24;
    let files = [("a", 7 * 500 + 100), ("b", 9 * 500), ("c", 8 * 500 - 100)];
    let mut scene = Scene::of_pieces(500, &files);
    scene.disk.state_mut().cut_after = Some(cut);
    for _ in 0..4 {
        if scene.add().is_err() {
            scene.disk.state_mut().kill();
            scene.add().expect("the power is back");
        }
        for _ in 0..60 {
            let before = scene.disk.files().files.clone();
            let times = scene.disk.files().times.clone();
            match rng.below(8) {
                0..4 => scene.write([rng.below(pieces) as u32]),
                4 => {
                    let piece = rng.below(pieces) as u32;
                    scene.forget(piece);
                    let mut wrong = scene.content.clone();
                    wrong[piece as usize * 500 + 5] ^= 1;
                    scene.write_from([piece], &wrong);
                }
                5..7 => {
                    scene.tick();
                    scene.pass(700);
                }
                _ => {
                    scene.pass(31_000);
                    scene.tick();
                }
            }
            if scene.disk.state().is_cut() {
                // What was written after the cut was not.
                scene.disk.files_mut().files = before;
                scene.disk.files_mut().times = times;
                break;
            }
        }
        let known = Journal::parse(&scene.journal(), &scene.expected()).ok();
        let crash = scene.disk.state().is_cut() || rng.below(2) == 0;
        scene.revive(crash.then_some(&mut rng));
        scene.add().expect("it can be had");
        scene.disk.files_mut().reads.clear();
        let good = scene.check();
        let right: Vec<u32> = (0..pieces as u32)
            .filter(|piece| scene.is_right(*piece))
            .collect();
        assert_eq!(good, right, "seed {seed}, cut at {cut}");
        let read: usize = scene.disk.files().reads.iter().map(|read| read.2).sum();
        if let Some(known) = known.filter(|_| !crash) {
            let noted = known.written.count() as usize * 500;
            assert!(
                read <= pieces * 500 - noted + (SAMPLES + 1) * 500,
                "seed {seed}: {read} read"
            );
        }
        scene.revive(None);
    }
    scene.disk.state().operations
}

#[test]
fn whatever_operation_the_power_fails_at_no_wrong_piece_is_believed() {
    let mut rounds = 0;
    for seed in 0..3 {
        let all = troubled_life(seed, usize::MAX);
        for cut in 0..all {
            troubled_life(seed, cut);
            rounds += 1;
        }
    }
    assert!(rounds > 250, "{rounds}");
}
