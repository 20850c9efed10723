//! One HTTP/1.1 GET as a machine (RFC 9112): bytes in, bytes out, no socket.
//!
//! ```text
//! Head --head--> Body --its end--> Done
//!  |  \--1xx--> Head     \
//!  \--redirect, no body---> Done          any error --> Failed
//! ```
//!
//! The request asks for `connection: close` and no content coding; a call is one connection. The engine under it
//! never sees the end of the stream, so [`HttpCall::handle_end`] says when a body that ends with it is whole.
//!
//! ```
//! use minitorrent::net::http_call::HttpCall;
//!
//! let mut call = HttpCall::get("tracker.example", "/announce?compact=1", "minitorrent/1").expect("a good target");
//! let sent = call.poll_transmit().len(); // written to a socket
//! call.transmitted(sent);
//! call.handle_bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nde").expect("a good reply");
//! assert_eq!(call.poll_response().expect("all is there").body, b"de");
//! ```

use std::fmt;
use std::mem;
use std::net::IpAddr;

use http::{Request, StatusCode, header};
use ureq_proto::BodyMode;
use ureq_proto::client::state::{RecvBody, RecvResponse};
use ureq_proto::client::{Call, RecvResponseResult, SendRequestResult};

use crate::base::limits;
use crate::net::gzip::{self, GzipError};
use crate::wire::tracker_http::url::{Host, Scheme, TrackerUrl, UrlError, is_local};

/// A GET request and its reply.
pub struct HttpCall {
    step: Step,
    /// The request, and how much of it is on its way.
    request: Vec<u8>,
    sent: usize,
    /// Bytes that came and are not used yet.
    received: Vec<u8>,
    /// Bytes of the body as it came, with the frames of its chunks.
    body_received: usize,
    interim: u32,
    response: Response,
    handed_out: bool,
}

impl HttpCall {
    /// A GET of `path_and_query` at the host that `host_header` names.
    ///
    /// # Errors
    /// [`HttpError::Request`] if one of the three can't stand in a request.
    pub fn get(
        host_header: &str,
        path_and_query: &str,
        user_agent: &str,
    ) -> Result<Self, HttpError> {
        let request = Request::get(path_and_query)
            .header(header::HOST, host_header)
            .header(header::USER_AGENT, user_agent)
            .header(header::ACCEPT, "*/*")
            .header(header::CONNECTION, "close")
            .body(())
            .map_err(|_| HttpError::Request)?;
        let call = Call::new(request).map_err(|_| HttpError::Request)?;
        let mut call = call.proceed();
        let mut request = Vec::new();
        let mut line = vec![0; path_and_query.len() + host_header.len() + user_agent.len() + 256];
        while !call.can_proceed() {
            let made = call.write(&mut line).map_err(|_| HttpError::Request)?;
            request.extend_from_slice(&line[..made]);
        }
        let Ok(Some(SendRequestResult::RecvResponse(call))) = call.proceed() else {
            return Err(HttpError::Request);
        };
        Ok(Self {
            step: Step::Head(Box::new(call)),
            request,
            sent: 0,
            received: Vec::new(),
            body_received: 0,
            interim: 0,
            response: Response::default(),
            handed_out: false,
        })
    }

