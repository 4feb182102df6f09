//! Groups that systemd makes: a transient scope for each VMM, asked for over D-Bus by `busctl`, which comes with systemd.
//!
//! A scope takes in a process that runs already, goes when that ends, and is no part of any session.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{GroupName, Limits, no_group};
use crate::{
    backends::cloud_hypervisor::host::{at, units},
    model::{Class, Error, Result},
};

const SERVICE: [&str; 3] =
    ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"];
/// What stands for "nothing is said".
const UNSET: u64 = u64::MAX;
/// Microseconds of a second.
const SECOND: u64 = 1_000_000;

/// The systemd to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Systemd {
    /// The program to ask it by.
    pub busctl: PathBuf,
    /// Whether it is a user's own.
    pub user: bool,
    /// Whether it can limit processors, as far as the kernel lets it.
    pub limits: bool,
}

impl Systemd {
    pub(super) fn why_not(&self) -> Option<String> {
        let whose = if self.user { "this user's systemd was not given" } else { "systemd has not" };
        (!self.limits).then(|| format!("{whose} the control of processors (cgroup v2)"))
    }

    pub(super) fn enter(&self, name: &GroupName, limits: &Limits, pid: u32) -> Result<()> {
        let pid = pid.to_string();
        // When the host goes down, VMs are shut down by that unit before their scopes are ended.
        let mut properties: Vec<Vec<&str>> = vec![
            vec!["PIDs", "au", "1", &pid],
            vec!["Description", "s", "Virtual machine of pvectl"],
            vec!["Slice", "s", "pvectl.slice"],
            vec!["CollectMode", "s", "inactive-or-failed"],
            vec!["Before", "as", "1", units::NAME],
        ];
        let values = values(limits);
        if limits.are_some() {
            properties.extend(values.iter().map(|(key, value)| vec![*key, "t", value]));
        }
        let (unit, count) = (unit(name), properties.len().to_string());
        let head = ["StartTransientUnit", "ssa(sv)a(sa(sv))", &unit, "fail", &count];
        self.call(head.into_iter().chain(properties.into_iter().flatten()).chain(["0"]))
    }

    pub(super) fn limit(&self, name: &GroupName, limits: &Limits) -> Result<()> {
        let (unit, values) = (unit(name), values(limits));
        let head = ["SetUnitProperties", "sba(sv)", &unit, "true", "2"];
        let properties = values.iter().flat_map(|(key, value)| [*key, "t", value]);
        self.call(head.into_iter().chain(properties)).map_err(|error| match error.message().contains("not found") {
            true => no_group(),
            false => error,
        })
    }

    fn call<'a>(&self, arguments: impl Iterator<Item = &'a str>) -> Result<()> {
        let mut command = Command::new(&self.busctl);
        command.arg(if self.user { "--user" } else { "--system" }).arg("call").args(SERVICE).args(arguments);
        let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output();
        let output = output.map_err(|error| at("run", Path::new(&self.busctl), error))?;
        match output.status.success() {
            true => Ok(()),
            false => {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                Err(Error::new(Class::Failed, format!("systemd makes no control group: {said}")))
            }
        }
    }
}

fn unit(name: &GroupName) -> String {
    // What is left of the start before may be about to go.
    format!("pvectl-{}-{}.scope", name.vm, name.generation)
}

fn values(limits: &Limits) -> [(&'static str, String); 2] {
    let (quota, weight) = (limits.quota(SECOND), limits.weight());
    [("CPUQuotaPerSecUSec", quota.unwrap_or(UNSET).to_string()), ("CPUWeight", weight.unwrap_or(UNSET).to_string())]
}
