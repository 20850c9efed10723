//! The configuration file: a JSON object with the keys of the original, which is read and never written.
//!
//! Every key of the original is known, and the spellings of its README too. Those that mean nothing to this program
//! are accepted and reported. `dht`, `lsd` and `pex` are of our own. Values of another type are turned into the
//! right one, as the original does.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Read as _;
use std::ops::RangeInclusive;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::LevelFilter;
use rustix::fs::OFlags;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::values;
use crate::base::escape::escape_field;
use crate::client::DEFAULT_PORTS;

/// What a configuration file asks for; `None` where it says nothing.
#[derive(Default, PartialEq, Debug)]
pub struct ConfigFile {
    pub(super) max_peers: Option<usize>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) half_open: Option<usize>,
    pub(super) tcp_only: Option<bool>,
    pub(super) dht: Option<bool>,
    pub(super) lsd: Option<bool>,
    pub(super) pex: Option<bool>,
    pub(super) log_level: Option<LevelFilter>,
    /// The shortest time between two sweeps.
    pub(super) sweep: Option<Duration>,
    first_port: Option<u16>,
    last_port: Option<u16>,
    /// Keys that mean nothing here.
    idle: Vec<&'static str>,
    /// Keys that nobody knows, escaped.
    unknown: Vec<String>,
}

impl ConfigFile {
    /// The ports it names.
    pub fn ports(&self) -> Option<RangeInclusive<u16>> {
        let first = self.first_port.or(self.last_port)?;
        let last = self.last_port.unwrap_or(*DEFAULT_PORTS.end());
        Some(match self.first_port {
            // Alone, the last one extends the usual range.
            None if last >= *DEFAULT_PORTS.start() => *DEFAULT_PORTS.start()..=last,
            None | Some(_) => first..=last.max(first),
        })
    }

    /// Keys and values from a JSON text.
    ///
    /// # Errors
    ///
    /// What is wrong and in which line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        serde_json::from_str(text).map_err(|error| {
            // serde_json puts the place behind its message.
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            format!(
                "line {}: {}",
                error.line(),
                escape_field(message.as_bytes())
            )
        })
    }

    /// Takes one key; what is wrong with its value otherwise.
    fn take(&mut self, key: &str, value: &Value) -> Result<(), String> {
        if let Some(known) = KEYS.iter().find(|known| known.names.contains(&key)) {
            return (known.take)(self, value);
        }
        match IDLE.iter().find(|idle| **idle == key) {
            Some(idle) => self.idle.push(idle),
            None if key.starts_with('_') => {}
            None => self.unknown.push(escape_field(key.as_bytes())),
        }
        Ok(())
    }

    /// What a person should know about the file that was read from `path`: a kind and a line each.
    pub fn warnings(&self, path: &Path) -> Vec<Warning> {
        let path = escape_field(path.as_os_str().as_encoded_bytes());
        let mut warnings = Vec::new();
        if !self.unknown.is_empty() {
            let shown = self.unknown.iter().take(KEYS_SHOWN).map(String::as_str);
            let mut keys = shown.collect::<Vec<_>>().join(", ");
            if self.unknown.len() > KEYS_SHOWN {
                keys.push_str(", …");
            }
            let message = format!("{path}: unknown: {keys}; left out");
            warnings.push(("config.unknown", message));
        }
        if !self.idle.is_empty() {
            let keys = self.idle.join(", ");
            let message = format!("{path}: without meaning in this program: {keys}; left out");
            warnings.push(("config.meaningless", message));
        }
        warnings
    }
}

/// A key that says something.
pub(super) struct Key {
    /// Its name, then other spellings.
    pub(super) names: &'static [&'static str],
    /// For the manual page.
    pub(super) about: &'static str,
    take: fn(&mut ConfigFile, &Value) -> Result<(), String>,
}

