//! The command line over the configuration file over the defaults: one table of options drives reading it and
//! `--help`.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use log::LevelFilter;
use pico_args::Arguments;

use super::config_file::{self, ConfigFile, Warning};
use super::table::{COMMANDS, OPTIONS, Opt};
use super::values;
use crate::base::escape::escape_field;
use crate::client::create::Recipe;
use crate::client::{Config, Families, Goal, Plan};

/// What the command line and the configuration file ask for.
#[derive(Debug)]
pub(super) struct Options {
    /// What to do.
    pub(super) command: Command,
    /// With what, at least one unless the command takes none.
    pub(super) torrents: Vec<OsString>,
    /// What is shared by all torrents.
    pub(super) config: Config,
    /// What is wanted of each.
    pub(super) plan: Plan,
    /// For `create`: what to make, but for the paths.
    pub(super) recipe: Recipe,
    pub(super) progress: ProgressKind,
    pub(super) json: bool,
    /// Bytes of the demo's payload.
    pub(super) size: u64,
    pub(super) quiet: bool,
    pub(super) log_level: LevelFilter,
    pub(super) log_file: Option<PathBuf>,
    /// What a person should know before it begins: a kind and a line each.
    pub(super) warnings: Vec<Warning>,
}

impl Options {
    /// Reads the arguments behind the program's name.
    ///
    /// # Errors
    ///
    /// What is wrong, naming the option.
    pub(super) fn read(arguments: Vec<OsString>, homes: &Homes) -> Result<Self, UsageError> {
        let line = Line::cut(arguments)?;
        for (option, command) in [("--help", Command::Help), ("--version", Command::Version)] {
            if line.has(option) {
                return Ok(Self::of(command));
            }
        }
        line.check()?;
        let mut options = Self::of(line.command);
        options.torrents = line.torrents;
        let mut taker = Taker(Arguments::from_vec(line.options));
        let named = taker.value("--config", values::path)?;
        if COMMANDS_CONFIGURED.contains(&line.command) {
            let (file, warnings) = config_file::load(named.as_deref(), homes.config.as_deref())
                .map_err(UsageError::new)?;
            options.take_file(&file);
            options.warnings = warnings;
        }
        options.config.state_dir = homes.state.clone();
        options.take_line(&mut taker)?;
        options.check_torrents()?;
        Ok(options)
    }

    /// The defaults of a command.
    fn of(command: Command) -> Self {
        let config = Config {
            catch_signals: true,
            ..Config::default()
        };
        let config = match command {
            Command::Check => config.alone(),
            _ => config,
        };
        let plan = Plan {
            goal: match command {
                Command::Check => Goal::Check,
                Command::Seed => Goal::Seed,
                _ => Goal::Download,
            },
            ..Plan::default()
        };
        Self {
            command,
            torrents: Vec::new(),
            config,
            plan,
            recipe: Recipe::of(Vec::<PathBuf>::new()),
            progress: ProgressKind::Auto,
            json: false,
            size: DEMO_SIZE,
            quiet: false,
            log_level: LevelFilter::Warn,
            log_file: None,
            warnings: Vec::new(),
        }
    }

    fn take_file(&mut self, file: &ConfigFile) {
        let config = &mut self.config;
        set(&mut config.max_peers, file.max_peers);
        set_some(&mut config.ports, file.ports());
        set(&mut config.connect_timeout, file.connect_timeout);
        set(&mut config.half_open, file.half_open);
        set(&mut config.sweep, file.sweep);
        set(&mut config.tcp_only, file.tcp_only);
        set(&mut config.dht, file.dht);
        set(&mut config.lsd, file.lsd);
        set(&mut config.pex, file.pex);
        set(&mut self.log_level, file.log_level);
    }

