//! Messages of the DHT (BEP 5, 32, 33, 42, 43): datagrams to borrowed values and back.
//!
//! ```
//! use minitorrent::wire::krpc::{Ask, Body, Message};
//!
//! let ping = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
//! let message = Message::decode(ping)?;
//! assert!(matches!(&message.body, Body::Query(query) if query.ask == Ask::Ping));
//! assert_eq!(message.encode(), ping);
//! # Ok::<(), minitorrent::wire::krpc::KrpcError>(())
//! ```

use std::fmt;
use std::io::Write as _;
use std::net::SocketAddr;

use super::bencode::{BencodeError, Value};
use crate::base::ids::InfoHash;
use crate::base::limits;

pub use self::compact::{
    Bloom, Node, NodeId, push_address, push_node, read_address, read_nodes, read_nodes6,
};

mod compact;

#[cfg(test)]
mod tests;

/// One datagram.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    /// `t`: what the asker calls the exchange, 1 to [`TRANSACTION_MAX`] bytes.
    pub transaction: &'a [u8],
    /// `v`: the sender's program, at most [`TRANSACTION_MAX`] bytes; empty if it doesn't say.
    pub version: &'a [u8],
    /// `ip`: where the sender saw us, if it says (BEP 42).
    pub seen_as: Option<SocketAddr>,
    /// `ro`: the sender answers no queries (BEP 43).
    pub is_read_only: bool,
    /// What it says.
    pub body: Body<'a>,
}

impl<'a> Message<'a> {
    /// Reads a datagram of at most [`DATAGRAM_MAX`] bytes. Bytes behind the message, unknown keys and optional
    /// fields of a wrong type are passed over. Errors: [`KrpcError`], when the message can't be used at all.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, KrpcError> {
        let keys: [&[u8]; 9] = [b"t", b"y", b"q", b"a", b"r", b"e", b"v", b"ip", b"ro"];
        let [t, y, q, a, r, e, v, ip, ro] = parse(bytes)?.fields(keys)?;
        let body = match y.and_then(Value::as_bytes) {
            Some(b"q") => {
                let name = q.and_then(Value::as_bytes).ok_or(KrpcError::Kind)?;
                Body::Query(Query::decode(name, a.ok_or(KrpcError::Kind)?)?)
            }
            Some(b"r") => Body::Response(Response::decode(r.ok_or(KrpcError::Kind)?)?),
            Some(b"e") => decode_error(e),
            Some(_) | None => return Err(KrpcError::Kind),
        };
        Ok(Self {
            transaction: judge_transaction(t)?,
            version: short(v).unwrap_or_default(),
            seen_as: ip.and_then(Value::as_bytes).and_then(read_address),
            is_read_only: is_set(ro),
            body,
        })
    }

    /// The bytes of the message, keys sorted.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(256));
        out.raw(b"d");
        if let Body::Query(query) = &self.body {
            out.raw(b"1:ad");
            query.encode(&mut out);
            out.raw(b"e");
        }
        if let Body::Error { code, text } = &self.body {
            out.raw(b"1:el");
            out.int(*code);
            out.bytes(text);
            out.raw(b"e");
        }
        if let Some(address) = self.seen_as {
            let mut compact = Vec::with_capacity(18);
            push_address(&mut compact, address);
            out.entry(b"ip", &compact);
        }
        match &self.body {
            Body::Query(query) => out.entry(b"q", query.ask.name()),
            Body::Response(response) => {
                out.raw(b"1:rd");
                response.encode(&mut out);
                out.raw(b"e");
            }
            Body::Error { .. } => {}
        }
        if self.is_read_only {
            out.raw(b"2:roi1e");
        }
        out.entry(b"t", self.transaction);
        if !self.version.is_empty() {
            out.entry(b"v", self.version);
        }
        out.entry(
            b"y",
            match &self.body {
                Body::Query(_) => b"q",
                Body::Response(_) => b"r",
                Body::Error { .. } => b"e",
            },
        );
        out.raw(b"e");
        out.0
    }
}

/// What kind of message it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body<'a> {
    /// A question.
    Query(Query<'a>),
    /// Its answer.
    Response(Response<'a>),
    /// Its refusal.
    Error {
        /// 201 generic, 202 server, 203 protocol, 204 method unknown; 0 if it names none.
        code: i64,
        /// Text of the other side, not yet escaped.
        text: &'a [u8],
    },
}

/// A question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query<'a> {
    /// Who asks.
    pub id: NodeId,
    /// Which nodes it wants (BEP 32); if it doesn't say, those of the family it asks over.
    pub want: Option<Want>,
    /// What it asks.
    pub ask: Ask<'a>,
}

