//! Protocol machines that know nothing of torrents: bytes in, bytes out, no sockets.

pub mod gzip;
pub mod http_call;
pub mod http_serve;
pub mod resolver;
pub mod stream;
