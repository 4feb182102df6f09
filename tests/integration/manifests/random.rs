//! Documents that nobody thought of, on what others left: one apply makes them so, a second does nothing, and what is
//! exported then changes nothing.

use std::fmt::Write as _;

use crate::harness::{Chance, Env, number};

/// How many worlds there are; `PVECTL_TEST_WORLDS` makes more, `PVECTL_TEST_SEED` the same again.
const WORLDS: u64 = 6;
/// And on this host.
#[cfg(target_os = "linux")]
const WORLDS_HERE: u64 = 3;
/// How often the documents of each are others.
const CHANGES: usize = 3;

/// What there is to choose from in a place.
struct Place {
    /// How many guests there are at most.
    guests: usize,
    storage: &'static str,
    /// The most processors.
    cores: u32,
    /// How large a first disk is in the first round, in GiB.
    size: usize,
    /// Whether there are containers, templates, pools and bridges.
    is_cluster: bool,
    /// What a disk of a VM may be beside its size.
    parts: &'static [&'static str],
    options: &'static [&'static str],
    /// What stands in the options of every guest.
    always: String,
    /// What somebody else does.
    others: &'static [&'static str],
}

impl Place {
    fn sandbox() -> Self {
        Self {
            guests: 5,
            storage: "local-lvm",
            cores: 4,
            size: 40,
            is_cluster: true,
            parts: &["", ", ssd: true", ", discard: 'on'"],
            options: &["", "onboot: 1", "onboot: 1, protection: 0", "description: 'two, words'"],
            always: String::new(),
            others: &[
                "vm update g-1 --onboot 0",
                "vm update g-2 --description theirs",
                "vm stop g-1",
                "container update g-0 --cores 3",
                "container update g-3 --label mine=1",
                "vm update g-4 --tags x",
                "vm start g-4",
            ],
        }
    }

    /// This host, with a kernel to start VMs with.
    #[cfg(target_os = "linux")]
    fn here(kernel: &str) -> Self {
        Self {
            guests: 3,
            storage: "local",
            cores: std::thread::available_parallelism().map_or(1, |count| count.get().min(4) as u32),
            size: 1,
            is_cluster: false,
            parts: &["", ", cache: none"],
            options: &["", "protection: 0", "description: 'two, words'", "startup: { order: 2 }"],
            always: format!("x-kernel: {kernel}, x-cmdline: console=ttyS0"),
            others: &[
                "vm update g-0 --startup order=3",
                "vm update g-1 --description theirs",
                "vm stop g-1 --confirm",
                "vm update g-2 --label mine=1",
                "vm start g-2",
                "vm update g-2 --tags x",
                "vm reset g-0 --confirm",
            ],
        }
    }
}

