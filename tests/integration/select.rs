//! Selectors on the command line: what they choose, and that mistakes are found before anything is sent.

use insta::assert_snapshot;

use crate::harness::{Env, NOBODY};

#[test]
fn labels_are_tags() {
    let env = Env::new();
    let names = |flags: &str| env.run(&format!("{flags} -o name")).ok().raw.lines().collect::<Vec<_>>().join(" ");
    assert_eq!(names("vm list -l app=web"), "vm/100 vm/101");
    assert_eq!(names("vm list --selector 'app in (db,web),tier!=front'"), "vm/102");
    assert_eq!(names("vm list -l 'app notin (web)'"), "vm/102 vm/103 vm/9000");
    assert_eq!(names("vm list -l build"), "vm/103");
    assert_eq!(names("vm list -l '!app,!build'"), "vm/9000");
    assert_eq!(names("vm list -l app -l tier=front --status running"), "vm/100");
    assert_eq!(names("get vms -l app=db"), "vm/102");
    assert_eq!(names("vm get -l app=db"), "vm/102");
    assert_eq!(names("container list -l app"), names("get ct -l app"));
}

#[test]
fn kinds_without_tags_say_so() {
    let env = Env::new();
    assert_snapshot!(env.run("get nodes -l app=web"), @"
    exit 2
    --- stderr
    error: nodes have no labels to select by
    hint: labels are the tags of vms and containers; `--field-selector status=…` looks at the fields of any kind
    ");
    for command in ["node list", "task list", "operation list", "node get", "get tasks", "get operations"] {
        let _ = env.run(&format!("{command} -l app")).exits(2).says(&["have no labels to select by"]);
    }
    assert_snapshot!(env.run("get nodes --status online"), @"
    exit 2
    --- stderr
    error: nodes have no --status
    ");
    assert_snapshot!(env.run("vm get 100 --status running"), @"
    exit 2
    --- stderr
    error: the argument '[TARGET]...' cannot be used with '--status <STATUS>'

    Usage: pvectl vm get [TARGET]...

    For more information, try '--help'.
    ");
}

#[test]
fn fields_are_data() {
    let env = Env::new();
    let names =
        |flags: &str| env.run(&format!("vm list {flags} -o name")).ok().raw.lines().collect::<Vec<_>>().join(" ");
    assert_eq!(names("--field-selector status=running,node!=pve1"), "vm/102");
    assert_eq!(names("--field-selector 'maxmem>=2G,template=false'"), "vm/100 vm/101 vm/102");
    assert_eq!(names("--field-selector pool="), "vm/101 vm/103 vm/9000");
    assert_eq!(names("--field-selector cpus=4"), "vm/102");
    assert_eq!(names("--field-selector lock=backup"), "", "a column's field is known where no row has it");
    assert_eq!(names("--sort-by node,-name"), "vm/100 vm/9000 vm/101 vm/102 vm/103");
    assert_eq!(names("--sort-by cpus,memory,-vmid"), "vm/9000 vm/103 vm/101 vm/100 vm/102");
    let cores = env.run("vm get 100,101,102 --field-selector 'config.memory>2G' -o 'jsonpath=items[*].config.cores'");
    assert_eq!(cores.ok().raw, "4\n");
    assert_snapshot!(env.run("vm list --field-selector stauts=running"), @"
    exit 2
    --- stderr
    error: no row has a field `stauts` to filter by; columns have vmid, name, status, node, maxcpu, maxmem, uptime, tags, cpu, mem, maxdisk, pool, lock, type, node_status
    hint: did you mean `status`?
    ");
    assert_snapshot!(env.run("vm list --field-selector 'maxmem>much'"), @"
    exit 2
    --- stderr
    error: `maxmem` holds numbers, and `much` is none: a number or a size such as 4G is expected
    ");
    assert_snapshot!(env.run("vm delete 100,101 --field-selector status=stopped --confirm"), @"
    exit 2
    --- stderr
    error: --field-selector chooses what is printed, not what is changed
    hint: choose with a list: `pvectl vm list --field-selector … -o name` prints targets
    ");
    assert_eq!(env.json("vm list").as_array().unwrap().len(), 5);
}

#[test]
fn mistakes_are_found_before_anything_is_sent() {
    let env = Env::new().with("PVECTL_TOKEN", "root@pam!t=00000000-0000-0000-0000-000000000000");
    for flags in [
        "-o jsnpath={.x}",
        "-o jsonpath={.x",
        "-o jsonpath",
        "-o json=x",
        "-o custom-columns=A",
        "-o custom-columns=A:.b[",
        "--jq '.['",
        "--jq nmae",
        "--jq env",
        "--jq . -o yaml",
        "--sort-by ,",
        "--field-selector status",
        "--field-selector '>1'",
    ] {
        for command in
            ["vm list", "node list", "task list", "vm get 100", "vm describe 100", "vm start 100", "version --server"]
        {
            let _ = env.run(&format!("{command} --host {NOBODY} {flags}")).exits(2);
        }
    }
    let _ = env.run(&format!("vm list --host {NOBODY} -l 'app in (web'")).exits(2);
    // It is the text that is wrong: with another one they get as far as the server.
    let _ = env.run(&format!("vm list --host {NOBODY} -l app --jq . --sort-by name --field-selector a=b")).exits(10);
    assert!(env.json("operation list").as_array().unwrap().is_empty());
}

#[test]
fn jq_sees_the_data_alone() {
    let env = Env::new().with("SECRET", "s3cret").with("PVECTL_OUTPUT", "yaml");
    for expression in ["env", "$ENV.SECRET", "input", "include \"a\"; .", "import \"a\" as $a; $a", "halt"] {
        let output = env.run(&format!("vm list --jq '{expression}'")).exits(2);
        assert!(!output.to_string().contains("s3cret"), "{output}");
    }
    assert_snapshot!(env.run("vm list --jq '.[] | nmae'"), @"
    exit 2
    --- stderr
    error: `.[] | nmae` is not a jq expression, at character 7: there is no filter `nmae`
    ");
    assert_snapshot!(env.run("config get-contexts --jq '.name'"), @r#"
    exit 1
    --- stderr
    error: jq `.name`: cannot index [{"name":"sandbox","current":true,"kind":"built-in","endpoints":[],"identity":null}] with "name"
    hint: the data is an array: `.[]` goes through it
    "#);
    assert_snapshot!(env.run("vm list --jq '.[:2][] | [.vmid, .name] | @csv'"), @r#"
    exit 0
    --- stdout
    100,"web-1"
    101,"web-2"
    "#);
}
