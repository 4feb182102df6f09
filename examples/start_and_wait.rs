//! Starts a VM of the sandbox and waits for the task's end, showing the task's log while it runs.
//!
//! ```sh
//! cargo run --example start_and_wait            # the VM `web-2`
//! cargo run --example start_and_wait -- build-1
//! ```
//!
//! For a real server, make the client as `list_guests` does; nothing else changes.

#![allow(clippy::print_stdout, reason = "an example talks to people")]

use std::{env, error::Error, sync::Arc};

use pvectl::{
    backends::{Proxmox, Step},
    client::{Auth, Client, Endpoint},
    model::{GuestKind, LogLine, NullRecorder, Params, Upid},
    ops::{Interrupt, Observer, Ops, Plan, RunOptions, Target, power_verb},
    sandbox,
    tasks::Watch,
};

/// Tells what happens on stdout.
struct Tell;

impl Observer for Tell {
    fn step(&self, _index: usize, plan: &Plan, _step: &Step) {
        println!("{} {}", plan.words.present, plan.label());
    }

    fn task(&self, _index: usize, _plan: &Plan, upid: &Upid) -> Box<dyn Watch> {
        println!("task {upid}");
        Box::new(Self)
    }
}

impl Watch for Tell {
    fn wants_log(&self) -> bool {
        true
    }

    fn line(&mut self, line: &LogLine) {
        println!("  {}", line.t);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let name = env::args().nth(1).unwrap_or_else(|| "web-2".to_owned());
    let directory = tempfile::tempdir()?;
    let sandbox = sandbox::Session::start(&directory.path().join("sandbox.db")).await?;
    let auth = Auth::Token { id: sandbox.token_id().to_owned(), secret: sandbox.secret().clone() };
    let client = Client::builder().endpoint(Endpoint::parse(sandbox.url())?).auth(auth).build()?;
    // `NullRecorder` keeps no record; `pvectl::journal::Journal` keeps one in a file.
    let ops = Ops::new(Arc::new(Proxmox::new(client)), Arc::new(NullRecorder), "example");

    let found = ops.find(&Target::parse_all(&[name])?, GuestKind::Qemu).await?;
    let start = power_verb("start", GuestKind::Qemu).ok_or("no such verb")?;
    let mut plans = Vec::new();
    for found in &found {
        plans.push(ops.plan_power(start, found, &Params::new(), false).await?);
    }
    for plan in &plans {
        plan.notes.iter().for_each(|note| println!("{}: {note}", plan.label()));
    }

    let outcomes = ops.run(plans, &RunOptions::default(), &Tell, &Interrupt::default()).await;
    let mut failed = false;
    for outcome in outcomes {
        let done = if outcome.changed { "done" } else { "nothing to do" };
        match outcome.error {
            None => println!("{} {}: {done}", outcome.verb.name, outcome.vmid),
            Some(error) => {
                failed = true;
                println!("{} {}: {error}", outcome.verb.name, outcome.vmid);
            }
        }
    }
    if failed { Err("not everything was started".into()) } else { Ok(()) }
}
