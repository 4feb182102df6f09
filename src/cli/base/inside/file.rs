//! `file read` and `file write`: single files in a VM, byte for byte.

use std::io::Read as _;

use async_trait::async_trait;
use clap::{Arg, ArgMatches, Command};

use super::{
    super::{get::target_arg, mutate::mutate},
    one,
};
use crate::{
    cli::{
        cx::{Cx, text},
        session::Access,
        verb::{Exit, Group, Kind, Verb},
    },
    model::{Class, Error, Hint, Result},
    ops::FILE_WRITE,
};

pub(super) const GROUP: Group =
    Group { name: "file", about: "Files in a VM, through its guest agent", verbs: &[&Read, &Write] };

/// The most that is written: all of it has to be read before the first piece goes out.
const LARGEST: u64 = 256 << 20;

fn path_arg() -> Arg {
    Arg::new("path").value_name("PATH").required(true).help("The whole path in the guest: /etc/hostname")
}

struct Read;

#[async_trait(?Send)]
impl Verb for Read {
    fn name(&self) -> &'static str {
        "read"
    }

    fn about(&self, _: &Kind) -> String {
        "Print a file of a VM, byte for byte".to_owned()
    }

    fn examples(&self, _: &Kind) -> Vec<String> {
        vec![
            "pvectl vm file read 100 /etc/hostname".to_owned(),
            "pvectl vm file read web-1 /var/log/app.log.gz > app.log.gz".to_owned(),
        ]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        command.arg(target_arg()).arg(path_arg())
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let session = cx.session(Access::Read).await?;
        let guest = one(&session, kind, matches).await?.guest;
        let ui = cx.ui.clone();
        let mut take = move |bytes: &[u8]| ui.raw(bytes);
        let path = text(matches, "path").unwrap_or_default();
        let (read, truncated) = session.ops.read_file(&guest, path, &mut take).await?;
        if truncated {
            let error = format!("the file is longer: this server gives the first {read} bytes of a file and no more");
            return Err(Error::new(Class::Failed, error)
                .with_hint(Hint::Text("split it in the guest, or fetch it with scp".into())));
        }
        Ok(0)
    }
}

struct Write;

#[async_trait(?Send)]
impl Verb for Write {
    fn name(&self) -> &'static str {
        "write"
    }

    fn about(&self, _: &Kind) -> String {
        "Write a file in a VM, byte for byte; one that is there is overwritten".to_owned()
    }

    fn examples(&self, _: &Kind) -> Vec<String> {
        vec![
            "pvectl vm file write 100 /etc/motd motd".to_owned(),
            "date | pvectl vm file write web-1 /tmp/now".to_owned(),
        ]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        let file = Arg::new("file").value_name("FILE").default_value("-").help("What is written; - is stdin");
        command.arg(target_arg()).arg(path_arg()).arg(file)
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let path = text(matches, "path").unwrap_or_default();
        let content = content(cx, text(matches, "file").unwrap_or("-"))?;
        let session = cx.session(Access::Write).await?;
        let found = one(&session, kind, matches).await?;
        let plan = async |found: &_| session.ops.plan_file_write(found, path, &content);
        mutate(cx, &session, FILE_WRITE, &[found], plan).await
    }
}

/// What is to be written.
fn content(cx: &Cx, file: &str) -> Result<Vec<u8>> {
    let unreadable = |error| Error::usage(format!("cannot read {file}")).with_source(error);
    let mut content = Vec::new();
    match file {
        "-" => {
            if cx.ui.can_ask() {
                cx.ui.say("what is typed is written when it ends with Ctrl-D");
            }
            std::io::stdin().lock().take(LARGEST + 1).read_to_end(&mut content)
        }
        file => std::fs::File::open(file).and_then(|from| from.take(LARGEST + 1).read_to_end(&mut content)),
    }
    .map_err(unreadable)?;
    if content.len() as u64 > LARGEST {
        return Err(Error::usage(format!("{file} is larger than 256 MiB, which is no errand for a guest agent"))
            .with_hint(Hint::Text("copy it with scp, or put it on a disk".into())));
    }
    Ok(content)
}