impl<'a> Query<'a> {
    fn decode(name: &'a [u8], arguments: Value<'a>) -> Result<Self, KrpcError> {
        let keys: [&[u8]; 9] = [
            b"id",
            b"target",
            b"info_hash",
            b"token",
            b"port",
            b"implied_port",
            b"want",
            b"scrape",
            b"seed",
        ];
        let [id, target, hash, token, port, implied, want, scrape, seed] =
            arguments.fields(keys)?;
        let hash = || read_id(hash).map(|id| InfoHash(id.0));
        let ask = match name {
            b"ping" => Ask::Ping,
            b"find_node" => Ask::FindNode {
                target: read_id(target)?,
            },
            b"get_peers" => Ask::GetPeers {
                info_hash: hash()?,
                scrape: is_set(scrape),
            },
            b"announce_peer" => Ask::AnnouncePeer {
                info_hash: hash()?,
                port: read_port(port, is_set(implied))?,
                token: judge_token(token)?.ok_or(KrpcError::Field("token"))?,
                is_seed: is_set(seed),
            },
            other => Ask::Unknown(other),
        };
        Ok(Self {
            id: read_id(id)?,
            want: want.and_then(Want::decode),
            ask,
        })
    }

    fn encode(&self, out: &mut Writer) {
        out.entry(b"id", &self.id.0);
        match &self.ask {
            Ask::Ping | Ask::Unknown(_) => {}
            Ask::FindNode { target } => out.entry(b"target", &target.0),
            Ask::GetPeers { info_hash, scrape } => {
                out.entry(b"info_hash", &info_hash.0);
                if *scrape {
                    out.raw(b"6:scrapei1e");
                }
            }
            Ask::AnnouncePeer {
                info_hash,
                port,
                token,
                is_seed,
            } => {
                if matches!(port, AnnouncedPort::Source { .. }) {
                    out.raw(b"12:implied_porti1e");
                }
                out.entry(b"info_hash", &info_hash.0);
                out.raw(b"4:port");
                out.int(i64::from(match port {
                    AnnouncedPort::Source { listen } => *listen,
                    AnnouncedPort::Given(port) => *port,
                }));
                if *is_seed {
                    out.raw(b"4:seedi1e");
                }
                out.entry(b"token", token);
            }
        }
        if let Some(want) = self.want {
            out.raw(b"4:wantl");
            out.raw(if want.v4 { b"2:n4" } else { b"" });
            out.raw(if want.v6 { b"2:n6" } else { b"" });
            out.raw(b"e");
        }
    }
}

/// What a query asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask<'a> {
    /// Whether one is there.
    Ping,
    /// Nodes near an id.
    FindNode {
        /// The id.
        target: NodeId,
    },
    /// Peers of a torrent, nodes near its info-hash, and a token to announce with.
    GetPeers {
        /// The torrent.
        info_hash: InfoHash,
        /// Whether counts are wanted too (BEP 33).
        scrape: bool,
    },
    /// To be remembered as a peer of a torrent.
    AnnouncePeer {
        /// The torrent.
        info_hash: InfoHash,
        /// Where the peer takes connections.
        port: AnnouncedPort,
        /// The token that `get_peers` gave.
        token: &'a [u8],
        /// Whether it has everything (BEP 33).
        is_seed: bool,
    },
    /// A query that BEP 5 doesn't name. It is encoded without arguments.
    Unknown(&'a [u8]),
}

impl<'a> Ask<'a> {
    /// The query's name on the wire.
    pub fn name(&self) -> &'a [u8] {
        match self {
            Ask::Ping => b"ping",
            Ask::FindNode { .. } => b"find_node",
            Ask::GetPeers { .. } => b"get_peers",
            Ask::AnnouncePeer { .. } => b"announce_peer",
            Ask::Unknown(name) => name,
        }
    }
}

/// Where an announced peer takes connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnnouncedPort {
    /// At the port that the datagram comes from (`implied_port`).
    Source {
        /// The port named beside it, for nodes that don't know `implied_port`.
        listen: u16,
    },
    /// At this port, never 0.
    Given(u16),
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response<'a> {
    /// Who answers.
    pub id: NodeId,
    /// IPv4 nodes, 26 bytes each; [`read_nodes`] reads them.
    pub nodes: Option<&'a [u8]>,
    /// IPv6 nodes, 38 bytes each (BEP 32); [`read_nodes6`] reads them.
    pub nodes6: Option<&'a [u8]>,
    /// What to announce with, at most [`TOKEN_MAX`] bytes.
    pub token: Option<&'a [u8]>,
    /// Peers.
    pub values: Option<Values<'a>>,
    /// Peers that have everything (BEP 33).
    pub seeds: Option<&'a Bloom>,
    /// Peers that don't (BEP 33).
    pub leechers: Option<&'a Bloom>,
}

