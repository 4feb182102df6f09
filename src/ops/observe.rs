//! The two lines between a run and whoever started it: what it tells, and the wish that it stop.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{CallPlan, Outcome, Plan};
use crate::{
    backends::Step,
    model::Upid,
    tasks::{NoWatch, Watch},
};

/// Is told what happens while plans run. `index` is the plan's place in the list.
pub trait Observer: Send + Sync {
    /// A step is about to be sent.
    fn step(&self, _index: usize, _plan: &Plan, _step: &Step) {}

    /// A task is at work; the answer watches it.
    fn task(&self, _index: usize, _plan: &Plan, _upid: &Upid) -> Box<dyn Watch> {
        Box::new(NoWatch)
    }

    /// A call that is no plan's step has a task at work; the answer watches it.
    fn call_task(&self, _plan: &CallPlan, _upid: &Upid) -> Box<dyn Watch> {
        Box::new(NoWatch)
    }

    /// A guest is waited for, so long at most: why.
    fn waiting(&self, _guest: &str, _why: &str, _limit: Duration) {}

    /// A plan is over.
    fn outcome(&self, _index: usize, _outcome: &Outcome) {}

    /// Something went wrong that does not change the result.
    fn warning(&self, _text: &str) {}
}

/// Is told and does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}

/// The wish to stop: no more is sent, nothing is watched any longer; what was sent goes on.
#[derive(Clone)]
pub struct Interrupt(Arc<watch::Sender<bool>>);

impl Default for Interrupt {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Interrupt {
    /// Wishes it.
    pub fn raise(&self) {
        self.0.send_replace(true);
    }

    /// Whether it is wished.
    pub fn is_raised(&self) -> bool {
        *self.0.borrow()
    }

    /// From now on somebody minds the wish, until what this gives is dropped.
    pub fn mind(&self) -> impl Drop + use<> {
        self.0.subscribe()
    }

    /// Whether somebody watches for it. While nobody does, there is nothing to be careful about.
    pub fn is_minded(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Waits until it is.
    pub async fn raised(&self) {
        // The sender lives in `self`, so the channel cannot close under us.
        let _ = self.0.subscribe().wait_for(|raised| *raised).await;
    }
}
