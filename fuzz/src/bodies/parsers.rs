//! One body a parser: it does not panic, what it takes in is within bounds, and what it writes it reads again.

use std::net::SocketAddr;
use std::path::Path;

use minitorrent::base::ids::{InfoHash, PeerId, Piece};
use minitorrent::base::{escape, limits};
use minitorrent::cli::config_file::ConfigFile;
use minitorrent::wire::bencode::{self, Token, Value};
use minitorrent::wire::extension::ExtensionHandshake;
use minitorrent::wire::handshake::{self as greeting, Reserved};
use minitorrent::wire::magnet::Magnet;
use minitorrent::wire::message::{self, Decoded, Message};
use minitorrent::wire::metainfo::{FileKind, Metainfo};
use minitorrent::wire::names as path_names;
use minitorrent::wire::tracker_http::reply::{Reply, ReplyError};
use minitorrent::wire::tracker_http::url::TrackerUrl;
use minitorrent::wire::tracker_http::{
    Announce, Event, is_peer_address, percent_decode, percent_encode,
};
use minitorrent::wire::tracker_udp as udp;
use minitorrent::wire::ut_metadata::MetadataMessage;
use minitorrent::wire::ut_pex::Pex;

use super::source::Source;

/// Bencode: the scanner, the typed view and the tokens agree about any bytes.
pub fn bencode(bytes: &[u8]) {
    for depth in [limits::DEPTH_NETWORK, limits::DEPTH_FILE] {
        let scanned = bencode::scan(bytes, depth);
        let mut seen = Vec::new();
        let parsed = Value::parse_seeing(bytes, depth, |outer, key, value| {
            seen.push((outer, key, value));
        });
        assert_eq!(
            scanned.as_ref().ok(),
            parsed.as_ref().ok().map(|(_, used)| used)
        );
        let Ok((value, used)) = parsed else {
            let error = scanned.expect_err("both refuse");
            assert!(error.at <= bytes.len() && error.to_string().len() < 200);
            continue;
        };
        assert_eq!(value.raw(), &bytes[value.offset()..used]);
        walk(value, depth);
        assert_eq!(seen, entries(value));
        let open = value.tokens().map(|token| {
            let (_, token) = token.expect("it was read before");
            match token {
                Token::Dict | Token::List => 1,
                Token::End => -1,
                Token::Bytes(_) | Token::Int(_) => 0,
            }
        });
        assert_eq!(open.sum::<i64>(), 0, "everything that opens is closed");
    }
}

/// The key of the dictionary that it stands in, if that is an inner one; its own key; its value.
type Entry<'a> = (Option<&'a [u8]>, &'a [u8], Value<'a>);

/// The entries of a dictionary and of those directly in it, which come first.
fn entries<'a>(value: Value<'a>) -> Vec<Entry<'a>> {
    let mut entries = Vec::new();
    for (outer, value) in value.as_dict().into_iter().flatten() {
        let inner = value.as_dict().into_iter().flatten();
        entries.extend(inner.map(|(key, value)| (Some(outer), key, value)));
        entries.push((None, outer, value));
    }
    entries
}

fn walk(value: Value<'_>, depth: usize) {
    let nests = value.as_list().is_some() || value.as_dict().is_some();
    assert!(depth > 0 || !nests, "deeper than was allowed");
    let kinds = [
        value.as_bytes().is_some(),
        value.as_list().is_some(),
        value.as_dict().is_some(),
        value.raw().starts_with(b"i"),
    ];
    assert_eq!(kinds.iter().filter(|is| **is).count(), 1);
    let _ = value.as_int();
    value
        .as_list()
        .into_iter()
        .flatten()
        .for_each(|item| walk(item, depth - 1));
    let mut dict = value.as_dict().into_iter().flatten();
    dict.by_ref().for_each(|(_, item)| walk(item, depth - 1));
    let keys = [b"a".as_slice(), b"name"];
    let _ = value.fields(keys);
    if let (Some(items), Some(mut ahead)) = (value.as_list(), value.as_list()) {
        for item in items {
            let fields = ahead.next_fields(keys).expect("as long as the list");
            assert_eq!(fields, item.fields(keys));
            if fields.is_err() {
                return;
            }
        }
        assert!(ahead.next_fields(keys).is_none());
    }
}

/// A torrent file: whatever is accepted keeps every promise that the disk and the engine rely on.
pub fn metainfo(bytes: &[u8]) {
    match Metainfo::parse(bytes) {
        Ok(torrent) => judge_torrent(&torrent),
        Err(error) => assert_is_clean(&error.message, 1000),
    }
    if let Ok(torrent) = Metainfo::from_info(bytes) {
        judge_torrent(&torrent);
        assert_eq!(torrent.info(), &bytes[..torrent.info().len()]);
    }
}

