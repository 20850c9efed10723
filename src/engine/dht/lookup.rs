//! An iterative lookup (BEP 5): ask the nearest nodes known for nearer ones, until the nearest have answered.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::id::{is_secure, net, place};
use super::store::unite;
use super::table::K;
use crate::base::ids::InfoHash;
use crate::wire::krpc::{Bloom, Node, NodeId};
use crate::wire::tracker_http::url::is_local;

/// One lookup, in one family.
pub(super) struct Lookup {
    pub(super) target: NodeId,
    pub(super) plane: usize,
    pub(super) purpose: Purpose,
    /// Nearest first.
    candidates: Vec<Candidate>,
    asked: usize,
    peers: BTreeSet<SocketAddr>,
    counts: Option<Box<[Bloom; 2]>>,
}

impl Lookup {
    pub(super) fn new(target: NodeId, plane: usize, purpose: Purpose) -> Self {
        Self {
            target,
            plane,
            purpose,
            candidates: Vec::new(),
            asked: 0,
            peers: BTreeSet::new(),
            counts: None,
        }
    }

    /// A node that may be asked. Public addresses: one node an address, two a network, so that whoever has one
    /// network can't surround the target.
    pub(super) fn add(&mut self, node: Node) {
        self.add_candidate(Some(node.id), node.address);
    }

    /// A node whose id we don't know: it is asked when nothing nearer is left.
    pub(super) fn add_router(&mut self, address: SocketAddr) {
        self.add_candidate(None, address);
    }

    /// The next node to ask, with its id if we know it. It counts as asked.
    pub(super) fn poll_query(&mut self) -> Option<(SocketAddr, Option<NodeId>)> {
        let is_waiting = |candidate: &&Candidate| candidate.state == State::Asked;
        if self.candidates.iter().filter(is_waiting).count() >= ALPHA || self.asked >= ASKED_MAX {
            return None;
        }
        let end = self.goal();
        let mut next = self.candidates[..end].iter_mut();
        let next = next.find(|next| next.state == State::New)?;
        next.state = State::Asked;
        self.asked += 1;
        Some((next.address, next.id))
    }

    /// A node that could not be asked after all is asked later.
    pub(super) fn unask(&mut self, address: SocketAddr) {
        self.set(address, State::New);
        self.asked = self.asked.saturating_sub(1);
    }

    /// A node lets us wait: another is asked beside it, but it may still answer.
    pub(super) fn handle_slow(&mut self, address: SocketAddr) {
        self.set(address, State::Slow);
    }

    /// A node will not answer.
    pub(super) fn handle_failure(&mut self, address: SocketAddr) {
        self.set(address, State::Failed);
    }

    /// A node answered.
    pub(super) fn handle_answer(&mut self, node: Node, token: Option<&[u8]>) {
        let found = self.position(node.address);
        let Some(at) = found else {
            return;
        };
        let mut candidate = self.candidates.remove(at);
        // A router tells its id only now.
        candidate.id = Some(node.id);
        candidate.distance = node.id.distance(self.target);
        candidate.state = State::Answered;
        candidate.token = token.map(<[u8]>::to_vec);
        self.place(candidate);
    }

    /// Those of `peers` that are new to this search; it remembers some hundred.
    pub(super) fn new_peers(&mut self, peers: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
        let mut new = Vec::new();
        for peer in peers {
            if self.peers.len() >= PEERS_MAX {
                break;
            }
            if self.peers.insert(peer) {
                new.push(peer);
            }
        }
        new
    }

    /// Unites sets of seeds and others (BEP 33) with those that came before.
    pub(super) fn count(&mut self, seeds: Option<&Bloom>, leechers: Option<&Bloom>) {
        let counts = self.counts.get_or_insert_with(|| Box::new([[0; 256]; 2]));
        for (into, from) in counts.iter_mut().zip([seeds, leechers]) {
            if let Some(from) = from {
                unite(into, from);
            }
        }
    }

    /// What was counted.
    pub(super) fn counts(&self) -> Option<&[Bloom; 2]> {
        self.counts.as_deref()
    }

