//! http_call
