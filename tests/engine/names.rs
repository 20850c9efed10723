//! Trackers with names and TLS, as the session sees them: exact times, no socket.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use minitorrent::base::time::Instant;
use minitorrent::engine::Session;
use minitorrent::engine::command::{AddTorrent, Aim, Command, Reply, Settings};
use minitorrent::engine::io::{ConnId, DiskDone, Event, Input, Output};
use minitorrent::net::resolver::{Action, SocketEvent, SocketId};

use crate::scene::{OURS, at, meta};

/// A session with one tracker, and what it wants of the world.
struct World {
    session: Session,
    now: Instant,
    /// The text that `resolv.conf` has, and how often it was read.
    resolv_conf: &'static str,
    config_reads: usize,
    /// The one name server that answers, and what.
    answers: Option<(SocketAddr, IpAddr)>,
    open: BTreeMap<SocketId, SocketAddr>,
    connects: Vec<(Instant, ConnId, SocketAddr)>,
    authorities: Vec<ConnId>,
    reports: Vec<(Instant, Result<u32, String>)>,
    datagrams: Vec<(SocketAddr, Vec<u8>)>,
    ended: bool,
}

impl World {
    fn new(url: &str, resolv_conf: &'static str) -> Self {
        let mut metainfo = (*meta(2)).clone();
        metainfo.trackers = vec![vec![url.to_owned()]];
        let now = at(0.0);
        let mut session = Session::new(now, Settings::new(OURS), [9; 32]);
        let reply = session.handle_command(
            now,
            Command::Add(AddTorrent {
                metainfo: Arc::new(metainfo),
                aim: Aim::Download,
                peers: Vec::new(),
            }),
        );
        let Ok(Reply::Added(torrent)) = reply else {
            panic!("{reply:?}");
        };
        let mut world = Self {
            session,
            now,
            resolv_conf,
            config_reads: 0,
            answers: None,
            open: BTreeMap::new(),
            connects: Vec::new(),
            authorities: Vec::new(),
            reports: Vec::new(),
            datagrams: Vec::new(),
            ended: false,
        };
        world.drain();
        world.handle(Input::DiskDone(DiskDone::CheckEnded {
            torrent,
            error: None,
        }));
        world
    }

    fn handle(&mut self, input: Input<'_>) {
        self.session.handle(self.now, input);
        self.drain();
    }

    /// Does what the session wants; name servers refuse, answer or are silent.
    fn drain(&mut self) {
        let mut asked = Vec::new();
        let mut reads = false;
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Dns(Action::ReadConfig) => reads = true,
                Output::Dns(Action::Datagram { socket, to, bytes }) => {
                    assert!(self.open.insert(socket, to).is_none());
                    asked.push((socket, to, bytes));
                }
                Output::Dns(Action::Close { socket }) => {
                    assert!(self.open.remove(&socket).is_some());
                }
                Output::Datagram { to, bytes } => self.datagrams.push((to, bytes)),
                Output::Connect { conn, to } => self.connects.push((self.now, conn, to)),
                Output::ReadAuthorities { conn } => self.authorities.push(conn),
                Output::Event(Event::Tracker { result, .. }) => {
                    self.reports.push((self.now, result));
                }
                Output::Event(Event::Stopped) => self.ended = true,
                _ => {}
            }
        }
        if reads {
            self.config_reads += 1;
            let (resolv_conf, hosts) = (self.resolv_conf, "");
            self.handle(Input::DnsConfig { resolv_conf, hosts });
        }
        for (socket, to, query) in asked {
            if !self.open.contains_key(&socket) {
                continue;
            }
            if to.ip().is_loopback() {
                let event = SocketEvent::Failed;
                self.handle(Input::Dns { socket, event });
            } else if let Some((server, ip)) = self.answers
                && server == to
            {
                let bytes = &answer(&query, ip);
                let event = SocketEvent::Datagram { from: to, bytes };
                self.handle(Input::Dns { socket, event });
            }
        }
    }

    fn run_to(&mut self, seconds: f64) {
        let end = at(seconds);
        while let Some(due) = self.session.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.handle(Input::Timeout);
        }
        self.now = end;
    }
}

/// The answer to a question for A or AAAA: one address, or none of that family.
fn answer(query: &[u8], ip: IpAddr) -> Vec<u8> {
    let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap_or(0) + 5;
    let fits = query[end - 3] == if ip.is_ipv4() { 1 } else { 28 };
    let mut out = vec![query[0], query[1], 0x81, 0x80, 0, 1, 0, u8::from(fits)];
    out.extend([0; 4]);
    out.extend(&query[12..end]);
    if let (IpAddr::V4(v4), true) = (ip, fits) {
        out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        out.extend(v4.octets());
    }
    out
}

const SERVER: &str = "nameserver 192.0.2.53\n";

fn errors(world: &World) -> Vec<(Duration, &str)> {
    let start = at(0.0);
    let errors = world.reports.iter().filter_map(|(when, result)| {
        let error = result.as_ref().err()?;
        Some((*when - start, error.as_str()))
    });
    errors.collect()
}

