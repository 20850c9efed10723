//! What a person sees on a terminal of this or that width.

mod program;

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use program::{PIECE, Running, Scene};

/// Everything that a run draws on a terminal of so many columns, as lines; each redraw is one.
fn drawn(scene: &Scene, columns: u16, arguments: &[&str]) -> Vec<String> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&master).expect("it is ours");
    unlockpt(&master).expect("it is ours");
    let path = ptsname(&master, Vec::new()).expect("it has a name");
    let path = path.to_str().expect("text");
    let slave = OpenOptions::new().read(true).write(true).open(path);
    let slave = slave.expect("it was unlocked");
    let size = Winsize {
        ws_row: 10,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&slave, size).expect("a terminal has a size");
    let mut command = Command::new(env!("CARGO_BIN_EXE_minitorrent"));
    command.args(arguments).current_dir(scene.path(""));
    command.env("XDG_STATE_HOME", scene.path("state"));
    command.env("XDG_CONFIG_HOME", scene.path("config"));
    command.env("TERM", "xterm");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(slave).spawn().expect("it was built");
    // Its end of the terminal is all there is, so that reading ends with it.
    drop(command);
    let (mut master, mut bytes) = (File::from(master), Vec::new());
    let mut part = [0; 4096];
    while let Ok(count @ 1..) = master.read(&mut part) {
        bytes.extend_from_slice(&part[..count]);
    }
    child.wait().expect("it was started");
    lines(&String::from_utf8(bytes).expect("text"))
}

/// The lines without what moves the cursor.
fn lines(drawn: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut letters = drawn.chars();
    while let Some(letter) = letters.next() {
        match letter {
            // `ESC [`, numbers, and a letter: where the cursor goes and what is erased.
            '\u{1b}' => {
                assert_eq!(letters.next(), Some('['), "{drawn:?}");
                let end = letters.find(char::is_ascii_alphabetic);
                assert!("ABCDGHJK".contains(end.expect("an end")), "{drawn:?}");
                lines.push(String::new());
            }
            '\r' | '\n' => lines.push(String::new()),
            letter if letter.is_control() => panic!("{letter:?} in {drawn:?}"),
            letter => lines.last_mut().expect("one at least").push(letter),
        }
    }
    lines.retain(|line| !line.trim().is_empty());
    lines
}

#[test]
fn the_bar_fits_the_terminal_and_says_what_matters() {
    let scene = Scene::new("terminal", 12 * PIECE);
    let (_seeder, address) = Running::seeder(&scene, &[]);
    std::thread::scope(|scope| {
        for (columns, says) in [
            (80, wide as fn(&str) -> Option<u32>),
            (40, narrow),
            (30, narrow),
        ] {
            let (scene, address) = (&scene, &address);
            scope.spawn(move || {
                let out = format!("out-{columns}");
                let arguments = ["x.torrent", "-o", &out, "--port", "0", "--no-pex"];
                let slowly = ["--max-download-rate", "256k", "--peers", address];
                let lines = drawn(scene, columns, &[&arguments[..], &slowly].concat());
                let fits = |line: &String| line.chars().count() <= usize::from(columns);
                assert!(lines.iter().all(fits), "{lines:#?}");
                let pieces: Vec<u32> = lines.iter().filter_map(|line| says(line)).collect();
                assert!(pieces.is_sorted(), "{pieces:?}");
                // It takes three seconds, and some are seen.
                let halves = pieces.iter().filter(|pieces| (1..12).contains(*pieces));
                assert!(halves.count() > 2, "{lines:#?}");
                assert!(scene.is_complete(&format!("{out}/x.bin")), "{lines:#?}");
            });
        }
    });
}

/// The pieces of a line such as `[====>       ]  33% 256.0 KiB/s, 2.0s left, peers: 1, …`: as many as the bar has cells.
fn wide(line: &str) -> Option<u32> {
    let (bar, rest) = line.strip_prefix('[')?.split_once("] ")?;
    let (percent, rest) = rest.split_once("% ")?;
    let pieces = bar.bytes().filter(|byte| *byte == b'=').count() as u32;
    assert_eq!(percent.trim(), (pieces * 100 / 12).to_string(), "{line}");
    let says = rest.contains(" KiB/s, ") && rest.contains(" left, peers: 1, 0 B/s up, x.bin");
    says.then_some(pieces)
}

/// The pieces of a line such as ` 33% 4/12 256.0 KiB/s, 2.0s left…`.
fn narrow(line: &str) -> Option<u32> {
    let (percent, rest) = line.split_once("% ")?;
    let (pieces, rest) = rest.split_once("/12 ")?;
    let pieces: u32 = pieces.parse().ok()?;
    assert_eq!(percent.trim(), (pieces * 100 / 12).to_string(), "{line}");
    rest.contains(" KiB/s, ").then_some(pieces)
}

#[test]
fn a_narrow_terminal_has_room_for_what_is_waited_for() {
    let scene = Scene::new("terminal-waiting", 12 * PIECE);
    let arguments = "x.torrent -o out --port 0 --peers 127.0.0.9:9 --stop-timeout 1s";
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let lines = drawn(&scene, 30, &arguments);
    assert!(
        lines.contains(&"  0% 0/12 the one address know".to_owned()),
        "{lines:#?}"
    );
    // What ends it stands alone, however long it is.
    let end = "error[peers.stalled]: x.bin: nothing has moved for the time allowed";
    assert!(
        lines.last().is_some_and(|line| line.starts_with(end)),
        "{lines:#?}"
    );
}