/// A document of a guest. Disks never become smaller: their size is that of the round.
fn guest(chance: &mut Chance, place: &Place, name: usize, round: usize) -> String {
    let Place { storage, is_cluster, .. } = place;
    let vm = !is_cluster || !name.is_multiple_of(3);
    let mut text = format!("apiVersion: pvectl/v1\nkind: {}\n", if vm { "VirtualMachine" } else { "Container" });
    let mut some = |of: u32| chance.below(of) > 0;
    let pool = if *is_cluster && some(3) { ", pool: shop" } else { "" };
    let label = if some(3) { ", labels: { app: shop, spare: }" } else { "" };
    let _ = writeln!(text, "metadata: {{ name: g-{name}{pool}{label} }}\nspec:");
    if some(4) {
        let _ = writeln!(text, "  state: {}", chance.pick(&["running", "stopped"]));
    }
    if *is_cluster && (!vm || name.is_multiple_of(2)) {
        text += "  from: { template: debian-12 }\n";
    }
    let _ = writeln!(text, "  memory: {}MiB", 256 * (1 + chance.below(3)));
    if chance.below(2) == 0 {
        let _ = writeln!(text, "  cores: {}", 1 + chance.below(place.cores));
    }
    let size = place.size + round;
    let more = if chance.below(2) == 0 {
        format!(
            ", {}: {{ storage: {storage}, size: {}GiB{} }}",
            if vm { "scsi1" } else { "mp0" },
            1 + round,
            if vm { "" } else { ", mp: /data" }
        )
    } else {
        String::new()
    };
    let part = if vm { chance.pick(place.parts) } else { "" };
    let _ = writeln!(
        text,
        "  disks: {{ {}: {{ storage: {storage}, size: {size}GiB{part} }}{more} }}",
        if vm { "scsi0" } else { "rootfs" }
    );
    if *is_cluster {
        let more = chance.pick(&["", ", tag: 7", ", firewall: true"]);
        let _ = writeln!(text, "  nets: {{ net0: {{ bridge: vmbr0{more} }} }}");
    }
    if vm && chance.below(2) == 0 {
        let _ = writeln!(
            text,
            "  cloudInit: {{ user: {}, sshKeys: [ssh-ed25519 AAAA {name}], ip: {} }}",
            chance.pick(&["a", "b"]),
            chance.pick(&["dhcp", "192.0.2.7/24"])
        );
    }
    let options = [place.always.as_str(), chance.pick(place.options)].into_iter().filter(|some| !some.is_empty());
    let _ = writeln!(text, "  options: {{ {} }}", options.collect::<Vec<_>>().join(", "));
    text
}

fn documents(chance: &mut Chance, place: &Place, round: usize) -> String {
    let pool = "apiVersion: pvectl/v1\nkind: Pool\nmetadata: { name: shop }\n";
    let mut all: Vec<String> = place.is_cluster.then(|| pool.to_owned()).into_iter().collect();
    for name in 0..place.guests {
        if chance.below(5) > 0 {
            all.push(guest(chance, place, name, round));
        }
    }
    all.join("---\n")
}

/// What somebody else does.
fn meddle(env: &Env, chance: &mut Chance, place: &Place) {
    for _ in 0..3 {
        // Some of them are not there.
        let _ = env.run(&format!("{} --quiet", chance.pick(place.others)));
    }
}

/// One world: documents that are made so one after another, each time on what others left.
fn converges_and_stays(env: &Env, chance: &mut Chance, place: &Place, world: u64) {
    let mut story = String::new();
    for round in 0..CHANGES {
        let text = documents(chance, place, round);
        let _ = write!(story, "\n=== {round}\n{text}");
        env.write("all.yaml", &text);
        let first = env.run("apply -f all.yaml --force --allow-restart --no-checks --quiet");
        assert_eq!(first.code, 0, "world {world}: {first}{story}");
        let second = env.run("diff -f all.yaml");
        assert_eq!((second.code, second.raw.as_str()), (0, ""), "world {world}: {second}{story}");
        let again = env.json("apply -f all.yaml --quiet");
        assert!(again.as_array().unwrap().iter().all(|row| row["changed"] == false), "world {world}: {again}{story}");
        env.write("exported.yaml", &env.run("export --all").ok().raw);
        let third = env.run("diff -f exported.yaml");
        assert_eq!((third.code, third.raw.as_str()), (0, ""), "world {world}: {third}{story}");
        meddle(env, chance, place);
    }
}

#[test]
fn any_documents_converge_and_stay() {
    let mut chance = Chance::any();
    for world in 0..number("PVECTL_TEST_WORLDS").unwrap_or(WORLDS) {
        converges_and_stays(&Env::new(), &mut chance, &Place::sandbox(), world);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn any_documents_of_this_host_converge_and_stay() {
    use crate::local::{Host, stand_in};
    let mut chance = Chance::any();
    for world in 0..number("PVECTL_TEST_WORLDS").unwrap_or(WORLDS_HERE) {
        let host = Host::new(&stand_in());
        std::fs::write(host.env.path("programs/stand-in.json"), r#"{"guest": "polite"}"#).unwrap();
        let place = Place::here(host.env.path("kernel").to_str().unwrap());
        converges_and_stays(&host.env, &mut chance, &place, world);
    }
}