fn judge_torrent(torrent: &Metainfo) {
    let geometry = torrent.geometry;
    assert!(geometry.total() > 0 && geometry.piece_length() <= limits::PIECE_LENGTH_MAX);
    let of_files: u64 = torrent.files.iter().map(|file| file.length).sum();
    assert_eq!(of_files, geometry.total());
    assert_eq!(torrent.table.total(), geometry.total());
    torrent.hash(Piece(geometry.pieces() - 1));
    assert_is_element(&torrent.name);
    for file in &torrent.files {
        assert!(file.path.len() <= limits::PATH_MAX);
        file.path.split('/').for_each(assert_is_element);
    }
    // Only these come to lie on a disk.
    let regular = torrent.files.iter();
    let regular = regular.filter(|file| file.kind == FileKind::Regular);
    let mut paths: Vec<&str> = regular.map(|file| file.path.as_str()).collect();
    paths.sort_unstable();
    assert!(paths.windows(2).all(|pair| pair[0] != pair[1]), "{paths:?}");
    let trackers: usize = torrent.trackers.iter().map(Vec::len).sum();
    assert!(trackers <= limits::TRACKERS_MAX);
    for warning in &torrent.warnings {
        assert_is_clean(&warning.message, 1000);
    }
    let link = Magnet::of(torrent).to_string();
    let back = Magnet::parse(&link).expect("our own link");
    assert_eq!(back.info_hash, torrent.info_hash);
}

fn assert_is_element(element: &str) {
    assert!(!element.is_empty() && element != "." && element != "..");
    assert!(element.len() <= limits::NAME_MAX, "{element:?}");
    let bad = |c: char| c == '/' || c == '\\' || c.is_control() || escape::is_harmful(c);
    assert!(!element.contains(bad), "{element:?}");
}

/// What is shown to a person carries nothing that a terminal obeys.
fn assert_is_clean(text: &str, max: usize) {
    assert!(text.len() <= max, "{} bytes", text.len());
    assert!(!text.contains(escape::is_harmful), "{text:?}");
}

/// Names from torrents become safe names of files; clashes are resolved.
pub fn names(bytes: &[u8]) {
    let raw: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').take(600).collect();
    let mut paths = Vec::new();
    for name in raw {
        if let Some(name) = path_names::element(name) {
            assert_is_element(&name);
            assert_eq!(path_names::element(name.as_bytes()), Some(name), "again");
        }
        let element = path_names::path_element(name);
        assert_is_element(&element);
        assert_eq!(path_names::path_element(element.as_bytes()), element);
        paths.push(element.into_owned());
    }
    let mut lent: Vec<&mut String> = paths.iter_mut().collect();
    let renamed = path_names::resolve_clashes(&mut lent);
    paths.iter().for_each(|path| assert_is_element(path));
    if renamed.is_ok() {
        paths.sort_unstable();
        assert!(paths.windows(2).all(|pair| pair[0] != pair[1]), "{paths:?}");
    }
}

/// Magnet links: what is read is written as a link that means the same.
pub fn magnet(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match Magnet::parse(text) {
        Ok(link) => {
            assert!(link.trackers.len() <= limits::TRACKERS_MAX);
            let again = Magnet::parse(&link.to_string()).expect("our own link");
            assert_eq!(again, link);
        }
        Err(error) => assert_is_clean(&error.message, 1000),
    }
}

/// Handshakes: any prefix is judged the same way as the whole.
pub fn handshake(bytes: &[u8]) {
    let whole = greeting::decode_greeting(bytes);
    for end in 0..bytes.len().min(greeting::LEN) {
        match greeting::decode_greeting(&bytes[..end]) {
            Ok(None) => assert!(end < greeting::GREETING_LEN),
            Ok(Some(early)) => assert_eq!(whole, Ok(Some(early)), "decided early, and otherwise"),
            Err(_) => assert!(whole.is_err(), "refused early, then taken"),
        }
    }
    if let (Ok(Some(theirs)), Some(id)) = (whole, greeting::decode_peer_id(bytes)) {
        let ours = greeting::encode(theirs.reserved, theirs.info_hash, id);
        assert_eq!(ours.as_slice(), &bytes[..greeting::LEN]);
    }
    let mut source = Source::new(bytes);
    let mut reserved = Reserved::default();
    reserved.0.iter_mut().for_each(|byte| *byte = source.byte());
    let made = greeting::encode(reserved, InfoHash([1; 20]), PeerId([2; 20]));
    let read = greeting::decode_greeting(&made)
        .expect("ours")
        .expect("whole");
    assert_eq!(read.reserved, reserved);
}

