//! Node ids that belong to an address (BEP 42), and what addresses are worth.

use std::net::{IpAddr, SocketAddr};

use crate::base::crc32c::crc32c;
use crate::base::rng::Rng;
use crate::wire::krpc::NodeId;
use crate::wire::tracker_http::url::is_local;

/// Whether a node at `ip` may have this id: its first 21 bits follow from the address and its last byte. Local
/// addresses may have any.
pub(super) fn is_secure(id: NodeId, ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    is_local(ip) || (prefix(ip, id.0[19]) ^ u32::from_be_bytes(head(id))) & PREFIX == 0
}

/// A random id that a node at `ip` may have.
pub(super) fn secure_id(ip: IpAddr, rng: &mut Rng) -> NodeId {
    let mut id = NodeId(rng.bytes());
    let fixed = prefix(ip.to_canonical(), id.0[19]) & PREFIX;
    let free = u32::from_be_bytes(head(id)) & !PREFIX;
    id.0[..4].copy_from_slice(&(fixed | free).to_be_bytes());
    id
}

/// Whether a node or peer can be there at all.
pub(super) fn is_usable(address: SocketAddr) -> bool {
    let ip = address.ip();
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast
}

/// Whether what `teller` says of `address` can be believed: nothing public may send us into a local network.
pub(super) fn is_believable(teller: SocketAddr, address: SocketAddr) -> bool {
    is_usable(address) && (is_local(teller.ip()) || !is_local(address.ip()))
}

/// What one person has: an IPv4 address, a /64 of IPv6.
pub(super) fn place(ip: IpAddr) -> u64 {
    match ip {
        IpAddr::V4(ip) => u64::from(u32::from(ip)),
        IpAddr::V6(ip) => (u128::from(ip) >> 64) as u64,
    }
}

/// What one network has: a /24 of IPv4, a /48 of IPv6.
pub(super) fn net(ip: IpAddr) -> u64 {
    match ip {
        IpAddr::V4(_) => place(ip) >> 8,
        IpAddr::V6(_) => place(ip) >> 16,
    }
}

fn prefix(ip: IpAddr, chance: u8) -> u32 {
    let chance = chance & 7;
    match ip {
        IpAddr::V4(ip) => {
            let masked = u32::from(ip) & 0x030f_3fff | u32::from(chance) << 29;
            crc32c(&masked.to_be_bytes())
        }
        IpAddr::V6(_) => {
            let masked = place(ip) & 0x0103_070f_1f3f_7fff | u64::from(chance) << 61;
            crc32c(&masked.to_be_bytes())
        }
    }
}

fn head(id: NodeId) -> [u8; 4] {
    [id.0[0], id.0[1], id.0[2], id.0[3]]
}

/// The bits that the address decides.
const PREFIX: u32 = 0xffff_f800;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_bep_42_are_secure_and_others_are_not() {
        for (ip, head, last) in [
            ("124.31.75.21", [0x5f, 0xbf, 0xbf], 1),
            ("21.75.31.124", [0x5a, 0x3c, 0xe9], 86),
            ("65.23.51.170", [0xa5, 0xd4, 0x32], 22),
            ("84.124.73.14", [0x1b, 0x03, 0x21], 65),
            ("43.213.53.83", [0xe5, 0x6f, 0x6c], 90),
        ] {
            let ip: IpAddr = ip.parse().expect("an address");
            let mut id = NodeId([0x55; 20]);
            id.0[..3].copy_from_slice(&head);
            id.0[19] = last;
            assert!(is_secure(id, ip), "{ip}");
            id.0[2] ^= 0x08;
            assert!(!is_secure(id, ip), "{ip}");
            id.0[2] ^= 0x0f;
            assert!(
                is_secure(id, ip),
                "{ip}: the last three bits of the third byte are free"
            );
        }
    }

    #[test]
    fn an_id_made_for_an_address_is_secure_there_only_and_local_addresses_are_exempt() {
        let mut rng = Rng::new([4; 32]);
        for (ip, other) in [("9.8.7.6", "9.8.7.5"), ("2a01:1::1", "2a01:2::1")] {
            let (ip, other): (IpAddr, IpAddr) =
                (ip.parse().expect("one"), other.parse().expect("two"));
            let id = secure_id(ip, &mut rng);
            assert!(is_secure(id, ip) && !is_secure(id, other));
            assert!(is_secure(id, [10, 0, 0, 1].into()));
            assert!(is_secure(id, [127, 0, 0, 1].into()));
        }
    }
}
