//! The real program in a directory of its own, for tests that need nothing else.
#![allow(dead_code, reason = "each test uses a part of this")]

pub(crate) mod judge;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::Receiver;

use sha1::{Digest as _, Sha1};

/// A directory with a torrent `x.torrent` of one file `x.bin`, which is complete in `seed`.
pub(crate) struct Scene {
    dir: PathBuf,
    pub(crate) payload: Vec<u8>,
}

impl Scene {
    /// `name` must be a test's own. `length` bytes in pieces of 64 KiB.
    pub(crate) fn new(name: &str, length: usize) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("program-{name}"));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("seed")).expect("the target directory can be written to");
        let payload = payload(length);
        let scene = Self { dir, payload };
        fs::create_dir_all(scene.path("config/minitorrent")).expect("the scene can be written to");
        scene.write("config/minitorrent/config.json", QUIET);
        scene.write("seed/x.bin", &scene.payload);
        scene.write("x.torrent", &torrent(&scene.payload, None));
        scene
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).expect("the scene can be written to");
    }

    /// Whether `name` holds exactly the payload.
    pub(crate) fn is_complete(&self, name: &str) -> bool {
        fs::read(self.path(name)).is_ok_and(|bytes| bytes == self.payload)
    }

    /// Runs the program here to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).end()
    }

    /// Downloads from these peers to `out`; gives what was said.
    pub(crate) fn download(&self, peers: &str, more: &[&str]) -> Ended {
        self.start_download(peers, more).end()
    }

    /// Starts a download from these peers to `out`.
    pub(crate) fn start_download(&self, peers: &str, more: &[&str]) -> Running {
        self.start(&[&download(peers)[..], more].concat())
    }

    /// Starts the program here. It is killed when the value is dropped.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_minitorrent"));
        command.args(arguments);
        self.start_command(command)
    }

    /// Starts a command here that runs the program in the end.
    pub(crate) fn start_command(&self, mut command: Command) -> Running {
        command.current_dir(&self.dir).stdin(Stdio::null());
        // Nobody's own settings and state are used.
        command.env("XDG_STATE_HOME", self.path("state"));
        command.env("XDG_CONFIG_HOME", self.path("config"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program was built");
        let stdout = child.stdout.take().expect("it is piped");
        Running {
            child,
            stdout: BufReader::new(stdout),
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// How the program is told to download from these peers to `out`, and to say what happens as JSON.
pub(crate) fn download(peers: &str) -> [&str; 8] {
    [
        "x.torrent",
        "-o",
        "out",
        "--port",
        "0",
        "--json",
        "--peers",
        peers,
    ]
}

/// The program while it runs.
pub(crate) struct Running {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Running {
    /// Reads lines of standard output until one has `word` in it, and gives that one.
    #[track_caller]
    pub(crate) fn line_with(&mut self, word: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.stdout.read_line(&mut line).expect("text");
            assert_ne!(read, 0, "the program ended without saying {word}");
            if line.contains(word) {
                return line;
            }
        }
    }

    /// A seeder that has looked at its data, and the address it listens at.
    #[track_caller]
    pub(crate) fn seeder(scene: &Scene, more: &[&str]) -> (Self, String) {
        let seed = ["seed", "x.torrent", "-o", "seed", "--port", "0", "--json"];
        Self::with_all(scene, &[&seed[..], more].concat())
    }

    /// Starts a program that finds all there, and waits until it does; gives its address.
    pub(crate) fn with_all(scene: &Scene, arguments: &[&str]) -> (Self, String) {
        let mut seeder = scene.start(arguments);
        let started = seeder.line_with("\"started\"");
        let port = number(&started, "port");
        loop {
            let progress = seeder.line_with("\"progress\"");
            if number(&progress, "pieces") == number(&progress, "of") {
                return (seeder, format!("127.0.0.1:{port}"));
            }
        }
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status();
        assert!(kill.is_ok_and(|status| status.success()), "kill {name}");
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).expect("text");
        let mut stderr = String::new();
        let pipe = self.child.stderr.as_mut().expect("it is piped");
        pipe.read_to_string(&mut stderr).expect("text");
        let status = self.child.wait().expect("it was started");
        Ended {
            status,
            stdout,
            stderr,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the program left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Peers that went, by JSON lines, for another reason than that nobody needed anything more.
    pub(crate) fn given_up(&self) -> Vec<&str> {
        let gone = self.stdout.lines().filter(|line| line.contains("\"gone\""));
        gone.filter(|line| !line.contains("both have everything"))
            .collect()
    }

    /// The exit status; none if a signal ended it.
    pub(crate) fn status(&self) -> Option<i32> {
        self.status.code()
    }

    /// The exit status, which must not be that of a panic or of a signal.
    #[track_caller]
    pub(crate) fn code(&self) -> i32 {
        let code = self.status.code();
        code.unwrap_or_else(|| panic!("ended by a signal: {self:?}"))
    }
}

/// The number of that name in a JSON line.
#[track_caller]
pub(crate) fn number(line: &str, name: &str) -> u64 {
    let value: serde_json::Value = serde_json::from_str(line).expect("a JSON line");
    value[name].as_u64().expect("a number of that name")
}

/// The text of that name in a JSON line; nothing if there is none.
#[track_caller]
pub(crate) fn text(line: &str, name: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(line).expect("a JSON line");
    value[name].as_str().unwrap_or_default().to_owned()
}

/// A server that gives each of these answers once, then the last one again and again; gives the URL of `path`.
pub(crate) fn web_server(path: &str, answers: Vec<(&'static str, Vec<u8>)>) -> String {
    heard_web_server(path, answers).0
}

/// The same, and what it is asked.
#[expect(
    clippy::disallowed_methods,
    reason = "the program under test is the one that is not to wait"
)]
pub(crate) fn heard_web_server(
    path: &str,
    answers: Vec<(&'static str, Vec<u8>)>,
) -> (String, Receiver<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let (tell, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut answers = answers.into_iter();
        let mut answer = answers.next().expect("one at least");
        for stream in listener.incoming() {
            let mut stream = stream.expect("the program asks");
            let mut request = [0; 4096];
            let len = stream.read(&mut request).unwrap_or(0);
            let _ = tell.send(String::from_utf8_lossy(&request[..len]).into_owned());
            let (status, body) = &answer;
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(&[head.as_bytes(), body].concat());
            answer = answers.next().unwrap_or(answer);
        }
    });
    (format!("http://{address}/{path}"), heard)
}

/// What a tracker answers that knows this one peer.
pub(crate) fn tracker_answer(peer: &str) -> Vec<u8> {
    let peer: std::net::SocketAddrV4 = peer.parse().expect("an IPv4 address");
    let mut answer = b"d8:intervali1800e5:peers6:".to_vec();
    answer.extend_from_slice(&peer.ip().octets());
    answer.extend_from_slice(&peer.port().to_be_bytes());
    answer.push(b'e');
    answer
}

/// Bytes that repeat nowhere.
fn payload(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let words = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 32) as u32
    });
    words.flat_map(u32::to_le_bytes).take(length).collect()
}

/// A torrent of one file `x.bin`.
pub(crate) fn torrent(payload: &[u8], announce: Option<&str>) -> Vec<u8> {
    torrent_in(payload, PIECE, announce)
}

/// The same in pieces of this length.
pub(crate) fn torrent_in(payload: &[u8], piece: usize, announce: Option<&str>) -> Vec<u8> {
    made("x.bin", payload, piece, announce)
}

/// A torrent of one file of this name.
pub(crate) fn torrent_of(name: &str, payload: &[u8], announce: Option<&str>) -> Vec<u8> {
    made(name, payload, PIECE, announce)
}

fn made(name: &str, payload: &[u8], piece: usize, announce: Option<&str>) -> Vec<u8> {
    let hashes: Vec<u8> = payload.chunks(piece).flat_map(Sha1::digest).collect();
    let announce = announce.map_or(String::new(), |url| {
        format!("8:announce{}:{url}", url.len())
    });
    let mut bytes = format!(
        "d{announce}4:infod6:lengthi{}e4:name{}:{name}12:piece lengthi{piece}e6:pieces{}:",
        payload.len(),
        name.len(),
        hashes.len()
    )
    .into_bytes();
    bytes.extend_from_slice(&hashes);
    bytes.extend_from_slice(b"ee");
    bytes
}

/// Settings for a network of known peers: nobody is looked for.
const QUIET: &[u8] = b"{\"dht\": false, \"lsd\": false}";
/// Bytes of a piece.
pub(crate) const PIECE: usize = 64 * 1024;
