//! Who may request: tit for tat while we fetch, round robin while we seed, one slot for a stranger.

use std::time::Duration;

use crate::base::limits;
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::engine::io::ConnId;

/// The choker of one torrent.
pub struct Choker {
    optimistic: Option<(ConnId, Instant)>,
    /// The usual slots, of which all torrents share some.
    usual: usize,
    /// Slots beside the usual ones: the uplink can carry them.
    more: usize,
}

/// What the choker knows of a peer.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// The peer.
    pub conn: ConnId,
    /// It wants something.
    pub interested: bool,
    /// It may not request now.
    pub choked: bool,
    /// It has been silent too long.
    pub snubbed: bool,
    /// When it was last unchoked or choked.
    pub turned: Instant,
    /// When it came.
    pub since: Instant,
    /// Bytes a second from it.
    pub down_rate: u64,
    /// It has given us something while we fetched.
    pub has_given: bool,
    /// Bytes sent to it since it was unchoked.
    pub given: u64,
    /// It was sent something in this turn, and nothing waits to be sent to it: it takes less than it could get.
    pub is_sated: bool,
}

impl Default for Choker {
    fn default() -> Self {
        Self {
            optimistic: None,
            usual: limits::UPLOAD_SLOTS,
            more: 0,
        }
    }
}

impl Choker {
    /// So many torrents have peers that want something: each has its part of the usual slots, one at least.
    pub fn share(&mut self, torrents: usize) {
        let part = limits::UPLOAD_SLOTS_ALL / torrents.max(1);
        self.usual = part.clamp(1, limits::UPLOAD_SLOTS);
    }

    /// The peers that may request from now on, at most `slots` and the optimistic one. `seeding` tells by
    /// what they are judged: what they give us, or how long they have waited; `quota` is what one gets in a
    /// turn while seeding.
    pub fn round(
        &mut self,
        now: Instant,
        rng: &mut Rng,
        seeding: bool,
        quota: u64,
        peers: &[Candidate],
    ) -> Vec<ConnId> {
        let wanting = by_merit(seeding, quota, peers);
        let fresh = |peer: &Candidate| !peer.choked && now - peer.turned < limits::CHOKE_ROUND;
        let slots = self.slots();
        self.adapt(&wanting);
        let mut unchoked: Vec<ConnId> = wanting.iter().take(slots).map(|peer| peer.conn).collect();
        self.renew_optimistic(now, rng, &wanting, &unchoked);
        if let Some((conn, _)) = self.optimistic {
            unchoked.push(conn);
        }
        // No peer is choked within a round of its unchoke: it has hardly begun.
        for peer in &wanting {
            let room = unchoked.len() < 2 * slots;
            if room && fresh(peer) && !unchoked.contains(&peer.conn) {
                unchoked.push(peer.conn);
            }
        }
        unchoked
    }

    /// Who gets a slot that has become free between two rounds: of those that are choked the one who would be first
    /// in a round, and among equals who has waited longest.
    pub fn next(seeding: bool, quota: u64, peers: &[Candidate]) -> Option<ConnId> {
        let waiting = by_merit(seeding, quota, peers).into_iter();
        waiting
            .filter(|peer| peer.choked)
            .map(|peer| peer.conn)
            .next()
    }

    /// How many peers have a regular slot.
    pub fn slots(&self) -> usize {
        self.usual + self.more
    }

    /// One more slot in the next round if all are used and nobody waits for bytes; one less if most do: they share
    /// an uplink that is full.
    fn adapt(&mut self, wanting: &[&Candidate]) {
        let unchoked = wanting.iter().filter(|peer| !peer.choked);
        let (all, sated) = unchoked.fold((0, 0), |(all, sated), peer| {
            (all + 1, sated + usize::from(peer.is_sated))
        });
        if all >= self.slots() && sated == all {
            self.more = (self.more + 1).min(limits::UPLOAD_SLOTS_MORE);
        } else if sated * 2 < all {
            self.more = self.more.saturating_sub(1);
        }
    }

    /// A peer went.
    pub fn forget(&mut self, conn: ConnId) {
        self.optimistic
            .take_if(|(optimistic, _)| *optimistic == conn);
    }

    fn renew_optimistic(
        &mut self,
        now: Instant,
        rng: &mut Rng,
        wanting: &[&Candidate],
        unchoked: &[ConnId],
    ) {
        let may_stay = |conn: ConnId, until: Instant| {
            until > now && !unchoked.contains(&conn) && wanting.iter().any(|peer| peer.conn == conn)
        };
        if self
            .optimistic
            .is_some_and(|(conn, until)| may_stay(conn, until))
        {
            return;
        }
        let mut others: Vec<_> = wanting
            .iter()
            .filter(|peer| !unchoked.contains(&peer.conn))
            .collect();
        // Those that wait come before one that has just had its turn.
        if others.iter().any(|peer| peer.choked) {
            others.retain(|peer| peer.choked);
        }
        // A newcomer is three times as likely: it has had no chance to show what it gives.
        let weight = |peer: &Candidate| if now - peer.since < NEWCOMER { 3 } else { 1 };
        let total: usize = others.iter().map(|peer| weight(peer)).sum();
        let mut draw = rng.below(total);
        self.optimistic = others
            .iter()
            .find(|peer| {
                let hit = draw < weight(peer);
                draw = draw.saturating_sub(weight(peer));
                hit
            })
            .map(|peer| (peer.conn, now + limits::OPTIMISTIC));
    }
}