impl<'a> Response<'a> {
    /// An answer that says nothing but who gives it.
    pub fn new(id: NodeId) -> Self {
        Self {
            id,
            nodes: None,
            nodes6: None,
            token: None,
            values: None,
            seeds: None,
            leechers: None,
        }
    }

    fn decode(fields: Value<'a>) -> Result<Self, KrpcError> {
        let keys: [&[u8]; 7] = [
            b"id", b"nodes", b"nodes6", b"token", b"values", b"BFsd", b"BFpe",
        ];
        let [id, nodes, nodes6, token, values, seeds, leechers] = fields.fields(keys)?;
        let bloom = |value: Option<Value<'a>>| value?.as_bytes()?.try_into().ok();
        Ok(Self {
            id: read_id(id)?,
            nodes: whole(nodes, 26, "nodes")?,
            nodes6: whole(nodes6, 38, "nodes6")?,
            token: judge_token(token)?,
            values: values
                .filter(|value| value.as_list().is_some())
                .map(|value| Values(value.raw())),
            seeds: bloom(seeds),
            leechers: bloom(leechers),
        })
    }

    fn encode(&self, out: &mut Writer) {
        if let Some(leechers) = self.leechers {
            out.entry(b"BFpe", leechers);
        }
        if let Some(seeds) = self.seeds {
            out.entry(b"BFsd", seeds);
        }
        out.entry(b"id", &self.id.0);
        if let Some(nodes) = self.nodes {
            out.entry(b"nodes", nodes);
        }
        if let Some(nodes) = self.nodes6 {
            out.entry(b"nodes6", nodes);
        }
        if let Some(token) = self.token {
            out.entry(b"token", token);
        }
        if let Some(values) = self.values {
            out.raw(b"6:values");
            out.raw(values.0);
        }
    }
}

/// A bencoded list of compact addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Values<'a>(&'a [u8]);

impl<'a> Values<'a> {
    /// Reads what [`write_values`] wrote; `None` if it is no list.
    pub fn new(list: &'a [u8]) -> Option<Self> {
        let (value, used) = Value::parse(list, 2).ok()?;
        (used == list.len() && value.as_list().is_some()).then_some(Self(list))
    }

    /// The addresses, those of other lengths than 6 and 18 left out.
    pub fn addresses(self) -> impl Iterator<Item = SocketAddr> + 'a {
        let list = Value::parse(self.0, limits::DEPTH_NETWORK).ok();
        let values = list.and_then(|(value, _)| value.as_list());
        let values = values.into_iter().flatten();
        values.filter_map(|value| value.as_bytes().and_then(read_address))
    }
}

/// Which nodes are wanted (BEP 32).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Want {
    /// `n4`: IPv4 nodes.
    pub v4: bool,
    /// `n6`: IPv6 nodes.
    pub v6: bool,
}

impl Want {
    fn decode(value: Value<'_>) -> Option<Self> {
        let mut want = Self {
            v4: false,
            v6: false,
        };
        for family in value.as_list()? {
            want.v4 |= family.as_bytes() == Some(b"n4");
            want.v6 |= family.as_bytes() == Some(b"n6");
        }
        (want.v4 || want.v6).then_some(want)
    }
}

/// A bencoded list of as many of `peers` as fit in `room` bytes, for [`Values::new`].
pub fn write_values(peers: impl Iterator<Item = SocketAddr>, room: usize) -> Vec<u8> {
    let mut out = Writer(b"l".to_vec());
    for peer in peers {
        let mut compact = Vec::with_capacity(18);
        push_address(&mut compact, peer);
        // The length's digits, its colon and the list's end.
        if out.0.len() + compact.len() + 4 > room {
            break;
        }
        out.bytes(&compact);
    }
    out.raw(b"e");
    out.0
}

/// The transaction id of a datagram whose rest may be nonsense.
pub fn transaction(bytes: &[u8]) -> Option<&[u8]> {
    let [t] = parse(bytes).ok()?.fields([b"t".as_slice()]).ok()?;
    judge_transaction(t).ok()
}

