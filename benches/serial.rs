//! A client as many are: it starts a guest, asks each second whether the task is over, and goes on with the next.
//!
//! Plain `reqwest` in a process of its own, so that its memory is its own. It is there to be compared with.

use std::{collections::HashMap, time::Duration};

use serde_json::Value;

use super::{Home, Report, Result, Server, peak_kib, run};

/// The first word of the command line that makes this program that client.
pub(super) const WORD: &str = "serial-client";

/// Between two looks at a task.
const POLL: Duration = Duration::from_secs(1);

/// How many guests it starts where not all are asked for: a second each.
const FEW: usize = 30;

/// Is the client: starts guests, and prints how many requests, how many looks at tasks and how many KiB that took.
pub(super) fn client(args: &[String]) -> Result<()> {
    let [url, token, vms] = args else { return Err("an address, a token and VMIDs are expected".into()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (requests, polls) = runtime.block_on(start(url, token, vms))?;
    // At its end it knows best how much memory it took.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mark = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    super::say(&format!("{requests} {polls} {}", mark.trim().trim_end_matches(" kB")));
    Ok(())
}

async fn start(url: &str, token: &str, vms: &str) -> Result<(u64, u64)> {
    let http = reqwest::Client::new();
    let mut requests = 0;
    let mut ask = async |method: reqwest::Method, path: String| -> Result<Value> {
        requests += 1;
        let request = http.request(method, format!("{url}/api2/json{path}"));
        let request = request.header("Authorization", format!("PVEAPIToken={token}"));
        let answer = request.header("Content-Length", 0).send().await?.error_for_status()?.text().await?;
        Ok(serde_json::from_str::<Value>(&answer)?["data"].take())
    };
    let rows = ask(reqwest::Method::GET, "/cluster/resources?type=vm".into()).await?;
    let rows = rows.as_array().ok_or("no list of guests")?;
    let node = |row: &Value| Some((row["vmid"].as_u64()?.to_string(), row["node"].as_str()?.to_owned()));
    let nodes: HashMap<String, String> = rows.iter().filter_map(node).collect();
    let mut polls = 0;
    for vmid in vms.split(',') {
        let node = nodes.get(vmid).ok_or("a guest is not there")?;
        let task = ask(reqwest::Method::POST, format!("/nodes/{node}/qemu/{vmid}/status/start")).await?;
        let task = task.as_str().ok_or("a start gave no task")?.to_owned();
        loop {
            tokio::time::sleep(POLL).await;
            polls += 1;
            let status = ask(reqwest::Method::GET, format!("/nodes/{node}/tasks/{task}/status")).await?;
            if status["status"] == "stopped" {
                break;
            }
        }
    }
    Ok((requests, polls))
}

/// Both clients, each with the same guests, one after the other; and what `pvectl` takes for all.
pub(super) fn measure(report: &mut Report, home: &Home, server: &Server, vms: &[String]) -> Result<()> {
    let full = std::env::args().any(|arg| arg == "--full");
    let some = if full { vms } else { &vms[..FEW.min(vms.len())] };
    let list = some.join(",");
    stop(home, server, vms)?;
    let mut serial = std::process::Command::new(std::env::current_exe()?);
    serial.args([WORD, &server.url, &server.token, &list]);
    let began = std::time::Instant::now();
    let output = serial.output()?;
    let took = began.elapsed();
    if !output.status.success() {
        return Err(format!("the serial client failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let told = String::from_utf8(output.stdout)?;
    let [requests, polls, memory] = told.split_whitespace().collect::<Vec<_>>()[..] else {
        return Err("the serial client did not say what it took".into());
    };
    let memory: u64 = memory.parse()?;
    let all = if some.len() == vms.len() { "" } else { ", measured over fewer" };
    report.row(
        &format!("a serial client with polls of a second: start of {} VMs, tasks of 0.3 s{all}", some.len()),
        "-",
        true,
        &format!(
            "{:.2} s, {requests} requests, {polls} of them polls; peak memory {:.1} MB",
            took.as_secs_f64(),
            memory as f64 * 1024.0 / 1e6
        ),
    );
    for (guests, parallel) in [(some, "8"), (vms, "8"), (vms, "32")] {
        stop(home, server, vms)?;
        let words = ["vm", "start", &guests.join(","), "--parallel", parallel, "--quiet"];
        let began = std::time::Instant::now();
        let log = server.pvectl(home, &[&["-v"], &words[..]].concat()).output()?;
        let took = began.elapsed();
        let log = String::from_utf8(log.stderr)?;
        let count = |part: &str| log.lines().filter(|line| line.contains("answer") && line.contains(part)).count();
        stop(home, server, vms)?;
        let memory = peak_kib(&mut server.pvectl(home, &words))?;
        report.row(
            &format!("`pvectl vm start` of {} VMs, tasks of 0.3 s, {parallel} at a time", guests.len()),
            "-",
            true,
            &format!(
                "{:.2} s, {} requests, {} of them polls; peak memory {:.1} MB",
                took.as_secs_f64(),
                count(""),
                count("/tasks"),
                memory as f64 * 1024.0 / 1e6
            ),
        );
    }
    Ok(())
}

/// Has all of them stopped, at once, and lets tasks take their time again.
fn stop(home: &Home, server: &Server, vms: &[String]) -> Result<()> {
    home.set_pace(0.0)?;
    run(&mut server.pvectl(home, &["vm", "stop", &vms.join(","), "--parallel", "32"]))?;
    home.set_pace(1.0)
}