    fn take_line(&mut self, taker: &mut Taker) -> Result<(), UsageError> {
        let (config, plan) = (&mut self.config, &mut self.plan);
        set(
            &mut plan.output_dir,
            taker.value("--output-directory", values::path)?,
        );
        set_some(
            &mut config.mem_limit,
            taker.value("--mem-limit", values::size)?,
        );
        set_some(
            &mut config.state_dir,
            taker.value("--state-dir", values::path)?,
        );
        set(
            &mut config.max_peers,
            taker.value("--max-peers", values::max_peers)?,
        );
        set(&mut plan.peers, taker.value("--peers", values::peers)?);
        if taker.flag("--seed") {
            plan.goal = Goal::DownloadAndSeed;
        }
        plan.stop_timeout = taker.value("--stop-timeout", values::duration)?;
        set_some(&mut config.ports, taker.value("--port", values::ports)?);
        config.families = match (taker.flag("--ipv4"), taker.flag("--ipv6")) {
            (true, false) => Families::V4,
            (false, true) => Families::V6,
            (_, _) => Families::Both,
        };
        config.tcp_only |= taker.flag("--tcp-only");
        config.dht &= !taker.flag("--no-dht");
        config.dht_entry_points = taker.values("--dht-entry-point", values::entry_point)?;
        config.lsd &= !taker.flag("--no-lsd");
        config.pex &= !taker.flag("--no-pex");
        set_some(&mut config.ca_file, taker.value("--ca-file", values::path)?);
        plan.force = taker.flag("--force");
        plan.recheck = taker.flag("--recheck");
        plan.exit_on_full = taker.flag("--exit-on-full");
        plan.verify_on_upload = taker.flag("--verify-on-upload");
        set(
            &mut plan.allocate,
            taker.value("--allocate", values::allocate)?,
        );
        if let Some(size) = taker.value("--max-torrent-size", values::size)? {
            config.max_torrent_size = usize::try_from(size).unwrap_or(usize::MAX);
        }
        set(
            &mut config.user_agent,
            taker.value("--user-agent", values::user_agent)?,
        );
        set(
            &mut config.peer_id_prefix,
            taker.value("--peer-id-prefix", values::peer_id_prefix)?,
        );
        let bar = taker.flag("--use-progress-bar");
        let kind = taker.value("--progress", values::progress)?;
        let kind = kind.or(bar.then_some(ProgressKind::Bar));
        set(&mut self.progress, kind);
        self.json = taker.flag("--json");
        if self.json && matches!(self.progress, ProgressKind::Bar | ProgressKind::Lines) {
            let why = "--json and a progress bar or lines exclude each other";
            return Err(UsageError::new(why));
        }
        set(&mut self.size, taker.value("--size", values::size)?);
        self.quiet = taker.flag("--quiet");
        let verbose = taker.flag("--verbose");
        if self.quiet {
            self.log_level = self.log_level.min(LevelFilter::Error);
        }
        if verbose {
            self.log_level = LevelFilter::Debug;
        }
        set(
            &mut self.log_level,
            taker.value("--log-level", values::log_level)?,
        );
        self.log_file = taker.value("--log-file", values::path)?;
        self.torrents.extend(taker.value("--torrent", values::os)?);
        self.take_limits(taker)?;
        self.take_recipe(taker)
    }

    fn take_limits(&mut self, taker: &mut Taker) -> Result<(), UsageError> {
        let (config, plan) = (&mut self.config, &mut self.plan);
        config.max_download_rate = taker.value("--max-download-rate", values::size)?;
        config.max_upload_rate = taker.value("--max-upload-rate", values::size)?;
        plan.seed_ratio = taker.value("--seed-ratio", values::ratio)?;
        plan.seed_time = taker.value("--seed-time", values::duration)?;
        config.super_seed = taker.flag("--super-seed");
        let choices = taker.values("--select", values::choices)?;
        plan.select = choices.into_iter().flatten().collect();
        let choices = taker.values("--first", values::choices)?;
        plan.first = choices.into_iter().flatten().collect();
        plan.sequential = taker.flag("--sequential");
        plan.save_torrent = taker.value("--save-torrent", values::path)?;
        let ends = plan.seed_ratio.is_some() || plan.seed_time.is_some();
        if (ends || config.super_seed) && plan.goal == Goal::Download {
            plan.goal = Goal::DownloadAndSeed;
        }
        Ok(())
    }