/// Why a datagram is no message of the DHT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KrpcError {
    /// Longer than [`DATAGRAM_MAX`].
    TooLong,
    /// Not bencoded, too deep, or a key stands twice.
    Bencode(BencodeError),
    /// `t` is missing, empty or too long.
    Transaction,
    /// `y`, or what it promises, is missing or of the wrong type.
    Kind,
    /// An id is missing or not 20 bytes long.
    Id,
    /// The named field is missing, too long or not a multiple of its entries.
    Field(&'static str),
}

impl From<BencodeError> for KrpcError {
    fn from(error: BencodeError) -> Self {
        Self::Bencode(error)
    }
}

impl fmt::Display for KrpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "longer than a packet"),
            Self::Bencode(error) => error.fmt(f),
            Self::Transaction => write!(f, "no proper transaction id"),
            Self::Kind => write!(f, "neither query, response nor error"),
            Self::Id => write!(f, "an id is not 20 bytes long"),
            Self::Field(name) => write!(f, "no proper {name}"),
        }
    }
}

impl std::error::Error for KrpcError {}

fn parse(bytes: &[u8]) -> Result<Value<'_>, KrpcError> {
    if bytes.len() > DATAGRAM_MAX {
        return Err(KrpcError::TooLong);
    }
    Ok(Value::parse(bytes, limits::DEPTH_NETWORK)?.0)
}

fn judge_transaction(value: Option<Value<'_>>) -> Result<&[u8], KrpcError> {
    short(value)
        .filter(|t| !t.is_empty())
        .ok_or(KrpcError::Transaction)
}

fn short(value: Option<Value<'_>>) -> Option<&[u8]> {
    value?
        .as_bytes()
        .filter(|bytes| bytes.len() <= TRANSACTION_MAX)
}

fn judge_token(value: Option<Value<'_>>) -> Result<Option<&[u8]>, KrpcError> {
    match value.map(Value::as_bytes) {
        None => Ok(None),
        Some(Some(token)) if token.len() <= TOKEN_MAX => Ok(Some(token)),
        Some(_) => Err(KrpcError::Field("token")),
    }
}

fn read_id(value: Option<Value<'_>>) -> Result<NodeId, KrpcError> {
    let bytes = value.and_then(Value::as_bytes).ok_or(KrpcError::Id)?;
    bytes.try_into().map(NodeId).map_err(|_| KrpcError::Id)
}

fn read_port(value: Option<Value<'_>>, implied: bool) -> Result<AnnouncedPort, KrpcError> {
    let port = value.and_then(|port| u16::try_from(port.as_int().ok()?).ok());
    match port {
        _ if implied => Ok(AnnouncedPort::Source {
            listen: port.unwrap_or(0),
        }),
        None | Some(0) => Err(KrpcError::Field("port")),
        Some(port) => Ok(AnnouncedPort::Given(port)),
    }
}

/// Some bytes that must consist of whole entries.
fn whole<'a>(
    value: Option<Value<'a>>,
    entry: usize,
    name: &'static str,
) -> Result<Option<&'a [u8]>, KrpcError> {
    match value.map(Value::as_bytes) {
        None => Ok(None),
        Some(Some(bytes)) if bytes.len() % entry == 0 => Ok(Some(bytes)),
        Some(_) => Err(KrpcError::Field(name)),
    }
}

fn is_set(value: Option<Value<'_>>) -> bool {
    value.is_some_and(|value| value.as_int().is_ok_and(|number| number != 0))
}

fn decode_error(value: Option<Value<'_>>) -> Body<'_> {
    let mut parts = value.and_then(Value::as_list).into_iter().flatten();
    let code = parts.next().and_then(|code| code.as_int().ok());
    let text = parts.next().and_then(Value::as_bytes);
    Body::Error {
        code: code.unwrap_or(0),
        text: text.unwrap_or_default(),
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn int(&mut self, number: i64) {
        // Writing to a vector never fails.
        let _ = write!(self.0, "i{number}e");
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let _ = write!(self.0, "{}:", bytes.len());
        self.raw(bytes);
    }

    fn entry(&mut self, key: &[u8], bytes: &[u8]) {
        self.bytes(key);
        self.bytes(bytes);
    }
}

/// Longest datagram that is looked at: an Ethernet packet; honest messages stay below it.
pub const DATAGRAM_MAX: usize = 1500;
/// Longest `t` and `v`: clients in the wild use 2 to 8 bytes.
pub const TRANSACTION_MAX: usize = 16;
/// Longest token: clients in the wild use 4 to 20 bytes, and we have to keep and return it.
pub const TOKEN_MAX: usize = 64;
