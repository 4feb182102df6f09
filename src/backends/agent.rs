//! A VM's guest agent as the API shows it: what it says when it does not answer, and how a program in the guest ended.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{
    client::{Client, path},
    model::{Call, Class, Error, GuestRef, Hint, Method, Params, Result, Sent, bytes_of_text},
};

/// How long pvectl's own small programs in a guest may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often they are looked at.
const PACE: Duration = Duration::from_millis(150);

/// What servers and agents say, and what can be done about it. `{vmid}` stands for the guest.
const SAID: &[(&str, &[&str])] = &[
    (
        "No QEMU guest agent configured",
        &[
            "the VM has no channel for one: pvectl vm update {vmid} --agent 1, then stop and start it (a restart inside \
             is not enough)",
            "and in it an agent has to run: the package is called qemu-guest-agent, on Windows it is on the virtio-win CD",
        ],
    ),
    (
        "QEMU guest agent is not running",
        &[
            "the VM has a channel, and nobody answers at its other end: install the package qemu-guest-agent in it (on \
             Windows from the virtio-win CD) and start it: systemctl enable --now qemu-guest-agent",
            "while it boots, wait: pvectl vm wait {vmid} --for agent; where the option was set after the start, stop and \
             start it once",
        ],
    ),
    ("is not running", &["start it: pvectl vm start {vmid}"]),
    (
        "has been disabled",
        &[
            "the agent in it is told to refuse this: on Fedora, RHEL and their kin see /etc/sysconfig/qemu-ga, elsewhere \
           the agent's option --block-rpcs",
        ],
    ),
    (
        "got timeout",
        &["the agent did not answer in time: it may be busy, or frozen file systems hold it up \
                       (pvectl vm agent fsfreeze status {vmid})"],
    ),
];

/// What can be done where a guest's agent does not do what it was asked.
pub(crate) fn explain(error: Error, vmid: impl std::fmt::Display) -> Error {
    let hints = SAID.iter().find(|(said, _)| error.message().contains(said)).map_or(&[][..], |(_, hints)| hints);
    let vmid = vmid.to_string();
    hints.iter().fold(error, |error, hint| error.with_hint(Hint::Text(hint.replace("{vmid}", &vmid))))
}

/// The error in an agent's answer: for some of its commands the server passes it on as if all were well.
pub(crate) fn complaint(data: &Value) -> Option<Error> {
    let text = data.get("result")?.get("error")?.get("desc")?.as_str()?;
    Some(Error::new(Class::Failed, format!("Agent error: {text}")))
}

/// How a program in a guest ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Executed {
    /// Its number there.
    pub pid: i64,
    /// The code it exited with.
    pub exitcode: Option<i64>,
    /// The signal that ended it.
    pub signal: Option<i64>,
    /// What it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error.
    pub stderr: Vec<u8>,
    /// Whether the agent kept only the beginning of its output.
    pub stdout_truncated: bool,
    /// The same of its errors.
    pub stderr_truncated: bool,
}

impl Executed {
    /// Reads the answer of `exec-status`; `None` while the program runs.
    pub(crate) fn read(pid: i64, data: &Value) -> Option<Self> {
        let is =
            |key: &str| matches!(&data[key], Value::Bool(true)) || data[key].as_i64().is_some_and(|flag| flag != 0);
        let bytes = |key: &str| data[key].as_str().map(bytes_of_text).unwrap_or_default();
        is("exited").then(|| Self {
            pid,
            exitcode: data["exitcode"].as_i64(),
            signal: data["signal"].as_i64(),
            stdout: bytes("out-data"),
            stderr: bytes("err-data"),
            stdout_truncated: is("out-truncated"),
            stderr_truncated: is("err-truncated"),
        })
    }

    /// The exit code that a shell would give: a signal is 128 and its number.
    pub fn code(&self) -> u8 {
        let code = self.signal.map_or(self.exitcode.unwrap_or(0), |signal| 128 + signal);
        match u8::try_from(code) {
            Ok(code) => code,
            // Of a code that does not fit (Windows has such) what is left must not look like success.
            Err(_) => u8::try_from(code & 0xff).ok().filter(|code| *code != 0).unwrap_or(1),
        }
    }

    /// How it ended, in words.
    pub fn ending(&self) -> String {
        match (self.signal, self.exitcode) {
            (Some(signal), _) => format!("signal {signal}"),
            (None, code) => format!("exit code {}", code.unwrap_or(0)),
        }
    }
}

/// The number of the program that `exec` has begun.
pub(crate) fn pid(data: &Value) -> Result<i64> {
    data["pid"].as_i64().ok_or_else(|| {
        Error::new(Class::Failed, "the server does not say which program it began in the guest").with_sent(Sent::Maybe)
    })
}

/// The question how a program in a guest does.
pub(crate) fn status_of(guest: &GuestRef, pid: i64) -> Call {
    let vmid = guest.vmid.to_string();
    let path = path::segments(&["nodes", guest.node.as_str(), guest.kind.api(), &vmid, "agent", "exec-status"]);
    Call::new(Method::Get, path).with_params(Params::new().with("pid", pid))
}

/// Waits for the end of a small program of ours in a guest, which must be a good one.
pub(super) async fn to_its_end(client: &Client, guest: &GuestRef, begun: &Value) -> Result<()> {
    let (pid, until) = (pid(begun)?, Instant::now() + PATIENCE);
    loop {
        let data = client.send(&status_of(guest, pid)).await?.data;
        match Executed::read(pid, &data) {
            Some(ended) if ended.code() == 0 => return Ok(()),
            Some(ended) => {
                let said = String::from_utf8_lossy(&ended.stderr);
                let text = format!("a program in the guest ended with {}: {}", ended.ending(), said.trim());
                return Err(Error::new(Class::Failed, text).with_sent(Sent::Answered));
            }
            None if Instant::now() > until => {
                let text = format!("a program in the guest does not end (process {pid} there)");
                return Err(Error::new(Class::Unfinished, text).with_sent(Sent::Maybe));
            }
            None => sleep(PACE).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_ways_of_not_answering_have_three_ways_out() {
        let hint = |said: &str| {
            let error = explain(Error::new(Class::Failed, said), 150);
            error.hints().iter().map(|hint| format!("{hint:?}")).collect::<String>()
        };
        assert!(hint("No QEMU guest agent configured").contains("vm update 150 --agent 1"));
        assert!(hint("QEMU guest agent is not running").contains("systemctl enable"));
        assert!(hint("VM 150 is not running").contains("vm start 150"));
        assert_eq!(hint("something else"), "");
    }

    #[test]
    fn the_end_of_a_program_is_read() {
        let read = |data: Value| Executed::read(7, &data);
        assert_eq!(read(serde_json::json!({"exited": 0})), None);
        let ended =
            read(serde_json::json!({"exited": 1, "exitcode": 3, "out-data": "\u{c3}\u{bc}\u{0}", "err-truncated": 1}));
        let ended = ended.unwrap();
        assert_eq!((ended.code(), ended.stdout.as_slice()), (3, &b"\xc3\xbc\0"[..]));
        assert!(ended.stderr_truncated && !ended.stdout_truncated);
        let code = |data: Value| read(data).unwrap().code();
        assert_eq!(code(serde_json::json!({"exited": true, "signal": 9})), 137);
        assert_eq!(code(serde_json::json!({"exited": 1, "exitcode": 256})), 1);
        assert_eq!(code(serde_json::json!({"exited": 1, "exitcode": 3221225786_i64})), 0x3a);
    }
}