#[test]
fn a_name_server_that_never_answers_fails_the_tracker_at_ten_seconds() {
    let mut world = World::new("http://t.example/announce", SERVER);
    world.run_to(9.999);
    assert_eq!(errors(&world), []);
    world.run_to(10.0);
    let (when, error) = errors(&world)[0];
    assert_eq!(when, Duration::from_secs(10));
    assert_eq!(error, "[dns] no name server answered in time");
    assert!(world.open.is_empty(), "every socket was closed");
}

#[test]
fn nobody_is_asked_before_the_systems_configuration_is_known() {
    let mut world = World::new("http://t.example/announce", SERVER);
    world.run_to(0.0);
    assert_eq!(world.config_reads, 1);
    let asked: Vec<_> = world.open.values().map(ToString::to_string).collect();
    assert_eq!(asked, ["192.0.2.53:53", "192.0.2.53:53"], "A and AAAA");
}

#[test]
fn a_name_server_that_appears_late_is_used_within_a_minute() {
    for appears in [1.0, 30.0, 100.0, 400.0, 3_000.0] {
        let mut world = World::new("http://t.example/announce", "");
        world.run_to(appears);
        assert!(world.connects.is_empty());
        world.resolv_conf = SERVER;
        let (server, ip) = ("192.0.2.53:53", "198.51.100.1");
        world.answers = Some((server.parse().unwrap(), ip.parse().unwrap()));
        world.run_to(appears + 60.0);
        let (_, _, to) = world.connects[0];
        assert_eq!(to, "198.51.100.1:80".parse().unwrap());
    }
}

#[test]
fn a_goodbye_closes_the_sockets_of_names_that_are_looked_up() {
    let mut world = World::new("http://t.example/announce", SERVER);
    world.run_to(1.0);
    assert_eq!(world.open.len(), 2);
    world
        .session
        .handle_command(world.now, Command::Shutdown)
        .expect("it runs");
    world.drain();
    assert!(world.ended && world.open.is_empty());
    assert_eq!(world.session.poll_timeout(), None);
}

/// A UDP tracker is waited for 15 seconds before it is asked again; after the goodbye nobody waits.
#[test]
fn two_seconds_after_a_shutdown_it_has_stopped_and_sleeps_whoever_owes_an_answer() {
    let mut world = World::new("udp://192.0.2.1:6969/announce", "");
    world.run_to(0.0);
    let from = "192.0.2.1:6969".parse().expect("a literal");
    // It gave an id, and heard of us: it is told goodbye.
    let (_, asked) = world.datagrams.pop().expect("a connect");
    let mut bytes = [0; 16];
    bytes[4..8].copy_from_slice(&asked[12..16]);
    let bytes = &bytes;
    world.handle(Input::Datagram { from, bytes });
    let (_, asked) = world.datagrams.pop().expect("an announce");
    let mut bytes = [0; 20];
    (bytes[3], bytes[10]) = (1, 8);
    bytes[4..8].copy_from_slice(&asked[12..16]);
    let bytes = &bytes;
    world.handle(Input::Datagram { from, bytes });
    world.run_to(100.0);
    world
        .session
        .handle_command(world.now, Command::Shutdown)
        .expect("it runs");
    world.drain();
    assert!(!world.ended && world.datagrams.len() == 1, "a goodbye");
    world.run_to(101.999);
    assert!(!world.ended);
    world.run_to(102.0);
    assert!(world.ended);
    assert_eq!(world.session.poll_timeout(), None);
}

#[test]
#[cfg(feature = "tls")]
fn authorities_are_asked_for_when_an_https_tracker_is_reached_and_no_sooner() {
    use minitorrent::net::stream::{TlsConfig, TlsError};

    let mut world = World::new("https://192.0.2.1/announce", "");
    world.run_to(0.0);
    let (_, conn, to) = world.connects[0];
    assert_eq!(to, "192.0.2.1:443".parse().unwrap());
    assert_eq!(world.authorities, []);
    world.handle(Input::Connected { conn });
    assert_eq!(world.authorities, [conn]);
    world.handle(Input::Authorities {
        conn,
        trust: TlsConfig::load(None),
        now_unix: 1_800_000_000,
    });
    let mut segments = minitorrent::engine::io::Segments::new(4096);
    world.session.poll_transmit(world.now, conn, &mut segments);
    assert!(segments.bytes() > 100, "a hello");

    let mut world = World::new("https://192.0.2.1/announce", "");
    world.run_to(0.0);
    let (_, conn, _) = world.connects[0];
    world.handle(Input::Connected { conn });
    world.handle(Input::Authorities {
        conn,
        trust: Err(TlsError::NoAuthorities),
        now_unix: 1_800_000_000,
    });
    let (_, error) = errors(&world)[0];
    assert!(error.starts_with("[tls.ca-file] "), "{error}");
}

#[test]
fn a_plain_tracker_needs_no_authorities() {
    let mut world = World::new("http://192.0.2.1/announce", "");
    world.run_to(0.0);
    let (_, conn, _) = world.connects[0];
    world.handle(Input::Connected { conn });
    assert_eq!(world.authorities, []);
    assert_eq!(world.config_reads, 0);
}
