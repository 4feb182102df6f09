//! `api`: every method of the Proxmox VE API, parameters checked before they are sent.
//!
//! Reads arguments and prints answers; finding, checking, recording and following is in `ops`.

mod curl;
mod input;
mod tree;

use std::io::Write;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};

use self::{curl::curl, input::Input, tree::LS};
use crate::{
    cli::{
        base::require_somebody_to_confirm,
        cx::{Cx, flag, text},
        description,
        error::report,
        print::{self, Format, table},
        progress::Show,
        session::{Access, Session},
        ui::{style, styled},
        verb::{Entry, Exit, run_in_group, switch, with_group},
    },
    contract::embedded,
    model::{Call, Class, Error, Hint, Method, Result},
    ops::{CallOutcome, CallPlan, CallRequest, Status},
};

pub(super) const ENTRY: Entry = Entry {
    name: "api",
    about: "Call any method of the Proxmox VE API, parameters checked before they are sent",
    examples: &[
        "pvectl api ls /nodes/{node}/qemu/{vmid}",
        "pvectl api get /cluster/resources -p type=vm -o table",
        "pvectl api post /nodes/{node}/qemu/{vmid}/status/start -p vmid=101",
    ],
    args: |command| with_group(command, GROUP),
    run: |cx, matches| Box::pin(run_in_group(cx, matches, GROUP)),
};

const GROUP: &[Entry] = &[
    Entry {
        name: "get",
        about: "Read: the server's data, as JSON unless -o says otherwise",
        examples: &[
            "pvectl api get /version",
            "pvectl api get /nodes/{node}/qemu/{vmid}/config -p vmid=100",
            "pvectl api get '/cluster/resources?type=storage' -o table",
            "pvectl api get /nodes/pve1/tasks --paginate",
        ],
        args: |command| {
            call_args(command).arg(switch("paginate", "Read all pages of a method that takes start and limit"))
        },
        run: |cx, matches| Box::pin(run(cx, matches, Method::Get)),
    },
    Entry {
        name: "post",
        about: "Make something or start work; a task is followed to its end",
        examples: &[
            "pvectl api post /nodes/{node}/qemu/{vmid}/status/start -p vmid=101",
            "pvectl api post /nodes/pve1/qemu -f vm.json --dry-run",
            "pvectl api post /access/users -p userid=ann@pve -p password=@password.txt",
        ],
        // `create` and `set` are what `pvesh` calls them.
        args: |command| call_args(command).visible_alias("create"),
        run: |cx, matches| Box::pin(run(cx, matches, Method::Post)),
    },
    Entry {
        name: "put",
        about: "Change something",
        examples: &["pvectl api put /nodes/{node}/qemu/{vmid}/config -p vmid=100 -p onboot=yes"],
        args: |command| call_args(command).visible_alias("set"),
        run: |cx, matches| Box::pin(run(cx, matches, Method::Put)),
    },
    Entry {
        name: "delete",
        about: "Remove something; asks",
        examples: &["pvectl api delete /pools -p poolid=test --confirm"],
        args: call_args,
        run: |cx, matches| Box::pin(run(cx, matches, Method::Delete)),
    },
    LS,
];

fn call_args(command: Command) -> Command {
    command
        .arg(Arg::new("path").value_name("PATH").required(true).help(
            "/nodes/pve1/qemu/100/config, or /nodes/{node}/qemu/{vmid}/config with -p vmid=100; the node of a guest is found",
        ))
        .arg(
            Arg::new("param")
                .short('p')
                .long("param")
                .value_name("KEY=VALUE")
                .action(ArgAction::Append)
                .help("A parameter; KEY=@FILE reads a file, KEY=- stdin, KEY=@@TEXT is the text @TEXT. Repeatable"),
        )
        .arg(
            Arg::new("file")
                .short('f')
                .long("file")
                .value_name("FILE")
                .help("Parameters as a JSON or YAML object; - is stdin. -p goes before it"),
        )
        .arg(
            Arg::new("force-param")
                .long("force-param")
                .value_name("KEY=VALUE")
                .action(ArgAction::Append)
                .help("A parameter that is sent unchecked, such as one of a newer server. Repeatable"),
        )
}

