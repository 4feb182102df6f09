//! Enrollment: a login of one's own that is got once, renewed, and given back, on a served host and on Proxmox VE.

mod broken;
mod killed;
mod proxmox;

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::Value;

use crate::{
    harness::{Env, Output},
    local::{Host, stand_in},
    serve::Served,
};

const DAY: i64 = 86_400;

/// A served host whose clock a test moves, with a VM, and ann@pve who may look after VMs.
fn served() -> Served {
    let host = Host::new(&stand_in());
    let clock = host.env.path("ahead");
    let env = host.env.with("PVECTL_TEST_CLOCK", clock.to_str().unwrap());
    let served = Served::of(host, &env, "");
    let root = &served.remote;
    let _ = root.run("vm create --name web --memory 256 --scsi0 local:1").ok();
    root.write("password", "correct horse");
    let _ = root.run("user create ann@pve --password @password").ok();
    let _ = root.run("acl add / --user ann@pve --role PVEVMAdmin").ok();
    served
}

/// Lets so many seconds pass for the server.
fn pass(served: &Served, seconds: i64) {
    served.host.env.write("ahead", &seconds.to_string());
}

/// A one-time token for ann@pve.
fn token(served: &Served, flags: &str) -> String {
    let made = served.host.env.run(&format!("serve enrollment create ann@pve {flags}")).ok();
    made.raw.trim().to_owned()
}

fn enroll(served: &Served, env: &Env, token: &str) -> Output {
    env.write("one-time", token);
    let (url, fingerprint) = (served.said("url"), served.said("fingerprint"));
    env.run(&format!("enroll {url} --context host --fingerprint {fingerprint} --token-file one-time -o json"))
}

/// Somebody who is enrolled.
fn enrolled(served: &Served, flags: &str) -> (Env, Value) {
    let env = Env::bare();
    let said = enroll(served, &env, &token(served, flags)).ok().json();
    (env, said)
}

fn certificate(env: &Env) -> std::path::PathBuf {
    env.path(".config/pvectl/certificates/host.pem")
}

/// The serial numbers of the certificates that hold.
fn valid(served: &Served) -> Vec<String> {
    let rows = served.host.env.json("serve certificate list");
    let rows = rows.as_array().unwrap().iter().filter(|row| row["revoked"].is_null());
    rows.map(|row| row["serial"].as_str().unwrap().to_owned()).collect()
}

/// Asks as any program would, with a client certificate.
fn curl(env: &Env, url: &str, path: &str) -> Option<Output> {
    let file = certificate(env);
    let args = ["-sk", "--cert", file.to_str().unwrap(), &format!("{url}{path}")];
    env.other("curl", &args, "")
}

#[test]
fn whoever_is_enrolled_is_its_user() {
    let served = served();
    let (env, said) = enrolled(&served, "");
    assert_eq!((said["user"].as_str(), said["context"].as_str()), (Some("ann@pve"), Some("host")), "{said}");
    let mode = |path: std::path::PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(certificate(&env)), 0o600);
    assert_eq!(mode(served.host.state().join("serve/clients-ca.pem")), 0o600);
    assert!(!env.path(".config/pvectl/credentials.yaml").exists());
    let config = fs::read_to_string(env.path(".config/pvectl/config.yaml")).unwrap();
    assert!(
        config.contains("client-certificate: certificates/host.pem") && config.contains("user: ann@pve"),
        "{config}"
    );

    assert_eq!(env.json("vm list")[0]["name"], "web");
    let started = env.run("api post /nodes/{node}/qemu/100/snapshot -p snapname=one -o json").ok().stdout;
    assert!(started.contains(":qmsnapshot:100:ann@pve:"), "{started}");
    // No more than she may.
    let _ = env.run("user list").ok();
    let _ = env.run("api post /access/users -p userid=eve@pve").exits(5);
    let rows = served.host.env.json("operation list");
    let of = |verb: &str| rows.as_array().unwrap().iter().find(|row| row["verb"] == verb).cloned().unwrap_or_default();
    assert_eq!(
        (of("snapshot")["user"].as_str(), of("enroll")["status"].as_str()),
        (Some("ann@pve"), Some("ok")),
        "{rows}"
    );

    let status = env.json("status");
    assert_eq!((&status["enrolled"], &status["method"]), (&true.into(), &"certificate".into()), "{status}");
    assert_eq!((&status["user"], &status["kind"]), (&"ann@pve".into(), &"served".into()), "{status}");
    let facts = env.run("check -o json").json();
    let login = facts.as_array().unwrap().iter().find(|fact| fact["name"] == "login").unwrap();
    assert_eq!(login["status"], "ok", "{facts}");

    // Programs of others.
    if let Some(answer) = curl(&env, served.said("url"), "/api/me") {
        let me = answer.ok().json();
        assert_eq!((&me["user"], &me["method"]), (&"ann@pve".into(), &"certificate".into()), "{me}");
        assert_eq!((&me["serial"], &me["expires"]), (&said["serial"], &said["expires"]), "{me}");
        assert!(curl(&env, served.said("url"), "/api/vms").unwrap().stdout.contains("\"web\""));
    }
    // Where it asks for something else, that counts, right or wrong.
    let wrong = env.with("PVECTL_TOKEN", "ann@pve!x=00000000-0000-4000-a000-000000000000");
    let _ = wrong.run("vm list").exits(4);
}

