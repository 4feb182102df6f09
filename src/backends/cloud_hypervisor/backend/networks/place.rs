//! Where a network goes: addresses that neither the host nor another network has.
//!
//! Computes; what the host has and reaches comes in.

use std::net::Ipv4Addr;

use super::NetworkRequest;
use crate::{
    backends::cloud_hypervisor::{
        host::network::{Mark, Nat, overlap},
        state::{NetworkRow, NewNetwork},
    },
    model::{Error, Hint, Result},
};

/// The addresses from which those without a `--cidr` are taken.
const SECOND_BYTES: std::ops::RangeInclusive<u8> = 90..=249;

/// The network that a request becomes beside those that there are; `taken` is what the host has and reaches otherwise.
pub(super) fn fit(request: &NetworkRequest, there: &[NetworkRow], taken: &[(Ipv4Addr, u8)]) -> Result<NewNetwork> {
    let new = |(address, prefix): (Ipv4Addr, u8)| NewNetwork {
        name: request.name.clone(),
        address,
        prefix,
        nat: request.nat,
    };
    let ours = |wanted: (Ipv4Addr, u8)| there.iter().find(|row| overlap(wanted, (row.address, row.prefix)));
    // A way to everywhere is no network of its own.
    let hosts = |wanted: (Ipv4Addr, u8)| taken.iter().find(|other| other.1 > 0 && overlap(wanted, **other));
    let Some((address, prefix)) = request.cidr else {
        let candidates = SECOND_BYTES.map(|byte| (Ipv4Addr::new(10, byte, 0, 1), 24));
        let free = candidates.into_iter().find(|wanted| ours(*wanted).is_none() && hosts(*wanted).is_none());
        let none = || {
            Error::conflict("no network 10.90.0.0/24 to 10.249.0.0/24 is free")
                .with_hint(Hint::Text("name one: --cidr 192.168.50.0/24".to_owned()))
        };
        return free.map(new).ok_or_else(none);
    };
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
    let own = address.to_bits() & !mask;
    let host = if own == 0 { Ipv4Addr::from_bits(address.to_bits() | 1) } else { address };
    let wanted = Nat { name: request.name.clone(), owner: Mark::new("x")?, address: host, prefix, translate: false };
    wanted.check()?;
    if own == !mask {
        return Err(Error::usage(format!("{address}/{prefix} is the address of everybody on its network")));
    }
    if let Some(row) = ours((host, prefix)) {
        let text = format!("{} has addresses in common with network `{}`", wanted.network(), row.name);
        return Err(Error::conflict(text));
    }
    if let Some((other, bits)) = hosts((host, prefix)).filter(|other| other.1 >= 8) {
        let text = format!("{} has addresses in common with {other}/{bits}, which this host uses", wanted.network());
        return Err(Error::conflict(text).with_hint(Hint::Text("leave --cidr out to get one that is free".to_owned())));
    }
    Ok(new((host, prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(cidr: Option<(&str, u8)>, taken: &[(&str, u8)]) -> Result<(String, u8)> {
        let read = |(address, prefix): (&str, u8)| (address.parse().unwrap(), prefix);
        let taken: Vec<(Ipv4Addr, u8)> = taken.iter().map(|one| read(*one)).collect();
        let request = NetworkRequest { name: "lan".into(), cidr: cidr.map(read), nat: true };
        fit(&request, &[], &taken).map(|new| (new.address.to_string(), new.prefix))
    }

    #[test]
    fn a_network_goes_where_nobody_is() {
        let is = |address: &str, prefix| (address.to_owned(), prefix);
        assert_eq!(asked(None, &[("0.0.0.0", 0)]).unwrap(), is("10.90.0.1", 24));
        assert_eq!(asked(None, &[("10.90.0.7", 24), ("10.91.0.0", 16)]).unwrap(), is("10.92.0.1", 24));
        assert!(asked(None, &[("10.0.0.0", 8)]).unwrap_err().message().contains("is free"));
        assert_eq!(asked(Some(("10.5.0.0", 24)), &[]).unwrap(), is("10.5.0.1", 24));
        assert_eq!(asked(Some(("10.5.0.254", 24)), &[]).unwrap(), is("10.5.0.254", 24));
        assert_eq!(asked(Some(("192.168.7.4", 30)), &[]).unwrap(), is("192.168.7.5", 30));
        for (cidr, why) in [
            (("8.8.8.0", 24), "private"),
            (("10.5.0.0", 31), "8 to 30 bits"),
            (("10.5.0.0", 4), "8 to 30 bits"),
            (("10.5.0.255", 24), "everybody"),
            (("10.6.1.0", 24), "10.6.0.9/16, which this host uses"),
        ] {
            let error = asked(Some(cidr), &[("10.6.0.9", 16)]).unwrap_err();
            assert!(error.message().contains(why), "{cidr:?}: {error}");
        }
    }
}
