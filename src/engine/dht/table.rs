//! The routing table (BEP 5): nodes that have answered us, more of them the nearer they are.
//!
//! A node is *good* for 15 minutes after it answered or, once it has answered, asked us something; then it is
//! *questionable* and is asked; after two silences it is *bad* and the next one that wants its place gets it.

use std::time::Duration;

use super::id::{is_secure, net, place};
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::wire::krpc::{Node, NodeId};
use crate::wire::tracker_http::url::is_local;

/// Buckets of nodes by how many leading bits they share with us.
pub(super) struct Table {
    own: NodeId,
    buckets: Vec<Bucket>,
}

impl Table {
    /// An empty table around `own`.
    pub(super) fn new(own: NodeId) -> Self {
        let mut buckets = Vec::new();
        buckets.resize_with(160, Bucket::default);
        Self { own, buckets }
    }

    /// Sorts all nodes anew around another id.
    pub(super) fn rekey(&mut self, now: Instant, own: NodeId) {
        let old = std::mem::replace(self, Self::new(own));
        for entry in old.buckets.into_iter().flat_map(|bucket| bucket.live) {
            self.insert(now, entry);
        }
    }

    /// A node answered: it gets or keeps a place, if there is one for it.
    pub(super) fn handle_answer(&mut self, now: Instant, node: Node) {
        if let Some((at, place)) = self.find(node) {
            let entry = &mut self.buckets[at].live[place];
            entry.heard_at = now;
            entry.failures = 0;
            self.buckets[at].touched = Some(now);
            return;
        }
        // Another id at a known address: the node that was there is gone.
        self.remove(node);
        self.insert(now, Entry::new(now, node));
    }

    /// A node asked us something: says whether it is in the table.
    pub(super) fn handle_query(&mut self, now: Instant, node: Node) -> bool {
        let found = self.find(node);
        if let Some((at, place)) = found {
            let entry = &mut self.buckets[at].live[place];
            // One that has begun to fail must answer, not ask.
            if entry.failures == 0 {
                entry.heard_at = now;
            }
        }
        found.is_some()
    }

    /// A node did not answer. After two silences one that waits takes its place, after four it is gone; a node
    /// that lost its place is given back.
    pub(super) fn handle_silence(&mut self, node: Node) -> Option<Node> {
        let (at, place) = self.find(node)?;
        let bucket = &mut self.buckets[at];
        let entry = &mut bucket.live[place];
        entry.failures += 1;
        let is_lost = entry.is_bad() && !bucket.spare.is_empty() || entry.failures >= SILENCES_MAX;
        if !is_lost {
            return None;
        }
        bucket.live.remove(place);
        // The rules are asked again: others came since it began to wait.
        while let Some(spare) = self.buckets[at].spare.pop() {
            if self.insert(spare.heard_at, spare) {
                break;
            }
        }
        Some(node)
    }

    /// Forgets whoever has this node's address.
    pub(super) fn remove(&mut self, node: Node) {
        for bucket in &mut self.buckets {
            let stays = |entry: &Entry| entry.node.address != node.address;
            bucket.live.retain(stays);
            bucket.spare.retain(stays);
        }
    }

    /// Forgets a node whose address answers under another id.
    pub(super) fn remove_id(&mut self, node: Node) {
        let at = self.index(node.id);
        self.buckets[at].live.retain(|entry| entry.node != node);
        self.buckets[at].spare.retain(|entry| entry.node != node);
    }

    /// Whether a node that is not in the table would get a place.
    pub(super) fn wants(&self, node: Node) -> bool {
        let bucket = &self.buckets[self.index(node.id)];
        let has_place = bucket.live.len() < K
            || bucket.live.iter().any(Entry::is_bad)
            || is_secure(node.id, node.address.ip()) && bucket.insecure().is_some();
        node.id != self.own && self.is_allowed(node) && has_place && self.len() < NODES_MAX
    }

    /// The nodes nearest to `target`, at most `count`, none of them bad.
    pub(super) fn closest(&self, target: NodeId, count: usize) -> Vec<Node> {
        let nodes = self.entries().filter(|entry| !entry.is_bad());
        let mut nodes: Vec<_> = nodes
            .map(|entry| (entry.node.id.distance(target), entry.node))
            .collect();
        if nodes.len() > count {
            nodes.select_nth_unstable(count);
            nodes.truncate(count);
        }
        nodes.sort_unstable();
        nodes.into_iter().map(|(_, node)| node).collect()
    }

