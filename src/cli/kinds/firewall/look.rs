//! What there is to see of the firewall beside its lists: whether it filters at all, what rules may name, its log.

use clap::{ArgMatches, value_parser};
use serde_json::{Value, json};

use super::{ALIASES, KIND, OPTIONS, RULES};
use crate::{
    cli::{
        cx::{Cx, text},
        print::{
            self, Shape,
            fields::{Field, fields, section, write_rows},
        },
        resource::lines_of,
        session::{Access, Session},
        ui::{style, styled},
        verb::{Entry, Exit, value},
    },
    model::{Error, Hint, Params, Result, is_numbered},
    ops::{Reach, Sort, plain},
};

pub(super) const STATUS: Entry = Entry {
    name: "status",
    about: "Show whether the firewall filters, for whom, and by which rules",
    examples: &["pvectl firewall status", "pvectl firewall status --guest 101"],
    args: |command| OPTIONS.owner_args(command, &KIND),
    run: |cx, matches| Box::pin(status(cx, matches)),
};

pub(super) const REFS: Entry = Entry {
    name: "refs",
    about: "List the sets and aliases that rules may name, and how",
    examples: &["pvectl firewall refs", "pvectl firewall refs --guest 101 --type ipset"],
    args: |command| {
        let only = value("type", "TYPE", "Only sets, or only aliases").value_parser(["alias", "ipset"]);
        ALIASES.owner_args(command, &KIND).arg(only)
    },
    run: |cx, matches| Box::pin(refs(cx, matches)),
};

pub(super) const MACROS: Entry = Entry {
    name: "macros",
    about: "List the macros: names for what a service needs",
    examples: &["pvectl firewall macros"],
    args: |command| command,
    run: |cx, _| Box::pin(macros(cx)),
};

pub(super) const LOG: Entry = Entry {
    name: "log",
    about: "Print the last lines of the firewall's log, of a node or a guest",
    examples: &["pvectl firewall log --node pve1", "pvectl firewall log --guest 101 --limit 20"],
    args: |command| {
        let limit = value("limit", "N", "At most so many").value_parser(value_parser!(u64).range(1..));
        OPTIONS.owner_args(command, &KIND).arg(limit.default_value("50"))
    },
    run: |cx, matches| Box::pin(log(cx, matches)),
};

const REF_FIELDS: &[Field] = &[
    Field::text("REFERENCE", "ref"),
    Field::text("TYPE", "type"),
    Field::text("SCOPE", "scope"),
    Field::text("NAME", "name"),
    Field::text("COMMENT", "comment"),
];

const MACRO_FIELDS: &[Field] = &[Field::text("MACRO", "macro"), Field::text("WHAT", "descr")];

/// Prints rows that have a name in one of their fields.
fn print_rows(
    cx: &Cx,
    session: &Session,
    columns: &'static [Field],
    (noun, key): (&str, &str),
    mut rows: Vec<Value>,
) -> Result<Exit> {
    rows.sort_by_cached_key(|row| plain(&row[key]));
    for row in &mut rows {
        row["context"] = session.ops.context().into();
        row.sort_all_objects();
    }
    let name = |row: &Value| format!("{noun}/{}", plain(&row[key]).unwrap_or_default());
    fields(&cx.ui, &session.style, columns, (Shape::Several, rows), name)?;
    Ok(0)
}

async fn refs(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let session = cx.session(Access::Read).await?;
    let sort = ALIASES.sort(&session, matches).await?;
    // They stand beside the aliases.
    let path = sort.paths().list.replace("/aliases", "/refs");
    let rows = session.ops.rows_at(&path, sort.scoped().with_some("type", text(matches, "type"))).await?;
    print_rows(cx, &session, REF_FIELDS, ("firewall-ref", "ref"), rows)
}

async fn macros(cx: &Cx) -> Result<Exit> {
    let session = cx.session(Access::Read).await?;
    session.ops.require_server("firewall macros")?;
    let rows = session.ops.rows_at("/cluster/firewall/macros", Params::new()).await?;
    print_rows(cx, &session, MACRO_FIELDS, ("firewall-macro", "macro"), rows)
}

