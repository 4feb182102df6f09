//! A bridge of our own with an address of the host on it, whose guests reach the world under the host's address if that
//! is wanted.
//!
//! With address translation, forwarding of IPv4 is switched on for the whole host and stays on; a firewall that is there
//! is not opened.

use std::{
    fs,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU8, Ordering},
};

use futures_util::TryStreamExt;
use rtnetlink::{
    LinkBridge, LinkUnspec, RouteMessageBuilder,
    packet_route::{
        address::AddressAttribute,
        route::{RouteAddress, RouteAttribute},
    },
};
use rustix::io::Errno;

use super::{
    Mark, Network, errno, failed, hint, refused,
    tap::{BRIDGE, unfinished_name},
};
use crate::{
    backends::cloud_hypervisor::host::at,
    model::{Class, Error, Result},
};

/// Where the kernel is told to forward.
const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// A network of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nat {
    /// The bridge's name.
    pub name: String,
    /// Whose it is.
    pub owner: Mark,
    /// The host's address on it, which is its guests' gateway.
    pub address: Ipv4Addr,
    /// How many bits of it are the network's: 8 to 30.
    pub prefix: u8,
    /// Whether guests reach the world by it. Otherwise they reach the host and each other.
    pub translate: bool,
}

impl Nat {
    /// The network, `10.1.2.0/24`.
    pub fn network(&self) -> String {
        let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
        format!("{}/{}", Ipv4Addr::from_bits(self.address.to_bits() & mask), self.prefix)
    }

    /// The table of rules, by the bridge: letters, digits and `_` alone.
    fn table(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        format!("pvectl_{}", self.name.chars().map(plain).collect::<String>())
    }

    /// Rules that make the table anew, whether it was there or not.
    fn rules(&self) -> String {
        let (table, network) = (self.table(), self.network());
        format!(
            "{}table ip {table} {{\n  chain postrouting {{\n    type nat hook postrouting priority 100; policy accept;\n    \
             ip saddr {network} ip daddr != {network} masquerade\n  }}\n}}\n",
            self.no_rules()
        )
    }

    /// Rules that take the table away, whether it was there or not.
    fn no_rules(&self) -> String {
        let table = self.table();
        format!("add table ip {table}\ndelete table ip {table}\n")
    }

    /// Whether it can be.
    ///
    /// # Errors
    /// [`Class::Usage`] for a name that no device has, and for an address that is not private or leaves no room.
    pub fn check(&self) -> Result<()> {
        if !super::is_name(&self.name) {
            return Err(Error::usage(format!("`{}` is no name of a network device", self.name)));
        }
        if !(8..=30).contains(&self.prefix) || !self.address.is_private() {
            let message = format!("{}/{} is no private network with 8 to 30 bits", self.address, self.prefix);
            return Err(Error::usage(message).with_hint(hint("such as 10.20.30.1/24")));
        }
        Ok(())
    }
}

impl Network {
    /// Makes the network, or completes one that is there and is this owner's. `nft` is the program.
    ///
    /// # Errors
    /// [`Class::Usage`] for an address or name that cannot be, [`Class::Conflict`] when a device of that name is
    /// another's, [`Class::Forbidden`] without the right to, [`Class::NotFound`] without `nft` where addresses are to
    /// be translated.
    pub async fn ensure_nat(&self, wanted: &Nat, nft: Option<&Path>) -> Result<()> {
        wanted.check()?;
        let nft = match (wanted.translate, nft) {
            (false, _) => None,
            (true, Some(nft)) => Some(nft),
            (true, None) => return Err(no_nft()),
        };
        let name = &wanted.name;
        let index = match self.owned(name, &wanted.owner).await? {
            Some(link) => link.index,
            None => match self.make_bridge(wanted).await {
                Ok(index) => index,
                // Somebody may have made it meanwhile; otherwise the first failure is the one to tell.
                Err(error) => self.owned(name, &wanted.owner).await?.ok_or(error)?.index,
            },
        };
        let address = self.handle.address().add(index, wanted.address.into(), wanted.prefix).execute().await;
        match address {
            Err(error) if errno(&error) != Some(Errno::EXIST) => {
                return Err(refused(&format!("give `{name}` its address"), &error));
            }
            _ => {}
        }
        self.change(name, LinkUnspec::new_with_index(index).up()).await?;
        let Some(nft) = nft else { return Ok(()) };
        let forwards = fs::read_to_string(FORWARD).is_ok_and(|text| text.trim() == "1");
        if !forwards {
            fs::write(FORWARD, "1").map_err(|error| at("write", Path::new(FORWARD), error))?;
        }
        tell(nft, wanted.rules()).await
    }

    /// Removes the network, if it is this owner's. Says whether it was there. Its rules go in any case.
    ///
    /// # Errors
    /// As [`remove`](Network::remove).
    pub async fn remove_nat(&self, wanted: &Nat, nft: Option<&Path>) -> Result<bool> {
        wanted.check()?;
        self.owned(&wanted.name, &wanted.owner).await?;
        // Rules that nft made are not there without it, or do no harm without the bridge.
        if let Some(nft) = nft.filter(|_| wanted.translate) {
            tell(nft, wanted.no_rules()).await?;
        }
        self.remove(&wanted.name, &wanted.owner).await
    }

