//! Secrets that nobody foresees, pushed through every way in, and looked for in everything that comes out: streams, the
//! journal's files, caches, temporary files, command lines of children.
//!
//! What a person keeps (the files that were given, `credentials.yaml`) and what the simulated server keeps is left out.

use std::{fs, path::Path};

use proptest::{collection::vec, prelude::*, sample::select};
use pvectl::server::FaultRule;
use serde_json::{Value, json};

use crate::harness::{Env, Output, Server, eventually};

/// What secrets are made of: also what JSON, URLs, shells and patterns have a use for.
const LETTERS: &[char] = &['a', 'k', 'Z', '7', '0', '"', '\\', '%', '&', '=', '+', '$', '{', '/', ':', '#', ' ', '*'];

/// Changes with a secret in them; `-` reads what is given in the second place from stdin.
const CHANGES: &[(&str, &str)] = &[
    ("vm update 101 --ciuser admin --cipassword @inputs/secret", ""),
    ("vm update 101 --cipassword -", "secret"),
    ("vm update 101 --set cipassword=@inputs/secret --set cores=4", ""),
    ("vm update 101 -f inputs/vm.json", ""),
    ("vm update 101 -f -", "vm.json"),
    ("vm create --name made --cipassword @inputs/secret", ""),
    ("vm create --name made --cipassword - --start", "secret"),
    ("container create --name made --template debian-12 --rootfs local-lvm:4 --password @inputs/secret", ""),
    ("api put /nodes/{node}/qemu/{vmid}/config -p vmid=101 -p cipassword=@inputs/secret", ""),
    ("api post /nodes/{node}/qemu/{vmid}/config -p vmid=101 -p cipassword=@inputs/secret", ""),
    ("api put /nodes/{node}/qemu/{vmid}/config -p vmid=101 -f inputs/vm.json", ""),
    ("api post /access/users -p userid=x@pve -p password=@inputs/secret", ""),
    ("api post /access/users -p userid=y@pve -p password=-", "secret"),
    ("api post /access/users -f inputs/user.json", ""),
    ("vm agent set-password 100 root --password @inputs/secret", ""),
    ("vm exec 100 -i -- echo", "secret"),
    ("vm file write 100 /tmp/x inputs/secret", ""),
    ("api put /access/password -p userid=audit@pve -f -", "password.json"),
];

/// What is asked afterwards.
const LOOKS: &[&str] = &[
    "vm get 101 -o yaml",
    "vm describe 101",
    "vm config history 101 -o json",
    "vm config diff 101 --from 1",
    "vm config rollback 101 --before 1 --dry-run -o json",
    "api get /nodes/pve2/qemu/101/config -vvv",
    "operation list -o json --limit 200",
    "operation export",
    "operation export --format csv",
    "operation verify",
    "config view --origin",
    "task list -o json",
];

/// Ways to be told more.
const FLAGS: &[&str] =
    &["", "--dry-run", "--dry-run -o json", "-v", "-vv", "-vvv", "-o json", "-vvv --error-format json"];

/// A secret as it may stand somewhere.
struct Secret(Vec<String>);

impl Secret {
    fn new(text: &str) -> Self {
        let quoted = |text: &str| {
            let quoted = Value::from(text).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        };
        let encoded = |space: &str| {
            let hex = |byte: u8| match byte {
                b if b.is_ascii_alphanumeric() => char::from(b).to_string(),
                b' ' => space.to_owned(),
                b => format!("%{b:02X}"),
            };
            text.bytes().map(hex).collect::<String>()
        };
        // A body in a line of the log is quoted twice.
        Self(vec![text.to_owned(), quoted(text), quoted(&quoted(text)), encoded("%20"), encoded("+")])
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        // Every form begins with the same letter, and few places do.
        let first = self.0[0].as_bytes()[0];
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| *byte == first) {
            if self.0.iter().any(|form| rest[at..].starts_with(form.as_bytes())) {
                return true;
            }
            rest = &rest[at + 1..];
        }
        false
    }
}

/// What was found where it must not be.
struct Search<'a> {
    env: &'a Env,
    secrets: Vec<Secret>,
    found: Vec<String>,
}

