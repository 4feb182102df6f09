//! Enrollment: a one-time token and a request for a certificate become a client certificate, which is renewed and given
//! back by whoever has it; and who one is here.
//!
//! Signed by [`Authority`], written down in [`Access`](crate::serve::Access); what the owner of the host does about both is a
//! matter of commands on the host.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Call, Desk, Trouble};
use crate::{
    model::{Intent, Result as Done, Verdict},
    serve::{
        Access, Authority,
        access::New,
        record::{CONTEXT, Operation},
    },
    server::{Certified, Means},
};

/// What whoever asks for a certificate says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Enroll {
    token: String,
    csr: String,
}

/// What whoever renews one says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Renew {
    csr: String,
}

/// Who signs the certificates of clients here, and by what clients know this host.
#[derive(Debug)]
pub(in crate::serve) struct Enrolling {
    pub(in crate::serve) authority: Authority,
    /// The fingerprint of the server's own certificate.
    pub(in crate::serve) fingerprint: String,
}

impl Desk {
    /// The same with client certificates, which this authority signs; beside the fingerprint of the server's own.
    #[must_use]
    pub fn with_authority(self, authority: Authority, fingerprint: String) -> Self {
        Self { enrolling: Some(Enrolling { authority, fingerprint }), ..self }
    }

    fn enrolling(&self) -> Result<&Enrolling, Trouble> {
        let without = || Trouble::bad("there are no client certificates here: it is served without TLS (--no-tls)");
        self.enrolling.as_ref().ok_or_else(without)
    }

    pub(super) async fn enroll(&self, asked: Call) -> Result<Answer, Trouble> {
        let Enroll { token, csr } = asked.body()?;
        self.enrolling()?;
        let now = asked.asker.kit.now();
        let access = self.host.access.clone();
        let name = format!("enrollment {}", token.split('.').next().unwrap_or_default());
        // To hash takes its time.
        let check = async {
            let checked = tokio::task::spawn_blocking(move || access.check_enrollment(&token, now)).await;
            checked.ok().flatten()
        };
        let found = asked.asker.kit.attempt(&asked.way, &name, check).await;
        let found = found.ok_or_else(|| Trouble::new(401, "this is no one-time token of this host"))??;
        let store = |access: &Access, new: &New<'_>| access.enrolled(&found.id, new);
        self.certify(&asked, ("enroll", &found.user, found.lifetime), &csr, store)
    }

    pub(super) async fn renew(&self, asked: Call) -> Result<Answer, Trouble> {
        let Renew { csr } = asked.body()?;
        let Certified { user, serial, .. } = certificate_of(&asked)?;
        let lifetime = self.host.access.lifetime_of(serial)?;
        let store = |access: &Access, new: &New<'_>| access.renewed(serial, new);
        self.certify(&asked, ("renew", user, lifetime), &csr, store)
    }

    /// Signs a certificate, has it written down, and gives it out.
    fn certify(
        &self,
        asked: &Call,
        (verb, user, lifetime): (&str, &str, i64),
        csr: &str,
        store: impl FnOnce(&Access, &New<'_>) -> Done<()>,
    ) -> Result<Answer, Trouble> {
        let Enrolling { authority, fingerprint } = self.enrolling()?;
        // Certificates and the book know seconds.
        let issued = Timestamp::from_second(asked.asker.kit.now().as_second()).unwrap_or_default();
        let expires = issued.saturating_add(SignedDuration::from_secs(lifetime)).unwrap_or(Timestamp::MAX);
        let signed = authority.sign(csr, user, issued, expires)?;
        let new = New { signed: &signed, user, issued, expires };
        self.on_record(asked, verb, (user, &signed.serial), || store(&self.host.access, &new))?;
        tracing::info!(user, serial = signed.serial, %expires, "a client certificate was signed");
        Answer::of(
            201,
            &json!({
                "user": user, "serial": signed.serial, "expires": text(expires), "certificate": signed.chain,
                "fingerprint": fingerprint,
            }),
        )
    }

    pub(super) async fn unenroll(&self, asked: Call) -> Result<Answer, Trouble> {
        asked.no_body()?;
        let Certified { user, serial, .. } = certificate_of(&asked)?;
        let now = asked.asker.kit.now();
        self.on_record(&asked, "unenroll", (user, serial), || self.host.access.revoke(serial, now).map(drop))?;
        tracing::info!(user, serial, "a client certificate was given back");
        Ok(Answer::message(format!("the certificate {serial} of {user} is revoked")))
    }

    /// Does something about a certificate and keeps the record of it.
    fn on_record(
        &self,
        asked: &Call,
        verb: &str,
        (user, serial): (&str, &str),
        work: impl FnOnce() -> Done<()>,
    ) -> Result<(), Trouble> {
        let intent = Intent {
            verb: verb.to_owned(),
            target: serial.to_owned(),
            kind: "certificate".to_owned(),
            node: Some(self.host.node.to_string()),
            context: CONTEXT.to_owned(),
            user: user.to_owned(),
            steps: vec![json!({"serial": serial, "user": user})],
            request: Some(asked.asker.id.clone()),
            ..Intent::default()
        };
        let operation = Operation::begin(&self.host, &intent)?;
        let done = work();
        match &done {
            Ok(()) => operation.end(Verdict::Ok, None),
            Err(error) => operation.end(Verdict::Failed, Some(error.to_string())),
        }
        Ok(done?)
    }

    pub(super) async fn me(&self, asked: Call) -> Result<Answer, Trouble> {
        let who = &asked.asker.who;
        let (method, expires, serial) = match &asked.by {
            Some(Means::Certificate(certified)) => ("certificate", Some(certified.expires), Some(&certified.serial)),
            Some(Means::Ticket { expires }) => ("ticket", *expires, None),
            _ => ("token", self.host.access.end_of_token(&who.authid()), None),
        };
        Answer::of(
            200,
            &json!({
                "user": who.user,
                "token": who.token,
                "method": method,
                "serial": serial,
                "expires": expires.map_or(Value::Null, text),
                "server": {"name": self.host.node, "version": env!("CARGO_PKG_VERSION")},
                "time": text(asked.asker.kit.now()),
            }),
        )
    }
}

/// RFC 3339, to the second.
fn text(time: Timestamp) -> Value {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into()
}

/// The certificate that a request came with.
fn certificate_of(asked: &Call) -> Result<&Certified, Trouble> {
    match &asked.by {
        Some(Means::Certificate(certified)) => Ok(certified),
        _ => Err(Trouble::bad("this is about the client certificate that a request comes with, and it has none")),
    }
}
