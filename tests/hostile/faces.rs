//! Whoever reads what it says, or does not: full pipes, terminals, and where its files go.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use crate::program::judge::judge;
use crate::program::{PIECE, Running, Scene, torrent, web_server};

#[test]
fn l6_a_download_goes_on_when_no_one_takes_its_words() {
    let scene = Scene::new("hostile-l6", 12 * PIECE + 777);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    let full = || -> File {
        let full = OpenOptions::new().write(true).open("/dev/full");
        full.expect("every Linux has it")
    };
    let arguments = ["x.torrent", "-o", "out", "--port", "0", "--peers", &address];
    let status = Command::new(env!("CARGO_BIN_EXE_minitorrent"))
        .args(arguments)
        .current_dir(scene.path(""))
        .env("XDG_CONFIG_HOME", scene.path("config"))
        .stdout(full())
        .stderr(full())
        .status();
    assert_eq!(status.expect("it starts").code(), Some(0));
    assert!(scene.is_complete("out/x.bin"));
    let script = format!(
        "exec {} x.torrent -o out-after --port 0 --peers {address} >&- 2>&-",
        env!("CARGO_BIN_EXE_minitorrent")
    );
    let closed = Command::new("sh")
        .args(["-c", &script])
        .current_dir(scene.path(""))
        .env("XDG_CONFIG_HOME", scene.path("config"))
        .status();
    assert_eq!(closed.expect("a shell").code(), Some(0));
    assert!(scene.is_complete("out-after/x.bin"));
}

#[test]
fn l6_a_pipe_that_nobody_reads_stops_nothing() {
    let scene = Scene::new("hostile-l6-pipe", 12 * PIECE + 777);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let size = rustix::pipe::fcntl_setpipe_size(&writer, 4096).expect("the least there is");
    // It is full from the start.
    for _ in 0..size {
        rustix::io::write(&writer, b"x").expect("there is room");
    }
    for progress in ["--json", "--progress=lines"] {
        let out = format!("out{progress}-after");
        let mut child = Command::new(env!("CARGO_BIN_EXE_minitorrent"))
            .args(["x.torrent", "-o", &out, "--port", "0", progress, "-v"])
            .args(["--peers", &address])
            .current_dir(scene.path(""))
            .env("XDG_STATE_HOME", scene.path("state"))
            .env("XDG_CONFIG_HOME", scene.path("config"))
            .stdin(Stdio::null())
            .stdout(writer.try_clone().expect("one more"))
            .stderr(writer.try_clone().expect("one more"))
            .spawn()
            .expect("it was built");
        assert_eq!(child.wait().expect("it ends").code(), Some(0));
        assert!(scene.is_complete(&format!("{out}/x.bin")));
    }
    drop((reader, writer));
}

#[test]
fn x7_no_name_and_no_tracker_gets_at_the_terminal() {
    let evil = "e\u{1b}]0;owned\u{7}\u{1b}[2J\r\u{202e}gpj\u{200b}\n";
    let scene = Scene::new("hostile-x7", 12 * PIECE + 777);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    let refusal = format!("d14:failure reason{}:{evil}e", evil.len());
    let url = web_server("announce", vec![("200 OK", refusal.into_bytes())]);
    let plain = torrent(&scene.payload, Some(&url));
    let at = plain
        .windows(7)
        .position(|it| it == b"5:x.bin")
        .expect("a name");
    let name = format!("{}:{evil}", evil.len());
    let bytes = [&plain[..at], name.as_bytes(), &plain[at + 7..]].concat();
    scene.write("evil.torrent", &bytes);
    let evil_file = scene.run(&["show", "evil.torrent", "--json"]).stdout;
    let shown: serde_json::Value = serde_json::from_str(&evil_file).expect("JSON");
    let safe = shown["name"].as_str().expect("a name").to_owned();
    for (arguments, status) in [
        ("show evil.torrent".to_owned(), 0),
        (
            format!("evil.torrent -o seed --port 0 --stop-timeout 1 --peers {address}"),
            5,
        ),
    ] {
        let command = format!("exec {} {arguments}", env!("CARGO_BIN_EXE_minitorrent"));
        let mut terminal = Command::new("script");
        terminal.args(["-q", "-e", "-c", &command, "/dev/null"]);
        terminal.env("TERM", "xterm").env("SHELL", "/bin/sh");
        let ended = scene.start_command(terminal).end();
        assert_eq!(ended.code(), status, "{ended:?}");
        let said = &ended.stdout;
        assert!(said.contains(&safe), "{said:?}");
        for harm in ["\u{1b}]", "\u{7}", "\u{1b}[2J", "\u{202e}", "\u{200b}"] {
            assert!(!said.contains(harm), "{said:?}");
        }
        // Lines end as a terminal's do, and a bar goes back to its line's start; a name does neither.
        assert!(!said.contains("[2J\r"), "{said:?}");
    }
}

#[test]
fn x8_files_go_where_the_option_says_however_it_is_spelt() {
    let scene = Scene::new("hostile-x8", 2 * PIECE);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    let fetched = |out: &str, umask: &str| {
        let script = format!(
            "umask {umask}; exec {} x.torrent --port 0 --peers {address} -o \"$1\"",
            env!("CARGO_BIN_EXE_minitorrent")
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, "sh", out]);
        scene.start_command(shell).end()
    };
    let absolute = scene.path("out/ä");
    let absolute = absolute.to_str().expect("text");
    for out in ["out", "out/50% %s of it/", "out/a/./b/../c", absolute] {
        judge(&scene, &fetched(out, "027"), 0);
        assert!(scene.is_complete(&format!("{out}/x.bin")) || scene.is_complete("out/ä/x.bin"));
    }
    let mode = |name: &str| {
        let about = fs::metadata(scene.path(name)).expect("it is there");
        about.permissions().mode() & 0o777
    };
    assert_eq!((mode("out"), mode("out/x.bin")), (0o750, 0o640));
    assert!(scene.is_complete("out/50% %s of it/x.bin") && scene.is_complete("out/a/c/x.bin"));
    let not_a_directory = fetched("x.torrent", "022");
    judge(&scene, &not_a_directory, 4);
    assert!(
        not_a_directory.stderr.starts_with("error[disk."),
        "{not_a_directory:?}"
    );
    assert_eq!(
        fs::read(scene.path("x.torrent")).expect("whole"),
        torrent(&scene.payload, None)
    );
}