#[test]
fn a_one_time_token_is_good_once() {
    let served = served();
    let once = token(&served, "");
    // At the same time.
    let envs: Vec<Env> = (0..4).map(|_| Env::bare()).collect();
    let (url, fingerprint) = (served.said("url"), served.said("fingerprint"));
    let running: Vec<_> = envs
        .iter()
        .map(|env| env.spawn(&format!("enroll {url} --context host --fingerprint {fingerprint} --token {once}")))
        .collect();
    let codes: Vec<i32> = running.into_iter().map(|running| running.wait().code).collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert!(codes.iter().all(|code| [0, 4].contains(code)), "{codes:?}");
    assert_eq!(valid(&served).len(), 1);
    for (env, code) in envs.iter().zip(codes) {
        assert_eq!(certificate(env).exists(), code == 0);
        assert_eq!(env.path(".config/pvectl/config.yaml").exists(), code == 0);
    }
    // And later.
    let env = Env::bare();
    let _ = enroll(&served, &env, &once).exits(4).says(&["was used before", "serve enrollment create"]);
    // Wrong, taken back, over, of nobody.
    let id = once.split('.').next().unwrap();
    let _ = enroll(&served, &env, &format!("{id}.00000000-0000-4000-a000-000000000000")).exits(4);
    let back = token(&served, "");
    let _ = served.host.env.run(&format!("serve enrollment delete {}", back.split('.').next().unwrap())).ok();
    let _ = enroll(&served, &env, &back).exits(4);
    let over = token(&served, "--expire 10m");
    pass(&served, 11 * 60);
    let _ = enroll(&served, &env, &over).exits(4).says(&["is over"]);
    let _ = served.host.env.run("serve enrollment create eve@pve").exits(3).says(&["no such user"]);
    let states: Vec<Value> = served.host.env.json("serve enrollment list").as_array().unwrap().clone();
    assert_eq!(states.iter().filter(|row| !row["serial"].is_null()).count(), 1, "{states:?}");
    assert!(!certificate(&env).exists());
    // Nothing of it is kept but a hash, and nothing is said of it.
    let file = fs::read(served.host.state().join("serve/tokens.db")).unwrap();
    let secret = over.split('.').nth(1).unwrap();
    assert!(!file.windows(secret.len()).any(|part| part == secret.as_bytes()));
}

#[test]
fn wrong_guesses_are_slowed_down() {
    let served = served();
    let once = token(&served, "");
    let wrong = format!("{}.00000000-0000-4000-a000-000000000000", once.split('.').next().unwrap());
    let (url, fingerprint) = (served.said("url"), served.said("fingerprint"));
    let env = Env::bare();
    let line = format!("enroll {url} --context host --fingerprint {fingerprint} --token {wrong}");
    let running: Vec<_> = (0..5).map(|_| env.spawn(&line)).collect();
    running.into_iter().for_each(|running| assert_eq!(running.wait().code, 4));
    // Each time twice as long.
    for seconds in [20, 40, 60, 80] {
        pass(&served, seconds);
        let _ = env.run(&line).exits(4);
    }
    // Now the right one is not looked at either, until some time has passed.
    let _ = enroll(&served, &env, &once).exits(4);
    pass(&served, 20 * 60);
    let _ = enroll(&served, &env, &once).ok();
}

