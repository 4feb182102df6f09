//! Cloud-init texts.

use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn facts() -> SeedFacts {
    SeedFacts { uuid: "0c8f1c9e".to_owned(), ..SeedFacts::default() }
}

fn seeded(mut config: Value) -> Seed {
    config["ide2"] = "local:cloudinit".into();
    seed(&qemu(config), &facts()).unwrap().unwrap()
}

fn data(text: &str) -> Value {
    serde_json::from_str(text.strip_prefix("#cloud-config\n").unwrap_or(text)).unwrap()
}

#[test]
fn a_usual_one() {
    let got = seeded(json!({
        "name": "web", "ciuser": "admin", "ciupgrade": 0,
        "sshkeys": "ssh-ed25519%20AAAA%20me%40home%0A%0A%23%20old%0Afrom%3D%2210.0.0.0%2F8%22%2Cno-pty%20ssh-rsa%20BBBB%20%C3%BC%27s%0A",
        "net0": "virtio=BC:24:11:F8:34:48,bridge=vmbr0", "ipconfig0": "ip=192.0.2.10/24,gw=192.0.2.1,ip6=auto",
        "net1": "virtio=BC:24:11:F8:34:49,bridge=vmbr0", "ipconfig1": "ip6=2001:db8::5/64,gw6=2001:db8::1",
        "net2": "virtio=BC:24:11:F8:34:50,bridge=vmbr0", "ipconfig2": "",
        "net3": "virtio=BC:24:11:F8:34:51,bridge=vmbr0", "ipconfig9": "ip=dhcp",
        "nameserver": "192.0.2.53 2001:db8::53", "searchdomain": "example.org",
    }));
    assert_snapshot!(got.user_data, @r#"
    #cloud-config
    {
      "hostname": "web",
      "fqdn": "web.example.org",
      "manage_etc_hosts": true,
      "user": "admin",
      "ssh_authorized_keys": [
        "ssh-ed25519 AAAA me@home",
        "from=\"10.0.0.0/8\",no-pty ssh-rsa BBBB ü's"
      ],
      "chpasswd": {
        "expire": false
      },
      "users": [
        "default"
      ],
      "package_upgrade": false
    }
    "#);
    assert_snapshot!(got.network_config.unwrap(), @r#"
    {
      "version": 2,
      "ethernets": {
        "eth0": {
          "accept-ra": true,
          "addresses": [
            "192.0.2.10/24"
          ],
          "routes": [
            {
              "to": "0.0.0.0/0",
              "via": "192.0.2.1"
            }
          ],
          "match": {
            "macaddress": "bc:24:11:f8:34:48"
          },
          "set-name": "eth0",
          "nameservers": {
            "addresses": [
              "192.0.2.53",
              "2001:db8::53"
            ],
            "search": [
              "example.org"
            ]
          }
        },
        "eth1": {
          "addresses": [
            "2001:db8::5/64"
          ],
          "routes": [
            {
              "to": "::/0",
              "via": "2001:db8::1"
            }
          ],
          "match": {
            "macaddress": "bc:24:11:f8:34:49"
          },
          "set-name": "eth1",
          "nameservers": {
            "addresses": [
              "192.0.2.53",
              "2001:db8::53"
            ],
            "search": [
              "example.org"
            ]
          }
        },
        "eth2": {
          "dhcp4": true,
          "match": {
            "macaddress": "bc:24:11:f8:34:50"
          },
          "set-name": "eth2",
          "nameservers": {
            "addresses": [
              "192.0.2.53",
              "2001:db8::53"
            ],
            "search": [
              "example.org"
            ]
          }
        }
      }
    }
    "#);
    assert_eq!(data(&got.meta_data)["local-hostname"], "web");
    assert_eq!(data(&got.meta_data)["instance-id"].as_str().unwrap().len(), 40);
}

#[test]
fn only_for_a_drive_that_is_for_one() {
    for drive in ["local:iso/debian.iso,media=cdrom", "none,media=cdrom", "local:100/vm-100-disk-0.raw"] {
        assert!(seed(&qemu(json!({"ciuser": "a", "ide2": drive})), &facts()).unwrap().is_none(), "{drive}");
    }
    for drive in ["local:cloudinit", "local-lvm:vm-100-cloudinit,media=cdrom", "local:100/vm-100-cloudinit.raw"] {
        assert!(seed(&qemu(json!({"scsi1": drive})), &facts()).unwrap().is_some(), "{drive}");
    }
    let bare = seeded(json!({"net0": "virtio=BC:24:11:F8:34:48,bridge=vmbr0"}));
    assert!(bare.network_config.is_none());
}

#[test]
fn a_password_is_hashed_and_never_plain() {
    let got = seeded(json!({"cipassword": "s3cret, \"quoted\"\n"}));
    let hash = data(&got.user_data)["password"].as_str().unwrap().to_owned();
    assert!(hash.starts_with("$6$"), "{hash}");
    assert!(!got.user_data.contains("s3cret"));
    use sha_crypt::PasswordVerifier as _;
    let parsed = sha_crypt::PasswordHash::new(hash.clone()).unwrap();
    sha_crypt::ShaCrypt::SHA512.verify_password(b"s3cret, \"quoted\"\n", &parsed).unwrap();
    assert!(sha_crypt::ShaCrypt::SHA512.verify_password(b"other", &parsed).is_err());
    // The same each time on this machine, another on the next, and what is hashed stays.
    assert_eq!(hash_password("s3cret, \"quoted\"\n", "0c8f1c9e").unwrap(), hash);
    assert_ne!(hash_password("s3cret, \"quoted\"\n", "1").unwrap(), hash);
    assert_eq!(hash_password(&hash, "1").unwrap(), hash);
    assert_eq!(hash_password("$y$j9T$abc$def", "1").unwrap(), "$y$j9T$abc$def");
    assert!(hash_password("$5 only", "1").unwrap().starts_with("$6$"));
    assert!(words(&hash_password("", "1").unwrap_err()).contains("empty password"));
}

#[test]
fn a_change_makes_another_instance_and_a_copy_too() {
    let id = |seed: Seed| data(&seed.meta_data)["instance-id"].clone();
    let first = id(seeded(json!({"name": "web", "cipassword": "x"})));
    assert_eq!(first, id(seeded(json!({"name": "web", "cipassword": "x"}))));
    assert_ne!(first, id(seeded(json!({"name": "web", "cipassword": "y"}))));
    let copy = qemu(json!({"name": "web", "cipassword": "x", "ide2": "local:cloudinit"}));
    let other = SeedFacts { uuid: "other".to_owned(), ..SeedFacts::default() };
    assert_ne!(first, id(seed(&copy, &other).unwrap().unwrap()));
}

#[test]
fn nameservers_of_the_host_make_no_other_instance() {
    let config = qemu(json!({
        "name": "web", "ide2": "local:cloudinit", "ipconfig0": "ip=dhcp", "net0": "virtio=BC:24:11:F8:34:48,bridge=vmbr0",
    }));
    let at = |server: &str, domain: &str| {
        let host = SeedFacts { nameservers: vec![server.into()], searchdomains: vec![domain.into()], ..facts() };
        seed(&config, &host).unwrap().unwrap()
    };
    let (home, work) = (at("192.168.1.1", "home"), at("10.0.0.53", "work.example"));
    assert_eq!(home.meta_data, work.meta_data);
    assert!(home.network_config != work.network_config && home.user_data != work.user_data);
}

#[test]
fn texts_of_ones_own_replace_ours() {
    let config =
        qemu(json!({"ide2": "local:cloudinit", "cicustom": "user=local:snippets/u.yml,vendor=local:snippets/v.yml"}));
    let mut facts = facts();
    assert!(seed(&config, &facts).is_err());
    facts.custom = [("user".to_owned(), "#!/bin/sh\n".to_owned()), ("vendor".to_owned(), "v: 1".to_owned())].into();
    let got = seed(&config, &facts).unwrap().unwrap();
    assert_eq!((got.user_data.as_str(), got.vendor_data.as_deref()), ("#!/bin/sh\n", Some("v: 1")));
    assert!(data(&got.meta_data)["instance-id"].is_string());
}

#[test]
fn the_host_is_asked_where_nothing_is_said_and_root_may_come_in() {
    let config = qemu(json!({
        "name": "a.b.example", "ciuser": "root", "ide2": "local:cloudinit",
        "net0": "virtio=BC:24:11:F8:34:48,bridge=vmbr0", "ipconfig0": "ip=dhcp",
    }));
    let host = SeedFacts { nameservers: vec!["9.9.9.9".into()], searchdomains: vec!["lan".into()], ..facts() };
    let got = seed(&config, &host).unwrap().unwrap();
    let user = data(&got.user_data);
    assert_eq!(
        (&user["hostname"], &user["fqdn"], &user["disable_root"]),
        (&json!("a"), &json!("a.b.example"), &json!(false))
    );
    let network = data(&got.network_config.unwrap());
    assert_eq!(network["ethernets"]["eth0"]["nameservers"], json!({"addresses": ["9.9.9.9"], "search": ["lan"]}));
}

#[test]
fn addresses_that_are_none_are_refused() {
    let said = |ip: &str| {
        let net = "virtio=BC:24:11:F8:34:48,bridge=vmbr0";
        words(&seed(&qemu(json!({"ide2": "local:cloudinit", "net0": net, "ipconfig0": ip})), &facts()).err().unwrap())
    };
    assert!(said("ip=192.0.2.10").contains("no address with a prefix, such as 192.0.2.10/24"));
    assert!(said("ip=192.0.2.10/33").contains("ipconfig0"));
    assert!(said("ip6=192.0.2.10/24").contains("2001:db8::10/64"));
    assert!(said("ip=dhcp,gw=192.0.2.1").contains("goes with an address"));
    assert!(said("ip=192.0.2.10/24,gw=2001:db8::1").contains("no address of a gateway"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    // Whatever stands in a value comes out of a YAML reader as it was: quotes, line ends, colons, other scripts.
    #[cfg(feature = "cli")]
    #[test]
    fn texts_survive_yaml(user in any::<String>(), key in "ssh-rsa [^\\n\\r\\x0b\\x0c\\x1c-\\x1e\\x85\\u{2028}\\u{2029}]{1,40}x") {
        let wire = crate::model::config::Encoded(key.clone()).to_string();
        let text = seeded(json!({"ciuser": user, "sshkeys": wire})).user_data;
        let read: Value = serde_yaml::from_str(&text).unwrap();
        prop_assert_eq!(read.get("user").and_then(Value::as_str).unwrap_or_default(), &user);
        prop_assert_eq!(&read["ssh_authorized_keys"][0], key.trim());
        let bad = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
        prop_assert!(!text.contains(bad));
    }
}
