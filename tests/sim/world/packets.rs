//! Datagrams: announces over UDP, and questions about names.

use std::net::SocketAddr;

use minitorrent::engine::io::Input;
use minitorrent::net::resolver::{Action, SocketEvent, SocketId};

use super::{Ev, Place, World};
use crate::services::{self, NameKind};

/// A datagram on its way.
pub(super) enum Packet {
    /// From a node to whoever is at this address.
    Out {
        life: Place,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    /// To a node.
    In {
        life: Place,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
}

/// Something on its way to a resolver's socket.
pub(super) enum NameEvent {
    Datagram { from: SocketAddr, bytes: Vec<u8> },
    Connected,
    Received(Vec<u8>),
    Failed,
}

impl World {
    /// A node sends a datagram.
    pub(super) fn send_packet(&mut self, at: usize, to: SocketAddr, bytes: Vec<u8>) {
        assert!(bytes.len() <= 1200, "a datagram that does not fit");
        let life = self.place(at);
        self.carry(at, Packet::Out { life, to, bytes });
    }

    fn carry(&mut self, at: usize, packet: Packet) {
        if self.rng.below(100) >= self.plan.loss {
            let wait = self.plan.nodes[at].delay + self.rng.below(30_000) as u64;
            self.schedule(wait, Ev::Packet(packet));
        }
    }

    /// A datagram arrives.
    pub(super) fn deliver(&mut self, packet: Packet) {
        match packet {
            Packet::Out { life, to, bytes } => {
                let ip = self.plan.nodes[life.node].address.ip();
                let from = SocketAddr::new(ip, 6881);
                let mut trackers = self.trackers.iter_mut();
                let found = trackers.find(|tracker| tracker.plan.address == to);
                let reply = found.and_then(|it| it.handle_datagram(from, &bytes, &mut self.rng));
                if let Some((from, bytes)) = reply {
                    self.carry(life.node, Packet::In { life, from, bytes });
                }
            }
            Packet::In { life, from, bytes } => {
                if self.lives(life) {
                    self.note(|| format!("{} hears {} from {from}", life.node, bytes.len()));
                    let bytes = &bytes;
                    self.tell(life.node, Input::Datagram { from, bytes });
                }
            }
        }
    }

    /// A node's resolver wants something.
    pub(super) fn look_up(&mut self, at: usize, action: Action) {
        let life = self.place(at);
        let delay = self.plan.nodes[at].delay;
        match action {
            Action::ReadConfig => self.schedule(0, Ev::Config { life }),
            Action::Datagram { socket, to, bytes } => {
                let before = self.nodes[at].names.insert(socket, to);
                assert_eq!(before, None, "a socket twice");
                let event = match self.server(to) {
                    None | Some(NameKind::Closed) => Some(NameEvent::Failed),
                    Some(kind) => services::answer(kind, &self.trackers, &bytes, false)
                        .map(|bytes| NameEvent::Datagram { from: to, bytes }),
                };
                if let Some(event) = event
                    && self.rng.below(100) >= self.plan.loss
                {
                    self.name_later(life, 2 * delay, socket, event);
                }
            }
            Action::Connect { socket, to } => {
                self.nodes[at].names.insert(socket, to);
                self.name_later(life, 2 * delay, socket, NameEvent::Connected);
            }
            Action::Send { socket, bytes } => {
                let to = self.nodes[at].names[&socket];
                let kind = self.server(to).expect("somebody asked for TCP");
                let reply = services::answer(kind, &self.trackers, &bytes[2..], true);
                if let Some(reply) = reply {
                    let len = (reply.len() as u16).to_be_bytes();
                    let event = NameEvent::Received([&len[..], &reply].concat());
                    self.name_later(life, 2 * delay, socket, event);
                }
            }
            Action::Close { socket } => {
                let open = self.nodes[at].names.remove(&socket);
                assert!(open.is_some(), "only what is open is closed");
            }
        }
    }

    fn name_later(&mut self, life: Place, wait: u64, socket: SocketId, event: NameEvent) {
        let event = Ev::Name {
            life,
            socket,
            event,
        };
        self.schedule(wait, event);
    }

    fn server(&self, at: SocketAddr) -> Option<NameKind> {
        let mut servers = self.plan.servers.iter();
        servers.find(|(address, _)| *address == at).map(|it| it.1)
    }

    /// The texts of the system are read.
    pub(super) fn read_config(&mut self, at: usize) {
        let lines = self.plan.servers.iter();
        let text: String = lines
            .map(|(address, _)| format!("nameserver {}\n", address.ip()))
            .collect();
        let (resolv_conf, hosts) = (text.as_str(), "");
        self.tell(at, Input::DnsConfig { resolv_conf, hosts });
    }

    /// Something happens on a resolver's socket, if it is open still.
    pub(super) fn name_event(&mut self, at: usize, socket: SocketId, event: &NameEvent) {
        if !self.nodes[at].names.contains_key(&socket) {
            return;
        }
        self.note(|| format!("{at} hears of a name"));
        let event = match event {
            NameEvent::Datagram { from, bytes } => SocketEvent::Datagram { from: *from, bytes },
            NameEvent::Connected => SocketEvent::Connected,
            NameEvent::Received(bytes) => SocketEvent::Received(bytes),
            NameEvent::Failed => SocketEvent::Failed,
        };
        self.tell(at, Input::Dns { socket, event });
    }
}
