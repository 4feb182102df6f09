//! Completion as shells ask for it: in a real bash, by the words of every shell's script, without a server, from the
//! cache. And the table of kinds.

use std::fs;

use insta::assert_snapshot;
use serde_json::Value;

use crate::harness::{Env, NOBODY, PVECTL, Server};

/// A variable with which completion waits for its server as long as it takes: no test is about speed.
const PATIENT: (&str, &str) = ("PVECTL_COMPLETE_WAIT", "2m");

/// An account that has never seen pvectl.
fn bare() -> Env {
    Env::bare().with(PATIENT.0, PATIENT.1)
}

/// An account with a fresh sandbox.
fn account() -> Env {
    Env::new().with(PATIENT.0, PATIENT.1)
}

/// Types lines into an interactive bash that has the printed script, and gives the words that each command then had,
/// and what bash showed.
fn in_bash(env: &Env, setup: &str, lines: &[&str]) -> Option<(Vec<String>, String)> {
    let begin = format!(
        "bind 'set enable-bracketed-paste off'; bind 'set page-completions off'; bind 'set completion-query-items 0'\n\
         said() {{ printf '<%s>' \"$@\" >>said; echo >>said; }}\n\
         pvectl() {{ said \"$@\"; }}\n{setup}\n"
    );
    let _ = fs::remove_file(env.path("said"));
    let typed = begin + &lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let Some(output) = env.with("INPUTRC", "/dev/null").other("bash", &["--norc", "-i"], &typed) else {
        eprintln!("SKIPPED: no bash to complete in");
        return None;
    };
    let said = fs::read_to_string(env.path("said")).unwrap_or_default();
    Some((said.lines().map(str::to_owned).collect(), output.stderr))
}

fn installed() -> String {
    format!("source <('{PVECTL}' completion bash)")
}

/// Asks as the script of a shell does.
fn ask(env: &Env, shell: &str, words: &[&str]) -> String {
    let output = env.with("PVECTL_COMPLETE", shell).words(words).ok();
    assert_eq!(output.stderr, "", "{output}");
    output.raw
}

