//! A bridge of our own whose guests reach the world under the host's address.
//!
//! Forwarding of IPv4 is switched on for the whole host and stays on; a firewall that is there is not opened.

use std::{
    fs,
    io::{self, Write},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rtnetlink::{LinkBridge, LinkUnspec};
use rustix::io::Errno;

use super::{Mark, Network, errno, failed, hint, refused};
use crate::{
    backends::cloud_hypervisor::host::at,
    model::{Class, Error, Result},
};

/// Where the kernel is told to forward.
const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// A network with address translation.
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
}

impl Nat {
    /// The network, `10.1.2.0/24`.
    fn network(&self) -> String {
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

    fn check(&self) -> Result<()> {
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
    /// another's, [`Class::Forbidden`] without the right to.
    pub async fn ensure_nat(&self, wanted: &Nat, nft: &Path) -> Result<()> {
        wanted.check()?;
        let name = &wanted.name;
        let index = match self.owned(name, &wanted.owner).await? {
            Some(link) => link.index,
            None => self.make_bridge(wanted).await?,
        };
        let address = self.handle.address().add(index, wanted.address.into(), wanted.prefix).execute().await;
        match address {
            Err(error) if errno(&error) != Some(Errno::EXIST) => {
                return Err(refused(&format!("give `{name}` its address"), &error));
            }
            _ => {}
        }
        self.change(name, LinkUnspec::new_with_index(index).up()).await?;
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
    pub async fn remove_nat(&self, wanted: &Nat, nft: &Path) -> Result<bool> {
        wanted.check()?;
        self.owned(&wanted.name, &wanted.owner).await?;
        tell(nft, wanted.no_rules()).await?;
        self.remove(&wanted.name, &wanted.owner).await
    }

    /// A bridge with its mark. Without the mark it does not stay.
    async fn make_bridge(&self, wanted: &Nat) -> Result<u32> {
        let name = &wanted.name;
        let made = self.handle.link().add(LinkBridge::new(name).build()).execute().await;
        made.map_err(|error| refused(&format!("make `{name}`"), &error))?;
        let lost = || Error::conflict(format!("`{name}` went away while it was made"));
        let link = self.link(name).await?.ok_or_else(lost)?;
        let marked = self.change(name, LinkUnspec::new_with_index(link.index).alias(wanted.owner.to_string())).await;
        if marked.is_err() {
            // The first failure is the one to tell.
            let _ = self.handle.link().del(link.index).execute().await;
        }
        marked.map(|()| link.index)
    }
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
        Nat { name: "pve-nat.0".into(), owner: Mark::new("lan").unwrap(), address: address.parse().unwrap(), prefix }
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
    fn what_nft_says_is_told() {
        let error = run(Path::new("/is/not/there"), "").unwrap_err();
        assert!(error.message().contains("/is/not/there"), "{error}");
        assert!(run(Path::new("/bin/false"), "").unwrap_err().message().contains("refused"));
    }
}
