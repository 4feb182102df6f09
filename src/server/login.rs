//! `POST /access/ticket`: password, second factor, renewal; and the overview of privileges that comes with a ticket.
//!
//! Whether a password is right is the service's to say.

use serde_json::{Map, Value, json};

use super::{Fault, Identity, Kit, Reply, guard::Source, ticket};
use crate::model::Params;

/// Logs in.
///
/// # Errors
/// 401 without saying what was wrong.
pub(super) async fn log_in(kit: &Kit, params: &Params, source: Option<Source>) -> Result<Reply, Fault> {
    let refused = || Fault {
        status: 401,
        message: "authentication failure".to_owned(),
        errors: std::collections::BTreeMap::new(),
    };
    let get = |name| params.get(name).unwrap_or_default();
    let user = match params.get("realm") {
        Some(realm) if !get("username").ends_with(&format!("@{realm}")) => format!("{}@{realm}", get("username")),
        _ => get("username").to_owned(),
    };
    let password = get("password");
    let service = kit.service();
    let missing = if let Some(challenge) = params.get("tfa-challenge") {
        let is_right = async {
            let is_ours = ticket::verify_challenge(kit, challenge, &user);
            (is_ours && service.check_second_factor(&user, password).await).then(Vec::new)
        };
        kit.guard().attempt(source, &user, || kit.now(), is_right, Vec::is_empty).await.ok_or_else(refused)?
    } else if ticket::verify(kit, password).is_some_and(|(known, _)| known == user && service.is_active(&user)) {
        Vec::new()
    } else {
        let check = service.check_password(&user, password);
        kit.guard().attempt(source, &user, || kit.now(), check, Vec::is_empty).await.ok_or_else(refused)?
    };
    let no_key = || Fault::die("unable to sign a ticket: no random numbers");
    let csrf = ticket::mint_csrf(kit, &user).ok_or_else(no_key)?;
    if !missing.is_empty() {
        let challenge = ticket::mint_challenge(kit, &user, &missing).ok_or_else(no_key)?;
        return Ok(Reply::data(json!({
            "username": user, "ticket": challenge, "CSRFPreventionToken": csrf, "NeedTFA": 1,
        })));
    }
    let ticket = ticket::mint(kit, &user).ok_or_else(no_key)?;
    let who = Identity { user, token: None };
    let cap = capabilities(kit, &who);
    Ok(Reply::data(json!({
        "username": who.user, "ticket": ticket, "CSRFPreventionToken": csrf, "cap": cap,
    })))
}

/// The groups of `cap`: its name, the path it stands for, and how its privileges begin.
const GROUPS: &[(&str, &str, &[&str])] = &[
    ("access", "/access", &["User.", "Group.", "Realm.", "Permissions.Modify"]),
    ("dc", "/", &["Sys.Audit", "Sys.Modify", "SDN."]),
    ("mapping", "/mapping", &["Mapping.", "Permissions.Modify"]),
    ("nodes", "/nodes", &["Sys.", "Permissions.Modify"]),
    ("sdn", "/sdn", &["SDN.", "Permissions.Modify"]),
    ("storage", "/storage", &["Datastore.", "Permissions.Modify"]),
    ("vms", "/vms", &["VM.", "Permissions.Modify"]),
    // Rights on a pool are rights on the guests in it.
    ("vms", "/pool", &["VM."]),
];

/// What somebody can do somewhere, grouped as the web interface wants it.
fn capabilities(kit: &Kit, who: &Identity) -> Value {
    let mut groups: Map<String, Value> = GROUPS.iter().map(|(group, ..)| ((*group).to_owned(), json!({}))).collect();
    let deeper = kit.service().acl_paths();
    for (group, root, prefixes) in GROUPS {
        let below = |path: &&String| *root != "/" && path.starts_with(root) && path[root.len()..].starts_with('/');
        for path in deeper.iter().filter(below).map(String::as_str).chain([*root]) {
            for privilege in kit.service().privileges(who, path) {
                if prefixes.iter().any(|prefix| privilege.starts_with(prefix)) {
                    groups[*group][privilege] = 1.into();
                }
            }
        }
    }
    groups.into()
}
