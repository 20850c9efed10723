//! The values of options, in the words that users write.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::LevelFilter;
use rustix::fs::OFlags;

use super::options::ProgressKind;
use crate::base::escape::escape_field;
use crate::base::limits;
use crate::client::{Allocate, Choice, Router};
use crate::wire::metainfo::{TRACKER_SCHEMES, WEB_SEED_SCHEMES, checked_url};

/// Any bytes.
pub(super) fn os(value: &OsStr) -> Result<OsString, String> {
    Ok(value.to_owned())
}

/// A path, in any bytes.
pub(super) fn path(value: &OsStr) -> Result<PathBuf, String> {
    Ok(value.into())
}

/// 1 to 10000.
pub(super) fn max_peers(value: &OsStr) -> Result<usize, String> {
    let number = text(value).and_then(|text| text.parse().ok());
    number
        .filter(|number| (1..=PEERS_MOST).contains(number))
        .ok_or_else(|| format!("a number from 1 to {PEERS_MOST}"))
}

/// `N` or `N-M`.
pub(super) fn ports(value: &OsStr) -> Result<RangeInclusive<u16>, String> {
    let read = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then_some(first..=last)
    };
    text(value)
        .and_then(read)
        .ok_or_else(|| "a port or a range of ports: 0 to 65535, the lower first".into())
}

/// Seconds, or a number with `s`, `m`, `h` or `d`.
pub(super) fn duration(value: &OsStr) -> Result<Duration, String> {
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
    number(value, &units)
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs)
        .ok_or_else(|| "a time above 0: 90, 90s, 5m, 2h or 1d".into())
}

/// Bytes, or a number with `k`, `M` or `G`: 1024 of the next smaller.
pub(super) fn size(value: &OsStr) -> Result<u64, String> {
    let units = [
        ("k", 1 << 10),
        ("K", 1 << 10),
        ("M", 1 << 20),
        ("G", 1 << 30),
    ];
    number(value, &units)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "a size above 0: 4096, 512k, 10M or 1G".into())
}

/// A share ratio: a number from 0, with or without a fraction.
pub(super) fn ratio(value: &OsStr) -> Result<f64, String> {
    let good = |text: &&str| text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number = text(value).filter(good).and_then(|text| text.parse().ok());
    number
        .filter(|ratio: &f64| ratio.is_finite())
        .ok_or_else(|| "a number from 0 on, such as 1.5".into())
}

/// Numbers and ranges of files and patterns of their paths, between commas.
pub(super) fn choices(value: &OsStr) -> Result<Vec<Choice>, String> {
    let text = text(value).ok_or("numbers such as 1,3-5, or patterns in UTF-8")?;
    text.split(',').map(|item| choice(item.trim())).collect()
}

fn choice(item: &str) -> Result<Choice, String> {
    let (first, last) = item.split_once('-').unwrap_or((item, item));
    let good = |range: &(u32, u32)| 0 < range.0 && range.0 <= range.1;
    let range = first.parse().ok().zip(last.parse().ok()).filter(good);
    let is_number = item.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    match range {
        Some((first, last)) => Ok(Choice::Numbers(first..=last)),
        None if item.is_empty() => Err("nothing stands before or behind a comma".into()),
        None if is_number => Err("files count from 1, and of a range the lower comes first".into()),
        None => Ok(Choice::Pattern(item.to_owned())),
    }
}

/// Some text in UTF-8.
pub(super) fn string(value: &OsStr) -> Result<String, String> {
    text(value)
        .map(str::to_owned)
        .ok_or_else(|| "text in UTF-8".into())
}

/// Announce URLs of one tier, between spaces.
pub(super) fn tier(value: &OsStr) -> Result<Vec<String>, String> {
    let urls = text(value).unwrap_or_default().split_whitespace();
    let urls: Option<Vec<String>> = urls.map(|url| url_of(url, TRACKER_SCHEMES)).collect();
    urls.filter(|urls| !urls.is_empty())
        .ok_or_else(|| "an http, https or udp URL, or several of one tier between spaces".into())
}

/// `HOST:PORT` of a node of the DHT.
pub(super) fn entry_point(value: &OsStr) -> Result<Router, String> {
    let read = |text: &str| {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return (address.port() > 0).then_some(Router::Address(address));
        }
        let (name, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_name = !name.is_empty() && name.len() <= limits::DNS_NAME_MAX;
        (is_name && name.bytes().all(is_good)).then(|| Router::Name {
            name: name.to_owned(),
            port,
        })
    };
    text(value).and_then(read).ok_or_else(|| {
        "a name or an address with a port: node.example.org:6881 or [::1]:6881".into()
    })
}

