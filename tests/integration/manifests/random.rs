//! Documents that nobody thought of, on what others left: one apply makes them so, a second does nothing, and what is
//! exported then changes nothing.

use std::fmt::Write as _;

use crate::harness::{Chance, Env, number};

/// How many worlds there are; `PVECTL_TEST_WORLDS` makes more, `PVECTL_TEST_SEED` the same again.
const WORLDS: u64 = 6;
/// How often the documents of each are others.
const CHANGES: usize = 3;

/// A document of a guest. Disks never become smaller: their size is that of the round.
fn guest(chance: &mut Chance, name: usize, round: usize) -> String {
    let vm = !name.is_multiple_of(3);
    let mut text = format!("apiVersion: pvectl/v1\nkind: {}\n", if vm { "VirtualMachine" } else { "Container" });
    let mut some = |of: u32| chance.below(of) > 0;
    let pool = if some(3) { ", pool: shop" } else { "" };
    let label = if some(3) { ", labels: { app: shop, spare: }" } else { "" };
    let _ = writeln!(text, "metadata: {{ name: g-{name}{pool}{label} }}\nspec:");
    if some(4) {
        let _ = writeln!(text, "  state: {}", chance.pick(&["running", "stopped"]));
    }
    let template = !vm || name.is_multiple_of(2);
    if template {
        text += "  from: { template: debian-12 }\n";
    }
    let _ = writeln!(text, "  memory: {}MiB", 256 * (1 + chance.below(3)));
    if chance.below(2) == 0 {
        let _ = writeln!(text, "  cores: {}", 1 + chance.below(4));
    }
    let size = 40 + round;
    let more = if chance.below(2) == 0 {
        format!(
            ", {}: {{ storage: local-lvm, size: {}GiB{} }}",
            if vm { "scsi1" } else { "mp0" },
            1 + round,
            if vm { "" } else { ", mp: /data" }
        )
    } else {
        String::new()
    };
    let part = if vm { chance.pick(&["", ", ssd: true", ", discard: 'on'"]) } else { "" };
    let _ = writeln!(
        text,
        "  disks: {{ {}: {{ storage: local-lvm, size: {size}GiB{part} }}{more} }}",
        if vm { "scsi0" } else { "rootfs" }
    );
    let _ =
        writeln!(text, "  nets: {{ net0: {{ bridge: vmbr0{} }} }}", chance.pick(&["", ", tag: 7", ", firewall: true"]));
    if vm && chance.below(2) == 0 {
        let _ = writeln!(
            text,
            "  cloudInit: {{ user: {}, sshKeys: [ssh-ed25519 AAAA {name}], ip: {} }}",
            chance.pick(&["a", "b"]),
            chance.pick(&["dhcp", "192.0.2.7/24"])
        );
    }
    let options = chance.pick(&["", "onboot: 1", "onboot: 1, protection: 0", "description: 'two, words'"]);
    let _ = writeln!(text, "  options: {{ {options} }}");
    text
}

fn documents(chance: &mut Chance, round: usize) -> String {
    let mut all = vec!["apiVersion: pvectl/v1\nkind: Pool\nmetadata: { name: shop }\n".to_owned()];
    for name in 0..5 {
        if chance.below(5) > 0 {
            all.push(guest(chance, name, round));
        }
    }
    all.join("---\n")
}

/// What somebody else does.
fn meddle(env: &Env, chance: &mut Chance) {
    let lines = [
        "vm update g-1 --onboot 0",
        "vm update g-2 --description theirs",
        "vm stop g-1",
        "container update g-0 --cores 3",
        "container update g-3 --label mine=1",
        "vm update g-4 --tags x",
        "vm start g-4",
    ];
    for _ in 0..3 {
        // Some of them are not there.
        let _ = env.run(&format!("{} --quiet", chance.pick(&lines)));
    }
}

#[test]
fn any_documents_converge_and_stay() {
    let mut chance = Chance::any();
    for world in 0..number("PVECTL_TEST_WORLDS").unwrap_or(WORLDS) {
        let env = Env::new();
        let mut story = String::new();
        for round in 0..CHANGES {
            let text = documents(&mut chance, round);
            let _ = write!(story, "\n=== {round}\n{text}");
            env.write("all.yaml", &text);
            let first = env.run("apply -f all.yaml --force --allow-restart --no-checks --quiet");
            assert_eq!(first.code, 0, "world {world}: {first}{story}");
            let second = env.run("diff -f all.yaml");
            assert_eq!((second.code, second.raw.as_str()), (0, ""), "world {world}: {second}{story}");
            let again = env.json("apply -f all.yaml --quiet");
            assert!(
                again.as_array().unwrap().iter().all(|row| row["changed"] == false),
                "world {world}: {again}{story}"
            );
            env.write("exported.yaml", &env.run("export --all").ok().raw);
            let third = env.run("diff -f exported.yaml");
            assert_eq!((third.code, third.raw.as_str()), (0, ""), "world {world}: {third}{story}");
            meddle(&env, &mut chance);
        }
    }
}
