//! On Proxmox VE: an API token for one login by password, renewed without ever being without one, deleted at the end.

use std::{fs, thread, time::Duration};

use serde_json::{Value, json};

use crate::harness::{Env, Server};

fn enroll(server: &Server, flags: &str) -> (Env, Value) {
    let env = Env::bare();
    env.write("password", "sandbox\n");
    let line = format!("enroll {} --context lab --user root@pam --password-file password -o json {flags}", server.url);
    let said = env.run(&line).ok();
    assert!(!said.raw.contains("sandbox") && !said.raw.contains(server.secret()), "{said}");
    let data = said.json();
    (env, data)
}

fn tokens(server: &Server) -> Vec<String> {
    let rows = server.json("api get /access/users/root@pam/token");
    rows.as_array().unwrap().iter().map(|row| row["tokenid"].as_str().unwrap().to_owned()).collect()
}

fn config(env: &Env) -> String {
    fs::read_to_string(env.path(".config/pvectl/config.yaml")).unwrap()
}

fn credentials(env: &Env) -> String {
    fs::read_to_string(env.path(".config/pvectl/credentials.yaml")).unwrap()
}

#[test]
fn a_token_is_made_used_renewed_and_deleted() {
    let server = Env::new().serve("");
    let before = tokens(&server);
    let (env, said) = enroll(&server, "--token-name laptop --expire 60d --privsep no");
    assert_eq!((said["token"].as_str(), said["privsep"].as_bool()), (Some("root@pam!laptop"), Some(false)), "{said}");
    assert!(tokens(&server).contains(&"laptop".to_owned()));
    assert!(env.json("vm list").as_array().unwrap().len() > 3);
    let first = credentials(&env);
    assert!(first.contains("root@pam!laptop="), "a token's line");
    assert!(config(&env).contains("token-expires: "), "{}", config(&env));
    let status = env.json("status");
    assert_eq!((&status["enrolled"], &status["method"]), (&json!(true), &json!("token")), "{status}");
    assert_eq!((&status["expires_in_days"], &status["reachable"]), (&json!(59), &json!(true)), "{status}");
    // It is on record, without its secret.
    let secret = first.rsplit('=').next().unwrap().trim().trim_matches('\'').to_owned();
    assert_eq!(env.json("operation list")[0]["verb"], "create");
    assert!(!env.run("operation export").ok().stdout.contains(&secret));

    let _ = env.run("renew --if-within 30d").ok().says(&["nothing to do"]);
    let _ = env.run("renew --if-within 90d --dry-run").ok().says(&["would make"]);
    assert_eq!(credentials(&env), first);
    let renewed = env.run("renew --if-within 90d -o json").ok();
    assert_eq!(renewed.json()["token"], "root@pam!laptop-2");
    assert!(config(&env).contains("laptop-2") && credentials(&env).contains("root@pam!laptop-2="));
    let now = tokens(&server);
    assert!(now.contains(&"laptop-2".to_owned()) && !now.contains(&"laptop".to_owned()), "{now:?}");
    assert!(env.json("vm list").as_array().unwrap().len() > 3);

    let _ = env.run("unenroll").ok().says(&["root@pam!laptop-2 is deleted", "removed here"]);
    assert_eq!(tokens(&server), before);
    assert!(!config(&env).contains("name: lab") && !credentials(&env).contains("laptop"));
}

#[test]
fn a_renewal_that_was_killed_is_gone_on_with() {
    let server = Env::new().serve("");
    let (env, _) = enroll(&server, "--token-name laptop --privsep no");
    for step in 0..10 {
        let running = env.spawn("renew");
        thread::sleep(Duration::from_millis(25 * step));
        running.kill();
        assert!(env.json("vm list").as_array().unwrap().len() > 3, "the login is there");
    }
    let _ = env.run("renew").ok();
    assert!(env.json("vm list").as_array().unwrap().len() > 3);
    let line = credentials(&env);
    let name = line.split("root@pam!").nth(1).and_then(|rest| rest.split('=').next()).unwrap();
    assert!(tokens(&server).contains(&name.to_owned()) && !tokens(&server).contains(&"laptop".to_owned()), "{name}");
}

#[test]
fn a_token_with_privileges_of_its_own_takes_them_along() {
    let server = Env::new().serve("");
    let (env, _) = enroll(&server, "--token-name apart");
    assert_eq!(env.json("vm list").as_array().unwrap().len(), 0, "nothing was granted yet");
    let _ = server.run("acl add /vms --token root@pam!apart --role PVEVMAdmin").ok();
    let seen = || env.run("vm list -o name").ok().stdout;
    let before = seen();
    assert!(before.contains("vm/100"), "{before}");
    // It is not its user, and nobody is there who could be asked for a password.
    let _ = env.run("renew").exits(2).says(&["password of root@pam"]);
    assert!(tokens(&server).contains(&"apart".to_owned()));
    let _ = env.run("renew --password-file password").ok();
    assert_eq!(seen(), before);
    assert!(!tokens(&server).contains(&"apart".to_owned()));

    let _ = env.run("unenroll").exits(2).says(&["is not revoked", "nothing was removed here"]);
    let _ = env.run("unenroll --password-file password").ok();
    assert!(!tokens(&server).contains(&"apart-2".to_owned()));
}

#[test]
fn what_cannot_be_done_leaves_nothing_behind() {
    let server = Env::new().serve("");
    let before = tokens(&server);
    let env = Env::bare();
    env.write("password", "wrong");
    let enroll = |flags: &str| env.run(&format!("enroll {} --context lab {flags}", server.url));
    let _ = enroll("--user root@pam --password-file password").exits(4);
    let _ = enroll("--token aa.bb").exits(2).says(&["--user USER@REALM"]);
    let _ = enroll("--user root@pam --token aa.bb").exits(2);
    env.write("password", "sandbox");
    let _ = enroll("--user root@pam --password-file password --token-name pvectl").exits(6).says(&["--token-name"]);
    assert!(!env.path(".config/pvectl/config.yaml").exists());
    assert_eq!(tokens(&server), before);
    // A place where no secret may be kept is found out before.
    env.write(".config/pvectl/credentials.yaml", "contexts: {}\n");
    let _ = enroll("--user root@pam --password-file password --token-name new").exits(2).says(&["chmod 600"]);
    assert_eq!(tokens(&server), before);

    // Nobody is there any more.
    let (env, _) = self::enroll(&server, "--token-name gone");
    drop(server);
    let _ = env.run("unenroll").exits(10).says(&["pvectl token delete 'root@pam!gone'"]);
    let _ = env.run("unenroll --force").exits(1);
    assert!(!credentials(&env).contains("gone"));
}
