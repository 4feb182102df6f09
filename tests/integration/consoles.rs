//! Consoles of the sandbox's guests and nodes, over the websocket that a real server has.

use std::fs;

use serde_json::json;

use crate::{harness::Env, local_watch::Terminal};

/// A sandbox whose VM 100 has a serial port.
fn with_serial() -> Env {
    let env = Env::new();
    let _ = env.run("vm update 100 --serial0 socket").ok();
    let _ = env.run("vm restart 100").ok();
    env
}

const VARS: &[(&str, &str)] = &[("PVECTL_CONTEXT", "sandbox"), ("TERM", "xterm")];

#[test]
fn people_sit_at_a_console_whose_size_changes() {
    let env = with_serial();
    let mut terminal = Terminal::run(&env, VARS, &["vm", "console", "100"]);
    terminal.until("at the console of vm/100 (web-1); Ctrl-] leaves");
    terminal.until("root@web-1:~# ");
    terminal.type_in(b"hostname\r");
    terminal.until("hostname\r\nweb-1\r\n");
    terminal.resize(132, 50);
    // The size goes another way than the keys, so that they may overtake it.
    for round in 0..50 {
        terminal.type_in(format!("echo round {round}\rstty size\r").as_bytes());
        terminal.until(&format!("round {round}\r\nroot@web-1:~# stty size"));
        terminal.until("root@web-1:~# ");
        if terminal.has_seen("50 132\r\n") {
            break;
        }
    }
    terminal.until("50 132\r\n");
    terminal.type_in(b"\x1d");
    terminal.until("left the console of vm/100 (web-1)");
    assert_eq!(terminal.ends(), Some(0));

    let mut terminal = Terminal::run(&env, VARS, &["container", "console", "proxy", "--escape", "^o"]);
    terminal.until("Ctrl-O leaves");
    terminal.until("root@proxy:~# ");
    terminal.type_in(b"poweroff\r");
    terminal.until("the console of container/110 (proxy) ended");
    assert_eq!(terminal.ends(), Some(0));

    let mut terminal = Terminal::run(&env, VARS, &["node", "console", "pve2"]);
    terminal.until("root@pve2:~# ");
    terminal.type_in(b"\x1d");
    assert_eq!(terminal.ends(), Some(0));
    let rows = env.json("operation list --limit 5");
    let kept = |row: usize| (rows[row]["verb"].clone(), rows[row]["status"].clone(), rows[row]["node"].clone());
    assert_eq!(kept(0), (json!("console"), json!("ok"), json!("pve2")));
    assert_eq!(kept(1), (json!("console"), json!("ok"), json!("pve1")));
}

#[test]
fn bytes_go_through_a_console_as_they_are() {
    let env = with_serial();
    // More than one frame of the server takes, and every value but those that end the line or the shell.
    let bytes: Vec<u8> = (0..150_000_u32).map(|at| (at * 31 % 256) as u8).filter(|byte| *byte != b'\r').collect();
    fs::write(env.path("typed"), [bytes.as_slice(), b"\rexit\r"].concat()).unwrap();
    let said = env.shell("exec \"$0\" vm console 100 < typed");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let begin = b"root@web-1:~# ".len();
    assert!(said.stdout[begin..].starts_with(&bytes), "{} bytes came back", said.stdout.len());
}

#[test]
fn what_has_no_console_is_refused_with_a_way_out() {
    let env = Env::new();
    let off = env.run("vm console 101").exits(6).says(&["vm/101 is not running", "pvectl vm start 101"]);
    assert_eq!(off.stdout, "");
    let _ = env.run("container console dns").exits(6).says(&["pvectl container start 111"]);
    let _ = env.run("vm console 100").exits(6).says(&["no serial port", "--serial0 socket", "console=ttyS0"]);
    let _ = env.run("vm console 100 --dry-run").exits(2);
    let _ = env.run("vm console nobody").exits(3);
    let _ = env.run("node console pve9").exits(3).says(&["no such node: `pve9`", "pve1"]);
    let _ = env.run("sandbox node pve3 offline").ok();
    let _ = env.run("node console pve3").exits(6).says(&["offline"]);
    let _ = env.with("PVECTL_READ_ONLY", "1").run("container console proxy").exits(5);

    let served = env.serve("--tls");
    let out = served.run_with("container console proxy", "hostname\rexit\r").ok();
    assert!(out.raw.contains("proxy\r\n"), "{out}");
    assert!(served.requests().iter().any(|line| line.ends_with("lxc/110/vncwebsocket 101")), "{:?}", served.requests());
    let reader = served.with("PVECTL_TOKEN", &format!("audit@pve!readonly={}", served.secret()));
    let _ = reader.run("container console proxy").exits(5).says(&["VM.Console on /vms/110"]);
    // A ticket never shows, however much is told.
    let told = served.run_with("container console proxy -vvv", "exit\r").ok();
    assert!(!told.stderr.contains("PVEVNC") && told.stderr.contains("vncticket"), "{told}");
}

