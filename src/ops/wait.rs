//! Waiting until a guest is as somebody wants it: its power, its agent, an address, its tasks, its lock.
//!
//! Looks and changes nothing. Tasks that were started from here are followed by `tasks`, which notices their end sooner.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use futures_util::future::{join_all, try_join};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until, timeout_at},
};

use super::{Address, Interrupt, Ops, Power, pause::Pauses};
use crate::{
    backends::{TaskQuery, agent::explain},
    model::{Class, ConfigView, Error, Guest, GuestConfig, GuestKind, Method, NodeName, Result, Vmid},
    tasks::Limits,
};

/// How many guests are looked at at once.
const AT_ONCE: usize = 8;
/// How long the first pause between two looks at a guest is.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// What is waited for.
#[derive(Clone)]
pub enum Until {
    /// Its power.
    Power(Power),
    /// Its guest agent answers.
    Agent,
    /// It has an address that others can reach.
    Address,
    /// It is gone.
    Deleted,
    /// No task of its runs.
    Idle,
    /// It is not locked.
    Unlocked,
    /// Its data, as `get` prints it, passes a test; with how that was said.
    Data(String, Arc<dyn Fn(&Value) -> bool + Send + Sync>),
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Power(Power::Suspended) => f.write_str("status=suspended"),
            Self::Power(power) => write!(f, "status={power}"),
            Self::Agent => f.write_str("agent"),
            Self::Address => f.write_str("ip"),
            Self::Deleted => f.write_str("deleted"),
            Self::Idle => f.write_str("task"),
            Self::Unlocked => f.write_str("lock-free"),
            Self::Data(text, _) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Until({self})")
    }
}

/// All but tests of data, which are words as they are shown.
pub const UNTIL: &[Until] = &[
    Until::Power(Power::Running),
    Until::Power(Power::Stopped),
    Until::Power(Power::Paused),
    Until::Power(Power::Suspended),
    Until::Agent,
    Until::Address,
    Until::Deleted,
    Until::Idle,
    Until::Unlocked,
];

impl FromStr for Until {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        UNTIL.iter().find(|until| until.to_string() == text).cloned().ok_or_else(|| {
            let known: Vec<String> = UNTIL.iter().map(ToString::to_string).collect();
            Error::usage(format!("`{text}` is nothing to wait for; there are {}", known.join(", ")))
        })
    }
}

/// How the waiting for a guest ended.
#[derive(Debug, Serialize)]
pub struct Waited {
    /// The guest.
    pub vmid: Vmid,
    /// Its name.
    pub name: Option<String>,
    /// `qemu` or `lxc`.
    #[serde(rename = "type")]
    pub kind: GuestKind,
    /// Its node.
    pub node: NodeName,
    /// What was waited for.
    #[serde(rename = "for")]
    pub until: Vec<String>,
    /// Whether it is so.
    pub met: bool,
    /// The address that was found, where one was waited for.
    pub address: Option<String>,
    /// Seconds.
    pub waited: f64,
    /// Why it is not so.
    #[serde(skip)]
    pub error: Option<Error>,
}

/// What a look at a guest told.
enum Look {
    Met { address: Option<String> },
    NotYet(String),
}

impl Ops {
    /// Waits for guests, each until all of it is so. Ends early where it cannot become so, when the limit is over, and when
    /// somebody wishes.
    pub async fn wait_until(
        &self,
        guests: &[Guest],
        until: &[Until],
        limits: &Limits,
        interrupt: &Interrupt,
    ) -> Vec<Waited> {
        let _minding = interrupt.mind();
        // All of them wait, a few of them look.
        let (began, looking) = (Instant::now(), Semaphore::new(AT_ONCE));
        let waits = guests.iter().map(async |guest| {
            let mut told = Waited {
                vmid: guest.vmid,
                name: guest.name.clone(),
                kind: guest.kind,
                node: guest.node.clone(),
                until: until.iter().map(ToString::to_string).collect(),
                met: false,
                address: None,
                waited: 0.0,
                error: None,
            };
            match self.wait_one(guest, until, &looking, limits, interrupt, began).await {
                Ok(address) => (told.met, told.address) = (true, address),
                Err(error) => told.error = Some(error),
            }
            told.waited = began.elapsed().as_secs_f64();
            told
        });
        join_all(waits).await
    }