    /// Takes bytes of the reply. What comes behind its end is ignored.
    ///
    /// # Errors
    /// The call is over with the first error; later bytes change nothing.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Result<(), HttpError> {
        // What comes is kept until it is read: a part at a time, for a full receive buffer is larger than most replies.
        bytes
            .chunks(PART)
            .try_for_each(|part| self.handle_part(part))
    }

    fn handle_part(&mut self, bytes: &[u8]) -> Result<(), HttpError> {
        match self.step {
            Step::Head(_) => {
                self.received.extend_from_slice(bytes);
                // A head can only become whole with an end of line; without one, reading it again is a waste.
                if !bytes.contains(&b'\n') && self.received.len() <= limits::HTTP_HEAD_MAX {
                    return Ok(());
                }
            }
            Step::Body(_) => self.received.extend_from_slice(bytes),
            Step::Done | Step::Taken => return Ok(()),
        }
        self.advance()
    }

    /// The tracker has sent its last byte.
    ///
    /// # Errors
    /// [`HttpError::Truncated`] unless the reply is whole.
    pub fn handle_end(&mut self) -> Result<(), HttpError> {
        match mem::replace(&mut self.step, Step::Taken) {
            Step::Body(call)
                if call.body_mode() == BodyMode::CloseDelimited || call.is_ended_chunked() =>
            {
                self.step = Step::Done;
                Ok(())
            }
            Step::Done => {
                self.step = Step::Done;
                Ok(())
            }
            Step::Head(_) | Step::Body(_) | Step::Taken => Err(HttpError::Truncated),
        }
    }

    /// The bytes to send next; empty when the request is out.
    pub fn poll_transmit(&self) -> &[u8] {
        &self.request[self.sent..]
    }

    /// So many bytes of [`HttpCall::poll_transmit`] were sent.
    pub fn transmitted(&mut self, bytes: usize) {
        self.sent = self.request.len().min(self.sent + bytes);
    }

    /// The whole reply, once.
    pub fn poll_response(&mut self) -> Option<Response> {
        let whole = matches!(self.step, Step::Done) && !self.handed_out;
        self.handed_out |= whole;
        whole.then(|| mem::take(&mut self.response))
    }

    /// Goes on until it needs more bytes. Each round uses bytes, makes some, or ends.
    fn advance(&mut self) -> Result<(), HttpError> {
        loop {
            match mem::replace(&mut self.step, Step::Taken) {
                Step::Head(call) => {
                    if !self.read_head(call)? {
                        return Ok(());
                    }
                }
                Step::Body(call) => {
                    if !self.read_body(call)? {
                        return Ok(());
                    }
                }
                over @ (Step::Done | Step::Taken) => {
                    self.step = over;
                    return Ok(());
                }
            }
        }
    }

    /// Reads a head if it is all there; whether to go on.
    fn read_head(&mut self, mut call: Box<Call<RecvResponse>>) -> Result<bool, HttpError> {
        let head = &self.received[..self.received.len().min(limits::HTTP_HEAD_MAX)];
        let (used, response) = call
            .try_response(head, false)
            .map_err(|_| HttpError::Protocol)?;
        if response.is_none() && used == 0 && self.received.len() > limits::HTTP_HEAD_MAX {
            return Err(HttpError::HeadTooLong);
        }
        self.received.drain(..used);
        let Some(response) = response else {
            self.step = Step::Head(call);
            // What was used up without a response is an interim one, 1xx.
            self.interim += u32::from(used > 0);
            if self.interim > INTERIM_MAX {
                return Err(HttpError::Protocol);
            }
            return Ok(used > 0);
        };
        self.response.status = response.status().as_u16();
        let location = response
            .headers()
            .get_all(header::LOCATION)
            .iter()
            .next_back();
        self.response.location = location.map(|value| value.as_bytes().to_vec());
        if self.response.is_redirect() {
            self.step = Step::Done;
            return Ok(false);
        }
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(HttpError::Protocol);
        }
        self.step = match call.proceed() {
            Some(RecvResponseResult::RecvBody(call)) => {
                if matches!(call.body_mode(), BodyMode::LengthDelimited(len) if len > BODY_MAX) {
                    return Err(HttpError::BodyTooLong);
                }
                Step::Body(Box::new(call))
            }
            Some(RecvResponseResult::Redirect(_) | RecvResponseResult::Cleanup(_)) => Step::Done,
            None => return Err(HttpError::Protocol),
        };
        Ok(true)
    }

    /// Reads what there is of the body; whether to go on.
    fn read_body(&mut self, mut call: Box<Call<RecvBody>>) -> Result<bool, HttpError> {
        let body = &mut self.response.body;
        let at = body.len();
        // One byte more than is let pass tells enough. What is longer than most replies gets all the room there ever is:
        // doubling would leave as much behind, and pages that nothing is written to cost nothing.
        let room = (at + self.received.len()).min(limits::HTTP_BODY_MAX + 1);
        if room > body.capacity().max(USUAL_BODY) {
            body.reserve_exact(limits::HTTP_BODY_MAX + 1 - at);
        }
        body.resize(room, 0);
        let read = call.read(&self.received, &mut body[at..]);
        let (used, made) = read.map_err(|_| HttpError::Protocol)?;
        body.truncate(at + made);
        self.received.drain(..used);
        self.body_received += used;
        // Frames of chunks count too: a body of one-byte chunks may be six times its content, not more.
        if body.len() > limits::HTTP_BODY_MAX
            || self.body_received > 8 * limits::HTTP_BODY_MAX
            || self.received.len() > limits::HTTP_HEAD_MAX && used == 0
        {
            return Err(HttpError::BodyTooLong);
        }
        // A body that ends with the stream could end anywhere: only the end of the stream says so.
        if call.can_proceed() && call.body_mode() != BodyMode::CloseDelimited {
            self.received = Vec::new();
            self.step = Step::Done;
            return Ok(false);
        }
        self.step = Step::Body(call);
        Ok((used > 0 || made > 0) && !self.received.is_empty())
    }
}