async fn log(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let session = cx.session(Access::Read).await?;
    let sort = OPTIONS.sort(&session, matches).await?;
    if sort.scope().reach() == Reach::Cluster {
        return Err(Error::usage("the cluster has no log of its own: nodes and guests have")
            .with_hint(Hint::Text("say whose: --node NODE or --guest GUEST".into())));
    }
    let path = sort.paths().one.replace("/options", "/log");
    let limit = matches.get_one::<u64>("limit").copied().unwrap_or(50);
    lines_of(cx, &session, &path, sort.scoped(), limit).await
}

/// What decides whether anything is filtered, and the rules that then count.
async fn status(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let session = cx.session(Access::Read).await?;
    let sort = OPTIONS.sort(&session, matches).await?;
    let (ops, reach) = (&session.ops, sort.scope().reach());
    let rules = Sort::new(RULES.resource, sort.scope().clone())?;
    let (cluster, own, rows) = futures_util::future::try_join3(
        ops.resource(OPTIONS.resource, ""),
        ops.resource(&sort, ""),
        ops.resources(&rules),
    )
    .await?;
    let is_on = |options: &serde_json::Map<String, Value>, default: bool| {
        options.get("enable").and_then(plain).map_or(default, |on| on != "0")
    };
    // A node's is on where nothing is said.
    let (cluster_on, own_on) = (is_on(&cluster, false), is_on(&own, reach == Reach::Node));
    let cards = match reach {
        Reach::Vm | Reach::Container => cards(&session, &sort).await?,
        _ => Vec::new(),
    };
    let mut why = Vec::new();
    if !cluster_on {
        why.push("the cluster's firewall is off: pvectl firewall options update --enable".to_owned());
    }
    if !own_on && reach != Reach::Cluster {
        let whose = sort.full_name("");
        let flag = if reach == Reach::Node { "node" } else { "guest" };
        let bare = whose.rsplit('/').next().unwrap_or_default();
        why.push(format!("that of {whose} is off: pvectl firewall options update --{flag} {bare} --enable"));
    }
    for (card, on) in cards.iter().filter(|(_, on)| !on) {
        let _ = on;
        why.push(format!("network card {card} is not under the firewall (firewall=1 is not set)"));
    }
    let is_filtered = cluster_on && own_on;
    let whose = match sort.full_name("") {
        whose if whose.is_empty() => "cluster".to_owned(),
        whose => whose,
    };
    let mut data = json!({
        "of": whose, "filters": is_filtered, "why": why, "options": own, "rules": rows, "context": ops.context(),
    });
    if !cards.is_empty() {
        data["cards"] = cards.iter().map(|(card, on)| (card.clone(), json!(on))).collect();
    }
    data.sort_all_objects();
    let name = format!("firewall/{whose}");
    print::data_or(&cx.ui, &session.style, &data, &[name], |out| {
        writeln!(out, "{}", styled(style::HEADER, format_args!("firewall {whose}")))?;
        let policy = |key: &str, default: &str| own.get(key).and_then(plain).unwrap_or_else(|| default.to_owned());
        let word = if is_filtered { styled(style::GOOD, "filters") } else { styled(style::BAD, "does not filter") };
        writeln!(out, "  State     {word}")?;
        if reach != Reach::Node {
            writeln!(out, "  Incoming  {}", policy("policy_in", "DROP"))?;
            writeln!(out, "  Outgoing  {}", policy("policy_out", "ACCEPT"))?;
        }
        section(out, "Why not", why.iter().map(|line| (line.clone(), String::new())))?;
        if !rows.is_empty() {
            writeln!(out, "{}", styled(style::HEADER, "Rules"))?;
            write_rows(out, &session.style, RULES.columns, &rows)?;
        }
        Ok(())
    })?;
    Ok(0)
}

/// The network cards of a guest, and whether each is under the firewall.
async fn cards(session: &Session, sort: &Sort) -> Result<Vec<(String, bool)>> {
    let path = sort.paths().one.replace("/firewall/options", "/config");
    let config = session.ops.read_at(&path, sort.scoped()).await?;
    let cards = config.as_object().into_iter().flatten().filter(|(key, _)| is_numbered(key, "net"));
    let is_on = |value: &Value| plain(value).is_some_and(|text| text.split(',').any(|part| part == "firewall=1"));
    Ok(cards.map(|(key, value)| (key.clone(), is_on(value))).collect())
}
