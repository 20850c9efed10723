//! Name servers and trackers that do as they are told, each on threads of its own until the process ends.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// The name server that the private `resolv.conf` names.
pub(crate) const NAME_SERVER: &str = "127.0.0.53";

/// Answers for these names; says that names under `nx.test` don't exist; is silent about all others.
pub(crate) fn name_server(names: &[(&str, &[&str])]) {
    let names: BTreeMap<String, Vec<IpAddr>> = names
        .iter()
        .map(|(name, addresses)| {
            let addresses = addresses.iter().map(|ip| ip.parse().expect("an address"));
            (name.to_string(), addresses.collect())
        })
        .collect();
    let socket = UdpSocket::bind((NAME_SERVER, 53)).expect("a private network");
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            if let Some(answer) = answer(&names, &buffer[..len]) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
}

/// Names that stand for the first address when they are first asked for, and for the second from then on, each answer
/// good for no time at all; how often it was asked for an IPv4 address.
pub(crate) fn rebinding_server(names: &[(&str, &str, &str)]) -> Arc<AtomicU32> {
    let table = |which: fn(&(&str, &str, &str)) -> String| -> BTreeMap<String, Vec<IpAddr>> {
        let address = |it| vec![which(it).parse().expect("an address")];
        names
            .iter()
            .map(|it| (it.0.to_owned(), address(it)))
            .collect()
    };
    let (first, then) = (table(|it| it.1.to_owned()), table(|it| it.2.to_owned()));
    let asked = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    let socket = UdpSocket::bind((NAME_SERVER, 53)).expect("a private network");
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let turned = counted.load(Ordering::Relaxed) > 0;
            let names = if turned { &then } else { &first };
            let Some(mut reply) = answer(names, &buffer[..len]) else {
                continue;
            };
            // The time to live stands before the length and the four bytes of the address.
            if reply[7] == 1 {
                counted.fetch_add(1, Ordering::Relaxed);
                let at = reply.len() - 10;
                reply[at..at + 4].fill(0);
            }
            let _ = socket.send_to(&reply, from);
        }
    });
    asked
}

fn answer(names: &BTreeMap<String, Vec<IpAddr>>, query: &[u8]) -> Option<Vec<u8>> {
    let mut at = 12;
    let mut labels = Vec::new();
    while query[at] != 0 {
        let len = usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..at + 1 + len]).to_lowercase());
        at += 1 + len;
    }
    let question = &query[12..at + 5];
    let kind = query[at + 2];
    let name = labels.join(".");
    let known = names.get(&name);
    if known.is_none() && !name.ends_with("nx.test") {
        return None;
    }
    let fits = |ip: &&IpAddr| if ip.is_ipv4() { kind == 1 } else { kind == 28 };
    let found: Vec<&IpAddr> = known.into_iter().flatten().filter(fits).collect();
    let code = if known.is_some() { 0x80 } else { 0x83 };
    let mut out = vec![query[0], query[1], 0x81, code, 0, 1, 0, found.len() as u8];
    out.extend([0; 4]);
    out.extend(question);
    for ip in found {
        out.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0]);
        match ip {
            IpAddr::V4(v4) => out.extend([&[4][..], &v4.octets()].concat()),
            IpAddr::V6(v6) => out.extend([&[16][..], &v6.octets()].concat()),
        }
    }
    Some(out)
}

/// Something that bytes go through both ways.
pub(crate) trait Line: Read + Write {}
impl<T: Read + Write> Line for T {}

/// What a server says to the head of a request.
pub(crate) type Reply = Arc<dyn Fn(&str, &mut dyn Line) + Send + Sync>;

/// Serves HTTP at `ip`, any port, through TLS if it has a certificate; a thread a connection.
pub(crate) fn http_server(
    ip: &str,
    tls: Option<Arc<rustls::ServerConfig>>,
    reply: Reply,
) -> SocketAddr {
    serve_at(TcpListener::bind((ip, 0)), tls, reply)
}

/// Serves plain HTTP at this very port.
pub(crate) fn http_server_at(ip: &str, port: u16, reply: Reply) -> SocketAddr {
    serve_at(TcpListener::bind((ip, port)), None, reply)
}

fn serve_at(
    listener: std::io::Result<TcpListener>,
    tls: Option<Arc<rustls::ServerConfig>>,
    reply: Reply,
) -> SocketAddr {
    let listener = listener.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            let (tls, reply) = (tls.clone(), Arc::clone(&reply));
            thread::spawn(move || match tls {
                None => serve(tcp, &reply),
                Some(config) => {
                    let server = rustls::ServerConnection::new(config).expect("a good config");
                    serve(rustls::StreamOwned::new(server, tcp), &reply);
                }
            });
        }
    });
    address
}

fn serve(mut line: impl Line, reply: &Reply) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if !matches!(line.read(&mut byte), Ok(1)) {
            return;
        }
        head.push(byte[0]);
    }
    reply(&String::from_utf8_lossy(&head), &mut line);
    let _ = line.flush();
}

/// A reply of a tracker that names these peers.
pub(crate) fn peers(peers: &[SocketAddr]) -> Reply {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for peer in peers {
        match peer.ip() {
            IpAddr::V4(ip) => v4.extend(ip.octets().into_iter().chain(peer.port().to_be_bytes())),
            IpAddr::V6(ip) => v6.extend(ip.octets().into_iter().chain(peer.port().to_be_bytes())),
        }
    }
    let mut body = format!("d8:intervali1800e5:peers{}:", v4.len()).into_bytes();
    body.extend(v4);
    body.extend(format!("6:peers6{}:", v6.len()).into_bytes());
    body.extend(v6);
    body.push(b'e');
    whole(body)
}

/// A proper reply with this body.
pub(crate) fn whole(body: Vec<u8>) -> Reply {
    Arc::new(move |_, line| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        let _ = line.write_all(head.as_bytes());
        let _ = line.write_all(&body);
    })
}

/// A head, and then this for ever.
pub(crate) fn endless(head: &'static str, more: &'static [u8], pause: Duration) -> Reply {
    Arc::new(move |_, line| {
        let mut sent = line.write_all(head.as_bytes());
        while sent.is_ok() {
            sent = line.write_all(more).and_then(|()| line.flush());
            thread::sleep(pause);
        }
    })
}

/// Takes connections and says nothing.
pub(crate) fn deaf() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        let kept: Vec<TcpStream> = listener.incoming().flatten().collect();
        drop(kept);
    });
    address
}

/// Answers before it is asked anything, and not in TLS.
pub(crate) fn gruff() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.9:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for mut tcp in listener.incoming().flatten() {
            let _ = tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            let mut rest = [0; 4096];
            while matches!(tcp.read(&mut rest), Ok(1..)) {}
        }
    });
    address
}
