//! What the resolver is told about the system: the texts of `resolv.conf` and of the hosts file.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use resolv_conf::ScopedIp;

use super::message::Family;
use super::{DnsError, is_valid};
use crate::base::limits;

/// Whom to ask and what is known without asking.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResolverConfig {
    /// Name servers in order; the first [`limits::DNS_SERVERS_MAX`] are used.
    pub servers: Vec<SocketAddr>,
    /// Suffixes that are tried behind names with fewer than `ndots` dots.
    pub search: Vec<String>,
    /// See `search`.
    pub ndots: usize,
    /// Text of a hosts file, at most [`limits::HOSTS_MAX`] bytes. It is read through once a lookup: a long block
    /// list costs its bytes, not a map of its names.
    pub hosts: String,
    /// Which addresses are wanted.
    pub families: Families,
    /// How long a server has in the first round.
    pub timeout: Duration,
    /// Rounds through the servers.
    pub attempts: u32,
}

/// Which addresses are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Families {
    /// IPv4 and IPv6.
    Both,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

impl Default for ResolverConfig {
    /// A system that says nothing: the server is 127.0.0.1, as for the C library.
    fn default() -> Self {
        Self {
            servers: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))],
            search: Vec::new(),
            ndots: 1,
            hosts: String::new(),
            families: Families::Both,
            timeout: limits::DNS_TIMEOUT,
            attempts: limits::DNS_ATTEMPTS,
        }
    }
}

impl ResolverConfig {
    /// Reads the texts of `/etc/resolv.conf` and `/etc/hosts`; empty ones are as good as missing files. Lines
    /// that make no sense are skipped. A link-local server counts only if its zone is a number.
    pub fn from_text(resolv_conf: &str, hosts: &str) -> Self {
        let (system, _) = resolv_conf::Config::parse_with_errors(resolv_conf.as_bytes());
        let mut config = Self::default();
        let servers = system.nameservers.iter().filter_map(server);
        let servers: Vec<SocketAddr> = servers.take(limits::DNS_SERVERS_MAX).collect();
        if !servers.is_empty() {
            config.servers = servers;
        }
        let search = system.get_last_search_or_domain();
        let search = search.map(|suffix| suffix.trim_matches('.').to_ascii_lowercase());
        config.search = search
            .filter(|suffix| is_valid(suffix))
            .take(limits::DNS_SEARCH_MAX)
            .collect();
        config.ndots = system.ndots.min(NDOTS_MAX) as usize;
        // Longer waits than ours are not taken over: the whole lookup has ten seconds.
        if system.timeout > 0 {
            config.timeout = config
                .timeout
                .min(Duration::from_secs(system.timeout.into()));
        }
        // A line that was cut could name another host.
        config.hosts = match hosts.as_bytes().get(..limits::HOSTS_MAX) {
            Some(head) => {
                let end = head.iter().rposition(|&byte| byte == b'\n').unwrap_or(0);
                hosts[..end].to_owned()
            }
            None => hosts.to_owned(),
        };
        config
    }

    /// What is known of `name`, in lower case and without a dot at its end, without asking anybody.
    pub(super) fn known(&self, name: &str) -> Option<Result<Vec<IpAddr>, DnsError>> {
        if let Some(found) = self.in_hosts(name) {
            return Some(found);
        }
        // RFC 6761: these never leave the machine. RFC 7686: nor do these, and here nothing can reach them.
        if name == "localhost" || name.ends_with(".localhost") {
            let both = [
                IpAddr::from(Ipv4Addr::LOCALHOST),
                IpAddr::from(Ipv6Addr::LOCALHOST),
            ];
            return Some(Ok(both.into_iter().filter(|ip| self.wants(ip)).collect()));
        }
        let is_hidden = name == "onion" || name.ends_with(".onion");
        is_hidden.then_some(Err(DnsError::NotFound))
    }