    fn take_recipe(&mut self, taker: &mut Taker) -> Result<(), UsageError> {
        let recipe = &mut self.recipe;
        recipe.trackers = taker.values("--tracker", values::tier)?;
        recipe.web_seeds = taker.values("--web-seed", values::web_seed)?;
        recipe.piece_length = taker.value("--piece-length", values::piece_length)?;
        recipe.private = taker.flag("--private");
        recipe.name = taker.value("--name", values::string)?;
        recipe.comment = taker.value("--comment", values::string)?;
        recipe.source = taker.value("--source", values::string)?;
        recipe.creation_date = taker.value("--creation-date", values::seconds)?;
        Ok(())
    }

    fn check_torrents(&self) -> Result<(), UsageError> {
        let given = self.torrents.len();
        let (least, most) = match self.command {
            Command::Scrape => (1, 1),
            Command::Download
            | Command::Seed
            | Command::Check
            | Command::Show
            | Command::Magnet
            | Command::Create => (1, usize::MAX),
            Command::Generate => (1, 1),
            Command::Demo | Command::Help | Command::Version => (0, 0),
        };
        if given < least {
            let what = match self.command {
                Command::Create => "no file or directory is named",
                Command::Generate => GENERATE_WHAT,
                _ => "no torrent is named",
            };
            return Err(UsageError::new(what));
        }
        if given > most {
            let extra = escape_field(self.torrents[most].as_encoded_bytes());
            let message = if most == 0 {
                format!("demo takes no torrent: {extra}")
            } else {
                format!("one torrent at a time, and this is one too many: {extra}")
            };
            return Err(UsageError::new(message));
        }
        if self.command == Command::Create && given > 1 && self.recipe.name.is_none() {
            return Err(UsageError::new("several paths need a --name"));
        }
        if self.torrents.iter().any(|torrent| torrent.is_empty()) {
            return Err(UsageError::new("the name of a torrent is empty"));
        }
        Ok(())
    }
}

/// Where a person's files are, beside the current directory.
#[derive(Default)]
pub(super) struct Homes {
    /// `XDG_CONFIG_HOME`, where a configuration file may be.
    pub(super) config: Option<PathBuf>,
    /// Where it is remembered what is there: below `XDG_STATE_HOME`, else below `HOME`.
    pub(super) state: Option<PathBuf>,
}

impl Homes {
    /// What the environment says; a relative path says nothing.
    pub(super) fn from_env() -> Self {
        let dir = |name: &str| {
            let dir = std::env::var_os(name).map(PathBuf::from);
            dir.filter(|dir| dir.is_absolute())
        };
        let state = dir("XDG_STATE_HOME").or_else(|| Some(dir("HOME")?.join(".local/state")));
        Self {
            config: dir("XDG_CONFIG_HOME"),
            state: state.map(|dir| dir.join("minitorrent")),
        }
    }
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Command {
    Download,
    Seed,
    Check,
    Show,
    Magnet,
    Create,
    Scrape,
    Demo,
    /// Writes the manual page or a shell's completions: for whoever packs the program.
    Generate,
    Help,
    Version,
}

/// How progress is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ProgressKind {
    Auto,
    Bar,
    Lines,
    Json,
    None,
}

/// What is wrong with a command line.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct UsageError {
    /// One line; what came from outside is escaped.
    pub(super) message: String,
}

impl UsageError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

/// The command line cut into its parts, with options spelled in full and apart from their values.
struct Line {
    command: Command,
    options: Vec<OsString>,
    torrents: Vec<OsString>,
}

