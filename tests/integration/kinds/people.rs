//! Users, groups, roles, realms, tokens, grants, and what comes of them.

use serde_json::json;

use super::names;
use crate::harness::Env;

#[test]
fn users_are_in_groups_and_end() {
    let env = Env::new();
    let _ = env.run("group create ops --comment 'who looks after it'").ok();
    env.write("password", "correct-horse\n");
    let made = env.run("user create ann@pve --groups ops --comment Ann --expire 2030-01-01 --password @password").ok();
    assert!(!made.raw.contains("correct-horse") && !made.stderr.contains("correct-horse"), "{made}");
    let user = env.json("user get ann@pve");
    assert_eq!(
        (&user["expire"], &user["groups"], &user["enable"]),
        (&json!(1_893_456_000), &json!(["ops"]), &json!(1))
    );
    let table = env.run("user list --field-selector userid=ann@pve").ok();
    assert!(table.raw.contains("2030-01-01T00:00:00Z") && table.stdout.contains("ops"), "{table}");
    // Already in it, in the server's form of a list: nothing differs.
    let _ = env.run("user update ann@pve --groups ops").ok().says(&["nothing to change"]);
    let _ = env.run("user update ann@pve --enable no --expire never").ok();
    assert_eq!(env.json("user get ann@pve")["enable"], 0);
    // What counts is unset by its default: the server takes no empty number.
    let dry = env.run("user update ann@pve --unset enable,expire --dry-run").ok().says(&["not set anyway: expire"]);
    assert!(dry.stdout.contains("PUT /access/users/ann@pve enable=1\n"), "{dry}");
    let _ = env.run("group create admins").ok();
    let _ = env.run("user update ann@pve --groups admins --append").ok();
    assert_eq!(env.json("user get ann@pve")["groups"], json!(["ops", "admins"]));
    let _ = env.run("user create bob@nowhere").exits(3).says(&["domain 'nowhere' does not exist"]);
    let _ = env.run("user create bob@pve --groups oops").exits(3).says(&["no such group 'oops'"]);
    let _ = env.run("user create ann@pve").exits(6);
    let _ = env.run("user get anne@pve").exits(3).says(&["no such user: `anne@pve`", "ann@pve"]);
    let _ = env.run("user create bob@pve --password short").exits(2).says(&["is not taken from the command line"]);
}

#[test]
fn what_goes_with_somebody_is_told_before() {
    let env = Env::new();
    for line in [
        "group create ops",
        "user create ann@pve --groups ops",
        "token create ann@pve laptop",
        "role create Operator --privs VM.Audit,VM.PowerMgmt",
        "acl add /vms --user ann@pve --role Operator",
        "acl add / --group ops --role PVEAuditor",
    ] {
        let _ = env.run(line).ok();
    }
    for (line, parts) in [
        (
            "user delete ann@pve",
            &["token ann@pve!laptop", "its place in group ops", "Operator on /vms for user ann@pve"][..],
        ),
        ("group delete ops", &["user ann@pve", "PVEAuditor on / for group ops"]),
        ("role delete Operator", &["Operator on /vms for user ann@pve"]),
        ("realm delete pve", &["stays without it: user ann@pve"]),
    ] {
        let dry = env.run(&format!("{line} --dry-run")).ok();
        for part in parts {
            assert!(dry.stdout.contains(part), "{line}: `{part}` is missing: {dry}");
        }
    }
    let _ = env.run("user delete ann@pve --confirm").ok();
    assert_eq!(names(&env, "acl list --path /vms"), [""; 0]);
    assert_eq!(names(&env, "token list --field-selector userid=ann@pve"), [""; 0]);
    let _ = env.run("role delete Administrator --confirm").exits(6).says(&["cannot be deleted"]);
}

#[test]
fn roles_are_sets_of_privileges() {
    let env = Env::new();
    let _ = env.run("role create Operator --privs VM.Audit,VM.PowerMgmt").ok();
    let _ = env.run("role update Operator --privs VM.PowerMgmt,VM.Audit").ok().says(&["nothing to change"]);
    let _ = env.run("role update Operator --privs VM.Console --append").ok();
    assert_eq!(env.json("role get Operator")["privs"], "VM.Audit,VM.Console,VM.PowerMgmt");
    let _ = env.run("role create Bad --privs VM.Audti").exits(7).says(&["invalid privilege 'VM.Audti'"]);
}