#[test]
fn a_certificate_is_renewed_and_the_old_one_goes() {
    let served = served();
    let (env, said) = enrolled(&served, "--certificate-lifetime 40d");
    let before = fs::read(certificate(&env)).unwrap();
    let _ = env.run("renew --if-within 30d").ok().says(&["nothing to do"]);
    assert_eq!(fs::read(certificate(&env)).unwrap(), before);
    pass(&served, 15 * DAY);
    let again = env.run("renew --if-within 30d -o json").ok().json();
    assert_ne!(again["serial"], said["serial"]);
    assert_eq!(again["changed"], true);
    assert_eq!(valid(&served), [again["serial"].as_str().unwrap()]);
    assert_eq!(env.json("vm list")[0]["name"], "web");
    let key = |bytes: &[u8]| String::from_utf8_lossy(bytes).split("-----END").next().unwrap().to_owned();
    let after = fs::read(certificate(&env)).unwrap();
    assert_ne!(key(&before), key(&after), "a new key");
    // The old one is no way in any more.
    fs::write(certificate(&env), &before).unwrap();
    let _ = env.run("vm list").exits(4).says(&["was revoked"]);
    fs::write(certificate(&env), &after).unwrap();
    // It holds as long as the first one did, and then not a moment longer, also on an open connection.
    pass(&served, 54 * DAY);
    let _ = env.run("vm list").ok();
    pass(&served, 55 * DAY + 60);
    let _ = env.run("vm list").exits(4).says(&["expired on"]);
    let _ = env.run("renew").exits(4).says(&["one-time token"]);
}

#[test]
fn what_is_revoked_is_refused_at_once() {
    let served = served();
    let (env, said) = enrolled(&served, "");
    let serial = said["serial"].as_str().unwrap();
    // A connection that stays open.
    let identity = reqwest::Identity::from_pem(&fs::read(certificate(&env)).unwrap()).unwrap();
    let client =
        reqwest::Client::builder().identity(identity).danger_accept_invalid_certs(true).no_proxy().build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let url = format!("{}/api2/json/version", served.said("url"));
    let status = || runtime.block_on(async { client.get(&url).send().await.unwrap().status().as_u16() });
    assert_eq!((status(), status()), (200, 200));
    let _ = served.host.env.run(&format!("serve certificate revoke {serial}")).ok();
    assert_eq!(status(), 401);
    let _ = env.run("vm list").exits(4).says(&["was revoked on"]);
    let _ = served.host.env.run(&format!("serve certificate revoke {serial}")).ok().says(&["before"]);
    let _ = served.host.env.run("serve certificate revoke abcd").exits(3);

    // A user who is shut out, or gone.
    let (env, _) = enrolled(&served, "");
    let _ = served.remote.run("user update ann@pve --enable no").ok();
    let _ = env.run("vm list").exits(4);
    let _ = served.remote.run("user update ann@pve --enable yes").ok();
    let _ = env.run("vm list").ok();
    let _ = served.remote.run("user delete ann@pve --confirm").ok();
    let _ = served.remote.run("user create ann@pve").ok();
    let _ = env.run("vm list").exits(4).says(&["was revoked"]);
    assert!(valid(&served).is_empty());
}

#[test]
fn a_certificate_of_another_host_is_refused() {
    let other = served();
    let served = served();
    let (env, _) = enrolled(&other, "");
    let _ = env.run("vm list").ok();
    let config = fs::read_to_string(env.path(".config/pvectl/config.yaml")).unwrap();
    let config = config
        .replace(other.said("url"), served.said("url"))
        .replace(&other.said("fingerprint").replace(':', "").to_lowercase(), served.said("fingerprint"))
        .replace(other.said("fingerprint"), served.said("fingerprint"));
    fs::write(env.path(".config/pvectl/config.yaml"), config).unwrap();
    let _ = env.run("vm list").exits(4).says(&["none of this host's"]);
    // With something else to be recognised by it stands in nobody's way.
    let token = served.remote.run("token create root@pam other --privsep no -o json").ok().json();
    let both = env.with("PVECTL_TOKEN", &format!("root@pam!other={}", token["value"].as_str().unwrap()));
    let _ = both.run("vm list").ok();
}

