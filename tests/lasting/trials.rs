//! What is tried.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use minitorrent::base::geometry::Geometry;
use minitorrent::base::ids::{InfoHash, Piece};
use minitorrent::disk::resume::Journal;
use minitorrent::disk::resume::journal::Expected;

use crate::common::process::until;
use crate::common::{Content, TempDir};
use crate::namespace::{Needs, Play, must};
use crate::program::{PIECE, Running, Scene, number};
use crate::seeder::{BLOCK, Seeder, info_hash};

/// Every trial.
pub(crate) const ALL: &[Play] = &[
    (
        "twenty_kills_cost_nothing_that_is_on_the_disk",
        twenty_kills_cost_nothing_that_is_on_the_disk,
        Needs::Nothing,
    ),
    (
        "a_finished_gibibyte_is_seeded_within_a_tenth_of_a_second_of_cpu",
        a_finished_gibibyte_is_seeded_within_a_tenth_of_a_second_of_cpu,
        Needs::Nothing,
    ),
    (
        "in_another_life_of_the_machine_only_what_was_not_durable_is_hashed",
        in_another_life_of_the_machine_only_what_was_not_durable_is_hashed,
        Needs::Mounts,
    ),
    (
        "a_full_disk_is_waited_for_and_the_download_completes_without_a_restart",
        a_full_disk_is_waited_for_and_the_download_completes_without_a_restart,
        Needs::Mounts,
    ),
];

/// Killed at moments all over the second between two notes of the journal. No run asks for a piece that was whole on
/// the disk when it began, journaled or not.
fn twenty_kills_cost_nothing_that_is_on_the_disk() {
    let scene = Scene::new("lasting-kills", 48 << 20);
    let seeder = Seeder::start(&scene.payload, 2 << 20, u64::MAX);
    let mut chance = 7u64;
    let (mut noted, mut grown) = (0, 0);
    for round in 0..20 {
        let before = whole(&scene);
        let journaled = journaled(&scene);
        if let Some(journal) = &journaled {
            let written: BTreeSet<u32> = journal.written.iter().map(|piece| piece.0).collect();
            assert!(written.is_subset(&before), "round {round}: it lied");
            grown += u32::from(written.len() > noted);
            noted = written.len();
        }
        seeder.take_asked();
        let from = seeder.served();
        let download = scene.start_download(&seeder.address(), &[]);
        chance = chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let blocks = 20 + (chance >> 33) % 270;
        let moment = until("the moment to kill", LONG, || {
            Ok(seeder.served() >= from + blocks)
        });
        moment.expect("it downloads");
        download.signal("-KILL");
        drop(download);
        let again: Vec<u32> = seeder.take_asked().intersection(&before).copied().collect();
        assert!(again.is_empty(), "round {round}: {again:?} again");
    }
    assert!(grown >= 5, "the journal grew in {grown} rounds only");
    let before = whole(&scene);
    assert!(
        before.len() < scene.payload.len() / PIECE,
        "nothing is left"
    );
    let mut download = scene.start_download(&seeder.address(), &[]);
    download.line_with("\"connected\"");
    let ended = download.end();
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(scene.is_complete("out/x.bin"));
    assert!(seeder.take_asked().is_disjoint(&before));
    // What a kill may cost: what was on its way, a window of it and a piece.
    let sent = seeder.served() * u64::from(BLOCK);
    let most = scene.payload.len() as u64 * 11 / 10 + 21 * PIECE as u64;
    assert!(sent <= most, "{sent} bytes were sent");
}

fn a_finished_gibibyte_is_seeded_within_a_tenth_of_a_second_of_cpu() {
    let content = Content::one_file("big.bin", 1 << 30, 1 << 20);
    let scene = Scene::new("lasting-finished", 1);
    let dir = TempDir::new("lasting-gibibyte");
    content.write_to(dir.path()).expect("there is space");
    scene.write("big.torrent", &content.torrent(None));
    let seed = || {
        let dir = dir.path().to_str().expect("text");
        let arguments = ["seed", "big.torrent", "-o", dir, "--port", "0", "--json"];
        let mut seeder = scene.start(&arguments);
        loop {
            let progress = seeder.line_with("\"progress\"");
            if number(&progress, "pieces") == 1024 {
                return seeder;
            }
        }
    };
    let first = seed();
    let hashing = cpu(&first);
    first.signal("-TERM");
    assert_eq!(first.end().code(), 0);
    let second = seed();
    let trusting = cpu(&second);
    assert!(
        trusting < Duration::from_millis(100),
        "{trusting:?} after {hashing:?} with hashing"
    );
    assert!(hashing > trusting * 2, "the first run hashed nothing");
}

