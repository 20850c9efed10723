//! Protocol machines that know nothing of torrents: bytes in, bytes out, no sockets.

pub mod http_call;
pub mod http_serve;
pub mod resolver;
pub mod stream;
