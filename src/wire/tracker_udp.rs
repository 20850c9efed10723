//! tracker_udp
