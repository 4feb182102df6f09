//! What a VM's guest agent is asked that changes nothing.

use serde_json::Value;

use super::agent;
use crate::{
    backends::agent::{complaint, explain},
    model::{Error, Guest, GuestKind, Hint, Method, Params, Result},
    ops::Ops,
};

impl Ops {
    /// Asks a VM's agent something that changes nothing, and gives its answer.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage) for guests that have no agent; what the server says, with what can be done about it.
    pub async fn ask_agent(&self, guest: &Guest, method: Method, command: &str) -> Result<Value> {
        self.require_agent(guest)?;
        let call = agent(method, &guest.reference(), command, Params::new());
        let answer = self.backend().send(&call).await;
        let answer = answer.and_then(|reply| complaint(&reply.data).map_or(Ok(reply.data), Err));
        let mut data = answer.map_err(|error| explain(error, guest.vmid))?;
        Ok(data.get_mut("result").map(Value::take).unwrap_or(data))
    }

    /// Refuses where no guest is asked anything.
    ///
    /// # Errors
    /// [`Class::Usage`](crate::model::Class::Usage), with the way out.
    pub fn require_agent(&self, guest: &Guest) -> Result<()> {
        if self.backend().capabilities().here {
            let text = format!("{}: guests of this host are not asked by an agent", guest.reference());
            return Err(Error::usage(text).with_hint(Hint::Text("pvectl vm ssh, or pvectl vm console".to_owned())));
        }
        match guest.kind {
            GuestKind::Qemu => Ok(()),
            GuestKind::Lxc => Err(Error::usage("containers have no guest agent")
                .with_hint(Hint::Text("pvectl container ip, ssh and console need none".to_owned()))),
        }
    }
}