impl Search<'_> {
    fn has(&self, bytes: &[u8]) -> bool {
        self.secrets.iter().any(|secret| secret.is_in(bytes))
    }

    /// Looks at what a command said.
    fn after(&mut self, what: &str, said: &Output) {
        if self.has(said.raw.as_bytes()) {
            self.found.push(format!("stdout of `{what}`:\n{}", said.raw));
        }
        if self.has(said.stderr.as_bytes()) {
            self.found.push(format!("stderr of `{what}`:\n{}", said.stderr));
        }
    }

    /// Looks at everything that lies around.
    fn around(&mut self, what: &str) {
        self.below(what, &self.env.path(""));
    }

    fn below(&mut self, what: &str, directory: &Path) {
        const KEPT: &[&str] = &["inputs", "credentials.yaml", "sandbox.db", "sandbox.db-wal", "sandbox.db-shm"];
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name());
            if KEPT.iter().any(|kept| name == *kept) {
                continue;
            }
            // What is there for a moment only may be gone again.
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.below(what, &path),
                Ok(kind) if kind.is_file() && fs::read(&path).is_ok_and(|bytes| self.has(&bytes)) => {
                    self.found.push(format!("{} after `{what}`", path.display()));
                }
                _ => {}
            }
        }
    }
}

/// Puts the secret into every file that commands read it from.
fn give(env: &Env, secret: &str) {
    env.write("inputs/secret", &format!("{secret}\n"));
    for (name, content) in [
        ("vm.json", json!({"cipassword": secret, "cores": 2})),
        ("user.json", json!({"userid": "z@pve", "password": secret})),
        ("password.json", json!({"password": secret})),
    ] {
        env.write(&format!("inputs/{name}"), &content.to_string());
    }
    // Its own command line and that of whoever called it are noted.
    let script = "#!/bin/sh\ncat /proc/$$/cmdline /proc/$PPID/cmdline >> cmdlines 2> /dev/null\ncat inputs/secret\n";
    env.write("ask", script);
    let _ = env.shell("mkdir -p tmp && chmod +x ask");
}

/// A server in whose words the secret comes again, in those of refusals and of tasks.
fn echoing(env: &Env, secret: &str, action: &str) -> Server {
    let rule = format!("CHANGE /nodes/**:{action}=value '{secret}' will not do");
    assert!(rule.parse::<FaultRule>().is_ok(), "{rule}");
    // Quotes end words here, as in a shell.
    env.serve(&format!("--fault '{}'", rule.replace('\'', "`")))
}

fn run(env: &Env, (line, stdin): &(&str, &str), flags: &str) -> (String, Output) {
    let stdin =
        if stdin.is_empty() { String::new() } else { fs::read_to_string(env.path("inputs").join(stdin)).unwrap() };
    let line = format!("{line} {flags}");
    let said = env.run_with(&line, &stdin);
    (line, said)
}

/// All ways in, each with flags of its own.
fn push(secret: &str, flags: &[&str]) -> Vec<String> {
    let home = Env::new();
    let home = home.with("TMPDIR", home.path("tmp").to_str().unwrap());
    let home = home.with("XDG_RUNTIME_DIR", home.path("run").to_str().unwrap());
    give(&home, secret);
    let server = home.serve("");
    let mut search =
        Search { env: &home, secrets: vec![Secret::new(secret), Secret::new(server.secret())], found: Vec::new() };
    for (change, flags) in CHANGES.iter().zip(flags) {
        let (line, said) = run(&server, change, flags);
        // No token may change a password.
        assert_eq!(
            said.code,
            if line.contains("/access/password") && !line.contains("dry-run") { 5 } else { 0 },
            "{line}: {said}"
        );
        search.after(&line, &said);
    }
    for line in LOOKS {
        search.after(line, &server.run(line));
    }
    search.around("changes that went well");
    drop(server);
    for (action, flags) in [("die", "-vvv"), ("task-ends", "-vvv --error-format json -o json")] {
        let server = echoing(&home, secret, action);
        for change in CHANGES.iter().filter(|(line, _)| !line.contains("/access/")) {
            let (line, said) = run(&server, change, flags);
            // Otherwise nothing was repeated.
            let must_repeat = action == "die" || line.contains(" create ");
            assert!(said.stderr.contains("will not do") || !must_repeat, "{line}, {action}: {said}");
            search.after(&format!("{line}, {action}"), &said);
        }
        search.after("operation export", &server.run("operation export"));
    }
    mistakes(&home, secret, &mut search);
    credentials(&home, secret, &mut search);
    cut_off(&home, &mut search);
    #[cfg(target_os = "linux")]
    on_this_host(&home, &mut search);
    search.around("all of it");
    search.found
}

