//! `sendkey` and `monitor`: what somebody at the machine would type, and what QEMU's own console takes.

use async_trait::async_trait;
use clap::{Arg, ArgMatches, Command};
use serde_json::{Value, json};

use super::{
    super::{config::value_of_secret, get::target_arg},
    one,
};
use crate::{
    cli::{
        base::mutate,
        cx::{Cx, text, texts},
        error::report,
        print,
        progress::Show,
        session::Access,
        verb::{Exit, Kind, Verb, value},
    },
    model::{Class, Error, GuestKind, Hint, Method, Params, Result, keys_named, keys_of_text},
    ops::SENDKEY,
};

pub(super) struct SendKey;

#[async_trait(?Send)]
impl Verb for SendKey {
    fn name(&self) -> &'static str {
        "sendkey"
    }

    fn about(&self, _: &Kind) -> String {
        "Press keys of a VM, one after the other".to_owned()
    }

    fn examples(&self, _: &Kind) -> Vec<String> {
        vec![
            "pvectl vm sendkey 100 ctrl-alt-delete".to_owned(),
            "pvectl vm sendkey 100 --text root enter".to_owned(),
            "pvectl vm sendkey 100 --text @password enter".to_owned(),
        ]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        let keys = Arg::new("keys").value_name("KEY").num_args(1..).required_unless_present("text");
        let text = "Type this first, as on an American keyboard; @FILE and - (stdin) for what nobody should see";
        command
            .arg(target_arg())
            .arg(keys.help("As QEMU calls them: a, ret, esc, f2; with - or + between those pressed at once"))
            .arg(value("text", "TEXT", text))
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let (mut keys, mut shown) = match text(matches, "text") {
            Some(typed) => typed_keys(cx, typed)?,
            None => (Vec::new(), Vec::new()),
        };
        for typed in texts(matches, "keys") {
            keys.push(keys_named(&typed)?);
            shown.extend(keys.last().cloned());
        }
        let session = cx.session(Access::Write).await?;
        let found = one(&session, kind, matches).await?;
        let plan = async |found: &_| {
            let mut plan = session.ops.plan_keys(found, &keys)?;
            // What is pressed stands in no plan and no journal.
            plan.notes.push(format!("presses {}", shown.join(" ")));
            Ok(plan)
        };
        mutate(cx, &session, SENDKEY, &[found], plan).await
    }
}

/// The keys that type a text, and what of them is shown: of what comes from a file or stdin only how many they are.
fn typed_keys(cx: &Cx, typed: &str) -> Result<(Vec<String>, Vec<String>)> {
    let is_hidden = typed == "-" || typed.starts_with('@');
    let keys = match is_hidden {
        true => keys_of_text(&value_of_secret(cx, "text", typed)?)?,
        false => keys_of_text(typed)?,
    };
    let shown = if is_hidden { vec![format!("{} keys that are not shown", keys.len())] } else { keys.clone() };
    Ok((keys, shown))
}

pub(super) struct Monitor;

#[async_trait(?Send)]
impl Verb for Monitor {
    fn name(&self) -> &'static str {
        "monitor"
    }

    fn about(&self, _: &Kind) -> String {
        "Give QEMU's monitor a command: `info` for who may look, others with Sys.Modify, some for root@pam alone"
            .to_owned()
    }

    fn examples(&self, _: &Kind) -> Vec<String> {
        vec!["pvectl vm monitor 100 -- info status".to_owned(), "pvectl vm monitor 100 -- info block".to_owned()]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        let command_arg = Arg::new("command").value_name("COMMAND").num_args(1..).required(true).last(true);
        command.arg(target_arg()).arg(command_arg.help("What is typed at the monitor"))
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let session = cx.session(Access::Write).await?;
        session.ops.require_server("VMs with a monitor")?;
        let guest = one(&session, kind, matches).await?.guest;
        debug_assert_eq!(guest.kind, GuestKind::Qemu);
        let command = texts(matches, "command").join(" ");
        let params = Params::new().with("node", &guest.node).with("vmid", guest.vmid).with("command", command);
        let target = (Method::Post, "/nodes/{node}/qemu/{vmid}/monitor");
        let name = guest.vmid.to_string();
        let plan = session.ops.plan_resource_call("monitor", "vm", &name, target, (params, &Params::new())).await?;
        if cx.switches.dry_run {
            return crate::cli::resource::carry_out(cx, &session, vec![plan]).await;
        }
        let show = Show::new(cx.ui.clone(), 1);
        let outcome = session.ops.run_resource(plan, &session.options, &show, &cx.interrupt).await;
        if let Some(error) = outcome.error {
            let root = error.message().contains("root-only") || error.message().contains("limiting to root");
            let hint = "only root@pam itself may give this one, logged in with its password: an API token of root is not enough";
            let error =
                if root { error.with_class(Class::Forbidden).with_hint(Hint::Text(hint.into())) } else { error };
            report(&cx.ui, cx.error_format(), &error);
            return Ok(error.class().exit_code());
        }
        let said = outcome.data.as_ref().and_then(Value::as_str).unwrap_or_default().replace("\r\n", "\n");
        // The server calls it well done whatever QEMU says.
        if let Some(error) = said.strip_prefix("ERROR: ") {
            let class = if error.contains("not running") { Class::Conflict } else { Class::Failed };
            return Err(Error::new(
                class,
                format!("cannot ask the monitor of {}: {}", guest.reference(), error.trim()),
            ));
        }
        let data = json!({"vmid": guest.vmid, "said": said, "context": session.ops.context()});
        print::data_or(&cx.ui, &session.style, &data, &[guest.reference().to_string()], |out| {
            writeln!(out, "{}", said.trim_end())
        })?;
        Ok(0)
    }
}