async fn run(cx: &Cx, matches: &ArgMatches, method: Method) -> Result<Exit> {
    if method == Method::Delete {
        require_somebody_to_confirm(cx)?;
    }
    let path = text(matches, "path").unwrap_or_default();
    let Input { arguments, forced, file } = Input::read(cx, matches, path)?;
    let read = |contract| CallRequest::new(contract, method, path, arguments.clone(), &forced, file.clone());
    let kept;
    let request = match read(embedded()) {
        Ok(request) => request,
        // A server of another version may have told what it takes.
        Err(refused) => {
            kept = description::kept(cx).await;
            kept.as_ref().map_or(Err(refused), read)?
        }
    };
    let paginate = flag(matches, "paginate");
    if paginate && !request.has_pages() {
        return Err(Error::usage(format!(
            "--paginate is for methods that take `start` and `limit`, and {path} does not"
        )));
    }
    let access = if method == Method::Get { Access::Read } else { Access::Write };
    let session = cx.session(access).await?;
    let plan = session.ops.plan_call(request).await?;
    if cx.switches.dry_run {
        return show(cx, &session, &plan);
    }
    if method == Method::Get {
        let data = match paginate {
            true => Value::Array(session.ops.read_pages(&plan).await?),
            false => session.ops.read_call(&plan).await?,
        };
        print(cx, &session, given(cx).unwrap_or(Format::Json), &data)?;
        return Ok(0);
    }
    if method == Method::Delete && !cx.switches.confirm {
        let question = question(&plan.call);
        if !cx.ui.ask_yes(&question)? {
            cx.ui.say("nothing was done");
            return Ok(Class::Failed.exit_code());
        }
    }
    let show = Show::new(cx.ui.clone(), 1);
    let outcome = session.ops.run_call(&plan, &session.options, &show, &cx.interrupt).await;
    show.clear(0);
    finish(cx, &session, &plan, outcome)
}

/// The format that was asked for on the command line. What is set for tables elsewhere is not meant for raw data.
fn given(cx: &Cx) -> Option<Format> {
    let asked = cx.switches.json || ["output", "jq"].iter().any(|flag| cx.flags.get(flag).is_some());
    asked.then(|| cx.plain_style().map_or(Format::Json, |style| style.format))
}

/// What would be sent, for people and as a line for a shell.
fn show(cx: &Cx, session: &Session, plan: &CallPlan) -> Result<Exit> {
    let curl = curl(&plan.call, session.url.as_deref())?;
    let mut data = plan.call.to_json();
    data["curl"] = json!(curl);
    let people = |out: &mut dyn Write| {
        writeln!(out, "{}", plan.call)?;
        writeln!(out, "{curl}")
    };
    let style = print::Style { format: given(cx).unwrap_or(Format::Table), ..session.style.clone() };
    print::data_or(&cx.ui, &style, &data, std::slice::from_ref(&plan.call.path), people)?;
    cx.ui.say("nothing was sent (--dry-run)");
    Ok(0)
}

