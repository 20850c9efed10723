//! The groups of the neighbourhood (BEP 14): one socket a family, a member on every interface that carries groups.
//!
//! Interfaces come and go, so they are looked at anew with every announce: that is once in some minutes. What does
//! not work on one of them is nobody's trouble: it is noted in the log and the others go on.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mio::net::UdpSocket;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket, Type};

/// A socket that hears a group, on a port that it shares with other clients of this machine. Where the group's port
/// can't be had, any port will do: we are found, though we hear nobody.
pub(super) fn open(group: SocketAddr) -> io::Result<UdpSocket> {
    let (domain, any) = match group {
        SocketAddr::V4(_) => (Domain::IPV4, IpAddr::from(Ipv4Addr::UNSPECIFIED)),
        SocketAddr::V6(_) => (Domain::IPV6, IpAddr::from(Ipv6Addr::UNSPECIFIED)),
    };
    let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    if group.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Bound to the group itself, the socket hears nothing but the group.
    if let Err(error) = socket.bind(&group.into()) {
        log::info!("nobody is heard at {group}: {error}");
        socket.bind(&SocketAddr::new(any, 0).into())?;
    }
    Ok(UdpSocket::from_std(socket.into()))
}

/// Joins the group on every interface, and sends `bytes` to it there. Gives on how many that went well.
pub(super) fn announce(socket: &UdpSocket, group: SocketAddr, bytes: &[u8]) -> usize {
    let mut told = 0;
    for interface in interfaces(group) {
        if let Err(error) = join(socket, group, interface)
            && error.kind() != io::ErrorKind::AddrInUse
        {
            log::debug!("interface {interface} is not in {group}: {error}");
        }
        match choose(socket, group, interface).and_then(|()| socket.send_to(bytes, group)) {
            Ok(_) => told += 1,
            Err(error) => log::debug!("interface {interface} carries nothing to {group}: {error}"),
        }
    }
    told
}

/// Whoever is a member already is told so by `AddrInUse`.
fn join(socket: &UdpSocket, group: SocketAddr, interface: u32) -> io::Result<()> {
    let socket = SockRef::from(socket);
    match group.ip() {
        IpAddr::V4(ip) => {
            socket.join_multicast_v4_n(&ip, &InterfaceIndexOrAddress::Index(interface))
        }
        IpAddr::V6(ip) => socket.join_multicast_v6(&ip, interface),
    }
}

/// Makes an interface the one that the next datagram leaves by.
fn choose(socket: &UdpSocket, group: SocketAddr, interface: u32) -> io::Result<()> {
    match group {
        SocketAddr::V4(_) => {
            let any = Ipv4Addr::UNSPECIFIED;
            rustix::net::sockopt::set_ip_multicast_if_with_ifindex(socket, &any, &any, interface)?;
        }
        SocketAddr::V6(_) => SockRef::from(socket).set_multicast_if_v6(interface)?,
    }
    Ok(())
}

/// The numbers of the interfaces with an address of the group's family; the loopback device only if there is no other.
/// Where the system does not list them: 0, its own choice.
fn interfaces(group: SocketAddr) -> Vec<u32> {
    let path = match group {
        SocketAddr::V4(_) => INTERFACES_V4,
        SocketAddr::V6(_) => INTERFACES_V6,
    };
    match (fs::read_to_string(path), group) {
        (Ok(text), SocketAddr::V4(_)) => chosen(listed_v4(&text)),
        (Ok(text), SocketAddr::V6(_)) => chosen(listed_v6(&text)),
        (Err(_), _) => vec![0],
    }
}

/// Without the loopback device, unless it is alone; each once.
fn chosen(mut listed: Vec<(u32, &str)>) -> Vec<u32> {
    if listed.iter().any(|(_, name)| *name != LOOPBACK) {
        listed.retain(|(_, name)| *name != LOOPBACK);
    }
    let mut numbers: Vec<u32> = listed.into_iter().map(|(number, _)| number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers.truncate(INTERFACES_MAX);
    numbers
}

/// `1\tlo        :     1      V3`, and lines of its groups, which begin with tabs.
fn listed_v4(text: &str) -> Vec<(u32, &str)> {
    let lines = text.lines().filter_map(|line| {
        let (number, rest) = line.split_once('\t')?;
        let name = rest.split([' ', ':']).next()?;
        Some((number.parse().ok()?, name))
    });
    lines.collect()
}

/// `fe80… 02 40 20 80     eth0`: address, number in hex, length, scope, flags, name.
fn listed_v6(text: &str) -> Vec<(u32, &str)> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let number = u32::from_str_radix(words.next()?, 16).ok()?;
        Some((number, words.nth(3)?))
    });
    lines.collect()
}

/// Where Linux lists interfaces by family, for the network of this very process.
const INTERFACES_V4: &str = "/proc/self/net/igmp";
const INTERFACES_V6: &str = "/proc/self/net/if_inet6";
/// Machines with many containers have very many; the system lets a socket be a member on 20.
const INTERFACES_MAX: usize = 20;
const LOOPBACK: &str = "lo";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_read_as_linux_lists_them() {
        let v4 = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
                  1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n\
                  12\teth0      :     2      V3\n\t\t\t\t8F98C0EF     1 0:00000000\t\t0\n";
        assert_eq!(listed_v4(v4), [(1, "lo"), (12, "eth0")]);
        let v6 = "00000000000000000000000000000001 01 80 10 80       lo\n\
                  fe800000000000000000000000000001 0c 40 20 80     eth0\n\
                  20010db8000000000000000000000001 0c 40 00 80     eth0\n";
        assert_eq!(listed_v6(v6), [(1, "lo"), (12, "eth0"), (12, "eth0")]);
        assert_eq!(chosen(listed_v6(v6)), [12]);
        assert_eq!(chosen(vec![(1, "lo")]), [1]);
        assert_eq!((listed_v4("nonsense"), listed_v6("x")), (vec![], vec![]));
    }
}