    /// Whether the nearest have answered, or nobody is left to be asked.
    pub(super) fn is_done(&self) -> bool {
        let is_exhausted = self.asked >= ASKED_MAX;
        let relevant = &self.candidates[..self.goal()];
        !relevant.iter().any(|candidate| match candidate.state {
            State::Asked | State::Slow => true,
            State::New => !is_exhausted,
            State::Answered | State::Failed => false,
        })
    }

    /// How many nodes answered.
    pub(super) fn answered(&self) -> usize {
        let is_answered = |candidate: &&Candidate| candidate.state == State::Answered;
        self.candidates.iter().filter(is_answered).count()
    }

    /// The nearest nodes that answered, with the tokens they gave.
    pub(super) fn nearest(&self) -> impl Iterator<Item = (Node, &[u8])> {
        let nearest = self.candidates[..self.goal()].iter();
        nearest.filter_map(|candidate| {
            let (id, address) = (candidate.id?, candidate.address);
            let token = candidate.token.as_deref()?;
            (candidate.state == State::Answered).then_some((Node { id, address }, token))
        })
    }

    fn add_candidate(&mut self, id: Option<NodeId>, address: SocketAddr) {
        let ip = address.ip();
        let mut known = self.candidates.iter();
        if is_local(ip) {
            if known.any(|other| other.address == address) {
                return;
            }
        } else {
            let neighbours = known.filter(|other| net(other.address.ip()) == net(ip));
            let places: Vec<_> = neighbours.map(|other| place(other.address.ip())).collect();
            if places.len() >= CANDIDATES_PER_NET || places.contains(&place(ip)) {
                return;
            }
        }
        self.place(Candidate {
            distance: id.map_or([0xff; 20], |id| id.distance(self.target)),
            id,
            address,
            is_secure: id.is_none_or(|id| is_secure(id, ip)),
            state: State::New,
            token: None,
        });
        if self.candidates.len() > CANDIDATES_MAX {
            let is_spare = |candidate: &Candidate| candidate.state == State::New;
            let farthest = self.candidates.iter().rposition(is_spare);
            farthest.map(|at| self.candidates.remove(at));
        }
    }

    fn place(&mut self, candidate: Candidate) {
        let at = self
            .candidates
            .partition_point(|other| other.distance <= candidate.distance);
        self.candidates.insert(at, candidate);
    }

    /// How many candidates count: up to the eighth answer of a node whose id belongs to its address (BEP 42),
    /// or the sixteenth of any. So many others can't crowd out the honest, and a network of honest nodes with
    /// old ids still works.
    fn goal(&self) -> usize {
        let (mut answers, mut secure) = (0, 0);
        for (at, candidate) in self.candidates.iter().enumerate() {
            if candidate.state == State::Answered {
                answers += 1;
                secure += usize::from(candidate.is_secure);
            }
            if secure >= K || answers >= 2 * K {
                return at + 1;
            }
        }
        self.candidates.len()
    }

    fn position(&self, address: SocketAddr) -> Option<usize> {
        self.candidates
            .iter()
            .position(|candidate| candidate.address == address)
    }

    fn set(&mut self, address: SocketAddr, state: State) {
        if let Some(at) = self.position(address) {
            self.candidates[at].state = state;
        }
    }
}

/// What a lookup is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// To find our own neighbours.
    Bootstrap,
    /// To fill a bucket.
    Refresh,
    /// To find peers of a torrent, and to announce us at a port.
    Peers(InfoHash, Option<u16>),
    /// To count peers of a torrent.
    Scrape(InfoHash),
}

struct Candidate {
    distance: [u8; 20],
    id: Option<NodeId>,
    address: SocketAddr,
    is_secure: bool,
    state: State,
    token: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Asked,
    Slow,
    Answered,
    Failed,
}

