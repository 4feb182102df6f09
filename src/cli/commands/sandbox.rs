//! `sandbox`: the simulated cluster: make it anew, serve it to others, see how it is.

use std::{fs::File, io::Write, sync::Arc};

use clap::{Arg, ArgAction, ArgMatches, builder::PossibleValuesParser, value_parser};
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    cli::{
        complete::cache,
        cx::{Cx, flag, text, texts},
        print,
        session::Access,
        verb::{Entry, Exit, run_in_group, switch, value, with_group},
    },
    config::Connection,
    model::{Class, Error, Result, SystemClock},
    sandbox::{Sandbox, Shape},
    server::{FaultRule, FaultScript, Kit, Logged, Options, Tls, listen},
};

pub(super) const ENTRY: Entry = Entry {
    name: "sandbox",
    about: "The built-in simulated cluster: reset, serve, status",
    examples: &[],
    args: |command| with_group(command, GROUP),
    run: |cx, matches| Box::pin(run_in_group(cx, matches, GROUP)),
};

const GROUP: &[Entry] = &[
    Entry {
        name: "reset",
        about: "Throw the sandbox away and make a new one",
        examples: &["pvectl sandbox reset", "pvectl sandbox reset --nodes 5 --guests 1000"],
        args: |command| {
            let number = |arg: Arg, default: &'static str| arg.value_parser(value_parser!(u32)).default_value(default);
            let pace = "What the duration of tasks is multiplied with; 0 ends them at once";
            command
                .arg(number(value("nodes", "N", "How many nodes"), "3"))
                .arg(number(value("guests", "N", "How many guests beside those every sandbox has"), "0"))
                .arg(value("pace", "FACTOR", pace).value_parser(value_parser!(f64)).default_value("1"))
        },
        run: |cx, matches| Box::pin(async { reset(cx, matches) }),
    },
    Entry {
        name: "serve",
        about: "Serve the sandbox to other clients, until Ctrl-C",
        examples: &[
            "pvectl sandbox serve --listen 127.0.0.1:0 --tls",
            "pvectl sandbox serve --fault 'POST /nodes/*/qemu/*/status/start:reset-after*1'",
        ],
        args: |command| {
            let fault = "Let something go wrong: METHOD PATH:ACTION[*COUNT], METHOD CHANGE for all but GET, with * for \
                         a segment and ** for the rest; actions are delay=TIME, delay-after=TIME, reset-before, \
                         reset-after, status=CODE, status-after=CODE, truncate-after, die=TEXT, down-after=TIME, \
                         task-ends=TEXT";
            let log = "Append a line for every request: METHOD PATH STATUS, with status 0 where nobody got an answer";
            command
                .arg(value("listen", "ADDRESS", "Where; port 0 takes a free one").default_value("127.0.0.1:8006"))
                .arg(
                    value(
                        "offline",
                        "NODE",
                        "Cut this node off first, as `sandbox node NODE offline` does; repeatable",
                    )
                    .action(ArgAction::Append),
                )
                .arg(switch("tls", "Speak TLS, with a certificate made for this run"))
                .arg(switch("no-auth-delay", "Answer 401 at once instead of after three seconds"))
                .arg(value("fault", "RULE", fault).action(ArgAction::Append))
                .arg(value("request-log", "FILE", log))
        },
        run: |cx, matches| Box::pin(serve(cx, matches)),
    },
    Entry {
        name: "node",
        about: "Cut a node off from the others, or bring it back",
        examples: &["pvectl sandbox node pve3 offline", "pvectl sandbox node pve3 online"],
        args: |command| {
            let state = PossibleValuesParser::new(["online", "offline"]);
            command
                .arg(Arg::new("node").value_name("NODE").required(true).help("Any but the first, which answers"))
                .arg(Arg::new("state").value_name("STATE").required(true).value_parser(state).help("online or offline"))
        },
        run: |cx, matches| Box::pin(async { node(cx, matches) }),
    },
    Entry {
        name: "status",
        about: "Where it lies and what is in it",
        examples: &["pvectl sandbox status"],
        args: |command| command,
        run: |cx, _| Box::pin(async { status(cx) }),
    },
];

fn reset(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    cx.check_outside(Access::Write, "sandbox")?;
    let number = |name: &str| matches.get_one::<u32>(name).copied().unwrap_or_default();
    let shape = Shape {
        nodes: number("nodes"),
        guests: number("guests"),
        pace: matches.get_one::<f64>("pace").copied().unwrap_or(1.0),
    };
    let paths = cx.paths()?;
    let path = paths.sandbox();
    if cx.switches.dry_run {
        cx.ui.say(format_args!("would make a new sandbox with {} nodes in {}", shape.nodes, path.display()));
        cx.ui.say("nothing was done (--dry-run)");
        return Ok(0);
    }
    Sandbox::reset(&path, &shape, Arc::new(SystemClock))?;
    cache(&paths, &Connection::Sandbox { implicit: false }, "").forget();
    cx.ui.say(format_args!("a new sandbox with {} nodes lies in {}", shape.nodes, path.display()));
    Ok(0)
}