    /// A bridge with its mark. It has its name only after that, so that one whose maker dies is no stranger to the next.
    async fn make_bridge(&self, wanted: &Nat) -> Result<u32> {
        static COUNT: AtomicU8 = AtomicU8::new(0);
        let name = &wanted.name;
        let making = unfinished_name(BRIDGE, std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let made = self.handle.link().add(LinkBridge::new(&making).build()).execute().await;
        made.map_err(|error| refused(&format!("make `{name}`"), &error))?;
        let lost = || Error::conflict(format!("`{name}` went away while it was made"));
        let link = self.link(&making).await?.ok_or_else(lost)?;
        let change = || LinkUnspec::new_with_index(link.index);
        let finished = async {
            self.change(name, change().alias(wanted.owner.to_string())).await?;
            self.change(name, change().name(name)).await
        };
        let finished = finished.await;
        if finished.is_err() {
            // The first failure is the one to tell.
            let _ = self.handle.link().del(link.index).execute().await;
        }
        finished.map(|()| link.index)
    }

    /// The host's addresses of IPv4 with the bits of their networks, and the networks that it has routes to.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub async fn taken(&self) -> Result<Vec<(Ipv4Addr, u8)>> {
        let cannot = |error| refused("list addresses and routes", &error);
        let addresses: Vec<_> = self.handle.address().get().execute().try_collect().await.map_err(cannot)?;
        let mut taken = Vec::new();
        for message in addresses {
            let prefix = message.header.prefix_len;
            taken.extend(message.attributes.into_iter().filter_map(|attribute| match attribute {
                AddressAttribute::Address(IpAddr::V4(address)) => Some((address, prefix)),
                _ => None,
            }));
        }
        let all = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let routes: Vec<_> = self.handle.route().get(all).execute().try_collect().await.map_err(cannot)?;
        for message in routes {
            let prefix = message.header.destination_prefix_length;
            taken.extend(message.attributes.into_iter().filter_map(|attribute| match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(address)) => Some((address, prefix)),
                _ => None,
            }));
        }
        Ok(taken)
    }
}

/// Whether two networks have addresses in common.
pub fn overlap(one: (Ipv4Addr, u8), other: (Ipv4Addr, u8)) -> bool {
    let wide = u32::from(one.1.min(other.1).min(32));
    let mask = u32::MAX.checked_shl(32 - wide).unwrap_or(0);
    (one.0.to_bits() ^ other.0.to_bits()) & mask == 0
}

fn no_nft() -> Error {
    Error::not_found("there is no `nft` to translate addresses with").with_hint(hint(
        "install it, on Debian: `sudo apt install nftables`; or do without translation: `network create --no-nat`",
    ))
}

/// Hands rules to nft, which takes all of them or none.
async fn tell(nft: &Path, rules: String) -> Result<()> {
    let nft = PathBuf::from(nft);
    let told = tokio::task::spawn_blocking(move || run(&nft, &rules)).await;
    told.map_err(|error| Error::new(Class::Bug, "nft was not waited for").with_source(error))?
}

fn run(nft: &Path, rules: &str) -> Result<()> {
    let cannot = |error: io::Error| failed(&format!("run `{}`", nft.display()), error);
    let mut command = Command::new(nft);
    command.args(["-f", "-"]).env_clear().stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(cannot)?;
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(rules.as_bytes()));
    let output = child.wait_with_output().map_err(cannot)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let first = said.lines().next().unwrap_or("nothing").trim().to_owned();
        return Err(Error::new(Class::Failed, format!("nft refused the rules: {first}")));
    }
    written.map_err(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nat(address: &str, prefix: u8) -> Nat {
        Nat {
            name: "pve-nat.0".into(),
            owner: Mark::new("lan").unwrap(),
            address: address.parse().unwrap(),
            prefix,
            translate: true,
        }
    }

    #[test]
    fn the_network_is_the_address_without_the_host() {
        assert_eq!(nat("10.20.30.1", 24).network(), "10.20.30.0/24");
        assert_eq!(nat("172.16.5.9", 30).network(), "172.16.5.8/30");
        let rules = nat("10.20.30.1", 24).rules();
        assert!(rules.starts_with("add table ip pvectl_pve_nat_0\ndelete table ip pvectl_pve_nat_0\n"), "{rules}");
        assert!(rules.contains("ip saddr 10.20.30.0/24 ip daddr != 10.20.30.0/24 masquerade"), "{rules}");
    }

    #[test]
    fn networks_of_others_are_refused() {
        for (address, prefix) in
            [("8.8.8.8", 24), ("10.0.0.1", 7), ("10.0.0.1", 31), ("10.0.0.1", 0), ("10.0.0.1", 200)]
        {
            assert_eq!(nat(address, prefix).check().unwrap_err().class(), Class::Usage, "{address}/{prefix}");
        }
        nat("192.168.7.1", 24).check().unwrap();
        assert!(Nat { name: "x y".into(), ..nat("10.0.0.1", 24) }.check().is_err());
    }

    #[test]
    fn networks_overlap_where_one_is_within_the_other() {
        let net = |text: &str| {
            let (address, prefix) = text.split_once('/').unwrap();
            (address.parse().unwrap(), prefix.parse().unwrap())
        };
        for (one, other, want) in [
            ("10.1.0.1/24", "10.1.0.0/24", true),
            ("10.1.0.1/24", "10.1.1.1/24", false),
            ("10.1.7.1/24", "10.0.0.0/8", true),
            ("10.1.7.1/24", "0.0.0.0/0", true),
            ("172.17.0.1/32", "172.17.0.0/16", true),
        ] {
            assert_eq!((overlap(net(one), net(other)), overlap(net(other), net(one))), (want, want), "{one} {other}");
        }
    }

    #[test]
    fn what_nft_says_is_told() {
        let error = run(Path::new("/is/not/there"), "").unwrap_err();
        assert!(error.message().contains("/is/not/there"), "{error}");
        assert!(run(Path::new("/bin/false"), "").unwrap_err().message().contains("refused"));
    }
}
