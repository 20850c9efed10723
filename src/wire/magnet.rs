//! Magnet links (BEP 9, BEP 53): what they name, and how they are written.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use crate::base::escape::escape_field;
use crate::base::ids::InfoHash;
use crate::base::limits;
use crate::wire::metainfo::{Metainfo, TRACKER_SCHEMES, WEB_SEED_SCHEMES, checked_url};
use crate::wire::names;

/// A torrent by its identity, with hints where to find it. Writes itself as a link.
///
/// ```
/// use minitorrent::wire::magnet::Magnet;
///
/// let link = "magnet:?xt=urn:btih:aabbccddeeff00112233445566778899aabbccdd&dn=a%20b&tr=udp%3A%2F%2Ft%3A80";
/// let magnet = Magnet::parse(link)?;
/// assert_eq!(magnet.name.as_deref(), Some("a b"));
/// assert_eq!(magnet.trackers, ["udp://t:80"]);
/// assert_eq!(magnet.to_string(), link);
/// # Ok::<(), minitorrent::wire::magnet::MagnetError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Magnet {
    /// The torrent's v1 identity.
    pub info_hash: InfoHash,
    /// The SHA-256 of the same `info`, if the link names a hybrid (BEP 52).
    pub info_hash_v2: Option<[u8; 32]>,
    /// What the link calls it, safe as one path element; to be shown only, the real name is in the metadata.
    pub name: Option<String>,
    /// Announce URLs, each once, at most 50; http, https and udp only.
    pub trackers: Vec<String>,
    /// Addresses of peers, literals only, each once, at most [`limits::ADDRESSES_PER_ANNOUNCE`].
    pub peers: Vec<SocketAddr>,
    /// Web seeds, each once, at most 50; http and https only.
    pub web_seeds: Vec<String>,
    /// The numbers of the files that are wanted (BEP 53), as ranges; empty for all of them.
    pub select: Vec<RangeInclusive<u32>>,
}

impl Magnet {
    /// A link with nothing but an identity.
    pub fn new(info_hash: InfoHash) -> Self {
        Self {
            info_hash,
            info_hash_v2: None,
            name: None,
            trackers: Vec::new(),
            peers: Vec::new(),
            web_seeds: Vec::new(),
            select: Vec::new(),
        }
    }

    /// A link with nothing but the identity of which this is the whole text: 40 hexadecimal digits, or 32 in base 32.
    pub fn from_hash(text: &str) -> Option<Self> {
        read_hash(text).map(Self::new)
    }

    /// The link to a torrent.
    pub fn of(torrent: &Metainfo) -> Self {
        Self {
            info_hash_v2: torrent.info_hash_v2,
            name: Some(torrent.name.clone()),
            trackers: torrent.trackers.concat(),
            web_seeds: torrent.web_seeds.clone(),
            ..Self::new(torrent.info_hash)
        }
    }