/// The candidates alone.
fn values(env: &Env, words: &[&str]) -> Vec<String> {
    let said = ask(env, "fish", &[&["pvectl"], words].concat());
    said.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

#[test]
fn bash_completes_what_is_typed() {
    let env = account();
    let _ = env.run("vm start 101").ok();
    env.write("notes and more.yaml", "");
    let lines = [
        // Commands, flags, fixed values, values of the contract.
        ("pvectl vm sus\t100", "<vm><suspend><100>"),
        ("pvectl cont\tli\t--no-h\t", "<container><list><--no-headers>"),
        ("pvectl vm list -o js\t", "<vm><list><-o><json>"),
        ("pvectl vm list --color=al\t", "<vm><list><--color=always>"),
        ("pvectl vm create --bios ov\t", "<vm><create><--bios><ovmf>"),
        ("pvectl vm create --set bios=ov\t", "<vm><create><--set><bios=ovmf>"),
        ("pvectl vm create --net0 virtio,bri\tvm\t--start", "<vm><create><--net0><virtio,bridge=vmbr0><--start>"),
        // What there is in the sandbox, of the right kind only.
        ("pvectl vm stop web\t1", "<vm><stop><web-1>"),
        ("pvectl vm stop web-1\t", "<vm><stop><web-1>"),
        ("pvectl vm stop 101,102,10\t3", "<vm><stop><101,102,103>"),
        ("pvectl container start dn\t", "<container><start><dns>"),
        ("pvectl container start web\t", "<container><start><web>"),
        ("pvectl get nodes pve2\t", "<get><nodes><pve2>"),
        ("pvectl vm list --node=pve3\t--quiet", "<vm><list><--node=pve3><--quiet>"),
        (
            "pvectl container create --template local:vztmpl/d\t",
            "<container><create><--template><local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst>",
        ),
        ("pvectl --context vm vm li\t", "<--context><vm><vm><list>"),
        // The API, segment by segment.
        ("pvectl api get /no\tpve1\tqe\t100\tconf\t", "<api><get></nodes/pve1/qemu/100/config>"),
        (
            "pvectl api post /nodes/pve1/qemu/100/clone -p ful\t1 -p target=pve2\t",
            "<api><post></nodes/pve1/qemu/100/clone><-p><full=1><-p><target=pve2>",
        ),
        ("pvectl explain vm.memo\t", "<explain><vm.memory>"),
        ("pvectl explain /nodes/{node}/qemu pos\t", "<explain></nodes/{node}/qemu><post>"),
        // Quotes of every kind, and a cursor that is not at the end.
        ("pvectl vm stop \"web-1\t", "<vm><stop><web-1>"),
        ("pvectl vm stop 'web-1\t", "<vm><stop><web-1>"),
        ("pvectl vm sto\\p dns; pvectl vm stop db\t", "<vm><stop><dns>\n<vm><stop><db-1>"),
        ("pvectl vm create -f notes\t", "<vm><create><-f><notes and more.yaml>"),
        ("pvectl vm create --ssh-key @not\t", "<vm><create><--ssh-key><@notes and more.yaml>"),
        (
            "pvectl api put /nodes/pve1/qemu/100/config -p description=@~/not\t",
            "<api><put></nodes/pve1/qemu/100/config><-p><description=@~/notes and more.yaml>",
        ),
        ("pvectl vm li --quiet\u{1}\u{1b}f\u{1b}f\u{1b}f\t", "<vm><list><--quiet>"),
    ];
    let typed: Vec<&str> = lines.iter().map(|(typed, _)| *typed).collect();
    let Some((said, _)) = in_bash(&env, &installed(), &typed) else { return };
    let wanted: Vec<&str> = lines.iter().flat_map(|(_, words)| words.lines()).collect();
    assert_eq!(said, wanted);
}

#[test]
fn bash_completes_words_that_it_splits_itself() {
    let env = account();
    let _ = env.run("vm start 101").ok();
    let upid = env.json("task list")[0]["upid"].as_str().unwrap().to_owned();
    assert!(upid.starts_with("UPID:pve2:") && upid.ends_with("root@pam!pvectl:"), "{upid}");
    let server = env.serve("");
    env.write("token", &server.token);
    let env = env.without("PVECTL_CONTEXT");
    for name in ["lab-one", "lab-two"] {
        let _ = env.run(&format!("config add-context {name} --endpoint {} --token-file token", server.url)).ok();
    }
    let lines = [
        "pvectl task get UPID:\t",
        "pvectl task get UPID:pve2\t",
        "pvectl task get \"UPID:pve2:\t",
        "pvectl config use-context lab-o\t",
        "pvectl --context=lab-o\tvm stop we\t2",
        "pvectl --host http://127\t",
    ];
    let Some((said, _)) = in_bash(&env, &installed(), &lines) else { return };
    let host = format!("<--host><{}>", server.url);
    let task = format!("<task><get><{upid}>");
    let want =
        [&*task, &*task, &*task, "<config><use-context><lab-one>", "<--context=lab-one><vm><stop><web-2>", &host];
    assert_eq!(said, want);
}

#[test]
fn bash_lists_with_descriptions() {
    let env = account();
    let Some((_, shown)) = in_bash(&env, &installed(), &["pvectl vm start \t\t"]) else { return };
    for line in ["web-2      (101, stopped, pve2)", "101        (web-2, stopped, pve2)"] {
        assert!(shown.contains(line), "{shown}");
    }
    assert!(!shown.contains("proxy") && !shown.contains("--dry-run"), "{shown}");
    // What there is something to do for stands first.
    assert!(shown.find("web-2 ") < shown.find("web-1 "), "{shown}");
}

#[cfg(unix)]
#[test]
fn bash_completes_by_any_name() {
    let env = account();
    fs::create_dir_all(env.path("bin")).unwrap();
    std::os::unix::fs::symlink(PVECTL, env.path("bin/pve-lab")).unwrap();
    // Found on PATH at each key press; the alias is a name of its own to bash.
    let setup = "source <(pve-lab completion bash --command p)\nalias p=said\nfunction pve-lab() { if [[ ${PVECTL_COMPLETE-} ]]; then command pve-lab \"$@\"; else said \"$@\"; fi; }";
    let Some((said, _)) = in_bash(&env, setup, &["pve-lab vm sus\t100", "p vm stop db\t", "pvectl vm sus\t1"]) else {
        return;
    };
    assert_eq!(said, ["<vm><suspend><100>", "<vm><stop><db-1>", "<vm><sus1>"]);
    assert_snapshot!(env.run("completion bash --command 'a b'"), @"
    exit 2
    --- stderr
    error: `a b` is no name of a command
    ");
}

#[test]
fn every_shell_is_told_in_its_own_words() {
    let env = account();
    let said = |shell, words: &[&str]| ask(&env, shell, words);
    assert_snapshot!(said("fish", &["pvectl", "container", "stop", ""]), @"
    proxy	110, running, pve1
    dns	111, stopped, pve3
    110	proxy, running, pve1
    111	dns, stopped, pve3
    ");
    assert_snapshot!(said("zsh", &["pvectl", "vm", "create", "--bios", ""]), @"
    wseabios:default
    wovmf
    ");
    assert_snapshot!(said("zsh", &["pvectl", "vm", "create", "--scsi0", "lo"]), @r"blocal-lvm\::lvmthin: images,rootdir");
    assert_snapshot!(said("elvish", &["pvectl", "config", "use-context", ""]), @"sandbox	 	sandbox  (built-in)");
    assert_snapshot!(said("powershell", &[":pvectl", ":vm", ":sus"]), @"suspend	suspend	Save memory to disk and power off; `start` or `resume` goes on");
    let rows: Value = serde_json::from_str(&said("nushell", &["pvectl", "vm", "stop", "web-1"])).unwrap();
    assert_eq!(rows, serde_json::json!([{"value": "web-1", "description": "100, running, pve1"}]));
    assert_eq!(said("nushell", &["pvectl", "nothing", ""]), "[]\n");
    assert_eq!(said("nushell", &["pvectl", "vm", "create", "-f", ""]), "null\n");
    assert_eq!(said("bash", &["pvectl vm list > fi", "fi", "9"]), ":files\n");
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(!said(shell, &[]).contains("vm"), "{shell}: a line without anything");
        assert_eq!(said(shell, &["pvectl", "vm", "start", "nobody", "\u{1}\u{7f}"]), "");
    }
    assert_eq!(said("tcsh", &["pvectl", ""]), "", "a shell that is not known");
}

#[test]
fn sources_by_the_name_of_the_argument() {
    let env = account();
    let _ = env.run("vm start 101").ok();
    for (words, some) in [
        (&["get", ""][..], &["vms", "containers", "nodes"][..]),
        (&["describe", "c"], &["container"]),
        (&["help", ""], &["vm", "exit-codes", "environment"]),
        (&["help", "vm", "li"], &["list"]),
        (&["vm", "list", "--sort-by", "-me"], &["-memory", "-mem"]),
        (&["vm", "list", "--tag", ""], &["app.web", "tier.front"]),
        (&["vm", "list", "--status", ""], &["running", "stopped"]),
        (&["vm", "list", "--pool", ""], &["prod"]),
        (&["vm", "list", "-l", "tier=front,app"], &["tier=front,app=web", "tier=front,app=db"]),
        (&["vm", "list", "-l", "app!=w"], &["app!=web"]),
        (&["vm", "list", "-l", "app in (w"], &[]),
        (&["vm", "list", "--field-selector", "maxm"], &["maxmem="]),
        (&["vm", "list", "--sort-by", "node,-me"], &["node,-memory"]),
        (&["vm", "list", "-o", "j"], &["json", "jsonpath="]),
        (&["vm", "create", "--template", "d"], &["debian-12"]),
        (&["vm", "create", "--storage", ""], &["local", "local-lvm"]),
        (&["vm", "update", "100", "--set", "tags=app.web,"], &["tags=app.web,tier.front"]),
        (&["vm", "update", "100", "--unset", "name,onb"], &["name,onboot"]),
        (&["vm", "start", "pve3/"], &["pve3/103"]),
        (&["operation", "show", ""], &["1"]),
        (&["api-resources", "--verb", "sus"], &["suspend"]),
        (&["api", "get", "/nodes/pve1/tasks/"], &[]),
        (&["api", "ls", "/acc"], &["/access/"]),
        (&["explain", "vm.net0.br"], &["vm.net0.bridge"]),
        (&["config", "remove-context", ""], &[]),
        (&["config", "add-context", ""], &[]),
        (&["vm", "create", "--vmid", ""], &[]),
    ] {
        let found = values(&env, words);
        assert!(some.iter().all(|value| found.iter().any(|have| have == value)), "{words:?}: {found:?}");
        assert_eq!(found.is_empty(), some.is_empty(), "{words:?}: {found:?}");
    }
    let others = values(&env, &["vm", "start", "web-1", ""]);
    assert!(
        others.iter().any(|value| value == "web-2") && !others.iter().any(|value| value == "web-1" || value == "100")
    );
    assert!(values(&env, &["vm", "start", "web-1,"]).iter().all(|value| !value.ends_with(",web-1")));
    assert_eq!(values(&env, &["vm", "create", "--template", ""]), ["debian-12", "9000"]);
}

/// An account whose context is a server, by token.
fn on_a_server(flags: &str) -> (Env, Server) {
    let env = account();
    let server = env.serve(flags);
    env.write("token", &server.token);
    let env = env.without("PVECTL_CONTEXT");
    let _ = env.run(&format!("config add-context lab --endpoint {} --token-file token", server.url)).ok();
    (env, server)
}

#[test]
fn the_second_key_press_asks_nobody() {
    let (env, mut server) = on_a_server("");
    let before = server.requests().len();
    let first = values(&env, &["vm", "start", "w"]);
    assert_eq!(first, ["web-2", "web-1"]);
    assert_eq!(server.requests()[before..], ["GET /cluster/resources 200"]);
    assert_eq!(values(&env, &["vm", "start", "w"]), first);
    assert_eq!(values(&env, &["vm", "list", "--tag", "b"]), ["build"], "from the same answer");
    assert_eq!(server.requests().len(), before + 1);
    // The files are the owner's alone and have no secret in them.
    let directory = env.path(".cache/pvectl/complete");
    let files: Vec<_> = fs::read_dir(&directory).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    let text = fs::read_to_string(&files[0]).unwrap();
    assert!(text.contains("web-1") && !text.contains(server.secret()) && !text.contains("maxmem"), "{text}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&files[0]).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // A broken file is replaced.
    fs::write(&files[0], "{\"taken\":").unwrap();
    assert_eq!(values(&env, &["vm", "start", "w"]), first);
    assert_eq!(server.requests().len(), before + 2);
    // A change of one's own is seen at once.
    let _ = env.run("vm create --name wiki").ok();
    assert_eq!(values(&env, &["vm", "start", "wik"]), ["wiki"]);
    // An old answer is better than none.
    let old = fs::read_to_string(&files[0]).unwrap();
    let taken = old.find(",\"data\"").unwrap();
    fs::write(&files[0], format!("{{\"taken\":1{}", &old[taken..])).unwrap();
    server.kill();
    assert_eq!(values(&env, &["vm", "start", "wik"]), ["wiki"]);
    assert!(!env.journal().exists() || env.json("operation list").as_array().unwrap().len() == 1);
}

#[test]
fn nobody_is_asked_for_anything() {
    let (env, server) = on_a_server("");
    env.write("password", "sandbox");
    let add = format!("config add-context pass --endpoint {} --user root@pam --password-file password", server.url);
    let _ = env.run(&add).ok();
    let command = format!(
        "config add-context command --endpoint {} --credential-command 'touch ran; cat token' --overwrite",
        server.url
    );
    let _ = env.run(&command).ok();
    let before = server.requests().len();
    // No login, and no command that might ask.
    assert_eq!(values(&env, &["--context", "pass", "vm", "stop", ""]), [""; 0]);
    assert_eq!(values(&env, &["--context", "command", "vm", "stop", ""]), [""; 0]);
    assert!(!env.path("ran").exists());
    assert_eq!(server.requests().len(), before);
    // Somebody logged in: that ticket will do.
    let _ = env.run("vm list --context pass").ok();
    let before = server.requests().len();
    assert_eq!(values(&env, &["--context", "pass", "vm", "stop", "we"]), ["web-1", "web-2"]);
    assert_eq!(server.requests()[before..], ["GET /cluster/resources 200"]);
    assert_eq!(server.changes().iter().filter(|line| !line.contains("/access/ticket")).count(), 0);
    assert!(!env.journal().exists());
}

#[test]
fn without_a_server_there_is_nothing_and_no_error() {
    let env =
        bare().with("PVECTL_ENDPOINT", NOBODY).with("PVECTL_TOKEN", "a@pve!b=00000000-0000-0000-0000-000000000000");
    for words in
        [&["vm", "start", ""][..], &["vm", "list", "--node", ""], &["task", "get", ""], &["operation", "show", ""]]
    {
        assert_eq!(values(&env, words), [""; 0], "{words:?}");
    }
    assert_eq!(values(&env, &["vm", "sus"]), ["suspend"], "the parser is here");
    // A server that lets one wait.
    let (env, _server) = on_a_server("--fault 'GET /cluster/resources:delay=60s'");
    let env = env.without(PATIENT.0);
    assert_eq!(values(&env, &["vm", "start", ""]), [""; 0]);
    for (config, context) in [("contexts: [", ""), ("{}", ""), ("", "--context=nowhere")] {
        let env = bare();
        env.write(".config/pvectl/config.yaml", config);
        let words: Vec<&str> = [context, "vm", "start", ""].into_iter().skip(usize::from(context.is_empty())).collect();
        assert_eq!(values(&env, &words), [""; 0], "{config}");
    }
    let env = bare();
    env.write(".local/state/pvectl/sandbox.db", "this is no database, whatever its name says, and never was one");
    assert_eq!(values(&env, &["vm", "start", ""]), [""; 0]);
    assert_eq!(ask(&env.without("HOME").with("HOME", "relative"), "fish", &["pvectl", "vm", "start", ""]), "");
}
