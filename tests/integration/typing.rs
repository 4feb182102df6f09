//! Bad command lines and bad files: which word, which line, what is meant.

use insta::assert_snapshot;

use crate::harness::Env;

#[test]
fn bad_files_name_the_line() {
    crate::input::on_a_server(|server| {
        server.write("typo.json", "{\n  \"name\": \"a\",\n  \"memroy\": 2048\n}\n");
        assert_snapshot!(server.run("vm create -f typo.json"), @"
        exit 2
        --- stderr
        error: typo.json:3: unknown key `memroy`
        hint: did you mean `memory`?
        hint: a key that only a newer server has is sent with --force-param memroy=VALUE
        ");
        server.write("typo.yaml", "name: a\ncores: many\n");
        assert_snapshot!(server.run("vm create -f typo.yaml"), @"
        exit 2
        --- stderr
        error: typo.yaml:2: `cores` `many`: type check ('integer') failed - got 'many'
        hint: `cores` takes INTEGER (1 or more)
        ");
        assert_snapshot!(server.run("vm update 101 -f typo.json"), @"
        exit 2
        --- stderr
        error: typo.json:3: unknown key `memroy`
        hint: did you mean `memory`?
        hint: a key that only a newer server has is sent with --force-param memroy=VALUE
        ");
        server.write("broken.json", "{\"name\": \"a\",\n \"cores\": 2");
        assert_snapshot!(server.run("vm create -f broken.json"), @r#"
        exit 2
        --- stderr
        error: broken.json is neither JSON nor YAML that describes a guest: line 1 column 1: unclosed bracket '{'
         --> <input>:1:1
          |
        1 | {"name": "a",
          | ^ unclosed bracket '{'
        2 |  "cores": 2
          |
        "#);
        server.write("text.yaml", "this is no guest\n");
        assert_snapshot!(server.run("vm create -f text.yaml"), @r#"
        exit 2
        --- stderr
        error: text.yaml is neither JSON nor YAML that describes a guest: invalid type: string "this is no guest", expected a mapping of configuration keys, or a list of them
        "#);
        server.write("nested.yaml", "name: a\nscsi0:\n  size: 8\n");
        assert_snapshot!(server.run("vm create -f nested.yaml"), @"
        exit 2
        --- stderr
        error: nested.yaml:2: `scsi0`: a single value is expected here, not a mapping
        ");
        server.write("twice.yaml", "name: a\ncores: 1\ncores: 2\n");
        assert_snapshot!(server.run("vm create -f twice.yaml"), @"
        exit 2
        --- stderr
        error: twice.yaml is neither JSON nor YAML that describes a guest: line 3 column 1: duplicate mapping key: cores, set DuplicateKeyPolicy in Options if acceptable
         --> <input>:3:1
          |
        1 | name: a
        2 | cores: 1
        3 | cores: 2
          | ^ duplicate mapping key: cores, set DuplicateKeyPolicy in Options if acceptable
        ");
        server.write("empty.yaml", "");
        assert_snapshot!(server.run("vm create -f empty.yaml"), @"
        exit 2
        --- stderr
        error: empty.yaml describes no guest
        ");
        server.write("vmid.yaml", "vmid: 12\nname: a\n");
        assert_snapshot!(server.run("vm create -f vmid.yaml"), @"
        exit 2
        --- stderr
        error: vmid.yaml:1: `vmid`: VMID 12 is out of range: it must be between 100 and 999999999
        ");
        assert_snapshot!(server.run("vm create -f missing.json"), @"
        exit 2
        --- stderr
        error: cannot read missing.json
          caused by: No such file or directory (os error 2)
        ");
        assert_snapshot!(server.run("delete -f typo.yaml"), @"
        exit 2
        --- stderr
        error: this asks for confirmation, and there is no terminal to ask on
        hint: give --confirm to go ahead, or --dry-run to see what would be done
        ");
    });
}

#[test]
fn nobody_to_confirm_is_refused_before_anything_is_looked_at() {
    let server = Env::new().serve("");
    assert_snapshot!(server.run("vm delete 101"), @"
    exit 2
    --- stderr
    error: this asks for confirmation, and there is no terminal to ask on
    hint: give --confirm to go ahead, or --dry-run to see what would be done
    ");
    assert_snapshot!(server.run("vm delete 999"), @"
    exit 2
    --- stderr
    error: this asks for confirmation, and there is no terminal to ask on
    hint: give --confirm to go ahead, or --dry-run to see what would be done
    ");
    assert_snapshot!(server.run("delete vm 101"), @"
    exit 2
    --- stderr
    error: this asks for confirmation, and there is no terminal to ask on
    hint: give --confirm to go ahead, or --dry-run to see what would be done
    ");
    server.write("a.yaml", "vmid: 101");
    assert_snapshot!(server.run("delete -f a.yaml"), @"
    exit 2
    --- stderr
    error: this asks for confirmation, and there is no terminal to ask on
    hint: give --confirm to go ahead, or --dry-run to see what would be done
    ");
    assert_eq!(server.requests(), [""; 0]);
}

#[test]
fn the_command_line_itself() {
    let env = Env::new();
    assert_snapshot!(env.run("vm lsit"), @"
    exit 2
    --- stderr
    error: unrecognized subcommand 'lsit'

      tip: some similar subcommands exist: 'ls', 'list'

    Usage: pvectl vm [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
    assert_snapshot!(env.run("vm firewall rule list 100"), @"
    exit 2
    --- stderr
    error: unrecognized subcommand 'firewall'

    Usage: pvectl vm [OPTIONS] <COMMAND>

    For more information, try '--help'.

    hint: it is a command of its own: pvectl firewall --help
    ");
    assert_snapshot!(env.run("vm list --stauts running"), @"
    exit 2
    --- stderr
    error: unexpected argument '--stauts' found

      tip: a similar argument exists: '--status'

    Usage: pvectl vm list --status <STATUS>

    For more information, try '--help'.
    ");
    assert_snapshot!(env.run("vm list -o jsn"), @"
    exit 2
    --- stderr
    error: unknown output format `jsn`, known are table, wide, json, yaml, name, csv, jsonpath=TEMPLATE, custom-columns=NAME:PATH,…
    hint: did you mean `json` or `jsonpath`?
    ");
    assert_snapshot!(env.run("vm list --sort-by memroy"), @"
    exit 2
    --- stderr
    error: no row has a field `memroy` to sort by; columns are vmid, name, status, node, cpus, memory, uptime, tags, cpu%, mem used, disk, pool, lock, type, node status
    hint: did you mean `memory`?
    ");
    assert_snapshot!(env.run("get vmz"), @"
    exit 2
    --- stderr
    error: unknown kind `vmz`, known are vms, containers, tasks, operations, nodes, storages, backups, pools, users, groups, roles, realms, tokens, acls, permissions, backup-jobs, replications, ha-resources, mappings, firewall-rules, clusters, metric-servers, images, networks
    hint: did you mean `vm` or `vms`?
    ");
    assert_snapshot!(env.run("vm list --timeout soon"), @"
    exit 2
    --- stderr
    error: `soon` is not a duration: a number with a unit is expected, such as 30s, 10m or 1h
    ");
    assert_snapshot!(env.run("vm start 100 --wait --no-wait"), @"
    exit 2
    --- stderr
    error: the argument '--wait' cannot be used with '--no-wait'

    Usage: pvectl vm start --wait [TARGET]...

    For more information, try '--help'.
    ");
    assert_snapshot!(env.run("vm create --name a --start --no-wait"), @"
    exit 2
    --- stderr
    error: --no-wait is for what is one call; this takes several, of which each waits for the one before
    hint: see the calls with --dry-run
    ");
    assert_snapshot!(env.run("vm create"), @"
    exit 2
    --- stderr
    error: say what vm to create: flags, or -f FILE (see --help)
    ");
    assert_snapshot!(env.run("vm list --context nowhere"), @"
    exit 3
    --- stderr
    error: context `nowhere` does not exist
    hint: there is no configuration file; `pvectl config add-context` makes it
    ");
    assert_snapshot!(env.run("sandbox serve --listen 127.0.0.1:0 --fault 'GET /version:explode'"), @"
    exit 2
    --- stderr
    error: `GET /version:explode` is no fault: the actions are delay=TIME, delay-after=TIME, reset-before, reset-after, status=CODE, status-after=CODE, truncate-after, die=TEXT, down-after=TIME and task-ends=TEXT
    ");
}

#[test]
fn errors_as_json() {
    let env = Env::new();
    assert_snapshot!(env.run("vm start 999 wbe-1 --error-format json"), @r#"
    exit 3
    --- stderr
    {"error":{"class":"not-found","exit_code":3,"message":"no such vm: `999`, `wbe-1`","http_status":null,"params":{},"causes":[],"hints":["did you mean `web-1` or `web-2`?"],"may_have_happened":false}}
    "#);
    assert_snapshot!(env.run("vm create --name a --cores 0 --error-format json"), @r#"
    exit 2
    --- stderr
    {"error":{"class":"usage","exit_code":2,"message":"`cores` `0`: value must have a minimum value of 1","http_status":null,"params":{},"causes":[],"hints":["`cores` takes INTEGER (1 or more)"],"may_have_happened":false}}
    "#);
    assert_snapshot!(env.run("vm delete 100 --confirm --error-format json"), @r#"
    exit 6
    --- stdout
    VMID  NAME   NODE  VERB    STATUS  CHANGED  EXIT STATUS
     100  web-1  pve1  delete  failed  no       -
    --- stderr
    {"error":{"class":"conflict","exit_code":6,"message":"cannot delete vm/100 (web-1): it is running","http_status":null,"params":{},"causes":[],"hints":["stop it first (pvectl vm stop 100), or give --force"],"may_have_happened":false}}
    "#);
    assert_snapshot!(env.run("vm lsit --error-format=json"), @r#"
    exit 2
    --- stderr
    {"error":{"class":"usage","exit_code":2,"message":"unrecognized subcommand 'lsit'","http_status":null,"params":{},"causes":[],"hints":["did you mean `ls` or `list`?"],"may_have_happened":false}}
    "#);
}
