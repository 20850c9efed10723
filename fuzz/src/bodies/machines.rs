//! Bodies of machines that eat a stream: how it is cut must not matter, and nothing may grow without bound.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use minitorrent::base::limits;
use minitorrent::base::rng::Rng;
use minitorrent::base::time::Instant;
use minitorrent::engine::peer::inbox::{Inbox, Pool};
use minitorrent::net::http_call::{HttpCall, HttpError, Response};
use minitorrent::net::http_serve::HttpServe;
use minitorrent::net::resolver::{Action, Resolver, ResolverConfig, SocketEvent, SocketId};
use minitorrent::wire::message::Message;

use super::source::Source;

/// A stream of messages gives the same ones, and the same end, however it is cut.
pub fn message(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let bitfield_len = usize::from(source.byte());
    let mut again = Source::new(source.rest());
    let splits: Vec<&[u8]> = again.splits().collect();
    let whole = splits.concat();
    let at_once = read_all([whole.as_slice()].into_iter(), bitfield_len);
    let in_bites = read_all(splits.into_iter(), bitfield_len);
    assert_eq!(at_once, in_bites);
}

/// The messages of a stream as text, and whether it ended in an error.
fn read_all<'a>(bites: impl Iterator<Item = &'a [u8]>, bitfield_len: usize) -> (Vec<String>, bool) {
    let (mut inbox, mut pool) = (Inbox::default(), Pool::default());
    let mut messages = Vec::new();
    for bytes in bites {
        let mut at = 0;
        while at < bytes.len() {
            if inbox.is_partial() {
                let Ok((taken, whole)) = inbox.join(&bytes[at..], bitfield_len) else {
                    return (messages, true);
                };
                assert!(taken > 0 || whole.is_some(), "no way forward");
                at += taken;
                if let Some(whole) = whole {
                    let frame = Inbox::frame(&whole, bitfield_len).expect("it was whole");
                    let frame = frame.expect("it was whole");
                    assert_eq!(frame.used, whole.len(), "nothing else is in the buffer");
                    messages.push(line(frame.message, &whole[frame.data.clone()]));
                    pool.give(whole);
                }
            } else {
                match Inbox::frame(&bytes[at..], bitfield_len) {
                    Ok(Some(frame)) => {
                        let data = &bytes[at..][frame.data.clone()];
                        messages.push(line(frame.message, data));
                        at += frame.used;
                    }
                    Ok(None) => {
                        inbox.keep(&bytes[at..], &mut pool);
                        at = bytes.len();
                    }
                    Err(_) => return (messages, true),
                }
            }
        }
    }
    inbox.close(&mut pool);
    assert_eq!(pool.out(), 0, "a buffer is lost");
    (messages, false)
}

fn line(message: Message<'_>, behind: &[u8]) -> String {
    if let Message::Piece { data, .. } = message {
        assert_eq!(data, behind, "the range is that of the data");
    }
    format!("{message:?}")
}

/// A reply over HTTP is the same however it is cut.
pub fn http_call(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let splits: Vec<&[u8]> = source.splits().collect();
    let whole = splits.concat();
    let at_once = call([whole.as_slice()].into_iter());
    let in_bites = call(splits.into_iter());
    assert_eq!(
        at_once.is_ok(),
        in_bites.is_ok(),
        "{at_once:?} {in_bites:?}"
    );
    if let (Ok(one), Ok(two)) = (at_once, in_bites) {
        assert_eq!((one.status, one.location), (two.status, two.location));
        assert_eq!(one.body, two.body);
    }
}

fn call<'a>(bites: impl Iterator<Item = &'a [u8]>) -> Result<Response, HttpError> {
    let mut call = HttpCall::get("tracker.example", "/announce?x=1", "fuzz/1")?;
    call.transmitted(call.poll_transmit().len());
    let mut found = None;
    for bite in bites.filter(|bite| !bite.is_empty()) {
        call.handle_bytes(bite)?;
        found = found.or_else(|| call.poll_response());
        if found.is_some() {
            break;
        }
    }
    if found.is_none() {
        call.handle_end()?;
        found = call.poll_response();
    }
    let response = found.expect("an end without an error is a whole reply");
    assert!(response.body.len() <= limits::HTTP_BODY_MAX);
    assert!(call.poll_response().is_none(), "only once");
    Ok(response)
}

/// A request to our small server is answered the same way however it is cut.
pub fn http_serve(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let splits: Vec<&[u8]> = source.splits().collect();
    let whole = splits.concat();
    assert_eq!(
        serve([whole.as_slice()].into_iter()),
        serve(splits.into_iter())
    );
}

fn serve<'a>(bites: impl Iterator<Item = &'a [u8]>) -> (Option<String>, Vec<u8>) {
    let mut serve = HttpServe::new();
    let mut asked = None;
    // A head is looked at when a line of it ends: this ends all of them.
    let end: &[u8] = b"\r\n\r\n";
    for bite in bites.chain([end]) {
        serve.handle_bytes(bite);
        if let Some(request) = serve.poll_request() {
            assert!(asked.replace(request.path_and_query).is_none(), "once");
            serve.respond(200, "text/plain", b"de");
        }
    }
    let answer = serve.poll_transmit().to_vec();
    assert!(!answer.is_empty() || asked.is_none(), "asked, not answered");
    serve.transmitted(answer.len());
    assert_eq!(serve.is_done(), !answer.is_empty());
    (asked, answer)
}

