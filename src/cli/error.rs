//! From an error to words: what failed, the chain of causes, then hints a person can act on.
//!
//! The knowledge is in the error; only the wording is here.

use std::error::Error as _;

use serde_json::json;

use super::ui::{Ui, style, styled};
use crate::model::{Error, Hint, Meanwhile};

/// How errors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorFormat {
    Text,
    Json,
}

impl ErrorFormat {
    /// Reads `--error-format`; what clap let through is one of the two.
    pub(crate) fn parse(text: &str) -> Self {
        if text == "json" { Self::Json } else { Self::Text }
    }
}

/// Writes an error to stderr.
pub(crate) fn report(ui: &Ui, format: ErrorFormat, error: &Error) {
    match format {
        ErrorFormat::Text => ui.err_line(text(error)),
        ErrorFormat::Json => ui.err_line(data(error)),
    }
}

fn causes(error: &Error) -> Vec<String> {
    let mut causes = Vec::new();
    let mut shown = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        // Libraries like to repeat their cause in their own words.
        if !shown.contains(&text) {
            causes.push(text.clone());
        }
        shown = text;
        next = cause.source();
    }
    causes
}

fn text(error: &Error) -> String {
    let mut lines = vec![format!("{} {error}", styled(style::ERROR, "error:"))];
    lines
        .extend(error.params().iter().map(|(name, said)| format!("  {name}: {}", said.trim().replace('\n', "\n    "))));
    lines.extend(causes(error).into_iter().map(|cause| format!("  caused by: {}", cause.replace('\n', "\n    "))));
    lines.extend(error.hints().iter().map(|hint| format!("{} {}", styled(style::HINT, "hint:"), words(hint))));
    lines.join("\n")
}

fn data(error: &Error) -> String {
    json!({"error": {
        "class": error.class().name(),
        "exit_code": error.class().exit_code(),
        "message": error.message(),
        "http_status": error.status(),
        "params": error.params(),
        "causes": causes(error),
        "hints": error.hints().iter().map(words).collect::<Vec<_>>(),
        "may_have_happened": error.may_have_happened(),
    }})
    .to_string()
}

/// What somebody else did, beside what we would have done.
fn meanwhile(keys: &[Meanwhile]) -> String {
    if keys.is_empty() {
        return "what differs is nothing that is shown: a secret, a snapshot, or the digest that was given is older"
            .into();
    }
    let value =
        |value: &Option<String>| value.as_ref().map_or("not set".to_owned(), |value| value.replace('\n', "\\n"));
    let lines = keys.iter().map(|Meanwhile { key, read, now, ours }| {
        let ours = ours.as_ref().map_or(String::new(), |ours| format!(" (this change: {})", value(ours)));
        format!("\n  {key}: {} → {}{ours}", value(read), value(now))
    });
    format!(
        "somebody else changed this in between; look, and do it again if it still fits:{}",
        lines.collect::<String>()
    )
}

/// A hint in words.
pub(crate) fn words(hint: &Hint) -> String {
    match hint {
        Hint::DidYouMean(names) => {
            format!("did you mean {}?", names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or "))
        }
        Hint::Locked(holder) => {
            format!(
                "a `{holder}` holds the lock: see `pvectl task list --running`; a change waits for it with --wait-lock 60s"
            )
        }
        Hint::ChangedMeanwhile(keys) => meanwhile(keys),
        Hint::NeedsPrivilege { path, privilege } => format!(
            "the user or token needs {privilege} on {path}; a token with privilege separation needs it of its own"
        ),
        Hint::UnnamedPrivilege => "the user or token lacks a privilege, and the server does not say which: \
             `pvectl permission list -o wide` shows those that there are"
            .to_owned(),
        Hint::NodeUnreachable(node) => {
            format!("node `{node}` is down, or not called so: a node's short name is expected (see `pvectl node list`)")
        }
        Hint::NodeAway(node) => format!(
            "the cluster does not reach {node}: what is on it can be looked at and changed when it is back \
             (`pvectl node list`)"
        ),
        Hint::NodeSilent(node) => format!(
            "the cluster counts {node} as online, but its API does not answer: look there, \
             `systemctl status pveproxy pvedaemon`"
        ),
        Hint::DaemonSilent => "pveproxy answers there, but pvedaemon, which does the work, does not: look there, \
             `systemctl status pvedaemon`, or ask another node (--host)"
            .to_owned(),
        Hint::UnknownCertificate { endpoint, fingerprint } => format!(
            "if {endpoint} is yours and shows this fingerprint on its own console, trust it with --fingerprint {fingerprint} \
             (config add-context) or PVECTL_FINGERPRINT"
        ),
        Hint::Credentials => {
            "check user, realm, password or token; a token looks like `user@realm!name=uuid`, and may have expired"
                .to_owned()
        }
        Hint::VmidTaken(_) => {
            "leave --vmid out to take the next free one, which `pvectl api get /cluster/nextid` tells".to_owned()
        }
        Hint::MayHaveHappened => "the request was sent and its answer lost: it may have been carried out. Look first \
             (`pvectl task list`, `pvectl operation list`), it is not sent again"
            .to_owned(),
        Hint::UnknownParameter => {
            "a server that is newer than PVE 9.2 may know it: --force-param KEY=VALUE sends it unchecked".to_owned()
        }
        Hint::Resume(upid) => format!("come back to it with `pvectl task watch {upid}`"),
        Hint::Text(text) => text.clone(),
    }
}
