//! Manifests of VMs of this host, over the stand-in for Cloud Hypervisor.

use serde_json::json;

use crate::local::{Host, stand_in};

const WEB: &str = "\
apiVersion: pvectl/v1
kind: VirtualMachine
metadata: { name: web, labels: { app: web } }
spec:
  state: running
  cores: 1
  memory: 256MiB
  disks: { scsi0: { storage: local, size: 1GiB } }
  options: { x-kernel: KERNEL, x-cmdline: console=ttyS0 }
";

#[test]
fn vms_of_this_host_are_made_so() {
    let host = Host::new(&stand_in());
    let env = &host.env;
    std::fs::write(env.path("programs/stand-in.json"), r#"{"guest": "polite"}"#).unwrap();
    let web = WEB.replace("KERNEL", env.path("kernel").to_str().unwrap());
    env.write("web.yaml", &web);
    let _ = env.run("diff -f web.yaml").exits(1);
    let _ = env.run("apply -f web.yaml --quiet").ok();
    let _ = env.run("diff -f web.yaml").ok();
    assert_eq!(host.status("web")["status"], "running");
    // A change that only counts after a restart, and a disk more.
    let more = web
        .replace("cores: 1", "cores: 2")
        .replace("size: 1GiB }", "size: 2GiB }, scsi1: { storage: local, size: 1GiB }");
    env.write("web.yaml", &more);
    let dry = env.run("apply -f web.yaml --allow-restart --dry-run").ok();
    assert!(dry.raw.contains("it is restarted if its machine cannot take the change while it runs"), "{dry}");
    let _ = env.run("apply -f web.yaml --allow-restart --quiet").ok();
    let _ = env.run("diff -f web.yaml").ok();
    let status = host.status("web");
    assert_eq!((&status["status"], &status["config"]["cores"]), (&json!("running"), &json!(2)), "{status}");
    env.write("exported.yaml", &env.run("export --all").ok().raw);
    let _ = env.run("diff -f exported.yaml").ok();
    // What it cannot have is refused with its place, before anything is done.
    env.write("not.yaml", &more.replace("cores: 2", "cores: 4000"));
    let _ = env.run("apply -f not.yaml").exits(2).says(&["vm/100 (web)", "not.yaml:1:1", "4000", "nothing was sent"]);
    // What this host has none of is refused with the reason, and nothing is done.
    env.write("not.yaml", "apiVersion: pvectl/v1\nkind: Container\nmetadata: { name: c }\n---\napiVersion: pvectl/v1\nkind: Pool\nmetadata: { name: p }\n");
    let _ = env.run("apply -f not.yaml").exits(2).says(&[
        "runs virtual machines, not containers",
        "this host is none",
        "nothing was sent",
    ]);
    let _ = env.run("delete -f web.yaml --force --confirm --quiet").ok();
    assert!(env.json("vm list").as_array().unwrap().is_empty());
}