/// Starts `vm vnc`, and gives its address and its file.
fn vnc(env: &Env, flags: &str) -> (crate::harness::Running, String, std::path::PathBuf) {
    let mut running = env.spawn(&format!("vm vnc 100 --viewer-file screen.vv {flags}"));
    let said = running.until("the password for 127.0.0.1:");
    let address = said.trim().trim_start_matches("the password for ").split(' ').next().unwrap().to_owned();
    (running, address, env.path("screen.vv"))
}

#[test]
fn a_screen_comes_to_a_port_of_this_machine() {
    use std::{
        io::{Read as _, Write as _},
        os::unix::fs::PermissionsExt as _,
    };
    let env = Env::new();
    let (running, address, file) = vnc(&env, "");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let config = fs::read_to_string(&file).unwrap();
    let port = address.rsplit(':').next().unwrap();
    for part in ["[virt-viewer]\n", "type=vnc\n", "host=127.0.0.1\n", "delete-this-file=1\n", &format!("port={port}\n")]
    {
        assert!(config.contains(part), "`{part}` is missing: {config}");
    }
    let password = config.lines().find_map(|line| line.strip_prefix("password=")).unwrap().to_owned();
    assert_eq!(password.len(), 8);
    let mut viewer = std::net::TcpStream::connect(&address).unwrap();
    let mut greeting = [0; 12];
    viewer.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"RFB 003.008\n");
    let sent: Vec<u8> = (0..200_000_u32).map(|at| (at * 7 % 256) as u8).collect();
    let mut back = vec![0; sent.len()];
    std::thread::scope(|scope| {
        let mut writer = viewer.try_clone().unwrap();
        scope.spawn(move || {
            writer.write_all(&(0..200_000_u32).map(|at| (at * 7 % 256) as u8).collect::<Vec<u8>>()).unwrap();
        });
        viewer.read_exact(&mut back).unwrap();
    });
    assert_eq!(back, sent);
    drop(viewer);
    let ended = running.wait().ok();
    assert!(!file.exists());
    assert!(!ended.stdout.contains(&password) && !ended.stderr.contains(&password), "{ended}");

    // Somebody who waits for a viewer can leave.
    let (running, ..) = vnc(&env, "");
    running.interrupt();
    let _ = running.wait().exits(130);
    let dry = env.run("vm vnc 100 --dry-run").ok();
    assert!(dry.stdout.contains("POST /nodes/pve1/qemu/100/vncproxy websocket=1"), "{dry}");
    let _ = env.run("vm vnc 101").exits(6).says(&["vm/101 is not running", "pvectl vm start 101"]);
    let _ = env.run("vm vnc 100 --listen here").exits(2).says(&["takes an address and a port"]);
    let row = env.json("operation list --limit 1");
    assert_eq!((&row[0]["verb"], &row[0]["status"]), (&json!("vnc"), &json!("ok")), "{row}");
}

/// Containers and nodes have a terminal where a VM has a screen.
#[test]
fn a_console_comes_to_a_viewer_too() {
    use std::io::Read as _;
    let server = Env::new().serve("");
    for (line, opened, websocket) in [
        ("container vnc 110", "POST /nodes/pve1/lxc/110/vncproxy", "lxc/110/vncwebsocket"),
        ("node vnc pve1", "POST /nodes/pve1/vncshell", "pve1/vncwebsocket"),
    ] {
        let dry = server.run(&format!("{line} --dry-run")).ok();
        assert!(dry.stdout.contains(&format!("{opened} websocket=1")), "{dry}");
        let mut running = server.spawn(&format!("{line} --viewer-file screen.vv"));
        let said = running.until("the password for 127.0.0.1:");
        let address = said.trim().trim_start_matches("the password for ").split(' ').next().unwrap().to_owned();
        let mut viewer = std::net::TcpStream::connect(&address).unwrap();
        let mut greeting = [0; 12];
        viewer.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"RFB 003.008\n");
        drop(viewer);
        let _ = running.wait().ok();
        let asked = server.requests();
        assert!(asked.iter().any(|line| line.contains(websocket) && line.ends_with(" 101")), "{asked:?}");
    }
    for (line, file) in [("container spice 110", "pvectl-container-110.vv"), ("node spice pve1", "pvectl-node-pve1.vv")]
    {
        let told = server.json(line);
        let path = told["file"].as_str().unwrap();
        assert!(path.ends_with(file), "{told}");
        let config = fs::read_to_string(path).unwrap();
        assert!(config.contains("proxy=http://127.0.0.1:3128\n"), "{config}");
        fs::remove_file(path).unwrap();
    }
    let _ = server.run("container vnc 111").exits(6).says(&["pvectl container start 111"]);
    let _ = server.run("container spice 111").exits(6);
    let _ = server.run("node vnc nowhere").exits(3);
}