    /// The addresses that the hosts file gives `name`; one that is only blocked there (`0.0.0.0`) has none.
    fn in_hosts(&self, name: &str) -> Option<Result<Vec<IpAddr>, DnsError>> {
        let mut is_named = false;
        let mut found = Vec::new();
        for line in self.hosts.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let Some(address) = words.next() else {
                continue;
            };
            if !words.any(|word| word.trim_end_matches('.').eq_ignore_ascii_case(name)) {
                continue;
            }
            let Ok(address) = address.parse::<IpAddr>() else {
                continue;
            };
            is_named |= self.wants(&address) || address.is_unspecified();
            let is_new = !address.is_unspecified() && !found.contains(&address);
            if is_new && self.wants(&address) && found.len() < limits::DNS_ADDRESSES_MAX {
                found.push(address);
            }
        }
        match found.is_empty() {
            false => Some(Ok(found)),
            true if is_named => Some(Err(DnsError::NotFound)),
            true => None,
        }
    }

    /// The names to ask for, in order, when a person wrote `name`.
    pub(super) fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(whole) = name.strip_suffix('.') {
            return vec![whole.to_owned()];
        }
        let mut candidates = Vec::new();
        if name.bytes().filter(|&byte| byte == b'.').count() < self.ndots {
            let search = self.search.iter().take(limits::DNS_SEARCH_MAX);
            let longer = search.map(|suffix| format!("{name}.{suffix}"));
            candidates.extend(longer.filter(|longer| is_valid(longer)));
        }
        candidates.push(name.to_owned());
        candidates
    }

    /// The questions to ask.
    pub(super) fn questions(&self) -> &'static [Family] {
        match self.families {
            Families::Both => &[Family::V4, Family::V6],
            Families::V4 => &[Family::V4],
            Families::V6 => &[Family::V6],
        }
    }

    /// Whether an address is of a wanted family.
    pub(super) fn wants(&self, address: &IpAddr) -> bool {
        match self.families {
            Families::Both => true,
            Families::V4 => address.is_ipv4(),
            Families::V6 => address.is_ipv6(),
        }
    }
}

/// The address of a name server.
fn server(address: &ScopedIp) -> Option<SocketAddr> {
    Some(match address {
        ScopedIp::V4(ip) => SocketAddr::from((*ip, PORT)),
        ScopedIp::V6(ip, None) => SocketAddr::from((*ip, PORT)),
        ScopedIp::V6(ip, Some(zone)) => SocketAddrV6::new(*ip, PORT, 0, zone.parse().ok()?).into(),
    })
}

/// The port of name servers.
const PORT: u16 = 53;
/// The most dots that `ndots` may ask for, as in the C library.
const NDOTS_MAX: u32 = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_the_system_are_read_and_nonsense_is_skipped() {
        let config = ResolverConfig::from_text(
            "# made by hand\nnameserver 192.0.2.1\nnonsense here\nnameserver fe80::1%eth0\n\
             nameserver fe80::2%3\nnameserver 2001:db8::53\nnameserver 192.0.2.9\n\
             search Lan. bad..suffix corp.example\noptions ndots:2 timeout:1 whatever edns0\n",
            "",
        );
        let servers = ["192.0.2.1:53", "[fe80::2%3]:53", "[2001:db8::53]:53"];
        assert_eq!(config.servers, servers.map(|s| s.parse().unwrap()));
        assert_eq!(config.search, ["lan", "corp.example"]);
        assert_eq!((config.ndots, config.timeout), (2, Duration::from_secs(1)));
        assert_eq!(config.candidates("a.b.c"), ["a.b.c"]);
        assert_eq!(
            config.candidates("a.b"),
            ["a.b.lan", "a.b.corp.example", "a.b"]
        );
        assert_eq!(config.candidates("a.b."), ["a.b"]);
    }

    #[test]
    fn without_a_resolv_conf_the_server_is_this_machine() {
        let config = ResolverConfig::from_text("", "");
        assert_eq!(config, ResolverConfig::default());
        assert_eq!(config.servers, ["127.0.0.1:53".parse().unwrap()]);
        assert_eq!(config.timeout, Duration::from_millis(1500));
    }

    #[test]
    fn the_hosts_file_names_addresses_and_blocks_names() {
        let hosts = "192.0.2.7 Box box.lan # not this\n::1 box.lan\n0.0.0.0 ads.example\nrubbish\n\
                     192.0.2.7 box.lan.\n";
        let mut config = ResolverConfig::from_text("", hosts);
        let (v4, v6): (IpAddr, IpAddr) = ("192.0.2.7".parse().unwrap(), "::1".parse().unwrap());
        assert_eq!(config.known("box"), Some(Ok(vec![v4])));
        assert_eq!(config.known("box.lan"), Some(Ok(vec![v4, v6])));
        assert_eq!(config.known("ads.example"), Some(Err(DnsError::NotFound)));
        assert_eq!(config.known("not"), None);
        config.families = Families::V6;
        assert_eq!(config.known("box"), None);
        assert_eq!(config.known("box.lan"), Some(Ok(vec![v6])));
    }

    #[test]
    fn a_hosts_file_is_cut_at_the_last_whole_line_that_fits() {
        let line = "0.0.0.0 é.example\n";
        let text = line.repeat(limits::HOSTS_MAX / line.len() + 2);
        let config = ResolverConfig::from_text("", &text);
        assert!(config.hosts.ends_with("é.example"));
        assert!(config.hosts.len() > limits::HOSTS_MAX - line.len() - 1);
        assert!(config.hosts.len() <= limits::HOSTS_MAX);
    }
}
