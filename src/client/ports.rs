//! The port that peers reach us at.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use crate::net::resolver::Families;
use crate::reactor::Listening;

/// A socket of each family on one port: the first of `ports` that all of them have free, else any. A family that
/// the machine does not have is done without, unless it is the only one wanted.
pub(super) fn listen(
    families: Families,
    mut ports: RangeInclusive<u16>,
) -> io::Result<Vec<Listening>> {
    let v4 = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    let v6 = IpAddr::from(Ipv6Addr::UNSPECIFIED);
    let (first, second) = match families {
        Families::V4 => (v4, None),
        Families::V6 => (v6, None),
        Families::Both => (v4, Some(v6)),
    };
    loop {
        let one = Listening::bind(first, ports.clone())?;
        let Some(second) = second else {
            return Ok(vec![one]);
        };
        let port = one.address().port();
        match Listening::bind(second, port..=port) {
            Ok(other) if other.in_range() => return Ok(vec![one, other]),
            // Somebody has the port in the other family: the next one, as long as there are any.
            Ok(_) if one.in_range() && port < *ports.end() => ports = port + 1..=*ports.end(),
            Ok(_) => return Ok(vec![one]),
            Err(error) => {
                log::info!("listening over IPv4 only: {error}");
                return Ok(vec![one]);
            }
        }
    }
}