/// What stands on the command line by mistake is not said again.
fn mistakes(home: &Env, secret: &str, search: &mut Search<'_>) {
    let pair = |key: &str| format!("{key}={secret}");
    for words in [
        &["vm", "update", "101", "--cipassword", secret] as &[&str],
        &["vm", "update", "101", &format!("--cipassword={secret}"), "--nonsense"],
        &["vm", "update", "101", "--set", &pair("cipassword")],
        &["api", "post", "/access/users", "-p", "userid=x@pve", "-p", &pair("password")],
        &["api", "post", &format!("/access/users?userid=x@pve&password={secret}")],
        &["config", "add-context", "x", "--endpoint", &format!("https://root:{secret}@pve1:8006")],
    ] {
        let said = home.words(&[words, &["-vvv"]].concat());
        assert_eq!(said.code, 2, "{words:?}: {said}");
        search.after(&format!("{words:?}"), &said);
    }
}

/// Tokens and passwords that a server refuses, and such as are none.
fn credentials(home: &Env, secret: &str, search: &mut Search<'_>) {
    let server = home.serve("");
    for token in [format!("root@pam!pvectl={secret}"), secret.to_owned(), format!("root@pam={secret}")] {
        let said = server.with("PVECTL_TOKEN", &token).run("vm start 101 -vvv");
        assert_ne!(said.code, 0, "{said}");
        search.after("vm start with a wrong token", &said);
    }
    let bare = server.without("PVECTL_TOKEN").without("PVECTL_ENDPOINT");
    let add = format!("config add-context asks --endpoint {} --user root@pam --credential-command ./ask", server.url);
    search.after(&add, &bare.run(&add));
    let said = bare.run("vm start 101 -vvv").exits(4);
    search.after("vm start with a wrong password", &said);
    let stored =
        format!("config add-context stored --endpoint {} --user root@pam --password-file inputs/secret", server.url);
    search.after(&stored, &bare.run(&stored));
    for line in ["config view --origin", "config view -o json", "config get-contexts -o json", "vm list -vvv"] {
        search.after(line, &bare.run(&format!("{line} --context asks")));
        search.after(line, &bare.run(&format!("{line} --context stored")));
    }
    assert!(home.path("cmdlines").exists(), "the command for the password was run");
}

/// Killed in the middle.
fn cut_off(home: &Env, search: &mut Search<'_>) {
    let server = home.serve("--fault 'CHANGE /nodes/**:delay=100s'");
    let dying = server.spawn("vm update 101 --cipassword @inputs/secret -vvv");
    eventually("the request is planned", || (server.json("operation list")[0]["status"] == "sent").then_some(()));
    search.around("a change that waits");
    dying.kill();
    search.after("operation list", &server.run("operation list -o json"));
    search.after("operation export", &server.run("operation export"));
}

/// VMs of this host keep a password as its hash.
#[cfg(target_os = "linux")]
fn on_this_host(home: &Env, search: &mut Search<'_>) {
    let env = home.with("PVECTL_CONTEXT", "local").without("PVECTL_ENDPOINT");
    for line in [
        "vm create --vmid 300 --name here --disk 1G --cipassword @inputs/secret -vvv",
        "vm update 300 --cipassword @inputs/secret",
        "vm start 300 -vvv",
        "vm get 300 -o json",
        "vm config history 300 -o json",
        "operation export",
        "vm delete 300 --confirm",
    ] {
        search.after(&format!("{line} --context local"), &env.run(line));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_secret_comes_out_again(
        letters in vec(select(LETTERS), 12..20),
        flags in vec(select(FLAGS), CHANGES.len()),
    ) {
        // What is trimmed, or means something at the ends, is no part of it.
        let secret = format!("Q{}q", letters.into_iter().collect::<String>());
        let found = push(&secret, &flags);
        prop_assert!(found.is_empty(), "{secret} is in {} places:\n{}", found.len(), found.join("\n"));
    }
}
