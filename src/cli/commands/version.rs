//! `version`: this program's, and on request the server's.

use serde_json::json;

use crate::{
    cli::{
        cx::flag,
        print,
        session::Access,
        verb::{Entry, switch},
    },
    contract::RELEASE,
};

pub(super) const ENTRY: Entry = Entry {
    name: "version",
    about: "Print the version",
    examples: &["pvectl version", "pvectl version --server -o json"],
    args: |command| command.arg(switch("server", "Ask the server for its version too")),
    run: |cx, matches| {
        Box::pin(async move {
            let style = cx.plain_style()?;
            let version = env!("CARGO_PKG_VERSION");
            let mut data = json!({"client": {"version": version, "contract": RELEASE, "output": print::SCHEMA}});
            let mut lines = vec![format!("pvectl {version} (API description of Proxmox VE {RELEASE})")];
            if flag(matches, "server") {
                let session = cx.session(Access::Read).await?;
                let version = session.ops.backend().version().await?;
                let text = |key: &str| version.get(key).and_then(|value| value.as_str()).unwrap_or("?").to_owned();
                lines.push(format!(
                    "server {} ({}), context {}",
                    text("version"),
                    text("repoid"),
                    session.ops.context()
                ));
                data["server"] = version.into();
                data["context"] = session.ops.context().into();
            }
            print::data_or(&cx.ui, &style, &data, &lines, |out| {
                lines.iter().try_for_each(|line| writeln!(out, "{line}"))
            })?;
            Ok(0)
        })
    },
};
