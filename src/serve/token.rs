//! API tokens over the API: list, make, take away.

use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

use super::{Grant, Host};
use crate::{
    model::Class,
    server::{Fault, Reply, Request},
};

fn row(grant: &Grant) -> Map<String, Value> {
    let mut row = Map::from_iter([("privsep".to_owned(), json!(0)), ("expire".to_owned(), json!(grant.expire))]);
    if let Some(comment) = &grant.comment {
        row.insert("comment".to_owned(), comment.as_str().into());
    }
    row
}

impl Host {
    fn token_id(&self, request: &Request) -> Result<String, Fault> {
        Ok(format!("{}!{}", self.need(request, "userid")?, self.need(request, "tokenid")?))
    }

    pub(super) async fn tokens(&self, request: &Request) -> Result<Reply, Fault> {
        let prefix = format!("{}!", self.need(request, "userid")?);
        let grants = self.access.grants()?;
        let own = grants.iter().filter_map(|grant| Some((grant.id.strip_prefix(&prefix)?, grant)));
        let rows = own.map(|(name, grant)| {
            let mut row = row(grant);
            row.insert("tokenid".to_owned(), name.into());
            Value::from(row)
        });
        Ok(Reply::data(rows.collect::<Vec<_>>()))
    }

    /// Only with privilege separation off: there are no grants that a separated one could have.
    pub(super) async fn create_token(&self, request: &Request) -> Result<Reply, Fault> {
        if request.params.get("privsep") != Some("0") {
            let why = "a separated token would have no privileges here: give privsep=0";
            return Err(Fault::parameter("privsep", why));
        }
        let expire = request.params.get("expire").and_then(|text| text.parse().ok()).unwrap_or(0);
        let comment = request.params.get("comment").map(str::to_owned);
        // No more than whoever makes it has.
        let role = request.identity.as_ref().and_then(|who| self.access.role_of(&who.authid()));
        let role = role.ok_or_else(|| Fault::die("whoever makes a token has to have one"))?;
        let grant = Grant { id: self.token_id(request)?, role, expire, comment };
        let issued = self.access.issue(&grant).map_err(|error| match error.class() {
            Class::Conflict => Fault::parameter("tokenid", "Token already exists."),
            _ => error.into(),
        })?;
        // Here, and only here, a node gives `privsep` as text.
        Ok(Reply::data(json!({
            "full-tokenid": issued.id, "value": issued.secret.expose_secret(), "info": {"privsep": "0"},
        })))
    }

    pub(super) async fn remove_token(&self, request: &Request) -> Result<Reply, Fault> {
        let id = self.token_id(request)?;
        match self.access.revoke(&id)? {
            true => Ok(Reply::null()),
            false => Err(Fault::die(format!("no such token '{}' for user", self.need(request, "tokenid")?))),
        }
    }
}
