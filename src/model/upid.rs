//! UPID: the name of a task, `UPID:node:pid:pstart:starttime:type:id:user:`.
//!
//! Parsed strictly and printed back to the letter: a UPID that came in half over the clipboard must be noticed, and
//! one that is right must reach the server as it was. Source: PVE's `PVE::UPID`, in `pve/behaviour.md`.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::NodeName;

/// A task's name, and what it says about the task.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Upid {
    /// The node that runs the task.
    pub node: NodeName,
    /// The worker's process id.
    pub pid: u32,
    /// The process's start in kernel ticks; more than 32 bits on a host that has been up for long.
    pub pstart: u64,
    /// When the task began, in seconds since 1970.
    pub starttime: u32,
    /// The kind of work, such as `qmstart`.
    pub kind: String,
    /// What it works on, mostly a VMID; may be empty.
    pub id: String,
    /// Who asked for it: `user@realm`, or `user@realm!token`.
    pub user: String,
}

/// Why a text is not a UPID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a UPID: {reason}")]
pub struct UpidError {
    text: String,
    reason: String,
}

impl Upid {
    /// When the task began.
    pub fn started(&self) -> Timestamp {
        // 32 bits of seconds are always within jiff's range.
        Timestamp::from_second(i64::from(self.starttime)).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

impl FromStr for Upid {
    type Err = UpidError;

    fn from_str(text: &str) -> Result<Self, UpidError> {
        let error = |reason: String| UpidError { text: text.to_owned(), reason };
        let fields: Vec<&str> = text.split(':').collect();
        if fields[0] != "UPID" {
            return Err(error("it does not begin with `UPID:`".into()));
        }
        if fields.len() < 9 {
            return Err(error(format!(
                "it is cut off: `UPID:node:pid:pstart:starttime:type:id:user:` has 8 colons, this has {}",
                fields.len() - 1
            )));
        }
        if fields.len() > 9 || !fields[8].is_empty() {
            return Err(error("something stands after its last colon".into()));
        }
        let hex = |name: &str, field: &str, widths: std::ops::RangeInclusive<usize>| {
            let digits = widths.contains(&field.len()) && field.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
            let value = if digits { u64::from_str_radix(field, 16).ok() } else { None };
            value.ok_or_else(|| error(format!("its {name} `{field}` is not a number of {} hex digits", widths.end())))
        };
        let node = NodeName::new(fields[1]).map_err(|e| error(e.to_string()))?;
        let word = |name: &str, field: &str, may_be_empty: bool| {
            let fine = (may_be_empty || !field.is_empty()) && !field.contains(|c: char| c.is_whitespace() || c == '/');
            if fine { Ok(field.to_owned()) } else { Err(error(format!("its {name} `{field}` is not valid"))) }
        };
        Ok(Self {
            node,
            // Eight hex digits always fit.
            pid: hex("pid", fields[2], 8..=8)? as u32,
            pstart: hex("pstart", fields[3], 8..=9)?,
            starttime: hex("start time", fields[4], 8..=8)? as u32,
            kind: word("type", fields[5], false)?,
            id: word("id", fields[6], true)?,
            user: word("user", fields[7], false)?,
        })
    }
}

impl fmt::Display for Upid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, pid, pstart, starttime, kind, id, user } = self;
        write!(f, "UPID:{node}:{pid:08X}:{pstart:08X}:{starttime:08X}:{kind}:{id}:{user}:")
    }
}

impl Serialize for Upid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Upid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prints_back_what_it_read() {
        for text in [
            "UPID:pve1:000003EC:00041609:6B003243:qmshutdown:100:root@pam!ci:",
            "UPID:pve1:0000047C:000421C8:6B003261:imgcopy::root@pam!ci:",
            "UPID:pve1:00000478:000421BD:6B003261:imgdel:100@dir1:root@pam!ci:",
            "UPID:pve1:00000484:1000421D2:6B003261:download:x.iso:root@pam:",
        ] {
            assert_eq!(text.parse::<Upid>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let error = |text: &str| text.parse::<Upid>().unwrap_err().to_string();
        assert!(error("UPID:pve1:000003EC:00041609").contains("cut off"));
        assert!(error("UPID:pve1:000003EC:00041609:6B003243:qmstart:100:root@pam").contains("cut off"));
        assert!(error("UPID:pve1:3EC:00041609:6B003243:qmstart:100:root@pam:").contains("pid `3EC`"));
        assert!(error("UPID:pve1:000003EC:00041609:6B003243:qmstart:100:root@pam:x").contains("after its last colon"));
        assert!(error("150").contains("does not begin"));
    }

    proptest! {
        #[test]
        fn survives_a_round_trip(pid: u32, pstart in 0_u64..1 << 36, starttime: u32, kind in "[a-z]{2,12}", id in "[a-z0-9@.-]{0,12}", user in "[a-z]{1,8}@[a-z]{2,4}(![a-z]{1,4})?") {
            let upid = Upid { node: NodeName::new("pve1").unwrap(), pid, pstart, starttime, kind, id, user };
            prop_assert_eq!(upid.to_string().parse::<Upid>().unwrap(), upid);
        }

        #[test]
        fn never_panics(text in ".{0,80}") {
            let _ = text.parse::<Upid>();
        }
    }
}