/// Nodes that are asked at once (BEP 5 leaves it open; Kademlia's alpha).
const ALPHA: usize = 3;
/// Nodes of one network among the candidates.
const CANDIDATES_PER_NET: usize = 2;
/// Candidates that are remembered.
const CANDIDATES_MAX: usize = 100;
/// Nodes that are asked in all: honest lookups end long before.
const ASKED_MAX: usize = 200;
/// Peers that are named in one lookup.
const PEERS_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u8) -> Node {
        Node {
            id: NodeId([n; 20]),
            address: ([10, 0, 0, n], 1).into(),
        }
    }

    fn lookup() -> Lookup {
        Lookup::new(NodeId([0; 20]), 0, Purpose::Bootstrap)
    }

    #[test]
    fn three_are_asked_at_once_nearest_first_and_a_slow_one_makes_room() {
        let mut lookup = lookup();
        [5, 3, 9, 1, 7]
            .into_iter()
            .for_each(|n| lookup.add(node(n)));
        let asked: Vec<_> = std::iter::from_fn(|| lookup.poll_query()).collect();
        let expected = [1, 3, 5].map(|n| (node(n).address, Some(node(n).id)));
        assert_eq!(asked, expected);
        lookup.handle_slow(node(3).address);
        assert_eq!(lookup.poll_query().map(|(to, _)| to), Some(node(7).address));
        lookup.handle_answer(node(3), None);
        assert_eq!(lookup.poll_query(), None);
        lookup.handle_answer(node(1), None);
        assert_eq!(lookup.poll_query().map(|(to, _)| to), Some(node(9).address));
        assert!(!lookup.is_done());
    }

    #[test]
    fn it_is_done_when_the_eight_nearest_have_answered() {
        let mut lookup = lookup();
        (1..=20).for_each(|n| lookup.add(node(n)));
        for n in 1..=8 {
            assert_eq!(lookup.poll_query().map(|(to, _)| to), Some(node(n).address));
            assert!(!lookup.is_done());
            lookup.handle_answer(node(n), Some(b"t"));
        }
        assert!(lookup.is_done());
        assert_eq!(lookup.poll_query(), None);
        assert!(lookup.nearest().map(|(node, _)| node).eq((1..=8).map(node)));
    }

    #[test]
    fn a_failure_is_passed_over_and_not_asked_again() {
        let mut lookup = lookup();
        lookup.add(node(1));
        lookup.add(node(2));
        while let Some((to, _)) = lookup.poll_query() {
            lookup.handle_failure(to);
        }
        lookup.handle_failure(node(1).address);
        assert!(lookup.is_done());
        lookup.add(node(1));
        assert_eq!(lookup.poll_query(), None);
        assert_eq!(lookup.answered(), 0);
    }

    #[test]
    fn a_router_is_asked_last_and_takes_its_place_when_it_has_told_its_id() {
        let mut lookup = lookup();
        lookup.add_router(node(1).address);
        lookup.add(node(200));
        assert_eq!(
            lookup.poll_query().map(|(to, _)| to),
            Some(node(200).address)
        );
        assert_eq!(lookup.poll_query(), Some((node(1).address, None)));
        lookup.handle_answer(node(1), Some(b"t"));
        assert_eq!(lookup.nearest().next().map(|(node, _)| node), Some(node(1)));
    }

    #[test]
    fn one_network_has_two_candidates_however_near_its_nodes_are() {
        let mut lookup = lookup();
        for n in 0..=255 {
            lookup.add(Node {
                id: NodeId([0; 20]),
                address: ([66, 66, 66, n], 1).into(),
            });
        }
        assert_eq!(lookup.candidates.len(), 2);
    }

    #[test]
    fn insecure_nodes_near_the_target_do_not_hide_secure_ones_behind_them() {
        let mut lookup = lookup();
        for n in 1..=8 {
            lookup.add(Node {
                id: NodeId([n; 20]),
                address: ([60 + n, 1, 1, 1], 1).into(),
            });
        }
        (101..=110).for_each(|n| lookup.add(node(n)));
        while let Some((to, id)) = lookup.poll_query() {
            let id = id.expect("all have ids");
            lookup.handle_answer(Node { id, address: to }, Some(b"t"));
        }
        assert!(lookup.is_done());
        assert_eq!(lookup.nearest().count(), 16);
        assert!(lookup.nearest().any(|(found, _)| found == node(101)));
    }
}