/// Messages: what is decoded is encoded as the same bytes.
pub fn message_round_trip(bytes: &[u8]) {
    let Some((&first, mut rest)) = bytes.split_first() else {
        return;
    };
    let bitfield_len = usize::from(first);
    while let Ok(Decoded::Message { message, used }) = message::decode(rest, bitfield_len) {
        assert!(used >= 4 && used <= rest.len());
        let mut encoded = Vec::new();
        message.encode(&mut encoded);
        if !matches!(message, Message::Unknown(_)) {
            assert_eq!(encoded, rest[..used]);
        }
        let again = message::decode(&encoded, bitfield_len).expect("our own");
        let Decoded::Message { message: same, .. } = again else {
            panic!("our own message is cut");
        };
        assert_eq!(same, message);
        rest = &rest[used..];
    }
}

/// The extension handshake, and what is said in its extensions (BEP 9, BEP 11).
pub fn extension(bytes: &[u8]) {
    if let Ok(pex) = Pex::decode(bytes) {
        assert!(pex.added.len().max(pex.dropped.len()) <= limits::PEX_ADDED_MAX);
        assert!(pex.added.iter().all(|peer| is_peer_address(*peer)));
        let again = Pex::decode(&pex.encode()).expect("our own");
        let mut added = [pex.added, again.added];
        added.iter_mut().for_each(|peers| peers.sort_unstable());
        assert_eq!(added[0], added[1]);
    }
    if let Ok(message) = MetadataMessage::decode(bytes)
        && message != MetadataMessage::Unknown
    {
        let written = message.encode();
        let again = MetadataMessage::decode(&written).expect("our own");
        assert_eq!(again.encode(), written);
    }
    if let Ok(theirs) = ExtensionHandshake::decode(bytes) {
        assert_is_clean(&theirs.client, 600);
        assert!(theirs.reqq.is_none_or(|n| (1..=limits::REQQ).contains(&n)));
        assert!(theirs.port != Some(0));
    }
}

/// The configuration file.
pub fn config_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match ConfigFile::parse(text) {
        Ok(file) => {
            assert!(file.ports().is_none_or(|ports| !ports.is_empty()));
            for (_, line) in file.warnings(Path::new("config.json")) {
                assert_is_clean(&line, 8000);
            }
        }
        Err(error) => assert_is_clean(&error, 1000),
    }
}

/// A tracker's reply over HTTP, and the URLs that lead to one.
pub fn tracker_http(bytes: &[u8]) {
    match Reply::parse(bytes) {
        Ok(reply) => {
            let interval = reply.interval;
            assert!(interval >= limits::INTERVAL_MIN && interval <= limits::INTERVAL_MAX);
            judge_peers(&reply.peers);
            reply
                .warning
                .iter()
                .for_each(|text| assert_is_clean(text, 1000));
        }
        Err(ReplyError::Failure { reason, .. }) => assert_is_clean(&reason, 1000),
        Err(ReplyError::Malformed) => {}
    }
    let mut encoded = String::new();
    percent_encode(bytes, &mut encoded);
    assert_eq!(percent_decode(encoded.as_bytes()), bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (first, second) = text.split_once('\n').unwrap_or((text, "/announce"));
    if let Ok(url) = TrackerUrl::parse(first) {
        judge_url(&url);
        if let Ok(next) = url.join(second) {
            judge_url(&next);
        }
    }
}

fn judge_url(url: &TrackerUrl) {
    assert!(url.path_and_query.starts_with('/') || url.path_and_query.is_empty());
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
    assert!(plain(&url.path_and_query), "{:?}", url.path_and_query);
    assert!(plain(&url.host_header()), "{:?}", url.host_header());
    let announce = announce();
    let target = announce.target(&url.path_and_query, Some(&[0, 0xff]));
    assert!(plain(&target) && target.contains("info_hash=%"));
}

fn judge_peers(peers: &[SocketAddr]) {
    assert!(peers.len() <= limits::ADDRESSES_PER_ANNOUNCE);
    assert!(peers.iter().all(|peer| is_peer_address(*peer)));
}

fn announce() -> Announce {
    Announce {
        info_hash: InfoHash([0; 20]),
        peer_id: PeerId(*b"-MI0100-............"),
        port: 6881,
        uploaded: 0,
        downloaded: 0,
        left: 1,
        event: Event::Started,
        numwant: 50,
        key: 7,
    }
}

/// A tracker's datagrams.
pub fn tracker_udp(bytes: &[u8]) {
    for v6 in [false, true] {
        let Some(reply) = udp::decode(bytes, v6) else {
            continue;
        };
        assert_eq!(udp::transaction(bytes), Some(reply.transaction));
        match reply.body {
            udp::ReplyBody::Announced { peers, .. } => judge_peers(&peers),
            udp::ReplyBody::Scraped(entries) => assert!(entries.len() <= udp::SCRAPE_MAX),
            udp::ReplyBody::Refused(text) => assert_is_clean(&text, 1000),
            udp::ReplyBody::Connected { .. } => {}
        }
    }
}
