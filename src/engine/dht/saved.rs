//! Nodes that survive a restart, as bytes: a name, a checksum, two ids, two lists.

use crate::base::crc32c::crc32c;
use crate::wire::krpc::{self, Node, NodeId};

/// What is saved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Saved {
    /// Our ids, over IPv4 and IPv6.
    pub(super) ids: [NodeId; 2],
    /// Nodes, over IPv4 and IPv6, at most [`SAVED_MAX`] each.
    pub(super) nodes: [Vec<Node>; 2],
}

impl Saved {
    /// The bytes, at most 13 KB.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for id in self.ids {
            body.extend_from_slice(&id.0);
        }
        for nodes in &self.nodes {
            let nodes = &nodes[..nodes.len().min(SAVED_MAX)];
            body.extend_from_slice(&(nodes.len() as u16).to_be_bytes());
            for node in nodes {
                krpc::push_node(&mut body, *node);
            }
        }
        let mut bytes = NAME.to_vec();
        bytes.extend_from_slice(&crc32c(&body).to_be_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }

    /// Reads what [`Saved::encode`] wrote, to the last byte; anything else is `None`.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(NAME)?;
        let (sum, mut body) = rest.split_first_chunk::<4>()?;
        if body.len() > BODY_MAX || u32::from_be_bytes(*sum) != crc32c(body) {
            return None;
        }
        let mut ids = [NodeId([0; 20]); 2];
        for id in &mut ids {
            let (bytes, rest) = body.split_first_chunk::<20>()?;
            id.0 = *bytes;
            body = rest;
        }
        let mut nodes = [Vec::new(), Vec::new()];
        for (nodes, size) in nodes.iter_mut().zip([26, 38]) {
            let (count, rest) = body.split_first_chunk::<2>()?;
            let count = usize::from(u16::from_be_bytes(*count));
            if count > SAVED_MAX {
                return None;
            }
            let (list, rest) = rest.split_at_checked(count * size)?;
            match size {
                26 => nodes.extend(krpc::read_nodes(list)),
                _ => nodes.extend(krpc::read_nodes6(list)),
            }
            body = rest;
        }
        body.is_empty().then_some(Self { ids, nodes })
    }
}

/// The format and its version.
const NAME: &[u8] = b"minitorrent dht 1\n";
/// Nodes of a family that are saved.
pub(super) const SAVED_MAX: usize = 200;
const BODY_MAX: usize = 40 + 4 + SAVED_MAX * (26 + 38);

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> Saved {
        let node = |n: u8| Node {
            id: NodeId([n; 20]),
            address: ([10, 0, 0, n], 6881).into(),
        };
        let six = Node {
            id: NodeId([9; 20]),
            address: ([0x2a01, 0, 0, 0, 0, 0, 0, 1], 6881).into(),
        };
        Saved {
            ids: [NodeId([1; 20]), NodeId([2; 20])],
            nodes: [vec![node(3), node(4)], vec![six]],
        }
    }

    #[test]
    fn what_is_saved_is_read_and_every_cut_flip_and_addition_is_noticed() {
        let bytes = saved().encode();
        assert_eq!(bytes.len(), 18 + 4 + 40 + 4 + 2 * 26 + 38);
        assert_eq!(Saved::decode(&bytes), Some(saved()));
        for at in 0..bytes.len() {
            assert_eq!(Saved::decode(&bytes[..at]), None, "cut at {at}");
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                assert_eq!(Saved::decode(&flipped), None, "bit {bit} of {at}");
            }
        }
        let longer = [bytes.as_slice(), b"x"].concat();
        assert_eq!(Saved::decode(&longer), None);
        assert_eq!(Saved::decode(&vec![0; 1 << 20]), None);
    }

    #[test]
    fn two_hundred_nodes_of_a_family_are_saved() {
        let mut many = saved();
        many.nodes[0] = vec![many.nodes[0][0]; 1000];
        let read = Saved::decode(&many.encode()).expect("our own");
        assert_eq!(read.nodes[0].len(), SAVED_MAX);
    }
}