    /// Reads a link. Unknown parameters are passed over, trackers, web seeds and peers that can't be used are
    /// dropped. Errors: `magnet.syntax` with the reason, `magnet.v2-only`. One pass, bounded by
    /// [`limits::MAGNET_MAX`].
    pub fn parse(link: &str) -> Result<Self, MagnetError> {
        if link.len() > limits::MAGNET_MAX {
            return Err(syntax("the link is too long"));
        }
        let query = match link.get(..SCHEME.len()) {
            Some(scheme) if scheme.eq_ignore_ascii_case(SCHEME) => &link[SCHEME.len()..],
            _ => return Err(syntax("a magnet link begins with `magnet:?`")),
        };
        if link.contains(char::is_control) {
            return Err(syntax("there are control characters"));
        }
        let mut info_hash = None;
        let mut magnet = Self::new(InfoHash([0; 20]));
        for parameter in query.split('&') {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            // Links copied out of a page's source bring its escapes along.
            let key = key.strip_prefix("amp;").unwrap_or(key);
            // `tr.1` is as good as `tr`; `x.pe` is a name of its own.
            let name = match key.rsplit_once('.') {
                Some((name, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => name,
                _ => key,
            };
            match name {
                "xt" => magnet.take_topic(&decode(value)?, &mut info_hash)?,
                "dn" if magnet.name.is_none() => {
                    magnet.name = names::element(&decode(&value.replace('+', " "))?);
                }
                "tr" => take_url(&mut magnet.trackers, value, TRACKER_SCHEMES)?,
                "ws" => take_url(&mut magnet.web_seeds, value, WEB_SEED_SCHEMES)?,
                "x.pe" => magnet.take_peer(&decode(value)?),
                "so" => magnet.take_selection(&decode(value)?)?,
                _ => {}
            }
        }
        match (info_hash, magnet.info_hash_v2) {
            (Some(info_hash), _) => Ok(Self {
                info_hash,
                ..magnet
            }),
            (None, Some(_)) => Err(MagnetError {
                kind: "magnet.v2-only",
                message: "this link is for BitTorrent v2 only, which is not supported".to_owned(),
            }),
            (None, None) => Err(syntax("there is no info-hash (`xt=urn:btih:…`)")),
        }
    }

    fn take_topic(
        &mut self,
        topic: &[u8],
        info_hash: &mut Option<InfoHash>,
    ) -> Result<(), MagnetError> {
        let text = std::str::from_utf8(topic).map_err(|_| syntax("an `xt` is not UTF-8"))?;
        if let Some(hash) = strip_prefix_of_any_case(text, "urn:btih:") {
            let hash = read_hash(hash).ok_or_else(|| about("no info-hash", hash.as_bytes()))?;
            if info_hash.replace(hash).is_some_and(|before| before != hash) {
                return Err(syntax("there are two different info-hashes"));
            }
        } else if let Some(hash) = strip_prefix_of_any_case(text, "urn:btmh:") {
            // A multihash: SHA-256 (0x12) of 32 bytes (0x20), as BEP 52 has it.
            let hash = strip_prefix_of_any_case(hash, "1220")
                .and_then(from_hex)
                .ok_or_else(|| about("no v2 info-hash", hash.as_bytes()))?;
            let before = self.info_hash_v2.replace(hash);
            if before.is_some_and(|before| before != hash) {
                return Err(syntax("there are two different v2 info-hashes"));
            }
        }
        Ok(())
    }

    fn take_peer(&mut self, text: &[u8]) {
        // A host name would have to be resolved before anybody asked for it.
        let Some(address) = std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse().ok())
        else {
            return;
        };
        let address: SocketAddr = address;
        let host = address.ip().to_canonical();
        let is_broadcast = host == std::net::Ipv4Addr::BROADCAST;
        let is_usable =
            address.port() != 0 && !host.is_unspecified() && !host.is_multicast() && !is_broadcast;
        if is_usable
            && self.peers.len() < limits::ADDRESSES_PER_ANNOUNCE
            && !self.peers.contains(&address)
        {
            self.peers.push(address);
        }
    }

    fn take_selection(&mut self, text: &[u8]) -> Result<(), MagnetError> {
        let number = |text: &str| -> Option<u32> {
            let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| is_plain)
        };
        for part in text.split(|byte| *byte == b',') {
            let range = std::str::from_utf8(part).ok().and_then(|part| {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(first..=last)
            });
            let range = range.ok_or_else(|| about("no file number", part))?;
            if self.select.len() == SELECT_MAX {
                return Err(syntax("too many files are selected one by one"));
            }
            self.select.push(range);
        }
        Ok(())
    }
}

impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}xt=urn:btih:{}", self.info_hash)?;
        if let Some(hash) = self.info_hash_v2 {
            f.write_str("&xt=urn:btmh:1220")?;
            hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        }
        let name = self.name.iter().map(|name| ("dn", name.clone()));
        let trackers = self.trackers.iter().map(|url| ("tr", url.clone()));
        let web_seeds = self.web_seeds.iter().map(|url| ("ws", url.clone()));
        let peers = self.peers.iter().map(|peer| ("x.pe", peer.to_string()));
        for (key, value) in name.chain(trackers).chain(web_seeds).chain(peers) {
            write!(f, "&{key}=")?;
            encode(f, &value)?;
        }
        for (index, range) in self.select.iter().enumerate() {
            f.write_str(if index == 0 { "&so=" } else { "," })?;
            write!(f, "{}", range.start())?;
            if range.start() != range.end() {
                write!(f, "-{}", range.end())?;
            }
        }
        Ok(())
    }
}

