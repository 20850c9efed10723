//! Every command and option there is: what the reader knows, `--help` shows.

use super::options::Command;

/// An option as it is known to the reader and to `--help`.
pub(super) struct Opt {
    pub(super) long: &'static str,
    pub(super) short: Option<&'static str>,
    /// What its value is called; `None` for a flag.
    pub(super) value: Option<&'static str>,
    /// Which commands take it.
    pub(super) commands: &'static [Command],
    pub(super) help: &'static str,
}

/// The commands: word, meaning, what follows it, help. Without a word it is a download.
pub(super) const COMMANDS: &[(&str, Command, &str, &str)] = &[
    (
        "seed",
        Command::Seed,
        "TORRENT",
        "check what is in the output directory, then seed it",
    ),
    (
        "check",
        Command::Check,
        "TORRENT...",
        "hash what is there: a line a torrent",
    ),
    (
        "show",
        Command::Show,
        "TORRENT...",
        "what the torrent file says",
    ),
    (
        "demo",
        Command::Demo,
        "",
        "make a payload, seed, track and download it on 127.0.0.1",
    ),
];

/// Every option there is.
pub(super) const OPTIONS: &[Opt] = &[
    Opt {
        long: "--output-directory",
        short: Some("-o"),
        value: Some("DIR"),
        commands: FILES,
        help: "where the files go (default: .)",
    },
    Opt {
        long: "--max-peers",
        short: None,
        value: Some("N"),
        commands: RUNS,
        help: "peers at once, both directions together (default: 12)",
    },
    Opt {
        long: "--peers",
        short: None,
        value: Some("FILE|LIST"),
        commands: RUNS,
        help: "peers to begin with: ip:port a line, or comma separated",
    },
    Opt {
        long: "--torrent",
        short: None,
        value: Some("FILE"),
        commands: TORRENTS,
        help: "the torrent, for those who prefer an option",
    },
    Opt {
        long: "--seed",
        short: None,
        value: None,
        commands: FETCHES,
        help: "go on seeding after completion",
    },
    Opt {
        long: "--stop-timeout",
        short: None,
        value: Some("T"),
        commands: RUNS,
        help: "give up when nothing moved for T: 90, 90s, 5m, 2h (default: never)",
    },
    Opt {
        long: "--port",
        short: None,
        value: Some("N[-M]"),
        commands: RUNS,
        help: "ports to listen on, the first free one (default: 6881-6889)",
    },
    Opt {
        long: "--allocate",
        short: None,
        value: Some("sparse|full"),
        commands: FETCHES,
        help: "how new files get their blocks (default: sparse)",
    },
    Opt {
        long: "--force",
        short: None,
        value: None,
        commands: FETCHES,
        help: "an existing file that is longer may be cut",
    },
    Opt {
        long: "--max-torrent-size",
        short: None,
        value: Some("N"),
        commands: TORRENTS,
        help: "largest torrent file read (default: 32M)",
    },
    Opt {
        long: "--size",
        short: None,
        value: Some("N"),
        commands: &[Command::Demo],
        help: "bytes of the demo's payload (default: 256M)",
    },
    Opt {
        long: "--mem-limit",
        short: None,
        value: Some("N"),
        commands: RUNS,
        help: "memory to keep within, 8M for one: smaller buffers, fewer peers",
    },
    Opt {
        long: "--progress",
        short: None,
        value: Some("KIND"),
        commands: SHOWS_PROGRESS,
        help: "auto, bar, lines, json or none (auto: a bar on a terminal, else lines)",
    },
    Opt {
        long: "--use-progress-bar",
        short: None,
        value: None,
        commands: SHOWS_PROGRESS,
        help: "as --progress bar",
    },
    Opt {
        long: "--json",
        short: None,
        value: None,
        commands: &[
            Command::Download,
            Command::Seed,
            Command::Show,
            Command::Demo,
        ],
        help: "events (show: the answer) as JSON on standard output",
    },
    Opt {
        long: "--verbose",
        short: Some("-v"),
        value: None,
        commands: ALL,
        help: "say more on standard error",
    },
    Opt {
        long: "--quiet",
        short: Some("-q"),
        value: None,
        commands: ALL,
        help: "only errors",
    },
    Opt {
        long: "--help",
        short: Some("-h"),
        value: None,
        commands: ALL,
        help: "this text",
    },
    Opt {
        long: "--version",
        short: Some("-V"),
        value: None,
        commands: ALL,
        help: "name and version",
    },
];

const RUNS: &[Command] = &[Command::Download, Command::Seed];
const FETCHES: &[Command] = &[Command::Download];
const TORRENTS: &[Command] = &[
    Command::Download,
    Command::Seed,
    Command::Check,
    Command::Show,
];
const FILES: &[Command] = &[Command::Download, Command::Seed, Command::Check];
const SHOWS_PROGRESS: &[Command] = &[Command::Download, Command::Seed, Command::Demo];
const ALL: &[Command] = &[
    Command::Download,
    Command::Seed,
    Command::Check,
    Command::Show,
    Command::Demo,
];