#[test]
fn a_login_is_given_back_also_where_the_server_is_gone() {
    let served = served();
    let (env, _) = enrolled(&served, "");
    let _ = env.run("unenroll --dry-run").ok();
    assert_eq!(valid(&served).len(), 1);
    let _ = env.run("unenroll").ok().says(&["the certificate is revoked", "removed here"]);
    assert!(valid(&served).is_empty());
    assert!(!certificate(&env).exists());
    let _ = env.run("unenroll --context host").exits(3);

    // Half-way: it was revoked there, and something is left here.
    let (env, said) = enrolled(&served, "");
    let _ = served.host.env.run(&format!("serve certificate revoke {}", said["serial"].as_str().unwrap())).ok();
    let _ = env.run("unenroll").ok().says(&["does not take it any more", "removed here"]);

    let (env, said) = enrolled(&served, "");
    let serial = said["serial"].as_str().unwrap().to_owned();
    served.end();
    let left = format!("serve certificate revoke {serial}");
    let _ = env.run("unenroll").exits(10).says(&["is not revoked", "nothing was removed here", &left]);
    assert!(certificate(&env).exists());
    let _ = env.run("unenroll --force").exits(1).says(&["could not be revoked", &left]);
    assert!(!certificate(&env).exists());
    assert!(!fs::read_to_string(env.path(".config/pvectl/config.yaml")).unwrap().contains("name: host"));
}

#[test]
fn what_is_wrong_is_said_before_a_token_is_used_up() {
    let served = served();
    let once = token(&served, "");
    let env = Env::bare();
    env.write("one-time", &once);
    let (url, fingerprint) = (served.said("url"), served.said("fingerprint"));
    let enroll = |flags: &str| env.run(&format!("enroll {url} --token-file one-time {flags}"));
    let _ = env.run(&format!("enroll {url} --fingerprint {fingerprint}")).exits(2).says(&["--token-file"]);
    let _ = enroll("").exits(10).says(&["is not trusted"]);
    let _ = enroll(&format!("--fingerprint {}", "AB:".repeat(31) + "AB")).exits(10);
    let _ = enroll(&format!("--fingerprint {fingerprint} --context sandbox")).exits(2);
    let _ = enroll(&format!("--fingerprint {fingerprint} --dry-run")).ok().says(&["would make a key"]);
    let _ = env.with("PVECTL_READ_ONLY", "1").run(&format!("enroll {url} --token-file one-time")).exits(5);
    let _ =
        env.run_with(&format!("enroll {url} --fingerprint {fingerprint} --token -"), &once).ok().says(&["127.0.0.1"]);
    let _ = enroll(&format!("--fingerprint {fingerprint}")).exits(6).says(&["already exists"]);
    let config = env.run("config view --origin").ok();
    assert!(config.stdout.contains("  client certificate  (context"), "{config}");
    // Without TLS there is nothing to be shown.
    let plain = Served::start_with("--no-tls");
    let _ = plain.host.env.run("serve enrollment create root@pam").ok();
    let answer = env.run(&format!("enroll {} --context plain --token x.y", plain.said("url")));
    let _ = answer.exits(7).says(&["without TLS"]);
}

/// The files below a directory that have a text in them.
fn files_with(directory: &std::path::Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            found.extend(files_with(&path, text));
        } else if kind.is_file() && entry.metadata().unwrap().len() < 1 << 24 {
            // Not in disks of VMs.
            let bytes = fs::read(&path).unwrap();
            if bytes.windows(text.len()).any(|part| part == text.as_bytes()) {
                found.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
    }
    found
}

#[test]
fn neither_the_token_nor_the_key_is_anywhere_else() {
    let served = served();
    let once = token(&served, "");
    let secret = once.split('.').nth(1).unwrap();
    let env = Env::bare();
    env.write("one-time", &once);
    let (url, fingerprint) = (served.said("url"), served.said("fingerprint"));
    let line =
        |host: &str| format!("enroll {url} --context {host} --fingerprint {fingerprint} --token-file one-time -vvv");
    let said = [env.run(&line("host")).ok(), env.run(&line("again")).exits(4), env.run("renew -vvv").ok()];
    let pem = fs::read_to_string(certificate(&env)).unwrap();
    let key = pem.lines().skip_while(|line| !line.contains("PRIVATE KEY")).nth(1).unwrap();
    for said in &said {
        assert!(said.stderr.contains("/api/"), "{said}");
        for secret in [secret, key] {
            assert!(!said.raw.contains(secret) && !said.stderr.contains(secret), "{said}");
        }
    }
    assert_eq!(files_with(&env.path("."), secret), ["one-time"]);
    assert_eq!(files_with(&env.path("."), key), ["host.pem"]);
    let host = served.host.env.path(".");
    assert_eq!((files_with(&host, secret), files_with(&host, key)), (vec![], vec![]));
}