impl Line {
    /// Cuts it. Behind `--` everything is a torrent.
    fn cut(arguments: Vec<OsString>) -> Result<Self, UsageError> {
        let mut arguments = arguments.into_iter().peekable();
        let mut line = Self {
            command: Command::Download,
            options: Vec::new(),
            torrents: Vec::new(),
        };
        if let Some(command) = arguments.peek().and_then(|first| command(first)) {
            line.command = command;
            arguments.next();
        }
        while let Some(argument) = arguments.next() {
            if argument == "--" {
                line.torrents.extend(arguments);
                break;
            }
            let bytes = argument.as_encoded_bytes();
            if bytes.len() < 2 || bytes[0] != b'-' {
                line.torrents.push(argument);
                continue;
            }
            let (name, joined) = split(&argument);
            let Some(option) = find(name) else {
                return Err(unknown(name, line.command));
            };
            line.options.push(option.long.into());
            let value = match (option.value, joined) {
                (None, None) => continue,
                (None, Some(_)) => {
                    let message = format!("{} takes no value", option.long);
                    return Err(UsageError::new(message));
                }
                (Some(_), Some(value)) => value.to_owned(),
                // `-` is standard input, `-1` a number; anything else that begins so is the next option.
                (Some(_), None) => arguments
                    .next_if(|next| !is_option(next) || is_number(next))
                    .unwrap_or_default(),
            };
            if value.is_empty() {
                let what = option.value.map_or("", |(value, _)| value);
                let message = format!("{} needs a value: {what}", option.long);
                return Err(UsageError::new(message));
            }
            if find(&value).is_some() {
                let value = escape_field(value.as_encoded_bytes());
                let message = format!("{} needs a value, not {value}", option.long);
                return Err(UsageError::new(message));
            }
            line.options.push(value);
        }
        Ok(line)
    }

    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|given| given == option)
    }

    /// Sees that no option is given twice, to a command that does not take it, or with its opposite.
    fn check(&self) -> Result<(), UsageError> {
        for option in OPTIONS {
            let times = self.options.iter().filter(|given| *given == option.long);
            match times.count() {
                0 => {}
                1 if option.commands.contains(&self.command) => {}
                _ if option.commands.contains(&self.command)
                    && REPEATABLE.contains(&option.long) => {}
                1 => {
                    let message = format!("{} does not go with this command", option.long);
                    return Err(UsageError::new(message));
                }
                _ => {
                    let message = format!("{} is given twice", option.long);
                    return Err(UsageError::new(message));
                }
            }
        }
        for (one, other, without) in OPPOSITES {
            if self.has(one) && self.has(other) {
                let message = format!("{one} and {other} exclude each other; {without}");
                return Err(UsageError::new(message));
            }
        }
        Ok(())
    }
}

/// Takes options out of the line, each in its type.
struct Taker(Arguments);

impl Taker {
    fn flag(&mut self, name: &'static str) -> bool {
        self.0.contains(name)
    }

    /// The values of an option that may be given more than once, in order.
    fn values<T>(
        &mut self,
        name: &'static str,
        read: fn(&OsStr) -> Result<T, String>,
    ) -> Result<Vec<T>, UsageError> {
        let mut values = Vec::new();
        while let Some(value) = self.value(name, read)? {
            values.push(value);
        }
        Ok(values)
    }

    fn value<T>(
        &mut self,
        name: &'static str,
        read: fn(&OsStr) -> Result<T, String>,
    ) -> Result<Option<T>, UsageError> {
        // pico-args would add words of its own to the reader's, so the reader comes after it.
        let value = self
            .0
            .opt_value_from_os_str(name, |value| Ok::<_, String>(value.to_owned()))
            .map_err(|error| UsageError::new(error.to_string()))?;
        let Some(value) = value else {
            return Ok(None);
        };
        read(&value).map(Some).map_err(|why| {
            let shown = escape_field(value.as_encoded_bytes());
            UsageError::new(format!("{name} {shown}: {why}"))
        })
    }
}

