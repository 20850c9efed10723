//! Asking an HTTP tracker for a torrent's counts (BEP 48).

use super::percent_encode;
use super::reply::ReplyError;
use crate::base::escape::escape_field;
use crate::base::ids::InfoHash;
use crate::base::limits;
use crate::wire::bencode::Value;
use crate::wire::tracker_udp::Scrape;

/// The target of the GET request, made from that of an announce: the last part of the path must begin with
/// `announce`, which becomes `scrape`. `None` if it doesn't: such a tracker can't be asked.
///
/// ```
/// # use minitorrent::base::ids::InfoHash;
/// use minitorrent::wire::tracker_http::scrape::target;
///
/// let target = target("/x/announce.php?key=1", &InfoHash([b'a'; 20])).expect("it can be asked");
/// assert_eq!(target, "/x/scrape.php?key=1&info_hash=aaaaaaaaaaaaaaaaaaaa");
/// ```
pub fn target(path_and_query: &str, info_hash: &InfoHash) -> Option<String> {
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    let (folder, last) = path.rsplit_once('/')?;
    let rest = last.strip_prefix("announce")?;
    let mut target = format!("{folder}/scrape{rest}?");
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        target.push_str(query);
        target.push('&');
    }
    target.push_str("info_hash=");
    percent_encode(&info_hash.0, &mut target);
    Some(target)
}

/// Reads the body of a reply: what it says of `info_hash`.
///
/// # Errors
///
/// [`ReplyError::Failure`] if it has a failure reason, [`ReplyError::Malformed`] if it says nothing of the torrent.
pub fn parse(body: &[u8], info_hash: &InfoHash) -> Result<Scrape, ReplyError> {
    let parsed = Value::parse(body.trim_ascii_start(), limits::DEPTH_NETWORK);
    let (dictionary, _) = parsed.map_err(|_| ReplyError::Malformed)?;
    if let Some(words) = entry(dictionary, b"failure reason") {
        let reason = escape_field(words.as_bytes().unwrap_or_default());
        return Err(ReplyError::Failure {
            reason,
            retry: None,
        });
    }
    let counts = entry(dictionary, b"files").and_then(|files| entry(files, &info_hash.0));
    let counts = counts.ok_or(ReplyError::Malformed)?;
    let count = |key: &[u8]| {
        let number = entry(counts, key).and_then(|value| value.as_int().ok());
        number.and_then(|number| u32::try_from(number).ok())
    };
    Ok(Scrape {
        seeders: count(b"complete").ok_or(ReplyError::Malformed)?,
        completed: count(b"downloaded").unwrap_or(0),
        leechers: count(b"incomplete").unwrap_or(0),
    })
}

/// What stands under `wanted` in a dictionary.
fn entry<'a>(value: Value<'a>, wanted: &[u8]) -> Option<Value<'a>> {
    let mut entries = value.as_dict()?;
    entries.find(|(key, _)| *key == wanted).map(|(_, it)| it)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: InfoHash = InfoHash([b'h'; 20]);

    #[test]
    fn only_an_announce_can_be_made_a_scrape() {
        for (announce, scrape) in [
            ("/announce", Some("/scrape?")),
            ("/x/announce?a=b", Some("/x/scrape?a=b&")),
            ("/announce.php", Some("/scrape.php?")),
            ("/announce?", Some("/scrape?")),
            ("/a", None),
            ("/announce/", None),
            ("/xannounce", None),
            ("", None),
        ] {
            let expected = scrape.map(|it| format!("{it}info_hash=hhhhhhhhhhhhhhhhhhhh"));
            assert_eq!(target(announce, &HASH), expected, "{announce}");
        }
    }

    #[test]
    fn counts_are_those_of_the_torrent_that_was_asked_for() {
        let body = b"d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei9e10:incompletei9ee\
            20:hhhhhhhhhhhhhhhhhhhhd8:completei5e10:downloadedi50e10:incompletei10eeee";
        let counts = Scrape {
            seeders: 5,
            completed: 50,
            leechers: 10,
        };
        assert_eq!(parse(body, &HASH), Ok(counts));
        let refused = parse(b"d14:failure reason2:noe", &HASH);
        let reason = "no".to_owned();
        assert_eq!(
            refused,
            Err(ReplyError::Failure {
                reason,
                retry: None
            })
        );
        for wrong in [
            &b"<html>"[..],
            b"de",
            b"d5:filesdee",
            b"d5:filesi1ee",
            b"d5:filesd20:hhhhhhhhhhhhhhhhhhhhd8:completei-1eeee",
        ] {
            assert_eq!(parse(wrong, &HASH), Err(ReplyError::Malformed));
        }
    }
}
