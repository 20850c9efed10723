//! http_serve
