//! Cloud-init drives on the sandbox.

use crate::harness::Env;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOb+/x== admin@here";

#[test]
fn a_cloud_init_drive_is_looked_at_and_made_anew() {
    let env = Env::new();
    let _ = env.run("vm cloudinit get 101").exits(6).says(&["no cloud-init drive", "--ide2 STORAGE:cloudinit"]);
    let _ = env.write("key.pub", &format!("{KEY}\n"));
    let set = "vm update 101 --ide2 local-lvm:cloudinit --ciuser admin --ssh-key @key.pub --ipconfig0 ip=10.0.0.5/24,gw=10.0.0.1";
    let dry = env.run(&format!("{set} --dry-run")).ok();
    // Once for the configuration; the form of the request encodes it once more, as the server wants it.
    assert!(
        dry.stdout.contains("sshkeys=ssh-ed25519%20AAAAC3NzaC1lZDI1NTE5AAAAIOb%2B%2Fx%3D%3D%20admin%40here"),
        "{dry}"
    );
    let _ = env.run(set).ok();
    let rows = env.json("vm cloudinit get 101");
    let of = |key: &str| rows.as_array().unwrap().iter().find(|row| row["key"] == key).cloned().unwrap();
    assert_eq!((of("ciuser")["pending"].as_str(), of("ciuser")["change"].as_str()), (Some("admin"), Some("added")));
    assert_eq!(of("sshkeys")["pending"], KEY);
    let _ = env.run("vm cloudinit regenerate 101").ok().says(&["cloud-init drive made anew"]);
    let _ = env.run("vm update 101 --ciuser other").ok();
    let shown = env.run("vm cloudinit get 101").ok().says(&["vm cloudinit regenerate 101"]);
    assert!(shown.stdout.contains("ciuser") && shown.stdout.contains("changed"), "{shown}");
    let _ = env.run("vm update 101 --unset ciuser").ok();
    let rows = env.json("vm cloudinit get 101");
    assert!(rows.as_array().unwrap().iter().any(|row| row["key"] == "ciuser" && row["change"] == "removed"), "{rows}");
    let _ = env.run("vm start 101").ok();
    let after = env.run("vm cloudinit get 101").ok();
    assert!(!after.stderr.contains("to come"), "{after}");
    let user = env.run("vm cloudinit dump 101 user").ok();
    assert!(user.stdout.starts_with("#cloud-config\n") && user.stdout.contains(&format!("  - {KEY}\n")), "{user}");
    assert!(env.run("vm cloudinit dump 101 network").ok().stdout.contains("10.0.0.5/24"));
    let _ = env.run("vm cloudinit dump 101 vendor").exits(2);
    let _ = env.run("vm update 101 --cipassword secret").exits(2);
    let _ = env.run_with("vm update 101 --cipassword -", "hunter22").ok();
    let masked = env.run("vm cloudinit get 101").ok();
    assert!(masked.stdout.contains("cipassword") && !masked.stdout.contains("hunter22"), "{masked}");
}
