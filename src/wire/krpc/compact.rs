//! Node ids, and nodes and addresses as the few bytes they take on the wire (BEP 5, 32).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// A node's name, in the same space as info-hashes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 20]);

impl NodeId {
    /// The distance of two ids (BEP 5): exclusive or, smaller is nearer.
    pub fn distance(self, other: Self) -> [u8; 20] {
        std::array::from_fn(|at| self.0[at] ^ other.0[at])
    }

    /// How many leading bits two ids share: 0 to 160.
    pub fn shared_bits(self, other: Self) -> usize {
        let mut bits = 0;
        for byte in self.distance(other) {
            bits += byte.leading_zeros() as usize;
            if byte != 0 {
                break;
            }
        }
        bits
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A node: its id and where it listens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Where it listens.
    pub address: SocketAddr,
}

/// A set of addresses that can be counted and united (BEP 33).
pub type Bloom = [u8; 256];

/// Reads compact IPv4 nodes; a rest shorter than 26 bytes is left out.
pub fn read_nodes(bytes: &[u8]) -> impl Iterator<Item = Node> {
    bytes.chunks_exact(26).filter_map(read_node)
}

/// Reads compact IPv6 nodes (BEP 32); a rest shorter than 38 bytes is left out.
pub fn read_nodes6(bytes: &[u8]) -> impl Iterator<Item = Node> {
    bytes.chunks_exact(38).filter_map(read_node)
}

/// Appends a node as 26 or, over IPv6, 38 bytes.
pub fn push_node(out: &mut Vec<u8>, node: Node) {
    out.extend_from_slice(&node.id.0);
    push_address(out, node.address);
}

/// Reads a compact address of 6 or 18 bytes.
pub fn read_address(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_last_chunk::<2>()?;
    let port = u16::from_be_bytes(*port);
    if let Ok(ip) = <[u8; 4]>::try_from(ip) {
        return Some((Ipv4Addr::from(ip), port).into());
    }
    let ip = <[u8; 16]>::try_from(ip).ok()?;
    Some((Ipv6Addr::from(ip), port).into())
}

/// Appends an address as 6 or 18 bytes.
pub fn push_address(out: &mut Vec<u8>, address: SocketAddr) {
    match address {
        SocketAddr::V4(address) => out.extend_from_slice(&address.ip().octets()),
        SocketAddr::V6(address) => out.extend_from_slice(&address.ip().octets()),
    }
    out.extend_from_slice(&address.port().to_be_bytes());
}

fn read_node(bytes: &[u8]) -> Option<Node> {
    let (id, address) = bytes.split_first_chunk::<20>()?;
    Some(Node {
        id: NodeId(*id),
        address: read_address(address)?,
    })
}