/// The option of that name, long or short.
fn find(name: &OsStr) -> Option<&'static Opt> {
    OPTIONS
        .iter()
        .find(|option| name == option.long || option.short.is_some_and(|short| name == short))
}

fn command(word: &OsStr) -> Option<Command> {
    let known = COMMANDS.iter().find(|known| word == known.word);
    known
        .map(|known| known.command)
        .or((word == "generate").then_some(Command::Generate))
}

fn is_option(argument: &OsStr) -> bool {
    argument.len() > 1 && argument.as_encoded_bytes()[0] == b'-'
}

fn is_number(argument: &OsStr) -> bool {
    let text = argument.to_str().and_then(|text| text.strip_prefix('-'));
    text.is_some_and(|text| text.starts_with(|first: char| first.is_ascii_digit() || first == '.'))
}

/// Cuts `--name=value`.
fn split(argument: &OsStr) -> (&OsStr, Option<&OsStr>) {
    use std::os::unix::ffi::OsStrExt as _;
    let bytes = argument.as_bytes();
    match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) => (
            OsStr::from_bytes(&bytes[..at]),
            Some(OsStr::from_bytes(&bytes[at + 1..])),
        ),
        None => (argument, None),
    }
}

fn unknown(name: &OsStr, command: Command) -> UsageError {
    let shown = escape_field(name.as_encoded_bytes());
    let given = name.to_string_lossy();
    let names = OPTIONS
        .iter()
        .filter(|option| option.commands.contains(&command))
        .flat_map(|option| [Some(option.long), option.short])
        .flatten();
    let nearest = names.min_by_key(|known| distance(&given, known));
    let nearest = nearest.filter(|known| is_near(&given, known));
    let message = match nearest {
        Some(nearest) => format!("there is no option {shown}; the nearest is {nearest}"),
        None => format!("there is no option {shown}"),
    };
    UsageError::new(message)
}

/// Overwrites what was set so far, if there is something to overwrite it with.
fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn set_some<T>(place: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *place = value;
    }
}

/// Whether one may be a slip for the other: most of its letters are right.
fn is_near(given: &str, known: &str) -> bool {
    let letters = given.trim_start_matches('-').chars().count();
    let wrong = distance(given, known);
    2 * wrong <= letters && 3 * wrong <= letters.max(6)
}

/// How many characters must be put in, taken out or changed to make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    // What is far too long can't be a slip.
    let one: Vec<char> = one.chars().take(40).collect();
    let mut row: Vec<usize> = (0..=one.len()).collect();
    for (at, letter) in other.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for index in 0..one.len() {
            let change = diagonal + usize::from(one[index] != letter);
            diagonal = row[index + 1];
            row[index + 1] = change.min(row[index] + 1).min(diagonal + 1);
        }
    }
    row[one.len()]
}

/// What is said to who does not know.
pub(super) const GENERATE_WHAT: &str = "generate what? man, bash, zsh or fish";
/// The commands that a configuration file has something to say to.
const COMMANDS_CONFIGURED: [Command; 3] = [Command::Download, Command::Seed, Command::Scrape];
/// Options that may be given more than once.
const REPEATABLE: [&str; 5] = [
    "--dht-entry-point",
    "--select",
    "--first",
    "--tracker",
    "--web-seed",
];
/// Options of which only one can be meant, and what is without them.
const OPPOSITES: [(&str, &str, &str); 2] = [
    ("--ipv4", "--ipv6", "without them both families are used"),
    (
        "--quiet",
        "--verbose",
        "--log-level and --log-file say what is logged where",
    ),
];
/// Bytes of the demo's payload.
const DEMO_SIZE: u64 = 256 << 20;

#[cfg(test)]
mod tests;
