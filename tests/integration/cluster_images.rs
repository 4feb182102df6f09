//! `image …` on a cluster: listed, fetched by a node, sent from here, removed, on the sandbox.

use std::fs::File;

use serde_json::{Value, json};

use crate::harness::{Env, eventually};

fn rows(env: &Env, line: &str) -> Vec<Value> {
    env.json(line).as_array().unwrap().clone()
}

/// A file of so many bytes, of which nothing is on the disk.
fn file(env: &Env, name: &str, size: u64) {
    File::create(env.path(name)).unwrap().set_len(size).unwrap();
}

#[test]
fn images_are_listed_fetched_and_removed() {
    let env = Env::new();
    let all = rows(&env, "image list --node pve1");
    assert_eq!((all.len(), &all[0]["content"]), (3, &json!("iso")), "{all:?}");
    assert_eq!(rows(&env, "image list --content vztmpl").len(), 6);
    assert!(env.run("image list --node pve1 -o name").ok().stdout.contains("image/local:iso/debian-12.7.0"));
    let dry = env.run("image pull https://example.org/debian.iso --node pve1 --dry-run").ok();
    let call = "POST /nodes/pve1/storage/local/download-url content=iso filename=debian.iso url=https://example.org/debian.iso";
    assert!(dry.stdout.contains(call), "{dry}");
    let _ = env
        .run("image pull https://example.org/debian.iso --node pve1")
        .ok()
        .says(&["✓ image debian.iso on pve1 pulled"]);
    let row = env.json("image get debian.iso");
    assert_eq!((&row["volid"], &row["node"]), (&json!("local:iso/debian.iso"), &json!("pve1")));
    let _ = env
        .run("image pull https://example.org/debian.iso --node pve1")
        .exits(6)
        .says(&["is there already", "--overwrite"]);
    let _ = env.run("image pull https://example.org/debian.iso --node pve1 --overwrite").ok();
    let _ = env.run("image delete debian.iso").exits(2).says(&["--confirm"]);
    let dry = env.run("image delete image/local:iso/debian.iso --dry-run").ok();
    assert!(dry.stdout.contains("DELETE /nodes/pve1/storage/local/content/local:iso%2Fdebian.iso"), "{dry}");
    let _ = env.run("image delete debian.iso --confirm").ok();
    let _ = env.run("image get debian.iso").exits(3).says(&["no such image: `debian.iso`"]);

    // A template by its name: the newest of its package.
    let offered = rows(&env, "image available debian --node pve1");
    assert!(offered.iter().all(|row| row["template"].as_str().unwrap().contains("debian")), "{offered:?}");
    let _ = env.run("image pull debian-12-standard --storage local --node pve2").ok();
    let there = rows(&env, "image list --node pve2 --content vztmpl");
    assert!(
        there.iter().any(|row| row["volid"] == "local:vztmpl/debian-12-standard_12.12-1_amd64.tar.zst"),
        "{there:?}"
    );
}

#[test]
fn what_does_not_go_is_said_before_anything_is_sent() {
    let server = Env::new().serve("");
    file(&server, "a.iso", 1 << 20);
    file(&server, "huge.iso", 200 << 30);
    for (line, code, parts) in [
        ("image pull https://example.org/a.iso", 2, &["another one on each of pve1, pve2, pve3", "--node"][..]),
        ("image pull https://example.org/a.txt --node pve1", 2, &["does not end as an image does", "iso: .iso .img"]),
        ("image pull https://example.org/ --node pve1", 2, &["--name NAME"]),
        ("image pull https://example.org/a.iso --node pve1 --sha256 beef", 2, &["64 hex digits"]),
        ("image pull debian-12 --node pve1", 2, &["several packages", "debian-12-standard"]),
        ("image pull debain-13 --node pve1", 3, &["no template of containers is called `debain-13`"]),
        ("image pull ./a.iso --node pve1", 2, &["image upload ./a.iso"]),
        ("image pull https://example.org/a.iso --node pve1 --format raw", 2, &["--context local"]),
        ("image upload a.iso --node pve1 --storage local-lvm", 2, &["does not take `iso`", "these do: local"]),
        ("image upload a.iso --node pve1 --content vztmpl", 2, &["no name for `vztmpl`"]),
        ("image upload huge.iso --node pve1", 6, &["200.00 GiB wanted on storage `local` of pve1"]),
        ("image upload none.iso --node pve1", 2, &["cannot read none.iso"]),
        ("image upload . --node pve1 --name a.iso", 2, &["is no file"]),
        ("image delete debian-12.7.0-amd64-netinst.iso --confirm", 2, &["there are several", "--node pve1"]),
    ] {
        let _ = server.run(line).exits(code).says(parts);
    }
    assert_eq!(server.changes(), Vec::<String>::new());
}

#[test]
fn a_file_is_sent_with_its_checksum() {
    let server = Env::new().serve("");
    file(&server, "a.iso", 3 << 20);
    let sent = server.run("image upload a.iso --node pve1 --checksum -o json").ok();
    let sent =
        sent.says(&["sending a.iso", "3.00 MiB to storage `local` of pve1 as iso", "✓ image a.iso on pve1 uploaded"]);
    assert!(sent.json()["upid"].as_str().unwrap().contains(":imgcopy:"), "{sent}");
    let row = server.json("image get a.iso");
    assert_eq!(row["size"], 3 << 20);
    let wrong = "0".repeat(64);
    let failed = server.run(&format!("image upload a.iso --node pve1 --name b.iso --sha256 {wrong}"));
    let _ = failed.exits(6).says(&["checksum mismatch"]);
    let _ = server.run("image get b.iso").exits(3);
    assert_eq!(server.changes().len(), 2);
}

/// With room for less than the file, on both sides: client and server are one process here.
#[cfg(target_os = "linux")]
#[test]
fn a_gibibyte_is_sent_in_little_memory() {
    let env = Env::new();
    file(&env, "big.iso", 1 << 30);
    let bin = env!("CARGO_BIN_EXE_pvectl");
    let script = format!("ulimit -v 900000 && exec '{bin}' image upload big.iso --node pve1 --quiet");
    let output = env.shell(&script);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    assert_eq!(env.json("image get big.iso")["size"], 1 << 30);
}

/// A server that drops what is not whole has nothing, and so it is said.
#[cfg(unix)]
#[test]
fn an_upload_that_is_broken_off_leaves_nothing() {
    let server = Env::new().serve("--fault 'POST /nodes/*/storage/*/upload:delay=100s*1'");
    file(&server, "big.iso", 64 << 20);
    let mut sending = server.spawn("image upload big.iso --node pve1");
    sending.until("sending big.iso");
    eventually("it is begun", || (server.json("operation list")[0]["status"] == "sent").then_some(()));
    sending.interrupt();
    let _ = sending.wait().exits(130).says(&["the upload was broken off"]);
    assert_eq!(rows(&server, "image list --node pve1").len(), 3);
    assert_eq!(server.json("operation list")[0]["status"], "failed");
}
