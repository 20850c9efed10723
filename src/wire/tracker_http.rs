//! tracker_http
