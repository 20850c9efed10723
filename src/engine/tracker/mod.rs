//! Announcing to trackers (BEP 3, 7, 12, 15, 23).
