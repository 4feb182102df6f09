//! Reading of a [`Guest`] from a row of the server's list, key by key.
//!
//! By hand, since code derived for `#[serde(flatten)]` first keeps every row whole and then goes through it again for
//! the fields: that took twice as long, and half of the time of a long list. Writing is derived, in the parent.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::Map;

use super::Guest;
use crate::model::{Tags, tolerant};

/// A key, borrowed from the text where it stands there as it is.
#[derive(Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
#[serde(transparent)]
struct Whole(#[serde(deserialize_with = "tolerant::u64::option")] Option<u64>);

#[derive(Deserialize)]
#[serde(transparent)]
struct Real(#[serde(deserialize_with = "tolerant::f64::option")] Option<f64>);

#[derive(Deserialize)]
#[serde(transparent)]
struct Flag(#[serde(deserialize_with = "tolerant::bool::deserialize")] bool);

struct Row;

impl<'de> Visitor<'de> for Row {
    type Value = Guest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a guest")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut row: A) -> Result<Guest, A::Error> {
        let (mut vmid, mut kind, mut node, mut status) = (None, None, None, None);
        let (mut name, mut pool, mut lock, mut id) = (None, None, None, None);
        let (mut cpu, mut maxcpu) = (Real(None), Real(None));
        let [mut mem, mut maxmem, mut memhost, mut disk, mut maxdisk, mut uptime] = [const { Whole(None) }; 6];
        let [mut netin, mut netout, mut diskread, mut diskwrite] = [const { Whole(None) }; 4];
        let (mut template, mut tags) = (Flag(false), Tags::default());
        let mut other = Map::new();
        while let Some(Key(key)) = row.next_key()? {
            match &*key {
                "vmid" => vmid = Some(row.next_value()?),
                "type" => kind = Some(row.next_value()?),
                "node" => node = Some(row.next_value()?),
                "status" => status = Some(row.next_value()?),
                "name" => name = row.next_value()?,
                "pool" => pool = row.next_value()?,
                "lock" => lock = row.next_value()?,
                "cpu" => cpu = row.next_value()?,
                "maxcpu" => maxcpu = row.next_value()?,
                "mem" => mem = row.next_value()?,
                "maxmem" => maxmem = row.next_value()?,
                "disk" => disk = row.next_value()?,
                "maxdisk" => maxdisk = row.next_value()?,
                "memhost" => memhost = row.next_value()?,
                "netin" => netin = row.next_value()?,
                "netout" => netout = row.next_value()?,
                "diskread" => diskread = row.next_value()?,
                "diskwrite" => diskwrite = row.next_value()?,
                "id" => id = row.next_value()?,
                "uptime" => uptime = row.next_value()?,
                "template" => template = row.next_value()?,
                "tags" => tags = row.next_value()?,
                _ => drop(other.insert(key.into_owned(), row.next_value()?)),
            }
        }
        Ok(Guest {
            vmid: vmid.ok_or_else(|| A::Error::missing_field("vmid"))?,
            name,
            kind: kind.ok_or_else(|| A::Error::missing_field("type"))?,
            node: node.ok_or_else(|| A::Error::missing_field("node"))?,
            // A node that has not reported yet.
            status: status.unwrap_or_else(|| "unknown".to_owned()),
            cpu: cpu.0,
            maxcpu: maxcpu.0,
            mem: mem.0,
            maxmem: maxmem.0,
            disk: disk.0,
            maxdisk: maxdisk.0,
            uptime: uptime.0,
            memhost: memhost.0,
            netin: netin.0,
            netout: netout.0,
            diskread: diskread.0,
            diskwrite: diskwrite.0,
            template: template.0,
            tags,
            pool,
            lock,
            id,
            other,
        })
    }
}

impl<'de> Deserialize<'de> for Guest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Guest, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn only_four_fields_are_needed_and_the_fourth_is_made_up() {
        let guest = read(r#"{"vmid":"100","type":"lxc","node":"pve1"}"#).unwrap();
        assert_eq!((guest.status.as_str(), guest.template, guest.mem), ("unknown", false, None));
        for missing in
            [r#"{"type":"lxc","node":"pve1"}"#, r#"{"vmid":100,"node":"pve1"}"#, r#"{"vmid":100,"type":"lxc"}"#]
        {
            assert!(read(missing).unwrap_err().to_string().contains("missing field"), "{missing}");
        }
    }

    #[test]
    fn numbers_come_as_they_like_and_null_is_nothing() {
        let json = r#"{"vmid":100,"type":"qemu","node":"pve1","mem":"7","cpu":null,"maxcpu":"2","template":"1",
                       "tags":"a;b","name":null,"pool":"p","disk":null,"we\u0069rd":[1]}"#;
        let guest = read(json).unwrap();
        assert_eq!((guest.mem, guest.cpu, guest.maxcpu, guest.disk), (Some(7), None, Some(2.0), None));
        assert!(guest.template && guest.tags.contains("b") && guest.name.is_none());
        assert_eq!(guest.other.keys().collect::<Vec<_>>(), ["weird"]);
        assert!(read(r#"{"vmid":100,"type":"qemu","node":"pve1","mem":-1}"#).is_err());
    }

    #[test]
    fn a_value_is_read_like_a_text() {
        let json =
            r#"{"vmid":100,"type":"qemu","node":"pve1","status":"running","template":0,"netin":5,"new":{"a":1}}"#;
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::from_value::<Guest>(value).unwrap(), read(json).unwrap());
    }
}