#[test]
fn a_tokens_secret_is_printed_once() {
    let env = Env::new();
    let _ = env.run("user create ann@pve").ok();
    let _ = env.run("acl add / --user ann@pve --role PVEAuditor").ok();
    let made = env.run("token create ann@pve laptop --expire 90d --comment hello").ok();
    let raw = made.raw.clone();
    let (id, secret) = raw.trim().split_once('=').unwrap();
    assert!(id == "ann@pve!laptop" && secret.len() == 36 && raw.lines().count() == 1, "{made}");
    // It has nothing yet, and is told how to get it.
    let made = made.says(&["only time", "privileges are separate", "pvectl acl add / --token 'ann@pve!laptop'"]);
    assert!(!made.stderr.contains(secret));
    for line in
        ["token get ann@pve!laptop -o json", "token list -o json", "operation list -o json", "operation show 3 -o json"]
    {
        assert!(!env.run(line).ok().raw.contains(secret), "{line}");
    }
    let _ = env.run("token create ann@pve laptop").exits(6);
    let made = env.json("token create ann@pve!all --privsep no");
    assert_eq!((&made["full-tokenid"], &made["status"]), (&json!("ann@pve!all"), &json!("ok")));
    assert_eq!(made["value"].as_str().unwrap().len(), 36);

    let again = env.run("token update ann@pve!laptop --regenerate --expire 90d").ok();
    let (_, other) = again.raw.trim().split_once('=').unwrap();
    assert!(other.len() == 36 && other != secret, "{again}");
    let _ = env.run("token update ann@pve!laptop --privsep no").ok();
    let dry = env.run("token update ann@pve!laptop --unset expire,privsep,comment --dry-run").ok();
    assert!(dry.stdout.contains("laptop expire=0 privsep=1 delete=comment\n"), "{dry}");
    let _ = env.run("token update ann@pve!laptop --unset expire,comment").ok();
    let token = env.json("token get ann@pve!laptop");
    assert_eq!((&token["expire"], token.get("comment")), (&json!(0), None));
    let _ = env.run("token create ann@pve").exits(2).says(&["needs a name of its own"]);
    let _ = env.run("token get ann@pve").exits(2).says(&["USERID!TOKENID"]);
    let _ = env.run("token delete ann@pve!laptop --confirm").ok();
    let _ = env.run("token get ann@pve!laptop").exits(3);
}

#[test]
fn a_token_goes_into_a_context_of_its_server() {
    let env = Env::new();
    let server = env.serve("--tls");
    let env = env.without("PVECTL_CONTEXT");
    let fingerprint = server.fingerprint.clone().unwrap();
    env.write("token", &server.token);
    let _ = env
        .run(&format!(
            "config add-context lab --endpoint {} --fingerprint {fingerprint} --token-file token",
            server.url
        ))
        .ok();
    let _ = env.run("token create root@pam mine --privsep no --into-context lab").exits(6).says(&["already exists"]);
    let made = env.run("token create root@pam mine --privsep no --into-context mine").ok();
    assert!(made.stderr.contains("context `mine` is in"), "{made}");
    let _ = env.run("vm list --context mine").ok();
    let contexts = env.run("config get-contexts -o json").ok().json();
    let mine = contexts.as_array().unwrap().iter().find(|row| row["name"] == "mine").unwrap().clone();
    assert_eq!((&mine["identity"], &mine["current"]), (&json!("root@pam!mine"), &json!(false)));
    // A new secret in its place works, and the old one no longer does.
    let _ = env.run("token update root@pam!mine --regenerate --into-context mine").exits(6);
    let _ = env.run("vm list --context mine").ok();
    let _ = env.run("token update root@pam!mine --regenerate --into-context mine --overwrite").ok();
    let _ = env.run("vm list --context mine").ok();
    let _ = env.run("token update root@pam!mine --regenerate").ok();
    let _ = env.run("vm list --context mine").exits(4);
    let _ = env.run("token create root@pam x --into-context y --context sandbox").exits(2);
}

#[test]
fn grants_are_added_once_and_taken_away_when_they_are_there() {
    let env = Env::new();
    let _ = env.run("acl add /pool/prod --user audit@pve --role PVEVMUser").ok();
    let _ = env.run("acl add /pool/prod --user audit@pve --role PVEVMUser").ok().says(&["granted already"]);
    let rows = env.json("acl list --path /pool/prod");
    assert_eq!((&rows[0]["roleid"], &rows[0]["propagate"]), (&json!("PVEVMUser"), &json!(1)));
    let _ = env.run("acl add /pool/prod --user audit@pve --role PVEVMUser --propagate no").ok();
    assert_eq!(env.json("acl list --path /pool/prod")[0]["propagate"], 0);
    let gone = env.run("acl remove /pool/prod --user audit@pve --role PVEAdmin").exits(3);
    let _ = gone.says(&["PVEAdmin is not granted on /pool/prod to user audit@pve", "PVEVMUser on /pool/prod"]);
    let _ = env.run("acl remove /pool/prod --user audit@pve --role PVEVMUser").ok();
    assert_eq!(names(&env, "acl list --path /pool/prod"), [""; 0]);
    let _ = env.run("acl add / --user nobody@pve --role PVEAuditor").exits(3);
    let _ = env.run("acl add / --role PVEAuditor").exits(2).says(&["--user, --group or --token"]);
}

