//! In which order the guests of a host start with it and go down before it: `onboot` and `startup`, as on Proxmox.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::try_join_all;

use super::{Ops, Plan, Power, Resolved, power_verb};
use crate::model::{Class, ConfigView, Error, GuestConfig, GuestKind, Params, Result, config::QemuConfig};

/// How long a guest gets to shut down where its `startup` does not say: Proxmox's own limit.
const DOWN: Duration = Duration::from_secs(180);

/// Plans that may run side by side, and how long to wait after them before the next.
#[derive(Debug)]
pub struct Turn {
    /// The plans.
    pub plans: Vec<Plan>,
    /// The wait.
    pub pause: Duration,
}

/// A guest and what it says of its turn.
struct Place {
    found: Resolved,
    onboot: bool,
    /// Without one it comes last, and goes first.
    order: u64,
    up: Duration,
    down: Duration,
}

impl Place {
    fn new(found: Resolved, config: GuestConfig) -> Result<Self> {
        let config = QemuConfig::from(config);
        let startup = config.startup()?.unwrap_or_default();
        let seconds = |value: Option<u64>| value.map(Duration::from_secs);
        Ok(Self {
            found,
            onboot: config.onboot()?.unwrap_or(false),
            order: startup.order()?.unwrap_or(u64::MAX),
            up: seconds(startup.up()?).unwrap_or_default(),
            down: seconds(startup.down()?).unwrap_or(DOWN),
        })
    }
}

impl Ops {
    /// The virtual machines with `onboot`, one after the other by `order`, then by number, with the pauses of `up`.
    ///
    /// # Errors
    /// If a configuration cannot be read or understood.
    pub async fn plan_start_all(&self) -> Result<Vec<Turn>> {
        let mut places = self.places().await?;
        places.retain(|place| place.onboot);
        places.sort_by_key(|place| (place.order, place.found.guest.vmid));
        let mut turns = Vec::new();
        for place in &places {
            let plan = self.plan_of("start", place, Params::new()).await?;
            // Who runs already gives nobody behind it a reason to wait.
            let pause = if plan.steps.is_empty() { Duration::ZERO } else { place.up };
            turns.push(Turn { plans: vec![plan], pause });
        }
        if let Some(last) = turns.last_mut() {
            last.pause = Duration::ZERO;
        }
        Ok(turns)
    }

    /// All virtual machines that are on, those of one `order` side by side, in the reverse of the order in which they
    /// start. Each has the time of its `down` and loses its power after it.
    ///
    /// # Errors
    /// If a configuration cannot be read or understood.
    pub async fn plan_stop_all(&self) -> Result<Vec<Turn>> {
        let mut orders: BTreeMap<u64, Vec<Plan>> = BTreeMap::new();
        for place in self.places().await?.iter().filter(|place| place.found.guest.is_powered()) {
            let status = self.backend().guest_status(&place.found.guest.reference()).await?;
            let plan = match Power::of(&status) {
                // One with frozen processors cannot hear that it should go.
                Power::Paused => self.plan_of("stop", place, Params::new()).await?,
                _ => {
                    let params = Params::new().with("forceStop", 1).with("timeout", place.down.as_secs());
                    self.plan_of("shutdown", place, params).await?
                }
            };
            orders.entry(place.order).or_default().push(plan);
        }
        Ok(orders.into_values().rev().map(|plans| Turn { plans, pause: Duration::ZERO }).collect())
    }

    async fn plan_of(&self, verb: &str, place: &Place, params: Params) -> Result<Plan> {
        let verb = power_verb(verb, GuestKind::Qemu)
            .ok_or_else(|| Error::new(Class::Bug, format!("there is no verb `{verb}`")))?;
        self.plan_power(verb, &place.found, &params, false).await
    }

    async fn places(&self) -> Result<Vec<Place>> {
        let guests = self.backend().guests().await?;
        let guests = guests.into_iter().filter(|guest| guest.kind == GuestKind::Qemu && !guest.template);
        try_join_all(guests.map(async |guest| {
            let config = self.backend().guest_config(&guest.reference(), ConfigView::Current).await?;
            let target = guest.vmid.to_string();
            Place::new(Resolved { guest, target }, config)
        }))
        .await
    }
}
