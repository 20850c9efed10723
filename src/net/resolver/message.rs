//! DNS messages (RFC 1035): one question out, what matters of its answer in.
//!
//! The codec is a library's. What it is given is bounded first: one question, [`limits::DNS_RECORDS_MAX`]
//! records, and none of the additional section.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};

use crate::base::limits;

/// What kind of address a question is after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Family {
    /// A records.
    V4,
    /// AAAA records (RFC 3596).
    V6,
}

impl Family {
    fn record(self) -> TYPE {
        match self {
            Self::V4 => TYPE::A,
            Self::V6 => TYPE::AAAA,
        }
    }
}

/// What a message is to the question it may answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Reply {
    /// Not an answer to this question: somebody else's, or forged.
    Foreign,
    /// The server can't answer, or what it says makes no sense.
    Failure,
    /// The answer did not fit; these addresses did.
    Truncated(Vec<IpAddr>),
    /// There are addresses, at most [`limits::DNS_ADDRESSES_MAX`], good for so many seconds.
    Addresses(Vec<IpAddr>, u32),
    /// The name has no address of this family; for so many seconds, if the server says.
    NoAddress(Option<u32>),
    /// There is no such name (NXDOMAIN).
    NoName(Option<u32>),
}

/// The bytes of a question; none if `name` can't be put in one.
pub(super) fn query(id: u16, name: &str, family: Family) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(
        Name::new(name).ok()?,
        QTYPE::TYPE(family.record()),
        QCLASS::CLASS(CLASS::IN),
        false,
    ));
    packet.build_bytes_vec().ok()
}

/// Reads `bytes` as the answer to `query(id, name, family)`.
pub(super) fn read(bytes: &[u8], id: u16, name: &str, family: Family) -> Reply {
    let Some((head, body)) = bytes.split_first_chunk::<HEAD>() else {
        return Reply::Foreign;
    };
    let is_reply = head[2] & 0x80 != 0 && head[2] & 0x78 == 0; // QR, and the opcode of a plain query.
    if !is_reply || head[..2] != id.to_be_bytes() {
        return Reply::Foreign;
    }
    let counts = [4, 6, 8].map(|at| u16::from_be_bytes([head[at], head[at + 1]]));
    let [questions, answers, authorities] = counts;
    // A server that can't read the question may leave it out.
    let failed = head[3] & 0x0f != 0 && head[3] & 0x0f != NXDOMAIN;
    if questions == 0 && failed {
        return Reply::Failure;
    }
    if questions != 1 || bytes.len() > MESSAGE_MAX {
        return Reply::Foreign;
    }
    // The codec makes room for as many records as the head promises: the promise is cut first.
    let kept_answers = answers.min(limits::DNS_RECORDS_MAX);
    let kept_authorities = match answers == kept_answers {
        true => authorities.min(AUTHORITIES_MAX),
        false => 0,
    };
    let mut bounded = Vec::with_capacity(bytes.len());
    bounded.extend_from_slice(&head[..6]);
    bounded.extend_from_slice(&kept_answers.to_be_bytes());
    bounded.extend_from_slice(&kept_authorities.to_be_bytes());
    bounded.extend_from_slice(&[0, 0]);
    bounded.extend_from_slice(body);
    let is_truncated = head[2] & 0x02 != 0;
    match Packet::parse(&bounded) {
        Ok(packet) => judge(&packet, name, family, is_truncated),
        // Some servers cut a truncated answer in the middle of a record.
        Err(_) if is_truncated && asks_the_same(body, name, family) => Reply::Truncated(Vec::new()),
        Err(_) if asks_the_same(body, name, family) => Reply::Failure,
        Err(_) => Reply::Foreign,
    }
}

/// Whether an undecodable message at least begins with our question.
fn asks_the_same(body: &[u8], name: &str, family: Family) -> bool {
    let Some(ours) = query(0, name, family) else {
        return false;
    };
    let question = &ours[HEAD..];
    body.get(..question.len())
        .is_some_and(|theirs| theirs.eq_ignore_ascii_case(question))
}

/// Says what a message that was decoded means. Walks at most [`limits::DNS_ALIASES_MAX`] aliases.
fn judge(packet: &Packet<'_>, name: &str, family: Family, is_truncated: bool) -> Reply {
    let Ok(asked) = Name::new(name) else {
        return Reply::Foreign;
    };
    let ours = |question: &Question<'_>| {
        question.qname == asked
            && question.qtype == QTYPE::TYPE(family.record())
            && question.qclass == QCLASS::CLASS(CLASS::IN)
    };
    if !packet.questions.first().is_some_and(ours) {
        return Reply::Foreign;
    }
    if !matches!(packet.rcode(), RCODE::NoError | RCODE::NameError) {
        return Reply::Failure;
    }
    let mut owner = &asked;
    let mut ttl = u32::MAX;
    let mut addresses = Vec::new();
    for aliases in 0.. {
        let records = packet.answers.iter();
        let mut alias = None;
        for record in records.filter(|r| r.name == *owner && r.class == CLASS::IN) {
            let address = match (&record.rdata, family) {
                (RData::A(a), Family::V4) => IpAddr::V4(Ipv4Addr::from(a.address)),
                (RData::AAAA(a), Family::V6) => IpAddr::V6(Ipv6Addr::from(a.address)),
                (RData::CNAME(to), _) => {
                    alias = Some((&to.0, record.ttl));
                    continue;
                }
                _ => continue,
            };
            ttl = ttl.min(seconds(record.ttl));
            // Block lists answer with no address at all, and connecting to it would reach this machine.
            if !address.is_unspecified() && !addresses.contains(&address) {
                addresses.push(address);
            }
            if addresses.len() == limits::DNS_ADDRESSES_MAX {
                break;
            }
        }
        match alias {
            _ if !addresses.is_empty() => break,
            None => break,
            Some(_) if aliases == limits::DNS_ALIASES_MAX => return Reply::Failure,
            Some((to, alias_ttl)) => {
                ttl = ttl.min(seconds(alias_ttl));
                owner = to;
            }
        }
    }
    if is_truncated {
        return Reply::Truncated(addresses);
    }
    if !addresses.is_empty() {
        return Reply::Addresses(addresses, ttl);
    }
    // RFC 2308: how long a no is good is the lesser of the authority's TTL and its minimum.
    let no_for = packet.name_servers.iter().find_map(|r| match &r.rdata {
        RData::SOA(soa) => Some(seconds(r.ttl).min(seconds(soa.minimum))),
        _ => None,
    });
    match packet.rcode() {
        RCODE::NameError => Reply::NoName(no_for),
        _ => Reply::NoAddress(no_for),
    }
}

/// RFC 2181: a time to live with its highest bit set is none.
fn seconds(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl }
}

/// Bytes of a message's head.
const HEAD: usize = 12;
/// The longest message: its length is 16 bits over TCP.
const MESSAGE_MAX: usize = 65_535;
/// The response code "no such name".
const NXDOMAIN: u8 = 3;
/// Authority records looked at: a no has one.
const AUTHORITIES_MAX: u16 = 16;