/// Every key that says something.
pub(super) const KEYS: &[Key] = &[
    Key {
        names: &["listening_port"],
        about: "the first port of --port",
        take: |file, value| put(&mut file.first_port, whole(value, 0, u16::MAX)),
    },
    Key {
        names: &["max_listening_port"],
        about: "the last port of --port",
        take: |file, value| put(&mut file.last_port, whole(value, 0, u16::MAX)),
    },
    Key {
        names: &["max_peers"],
        about: "as --max-peers",
        take: |file, value| put(&mut file.max_peers, whole(value, 1, values::PEERS_MOST)),
    },
    Key {
        names: &["timeout"],
        about: "seconds that a connection to a peer or a tracker may take to open",
        take: |file, value| {
            let least = |time: Duration| time.max(TIMEOUT_LEAST);
            put(&mut file.connect_timeout, seconds(value).map(least))
        },
    },
    Key {
        names: &["max_handshake_threads"],
        about: "connections being opened at once",
        take: |file, value| put(&mut file.half_open, whole(value, 1, HALF_OPEN_MOST)),
    },
    Key {
        names: &[
            "request_interval",
            "iteration_sleep_interval",
            "interation_sleep_interval",
        ],
        about: "the shortest time between two looks at what has to be done; the longest of them",
        take: |file, value| {
            file.sweep = file.sweep.max(Some(seconds(value)?));
            Ok(())
        },
    },
    Key {
        names: &["logging_level"],
        about: "10 debug, 20 info, 30 warning, 40 error, above 50 nothing",
        take: |file, value| put(&mut file.log_level, level(value)),
    },
    Key {
        names: &["tcp_only"],
        about: "true: as --tcp-only",
        take: |file, value| put(&mut file.tcp_only, truth(value)),
    },
    Key {
        names: &["dht"],
        about: "false: as --no-dht",
        take: |file, value| put(&mut file.dht, truth(value)),
    },
    Key {
        names: &["lsd"],
        about: "false: as --no-lsd",
        take: |file, value| put(&mut file.lsd, truth(value)),
    },
    Key {
        names: &["pex"],
        about: "false: as --no-pex",
        take: |file, value| put(&mut file.pex, truth(value)),
    },
];

/// Keys of the original that mean nothing here.
pub(super) const IDLE: &[&str] = &[
    "udp_tracker_receive_size",
    "udp_handshake_threads",
    "handshake_stripped_size",
    "default_connection_id",
    "default_connecion_id",
    "compact_value_num_bytes",
];

fn put<T>(place: &mut Option<T>, value: Result<T, String>) -> Result<(), String> {
    *place = Some(value?);
    Ok(())
}

impl<'de> Deserialize<'de> for ConfigFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Keys)
    }
}

/// Reads the object key by key, so that an error knows its line.
struct Keys;

impl<'de> Visitor<'de> for Keys {
    type Value = ConfigFile;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with keys")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ConfigFile, A::Error> {
        let mut file = ConfigFile::default();
        while let Some(key) = map.next_key::<String>()? {
            map.next_value_seed(ValueOf {
                key: &key,
                file: &mut file,
            })?;
        }
        if let (Some(first), Some(last)) = (file.first_port, file.last_port)
            && last < first
        {
            let why = "max_listening_port is below listening_port";
            return Err(A::Error::custom(why));
        }
        Ok(file)
    }
}

/// Reads one value: an error is made where it stands, so that it has its line.
struct ValueOf<'a> {
    key: &'a str,
    file: &'a mut ConfigFile,
}

impl ValueOf<'_> {
    fn take<E: serde::de::Error>(self, value: impl Into<Value>) -> Result<(), E> {
        let taken = self.file.take(self.key, &value.into());
        taken.map_err(|why| E::custom(format!("{}: {why}", self.key)))
    }
}