#[test]
fn a_viewer_file_for_spice_is_this_users_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let env = Env::new();
    let _ = env.run("vm spice 100").exits(6).says(&["no spice port", "--vga qxl", "pvectl vm vnc 100"]);
    let _ = env.run("vm update 100 --vga qxl").ok();
    let _ = env.run("vm restart 100").ok();
    let runtime = env.path("run");
    fs::create_dir(&runtime).unwrap();
    let env = env.with("XDG_RUNTIME_DIR", runtime.to_str().unwrap());
    let said = env.run("vm spice 100").ok();
    let file = runtime.join("pvectl-vm-100.vv");
    assert_eq!(said.raw.trim(), file.to_str().unwrap());
    let config = fs::read_to_string(&file).unwrap();
    for part in
        ["[virt-viewer]\n", "type=spice\n", "tls-port=61000\n", "ca=-----BEGIN CERTIFICATE-----\\n", "password="]
    {
        assert!(config.contains(part), "`{part}` is missing: {config}");
    }
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // What opens it gets the file, and not the password.
    let viewer = env.write("bin/remote-viewer", "#!/bin/sh\necho \"$@\" > opened\n");
    fs::set_permissions(&viewer, fs::Permissions::from_mode(0o755)).unwrap();
    let with_viewer = env.with("PATH", &format!("{}:/usr/bin:/bin", env.path("bin").display()));
    let _ = with_viewer.run("vm spice 100 --open").ok();
    let opened = crate::harness::eventually("the viewer was opened", || {
        fs::read_to_string(env.path("opened")).ok().filter(|text| !text.is_empty())
    });
    assert_eq!(opened.trim(), file.to_str().unwrap());
    let _ = env.with("PATH", "/nonexistent").run("vm spice 100 --open").exits(1).says(&["install virt-viewer"]);
}

#[test]
fn keys_are_pressed_and_the_monitor_is_asked() {
    let env = Env::new();
    let dry = env.run("vm sendkey 100 Ctrl+Alt+Del enter --dry-run").ok().says(&["presses ctrl-alt-delete ret"]);
    // It may be a password: no plan and no journal has it.
    assert_eq!(dry.stdout.matches("PUT /nodes/pve1/qemu/100/sendkey key=***").count(), 2, "{dry}");
    let dry = env.run("vm sendkey 100 --text 'ls -L' enter --dry-run").ok();
    let _ = dry.says(&["presses l s spc minus shift-l ret"]);
    let _ = env.write("word", "geheim!1\n");
    let typed = env.run("vm sendkey 100 --text @word enter -vvv").ok().says(&["8 keys that are not shown"]);
    assert!(!typed.stderr.contains("shift-1") && !env.run("operation show 1 -o json").ok().stdout.contains("shift-1"));
    assert_eq!(typed.stderr.matches("pressing keys of").count(), 1, "said once, not for each key: {typed}");
    let _ = env.run("vm sendkey 100 entre").exits(2).says(&["there is no key `entre`", "did you mean `enter`"]);
    let _ = env.run("vm sendkey 100 --text grün").exits(2).says(&["sign 3 of the text"]);
    let _ = env.run("vm sendkey 100").exits(2);
    // A key that we pass on and QEMU does not know.
    let _ = env.write("nokey", "nokey");
    let _ = env.run("api put /nodes/pve1/qemu/100/sendkey -p key=@nokey").exits(1).says(&["invalid parameter: "]);
    let _ = env.run("vm sendkey 100 a").ok();
    let _ = env.run("vm sendkey 101 a").exits(6).says(&["not running"]);
    assert_eq!(env.run("vm monitor 100 -- info status").ok().stdout, "VM status: running\n");
    let _ = env.run("vm monitor 101 -- info status").exits(6).says(&["not running"]);
    let _ = env.run("vm monitor 100 -- gdbserver").exits(5).says(&["root-only", "logged in with its password"]);
}
