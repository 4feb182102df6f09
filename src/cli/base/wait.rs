//! `wait`: until guests are as somebody wants them.

use std::sync::Arc;

use async_trait::async_trait;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::Serialize;
use serde_json::Value;

use super::get::targets_arg;
use crate::{
    cli::{
        cx::{Cx, texts},
        error::report,
        print::{self, Column, Row, table::status_colour},
        session::Access,
        verb::{Exit, Kind, Verb},
    },
    model::{Class, Error, Hint, Result},
    ops::{Target, UNTIL, Until, Waited},
    select::Template,
};

#[derive(Serialize)]
struct WaitedRow {
    #[serde(flatten)]
    waited: Waited,
    context: String,
}

impl Row for WaitedRow {
    fn columns() -> &'static [Column<Self>] {
        const COLUMNS: &[Column<WaitedRow>] = &[
            Column::new("VMID", "vmid", |row: &WaitedRow| row.waited.vmid.to_string()).right(),
            Column::new("NAME", "name", |row: &WaitedRow| row.waited.name.clone().unwrap_or_default()),
            Column::new("NODE", "node", |row: &WaitedRow| row.waited.node.to_string()),
            Column::new("FOR", "for", |row: &WaitedRow| row.waited.until.join(", ")),
            Column::new("MET", "met", |row: &WaitedRow| if row.waited.met { "ok" } else { "failed" }.to_owned())
                .coloured(status_colour),
            Column::new("WAITED", "waited", |row: &WaitedRow| format!("{:.1}s", row.waited.waited)).right(),
            Column::new("ADDRESS", "address", |row: &WaitedRow| row.waited.address.clone().unwrap_or_default()),
        ];
        COLUMNS
    }

    fn name(&self) -> String {
        format!("{}/{}", self.waited.kind.noun(), self.waited.vmid)
    }
}

/// What is waited for, from its word.
fn until(text: &str) -> Result<Until> {
    let Some(test) = text.strip_prefix("jsonpath=") else {
        let known = text.parse::<Until>();
        return known.map_err(|error| error.with_hint(Hint::Text("or jsonpath={.config.cores}=4".to_owned())));
    };
    // The value is what follows the last `=` behind the expression, which may have some of its own.
    let split = match test.rfind('}') {
        Some(end) => test[end..].find('=').map(|at| end + at),
        None => test.find('='),
    };
    let Some(at) = split else {
        return Err(Error::usage(format!("`{text}`: a value is missing: jsonpath={{.config.cores}}=4")));
    };
    let (template, want) = (Template::compile(&test[..at])?, test[at + 1..].to_owned());
    let is_so = move |data: &Value| {
        let mut told = Vec::new();
        // What the data has not got yet is not so yet.
        template.write(&mut told, data).is_ok() && told == want.as_bytes()
    };
    Ok(Until::Data(text.to_owned(), Arc::new(is_so)))
}

pub(super) struct Wait;

#[async_trait(?Send)]
impl Verb for Wait {
    fn name(&self) -> &'static str {
        "wait"
    }

    fn about(&self, kind: &Kind) -> String {
        format!("Wait until {} are as they should be", kind.plural)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        let noun = kind.noun;
        vec![
            format!("pvectl {noun} wait 150 --for status=running --timeout 2m"),
            format!("pvectl {noun} wait 150-159 --for ip --for lock-free"),
            format!("pvectl {noun} wait 150 --for 'jsonpath={{.config.cores}}=4'"),
            format!("pvectl {noun} wait old --for deleted"),
        ]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        let words: Vec<String> = UNTIL.iter().map(ToString::to_string).collect();
        let help = format!("What has to be so: {}, jsonpath=EXPRESSION=VALUE; repeatable: all of it", words.join(", "));
        command.arg(targets_arg(true)).arg(
            Arg::new("for").long("for").value_name("CONDITION").required(true).action(ArgAction::Append).help(help),
        )
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let until = texts(matches, "for").iter().map(|text| until(text)).collect::<Result<Vec<Until>>>()?;
        let targets = Target::parse_all(&texts(matches, "targets"))?;
        let session = cx.session(Access::Read).await?;
        let gone = until.iter().all(|until| matches!(until, Until::Deleted));
        let found = match session.ops.find(&targets, kind.guest()).await {
            Err(error) if error.class() == Class::NotFound && gone => {
                cx.ui.say(format_args!("{error}: nothing to wait for"));
                Vec::new()
            }
            found => found?,
        };
        let guests: Vec<_> = found.into_iter().map(|found| found.guest).collect();
        let waited = session.ops.wait_until(&guests, &until, &session.options.limits, &cx.interrupt).await;
        let one = waited.len() == 1;
        let mut classes = Vec::new();
        for error in waited.iter().filter_map(|waited| waited.error.as_ref()) {
            report(&cx.ui, cx.error_format(), error);
            classes.push(error.class());
        }
        let context = session.ops.context();
        let mut rows: Vec<WaitedRow> =
            waited.into_iter().map(|waited| WaitedRow { waited, context: context.to_owned() }).collect();
        match rows.as_slice() {
            [row] if one => print::one(&cx.ui, &session.style, row)?,
            _ => print::list(&cx.ui, &session.style, &mut rows)?,
        }
        // Where all of them failed for one reason, that is the answer.
        classes.dedup();
        Ok(match (classes.as_slice(), rows.len()) {
            ([], _) => 0,
            ([class], 1) => class.exit_code(),
            ([class @ (Class::Unfinished | Class::Interrupted)], _) => class.exit_code(),
            _ => Class::Failed.exit_code(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_test_of_data_is_an_expression_and_a_value() {
        let data = json!({"config": {"cores": 4, "name": "a=b", "tags": "x"}});
        for (text, is_so) in [
            ("jsonpath={.config.cores}=4", true),
            ("jsonpath=.config.cores=4", true),
            ("jsonpath={.config.cores}=5", false),
            ("jsonpath={.config.name}=a=b", true),
            ("jsonpath={.config.memory}=4", false),
            ("jsonpath={.config.memory}=", true),
        ] {
            let Until::Data(said, test) = until(text).unwrap() else { panic!("{text}") };
            assert_eq!((said.as_str(), test(&data)), (text, is_so), "{text}");
        }
        for wrong in ["jsonpath={.config.cores}", "jsonpath={.a", "status", "up"] {
            assert_eq!(until(wrong).unwrap_err().class(), Class::Usage, "{wrong}");
        }
    }
}
