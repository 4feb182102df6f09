//! `agent`: what a VM's guest agent is asked, and told.

use std::time::Instant;

use async_trait::async_trait;
use clap::{Arg, ArgMatches, Command};
use serde_json::{Value, json};

use super::{
    super::{
        config::value_of_secret,
        get::{target_arg, targets_arg},
    },
    change, one,
};
use crate::{
    backends::Action,
    cli::{
        cx::{Cx, flag, text},
        print::{
            self, Shape,
            fields::{Field, How, fields},
        },
        resource::people_page,
        session::Access,
        verb::{Exit, Group, Kind, Verb, switch, value},
    },
    model::{Method, Params, Result},
    ops::{FREEZE, SET_PASSWORD, THAW, TRIM, Words},
};

pub(super) const GROUP: Group = Group {
    name: "agent",
    about: "The guest agent in a VM: whether it answers, what it says, what it is told",
    verbs: &[
        &Ping,
        INFO,
        OSINFO,
        HOSTNAME,
        TIME,
        TIMEZONE,
        USERS,
        FSINFO,
        VCPUS,
        NETWORK,
        &FSFREEZE,
        &Trim,
        &SetPassword,
    ],
};

const FSFREEZE: Group = Group {
    name: "fsfreeze",
    about: "Hold the file systems of a VM still, as for a copy from outside, and let them go on",
    verbs: &[&Freeze { thaws: false }, &Freeze { thaws: true }, STATUS],
};

/// A question that changes nothing.
struct Question {
    name: &'static str,
    about: &'static str,
    method: Method,
    /// What the API calls it.
    command: &'static str,
    /// The columns of its rows, where the answer is a list.
    columns: &'static [Field],
    /// What an answer that is one value is called.
    value: &'static str,
}

const fn question(name: &'static str, about: &'static str, command: &'static str) -> Question {
    Question { name, about, method: Method::Get, command, columns: &[], value: "value" }
}

const INFO: &Question = &question("info", "Show the agent's version, and what it can be asked", "info");
const OSINFO: &Question = &question("osinfo", "Show which operating system it runs", "get-osinfo");
const HOSTNAME: &Question = &question("hostname", "Show the host name it has given itself", "get-host-name");
const TIMEZONE: &Question = &question("timezone", "Show its time zone", "get-timezone");
const TIME: &Question =
    &Question { value: "nanoseconds", ..question("time", "Show its clock: nanoseconds since 1970", "get-time") };
const USERS: &Question = &Question {
    columns: &[
        Field::text("USER", "user"),
        Field::new("SINCE", "login-time", How::When),
        Field::text("DOMAIN", "domain"),
    ],
    ..question("users", "List who is logged in", "get-users")
};
const FSINFO: &Question = &Question {
    columns: &[
        Field::text("MOUNTPOINT", "mountpoint"),
        Field::text("TYPE", "type"),
        Field::text("NAME", "name"),
        Field::new("USED", "used-bytes", How::Size),
        Field::new("SIZE", "total-bytes", How::Size),
    ],
    ..question("fsinfo", "List its file systems, and how full they are", "get-fsinfo")
};
const VCPUS: &Question = &Question {
    columns: &[
        Field::new("CPU", "logical-id", How::Number),
        Field::new("ONLINE", "online", How::Flag),
        Field::new("CAN GO", "can-offline", How::Flag),
    ],
    ..question("vcpus", "List its processors as it sees them", "get-vcpus")
};
const NETWORK: &Question = &Question {
    columns: &[
        Field::text("NAME", "name"),
        Field::text("HARDWARE ADDRESS", "hardware-address"),
        Field::new("ADDRESSES", "ip-addresses", How::Count),
    ],
    ..question("network", "List its network interfaces; `vm ip` prints the addresses alone", "network-get-interfaces")
};
const STATUS: &Question = &Question {
    method: Method::Post,
    value: "status",
    ..question("status", "Show whether its file systems are held still", "fsfreeze-status")
};

#[async_trait(?Send)]
impl Verb for Question {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self, _: &Kind) -> String {
        self.about.to_owned()
    }

    fn examples(&self, _: &Kind) -> Vec<String> {
        let group = if self.name == STATUS.name { "agent fsfreeze" } else { "agent" };
        vec![format!("pvectl vm {group} {} 100", self.name), format!("pvectl vm {group} {} web-1 -o json", self.name)]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command.arg(target_arg())
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let session = cx.session(Access::Read).await?;
        let guest = one(&session, kind, matches).await?.guest;
        let answer = session.ops.ask_agent(&guest, self.method, self.command).await?;
        let context = session.ops.context();
        let label = guest.reference().to_string();
        if let (false, Value::Array(mut rows)) = (self.columns.is_empty(), answer.clone()) {
            for row in &mut rows {
                row["vmid"] = guest.vmid.get().into();
                row["context"] = context.into();
            }
            fields(&cx.ui, &session.style, self.columns, (Shape::Several, rows), |_| label.clone())?;
            return Ok(0);
        }
        let mut data = match answer {
            Value::Object(map) => Value::Object(map),
            value => json!({ self.value: value }),
        };
        let shown = data.clone();
        data["vmid"] = guest.vmid.get().into();
        data["context"] = context.into();
        print::data_or(&cx.ui, &session.style, &data, &[label], |out| {
            let title = format!("{} of {}", self.name, guest.label());
            people_page(out, &session.style, &title, self.columns, &shown)
        })?;
        Ok(0)
    }
}

