//! Where content comes from: trackers (BEP 3, 12) and web seeds (BEP 19).

use std::collections::BTreeSet;

use super::Warning;
use crate::base::escape::escape_field;
use crate::base::limits;
use crate::wire::bencode::Value;

/// Schemes of trackers that can be asked.
pub const TRACKER_SCHEMES: &[&str] = &["http", "https", "udp"];
/// Schemes of web seeds.
pub const WEB_SEED_SCHEMES: &[&str] = &["http", "https"];

/// A URL that may be used, verbatim but for spaces around it: at most [`limits::URL_MAX`] bytes of UTF-8
/// without control characters, one of `schemes` (lower case), and a host in ASCII that is no disguised
/// international name. Its path may hold spaces and any other character. Errors say what is wrong.
pub fn checked_url<'a>(raw: &'a [u8], schemes: &[&str]) -> Result<&'a str, &'static str> {
    if raw.len() > limits::URL_MAX {
        return Err("too long");
    }
    let url = std::str::from_utf8(raw).map_err(|_| "not UTF-8")?;
    if url.chars().any(char::is_control) {
        return Err("control characters");
    }
    let url = url.trim_matches(' ');
    let (scheme, rest) = url.split_once("://").ok_or("no scheme")?;
    if !schemes
        .iter()
        .any(|known| known.eq_ignore_ascii_case(scheme))
    {
        return Err("unknown scheme");
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    if host.is_empty() || host.starts_with(':') {
        return Err("no host");
    }
    // Names in other scripts can look like any other name.
    let is_international = |label: &str| {
        let prefix = label.get(..4);
        prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case("xn--"))
    };
    if !host.is_ascii() || host.split('.').any(is_international) {
        return Err("an international host name");
    }
    if host.contains(' ') {
        return Err("a space in the host name");
    }
    Ok(url)
}

/// The tiers of trackers: `announce-list`, or `announce` if that names none that can be used.
pub(super) fn trackers(
    announce: Option<Value<'_>>,
    list: Option<Value<'_>>,
    warnings: &mut Vec<Warning>,
) -> Vec<Vec<String>> {
    let mut sieve = Sieve::new(TRACKER_SCHEMES);
    let mut tiers = Vec::new();
    for tier in list.and_then(Value::as_list).into_iter().flatten() {
        let kept = match tier.as_list() {
            Some(urls) => urls.filter_map(|url| sieve.take(url)).collect(),
            // Some makers leave the tiers out.
            None => Vec::from_iter(sieve.take(tier)),
        };
        if !kept.is_empty() {
            tiers.push(kept);
        }
    }
    if tiers.is_empty()
        && let Some(announce) = announce
    {
        tiers.extend(sieve.take(announce).map(|url| vec![url]));
    }
    sieve.report("torrent.tracker", "trackers", warnings);
    tiers
}

/// The web seeds: one URL or a list of them.
pub(super) fn web_seeds(value: Option<Value<'_>>, warnings: &mut Vec<Warning>) -> Vec<String> {
    let Some(value) = value else {
        return Vec::new();
    };
    let mut sieve = Sieve::new(WEB_SEED_SCHEMES);
    let seeds = match value.as_list() {
        Some(urls) => urls.filter_map(|url| sieve.take(url)).collect(),
        None => Vec::from_iter(sieve.take(value)),
    };
    sieve.report("torrent.web-seed", "web seeds", warnings);
    seeds
}

/// Nodes of the DHT (BEP 5): pairs of a host and a port. What is no such pair is passed over.
pub(super) fn nodes(value: Option<Value<'_>>) -> Vec<(String, u16)> {
    let pairs = value.and_then(Value::as_list).into_iter().flatten();
    let read = |pair: Value<'_>| {
        let mut pair = pair.as_list()?;
        let host = std::str::from_utf8(pair.next()?.as_bytes()?).ok()?;
        let port = u16::try_from(pair.next()?.as_int().ok()?).ok()?;
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        let is_good = host.bytes().all(is_host) && (1..=limits::DNS_NAME_MAX).contains(&host.len());
        (is_good && port > 0).then(|| (host.to_ascii_lowercase(), port))
    };
    pairs
        .filter_map(read)
        .take(limits::DHT_ROUTERS_MAX)
        .collect()
}

/// Lets the first usable URLs through, each once, and counts the rest.
struct Sieve {
    schemes: &'static [&'static str],
    kept: BTreeSet<String>,
    dropped: usize,
    first_dropped: Option<String>,
    surplus: usize,
}

impl Sieve {
    fn new(schemes: &'static [&'static str]) -> Self {
        Self {
            schemes,
            kept: BTreeSet::new(),
            dropped: 0,
            first_dropped: None,
            surplus: 0,
        }
    }

    fn take(&mut self, value: Value<'_>) -> Option<String> {
        if self.kept.len() == limits::TRACKERS_MAX {
            self.surplus += 1;
            return None;
        }
        let raw = value.as_bytes();
        if raw == Some(b"") {
            return None;
        }
        match raw
            .ok_or("no string")
            .and_then(|raw| checked_url(raw, self.schemes))
        {
            Ok(url) => self.kept.insert(url.to_owned()).then(|| url.to_owned()),
            Err(reason) => {
                self.dropped += 1;
                self.first_dropped.get_or_insert_with(|| {
                    let url = escape_field(raw.unwrap_or(value.raw()));
                    format!("`{url}` ({reason})")
                });
                None
            }
        }
    }

    fn report(self, kind: &'static str, what: &str, warnings: &mut Vec<Warning>) {
        if let Some(first) = self.first_dropped {
            let message = format!("{} {what} ignored: {first}", self.dropped);
            warnings.push(Warning::new(kind, message));
        }
        if self.surplus > 0 {
            let message = format!(
                "{} {what} beyond the first {} ignored",
                self.surplus,
                limits::TRACKERS_MAX
            );
            warnings.push(Warning::new(kind, message));
        }
    }
}
