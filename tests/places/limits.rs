//! Little memory, little time of a processor, and nothing around it.

use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::kit::{answer, honest, listen, message, piece};
use crate::namespace::must;
use crate::program::judge::judge;
use crate::program::{PIECE, Running, Scene, torrent};

/// A control group; gone when the value is dropped.
struct Group(PathBuf);

impl Group {
    /// In the hierarchy of this controller, of the first or the second version; none if the machine has neither.
    fn new(controller: &str, limits: [(&str, &str); 2]) -> Option<Self> {
        let name = format!("minitorrent-{}", std::process::id());
        for (dir, (file, value)) in [
            format!("/sys/fs/cgroup/{controller}"),
            "/sys/fs/cgroup".into(),
        ]
        .into_iter()
        .zip(limits)
        {
            let group = Self(PathBuf::from(dir).join(&name));
            if fs::create_dir(&group.0).is_ok() && fs::write(group.0.join(file), value).is_ok() {
                return Some(group);
            }
        }
        None
    }

    /// The program within it.
    fn start(&self, scene: &Scene, arguments: &str) -> Running {
        let script = format!(
            "echo $$ > {}/cgroup.procs; exec {} {arguments}",
            self.0.display(),
            env!("CARGO_BIN_EXE_minitorrent")
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]);
        scene.start_command(shell)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// 94 MiB, or as many as `MINITORRENT_MEBIBYTES` says.
pub(crate) fn l1_sixteen_mebibytes_are_enough_for_fifty_peers() {
    let limits = [
        ("memory.limit_in_bytes", "16777216"),
        ("memory.max", "16777216"),
    ];
    let mebibytes = std::env::var("MINITORRENT_MEBIBYTES");
    let mebibytes = mebibytes.map_or(94, |text| text.parse().expect("a number"));
    let scene = Scene::new("places-l1", mebibytes << 20);
    let payload = Arc::new(scene.payload.clone());
    let go = Arc::new(AtomicBool::new(true));
    let peers: Vec<String> = (2..52)
        .map(|host| honest(host, &payload, &go).to_string())
        .collect();
    let arguments = format!(
        "x.torrent -o out --port 0 --json --max-peers 50 --mem-limit 12M --peers {}",
        peers.join(",")
    );
    let ended = match Group::new("memory", limits) {
        Some(group) => group.start(&scene, &arguments).end(),
        // Where there are no groups, the limit on data says nearly the same, page cache apart.
        None => {
            let script = format!(
                "ulimit -d 16384; exec {} {arguments}",
                env!("CARGO_BIN_EXE_minitorrent")
            );
            let mut shell = Command::new("sh");
            shell.args(["-c", &script]);
            scene.start_command(shell).end()
        }
    };
    judge(&scene, &ended, 0);
    assert!(scene.is_complete("out/x.bin"));
}

pub(crate) fn l3_a_twentieth_of_a_processor_is_enough_in_a_control_group() {
    let limits = [("cpu.cfs_quota_us", "5000"), ("cpu.max", "5000 100000")];
    let group = Group::new("cpu", limits).expect("there are control groups for processors");
    let scene = Scene::new("places-l3", 200 * PIECE);
    let payload = Arc::new(scene.payload.clone());
    let go = Arc::new(AtomicBool::new(true));
    let peers: Vec<String> = (2..6)
        .map(|host| honest(host, &payload, &go).to_string())
        .collect();
    let arguments = format!(
        "x.torrent -o out --port 0 --json --peers {}",
        peers.join(",")
    );
    let ended = group.start(&scene, &arguments).end();
    judge(&scene, &ended, 0);
    assert!(scene.is_complete("out/x.bin"));
    // Nobody was blamed for our own slowness.
    let given_up = ended.given_up();
    assert!(given_up.is_empty(), "{given_up:?}");
}

pub(crate) fn l8_a_root_without_anything_is_enough() {
    let scene = Scene::new("places-l8", 12 * PIECE + 777);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    let root = scene.path("root-after");
    fs::create_dir_all(root.join("d")).expect("done");
    must(&format!(
        "mount -t tmpfs -o size=200m tmpfs {}",
        root.display()
    ));
    fs::create_dir(root.join("d")).expect("done");
    // The program and the libraries it is linked to, and nothing else: no /proc, no /dev, no /tmp, no /etc.
    let libraries = Command::new("ldd")
        .arg(env!("CARGO_BIN_EXE_minitorrent"))
        .output();
    let libraries = String::from_utf8(libraries.expect("ldd").stdout).expect("text");
    for library in libraries
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        let to = root.join(&library[1..]);
        fs::create_dir_all(to.parent().expect("a directory")).expect("done");
        fs::copy(library, to).expect("done");
    }
    fs::copy(env!("CARGO_BIN_EXE_minitorrent"), root.join("minitorrent")).expect("done");
    fs::copy(scene.path("x.torrent"), root.join("x.torrent")).expect("done");
    let mut child = Command::new("chroot");
    child.arg(&root).args([
        "/minitorrent",
        "x.torrent",
        "-o",
        "/d",
        "--no-dht",
        "--no-lsd",
        "--port",
        "0",
    ]);
    child.args(["--peers", &address]);
    let ended = child
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .output()
        .expect("chroot");
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(scene.is_complete("root-after/d/x.bin"));
}