/// Why a text is no magnet link that can be followed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MagnetError {
    /// The kind: `magnet.syntax` or `magnet.v2-only`.
    pub kind: &'static str,
    /// One line, escaped.
    pub message: String,
}

impl fmt::Display for MagnetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for MagnetError {}

fn syntax(message: &str) -> MagnetError {
    MagnetError {
        kind: "magnet.syntax",
        message: message.to_owned(),
    }
}

fn about(what: &str, raw: &[u8]) -> MagnetError {
    syntax(&format!("{what}: `{}`", escape_field(raw)))
}

fn take_url(urls: &mut Vec<String>, value: &str, schemes: &[&str]) -> Result<(), MagnetError> {
    let raw = decode(value)?;
    if let Ok(url) = checked_url(&raw, schemes)
        && urls.len() < limits::TRACKERS_MAX
        && !urls.iter().any(|known| known == url)
    {
        urls.push(url.to_owned());
    }
    Ok(())
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Result<Vec<u8>, MagnetError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let [high, low, tail @ ..] = tail else {
            return Err(syntax("an escape (`%`) is cut short"));
        };
        let byte = hex_byte(*high, *low);
        bytes.push(byte.ok_or_else(|| about("no escape", &[b'%', *high, *low]))?);
        rest = tail;
    }
    Ok(bytes)
}

fn encode(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    text.bytes().try_for_each(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            write!(f, "{}", char::from(byte))
        }
        _ => write!(f, "%{byte:02X}"),
    })
}

fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = hex_byte(pair[0], pair[1])?;
    }
    Some(hash)
}

/// 32 digits of base32 (RFC 4648) of either case: the old form of an info-hash.
fn read_hash(text: &str) -> Option<InfoHash> {
    InfoHash::from_hex(text).or_else(|| from_base32(text).map(InfoHash))
}

fn from_base32(text: &str) -> Option<[u8; 20]> {
    let digits: &[u8; 32] = text.as_bytes().try_into().ok()?;
    let mut hash = [0; 20];
    for (five, eight) in hash.chunks_exact_mut(5).zip(digits.chunks_exact(8)) {
        let mut bits = 0u64;
        for digit in eight {
            let value = match digit.to_ascii_uppercase() {
                letter @ b'A'..=b'Z' => letter - b'A',
                number @ b'2'..=b'7' => number - b'2' + 26,
                _ => return None,
            };
            bits = bits << 5 | u64::from(value);
        }
        five.copy_from_slice(&bits.to_be_bytes()[3..]);
    }
    Some(hash)
}

fn strip_prefix_of_any_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix)
        .then(|| &text[prefix.len()..])
}

