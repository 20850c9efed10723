//! A tracker of our own on ::1: opentracker speaks IPv4 only, as Debian builds it.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::common::process::{Outcome, Process, until};
use crate::stage::START_LIMIT;

/// Tells everybody who announces of everybody else who did (BEP 3, BEP 7), whatever the torrent.
pub(crate) struct Tracker6 {
    address: SocketAddr,
    known: Known,
}

/// Who listens where, and whether it has everything.
type Known = Arc<Mutex<BTreeMap<SocketAddr, bool>>>;

impl Tracker6 {
    /// Starts it on threads of its own, which end with the process.
    pub(crate) fn start() -> Outcome<Self> {
        let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).map_err(|e| e.to_string())?;
        let address = listener.local_addr().map_err(|e| e.to_string())?;
        let known = Known::default();
        let theirs = Arc::clone(&known);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let known = Arc::clone(&theirs);
                thread::spawn(move || serve(stream, &known));
            }
        });
        Ok(Self { address, known })
    }

    /// Its announce URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/announce", self.address)
    }

    /// Waits until a seeder has announced itself.
    pub(crate) fn wait_for_seeder(&self, process: &mut Process) -> Outcome {
        until("the seeder's announce", START_LIMIT, || {
            process.alive()?;
            let known = self.known.lock().map_err(|e| e.to_string())?;
            Ok(known.values().any(|is_seed| *is_seed))
        })
    }
}

fn serve(mut stream: TcpStream, known: &Known) -> io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head);
    let number = |name: &str| {
        let at = head.find(&format!("{name}="))?;
        let digits = head[at + name.len() + 1..].split(|c: char| !c.is_ascii_digit());
        digits.into_iter().next()?.parse::<u64>().ok()
    };
    let port = number("&port").or_else(|| number("?port"));
    let port = port.and_then(|port| u16::try_from(port).ok());
    let from = stream.peer_addr()?;
    let mut peers = Vec::new();
    if let (Some(port), Ok(mut known)) = (port, known.lock()) {
        let here = SocketAddr::new(from.ip(), port);
        if head.contains("event=stopped") {
            known.remove(&here);
        } else {
            known.insert(here, number("left") == Some(0));
        }
        for peer in known.keys().filter(|peer| **peer != here) {
            if let IpAddr::V6(ip) = peer.ip() {
                peers.extend(ip.octets());
                peers.extend(peer.port().to_be_bytes());
            }
        }
    }
    let mut body = format!("d8:intervali60e5:peers0:6:peers6{}:", peers.len()).into_bytes();
    body.extend(peers);
    body.push(b'e');
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(&body)
}