#[test]
fn can_i_answers_with_its_exit_code() {
    let env = Env::new();
    assert_eq!(env.run("permission can-i VM.Audit /vms/100 --user audit@pve").ok().stdout.trim(), "yes");
    let no = env.run("permission can-i VM.PowerMgmt /vms/100 --user audit@pve").exits(1);
    assert_eq!((no.stdout.trim(), no.stderr.contains("error")), ("no", false), "{no}");
    assert_eq!(
        env.run("permission can-i VM.PowerMgmt /vms/100 --user audit@pve -o json").exits(1).json()["allowed"],
        false
    );
    let _ = env
        .run("permission can-i VM.Powermgmt /vms/100 --user audit@pve")
        .exits(2)
        .says(&["no privilege", "VM.PowerMgmt"]);
    let _ = env.run("permission can-i VM.Audit vms").exits(2);
    let rows = env.json("permission list --user audit@pve --path /vms/100");
    assert!(rows[0]["privileges"].as_array().unwrap().contains(&json!("VM.Audit")), "{rows}");
}

#[test]
fn realms_are_made_and_changed() {
    let env = Env::new();
    env.write("bind", "bind-secret\n");
    let made = "realm create corp --type ldap --server1 ldap.example.org --base_dn dc=example,dc=org --user_attr uid \
                --bind_dn cn=x,dc=example,dc=org --password @bind";
    let _ = env.run(made).ok();
    let realm = env.json("realm get corp");
    assert_eq!((&realm["type"], &realm["server1"]), (&json!("ldap"), &json!("ldap.example.org")));
    let dry = env.run("realm update corp --comment directory --dry-run").ok();
    assert!(dry.stdout.contains("PUT /access/domains/corp comment=directory digest="), "{dry}");
    let _ = env.run("realm update corp --comment directory").ok();
    let _ = env.run("realm delete corp --confirm").ok();
    assert_eq!(names(&env, "realm list"), ["realm/pam", "realm/pve"]);
}

#[test]
fn a_password_and_second_factors_are_changed_by_who_has_a_ticket() {
    let server = Env::new().serve("");
    let env = crate::login::with_password(&server, "root@pam", "sandbox");
    env.write("new", "correct-horse\n");
    let dry = env.run("user password audit@pve --password @new --dry-run").ok();
    assert!(dry.stdout.contains("PUT /access/password userid=audit@pve password=***"), "{dry}");
    let changed =
        env.run("user password audit@pve --password @new -vvv").ok().says(&["user audit@pve has another password"]);
    assert!(!changed.stdout.contains("correct-horse") && !changed.stderr.contains("correct-horse"), "{changed}");
    let _ = crate::login::with_password(&server, "audit@pve", "correct-horse").run("vm list").ok();
    let _ = crate::login::with_password(&server, "audit@pve", "sandbox").run("vm list").exits(4);
    env.write("short", "short\n");
    let refused = env.run("user password audit@pve --password @short").exits(2);
    assert!(!refused.stderr.contains("'short'"), "{refused}");
    let _ = env.run("user password nobody@pve --password @new").exits(3).says(&["no such user: `nobody@pve`"]);

    let rows = env.json("user tfa list");
    assert_eq!(
        (&rows[0]["userid"], &rows[0]["id"], &rows[0]["type"]),
        (&json!("totp@pve"), &json!("totp-1"), &json!("totp"))
    );
    let _ =
        env.run("user tfa delete totp@pve totp-2 --confirm").exits(3).says(&["no second factor `totp-2`", "totp-1"]);
    let _ = env.run("user tfa delete totp@pve totp-1").exits(2).says(&["--confirm"]);
    let _ = env.run("user tfa delete totp@pve totp-1 --confirm").ok().says(&["it is the only one"]);
    assert_eq!(env.json("user tfa list totp@pve"), json!([]));
    let _ = env.run("user unlock-tfa totp@pve").ok();
    let _ = env.run("user unlock-tfa nobody@pve").exits(3);
}

#[test]
fn a_token_is_told_before_what_it_may_not_do() {
    let env = Env::new();
    env.write("new", "correct-horse\n");
    for line in ["user password audit@pve --password @new", "user tfa delete totp@pve totp-1 --confirm"] {
        let _ = env.run(line).exits(5).says(&["nothing that an API token may do", "--user USER@REALM"]);
    }
    assert_eq!(env.json("operation list"), json!([]), "nothing was sent");
}

#[test]
fn a_realm_is_copied_from_its_directory() {
    let env = Env::new();
    let _ = env.run("realm sync pve").exits(2).says(&["no directory to copy from"]);
    let _ = env.run("realm create corp --type ldap --server1 a.example.org --base_dn dc=example --user_attr uid").ok();
    let dry = env.run("realm sync corp --scope both --enable-new no --dry-run").ok();
    assert!(dry.stdout.contains("POST /access/domains/corp/sync scope=both enable-new=0"), "{dry}");
    let tried = env.json("realm sync corp --scope users --remove-vanished entry --test");
    assert!(tried["upid"].as_str().unwrap().contains(":auth-realm-sync-test:corp:"), "{tried}");
    let _ = env.run("realm sync corp --remove-vanished entry").exits(2).says(&["--confirm"]);
    let done = env.json("realm sync corp --remove-vanished 'entry;acl' --confirm");
    assert_eq!((&done["status"], &done["verb"]), (&json!("ok"), &json!("sync")), "{done}");
}