fn node(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    cx.check_outside(Access::Write, "sandbox")?;
    let (node, state) = (text(matches, "node").unwrap_or_default(), text(matches, "state").unwrap_or_default());
    let paths = cx.paths()?;
    if cx.switches.dry_run {
        cx.ui.say(format_args!("would set {node} {state}"));
        cx.ui.say("nothing was done (--dry-run)");
        return Ok(0);
    }
    let sandbox = Sandbox::open(&paths.sandbox(), Arc::new(SystemClock))?;
    sandbox.set_online(&[node.to_owned()], state == "online")?;
    cache(&paths, &Connection::Sandbox { implicit: false }, "").forget();
    cx.ui.say(format_args!("{node} is {state}"));
    Ok(0)
}

async fn serve(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let style = cx.plain_style()?;
    let sandbox = Sandbox::open(&cx.paths()?.sandbox(), Arc::new(SystemClock))?;
    sandbox.set_online(&texts(matches, "offline"), false)?;
    let address = text(matches, "listen").unwrap_or("127.0.0.1:8006");
    let no_port =
        |error: std::io::Error| Error::new(Class::Failed, format!("cannot listen on {address}")).with_source(error);
    let listener = TcpListener::bind(address).await.map_err(no_port)?;
    let bound = listener.local_addr().map_err(no_port)?;
    let tls = match flag(matches, "tls") {
        true => Some(Tls::self_signed(&["localhost".to_owned(), bound.ip().to_string()])?),
        false => None,
    };
    let rule = |text: &String| text.parse::<FaultRule>().map_err(|error| Error::usage(error.to_string()));
    let rules = texts(matches, "fault").iter().map(rule).collect::<Result<Vec<_>>>()?;
    let mut options = if flag(matches, "no-auth-delay") { Options::in_process() } else { Options::default() };
    if !rules.is_empty() {
        options.faults = Some(Arc::new(FaultScript::new(rules)));
    }
    if let Some(path) = text(matches, "request-log") {
        let cannot = |error| Error::usage(format!("cannot write the request log {path}")).with_source(error);
        let file = File::options().create(true).append(true).open(path).map_err(cannot)?;
        // One write a line, so that whoever reads meanwhile sees whole ones.
        options.on_request = Some(Arc::new(move |logged: &Logged| {
            // A log that cannot be written is no reason to answer differently.
            let _ = (&file).write_all(format!("{} {} {}\n", logged.method, logged.path, logged.status).as_bytes());
        }));
    }
    let (token_id, secret) = sandbox.token();
    let url = format!("{}://{bound}", if tls.is_some() { "https" } else { "http" });
    let token = format!("{token_id}={}", secret.expose_secret());
    let fingerprint = tls.as_ref().map(|tls| tls.fingerprint().to_owned());
    let certificate = tls.as_ref().map(Tls::certificate);
    let data = json!({"url": url, "token": token, "fingerprint": fingerprint, "certificate": certificate});
    // The token of a simulation is no secret, and whoever starts the server must be able to use it.
    print::data_or(&cx.ui, &style, &data, std::slice::from_ref(&url), |out| {
        writeln!(out, "PVECTL_ENDPOINT={url}")?;
        writeln!(out, "PVECTL_TOKEN={token}")?;
        match &fingerprint {
            Some(fingerprint) => writeln!(out, "PVECTL_FINGERPRINT={fingerprint}"),
            None => Ok(()),
        }
    })?;
    cx.ui.say("serving until Ctrl-C");
    let kit = Kit::new(Arc::new(sandbox), options);
    let served = listen(kit, listener, tls, std::future::pending()).await;
    served.map(|()| 0).map_err(|error| Error::new(Class::Failed, "the server stopped").with_source(error))
}

fn status(cx: &Cx) -> Result<Exit> {
    let path = cx.paths()?.sandbox();
    if !path.exists() {
        cx.ui.say(format_args!(
            "there is no sandbox yet; the first command that uses it makes one in {}",
            path.display()
        ));
        return Ok(0);
    }
    let sandbox = Sandbox::open(&path, Arc::new(SystemClock))?;
    let census = sandbox.census()?;
    let style = cx.plain_style()?;
    let data =
        json!({"path": path, "nodes": census.nodes, "guests": census.guests, "running_tasks": census.running_tasks});
    print::data_or(&cx.ui, &style, &data, &[path.display().to_string()], |out| {
        writeln!(out, "path           {}", path.display())?;
        writeln!(out, "nodes          {}", census.nodes)?;
        writeln!(out, "guests         {}", census.guests)?;
        writeln!(out, "running tasks  {}", census.running_tasks)
    })?;
    Ok(0)
}