/// The URL of a web seed.
pub(super) fn web_seed(value: &OsStr) -> Result<String, String> {
    let url = text(value).and_then(|url| url_of(url, WEB_SEED_SCHEMES));
    url.ok_or_else(|| "an http or https URL".into())
}

/// A power of two from 16 KiB to 64 MiB.
pub(super) fn piece_length(value: &OsStr) -> Result<u32, String> {
    let size = size(value).ok().and_then(|size| u32::try_from(size).ok());
    let range = limits::BLOCK..=PIECE_LENGTH_MOST;
    size.filter(|size| size.is_power_of_two() && range.contains(size))
        .ok_or_else(|| "a power of two from 16k to 64M".into())
}

/// Seconds since 1970.
pub(super) fn seconds(value: &OsStr) -> Result<i64, String> {
    let number = number(value, &[]).and_then(|number| i64::try_from(number).ok());
    number.ok_or_else(|| "seconds since 1970".into())
}

fn url_of(url: &str, schemes: &[&str]) -> Option<String> {
    checked_url(url.as_bytes(), schemes).ok().map(str::to_owned)
}

/// `sparse` or `full`.
pub(super) fn allocate(value: &OsStr) -> Result<Allocate, String> {
    match text(value) {
        Some("sparse") => Ok(Allocate::Sparse),
        Some("full") => Ok(Allocate::Full),
        _ => Err("sparse or full".into()),
    }
}

/// A way to show progress.
pub(super) fn progress(value: &OsStr) -> Result<ProgressKind, String> {
    match text(value) {
        Some("auto") => Ok(ProgressKind::Auto),
        Some("bar") => Ok(ProgressKind::Bar),
        Some("lines") => Ok(ProgressKind::Lines),
        Some("json") => Ok(ProgressKind::Json),
        Some("none") => Ok(ProgressKind::None),
        _ => Err("auto, bar, lines, json or none".into()),
    }
}

/// How much is logged.
pub(super) fn log_level(value: &OsStr) -> Result<LevelFilter, String> {
    let level = text(value).and_then(|text| text.parse().ok());
    level.ok_or_else(|| "off, error, warn, info, debug or trace".into())
}

/// 1 to 63 visible ASCII characters or spaces: it stands in HTTP headers and in handshakes.
pub(super) fn user_agent(value: &OsStr) -> Result<String, String> {
    let good = |text: &&str| text.bytes().all(|byte| (b' '..0x7f).contains(&byte));
    let text = text(value).filter(good).map(str::trim);
    text.filter(|text| (1..AGENT_MAX).contains(&text.len()))
        .map(str::to_owned)
        .ok_or_else(|| format!("1 to {} visible ASCII characters", AGENT_MAX - 1))
}

/// 1 to 12 visible ASCII characters: enough of the id stays random.
pub(super) fn peer_id_prefix(value: &OsStr) -> Result<String, String> {
    let good = |text: &&str| text.bytes().all(|byte| byte.is_ascii_graphic());
    text(value)
        .filter(good)
        .filter(|text| text.len() <= PREFIX_MAX)
        .map(str::to_owned)
        .ok_or_else(|| format!("1 to {PREFIX_MAX} visible ASCII characters"))
}

/// Addresses in a list, or a file with one a line; empty lines and those that begin with `#` are passed over.
pub(super) fn peers(value: &OsStr) -> Result<Vec<SocketAddr>, String> {
    let listed = text(value).map(|text| addresses(text.split(',')));
    if let Some(Ok(peers)) = listed {
        return Ok(peers);
    }
    let mut contents = String::new();
    let read = open_regular(Path::new(value))
        .and_then(|file| file.take(PEERS_FILE_MOST).read_to_string(&mut contents));
    match read {
        Ok(_) => addresses(contents.lines()),
        // It was meant as a list if it looks like one.
        Err(_) if value.as_encoded_bytes().contains(&b':') => {
            Err(listed.and_then(Result::err).unwrap_or_default())
        }
        Err(error) => Err(format!("neither a list of ip:port nor a file: {error}")),
    }
}

