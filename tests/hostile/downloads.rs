//! A download, and seeds that cheat: an honest one begins when they have had their say.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::kit::{Target, answer, honest, listen, message, piece};
use crate::program::{PIECE, Scene};
use crate::stage::a_download_completes;

/// A download with one such peer and an honest one completes; gives its events.
fn beside(name: &str, behave: impl Fn(&mut TcpStream, &Target) + Send + 'static) -> String {
    let scene = Scene::new(&format!("hostile-{name}"), 12 * PIECE + 777);
    let payload = Arc::new(scene.payload.clone());
    let go = Arc::new(AtomicBool::new(false));
    let good = honest(3, &payload, &go);
    let bad = listen(2, &payload, move |stream, target| {
        behave(stream, target);
        go.store(true, Ordering::Relaxed);
        // What it says later does not matter; it hangs up when the download does.
        answer(stream, target, |_, _, _| Vec::new());
    });
    a_download_completes(&scene, &[bad, good]).stdout
}

#[test]
fn c3_a_seed_that_never_unchokes_delays_nothing() {
    beside("c3", |stream, _| {
        let _ = stream.write_all(&[0; 400]);
    });
}

#[test]
fn c7_a_mebibyte_that_was_never_asked_for_ends_a_connection() {
    let events = beside("c7", |stream, _| {
        let block = piece(0, 1, &[0; 16_384]);
        let _ = stream.write_all(&block.repeat(70));
        thread::sleep(Duration::from_millis(300));
    });
    assert!(events.contains("peer.unrequested"), "{events}");
}

#[test]
fn c7_empty_and_foreign_blocks_are_not_written() {
    beside("c7-empty", |stream, _| {
        let _ = stream.write_all(&message(1, &[]));
        for n in 0..12 {
            let _ = stream.write_all(&piece(n, 0, &[]));
            let _ = stream.write_all(&piece(n, 0, &[9; 100]));
            let _ = stream.write_all(&piece(n, 16_384 * 5, &[9; 16_384]));
        }
        thread::sleep(Duration::from_millis(300));
    });
}

#[test]
fn c8_a_liar_is_banned_and_the_truth_is_fetched() {
    let scene = Scene::new("hostile-c8", 12 * PIECE + 777);
    let payload = Arc::new(scene.payload.clone());
    let go = Arc::new(AtomicBool::new(false));
    let good = honest(3, &payload, &go);
    let bad = listen(2, &payload, move |stream, target| {
        let _ = stream.write_all(&message(1, &[]));
        answer(stream, target, |index, begin, data| {
            let mut data = data.to_vec();
            data[0] ^= 1;
            piece(index, begin, &data)
        });
        go.store(true, Ordering::Relaxed);
    });
    let events = a_download_completes(&scene, &[bad, good]).stdout;
    assert!(events.contains("\"banned\""), "{events}");
}

#[test]
fn c11_a_seed_that_hangs_up_in_the_middle_of_a_block_loses_nothing() {
    let scene = Scene::new("hostile-c11-seed", 12 * PIECE + 777);
    let payload = Arc::new(scene.payload.clone());
    let go = Arc::new(AtomicBool::new(false));
    let good = honest(3, &payload, &go);
    let bad = listen(2, &payload, move |stream, target| {
        let half = piece(0, 0, &target.payload[..16_384]);
        let _ = stream.write_all(&message(1, &[]));
        let _ = stream.write_all(&half[..9_000]);
        go.store(true, Ordering::Relaxed);
    });
    a_download_completes(&scene, &[bad, good]);
}

#[test]
fn c12_a_seed_that_drips_is_used_as_far_as_it_goes() {
    let scene = Scene::new("hostile-c12-seed", 2 * PIECE);
    let payload = Arc::new(scene.payload.clone());
    let drip = listen(2, &payload, |stream, target| {
        let _ = stream.set_nodelay(true);
        let _ = stream.write_all(&message(1, &[]));
        let mut writer = stream.try_clone().expect("one more");
        answer(stream, target, move |index, begin, data| {
            let bytes = piece(index, begin, data);
            for bite in bytes.chunks(499) {
                let _ = writer.write_all(bite);
            }
            Vec::new()
        });
    });
    a_download_completes(&scene, &[drip]);
}
