//! Every command and option there is: what the reader knows, and what `--help`, the manual page and the shells'
//! completions show.

use super::options::Command;

/// An option.
pub(super) struct Opt {
    pub(super) long: &'static str,
    pub(super) short: Option<&'static str>,
    /// What its value is called, and what it can be; `None` for a flag.
    pub(super) value: Option<(&'static str, Values)>,
    /// Which commands take it.
    pub(super) commands: &'static [Command],
    /// For `--help`: so short that it fits beside the option.
    pub(super) help: &'static str,
    /// For the manual page.
    pub(super) about: &'static str,
    /// Whether `--help` shows it on the line of the one before it.
    pub(super) beside: bool,
}

/// What a value can be, as far as a shell can help with it.
#[derive(Clone, Copy)]
pub(super) enum Values {
    Text,
    File,
    Dir,
    Of(&'static [&'static str]),
}

/// A command. Without one it is a download.
pub(super) struct Word {
    pub(super) word: &'static str,
    pub(super) command: Command,
    /// What follows it.
    pub(super) follows: &'static str,
    /// For `--help`.
    pub(super) help: &'static str,
    /// For the manual page.
    pub(super) about: &'static str,
}

/// Every command there is.
pub(super) const COMMANDS: &[Word] = &[
    Word {
        word: "seed",
        command: Command::Seed,
        follows: "TORRENT",
        help: "check what is in the output directory, seed it",
        about: "Checks what is in the output directory, then seeds it. It never fetches: if anything is missing it ends with exit status 8.",
    },
    Word {
        word: "check",
        command: Command::Check,
        follows: "TORRENT...",
        help: "hash what is there; 0 only if all is complete",
        about: "Hashes what is there and prints a line a torrent. Nothing is written and nobody is asked. The exit status is 0 only if all is complete.",
    },
    Word {
        word: "show",
        command: Command::Show,
        follows: "TORRENT...",
        help: "what the torrent file says",
        about: "Prints what the torrent file says: name, info-hashes, sizes, files, trackers, web seeds.",
    },
    Word {
        word: "magnet",
        command: Command::Magnet,
        follows: "TORRENT...",
        help: "its magnet link",
        about: "Prints the magnet link of the torrent.",
    },
    Word {
        word: "scrape",
        command: Command::Scrape,
        follows: "TORRENT",
        help: "seeders, leechers, downloads, a line a tracker",
        about: "Asks every tracker how many seeders, leechers and complete downloads it knows, and prints a line a tracker. The exit status is 5 if none answered.",
    },
    Word {
        word: "demo",
        command: Command::Demo,
        follows: "",
        help: "no network: make, seed, fetch, verify a payload",
        about: "Makes a payload, seeds and tracks it on 127.0.0.1, downloads it with the progress bar, verifies it and prints the rate. It needs no network and no input.",
    },
];