/// Opens a file, unless it is a device, a pipe or the like: those may never come to an end.
fn open_regular(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // Opening a FIFO would wait for its other end.
    let flags = OFlags::NONBLOCK.bits() as i32;
    let file = options.read(true).custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

fn addresses<'a>(items: impl Iterator<Item = &'a str>) -> Result<Vec<SocketAddr>, String> {
    let items = items.map(str::trim);
    let mut peers = Vec::new();
    for item in items.filter(|item| !item.is_empty() && !item.starts_with('#')) {
        let address: Option<SocketAddr> = item.parse().ok();
        let Some(address) = address.filter(|address| address.port() != 0) else {
            let item = escape_field(item.as_bytes());
            return Err(format!("{item} is no ip:port (IPv6 in brackets)"));
        };
        if peers.len() < limits::ADDRESSES_MAX && !peers.contains(&address) {
            peers.push(address);
        }
    }
    if peers.is_empty() {
        return Err("no address in it".into());
    }
    Ok(peers)
}

/// A whole number with one of these units behind it, or none.
fn number(value: &OsStr, units: &[(&str, u64)]) -> Option<u64> {
    let text = text(value)?;
    let with_unit = |(name, factor): &(&str, u64)| Some((text.strip_suffix(name)?, *factor));
    let (digits, factor) = units.iter().find_map(with_unit).unwrap_or((text, 1));
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

fn text(value: &OsStr) -> Option<&str> {
    value.to_str()
}

/// Longer pieces are refused by others.
const PIECE_LENGTH_MOST: u32 = 64 << 20;
/// More connections than any one machine needs; each costs a descriptor.
pub(super) const PEERS_MOST: usize = 10_000;
/// The engine's bound for a client's name.
const AGENT_MAX: usize = 64;
/// Of the 20 bytes of a peer id.
const PREFIX_MAX: usize = crate::client::PEER_ID_PREFIX_MAX;
/// A file of so many bytes names more addresses than are remembered.
const PEERS_FILE_MOST: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn os(text: &str) -> &OsStr {
        OsStr::new(text)
    }

    #[test]
    fn sizes_and_times_take_units_and_nothing_that_is_not_a_whole_number() {
        assert_eq!(size(os("10M")), Ok(10 << 20));
        assert_eq!(size(os("4096")), Ok(4096));
        for wrong in [
            "1e6",
            "-1",
            "18446744073709551616",
            "99999999999G",
            "M",
            "0",
            "+1",
            "",
        ] {
            assert!(size(os(wrong)).is_err(), "{wrong}");
        }
        assert_eq!(duration(os("2h")), Ok(Duration::from_secs(7200)));
        assert!(duration(os("1.5s")).is_err() && duration(os("0")).is_err());
    }

    #[test]
    fn ports_are_one_or_a_range_the_lower_first() {
        assert_eq!(ports(os("7000")), Ok(7000..=7000));
        assert_eq!(ports(os("1-65535")), Ok(1..=65535));
        for wrong in ["2-1", "65536", "-5", "5-", "a", ""] {
            assert!(ports(os(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn files_are_chosen_by_good_numbers_and_by_patterns() {
        let pattern = |text: &str| Ok(vec![Choice::Pattern(text.to_owned())]);
        let numbers = vec![Choice::Numbers(1..=1), Choice::Numbers(3..=5)];
        assert_eq!(choices(os("1,3-5")), Ok(numbers));
        assert_eq!(choices(os("*.iso")), pattern("*.iso"));
        assert_eq!(choices(os("2-1.iso")), pattern("2-1.iso"));
        let mixed = vec![
            Choice::Pattern("*.iso".to_owned()),
            Choice::Numbers(4..=4),
            Choice::Pattern("a b".to_owned()),
        ];
        assert_eq!(choices(os("*.iso,4, a b")), Ok(mixed));
        for wrong in [
            "0",
            "3-1",
            "1-",
            "1,,2",
            "-1",
            "4294967296",
            "*,0",
            "*,",
            ",",
        ] {
            assert!(choices(os(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn peers_come_from_a_list_and_a_bad_one_is_named() {
        let good = peers(os("1.2.3.4:5, [::1]:6,1.2.3.4:5")).map(|peers| peers.len());
        assert_eq!(good, Ok(2));
        let message = peers(os("1.2.3.4:5,::1:6")).expect_err("no brackets");
        assert_eq!(message, "::1:6 is no ip:port (IPv6 in brackets)");
        assert!(peers(os("1.2.3.4:0")).is_err());
        assert!(peers(os("/nonexistent")).is_err_and(|why| why.contains("nor a file")));
        for endless in ["/dev/zero", "/dev/tty", "/"] {
            assert!(peers(os(endless)).is_err_and(|why| why.contains("nor a file")));
        }
        assert!(peers(os("/dev/zero")).is_err_and(|why| why.ends_with("a regular file")));
    }
}