impl fmt::Debug for HttpCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.request.split(|&byte| byte == b'\r').next();
        write!(f, "HttpCall({})", line.unwrap_or_default().escape_ascii())
    }
}

/// A whole reply.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Response {
    /// The status, 200 to 999.
    pub status: u16,
    /// The last `Location` header, as sent.
    pub location: Option<Vec<u8>>,
    /// The body, whatever the status; empty for a redirect.
    pub body: Vec<u8>,
}

impl Response {
    /// Whether the reply says to ask elsewhere (301, 302, 303, 307, 308 with a `Location`).
    pub fn is_redirect(&self) -> bool {
        matches!(self.status, 301 | 302 | 303 | 307 | 308) && self.location.is_some()
    }

    /// The same with its body unpacked, if that is a gzip. Nobody asked for one, and some trackers send it all the
    /// same; one that is damaged stays as it is.
    ///
    /// # Errors
    /// [`HttpError::BodyTooLong`] if it is longer than [`limits::HTTP_GZIP_MAX`], or there is more in it than
    /// [`limits::HTTP_BODY_MAX`].
    pub fn unpacked(mut self) -> Result<Self, HttpError> {
        if !gzip::is_gzip(&self.body) {
            return Ok(self);
        }
        if self.body.len() > limits::HTTP_GZIP_MAX {
            return Err(HttpError::BodyTooLong);
        }
        match gzip::gunzip(&self.body, limits::HTTP_BODY_MAX) {
            Ok(body) => self.body = body,
            Err(GzipError::Damaged) => {}
            Err(GzipError::TooLong) => return Err(HttpError::BodyTooLong),
        }
        Ok(self)
    }
}

/// Why a call failed. None of its text comes from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HttpError {
    /// Our request can't be put as HTTP.
    Request,
    /// The reply is not HTTP, has too many headers or too many interim replies.
    Protocol,
    /// The head is longer than [`limits::HTTP_HEAD_MAX`].
    HeadTooLong,
    /// The body is longer than [`limits::HTTP_BODY_MAX`].
    BodyTooLong,
    /// The stream ended before the reply did.
    Truncated,
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "the URL can't be put in an HTTP request",
            Self::Protocol => "the reply is not proper HTTP",
            Self::HeadTooLong => "the reply's head is longer than 16 KiB",
            Self::BodyTooLong => "the reply is longer than 1 MiB",
            Self::Truncated => "the connection ended before the reply did",
        })
    }
}

/// What a chain of redirects may do: at most five, never from `https` to `http`, never from a public
/// address to a local one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Redirects {
    followed: u32,
    was_public: bool,
}

impl Redirects {
    /// Judges the address that is about to be connected to: the check that a changed DNS answer can't dodge.
    ///
    /// # Errors
    /// [`RedirectError::Local`] for a local address after a public one.
    pub fn reach(&mut self, address: IpAddr) -> Result<(), RedirectError> {
        let local = is_local(address);
        if local && self.was_public {
            return Err(RedirectError::Local);
        }
        self.was_public |= !local;
        Ok(())
    }

    /// The URL to ask next, when `from` answered with `location`. The address behind it is judged by
    /// [`Redirects::reach`], a literal one here already.
    ///
    /// # Errors
    /// Says which rule forbids it.
    pub fn follow(
        &mut self,
        from: &TrackerUrl,
        location: &[u8],
    ) -> Result<TrackerUrl, RedirectError> {
        if self.followed == REDIRECTS_MAX {
            return Err(RedirectError::TooMany);
        }
        self.followed += 1;
        let text = std::str::from_utf8(location).map_err(|_| RedirectError::Url(UrlError::Host))?;
        let to = from.join(text).map_err(RedirectError::Url)?;
        match (from.scheme, to.scheme) {
            (Scheme::Http | Scheme::Udp, Scheme::Http | Scheme::Https)
            | (Scheme::Https, Scheme::Https) => {}
            (Scheme::Https, Scheme::Http) => return Err(RedirectError::Downgrade),
            (_, Scheme::Udp) => return Err(RedirectError::Url(UrlError::Scheme)),
        }
        match &to.host {
            Host::Address(ip) if self.was_public && is_local(*ip) => Err(RedirectError::Local),
            Host::Name(name) if self.was_public && name == "localhost" => Err(RedirectError::Local),
            Host::Address(_) | Host::Name(_) => Ok(to),
        }
    }
}

/// Why a redirect is not followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RedirectError {
    /// More than five in a row.
    TooMany,
    /// From `https` to `http`.
    Downgrade,
    /// From a public address to a local one.
    Local,
    /// To something that is no URL of ours.
    Url(UrlError),
}