/// Those that want a slot, the best first. While we fetch that is who gives us most, and among equals who has a slot
/// or has waited longest; while we seed, those that
/// gave while we fetched come first, and of them those in the middle of their quota, then who has waited longest. Who has
/// given nothing has the optimistic slot, until nobody else wants anything.
fn by_merit(seeding: bool, quota: u64, peers: &[Candidate]) -> Vec<&Candidate> {
    let mut wanting: Vec<&Candidate> = peers.iter().filter(|peer| peer.interested).collect();
    if seeding {
        wanting.sort_by_key(|peer| {
            let goes_on = !peer.choked && peer.given < quota;
            (
                !peer.has_given,
                !goes_on,
                !peer.choked,
                peer.turned,
                peer.conn,
            )
        });
    } else {
        let rate = |peer: &Candidate| u64::MAX - peer.down_rate;
        wanting.sort_by_key(|peer| {
            let Candidate {
                snubbed,
                choked,
                turned,
                conn,
                ..
            } = **peer;
            (snubbed, rate(peer), choked, turned, conn)
        });
    }
    wanting
}

/// How long a peer is new.
const NEWCOMER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u64, down_rate: u64) -> Candidate {
        Candidate {
            conn: ConnId::from_bits(n),
            interested: true,
            choked: true,
            snubbed: false,
            turned: Instant::default(),
            since: Instant::default(),
            down_rate,
            has_given: false,
            given: 0,
            is_sated: false,
        }
    }

    fn round(choker: &mut Choker, seconds: u64, seeding: bool, peers: &[Candidate]) -> Vec<u64> {
        let (now, mut rng) = (Instant::from_micros(seconds * 1_000_000), Rng::new([3; 32]));
        let unchoked = choker.round(now, &mut rng, seeding, 1000, peers);
        unchoked.into_iter().map(ConnId::to_bits).collect()
    }

    #[test]
    fn the_four_that_give_most_and_one_more_may_request() {
        let peers: Vec<_> = (0..8).map(|n| peer(n, n * 100)).collect();
        let unchoked = round(&mut Choker::default(), 100, false, &peers);
        assert_eq!(unchoked[..4], [7, 6, 5, 4]);
        assert_eq!(unchoked.len(), 5);
    }

    #[test]
    fn who_wants_nothing_or_is_silent_gets_no_regular_slot() {
        let mut peers: Vec<_> = (0..6).map(|n| peer(n, n * 100)).collect();
        peers[5].interested = false;
        peers[4].snubbed = true;
        let unchoked = round(&mut Choker::default(), 100, false, &peers);
        assert_eq!(unchoked, [3, 2, 1, 0, 4]);
    }

    #[test]
    fn the_optimistic_peer_stays_for_thirty_seconds() {
        let peers: Vec<_> = (0..40).map(|n| peer(n, 0)).collect();
        let mut choker = Choker::default();
        let first = round(&mut choker, 100, false, &peers)[4];
        assert_eq!(round(&mut choker, 129, false, &peers)[4], first);
        choker.forget(ConnId::from_bits(first));
        let rest: Vec<_> = peers
            .into_iter()
            .filter(|p| p.conn.to_bits() != first)
            .collect();
        assert_ne!(round(&mut choker, 129, false, &rest)[4], first);
    }

    #[test]
    fn a_seed_lets_everyone_finish_a_quota_and_then_serves_who_waited_longest() {
        let mut peers: Vec<_> = (0..7).map(|n| peer(n, 0)).collect();
        for (n, peer) in peers.iter_mut().enumerate() {
            peer.turned = Instant::from_micros(n as u64);
            peer.choked = n >= 4;
        }
        peers[1].given = 1000;
        peers[2].given = 2000;
        let unchoked = round(&mut Choker::default(), 100, true, &peers);
        assert_eq!(unchoked[..4], [0, 3, 4, 5]);
    }

    #[test]
    fn a_seed_that_has_fetched_serves_first_who_gave_to_it() {
        let mut peers: Vec<_> = (0..8).map(|n| peer(n, 0)).collect();
        for n in [2, 5, 7] {
            peers[n].has_given = true;
        }
        // The middle of a quota is no claim on a slot that a giver waits for.
        (peers[0].choked, peers[0].given) = (false, 1);
        let unchoked = round(&mut Choker::default(), 100, true, &peers);
        assert_eq!(unchoked[..4], [2, 5, 7, 0]);
    }

    #[test]
    fn slots_are_added_while_nobody_waits_and_given_up_when_most_do() {
        let mut peers: Vec<_> = (0..8).map(|n| peer(n, n * 100)).collect();
        let mut choker = Choker::default();
        for peer in &mut peers {
            (peer.choked, peer.is_sated) = (false, true);
        }
        for slots in 4..9 {
            assert_eq!(choker.slots(), slots);
            round(&mut choker, 100, false, &peers);
        }
        // Nine slots for eight peers are enough.
        assert_eq!(choker.slots(), 9);
        peers.iter_mut().for_each(|peer| peer.is_sated = false);
        for slots in [8, 7, 6, 5, 4, 4] {
            round(&mut choker, 100, false, &peers);
            assert_eq!(choker.slots(), slots);
        }
    }

    #[test]
    fn an_unchoke_lasts_a_round_at_least() {
        let mut peers: Vec<_> = (0..7).map(|n| peer(n, n * 100)).collect();
        peers[0].choked = false;
        peers[0].turned = Instant::from_micros(95_000_000);
        assert!(round(&mut Choker::default(), 100, false, &peers).contains(&0));
        let mut late = Choker {
            optimistic: Some((ConnId::from_bits(1), Instant::from_micros(999_000_000))),
            ..Choker::default()
        };
        assert!(!round(&mut late, 106, false, &peers).contains(&0));
    }
}
