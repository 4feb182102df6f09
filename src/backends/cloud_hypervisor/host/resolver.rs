//! How this host finds names: what its guests are told where nobody says otherwise.
//!
//! Reads what the resolver reads, and asks no server.

use std::{fs, net::IpAddr};

/// Where the resolver looks, and where systemd-resolved writes the servers behind its own.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// Nameservers and search domains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolver {
    /// Addresses that a guest can reach as well: none of the host's loopback, none that is bound to an interface.
    pub nameservers: Vec<String>,
    /// Domains in which short names are looked up.
    pub searchdomains: Vec<String>,
}

impl Resolver {
    /// Those of this host; none where nothing says any.
    pub fn of_this_host() -> Self {
        let read = FILES.iter().filter_map(|file| fs::read_to_string(file).ok()).map(|text| Self::parse(&text));
        let mut all: Vec<Self> = read.collect();
        match all.iter().position(|found| !found.nameservers.is_empty()) {
            Some(at) => all.swap_remove(at),
            None => Self::default(),
        }
    }

    fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let server = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    found.nameservers.extend(server.filter(|ip| !ip.is_loopback()).map(|ip| ip.to_string()));
                }
                // The last one counts.
                Some("search" | "domain") => {
                    found.searchdomains = words.filter(|domain| *domain != ".").map(str::to_owned).collect();
                }
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_a_guest_cannot_reach_are_left_out() {
        let found = Resolver::parse(
            "# by hand\nnameserver 127.0.0.53\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\n\
             nameserver 2001:db8::53 \nsearch old.example\nsearch lan example.org .\noptions edns0\n",
        );
        assert_eq!(found.nameservers, ["192.0.2.53", "2001:db8::53"]);
        assert_eq!(found.searchdomains, ["lan", "example.org"]);
        assert_eq!(Resolver::parse("nameserver\nsearch\n"), Resolver::default());
    }
}