/// Every option there is.
pub(super) const OPTIONS: &[Opt] = &[
    Opt {
        long: "--output-directory",
        short: Some("-o"),
        value: Some(("DIR", Values::Dir)),
        commands: FILES,
        help: "where the files go (.)",
        about: "The directory that the files are in or go to; it is made if need be. Default: the current one.",
        beside: false,
    },
    Opt {
        long: "--max-peers",
        short: None,
        value: Some(("N", Values::Text)),
        commands: RUNS,
        help: "peers at once, both directions together (12)",
        about: "How many peers are connected at once, both directions together. Default: 12.",
        beside: false,
    },
    Opt {
        long: "--peers",
        short: None,
        value: Some(("FILE|LIST", Values::File)),
        commands: RUNS,
        help: "ip:port a line, or comma separated",
        about: "Peers to begin with: a file with one ip:port a line, or a list separated by commas. IPv6 addresses stand in brackets: [::1]:6881.",
        beside: false,
    },
    Opt {
        long: "--seed",
        short: None,
        value: None,
        commands: FETCHES,
        help: "go on seeding after completion",
        about: "Go on seeding after completion, until a signal or --stop-timeout ends it.",
        beside: false,
    },
    Opt {
        long: "--stop-timeout",
        short: None,
        value: Some(("T", Values::Text)),
        commands: RUNS,
        help: "give up when nothing moved for T: 90s, 5m (never)",
        about: "Give up when nothing has moved for this time: 90, 90s, 5m, 2h or 1d. Default: never.",
        beside: false,
    },
    Opt {
        long: "--port",
        short: None,
        value: Some(("N[-M]", Values::Text)),
        commands: RUNS,
        help: "listen on the first free one (6881-6889)",
        about: "The ports to listen on: the first free one, and any other if all are taken. Default: 6881-6889.",
        beside: false,
    },
    Opt {
        long: "--ipv4",
        short: None,
        value: None,
        commands: NETS,
        help: "only IPv4, or only IPv6 (both)",
        about: "Listen, connect and announce over IPv4 only. Default: over both families.",
        beside: false,
    },
    Opt {
        long: "--ipv6",
        short: None,
        value: None,
        commands: NETS,
        help: "",
        about: "Listen, connect and announce over IPv6 only. Default: over both families.",
        beside: true,
    },
    Opt {
        long: "--tcp-only",
        short: None,
        value: None,
        commands: NETS,
        help: "no UDP: such trackers are skipped",
        about: "Send no datagrams: UDP trackers are skipped. For use behind a proxy that carries TCP only.",
        beside: false,
    },
    Opt {
        long: "--allocate",
        short: None,
        value: Some(("KIND", Values::Of(&["sparse", "full"]))),
        commands: FETCHES,
        help: "how files get their blocks: sparse or full",
        about: "How new files get their blocks: sparse, as they are written, or full, all at the beginning. Default: sparse.",
        beside: false,
    },
    Opt {
        long: "--force",
        short: None,
        value: None,
        commands: FETCHES,
        help: "an existing file that is longer may be cut",
        about: "An existing file that is longer than the torrent says may be cut. Without it the download is refused.",
        beside: false,
    },
    Opt {
        long: "--exit-on-full",
        short: None,
        value: None,
        commands: FETCHES,
        help: "end when the disk is full, rather than wait",
        about: "End with exit status 4 when the disk is full. Without it the download waits and goes on when there is space.",
        beside: false,
    },
    Opt {
        long: "--max-torrent-size",
        short: None,
        value: Some(("N", Values::Text)),
        commands: TORRENTS,
        help: "largest torrent file read (32M)",
        about: "The largest torrent file that is read, in bytes or with k, M or G. Default: 32M.",
        beside: false,
    },
    Opt {
        long: "--state-dir",
        short: None,
        value: Some(("DIR", Values::Dir)),
        commands: RUNS,
        help: "where what is there is remembered",
        about: "The directory in which it is remembered what is there, so that the next start need not hash it. Default: minitorrent below XDG_STATE_HOME, else below ~/.local/state.",
        beside: false,
    },
    Opt {
        long: "--config",
        short: None,
        value: Some(("FILE", Values::File)),
        commands: CONFIGURED,
        help: "settings; else ./config.json, see the manual",
        about: "A configuration file. Without it ./config.json is read if it is there, else minitorrent/config.json below XDG_CONFIG_HOME.",
        beside: false,
    },
    Opt {
        long: "--user-agent",
        short: None,
        value: Some(("NAME", Values::Text)),
        commands: NETS,
        help: "told to trackers and peers",
        about: "The name and version that trackers and peers are told. At most 63 visible ASCII characters. Default: minitorrent and its version.",
        beside: false,
    },
    Opt {
        long: "--peer-id-prefix",
        short: None,
        value: Some(("TEXT", Values::Text)),
        commands: RUNS,
        help: "how our peer id begins (-MI and the version)",
        about: "How our peer id begins: up to 12 visible ASCII characters, the rest is random. Default: -MI and the version.",
        beside: false,
    },
    Opt {
        long: "--progress",
        short: None,
        value: Some((
            "KIND",
            Values::Of(&["auto", "bar", "lines", "json", "none"]),
        )),
        commands: SHOWS_PROGRESS,
        help: "auto, bar, lines, json or none (auto)",
        about: "How progress is shown: auto, bar, lines, json or none. Auto is a bar on a terminal and a line every ten seconds elsewhere. Default: auto.",
        beside: false,
    },
    Opt {
        long: "--json",
        short: None,
        value: None,
        commands: JSON,
        help: "events, or the answer, as JSON on standard output",
        about: "Events as JSON on standard output, an object a line; for show, the answer as one object.",
        beside: false,
    },
    Opt {
        long: "--log-level",
        short: None,
        value: Some((
            "LEVEL",
            Values::Of(&["off", "error", "warn", "info", "debug", "trace"]),
        )),
        commands: ALL,
        help: "off, error, warn, info, debug or trace (warn)",
        about: "How much is logged: off, error, warn, info, debug or trace. Default: warn.",
        beside: false,
    },
    Opt {
        long: "--log-file",
        short: None,
        value: Some(("FILE", Values::File)),
        commands: ALL,
        help: "log there; SIGHUP opens it anew",
        about: "Append the log to this file instead of standard error; warnings and errors go to both. SIGHUP closes it and opens it anew.",
        beside: false,
    },
    Opt {
        long: "--verbose",
        short: Some("-v"),
        value: None,
        commands: ALL,
        help: "say more, or only errors",
        about: "Say more: as --log-level debug.",
        beside: false,
    },
    Opt {
        long: "--quiet",
        short: Some("-q"),
        value: None,
        commands: ALL,
        help: "",
        about: "Say nothing but errors.",
        beside: true,
    },
    Opt {
        long: "--torrent",
        short: None,
        value: Some(("FILE", Values::File)),
        commands: TORRENTS,
        help: "as PyBitTorrent spells it",
        about: "The torrent, for those who prefer an option: PyBitTorrent's spelling.",
        beside: false,
    },
    Opt {
        long: "--use-progress-bar",
        short: None,
        value: None,
        commands: SHOWS_PROGRESS,
        help: "",
        about: "As --progress bar: PyBitTorrent's spelling.",
        beside: true,
    },
    Opt {
        long: "--size",
        short: None,
        value: Some(("N", Values::Text)),
        commands: DEMO,
        help: "bytes of the demo's payload (256M)",
        about: "Bytes of the demo's payload. Default: 256M.",
        beside: false,
    },
    Opt {
        long: "--help",
        short: Some("-h"),
        value: None,
        commands: ALL,
        help: "this text, or name and version",
        about: "A text that fits a screen.",
        beside: false,
    },
    Opt {
        long: "--version",
        short: Some("-V"),
        value: None,
        commands: ALL,
        help: "",
        about: "Name and version.",
        beside: true,
    },
];

const RUNS: &[Command] = &[Command::Download, Command::Seed];
const NETS: &[Command] = &[Command::Download, Command::Seed, Command::Scrape];
const CONFIGURED: &[Command] = NETS;
const FETCHES: &[Command] = &[Command::Download];
const TORRENTS: &[Command] = &[
    Command::Download,
    Command::Seed,
    Command::Check,
    Command::Show,
    Command::Magnet,
    Command::Scrape,
];
const FILES: &[Command] = &[Command::Download, Command::Seed, Command::Check];
const SHOWS_PROGRESS: &[Command] = &[Command::Download, Command::Seed, Command::Demo];
const JSON: &[Command] = &[
    Command::Download,
    Command::Seed,
    Command::Show,
    Command::Demo,
];
const DEMO: &[Command] = &[Command::Demo];
const ALL: &[Command] = &[
    Command::Download,
    Command::Seed,
    Command::Check,
    Command::Show,
    Command::Magnet,
    Command::Scrape,
    Command::Demo,
];