impl<'de> DeserializeSeed<'de> for ValueOf<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueOf<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.take(value)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.take(value)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.take(value)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.take(value)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.take(value)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.take(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        self.take(Value::Array(Vec::new()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.take(Value::Null)
    }
}

/// A kind and a line.
pub type Warning = (&'static str, String);

/// Reads the file that was named, or else the first that is there of `./config.json` and the one below
/// `config_home` (`XDG_CONFIG_HOME`); with it comes what a person should know about it.
///
/// # Errors
///
/// A named file that can't be read. One that was found by itself is left out then, with a warning.
pub(super) fn load(
    named: Option<&Path>,
    config_home: Option<&Path>,
) -> Result<(ConfigFile, Vec<Warning>), String> {
    let in_words = |path: &Path, why: &str| {
        let path = escape_field(path.as_os_str().as_encoded_bytes());
        format!("{path}: {why}")
    };
    if let Some(path) = named {
        let text = read(path)
            .and_then(|text| text.ok_or_else(|| "there is no such file".into()))
            .and_then(|text| ConfigFile::parse(&text));
        let file = text.map_err(|why| in_words(path, &why))?;
        let warnings = file.warnings(path);
        return Ok((file, warnings));
    }
    let at_home = config_home.map(|home| home.join("minitorrent/config.json"));
    for path in [Some(PathBuf::from("./config.json")), at_home]
        .into_iter()
        .flatten()
    {
        let file = match read(&path) {
            Ok(None) => continue,
            Ok(Some(text)) => ConfigFile::parse(&text),
            Err(why) => Err(why),
        };
        return Ok(match file {
            Ok(file) => {
                let warnings = file.warnings(&path);
                (file, warnings)
            }
            Err(why) => {
                let message = format!("{}; the file is left out", in_words(&path, &why));
                (ConfigFile::default(), vec![("config.skipped", message)])
            }
        });
    }
    Ok(Default::default())
}

/// The text of a file; `None` if there is none.
fn read(path: &Path) -> Result<Option<String>, String> {
    let mut options = OpenOptions::new();
    // Opening a FIFO would wait for its other end.
    let flags = OFlags::NONBLOCK.bits() as i32;
    let file = match options.read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let about = file.metadata().map_err(|error| error.to_string())?;
    if !about.is_file() {
        return Err("it is not a regular file".into());
    }
    let mut bytes = Vec::new();
    let read = file.take(FILE_MOST + 1).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > FILE_MOST {
        return Err(format!("it is larger than {FILE_MOST} bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    Ok(Some(text))
}

/// A whole number from `least` to `most`: a number, or a text with one, decimal or `0x…`; true is 1.
fn whole<T: TryFrom<u64> + PartialOrd + fmt::Display>(
    value: &Value,
    least: T,
    most: T,
) -> Result<T, String> {
    let number = match value {
        Value::Bool(truth) => Some(u64::from(*truth)),
        Value::Number(number) => number.as_u64().or_else(|| {
            // As the original: the part behind the point is cut off.
            number
                .as_f64()
                .filter(|it| (0.0..1e15).contains(it))
                .map(|it| it as u64)
        }),
        Value::String(text) => {
            let text = text.trim();
            match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
                Some(digits) => u64::from_str_radix(digits, 16).ok(),
                None => text.parse().ok(),
            }
        }
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    let number = number.and_then(|number| T::try_from(number).ok());
    number
        .filter(|number| (&least..=&most).contains(&number))
        .ok_or_else(|| format!("a whole number from {least} to {most} is needed"))
}

/// Seconds, with a fraction or without, up to an hour.
fn seconds(value: &Value) -> Result<Duration, String> {
    let number = match value {
        Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    number
        .filter(|number| (0.0..=3600.0).contains(number))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "seconds from 0 to 3600 are needed".into())
}

fn truth(value: &Value) -> Result<bool, String> {
    let truth = match value {
        Value::Bool(truth) => Some(*truth),
        Value::Number(number) => number.as_f64().map(|number| number != 0.0),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" | "" => Some(false),
            _ => None,
        },
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    truth.ok_or_else(|| "true or false is needed".into())
}

/// The original's numbers are Python's: 10 is debug, 20 info, 30 warning, 40 error, above 50 nothing.
fn level(value: &Value) -> Result<LevelFilter, String> {
    Ok(match whole(value, 0u64, 1 << 32)? {
        0..10 => LevelFilter::Trace,
        10..20 => LevelFilter::Debug,
        20..30 => LevelFilter::Info,
        30..40 => LevelFilter::Warn,
        40..=50 => LevelFilter::Error,
        _ => LevelFilter::Off,
    })
}

/// The original's file has 700 bytes.
const FILE_MOST: u64 = 1 << 20;
/// Unknown keys that a warning names.
const KEYS_SHOWN: usize = 8;
/// More connections being opened at once are an attack on the router.
const HALF_OPEN_MOST: usize = 1000;
/// A connection across the world takes a third of a second.
const TIMEOUT_LEAST: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_s_own_file_is_read() {
        let file = ConfigFile::parse(
            r#"{
            "_documentation": "https://example.org",
            "listening_port": 6881, "max_listening_port": 6889, "max_peers": 12,
            "request_interval": 0.2, "iteration_sleep_interval": 0.001,
            "logging_level": 100, "timeout": 3.0, "max_handshake_threads": 80,
            "udp_tracker_receive_size": 16384, "handshake_stripped_size": 48,
            "default_connecion_id": "0x41727101980", "compact_value_num_bytes": 6,
            "tcp_only": false }"#,
        )
        .expect("it is well formed");
        assert_eq!(file.ports(), Some(6881..=6889));
        assert_eq!(file.max_peers, Some(12));
        assert_eq!(file.sweep, Some(Duration::from_millis(200)));
        assert_eq!(file.log_level, Some(LevelFilter::Off));
        assert_eq!(file.connect_timeout, Some(Duration::from_secs(3)));
        assert_eq!(file.half_open, Some(80));
        assert_eq!(file.tcp_only, Some(false));
        let warnings = file.warnings(Path::new("c"));
        assert_eq!(
            warnings,
            [(
                "config.meaningless",
                "c: without meaning in this program: udp_tracker_receive_size, \
                 handshake_stripped_size, default_connecion_id, compact_value_num_bytes; left out"
                    .to_owned()
            )]
        );
    }

    #[test]
    fn the_readme_s_spellings_are_known_and_others_are_named() {
        let file = ConfigFile::parse(
            r#"{"interation_sleep_interval": "0.5", "udp_handshake_threads": 1, "_x": 1, "max_pers": 1}"#,
        )
        .expect("it is well formed");
        assert_eq!(file.sweep, Some(Duration::from_millis(500)));
        assert_eq!(
            file.warnings(Path::new("c"))[0],
            (
                "config.unknown",
                "c: unknown: max_pers; left out".to_owned()
            )
        );
        assert_eq!(file.idle, ["udp_handshake_threads"]);
    }

    #[test]
    fn values_of_another_type_are_turned_into_the_right_one() {
        let read = |text: &str| ConfigFile::parse(text).expect(text);
        for text in ["\"0x14\"", "\"20\"", "20.9", "20"] {
            let file = read(&format!("{{\"max_peers\": {text}}}"));
            assert_eq!(file.max_peers, Some(20), "{text}");
        }
        for (text, truth) in [("1", true), ("\"no\"", false), ("true", true), ("0", false)] {
            let file = read(&format!("{{\"tcp_only\": {text}}}"));
            assert_eq!(file.tcp_only, Some(truth), "{text}");
        }
        assert_eq!(
            read("{\"listening_port\": 7000}").ports(),
            Some(7000..=7000)
        );
        assert_eq!(
            read("{\"listening_port\": 6885}").ports(),
            Some(6885..=6889)
        );
        assert_eq!(
            read("{\"max_listening_port\": 7000}").ports(),
            Some(6881..=7000)
        );
        assert_eq!(read("\u{feff}{}"), ConfigFile::default());
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_line() {
        let wrong = |text: &str| ConfigFile::parse(text).expect_err(text);
        assert_eq!(
            wrong("{\n\n  \"max_peers\": \"many\"\n}"),
            "line 3: max_peers: a whole number from 1 to 10000 is needed"
        );
        assert!(wrong("{\n\"max_peers\": ").starts_with("line 2: EOF"));
        assert!(wrong("[1]").starts_with("line 1: invalid type"));
        assert!(wrong("{\"timeout\": -1}").starts_with("line 1: timeout: seconds"));
        assert!(wrong("{\"listening_port\": 7, \"max_listening_port\": 6}").contains("below"));
        assert!(wrong(&"[".repeat(100_000)).starts_with("line 1: "));
        assert!(!wrong("{\"max_peers\": \"\u{1b}[2J\", \"\u{1b}[2J\": 1}").contains('\u{1b}'));
    }
}