    /// The questionable node that was quiet for longest, and an id in its part of the space: asking it for that
    /// id shows whether it is alive and fills the bucket. It is not given again within a minute.
    pub(super) fn poll_questionable(
        &mut self,
        now: Instant,
        rng: &mut Rng,
    ) -> Option<(Node, NodeId)> {
        let entries = self.buckets.iter_mut().flat_map(|bucket| &mut bucket.live);
        let quiet = |entry: &&mut Entry| {
            let is_due = entry
                .asked_at
                .is_none_or(|asked| now.since(asked) >= ASK_AGAIN);
            is_due && (entry.failures > 0 || now.since(entry.heard_at) >= QUESTIONABLE)
        };
        let entry = entries.filter(quiet).min_by_key(|entry| entry.heard_at)?;
        entry.asked_at = Some(now);
        let node = entry.node;
        Some((node, self.random_id(self.index(node.id), rng)))
    }

    /// An id in a bucket that has not changed for 15 minutes, of those up to the last that has a node and one
    /// behind it; it counts as changed from now on.
    pub(super) fn poll_stale(&mut self, now: Instant, rng: &mut Rng) -> Option<NodeId> {
        let last = self
            .buckets
            .iter()
            .rposition(|bucket| !bucket.live.is_empty())?;
        let last = (last + 1).min(self.buckets.len() - 1);
        let is_stale = |bucket: &Bucket| {
            bucket
                .touched
                .is_none_or(|touched| now.since(touched) >= QUESTIONABLE)
        };
        let at = self.buckets[..=last].iter().position(is_stale)?;
        self.buckets[at].touched = Some(now);
        Some(self.random_id(at, rng))
    }

    /// How many nodes have a place.
    pub(super) fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.live.len()).sum()
    }

    /// Whether no node has a place.
    pub(super) fn is_empty(&self) -> bool {
        self.buckets.iter().all(|bucket| bucket.live.is_empty())
    }

    /// Nodes that were heard of lately.
    pub(super) fn good(&self, now: Instant) -> impl Iterator<Item = Node> {
        let is_good =
            move |entry: &&Entry| entry.failures == 0 && now.since(entry.heard_at) < QUESTIONABLE;
        self.entries().filter(is_good).map(|entry| entry.node)
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.iter().flat_map(|bucket| &bucket.live)
    }

    fn insert(&mut self, now: Instant, entry: Entry) -> bool {
        let node = entry.node;
        if node.id == self.own || !self.is_allowed(node) {
            return false;
        }
        let has_room = self.len() < NODES_MAX;
        let at = self.index(node.id);
        let bucket = &mut self.buckets[at];
        let namesake = |other: &Entry| other.node.id == node.id;
        if let Some(other) = bucket.live.iter().position(namesake) {
            if !bucket.live[other].is_bad() {
                return false;
            }
            // It has moved.
            bucket.live.remove(other);
        }
        if bucket.live.len() >= K || !has_room {
            let loser = bucket.live.iter().position(Entry::is_bad);
            let is_secure = is_secure(node.id, node.address.ip());
            let loser = loser.or_else(|| bucket.insecure().filter(|_| is_secure));
            let Some(loser) = loser else {
                // Only full buckets let nodes wait, and there can't be more than 75 of those.
                if bucket.live.len() >= K {
                    bucket.wait(entry);
                }
                return false;
            };
            bucket.live.remove(loser);
        }
        bucket.touched = Some(now);
        bucket.live.push(entry);
        true
    }

    /// Public addresses: one node an address, two nodes a network in a bucket. Else whoever has one network
    /// could fill what is near any target.
    fn is_allowed(&self, node: Node) -> bool {
        let ip = node.address.ip();
        if is_local(ip) {
            return true;
        }
        let bucket = &self.buckets[self.index(node.id)].live;
        let neighbours = bucket
            .iter()
            .filter(|entry| net(entry.node.address.ip()) == net(ip));
        let is_here = |entry: &Entry| place(entry.node.address.ip()) == place(ip);
        neighbours.count() < NODES_PER_NET && !self.entries().any(is_here)
    }

    fn find(&self, node: Node) -> Option<(usize, usize)> {
        let at = self.index(node.id);
        let place = self.buckets[at]
            .live
            .iter()
            .position(|entry| entry.node == node)?;
        Some((at, place))
    }

    fn index(&self, id: NodeId) -> usize {
        self.own.shared_bits(id).min(159)
    }

    /// An id that shares exactly the first `bits` bits with us.
    fn random_id(&self, bits: usize, rng: &mut Rng) -> NodeId {
        let mut id = NodeId(rng.bytes());
        for bit in 0..=bits.min(159) {
            let mask = 0x80 >> (bit % 8);
            let own = self.own.0[bit / 8] & mask;
            let wanted = if bit == bits { own ^ mask } else { own };
            id.0[bit / 8] = id.0[bit / 8] & !mask | wanted;
        }
        id
    }
}

