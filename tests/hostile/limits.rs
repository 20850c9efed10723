//! Little stack, few descriptors and no address space.

use std::process::{Command, Stdio};

use crate::program::{PIECE, Running, Scene};

/// Runs a download from a seeder in a shell that has set a limit; gives its exit status.
fn under(name: &str, limit: &str) -> i32 {
    let scene = Scene::new(&format!("hostile-{name}"), 12 * PIECE + 777);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    let script = format!(
        "{limit}; exec {} x.torrent -o out --port 0 --peers {address}",
        env!("CARGO_BIN_EXE_minitorrent")
    );
    let status = Command::new("sh")
        .args(["-c", &script])
        .current_dir(scene.path(""))
        .env("XDG_STATE_HOME", scene.path("state"))
        .env("XDG_CONFIG_HOME", scene.path("config"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    let code = status.expect("a shell").code().expect("no signal ended it");
    assert_eq!(code == 0, scene.is_complete("out/x.bin"));
    code
}

#[test]
fn l2_little_stack_few_descriptors_and_64_mib_of_addresses_are_enough() {
    assert_eq!(under("l2-stack", "ulimit -s 256"), 0);
    assert_eq!(under("l2-fds", "ulimit -n 24"), 0);
    assert_eq!(under("l2-space", "ulimit -v 65536"), 0);
}

#[test]
fn l2_a_limit_on_file_size_is_trouble_with_the_disk_and_no_death() {
    // In blocks of 512 bytes: 200 KiB of a file of 780.
    assert_eq!(under("l2-size", "ulimit -f 400"), 4);
}