    async fn wait_one(
        &self,
        guest: &Guest,
        until: &[Until],
        looking: &Semaphore,
        limits: &Limits,
        interrupt: &Interrupt,
        began: Instant,
    ) -> Result<Option<String>> {
        let end = limits.timeout.map(|timeout| began + timeout);
        let label = format!("{}/{}", guest.kind.noun(), guest.vmid);
        let (mut pauses, mut missing, mut silent) = (Pauses::from(FIRST_PAUSE), String::new(), None);
        loop {
            let look = async {
                let _turn = looking.acquire().await;
                self.look(guest, until).await
            };
            let looked = match end {
                Some(end) => timeout_at(end, look).await.unwrap_or_else(|_| Ok(Look::NotYet(missing.clone()))),
                None => look.await,
            };
            match looked {
                Ok(Look::Met { address }) => return Ok(address),
                Ok(Look::NotYet(what)) => (missing, silent) = (what, None),
                // A server that restarts is waited for; one that stays away is not.
                Err(error) if error.class() == Class::Unreachable => {
                    let since = *silent.get_or_insert_with(Instant::now);
                    if end.is_none() && since.elapsed() >= limits.silence {
                        return Err(error);
                    }
                    missing = error.to_string();
                }
                Err(error) => return Err(error),
            }
            let now = Instant::now();
            if end.is_some_and(|end| now >= end) {
                return Err(Error::new(
                    Class::Unfinished,
                    format!("waited for {label}, which is still without: {missing}"),
                ));
            }
            let next = now + pauses.next();
            tokio::select! {
                () = sleep_until(end.map_or(next, |end| end.min(next))) => {}
                () = interrupt.raised() => {
                    return Err(Error::new(Class::Interrupted, format!("no longer waiting for {label}: {missing}")));
                }
            }
        }
    }

    /// Looks at a guest once. Says what is missing first.
    async fn look(&self, guest: &Guest, until: &[Until]) -> Result<Look> {
        let asks = until.iter().any(|until| matches!(until, Until::Unlocked | Until::Data(..)));
        let there = self.there(guest, asks).await?;
        let mut address = None;
        for until in until {
            let met = match (until, &there) {
                (Until::Deleted, there) => there.is_none(),
                (_, None) => return Err(Error::not_found(format!("{}/{} is gone", guest.kind.noun(), guest.vmid))),
                (Until::Power(power), Some((status, _))) => Power::of(status) == *power,
                (Until::Unlocked, Some((status, config))) => {
                    !status.contains_key("lock") && config.as_object().is_none_or(|config| !config.contains_key("lock"))
                }
                (Until::Data(_, test), Some((status, config))) => {
                    let mut data = serde_json::to_value(guest).unwrap_or_default();
                    if let Some(data) = data.as_object_mut() {
                        data.extend(status.clone());
                        data.insert("config".to_owned(), config.clone());
                    }
                    test(&data)
                }
                (Until::Idle, _) => self.is_idle(guest).await?,
                (Until::Agent, _) => self.agent_answers(guest).await?,
                (Until::Address, _) => {
                    address = self.address(guest).await?;
                    address.is_some()
                }
            };
            if !met {
                return Ok(Look::NotYet(until.to_string()));
            }
        }
        Ok(Look::Met { address })
    }

    /// What a guest says of itself, and its configuration if that is wanted; `None` if it is gone.
    async fn there(&self, guest: &Guest, with_config: bool) -> Result<Option<(Map<String, Value>, Value)>> {
        let (reference, backend) = (guest.reference(), self.backend());
        let status = backend.guest_status(&reference);
        let there = match with_config {
            true => try_join(status, backend.guest_config(&reference, ConfigView::Pending)).await,
            false => status.await.map(|status| (status, GuestConfig::default())),
        };
        match there {
            Ok((status, config)) => Ok(Some((status, Value::Object(config.0)))),
            Err(error) if error.class() == Class::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn is_idle(&self, guest: &Guest) -> Result<bool> {
        let query = TaskQuery {
            node: Some(guest.node.clone()),
            vmid: Some(guest.vmid),
            running: true,
            limit: 1,
            ..TaskQuery::default()
        };
        Ok(self.backend().tasks(&query).await?.is_empty())
    }

    async fn agent_answers(&self, guest: &Guest) -> Result<bool> {
        not_yet(self.ask_agent(guest, Method::Post, "ping").await.map(|_| true), guest, false)
    }

    async fn address(&self, guest: &Guest) -> Result<Option<String>> {
        if self.backend().capabilities().here {
            self.require_agent(guest)?;
        }
        let best = |found: Vec<Address>| found.into_iter().find(Address::is_reachable);
        let answer = self.own_addresses(guest).await.map(|found| best(found).map(|best| best.address.to_string()));
        not_yet(answer, guest, None)
    }
}

/// Takes for "not yet" what a server says of a guest that does not answer yet.
fn not_yet<T>(answer: Result<T>, guest: &Guest, none: T) -> Result<T> {
    match answer {
        Err(error) if ["not running", "got timeout"].iter().any(|text| error.message().contains(text)) => Ok(none),
        Err(error) => Err(explain(error, guest.vmid)),
        answer => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        let words = [
            "status=running",
            "status=stopped",
            "status=paused",
            "status=suspended",
            "agent",
            "ip",
            "deleted",
            "task",
            "lock-free",
        ];
        assert_eq!(UNTIL.iter().map(ToString::to_string).collect::<Vec<_>>(), words);
        for word in words {
            assert_eq!(word.parse::<Until>().unwrap().to_string(), word);
        }
        let error = "status=on".parse::<Until>().unwrap_err();
        assert!(error.message().contains("status=running") && error.class() == Class::Usage, "{error}");
    }
}