/// Eighty MiB of ninety-six arrive; sixty-four of them are synced and noted as durable. After a kill, the same life of
/// the machine reads those pieces of which something is on the disk and nothing was noted: they may have become whole
/// just before the kill. Another life reads all that were not durable, too. Nothing else is read, wherever it lies: not
/// what was reserved for pieces that never came.
fn in_another_life_of_the_machine_only_what_was_not_durable_is_hashed() {
    let scene = Scene::new("lasting-boot", 96 << 20);
    let blocks = (80 << 20) / u64::from(BLOCK);
    let seeder = Seeder::start(&scene.payload, 400 << 20, blocks);
    let download = scene.start_download(&seeder.address(), &[]);
    let mut found = (0, 0);
    // What is served to a later life would count as read by it.
    until("the silence of the seeder", LONG, || {
        Ok(seeder.served() >= blocks)
    })
    .expect("it downloads");
    let noted = until("the notes of eighty MiB", LONG, || {
        let Some(journal) = journaled(&scene) else {
            return Ok(false);
        };
        found = (journal.written.count(), journal.durable.count());
        Ok(found.0 as usize * PIECE > 78 << 20 && found.1 > 0)
    });
    noted.unwrap_or_else(|why| panic!("{why}: {found:?}"));
    download.signal("-KILL");
    drop(download);
    let journal = journaled(&scene).expect("it was there");
    let (written, durable) = (journal.written.count(), journal.durable.count());
    assert!(
        durable >= 1024 && written > durable + 64,
        "{written}, {durable}"
    );
    copy(&scene.path("state"), &scene.path("kept"));

    let read = |life: &str| {
        let _ = fs::remove_dir_all(scene.path("state"));
        copy(&scene.path("kept"), &scene.path("state"));
        // What is read from the disk may bring along what lies behind it.
        evict(&scene.path("out/x.bin"));
        let mut download = scene.start_download(&seeder.address(), &[]);
        // Who is dialled is dialled when it is known what is there.
        download.line_with("\"connected\"");
        let progress = download.line_with("\"progress\"");
        assert!(number(&progress, "pieces") >= u64::from(written), "{life}");
        read_bytes(&download)
    };
    let same = read("the same life");
    let id = scene.path("boot_id");
    fs::write(&id, "01234567-89ab-cdef-0123-456789abcdef\n").expect("the scene can be written to");
    let id = id.to_str().expect("text");
    must(&format!(
        "mount --bind {id} /proc/sys/kernel/random/boot_id"
    ));
    let other = read("another life");
    must("umount /proc/sys/kernel/random/boot_id");
    // Only now, as what was reserved counts as data once it was read.
    let begun = begun(&scene);
    let bytes_but = |noted: &dyn Fn(Piece) -> bool| {
        let doubtful = begun.iter().filter(|piece| !noted(Piece(**piece)));
        doubtful.count() as u64 * PIECE as u64
    };
    let unknown = bytes_but(&|piece| journal.written.has(piece));
    let doubtful = bytes_but(&|piece| journal.durable.has(piece));
    let in_doubt = u64::from(written - durable) * PIECE as u64;
    assert_eq!(doubtful, in_doubt + unknown, "what was noted is there");
    assert!(
        (unknown..unknown + SLACK).contains(&same),
        "{same} bytes were read in the same life, nothing was noted of {unknown}"
    );
    assert!(
        (doubtful..doubtful + SLACK).contains(&other),
        "{other} bytes were read in another life, {doubtful} were not durable"
    );
}

