//! `node certificate`: what a node's web server shows to others: a certificate of one's own, or one that ACME gives.

use std::fs;

use clap::{Arg, ArgMatches};

use super::{look::named, node_arg};
use crate::{
    cli::{
        base::{require_somebody_to_confirm, value_of_secret},
        cx::{Cx, flag, text},
        resource::{carry_out, carry_out_asking},
        session::Access,
        verb::{Entry, Exit, Group, switch, value},
    },
    model::{Error, Method, Params, Result},
};

pub(super) const CERTIFICATE_VERBS: Group = Group {
    name: "certificate",
    about: "What a node's web server shows to others: a certificate of one's own, or one that ACME gives",
    verbs: &[&UPLOAD, &DELETE, &ORDER, &RENEW, &REVOKE],
};

const CUSTOM: &str = "/nodes/{node}/certificates/custom";
const ACME: &str = "/nodes/{node}/certificates/acme/certificate";

const UPLOAD: Entry = Entry {
    name: "upload",
    about: "Give a node's web server a certificate of one's own",
    examples: &["pvectl node certificate upload pve1 chain.pem --key @key.pem --restart"],
    args: |command| {
        let chain = Arg::new("chain").value_name("FILE").required(true);
        command
            .arg(node_arg())
            .arg(chain.help("The certificate, and after it those that it is signed by (PEM)"))
            .arg(value("key", "KEY", "Its private key: @FILE, or - for stdin; else the one that is there"))
            .arg(switch("force", "Replace one that is there"))
            .arg(restart_arg())
    },
    run: |cx, matches| Box::pin(upload(cx, matches)),
};

const DELETE: Entry = Entry {
    name: "delete",
    about: "Take it away: the web server shows that of the cluster again; asks",
    examples: &["pvectl node certificate delete pve1 --restart --dry-run"],
    args: |command| command.arg(node_arg()).arg(restart_arg()),
    run: |cx, matches| Box::pin(remove(cx, matches)),
};

const ORDER: Entry = Entry {
    name: "order",
    about: "Order one by ACME, for the domains in `node config`",
    examples: &["pvectl node certificate order pve1"],
    args: |command| command.arg(node_arg()).arg(switch("force", "Replace one that is there")),
    run: |cx, matches| Box::pin(acme(cx, matches, ("order", Method::Post))),
};

const RENEW: Entry = Entry {
    name: "renew",
    about: "Renew the one that ACME gave",
    examples: &["pvectl node certificate renew pve1"],
    args: |command| command.arg(node_arg()).arg(switch("force", "Though it is good for more than 30 days")),
    run: |cx, matches| Box::pin(acme(cx, matches, ("renew", Method::Put))),
};

const REVOKE: Entry = Entry {
    name: "revoke",
    about: "Let ACME revoke the one that it gave; asks",
    examples: &["pvectl node certificate revoke pve1 --dry-run"],
    args: |command| command.arg(node_arg()),
    run: |cx, matches| Box::pin(acme(cx, matches, ("revoke", Method::Delete))),
};

fn restart_arg() -> Arg {
    switch("restart", "Let the web server show it at once")
}

/// Whoever pinned the old one is told before the next command fails.
const PINNED: &str = "who trusts the certificate of now by its fingerprint has to trust the next one";

async fn upload(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let file = text(matches, "chain").unwrap_or_default();
    let chain = fs::read_to_string(file)
        .map_err(|error| Error::usage(format!("certificate: cannot read {file}")).with_source(error))?;
    let key = text(matches, "key").map(|key| value_of_secret(cx, "key", key)).transpose()?;
    let params = Params::new()
        .with("certificates", chain)
        .with_some("key", key)
        .with_flag("force", flag(matches, "force"))
        .with_flag("restart", flag(matches, "restart"));
    change(cx, matches, ("upload", Method::Post, CUSTOM), params, None).await
}

async fn remove(cx: &Cx, matches: &ArgMatches) -> Result<Exit> {
    let params = Params::new().with_flag("restart", flag(matches, "restart"));
    change(cx, matches, ("delete", Method::Delete, CUSTOM), params, Some("Delete the certificate of")).await
}

async fn acme(cx: &Cx, matches: &ArgMatches, (verb, method): (&'static str, Method)) -> Result<Exit> {
    let params = Params::new().with_flag("force", flag(matches, "force"));
    let question = (method == Method::Delete).then_some("Revoke the certificate of");
    change(cx, matches, (verb, method, ACME), params, question).await
}

async fn change(
    cx: &Cx,
    matches: &ArgMatches,
    (verb, method, path): (&'static str, Method, &str),
    params: Params,
    question: Option<&str>,
) -> Result<Exit> {
    if question.is_some() {
        require_somebody_to_confirm(cx)?;
    }
    let session = cx.session(Access::Write).await?;
    session.ops.require_server("certificates of nodes")?;
    let node = named(&session, matches).await?;
    let mut whole = Params::new().with("node", &node);
    whole.extend(params.iter());
    let (target, forced) = ((method, path), Params::new());
    let mut plan = session.ops.plan_resource_call(verb, "certificate", node.as_str(), target, (whole, &forced)).await?;
    plan.notes.push(PINNED.into());
    match question {
        Some(question) => carry_out_asking(cx, &session, &format!("{question} node {node}?"), vec![plan]).await,
        None => carry_out(cx, &session, vec![plan]).await,
    }
}
