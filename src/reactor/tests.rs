//! The table of sockets against real ones on 127.0.0.1.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use mio::Events;

use super::host::HostId;
use super::sockets::Sockets;
use crate::base::slots::Key;
use crate::base::time::Instant;
use crate::engine::io::ConnectError;

const HOST: HostId = HostId(0);
const NOW: Instant = Instant::from_micros(0);

struct Scene {
    net: Sockets,
    events: Events,
    listener: TcpListener,
}

impl Scene {
    fn new() -> Self {
        Self {
            net: Sockets::new(None).expect("a descriptor for the poll"),
            events: Events::with_capacity(16),
            listener: TcpListener::bind("127.0.0.1:0").expect("a free port"),
        }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("it is bound")
    }

    /// Waits for events and marks them.
    fn wait(&mut self) {
        let most = Some(Duration::from_secs(10));
        self.net.wait(&mut self.events, most).expect("it waits");
        for event in &self.events {
            self.net.mark(event);
        }
    }
}

#[test]
fn a_connection_that_stands_is_readable_once_bytes_came() {
    let mut scene = Scene::new();
    let conn = Key::from_bits(7);
    let key = scene.net.connect(NOW, HOST, conn, scene.address());
    let key = key.expect("it begins");
    let (mut other, _) = scene.listener.accept().expect("it came");
    scene.wait();
    assert_eq!(scene.net.take_connecting(), [key]);
    assert_eq!(scene.net.connected(key), Some(Ok(())));
    let mut queue = Vec::new();
    scene.net.take_readable(&mut queue);
    assert_eq!(queue, []);

    other.write_all(b"hello").expect("there is room");
    scene.wait();
    scene.net.take_readable(&mut queue);
    assert_eq!(queue, [key]);
    let stream = scene.net.stream_mut(key).expect("it is open");
    let mut bytes = [0; 16];
    assert_eq!(stream.tcp.read(&mut bytes).ok(), Some(5));
    scene.net.handle_read(NOW, key, Some(5), bytes.len());
    scene.net.take_readable(&mut queue);
    assert_eq!(queue, []);
}

#[test]
fn a_closed_socket_keeps_its_slot_to_the_end_of_the_turn_and_its_events_find_no_stranger() {
    let mut scene = Scene::new();
    let (old, new) = (Key::from_bits(1), Key::from_bits(2));
    let to = scene.address();
    let first = scene.net.connect(NOW, HOST, old, to).expect("it begins");
    scene.net.close(first);
    let second = scene.net.connect(NOW, HOST, new, to).expect("it begins");
    assert_ne!(first.index(), second.index());
    scene.net.reap();
    let third = scene.net.connect(NOW, HOST, old, to).expect("it begins");
    assert_eq!(first.index(), third.index());
    assert!(scene.net.stream(first).is_none() && scene.net.stream(third).is_some());
}

#[test]
fn a_refused_connection_is_told_as_refused() {
    let mut scene = Scene::new();
    let to = scene.address();
    scene.listener = TcpListener::bind("127.0.0.1:0").expect("another free port");
    let conn = Key::from_bits(1);
    // Loopback may refuse at once.
    let why = match scene.net.connect(NOW, HOST, conn, to) {
        Err(why) => why,
        Ok(key) => {
            scene.wait();
            let result = scene.net.connected(key).expect("it is settled");
            result.expect_err("no one listens there")
        }
    };
    assert_eq!(why, ConnectError::Refused);
}
