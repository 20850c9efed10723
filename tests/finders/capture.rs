//! Every packet of this network.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// A capture that goes on until it is ended.
pub(crate) struct Capture {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Vec<u8>>>,
}

impl Capture {
    /// Begins to keep IP packets, headers and all.
    pub(crate) fn begin() -> Self {
        let all = Protocol::from(i32::from(ETH_P_ALL.to_be()));
        let mut socket = Socket::new(Domain::PACKET, Type::RAW, Some(all)).expect("root may");
        socket.set_recv_buffer_size(8 << 20).expect("a buffer");
        let wait = Some(Duration::from_millis(20));
        socket.set_read_timeout(wait).expect("a time-out");
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let (mut packets, mut buffer) = (Vec::new(), vec![0; 70_000]);
            loop {
                match socket.read(&mut buffer) {
                    Ok(len) if len > ETHERNET => packets.push(buffer[ETHERNET..len].to_vec()),
                    Ok(_) => {}
                    // What was sent before the end was there before it was told of.
                    Err(_) if over.load(Ordering::SeqCst) => return packets,
                    Err(_) => {}
                }
            }
        });
        Self { is_over, thread }
    }

    /// The packets so far.
    pub(crate) fn end(self) -> Packets {
        self.is_over.store(true, Ordering::SeqCst);
        Packets(self.thread.join().expect("it counts on"))
    }
}

/// What was captured.
pub(crate) struct Packets(Vec<Vec<u8>>);

impl Packets {
    /// UDP packets to this port.
    pub(crate) fn udp_to(&self, port: u16) -> usize {
        self.udp().filter(|(to, _)| *to == port).count()
    }

    /// All UDP packets: the port that each goes to, and its payload.
    pub(crate) fn udp(&self) -> impl Iterator<Item = (u16, &[u8])> {
        self.0.iter().filter_map(|packet| {
            let (protocol, header) = match packet.first()? >> 4 {
                4 => (*packet.get(9)?, usize::from(packet[0] & 15) * 4),
                _ => (*packet.get(6)?, 40),
            };
            let udp = packet
                .get(header..)
                .filter(|udp| protocol == 17 && udp.len() >= 8)?;
            Some((u16::from_be_bytes([udp[2], udp[3]]), &udp[8..]))
        })
    }

    /// How many packets, of whatever kind, have these bytes in them.
    pub(crate) fn with(&self, bytes: &[u8]) -> usize {
        let has = |packet: &&Vec<u8>| packet.windows(bytes.len()).any(|window| window == bytes);
        self.0.iter().filter(has).count()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

const ETH_P_ALL: u16 = 3;
/// Bytes of a frame before the packet.
const ETHERNET: usize = 14;