/// The resolver: configuration, then whatever servers answer, whenever they do.
pub fn dns(bytes: &[u8]) {
    let mut source = Source::new(bytes);
    let text_len = source.below(64);
    let text = String::from_utf8_lossy(source.take(text_len)).into_owned();
    let mut dns = Dns::new(&text);
    while !source.is_empty() {
        dns.step(&mut source);
    }
    dns.finish();
}

struct Dns {
    now: Instant,
    rng: Rng,
    resolver: Resolver,
    open: Vec<(SocketId, SocketAddr, Vec<u8>)>,
    asked: usize,
    answered: usize,
}

impl Dns {
    fn new(text: &str) -> Self {
        let config = format!("nameserver 192.0.2.1\nnameserver 192.0.2.2\n{text}");
        Self {
            now: Instant::from_micros(1),
            rng: Rng::new([3; 32]),
            resolver: Resolver::new(ResolverConfig::from_text(&config, text)),
            open: Vec::new(),
            asked: 0,
            answered: 0,
        }
    }

    fn step(&mut self, source: &mut Source<'_>) {
        let now = self.now;
        match source.below(8) {
            0 => {
                let len = source.below(40);
                let name = String::from_utf8_lossy(source.take(len)).into_owned();
                self.resolver.resolve(now, &name, &mut self.rng);
            }
            1 => {
                let name = ["a.example", "b", "c.example."][source.below(3)];
                self.resolver.resolve(now, name, &mut self.rng);
            }
            2 => {
                self.now += Duration::from_millis(u64::from(source.short()));
                self.ring();
            }
            3 => {
                let text = format!("nameserver 192.0.2.{}", source.byte());
                let config = ResolverConfig::from_text(&text, "");
                self.resolver.reconfigure(now, config, &mut self.rng);
            }
            kind => {
                let Some((socket, from, asked)) = self.pick(source) else {
                    return;
                };
                let len = source.below(128);
                let mut reply = asked;
                if kind >= 6 && reply.len() > 12 {
                    // The head and the question of what was asked, so that what follows is looked at.
                    (reply[2], reply[3]) = (0x80 | source.byte() & 7, source.byte());
                    reply[6..12].fill(0);
                    (reply[7], reply[9]) = (source.byte(), source.byte());
                    reply.extend_from_slice(source.take(len));
                } else {
                    reply = source.take(len).to_vec();
                }
                let tcp = [&(reply.len() as u16).to_be_bytes(), reply.as_slice()].concat();
                let event = match source.below(5) {
                    0 => SocketEvent::Failed,
                    1 => SocketEvent::Connected,
                    2 => SocketEvent::Received(&tcp),
                    _ => SocketEvent::Datagram {
                        from,
                        bytes: &reply,
                    },
                };
                self.resolver
                    .handle_socket(now, socket, event, &mut self.rng);
            }
        }
        self.drain();
    }

    fn pick(&self, source: &mut Source<'_>) -> Option<(SocketId, SocketAddr, Vec<u8>)> {
        let at = source.below(self.open.len().max(1));
        self.open.get(at).cloned()
    }

    fn ring(&mut self) {
        while self
            .resolver
            .poll_timeout()
            .is_some_and(|at| at <= self.now)
        {
            self.resolver.handle_timeout(self.now, &mut self.rng);
            let next = self.resolver.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "it spins");
        }
    }

    fn drain(&mut self) {
        while let Some(action) = self.resolver.poll_action() {
            match action {
                Action::Datagram { socket, to, bytes } => {
                    assert!(bytes.len() <= 300);
                    self.open.push((socket, to, bytes));
                }
                Action::Connect { socket, to } => self.open.push((socket, to, Vec::new())),
                Action::Send { socket, bytes } => {
                    assert!(bytes.len() <= 302);
                    let mut open = self.open.iter_mut();
                    let found = open.find(|(known, ..)| *known == socket);
                    let (.., asked) = found.expect("an open one");
                    *asked = bytes.get(2..).unwrap_or_default().to_vec();
                }
                Action::Close { socket } => {
                    let before = self.open.len();
                    self.open.retain(|(known, ..)| *known != socket);
                    assert_eq!(self.open.len() + 1, before, "only what is open is closed");
                }
                Action::ReadConfig => self.asked += 1,
            }
        }
        while let Some((_, result)) = self.resolver.poll_resolved() {
            self.answered += 1;
            if let Ok(addresses) = result {
                let count = addresses.len();
                assert!((1..=limits::DNS_ADDRESSES_MAX).contains(&count));
                let odd =
                    |ip: &IpAddr| matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
                assert!(!addresses.iter().any(odd));
            }
        }
        assert!(self.open.len() <= 4 * limits::DNS_LOOKUPS_MAX);
    }

    /// Every lookup is over within its time, and leaves no socket behind.
    fn finish(&mut self) {
        let end = self.now + limits::DNS_DEADLINE;
        while let Some(at) = self.resolver.poll_timeout() {
            assert!(at <= end, "a lookup takes longer than it may");
            self.now = self.now.max(at);
            self.ring();
            self.drain();
        }
        assert!(self.open.is_empty(), "a socket is left");
    }
}