pub(crate) fn l8_a_working_directory_may_be_odd_or_gone() {
    let scene = Scene::new("places-l8-cwd", 12 * PIECE + 777);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    let odd = scene
        .path("out")
        .join(std::ffi::OsStr::from_bytes(b"\xff\xfe odd"));
    fs::create_dir_all(&odd).expect("done");
    let run = |gone: bool| {
        let script = format!(
            "{} exec {} {} --no-dht --no-lsd --port 0 --peers {address} -o {}",
            if gone { "rmdir \"$PWD\";" } else { "" },
            env!("CARGO_BIN_EXE_minitorrent"),
            scene.path("x.torrent").display(),
            if gone {
                scene.path("gone-after").display().to_string()
            } else {
                ".".into()
            },
        );
        Command::new("sh")
            .args(["-c", &script])
            .current_dir(&odd)
            .env_remove("HOME")
            .env_remove("XDG_STATE_HOME")
            .stdin(Stdio::null())
            .output()
            .expect("a shell")
    };
    let ended = run(false);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(fs::read(odd.join("x.bin")).is_ok_and(|bytes| bytes == scene.payload));
    fs::remove_dir_all(&odd).expect("done");
    fs::create_dir(&odd).expect("done");
    let ended = run(true);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(scene.is_complete("gone-after/x.bin"));
}

pub(crate) fn s1_a_name_that_is_never_resolved_delays_no_end() {
    let scene = Scene::new("places-s1-dns", 12 * PIECE);
    // Somebody is there, but says nothing.
    let silent = std::net::UdpSocket::bind("127.0.0.53:53").expect("a private network");
    let path = scene.path("resolv-after");
    fs::write(&path, "nameserver 127.0.0.53\n").expect("done");
    must(&format!("mount --bind {} /etc/resolv.conf", path.display()));
    let url = "http://tracker.test/announce";
    scene.write("x.torrent", &torrent(&scene.payload, Some(url)));
    let payload = Arc::new(scene.payload.clone());
    let peer = listen(2, &payload, |stream, target| {
        let _ = stream.write_all(&message(1, &[]));
        let mut left = 3;
        answer(stream, target, move |index, begin, data| {
            left -= 1;
            if left > 0 {
                piece(index, begin, data)
            } else {
                Vec::new()
            }
        });
    });
    let running = scene.start_download(&peer.to_string(), &[]);
    let mut query = [0; 512];
    silent.recv_from(&mut query).expect("it asks");
    let begin = Instant::now();
    running.signal("-TERM");
    let ended = running.end();
    assert!(begin.elapsed() < Duration::from_secs(3));
    judge(&scene, &ended, 6);
}
