//! The programs in `examples/` run, as the documents say, by `cargo run --example`.

use std::{path::Path, process::Command};

use super::{PVECTL, root};

fn example(name: &str, args: &[&str]) -> (String, bool) {
    let profile = Path::new(PVECTL).parent().expect("a profile's directory");
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root()).args(["run", "--quiet", "--offline", "--example", name]);
    command.arg("--target-dir").arg(profile.parent().expect("a target directory"));
    if profile.ends_with("release") {
        command.arg("--release");
    }
    let output = command.arg("--").args(args).output().expect("cargo");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout) + &text(&output.stderr), output.status.success())
}

#[test]
fn list_guests_lists_the_sandbox() {
    let (said, well) = example("list_guests", &[]);
    assert!(well, "{said}");
    for word in ["VMID", "web-1", "running", "proxy", "container", "debian-12"] {
        assert!(said.contains(word), "no `{word}` in\n{said}");
    }
}

#[test]
fn start_and_wait_starts_and_waits() {
    let (said, well) = example("start_and_wait", &[]);
    assert!(well, "{said}");
    for word in ["starting vm/101 (web-2)", "task UPID:pve2:", "TASK OK", "start 101: done"] {
        assert!(said.contains(word), "no `{word}` in\n{said}");
    }
    let (said, well) = example("start_and_wait", &["web-1"]);
    assert!(well && said.contains("already running") && said.contains("nothing to do"), "{said}");
}
