//! Pieces that a newcomer may ask for while it is choked (BEP 6, "allowed fast").
//!
//! They are a function of its address, so that it can't collect them by coming again, nor two seeds give it twice as
//! many. A piece that nobody else has is never among them: its only source has better uses for its line than to
//! send it past the choker.

use std::net::IpAddr;

use sha1::{Digest as _, Sha1};

use super::{Context, Torrent};
use crate::base::ids::{InfoHash, Piece};
use crate::base::limits;
use crate::engine::peer::Peer;
use crate::wire::message::Message;

impl Torrent {
    /// Tells a peer that has hardly anything what it may ask for while it is choked, once.
    pub(super) fn grant_fast(&self, cx: &Context<'_>, peer: &mut Peer) {
        let pieces = self.geometry().pieces();
        let count = limits::ALLOWED_FAST.min(pieces / limits::ALLOWED_FAST_PART);
        let is_new = peer.fast() && peer.fast_grant.is_empty() && peer.has.count(pieces) < count;
        if !is_new || self.super_seed.is_some() || self.pieces.have().is_empty() {
            return;
        }
        // Not all clients know what to make of a piece that they have not heard we have.
        self.tell_news(cx.now, peer);
        let set = allowed_fast(self.metainfo.info_hash, peer.address.ip(), pieces, count);
        for piece in set {
            if self.pieces.have().has(piece) && self.picker.copies(piece) > 0 {
                peer.fast_grant.add(piece, self.geometry().piece_len(piece));
                peer.send(cx.now, Message::AllowedFast(piece));
            }
        }
    }
}

/// The set of BEP 6: `count` pieces of `pieces` for a host's network (an IPv4 /24, an IPv6 /48), in its order. Ends
/// because each round draws five pieces, and after so many rounds that all have been drawn but for a miracle it
/// gives what it has.
fn allowed_fast(info_hash: InfoHash, ip: IpAddr, pieces: u32, count: u32) -> Vec<Piece> {
    let mut set = Vec::new();
    let mut seed = match ip.to_canonical() {
        IpAddr::V4(v4) => (v4.to_bits() & 0xffff_ff00).to_be_bytes().to_vec(),
        IpAddr::V6(v6) => v6.octets()[..6].to_vec(),
    };
    seed.extend(info_hash.0);
    for _ in 0..ROUNDS {
        let digest = Sha1::digest(&seed);
        for four in digest.as_chunks::<4>().0 {
            let drawn = u32::from_be_bytes(*four).checked_rem(pieces).map(Piece);
            if set.len() == count as usize {
                return set;
            }
            set.extend(drawn.filter(|piece| !set.contains(piece)));
        }
        seed = digest.to_vec();
    }
    set
}

/// Hashes that are taken at most.
const ROUNDS: usize = 100;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn set(ip: [u8; 4], pieces: u32, count: u32) -> Vec<u32> {
        let ip = IpAddr::V4(Ipv4Addr::from(ip));
        let set = allowed_fast(InfoHash([0xaa; 20]), ip, pieces, count);
        set.into_iter().map(|piece| piece.0).collect()
    }

    #[test]
    fn the_set_is_that_of_the_example_in_bep_6() {
        let example = [1059, 431, 808, 1217, 287, 376, 1188, 353, 508];
        assert_eq!(set([80, 4, 4, 200], 1313, 7), example[..7]);
        assert_eq!(set([80, 4, 4, 200], 1313, 9), example);
    }

    #[test]
    fn a_whole_network_has_one_set() {
        assert_eq!(set([80, 4, 4, 1], 1313, 9), set([80, 4, 4, 250], 1313, 9));
        assert_ne!(set([80, 4, 5, 1], 1313, 9), set([80, 4, 4, 1], 1313, 9));
        let v6 = |ip: &str| {
            let ip = ip.parse().expect("an address");
            allowed_fast(InfoHash([0xaa; 20]), ip, 1313, 9)
        };
        assert_eq!(v6("2001:db8:1:2::3"), v6("2001:db8:1:ffff::1"));
        assert_ne!(v6("2001:db8:1::1"), v6("2001:db8:2::1"));
    }

    #[test]
    fn it_ends_where_there_are_not_so_many_pieces() {
        let mut all = set([80, 4, 4, 200], 3, 10);
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2]);
        assert!(set([80, 4, 4, 200], 0, 10).is_empty());
    }
}
