//! Whom to talk to, as who, and whom to trust.

use insta::assert_snapshot;

use crate::harness::Env;

#[test]
fn a_fresh_account_gets_the_sandbox_and_is_told() {
    let env = Env::bare();
    assert_snapshot!(env.run("vm list -o name"), @"
    exit 0
    --- stdout
    vm/100
    vm/101
    vm/102
    vm/103
    vm/9000
    --- stderr
    using the built-in sandbox, a simulated cluster (add your own with `pvectl config add-context`)
    ");
    assert_snapshot!(env.run("config get-contexts"), @"
    exit 0
    --- stdout
    CURRENT  NAME     KIND      ENDPOINTS  IDENTITY
    *        sandbox  built-in  -          -
    ");
    assert_snapshot!(env.run("config view --origin"), @"
    exit 0
    --- stdout
    file          ~/.config/pvectl/config.yaml
    journal       ~/.local/state/pvectl/journal.db
    context       sandbox  (default)
    output        table  (default)
    color         auto  (default)
    error-format  text  (default)
    ");
}

#[test]
fn contexts_are_added_used_and_removed() {
    let server = Env::new().serve("");
    let env = Env::bare();
    env.write("token", &server.token);
    let add = format!("config add-context lab --endpoint {} --token-file token", server.url);
    assert_snapshot!(env.run(&add), @"
    exit 0
    --- stderr
    context `lab` is in ~/.config/pvectl/config.yaml, and is current
    ");
    assert_snapshot!(env.run("vm list -o name"), @"
    exit 0
    --- stdout
    vm/100
    vm/101
    vm/102
    vm/103
    vm/9000
    ");
    assert_snapshot!(env.run(&add), @"
    exit 6
    --- stderr
    error: context `lab` already exists
    hint: --overwrite replaces it
    ");
    let second = format!("config add-context spare --endpoint {} --token-file token --read-only", server.url);
    assert_snapshot!(env.run(&second), @"
    exit 0
    --- stderr
    context `spare` is in ~/.config/pvectl/config.yaml
    ");
    assert_snapshot!(env.run("config get-contexts"), @"
    exit 0
    --- stdout
    CURRENT  NAME     KIND      ENDPOINTS               IDENTITY
    *        lab      proxmox   http://127.0.0.1:PORT  root@pam!pvectl
             spare    proxmox   http://127.0.0.1:PORT  root@pam!pvectl
             sandbox  built-in  -                       -
    ");
    assert_snapshot!(env.run("config use-context spare"), @"
    exit 0
    --- stderr
    context `spare` is current
    ");
    assert_snapshot!(env.run("config view --origin"), @"
    exit 0
    --- stdout
    file          ~/.config/pvectl/config.yaml
    journal       ~/.local/state/pvectl/journal.db
    endpoints     http://127.0.0.1:PORT  (context spare)
    identity      root@pam!pvectl  (context spare)
    secret        credentials file  (context spare)
    read-only     true  (context spare)
    context       spare  (config file)
    output        table  (default)
    color         auto  (default)
    error-format  text  (default)
    ");
    assert_snapshot!(env.run("vm start 101"), @"
    exit 5
    --- stderr
    error: changes are switched off (context spare: read-only)
    hint: --dry-run shows what would be done; to allow changes, take `read-only: true` of `spare` out of config.yaml
    ");
    assert_snapshot!(env.run("vm start 101 --context lab -o json"), @r#"
    exit 0
    --- stdout
    {
      "vmid": 101,
      "name": "web-2",
      "node": "pve2",
      "verb": "start",
      "status": "ok",
      "upid": "UPID:pve2:…:qmstart:101:root@pam!pvectl:",
      "exit_status": "OK",
      "changed": true,
      "context": "lab"
    }
    --- stderr
    starting vm/101 (web-2)
      vm/101 (web-2): task UPID:pve2:…:qmstart:101:root@pam!pvectl:
    ✓ vm/101 (web-2) started (0.0s)
    "#);
    assert_snapshot!(env.run("vm list -o name --context sandbox"), @"
    exit 0
    --- stdout
    vm/100
    vm/101
    vm/102
    vm/103
    vm/9000
    ");
    assert_snapshot!(env.run("config remove-context spare"), @"
    exit 0
    --- stderr
    context `spare` and its credentials are removed
    warning: it was the current one: choose another with `pvectl config use-context NAME`
    ");
    assert_snapshot!(env.run("vm list"), @"
    exit 2
    --- stderr
    error: no context is current in `~/.config/pvectl/config.yaml`
    hint: choose one with `pvectl config use-context NAME` or --context; there are lab
    ");
    assert_snapshot!(env.run("config use-context nowhere"), @"
    exit 3
    --- stderr
    error: context `nowhere` does not exist
    hint: contexts come from `~/.config/pvectl/config.yaml`
    ");
    assert_snapshot!(env.run("config remove-context lab"), @"
    exit 0
    --- stderr
    context `lab` and its credentials are removed
    ");
}

fn walk(env: &Env) -> Vec<(String, String)> {
    fn below(path: &std::path::Path, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(path).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                below(&entry.path(), found);
            } else {
                let bytes = std::fs::read(entry.path()).unwrap();
                found.push((entry.path().display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
            }
        }
    }
    let mut found = Vec::new();
    below(&env.path(""), &mut found);
    found
}

#[test]
fn secrets_lie_in_the_credentials_file_and_nowhere_else() {
    let server = Env::new().serve("");
    let env = Env::bare();
    env.write("token", &server.token);
    let add = format!("config add-context lab --endpoint {} --token-file token", server.url);
    let _ = env.run(&add).ok();
    std::fs::remove_file(env.path("token")).unwrap();
    let said = env.run("vm start 101 -vvv").ok();
    assert!(!said.stderr.contains(server.secret()), "{said}");
    let with_it: Vec<String> =
        walk(&env).into_iter().filter(|(_, text)| text.contains(server.secret())).map(|(path, _)| path).collect();
    assert_eq!(with_it, [env.path(".config/pvectl/credentials.yaml").display().to_string()]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&with_it[0]).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn the_environment_alone_is_enough() {
    let server = Env::new().serve("");
    let env = Env::bare().with("PVECTL_ENDPOINT", &server.url);
    let file = env.write("token", &server.token);
    assert_snapshot!(env.with("PVECTL_TOKEN", &server.token).run("vm list -o name"), @"
    exit 0
    --- stdout
    vm/100
    vm/101
    vm/102
    vm/103
    vm/9000
    ");
    assert_snapshot!(
        env.with("PVECTL_TOKEN_FILE", file.to_str().unwrap()).run("vm list -o name --sort-by name"), @"
    exit 0
    --- stdout
    vm/103
    vm/102
    vm/9000
    vm/100
    vm/101
    ");
    assert_snapshot!(env.run("vm list"), @"
    exit 2
    --- stderr
    error: PVECTL_ENDPOINT is set, but no credentials are
    hint: set PVECTL_TOKEN_FILE to the path of a file with an API token
    ");
    assert_snapshot!(env.with("PVECTL_TOKEN_FILE", "/nowhere").run("vm list"), @"
    exit 2
    --- stderr
    error: cannot read the token file `/nowhere`: No such file or directory (os error 2)
    ");
    assert_snapshot!(env.with("PVECTL_TOKEN", "nonsense").run("vm list"), @"
    exit 2
    --- stderr
    error: PVECTL_TOKEN holds no API token: the token's name is missing
    hint: expected is one line, `USER@REALM!NAME=SECRET`, as in `ci@pve!deploy=…`
    ");
}

#[test]
fn what_is_half_configured_is_never_the_sandbox() {
    let env = Env::bare();
    assert_snapshot!(env.with("PVECTL_CONFIG", &env.path("nowhere.yaml").display().to_string()).run("vm list"), @"
    exit 2
    --- stderr
    error: the configuration file `~/nowhere.yaml` named by PVECTL_CONFIG does not exist
    hint: `pvectl config add-context` makes it; or unset PVECTL_CONFIG
    ");
    assert_snapshot!(env.with("PVECTL_TOKEN", "root@pam!a=b").run("vm list"), @"
    exit 2
    --- stderr
    error: PVECTL_TOKEN is set, but nothing says which server to talk to
    hint: set PVECTL_ENDPOINT too, or add a context with `pvectl config add-context`
    ");
    assert_snapshot!(env.with("PVECTL_FINGERPRINT", "AA").run("vm list"), @"
    exit 2
    --- stderr
    error: PVECTL_FINGERPRINT is set, but nothing says which server to talk to
    hint: set PVECTL_ENDPOINT too, or add a context with `pvectl config add-context`
    ");
    assert_snapshot!(env.with("PVECTL_CONTEXT", "lab").run("vm list"), @"
    exit 3
    --- stderr
    error: PVECTL_CONTEXT: context `lab` does not exist
    hint: there is no configuration file; `pvectl config add-context` makes it
    ");
    env.write(".config/pvectl/config.yaml", "contexts: []\n");
    assert_snapshot!(env.run("vm list"), @"
    exit 2
    --- stderr
    error: `~/.config/pvectl/config.yaml` has no context
    hint: add one with `pvectl config add-context`, or try `--context sandbox`
    ");
    env.write(".config/pvectl/config.yaml", "contexts: [}\n");
    assert_snapshot!(env.run("vm list"), @"
    exit 2
    --- stderr
    error: `~/.config/pvectl/config.yaml`, line 1, column 11: mismatched bracket '[' closed by '}'
    ");
    env.write(".config/pvectl/config.yaml", "contxts: {}\n");
    assert_snapshot!(env.run("vm list"), @"
    exit 2
    --- stderr
    error: `~/.config/pvectl/config.yaml`, line 1, column 1: unknown key `contxts`
    hint: did you mean `contexts`?
    ");
    assert!(!env.path(".local/state/pvectl/sandbox.db").exists());
}