impl fmt::Display for RedirectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => f.write_str("more than 5 redirects"),
            Self::Downgrade => f.write_str("a redirect from https to http"),
            Self::Local => f.write_str("a redirect from a public to a local address"),
            Self::Url(error) => write!(f, "a bad redirect: {error}"),
        }
    }
}

enum Step {
    Head(Box<Call<RecvResponse>>),
    Body(Box<Call<RecvBody>>),
    Done,
    /// Being moved, or failed.
    Taken,
}

/// Interim replies (1xx) skipped before one counts as an attack.
const INTERIM_MAX: u32 = 8;
/// Bytes that are read at once.
const PART: usize = 16 * 1024;
/// Redirects followed in a row.
const REDIRECTS_MAX: u32 = 5;
/// A body that is no longer grows as any vector does.
const USUAL_BODY: usize = 64 * 1024;
const BODY_MAX: u64 = limits::HTTP_BODY_MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> HttpCall {
        HttpCall::get("h:81", "/announce?info_hash=%12%00%FF", "minitorrent/1").expect("a target")
    }

    /// The reply however it is cut: at once, and a byte at a time.
    fn reply(bytes: &[u8], ended: bool) -> Result<Option<Response>, HttpError> {
        let run = |size: usize| {
            let mut call = call();
            for part in bytes.chunks(size) {
                call.handle_bytes(part)?;
            }
            if ended {
                call.handle_end()?;
            }
            Ok(call.poll_response())
        };
        let (whole, dripped) = (run(usize::MAX), run(1));
        assert_eq!(whole, dripped);
        whole
    }

    fn body(bytes: &[u8], ended: bool) -> Vec<u8> {
        let response = reply(bytes, ended).expect("good HTTP");
        response.expect("a whole reply").body
    }

    #[test]
    fn the_request_is_exact() {
        let mut call = call();
        let expected = "GET /announce?info_hash=%12%00%FF HTTP/1.1\r\nhost: h:81\r\nuser-agent: minitorrent/1\r\n\
            accept: */*\r\nconnection: close\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(call.poll_transmit()), expected);
        call.transmitted(4);
        assert!(call.poll_transmit().starts_with(b"/announce"));
        call.transmitted(usize::MAX / 2);
        assert!(call.poll_transmit().is_empty());
    }

    #[test]
    fn every_target_that_a_url_can_have_can_be_asked_for() {
        for byte in 0..=255u8 {
            let text = format!("http://h/a{}b?c{}d", char::from(byte), char::from(byte));
            if let Ok(url) = TrackerUrl::parse(&text) {
                let target = &url.path_and_query;
                let call = HttpCall::get("h", target, "m").expect("a target");
                let line = format!("GET {target} HTTP/1.1\r\n");
                assert!(call.poll_transmit().starts_with(line.as_bytes()), "{text}");
            }
        }
        assert!(HttpCall::get("h", "/a b", "m").is_err());
        assert!(HttpCall::get("h\r\nx: y", "/", "m").is_err());
    }

    #[test]
    fn a_body_ends_by_length_by_chunks_or_with_the_stream() {
        assert_eq!(
            body(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\ndeXX", false),
            b"de"
        );
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nd\r\n2;x=y\r\nab\r\n0\r\n\r\n";
        assert_eq!(body(chunked, false), b"dab");
        assert_eq!(body(b"HTTP/1.0 200 OK\r\n\r\nd8:", true), b"d8:");
        assert_eq!(body(b"HTTP/1.1 200\nx: y\n\nde", true), b"de");
        assert_eq!(body(b"HTTP/1.1 204 No\r\n\r\n", false), b"");
        assert_eq!(
            body(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", false),
            b""
        );
    }

    #[test]
    fn the_body_of_an_error_is_kept() {
        let bytes = b"HTTP/1.1 404 Gone\r\ncontent-length: 3\r\n\r\nwhy";
        let response = reply(bytes, false).expect("good HTTP").expect("whole");
        assert_eq!((response.status, &*response.body), (404, &b"why"[..]));
    }

    #[test]
    fn a_reply_that_the_stream_cuts_is_an_error() {
        for bytes in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nab",
        ] {
            assert_eq!(reply(bytes, true), Err(HttpError::Truncated));
        }
    }

    #[test]
    fn interim_replies_are_skipped_eight_times() {
        let interim = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n";
        let last = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nd";
        let eight = [interim.repeat(8), last.to_vec()].concat();
        assert_eq!(body(&eight, false), b"d");
        let nine = [interim.repeat(9), last.to_vec()].concat();
        assert_eq!(reply(&nine, false), Err(HttpError::Protocol));
    }

    #[test]
    fn hostile_heads_are_errors() {
        let header = b"x: y\r\n";
        let start = b"HTTP/1.1 200 OK\r\n".to_vec();
        let many = [start.clone(), header.repeat(129), b"\r\n".to_vec()].concat();
        assert_eq!(reply(&many, false), Err(HttpError::Protocol));
        let long = [start.clone(), b"x: ".to_vec(), vec![b'y'; 16 * 1024]].concat();
        assert_eq!(reply(&long, false), Err(HttpError::HeadTooLong));
        for bad in [
            &b"<html>\r\n\r\n"[..],
            b"HTTP/2.0 200 OK\r\n\r\n",
            b"HTTP/1.1 099 X\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1, 2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10000000000000000\r\n",
        ] {
            assert_eq!(
                reply(bad, false),
                Err(HttpError::Protocol),
                "{}",
                bad.escape_ascii()
            );
        }
    }

    #[test]
    fn endless_bodies_stop_at_one_mebibyte() {
        let announced = b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000000\r\n\r\n";
        assert_eq!(reply(announced, false), Err(HttpError::BodyTooLong));
        for (head, part) in [
            (&b"HTTP/1.1 200 OK\r\n\r\n"[..], &b"x"[..]),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n",
                b"x",
            ),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                b"1\r\nx\r\n",
            ),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
                b"t: x\r\n",
            ),
            (
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                b"1",
            ),
        ] {
            let mut call = call();
            call.handle_bytes(head).expect("a good head");
            let part = part.repeat(4096);
            let fed = (0..4096).find(|_| call.handle_bytes(&part) == Err(HttpError::BodyTooLong));
            assert!(fed.is_some(), "{}", part[..3].escape_ascii());
            assert!(call.response.body.capacity() <= limits::HTTP_BODY_MAX + 1);
            assert_eq!(call.poll_response(), None);
        }
    }

    #[test]
    fn a_redirect_is_whole_with_its_head() {
        let bytes =
            b"HTTP/1.1 302 Found\r\nlocation: /a\r\nlocation: /b\r\ncontent-length: 9\r\n\r\n";
        let response = reply(bytes, false).expect("good HTTP").expect("whole");
        assert!(response.is_redirect());
        assert_eq!(response.location.as_deref(), Some(&b"/b"[..]));
        assert_eq!(
            body(b"HTTP/1.1 302 Found\r\ncontent-length: 1\r\n\r\nx", false),
            b"x"
        );
    }

    fn url(text: &str) -> TrackerUrl {
        TrackerUrl::parse(text).expect("a good URL")
    }

    #[test]
    fn five_redirects_are_followed_and_the_sixth_is_not() {
        let mut redirects = Redirects::default();
        let from = url("http://h/announce");
        for _ in 0..5 {
            assert!(redirects.follow(&from, b"/announce").is_ok());
        }
        assert_eq!(
            redirects.follow(&from, b"/announce"),
            Err(RedirectError::TooMany)
        );
    }

    #[test]
    fn redirects_never_leave_tls_nor_our_schemes() {
        let mut redirects = Redirects::default();
        let secure = url("https://h/announce");
        let plain = url("http://h/announce");
        assert_eq!(
            redirects.follow(&secure, b"http://h/announce"),
            Err(RedirectError::Downgrade)
        );
        assert!(redirects.follow(&plain, b"https://h/announce").is_ok());
        for to in [
            &b"file:///etc/passwd"[..],
            b"ftp://h/",
            b"udp://h:1/announce",
        ] {
            let bad = RedirectError::Url(UrlError::Scheme);
            assert_eq!(Redirects::default().follow(&plain, to), Err(bad));
        }
    }

    #[test]
    fn nothing_public_sends_us_to_a_local_address() {
        let from = url("http://h/announce");
        let mut redirects = Redirects::default();
        assert_eq!(redirects.reach([127, 0, 0, 1].into()), Ok(()));
        assert!(redirects.follow(&from, b"http://10.0.0.1/announce").is_ok());
        assert_eq!(redirects.reach([8, 8, 8, 8].into()), Ok(()));
        assert_eq!(
            redirects.reach([169, 254, 169, 254].into()),
            Err(RedirectError::Local)
        );
        for to in [
            &b"http://127.0.0.1:6379/"[..],
            b"http://[::1]/",
            b"//localhost/",
        ] {
            assert_eq!(redirects.follow(&from, to), Err(RedirectError::Local));
        }
    }
}
