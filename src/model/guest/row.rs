//! Reading of a [`Guest`] from a row of the server's list, key by key.
//!
//! By hand, since code derived for `#[serde(flatten)]` first keeps every row whole and then goes through it again for
//! the fields: that took twice as long, and half of the time of a long list. Writing is derived, in the parent.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor, value::CowStrDeserializer},
};
use serde_json::{Map, Value};

use super::{Guest, GuestKind};
use crate::model::{ClusterResource, NodeName, Tags, Vmid, tolerant};

/// A key, borrowed from the text where it stands there as it is.
#[derive(Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Default, Deserialize)]
#[serde(transparent)]
struct Whole(#[serde(deserialize_with = "tolerant::u64::option")] Option<u64>);

#[derive(Default, Deserialize)]
#[serde(transparent)]
struct Real(#[serde(deserialize_with = "tolerant::f64::option")] Option<f64>);

#[derive(Default, Deserialize)]
#[serde(transparent)]
struct Flag(#[serde(deserialize_with = "tolerant::bool::deserialize")] bool);

/// A row as far as lists of guests need it, whatever it is about.
#[derive(Default)]
struct Row<'a> {
    vmid: Option<Vmid>,
    kind: Option<Cow<'a, str>>,
    node: Option<NodeName>,
    status: Option<String>,
    name: Option<String>,
    pool: Option<String>,
    lock: Option<String>,
    id: Option<String>,
    cpu: Real,
    maxcpu: Real,
    mem: Whole,
    maxmem: Whole,
    memhost: Whole,
    disk: Whole,
    maxdisk: Whole,
    uptime: Whole,
    netin: Whole,
    netout: Whole,
    diskread: Whole,
    diskwrite: Whole,
    template: Flag,
    tags: Tags,
    other: Map<String, Value>,
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Row<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a guest")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row<'de>, A::Error> {
        let mut row = Row::default();
        while let Some(Key(key)) = map.next_key()? {
            match &*key {
                "vmid" => row.vmid = map.next_value()?,
                "type" => row.kind = map.next_value::<Option<Key<'_>>>()?.map(|key| key.0),
                "node" => row.node = map.next_value()?,
                "status" => row.status = map.next_value()?,
                "name" => row.name = map.next_value()?,
                "pool" => row.pool = map.next_value()?,
                "lock" => row.lock = map.next_value()?,
                "cpu" => row.cpu = map.next_value()?,
                "maxcpu" => row.maxcpu = map.next_value()?,
                "mem" => row.mem = map.next_value()?,
                "maxmem" => row.maxmem = map.next_value()?,
                "disk" => row.disk = map.next_value()?,
                "maxdisk" => row.maxdisk = map.next_value()?,
                "memhost" => row.memhost = map.next_value()?,
                "netin" => row.netin = map.next_value()?,
                "netout" => row.netout = map.next_value()?,
                "diskread" => row.diskread = map.next_value()?,
                "diskwrite" => row.diskwrite = map.next_value()?,
                "id" => row.id = map.next_value()?,
                "uptime" => row.uptime = map.next_value()?,
                "template" => row.template = map.next_value()?,
                "tags" => row.tags = map.next_value()?,
                _ => drop(row.other.insert(key.into_owned(), map.next_value()?)),
            }
        }
        Ok(row)
    }
}

impl Row<'_> {
    fn guest<E: Error>(self) -> Result<Guest, E> {
        let kind = self.kind.ok_or_else(|| E::missing_field("type"))?;
        Ok(Guest {
            vmid: self.vmid.ok_or_else(|| E::missing_field("vmid"))?,
            name: self.name,
            kind: GuestKind::deserialize(CowStrDeserializer::new(kind))?,
            node: self.node.ok_or_else(|| E::missing_field("node"))?,
            // A node that has not reported yet.
            status: self.status.unwrap_or_else(|| "unknown".to_owned()),
            cpu: self.cpu.0,
            maxcpu: self.maxcpu.0,
            mem: self.mem.0,
            maxmem: self.maxmem.0,
            disk: self.disk.0,
            maxdisk: self.maxdisk.0,
            uptime: self.uptime.0,
            memhost: self.memhost.0,
            netin: self.netin.0,
            netout: self.netout.0,
            diskread: self.diskread.0,
            diskwrite: self.diskwrite.0,
            template: self.template.0,
            tags: self.tags,
            pool: self.pool,
            lock: self.lock,
            id: self.id,
            other: self.other,
        })
    }
}

impl<'de> Deserialize<'de> for Row<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reader)
    }
}

impl<'de> Deserialize<'de> for Guest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Row::deserialize(deserializer)?.guest()
    }
}

/// What a list of guests needs of all resources: the guests, and the nodes with how each is.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) guests: Vec<Guest>,
    pub(crate) nodes: Vec<(NodeName, String)>,
}

impl FromIterator<ClusterResource> for Survey {
    fn from_iter<I: IntoIterator<Item = ClusterResource>>(rows: I) -> Self {
        let mut survey = Self::default();
        for row in rows {
            match row {
                ClusterResource::Guest(guest) => survey.guests.push(*guest),
                ClusterResource::Node(node) => survey.nodes.push((node.node, node.status)),
                _ => {}
            }
        }
        survey
    }
}

struct Rows;

impl<'de> Visitor<'de> for Rows {
    type Value = Survey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of resources")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Survey, A::Error> {
        let mut survey = Survey::default();
        while let Some(row) = rows.next_element::<Row<'_>>()? {
            match (row.kind.as_deref(), &row.node) {
                (Some("qemu" | "lxc"), _) => survey.guests.push(row.guest()?),
                (Some("node"), Some(node)) => survey.nodes.push((node.clone(), row.status.unwrap_or_default())),
                _ => {}
            }
        }
        Ok(survey)
    }
}

impl<'de> Deserialize<'de> for Survey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Rows)
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
    fn a_survey_takes_guests_and_nodes_from_what_there_is() {
        let json = r#"[{"type":"pool","pool":"prod","id":"/pool/prod"},{"type":"lxc","vmid":200,"node":"pve1"},
                       {"status":"offline","type":"node","node":"pve2","cpu":0.1},{"type":"storage","node":"pve1","disk":1},
                       {"type":"network","network":"zone"},{"type":"node","node":"pve1"},{"vmid":107}]"#;
        let survey: Survey = serde_json::from_str(json).unwrap();
        let same: Vec<ClusterResource> = serde_json::from_str(json).unwrap();
        let same: Survey = same.into_iter().collect();
        for Survey { guests, nodes } in [survey, same] {
            assert_eq!(guests.iter().map(|guest| guest.vmid.get()).collect::<Vec<_>>(), [200]);
            let nodes: Vec<_> = nodes.iter().map(|(node, status)| (node.as_str(), status.as_str())).collect();
            assert_eq!(nodes, [("pve2", "offline"), ("pve1", "")]);
        }
        assert!(
            serde_json::from_str::<Survey>(r#"[{"type":"qemu","node":"pve1"}]"#).is_err(),
            "an odd row is not lost"
        );
    }

    #[test]
    fn a_value_is_read_like_a_text() {
        let json =
            r#"{"vmid":100,"type":"qemu","node":"pve1","status":"running","template":0,"netin":5,"new":{"a":1}}"#;
        let value: Value = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::from_value::<Guest>(value).unwrap(), read(json).unwrap());
    }
}
