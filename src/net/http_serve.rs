//! One HTTP/1.1 exchange from the server's side, as a machine: bytes in, a request out, an answer in, bytes out.
//!
//! Only GET and HEAD, one request a connection, heads of at most 8 KiB: enough for a small endpoint. What is
//! not that is answered here, with 400, 405 or 431, and the connection is to be closed.
//!
//! ```
//! use minitorrent::net::http_serve::HttpServe;
//!
//! let mut serve = HttpServe::new();
//! serve.handle_bytes(b"GET /announce HTTP/1.1\r\nhost: h\r\n\r\n");
//! assert_eq!(serve.poll_request().expect("a whole request").path_and_query, "/announce");
//! serve.respond(200, "text/plain", b"de");
//! let answer = serve.poll_transmit().len(); // written to a socket
//! serve.transmitted(answer);
//! assert!(serve.is_done()); // and closed
//! ```

use std::mem;

use http::{Method, Response, header};
use ureq_proto::server::state::{ProvideResponse, RecvRequest};
use ureq_proto::server::{RecvRequestResult, Reply, SendResponseResult};

/// A request and its answer.
pub struct HttpServe {
    step: Step,
    received: Vec<u8>,
    answer: Vec<u8>,
    sent: usize,
}

impl HttpServe {
    /// Waits for a request.
    pub fn new() -> Self {
        Self {
            step: Reply::new().map_or(Step::Answered, Step::Head),
            received: Vec::new(),
            answer: Vec::new(),
            sent: 0,
        }
    }

    /// Takes bytes of the request; what comes behind its head is ignored.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        let Step::Head(_) = self.step else {
            return;
        };
        let room = REQUEST_HEAD_MAX + 1 - self.received.len().min(REQUEST_HEAD_MAX);
        self.received
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
        if !bytes.contains(&b'\n') && self.received.len() <= REQUEST_HEAD_MAX {
            return;
        }
        let Step::Head(mut reply) = mem::replace(&mut self.step, Step::Answered) else {
            return;
        };
        let request = match reply.try_request(&self.received) {
            Ok((_, Some(request))) => request,
            Ok((_, None)) if self.received.len() <= REQUEST_HEAD_MAX => {
                self.step = Step::Head(reply);
                return;
            }
            Ok((_, None)) => return self.refuse("431 Request Header Fields Too Large"),
            Err(_) => return self.refuse("400 Bad Request"),
        };
        self.received = Vec::new();
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return self.refuse("405 Method Not Allowed");
        }
        let Some(RecvRequestResult::ProvideResponse(reply)) = reply.proceed() else {
            return self.refuse("400 Bad Request");
        };
        let target = request.uri().path_and_query();
        let request = HttpRequest {
            path_and_query: target.map_or("/", |target| target.as_str()).to_owned(),
        };
        self.step = Step::Asked(Some(request), reply);
    }

    /// The request, once, when its head is whole; [`HttpServe::respond`] answers it.
    pub fn poll_request(&mut self) -> Option<HttpRequest> {
        match &mut self.step {
            Step::Asked(request, _) => request.take(),
            Step::Head(_) | Step::Answered => None,
        }
    }

    /// Answers the request; nothing happens if there is none, or it is answered. A status that is none
    /// becomes 500.
    pub fn respond(&mut self, status: u16, content_type: &str, body: &[u8]) {
        let Step::Asked(_, reply) = mem::replace(&mut self.step, Step::Answered) else {
            return;
        };
        match write_answer(reply, status, content_type, body) {
            Some(answer) => self.answer = answer,
            None => self.refuse("500 Internal Server Error"),
        }
    }

    /// The bytes to send next.
    pub fn poll_transmit(&self) -> &[u8] {
        &self.answer[self.sent..]
    }

    /// So many bytes of [`HttpServe::poll_transmit`] were sent.
    pub fn transmitted(&mut self, bytes: usize) {
        self.sent = self.answer.len().min(self.sent + bytes);
    }

    /// Whether the answer is out and the connection is to be closed.
    pub fn is_done(&self) -> bool {
        matches!(self.step, Step::Answered) && self.sent == self.answer.len()
    }

    fn refuse(&mut self, status: &str) {
        let text = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        self.answer = text.into_bytes();
        self.received = Vec::new();
        self.step = Step::Answered;
    }
}