/// Prints what a change answered, tells what went wrong, and gives the exit code.
fn finish(cx: &Cx, session: &Session, plan: &CallPlan, outcome: CallOutcome) -> Result<Exit> {
    let printed = match (given(cx), &outcome.data) {
        (_, None) | (None, Some(Value::Null)) => Ok(()),
        (Some(format), Some(data)) => print(cx, session, format, data),
        // A UPID is for the next command.
        (None, Some(Value::String(text))) => cx.ui.data(|out| writeln!(out, "{text}")),
        (None, Some(data)) => print(cx, session, Format::Json, data),
    };
    if let Err(error) = &printed {
        // It is made, however wrong the way is in which it should be printed.
        report(&cx.ui, cx.error_format(), error);
    }
    if !outcome.log.is_empty() && !cx.switches.quiet {
        cx.ui.err_line(styled(style::DIM, "the last lines of the task:"));
        outcome.log.iter().for_each(|line| cx.ui.err_line(format_args!("  {line}")));
    }
    if let Some(error) = &outcome.error {
        report(&cx.ui, cx.error_format(), error);
    }
    Ok(match (&outcome.error, outcome.status) {
        _ if cx.interrupt.is_raised() => Class::Interrupted.exit_code(),
        (Some(error), _) => error.class().exit_code(),
        (None, Status::Warning) => {
            let said = outcome.exit_status.unwrap_or_default();
            cx.ui.warn(format_args!("{} {}: {said}", plan.call.method, plan.call.path));
            if cx.switches.fail_on_warnings { Class::TaskFailed.exit_code() } else { 0 }
        }
        _ if printed.is_err() => Class::Failed.exit_code(),
        _ => 0,
    })
}

/// Prints the server's data, objects by the alphabet: a server gives the keys of an object in another order each time.
fn print(cx: &Cx, session: &Session, format: Format, data: &Value) -> Result<()> {
    let mut data = print::arranged(&session.style, data.clone())?;
    data.sort_all_objects();
    let style = print::Style { format, ..session.style.arranged() };
    let names = match style.format {
        Format::Name => names(&data)?,
        _ => Vec::new(),
    };
    print::data_or(&cx.ui, &style, &data, &names, |out| match &data {
        Value::Array(rows) if rows.iter().any(Value::is_object) => {
            let columns = columns(rows);
            let cells = rows.iter().map(|row| columns.iter().map(|key| cell(&row[key.as_str()])).collect());
            let titles = columns.iter().map(|key| key.to_uppercase());
            table::write_cells(out, titles.collect(), cells.collect(), &style)
        }
        Value::Array(values) => values.iter().try_for_each(|value| writeln!(out, "{}", cell(value))),
        Value::Object(map) => {
            let cells = map.iter().map(|(key, value)| vec![key.clone(), cell(value)]);
            table::write_cells(out, vec!["KEY".to_owned(), "VALUE".to_owned()], cells.collect(), &style)
        }
        other => writeln!(out, "{}", cell(other)),
    })
}

/// What is asked before a DELETE: the whole call, for some name what goes in a parameter.
fn question(call: &Call) -> String {
    format!("{call}? This cannot be undone")
}

/// The keys that have a plain value in any row, in the order of the alphabet.
fn columns(rows: &[Value]) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    for (key, value) in rows.iter().filter_map(Value::as_object).flatten() {
        if !value.is_object() && !value.is_array() && !columns.contains(key) {
            columns.push(key.clone());
        }
    }
    columns.sort();
    columns
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Raw data has names only where it is made of texts.
fn names(data: &Value) -> Result<Vec<String>> {
    let name = |value: &Value| match value {
        Value::Null => Ok(Vec::new()),
        Value::String(_) | Value::Number(_) => Ok(vec![cell(value)]),
        _ => {
            Err(Error::usage("this data has no names to print").with_hint(Hint::Text("use -o json or -o table".into())))
        }
    };
    match data {
        Value::Array(values) => Ok(values.iter().map(name).collect::<Result<Vec<_>>>()?.concat()),
        one => name(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Params;

    #[test]
    fn what_would_go_is_named() {
        let call = Call::new(Method::Delete, "/pools").with_params(Params::new().with("poolid", "prod"));
        assert_eq!(question(&call), "DELETE /pools poolid=prod? This cannot be undone");
    }

    #[test]
    fn columns_are_those_with_plain_values_in_the_same_order_every_time() {
        let rows = [json!({"vmid": 1, "tags": ["x"]}), json!({"name": "a", "vmid": 2, "disk": {"a": 1}}), json!("odd")];
        assert_eq!(columns(&rows), ["name", "vmid"]);
    }
}