/// 48 MiB into 20 MiB, which become 80 after `MINITORRENT_FULL_SECONDS` (1).
fn a_full_disk_is_waited_for_and_the_download_completes_without_a_restart() {
    let seconds =
        env::var("MINITORRENT_FULL_SECONDS").map_or(1, |text| text.parse().expect("a number"));
    let scene = Scene::new("lasting-full", 48 << 20);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    let out = scene.path("out");
    fs::create_dir(&out).expect("the scene can be written to");
    let out = out.to_str().expect("text");
    must(&format!("mount -t tmpfs -o size=20m tmpfs {out}"));
    let mut download = scene.start_download(&address, &[]);
    let line = download.line_with("disk.full");
    assert!(line.contains("waiting and trying again"), "{line}");
    let full = Instant::now();
    let mut progress = download.line_with("\"progress\"");
    while full.elapsed() < Duration::from_secs(seconds) {
        // It says how it is doing, and does not end.
        progress = download.line_with("\"progress\"");
    }
    assert!(number(&progress, "pieces") > 300, "{progress}");
    must(&format!("mount -o remount,size=80m {out}"));
    let ended = download.end();
    assert_eq!(ended.code(), 0, "{ended:?}");
    assert!(ended.stderr.contains("the disk works again"), "{ended:?}");
    assert!(scene.is_complete("out/x.bin"));
    // What was on its way when the disk was full came in vain, and nothing else.
    let last = ended.stdout.lines().last().expect("the last event");
    let wasted = number(last, "wasted");
    assert_eq!(wasted, number(&progress, "wasted"));
    assert_eq!(number(last, "downloaded"), (48 << 20) + wasted);
    must(&format!("umount {out}"));
}

/// The pieces that are whole on the disk.
fn whole(scene: &Scene) -> BTreeSet<u32> {
    let found = fs::read(scene.path("out/x.bin")).unwrap_or_default();
    let pieces = (0..).zip(scene.payload.chunks(PIECE));
    let whole = pieces.filter(|(at, piece)| {
        let from = *at as usize * PIECE;
        found.get(from..from + piece.len()) == Some(piece)
    });
    whole.map(|(at, _)| at).collect()
}

/// The pieces of which a byte is on the disk. The payload has no block of zeros.
fn begun(scene: &Scene) -> BTreeSet<u32> {
    let found = fs::read(scene.path("out/x.bin")).expect("it is there");
    let pieces = (0..).zip(found.chunks(PIECE));
    let begun = pieces.filter(|(_, piece)| piece.iter().any(|byte| *byte != 0));
    begun.map(|(at, _)| at).collect()
}

/// The journal as it is on the disk, if there is one yet.
fn journaled(scene: &Scene) -> Option<Journal> {
    let info_hash = InfoHash(info_hash(&scene.payload));
    let dir = scene.path("state/minitorrent").join(info_hash.to_string());
    let lock = fs::read_to_string(dir.join("lock")).ok()?;
    let expected = Expected {
        info_hash,
        geometry: Geometry::new(PIECE as u32, scene.payload.len() as u64)?,
        files: 1,
        place: u64::from_str_radix(lock.lines().nth(1)?, 16).ok()?,
    };
    let bytes = fs::read(dir.join("journal")).ok()?;
    Journal::parse(&bytes, &expected).ok()
}

/// Processor time that a process has had.
fn cpu(running: &Running) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", running.id())).expect("it runs");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .expect("a name")
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11..13]
        .iter()
        .map(|field| field.parse::<u64>().expect("ticks"))
        .sum();
    // Linux counts in hundredths of a second here, whatever its own ticks are.
    Duration::from_millis(ticks * 10)
}

/// Bytes that a process has read from files; what comes from sockets is not among them.
fn read_bytes(running: &Running) -> u64 {
    let io = fs::read_to_string(format!("/proc/{}/io", running.id())).expect("it runs");
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.expect("Linux").parse().expect("a number")
}

/// Leaves nothing of a file in memory.
fn evict(path: &Path) {
    let file = fs::File::open(path).expect("it is there");
    file.sync_all().expect("it can be synced");
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("Linux");
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(status.is_ok_and(|status| status.success()), "cp");
}

/// Time enough for a machine that has much else to do.
const LONG: Duration = Duration::from_secs(120);
/// Bytes that a start reads whatever it believes: the heads of the libraries, the torrent (31 KB), the journal, and three
/// pieces picked by chance, of 64 KiB each.
const SLACK: u64 = 3 * PIECE as u64 + 256 * 1024;