struct Ping;

#[async_trait(?Send)]
impl Verb for Ping {
    fn name(&self) -> &'static str {
        "ping"
    }

    fn about(&self, _: &Kind) -> String {
        "Ask the agent whether it answers; where it does not, say what is missing".to_owned()
    }

    fn examples(&self, _: &Kind) -> Vec<String> {
        vec!["pvectl vm agent ping 100".to_owned(), "pvectl vm wait 100 --for agent --timeout 2m".to_owned()]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command.arg(target_arg())
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let session = cx.session(Access::Read).await?;
        let guest = one(&session, kind, matches).await?.guest;
        let asked = Instant::now();
        session.ops.ask_agent(&guest, Method::Post, "ping").await?;
        let took = asked.elapsed().as_secs_f64();
        let data = json!({
            "vmid": guest.vmid, "name": guest.name, "node": guest.node, "answers": true, "seconds": took,
            "context": session.ops.context(),
        });
        print::data_or(&cx.ui, &session.style, &data, &[guest.reference().to_string()], |out| {
            writeln!(out, "the agent of {} answers ({:.0} ms)", guest.reference(), took * 1000.0)
        })?;
        Ok(0)
    }
}

struct Freeze {
    thaws: bool,
}

impl Freeze {
    fn parts(&self) -> (Words, Action) {
        if self.thaws { (THAW, Action::AgentThaw) } else { (FREEZE, Action::AgentFreeze) }
    }
}

#[async_trait(?Send)]
impl Verb for Freeze {
    fn name(&self) -> &'static str {
        if self.thaws { "thaw" } else { "freeze" }
    }

    fn about(&self, _: &Kind) -> String {
        match self.thaws {
            true => "Let the file systems go on".to_owned(),
            false => "Write everything out and hold the file systems still; whoever writes in it waits".to_owned(),
        }
    }

    fn examples(&self, _: &Kind) -> Vec<String> {
        vec![format!("pvectl vm agent fsfreeze {} 100", self.name())]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command.arg(targets_arg(true))
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let (words, action) = self.parts();
        change(cx, kind, matches, words, async |session, found| {
            let mut plan = session.ops.plan_inside(words, action, found, Params::new())?;
            if !self.thaws {
                plan.notes.push(format!(
                    "whoever writes in it waits until `pvectl vm agent fsfreeze thaw {}`",
                    found.guest.vmid
                ));
            }
            Ok(plan)
        })
        .await
    }
}

struct Trim;

#[async_trait(?Send)]
impl Verb for Trim {
    fn name(&self) -> &'static str {
        "fstrim"
    }

    fn about(&self, _: &Kind) -> String {
        "Give the storage back what the file systems do not use; the disks need `discard=on`".to_owned()
    }

    fn examples(&self, _: &Kind) -> Vec<String> {
        vec!["pvectl vm agent fstrim 100".to_owned()]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command.arg(targets_arg(true))
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        change(cx, kind, matches, TRIM, async |session, found| {
            session.ops.plan_inside(TRIM, Action::AgentTrim, found, Params::new())
        })
        .await
    }
}

struct SetPassword;

#[async_trait(?Send)]
impl Verb for SetPassword {
    fn name(&self) -> &'static str {
        "set-password"
    }

    fn about(&self, _: &Kind) -> String {
        "Set the password of a user in a VM".to_owned()
    }

    fn examples(&self, _: &Kind) -> Vec<String> {
        vec![
            "pvectl vm agent set-password 100 root".to_owned(),
            "pvectl vm agent set-password 100 debian --password @secret".to_owned(),
        ]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        let user = Arg::new("username").value_name("USERNAME").required(true).help("Whose, as the guest calls it");
        let password = "@FILE, or - for stdin; asked for if it is not given. Never the password itself";
        command
            .arg(
                Arg::new("targets").value_name("TARGET").required(true).help("VMID, name, list (150,151) or NODE/VMID"),
            )
            .arg(user)
            .arg(value("password", "FILE", password))
            .arg(switch("crypted", "It is a hash already, as `openssl passwd -6` makes one"))
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let password = value_of_secret(cx, "password", text(matches, "password").unwrap_or_default())?;
        let params = Params::new()
            .with("username", text(matches, "username").unwrap_or_default())
            .with("password", password)
            .with_flag("crypted", flag(matches, "crypted"));
        change(cx, kind, matches, SET_PASSWORD, async |session, found| {
            session.ops.plan_inside(SET_PASSWORD, Action::AgentPassword, found, params.clone())
        })
        .await
    }
}