const SCHEME: &str = "magnet:?";
/// Ranges of files in one link.
const SELECT_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "cd1b02e2e2a9e6f5b1c8d3a4f50617283940abcd";
    const XT: &str = "magnet:?xt=urn:btih:cd1b02e2e2a9e6f5b1c8d3a4f50617283940abcd";

    fn with(parameters: &str) -> Result<Magnet, MagnetError> {
        Magnet::parse(&[XT, parameters].concat())
    }

    fn refused(link: &str) -> (&'static str, String) {
        let error = Magnet::parse(link).expect_err("must be refused");
        (error.kind, error.message)
    }

    #[test]
    fn an_info_hash_is_read_in_hex_and_base32_of_any_case() {
        let plain = Magnet::new(InfoHash::from_hex(HEX).expect("40 digits"));
        assert_eq!(Magnet::parse(XT), Ok(plain.clone()));
        let base32 = "ZUNQFYXCVHTPLMOI2OSPKBQXFA4UBK6N";
        for hash in [&HEX.to_uppercase(), base32, &base32.to_lowercase()] {
            let link = format!("MAGNET:?dn=&xt.1=URN:BTIH:{hash}&xt={}", "urn:tree:tiger:X");
            assert_eq!(Magnet::parse(&link), Ok(plain.clone()), "{hash}");
        }
        let twice = format!("{XT}&xt=urn:btih:{base32}&unknown=%&x.y");
        assert_eq!(Magnet::parse(&twice), Ok(plain));
    }

    #[test]
    fn malformed_links_are_refused_with_the_reason() {
        let other = HEX.replace('c', "d");
        for (link, reason) in [
            ("", "a magnet link begins with `magnet:?`"),
            ("magnet:", "a magnet link begins with `magnet:?`"),
            ("http://x/?xt=1", "a magnet link begins with `magnet:?`"),
            ("magnet:?", "there is no info-hash (`xt=urn:btih:…`)"),
            (
                "magnet:?dn=x&tr=udp://a:1",
                "there is no info-hash (`xt=urn:btih:…`)",
            ),
            ("magnet:?xt=urn:btih:", "no info-hash: ``"),
            (
                &XT[..XT.len() - 1],
                &format!("no info-hash: `{}`", &HEX[..39]),
            ),
            (&format!("{XT}0"), &format!("no info-hash: `{HEX}0`")),
            (
                "magnet:?xt=urn:btih:ZUNQFYXCVHTPLMOI2OSPKBQXFA4UBK61",
                "no info-hash: `ZUNQFYXCVHTPLMOI2OSPKBQXFA4UBK61`",
            ),
            ("magnet:?xt=urn:btmh:1220ab", "no v2 info-hash: `1220ab`"),
            (
                &format!("{XT}&xt=urn:btih:{other}"),
                "there are two different info-hashes",
            ),
            (&format!("{XT}&dn=a%4"), "an escape (`%`) is cut short"),
            (&format!("{XT}&tr=a%"), "an escape (`%`) is cut short"),
            (&format!("{XT}&dn=a%\u{1b}"), "there are control characters"),
            (&format!("{XT}&dn=a%+1"), "no escape: `% 1`"),
            (&format!("{XT}&dn=a\0"), "there are control characters"),
            (&format!("{XT}&xt=%ff"), "an `xt` is not UTF-8"),
            (&format!("{XT}&so=1,x"), "no file number: `x`"),
            (&format!("{XT}&so=5-4"), "no file number: `5-4`"),
            (&format!("{XT}&so=+1"), "no file number: `+1`"),
            (&format!("{XT}&so="), "no file number: ``"),
            (
                &format!("{XT}&so={}1", "1,".repeat(1000)),
                "too many files are selected one by one",
            ),
            (
                &"x".repeat(1_000_000),
                "a magnet link begins with `magnet:?`",
            ),
            (
                &format!("{XT}&x={}", "x".repeat(1 << 20)),
                "the link is too long",
            ),
        ] {
            let (kind, message) = refused(link);
            assert_eq!((kind, message.as_str()), ("magnet.syntax", reason));
        }
    }

    #[test]
    fn a_link_for_version_2_only_is_refused_by_name_and_a_hybrid_is_read() {
        let v2 = format!("xt=urn:btmh:1220{}", "Ab".repeat(32));
        assert_eq!(refused(&format!("magnet:?{v2}")).0, "magnet.v2-only");
        let hybrid = with(&format!("&{v2}")).expect("has a v1 half");
        assert_eq!(hybrid.info_hash_v2, Some([0xab; 32]));
        let two = with(&format!("&{v2}&xt=urn:btmh:1220{}", "cd".repeat(32)));
        assert_eq!(two.expect_err("ambiguous").kind, "magnet.syntax");
    }

    #[test]
    fn a_name_is_made_safe_to_show() {
        for (written, shown) in [
            ("..%2F..%2Fx", Some("....x")),
            ("a+b%20c%2B", Some("a b c+")),
            ("%1b%5b31m%00$(reboot)", Some("_[31m_$(reboot)")),
            ("%e2%80%aex%ff", Some("x_")),
            ("..", None),
            ("", None),
        ] {
            let magnet = with(&format!("&dn={written}&amp;dn=")).expect("reads");
            assert_eq!(magnet.name.as_deref(), shown, "{written}");
        }
    }

    #[test]
    fn trackers_and_web_seeds_are_sieved_and_capped() {
        let many: String = (0..10_000)
            .map(|n| format!("&tr.{n}=http://t/{n}?a%26b+c"))
            .collect();
        let magnet = with(&many).expect("reads");
        assert_eq!(magnet.trackers.len(), 50);
        assert_eq!(magnet.trackers[49], "http://t/49?a&b+c");
        let magnet = with(
            "&tr=wss://a/&tr=udp%3a%2f%2fb:1&tr=udp://b:1&tr=http://c/%0d%0ax&tr=file:///etc/passwd\
             &ws=udp://d:1&ws=https://e/f%20g&ws=https://e/f%20g",
        );
        let magnet = magnet.expect("reads");
        assert_eq!(magnet.trackers, ["udp://b:1"]);
        assert_eq!(magnet.web_seeds, ["https://e/f g"]);
    }

    #[test]
    fn only_literal_addresses_of_peers_are_kept() {
        let magnet = with(
            "&x.pe=1.2.3.4:5&x.pe=1.2.3.4:5&x.pe=%5B2001:db8::1%5D:6&x.pe=host.example:7&x.pe=1.2.3.4:0\
             &x.pe=0.0.0.0:1&x.pe=[::]:1&x.pe=224.0.0.1:1&x.pe=[ff02::1]:1&x.pe=255.255.255.255:1\
             &x.pe=[::ffff:0.0.0.0]:1&x.pe=1.2.3.4:65536&x.pe=&x.pe=%ff",
        );
        let peers: Vec<String> = magnet
            .expect("reads")
            .peers
            .iter()
            .map(|p| p.to_string())
            .collect();
        assert_eq!(peers, ["1.2.3.4:5", "[2001:db8::1]:6"]);
        let many: String = (1..10_001)
            .map(|port| format!("&x.pe=1.2.3.4:{port}"))
            .collect();
        assert_eq!(with(&many).expect("reads").peers.len(), 200);
    }

    #[test]
    fn a_link_is_written_as_it_is_read() {
        let link = format!(
            "{XT}&xt=urn:btmh:1220{}&dn=a%20%C3%A9%26&tr=http%3A%2F%2Fa%2F%3Fb%3Dc%2526&tr=udp%3A%2F%2Fd%3A1\
             &ws=https%3A%2F%2Fe%2F&x.pe=1.2.3.4%3A5&so=0,2,4-8",
            "ab".repeat(32)
        );
        let magnet = Magnet::parse(&link).expect("reads");
        assert_eq!(magnet.select, [0..=0, 2..=2, 4..=8]);
        assert_eq!(magnet.trackers[0], "http://a/?b=c%26");
        assert_eq!(magnet.to_string(), link);
    }

    #[test]
    fn a_torrent_gives_a_link_with_its_name_and_sources() {
        let file = b"d13:announce-listll8:http://a9:udp://b:1el8:http://cee4:info\
            d6:lengthi1e4:name3:x&y12:piece lengthi1e6:pieces20:aaaaaaaaaaaaaaaaaaaae8:url-list8:http://de";
        let torrent = Metainfo::parse(file).expect("a torrent");
        let link = Magnet::of(&torrent).to_string();
        let tail =
            "&dn=x%26y&tr=http%3A%2F%2Fa&tr=udp%3A%2F%2Fb%3A1&tr=http%3A%2F%2Fc&ws=http%3A%2F%2Fd";
        assert_eq!(
            link,
            format!("magnet:?xt=urn:btih:{}{tail}", torrent.info_hash)
        );
    }
}