#[derive(Default)]
struct Bucket {
    live: Vec<Entry>,
    /// Nodes that answered when there was no place, the latest last.
    spare: Vec<Entry>,
    touched: Option<Instant>,
}

impl Bucket {
    fn wait(&mut self, entry: Entry) {
        self.spare.retain(|other| other.node.id != entry.node.id);
        if self.spare.len() >= SPARE_MAX {
            self.spare.remove(0);
        }
        self.spare.push(entry);
    }

    /// A node whose id does not belong to its address (BEP 42).
    fn insecure(&self) -> Option<usize> {
        let is_insecure = |entry: &Entry| !is_secure(entry.node.id, entry.node.address.ip());
        self.live.iter().position(is_insecure)
    }
}

struct Entry {
    node: Node,
    /// When it last answered, or asked.
    heard_at: Instant,
    /// When it was last asked whether it is alive.
    asked_at: Option<Instant>,
    /// Silences since it last answered.
    failures: u8,
}

impl Entry {
    fn new(now: Instant, node: Node) -> Self {
        Self {
            node,
            heard_at: now,
            asked_at: None,
            failures: 0,
        }
    }

    fn is_bad(&self) -> bool {
        self.failures >= 2
    }
}

/// Nodes in a bucket (BEP 5).
pub(super) const K: usize = 8;
/// Nodes that wait for a place in a bucket.
const SPARE_MAX: usize = 4;
/// Nodes that have a place: two tables and those that wait stay below 2000.
const NODES_MAX: usize = 600;
/// Nodes of one network in a bucket.
const NODES_PER_NET: usize = 2;
/// Silence after which a node is asked whether it is alive (BEP 5).
const QUESTIONABLE: Duration = Duration::from_secs(15 * 60);
/// A node that was asked is not asked again before.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// Silences after which a node is forgotten even if nobody waits for its place.
const SILENCES_MAX: u8 = 4;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::super::id::secure_id;
    use super::*;

    fn at(s: u64) -> Instant {
        Instant::from_micros(s * 1_000_000)
    }

    /// A local node that shares no bit with the table's owner.
    fn far(n: u8) -> Node {
        let mut id = NodeId([n; 20]);
        id.0[0] = 0x80 | n;
        let address = ([10, 0, 0, n], 1).into();
        Node { id, address }
    }

    fn table() -> Table {
        Table::new(NodeId([0; 20]))
    }

    #[test]
    fn a_bucket_takes_eight_and_a_ninth_waits_until_one_is_silent_twice() {
        let mut table = table();
        (1..=9).for_each(|n| table.handle_answer(at(u64::from(n)), far(n)));
        assert_eq!(table.len(), 8);
        assert!(!table.closest(far(9).id, 8).contains(&far(9)));
        assert_eq!(table.handle_silence(far(3)), None);
        assert_eq!(table.handle_silence(far(3)), Some(far(3)));
        assert_eq!(table.len(), 8);
        assert_eq!(table.closest(far(9).id, 1), [far(9)]);
    }

    #[test]
    fn a_silent_node_stays_while_nobody_wants_its_place_but_is_not_named() {
        let mut table = table();
        table.handle_answer(at(0), far(1));
        for _ in 0..3 {
            assert_eq!(table.handle_silence(far(1)), None);
        }
        assert_eq!((table.len(), table.closest(far(1).id, 8).len()), (1, 0));
        table.handle_answer(at(5), far(1));
        assert_eq!(table.closest(far(1).id, 8), [far(1)]);
        (0..3).for_each(|_| assert_eq!(table.handle_silence(far(1)), None));
        assert_eq!(table.handle_silence(far(1)), Some(far(1)));
        assert!(table.is_empty());
    }

    #[test]
    fn a_node_is_asked_after_fifteen_minutes_of_silence_and_again_after_one() {
        let (mut table, mut rng) = (table(), Rng::new([0; 32]));
        table.handle_answer(at(0), far(1));
        assert_eq!(table.poll_questionable(at(899), &mut rng), None);
        let (node, id) = table.poll_questionable(at(900), &mut rng).expect("one");
        assert_eq!((node, id.0[0] & 0x80), (far(1), 0x80));
        assert_eq!(table.poll_questionable(at(959), &mut rng), None);
        assert!(table.poll_questionable(at(960), &mut rng).is_some());
        assert!(table.handle_query(at(961), far(1)));
        assert_eq!(table.poll_questionable(at(1100), &mut rng), None);
        assert_eq!(table.good(at(1860)).count(), 1);
        assert_eq!(table.good(at(1861)).count(), 0);
    }

    #[test]
    fn ten_thousand_ids_of_one_network_get_two_places_a_bucket() {
        let (mut table, mut rng) = (table(), Rng::new([0; 32]));
        let mut victim = NodeId([0; 20]);
        victim.0[0] = 0x01;
        for n in 0..10_000u32 {
            let mut id = NodeId(rng.bytes());
            let shared = rng.below(20);
            id.0[..shared].copy_from_slice(&victim.0[..shared]);
            let address = SocketAddr::from(([66, 66, 66, n as u8], 1 + n as u16));
            table.handle_answer(at(0), Node { id, address });
        }
        for bucket in &table.buckets {
            assert!(bucket.live.len() <= 2 && bucket.spare.len() <= SPARE_MAX);
        }
        let mut hosts: Vec<_> = table
            .entries()
            .map(|entry| entry.node.address.ip())
            .collect();
        hosts.sort_unstable();
        hosts.dedup();
        assert!(hosts.len() == table.len() && table.len() <= 256);
    }

    #[test]
    fn the_table_is_full_at_its_cap_whatever_ids_are_offered() {
        let (mut table, mut rng) = (table(), Rng::new([0; 32]));
        for n in 0..20_000u32 {
            let id = table.random_id(rng.below(160), &mut rng);
            let address = (Ipv4Addr::from(0x0a00_0000 + n), 1).into();
            table.handle_answer(at(0), Node { id, address });
        }
        assert_eq!(table.len(), NODES_MAX);
        let spare: usize = table.buckets.iter().map(|bucket| bucket.spare.len()).sum();
        assert!(spare > 0 && table.len() + spare <= 1000, "{spare}");
    }

    #[test]
    fn a_secure_id_takes_the_place_of_an_insecure_one_but_never_the_reverse() {
        let (mut table, mut rng) = (table(), Rng::new([0; 32]));
        let node = |secure: bool, n: u8, rng: &mut Rng| {
            let address = SocketAddr::from(([n, 1, 1, 1], 1));
            loop {
                let id = if secure {
                    secure_id(address.ip(), rng)
                } else {
                    NodeId(rng.bytes())
                };
                if id.0[0] & 0x80 != 0 && is_secure(id, address.ip()) == secure {
                    return Node { id, address };
                }
            }
        };
        (20..28).for_each(|n| table.handle_answer(at(0), node(false, n, &mut rng)));
        assert_eq!(table.len(), 8);
        for n in 30..38 {
            let newcomer = node(true, n, &mut rng);
            assert!(table.wants(newcomer));
            table.handle_answer(at(1), newcomer);
        }
        assert_eq!(table.len(), 8);
        let secure = |entry: &Entry| is_secure(entry.node.id, entry.node.address.ip());
        assert!(table.entries().all(secure));
        assert!(!table.wants(node(false, 40, &mut rng)));
    }

    #[test]
    fn the_nearest_are_named_nearest_first() {
        let mut table = table();
        (1..=8).for_each(|n| table.handle_answer(at(0), far(n)));
        assert_eq!(table.closest(far(5).id, 3), [far(5), far(4), far(7)]);
    }

    #[test]
    fn a_stale_bucket_is_named_once_in_fifteen_minutes() {
        let (mut table, mut rng) = (table(), Rng::new([0; 32]));
        assert_eq!(table.poll_stale(at(0), &mut rng), None);
        table.handle_answer(at(0), far(1));
        let id = table.poll_stale(at(1), &mut rng).expect("the one behind");
        assert_eq!(table.own.shared_bits(id), 1);
        assert_eq!(table.poll_stale(at(2), &mut rng), None);
        assert_eq!(
            table.poll_stale(at(900), &mut rng).map(|id| id.0[0] & 0x80),
            Some(0x80)
        );
    }
}