impl Default for HttpServe {
    fn default() -> Self {
        Self::new()
    }
}

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpRequest {
    /// The target, from its `/` on, still encoded.
    pub path_and_query: String,
}

enum Step {
    Head(Reply<RecvRequest>),
    Asked(Option<HttpRequest>, Reply<ProvideResponse>),
    Answered,
}

/// The bytes of an answer; `None` if a part of it can't be put as HTTP.
fn write_answer(
    reply: Reply<ProvideResponse>,
    status: u16,
    content_type: &str,
    body: &[u8],
) -> Option<Vec<u8>> {
    let response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, content_type)
        .header(header::CONTENT_LENGTH, body.len())
        .header(header::CONNECTION, "close")
        .body(())
        .ok()?;
    let mut reply = reply.provide(response).ok()?;
    let mut answer = Vec::new();
    let mut room = vec![0; content_type.len() + 256];
    while !reply.is_finished() {
        let made = reply.write(&mut room).ok()?;
        answer.extend_from_slice(&room[..made]);
    }
    // A HEAD has no body, however long it is said to be.
    if let SendResponseResult::SendBody(_) = reply.proceed() {
        answer.extend_from_slice(body);
    }
    Some(answer)
}

/// Longest head of a request.
const REQUEST_HEAD_MAX: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn served(request: &[u8], size: usize) -> (Option<HttpRequest>, String) {
        let mut serve = HttpServe::new();
        for part in request.chunks(size) {
            serve.handle_bytes(part);
        }
        let asked = serve.poll_request();
        if asked.is_some() {
            assert!(!serve.is_done() && serve.poll_request().is_none());
            serve.respond(200, "text/plain", b"body");
        }
        let answer = String::from_utf8_lossy(serve.poll_transmit()).into_owned();
        serve.transmitted(answer.len());
        assert_eq!(serve.is_done(), !answer.is_empty());
        (asked, answer)
    }

    const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 4\r\nconnection: close\r\n\r\n";

    #[test]
    fn a_request_is_read_however_it_is_cut_and_answered_exactly() {
        let request = b"GET /announce?info_hash=%00%FF HTTP/1.1\r\nHost: h\r\n\r\n";
        for size in [1, 7, 1000] {
            let (asked, answer) = served(request, size);
            let target = asked.map(|request| request.path_and_query);
            assert_eq!(target.as_deref(), Some("/announce?info_hash=%00%FF"));
            assert_eq!(answer, format!("{ANSWER}body"));
        }
    }

    #[test]
    fn a_head_request_gets_no_body() {
        let (asked, answer) = served(b"HEAD / HTTP/1.1\r\nhost: h\r\n\r\n", 1000);
        assert!(asked.is_some());
        assert_eq!(answer, ANSWER);
    }

    #[test]
    fn what_is_no_small_get_is_refused_and_closed() {
        let refused = |request: &[u8], status: &str| {
            let (asked, answer) = served(request, 1000);
            assert_eq!(asked, None);
            let expected =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            assert_eq!(answer, expected);
        };
        refused(
            b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc",
            "405 Method Not Allowed",
        );
        refused(b"\x13BitTorrent protocol\r\n", "400 Bad Request");
        let long = [b"GET / HTTP/1.1\r\nx: ".to_vec(), vec![b'y'; 9000]].concat();
        refused(&long, "431 Request Header Fields Too Large");
        let many = [
            b"GET / HTTP/1.1\r\n".to_vec(),
            b"x: y\r\n".repeat(129),
            b"\r\n".to_vec(),
        ]
        .concat();
        refused(&many, "400 Bad Request");
    }

    #[test]
    fn an_answer_that_can_not_be_is_a_500() {
        let mut serve = HttpServe::new();
        serve.handle_bytes(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n");
        serve.respond(200, "a\r\nb", b"");
        assert!(serve.poll_transmit().starts_with(b"HTTP/1.1 500 "));
    }
}
