//! Tickets: bought, kept, renewed, replaced; the second factor; what a failed login says.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;

use super::*;

const TICKET: &str = "PVE:root@pam:6B002D54::sig+/==";
const COOKIE: &str = "PVEAuthCookie=PVE%3Aroot%40pam%3A6B002D54%3A%3Asig%2B%2F%3D%3D";
const CHALLENGE: &str = r#"PVE:!tfa!{"totp"%3Atrue}:6B003241::sig"#;

fn granted(ticket: &str) -> Act {
    ok(&serde_json::json!({"username": "root@pam", "ticket": ticket, "CSRFPreventionToken": "csrf-token"}).to_string())
}

fn refused() -> Act {
    reply("401 authentication failure", r#"{"data":null,"message":"authentication failure\n"}"#)
}

fn is_login(seen: &Seen) -> bool {
    seen.is("POST", "/access/ticket")
}

/// What a login sent, by parameter.
fn form(seen: &Seen) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(seen.body.as_bytes()).into_owned().collect()
}

struct Code(&'static str);

impl SecondFactor for Code {
    fn answer(&self, kinds: &[String]) -> Result<SecretString> {
        assert_eq!(kinds, ["totp"]);
        Ok(self.0.into())
    }
}

fn password(second_factor: Option<Arc<dyn SecondFactor>>) -> Auth {
    Auth::Password { user: "root@pam".to_owned(), password: "pass word".into(), second_factor }
}

fn client(server: &Server) -> Client {
    Client::builder().endpoint(server.endpoint()).auth(password(None)).build().unwrap()
}

#[derive(Default)]
struct Memory(Mutex<BTreeMap<String, StoredTicket>>);

impl Memory {
    fn with(server: &Server, ticket: &str, age: SignedDuration) -> Arc<Self> {
        let kept = StoredTicket { ticket: ticket.into(), csrf: "old-csrf".into(), issued: Timestamp::now() - age };
        let memory = Self::default();
        memory.save(&format!("root@pam {}", server.url()), &kept);
        Arc::new(memory)
    }

    fn only(&self) -> Option<String> {
        self.0.lock().unwrap().values().next().map(|kept| kept.ticket.expose_secret().to_owned())
    }
}

impl TicketStore for Memory {
    fn load(&self, key: &str) -> Option<StoredTicket> {
        self.0.lock().unwrap().get(key).cloned()
    }

    fn save(&self, key: &str, ticket: &StoredTicket) {
        self.0.lock().unwrap().insert(key.to_owned(), ticket.clone());
    }

    fn forget(&self, key: &str) {
        self.0.lock().unwrap().remove(key);
    }
}

#[tokio::test]
async fn the_first_call_logs_in_and_changes_carry_the_csrf_token() {
    let server = Server::start(|_, seen| if is_login(seen) { granted(TICKET) } else { ok("null") });
    let client = client(&server);
    assert!(server.seen().is_empty());
    client.send(&get("/x")).await.unwrap();
    client.send(&post("/x")).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    assert_eq!(form(&seen[0])["password"], "pass word");
    assert_eq!((seen[1].header("cookie"), seen[1].header("csrfpreventiontoken")), (Some(COOKIE), None));
    assert_eq!((seen[2].header("cookie"), seen[2].header("csrfpreventiontoken")), (Some(COOKIE), Some("csrf-token")));
    assert!(seen.iter().all(|request| request.header("authorization").is_none()));
}

#[tokio::test]
async fn many_calls_at_once_log_in_once() {
    let server = Server::start(|_, seen| if is_login(seen) { granted(TICKET) } else { ok("null") });
    let client = client(&server);
    let calls: Vec<_> = (0..8).map(|n| get(&format!("/x{n}"))).collect();
    futures_util::future::try_join_all(calls.iter().map(|call| client.send(call))).await.unwrap();
    assert_eq!(server.seen().iter().filter(|seen| is_login(seen)).count(), 1);
}

#[tokio::test]
async fn a_wrong_password_is_told_at_once_and_nothing_was_sent() {
    let server = Server::start(|_, _| refused());
    let error = client(&server).send(&post("/x")).await.unwrap_err();
    assert_eq!((error.class(), error.sent()), (Class::Unauthenticated, Some(Sent::Never)));
    assert_eq!(error.message(), "cannot log in as `root@pam`: authentication failure");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_lost_login_does_not_make_the_change_doubtful() {
    let server = Server::start(|_, _| Act::SendAndClose(Vec::new()));
    let error = client(&server).send(&post("/x")).await.unwrap_err();
    assert_eq!((error.class(), error.sent()), (Class::Unreachable, Some(Sent::Never)));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_second_factor_is_answered() {
    for code in ["totp:123456", "123456\n"] {
        let server = Server::start(|number, _| match number {
            0 => ok(&serde_json::json!({"NeedTFA": 1, "ticket": CHALLENGE, "CSRFPreventionToken": "x"}).to_string()),
            1 => granted(TICKET),
            _ => ok("1"),
        });
        let auth = password(Some(Arc::new(Code(code))));
        let client = Client::builder().endpoint(server.endpoint()).auth(auth).build().unwrap();
        assert_eq!(client.send(&get("/x")).await.unwrap().data, 1);
        let seen = server.seen();
        let second = form(&seen[1]);
        assert_eq!((second["password"].as_str(), second["tfa-challenge"].as_str()), ("totp:123456", CHALLENGE));
        assert_eq!(seen[2].header("cookie"), Some(COOKIE));
    }
}

#[tokio::test]
async fn a_second_factor_that_nobody_can_give_is_named() {
    let server = Server::start(|_, _| {
        ok(&serde_json::json!({"NeedTFA": 1, "ticket": CHALLENGE, "CSRFPreventionToken": "x"}).to_string())
    });
    let error = client(&server).send(&get("/x")).await.unwrap_err();
    assert_eq!(error.class(), Class::Unauthenticated);
    assert!(error.message().contains("second factor is needed (totp)"), "{error}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_kept_ticket_is_used_renewed_or_bought_anew_by_its_age() {
    let minutes = SignedDuration::from_mins;
    for (age, bought_with) in [
        (minutes(10), None),
        (minutes(100), Some("PVE:old")),
        (minutes(130), Some("pass word")),
        (minutes(-10), Some("pass word")),
    ] {
        let server = Server::start(|_, seen| if is_login(seen) { granted(TICKET) } else { ok("1") });
        let memory = Memory::with(&server, "PVE:old", age);
        let client = Client::builder()
            .endpoint(server.endpoint())
            .auth(password(None))
            .ticket_store(Arc::<Memory>::clone(&memory))
            .build()
            .unwrap();
        client.send(&get("/x")).await.unwrap();
        let logins: Vec<String> =
            server.seen().iter().filter(|seen| is_login(seen)).map(|seen| form(seen)["password"].clone()).collect();
        assert_eq!(logins.first().map(String::as_str), bought_with, "{age}");
        let kept = if bought_with.is_some() { TICKET } else { "PVE:old" };
        assert_eq!(memory.only().as_deref(), Some(kept), "{age}");
    }
}

#[tokio::test]
async fn a_renewal_that_is_refused_falls_back_to_the_password() {
    let server = Server::start(|_, seen| match is_login(seen) {
        true if form(seen)["password"] == "PVE:old" => refused(),
        true => granted(TICKET),
        false => ok("1"),
    });
    let memory = Memory::with(&server, "PVE:old", SignedDuration::from_mins(100));
    let builder = Client::builder().endpoint(server.endpoint()).auth(password(None));
    let client = builder.ticket_store(Arc::<Memory>::clone(&memory)).build().unwrap();
    client.send(&get("/x")).await.unwrap();
    assert_eq!(memory.only().as_deref(), Some(TICKET));
}

#[tokio::test]
async fn a_refused_ticket_is_replaced_once_and_the_change_sent_again() {
    let server = Server::start(|_, seen| match (is_login(seen), seen.header("cookie")) {
        (true, _) => granted(TICKET),
        (_, Some(COOKIE)) => ok("1"),
        _ => reply("401 permission denied - invalid PVE ticket", ""),
    });
    let memory = Memory::with(&server, "PVE:old", SignedDuration::from_mins(10));
    let builder = Client::builder().endpoint(server.endpoint()).auth(password(None));
    let client = builder.ticket_store(Arc::<Memory>::clone(&memory)).build().unwrap();
    assert_eq!(client.send(&post("/x")).await.unwrap().data, 1);
    assert_eq!(server.seen().len(), 3);
    assert_eq!(memory.only().as_deref(), Some(TICKET));
}

#[tokio::test]
async fn a_ticket_that_is_refused_twice_is_the_end() {
    let server = Server::start(|_, seen| {
        if is_login(seen) { granted(TICKET) } else { reply("401 permission denied - invalid csrf token", "") }
    });
    let error = client(&server).send(&post("/x")).await.unwrap_err();
    assert_eq!((error.class(), error.sent()), (Class::Unauthenticated, Some(Sent::Answered)));
    assert_eq!(server.seen().iter().filter(|seen| !is_login(seen)).count(), 2);
}
