//! The verbs that are killed, and what stands around each of them. Each is a test, so that they run beside each other.
//!
//! How they are killed is in the parent.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    path::PathBuf,
};

use super::{over_both, over_both_apart};
use crate::local::Host;

/// A verb, and how to kill it again and again.
pub(super) struct Case {
    /// The command.
    pub(super) line: &'static str,
    /// What brings the VM from nothing to where the verb can be used.
    pub(super) before: &'static [&'static str],
    /// What is done before each time.
    pub(super) each: &'static [&'static str],
    /// The same beside commands.
    pub(super) ready: fn(&Host),
    /// The status that the first VM has when the verb was done, `None` if there is none.
    pub(super) done: Option<&'static str>,
    /// What else is then the case.
    pub(super) also: fn(&Host, &str),
    /// How the verb may end when it is tried once more, beside well: where the first one had gone through.
    pub(super) again: &'static [i32],
    /// What goes on from where it stopped, if trying once more is refused there.
    pub(super) on: Option<&'static str>,
    /// What brings it back to where the verb can be used.
    pub(super) back: &'static [&'static str],
    /// Whether it goes over the real one too, whose guest hears no button, lets go of nothing, and has no memory to save
    /// on some hosts.
    pub(super) real: bool,
}

impl Case {
    /// Of a VM that is off before and afterwards.
    const fn of(line: &'static str, before: &'static [&'static str]) -> Self {
        Self {
            line,
            before,
            each: &[],
            ready: |_| (),
            done: Some("stopped"),
            also: |_, _| (),
            again: &[],
            on: None,
            back: &[],
            real: true,
        }
    }

    const fn each(mut self, each: &'static [&'static str]) -> Self {
        self.each = each;
        self
    }

    const fn ready(mut self, ready: fn(&Host)) -> Self {
        self.ready = ready;
        self
    }

    const fn done(mut self, done: Option<&'static str>) -> Self {
        self.done = done;
        self
    }

    const fn runs(self) -> Self {
        self.done(Some("running"))
    }

    const fn also(mut self, also: fn(&Host, &str)) -> Self {
        self.also = also;
        self
    }

    const fn again(mut self, again: &'static [i32]) -> Self {
        self.again = again;
        self
    }

    const fn on(mut self, on: &'static str) -> Self {
        self.on = Some(on);
        self
    }

    const fn back(mut self, back: &'static [&'static str]) -> Self {
        self.back = back;
        self
    }

    const fn stand_in_only(mut self) -> Self {
        self.real = false;
        self
    }
}

pub(super) const CREATE: &str = "vm create --vmid 100 --name web --memory 256 --scsi0 local:1 --scsi1 local:1 \
                                 --kernel kernel --ciuser admin --ide2 local:cloudinit";
const QCOW2: &str = "vm create --vmid 100 --name web --memory 256 --scsi0 local:1,format=qcow2 --kernel kernel";
const CARD: &str = "vm create --vmid 100 --name web --memory 256 --kernel kernel --net0 virtio,bridge=vmbr0";
const ONBOOT: &str = "vm create --vmid 100 --name web --memory 256 --kernel kernel --onboot";
const ONBOOT_TOO: &str = "vm create --vmid 101 --name db --memory 256 --kernel kernel --onboot";
pub(super) const START: &str = "vm start 100";
pub(super) const STOP: &str = "vm stop 100";
const SUSPEND: &str = "vm suspend 100";
const RESUME: &str = "vm resume 100";
const DELETE: &str = "vm delete 100 --confirm";
const TEMPLATE: &str = "vm template 100";
const LINK: &str = "vm clone 100 one --vmid 101";
const ADD: &str = "vm add disk 100 --volume local:1 --id data";
const QUEUE: &str = "vm add disk 100 --volume local:1 --id data --queue";
const REMOVE: &str = "vm remove 100 data";
const DESTROY: &str = "vm update 100 --unset unused0";
const TAKE: &str = "vm snapshot create 100 a-1";
const TAKE_MEMORY: &str = "vm snapshot create 100 a-1 --memory";
const FORGET: &str = "vm snapshot delete 100 a-1 --confirm";
const PLUG: &str = "vm add net 100 --bridge vmbr0 --id wan";
const UNPLUG: &str = "vm remove 100 wan";
const UPDATE: &str = "vm update 100 --description changed";
const UNSAID: &str = "vm update 100 --unset description";

fn disk(host: &Host) -> PathBuf {
    host.state().join("storage/local/images/100/vm-100-disk-0.raw")
}

/// Writes into the disk of the VM, as its guest would.
fn mark(host: &Host, text: &str) {
    OpenOptions::new().write(true).open(disk(host)).unwrap().write_all(text.as_bytes()).unwrap();
}

fn marked(host: &Host) -> String {
    let mut text = [0; 3];
    File::open(disk(host)).unwrap().read_exact(&mut text).unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

/// Writes into the disk, takes a snapshot by these lines if there is none, and writes something else.
fn change_after(host: &Host, lines: &[&str]) {
    mark(host, "one");
    if host.env.json("vm snapshot list 100") == serde_json::json!([]) {
        lines.iter().for_each(|line| drop(host.env.run(line).ok()));
    }
    mark(host, "two");
}

/// The disks are those of the snapshot.
fn is_back(host: &Host, when: &str) {
    assert_eq!((marked(host).as_str(), &host.status("100")["config"]["parent"]), ("one", &"a-1".into()), "{when}");
}

/// The last VM is whole, and not just listed.
fn is_copied(host: &Host, when: &str) {
    let listed = host.env.json("vm list");
    let copy = listed.as_array().unwrap().last().unwrap();
    assert!(copy["vmid"] != 100 && copy.get("lock").is_none(), "{when}: {copy}");
}

/// It has the disk that was asked for, once, and nothing waits.
fn is_added(host: &Host, when: &str) {
    let config = host.status("100")["config"].clone();
    let added = config.as_object().unwrap().values().filter(|value| *value == "id=data").count();
    assert_eq!(added, 1, "{when}: {config}");
}

fn is_added_and_nothing_waits(host: &Host, when: &str) {
    is_added(host, when);
    assert_eq!(host.env.json("queue list"), serde_json::json!([]), "{when}");
}

macro_rules! cases {
    ($($name:ident: $case:expr,)+ ; $($far:ident: $inside:literal,)+) => {
        /// How many there are.
        pub(super) const MANY: usize = [$(stringify!($name),)+ $(stringify!($far),)+].len();
        $(#[test] fn $name() { over_both(&$case); })+
        $(#[test] fn $far() { over_both_apart($inside); })+
    };
}

cases! {
    a_create_is_killed: Case::of(CREATE, &[]).again(&[6]).back(&[DELETE]),
    a_start_is_killed: Case::of(START, &[CREATE]).runs().back(&[STOP]),
    a_stop_is_killed: Case::of(STOP, &[CREATE, START]).back(&[START]),
    a_shutdown_is_killed: Case::of("vm shutdown 100", &[CREATE, START]).back(&[START]).stand_in_only(),
    a_restart_is_killed: Case::of("vm restart 100", &[CREATE, START]).runs().again(&[6, 9]).on(START).back(&[START]).stand_in_only(),
    a_delete_is_killed: Case::of(DELETE, &[CREATE]).done(None).again(&[3]).back(&[CREATE]),
    an_update_is_killed:
        Case::of("vm update 100 --cores 2 --description changed", &[CREATE]).back(&["vm update 100 --delete cores,description"]),

    a_clone_is_killed:
        Case::of("vm clone 100 copy --vmid 101", &[CREATE]).also(is_copied).again(&[6]).back(&["vm delete 101 --confirm"]),
    a_clone_of_a_vm_that_runs_is_killed:
        Case::of("vm clone 100 copy --vmid 101", &[CREATE, START]).ready(|host| mark(host, "run"))
            .runs().also(is_copied).again(&[6]).back(&["vm delete 101 --confirm"]),
    a_copy_that_starts_is_killed:
        Case::of("vm cp 100 copy --vmid 101", &[CREATE]).also(is_copied).again(&[6]).back(&["vm delete 101 --force --confirm"]),
    a_template_is_killed: Case::of(TEMPLATE, &[CREATE]).back(&[DELETE, CREATE]),
    a_linked_clone_is_killed:
        Case::of(LINK, &[CREATE, TEMPLATE]).also(is_copied).again(&[6]).back(&["vm delete 101 --confirm"]),
    a_full_clone_of_a_linked_one_is_killed:
        Case::of("vm clone 101 two --vmid 102 --full", &[CREATE]).each(&[])
            .ready(|host| if host.env.run("vm get 101").code != 0 {
                mark(host, "one");
                [TEMPLATE, LINK].iter().for_each(|line| drop(host.env.run(line).ok()));
            })
            .also(is_copied).again(&[6]).back(&["vm delete 102 --confirm"]),

    a_growth_is_killed: Case::of("vm resize-disk 100 scsi0 +1M", &[CREATE]).again(&[9]),
    a_growth_of_qcow2_is_killed: Case::of("vm resize-disk 100 scsi0 5T", &[QCOW2]).back(&[DELETE, QCOW2]),
    a_growth_of_a_vm_that_runs_is_killed: Case::of("vm resize-disk 100 scsi0 +1M", &[CREATE, START]).runs().again(&[9]),
    an_added_disk_is_killed: Case::of(ADD, &[CREATE]).also(is_added).again(&[6]).back(&[REMOVE, DESTROY]),
    a_disk_added_to_a_vm_that_runs_is_killed:
        Case::of(ADD, &[CREATE, START]).runs().also(is_added).again(&[6]).back(&[REMOVE, DESTROY]).stand_in_only(),
    a_removed_disk_is_killed:
        Case::of(REMOVE, &[CREATE, START]).each(&[ADD]).runs().again(&[3]).back(&[DESTROY]).stand_in_only(),
    a_destroyed_disk_is_killed: Case::of(DESTROY, &[CREATE]).each(&[ADD, REMOVE]).again(&[2]),
    a_change_for_the_queue_is_killed:
        Case::of(QUEUE, &[CREATE]).again(&[6]).back(&[UPDATE, REMOVE, DESTROY, UNSAID]),
    a_change_from_the_queue_is_killed:
        Case::of(UPDATE, &[CREATE, START]).each(&[QUEUE]).runs().also(is_added_and_nothing_waits)
            .back(&[REMOVE, DESTROY, UNSAID]).stand_in_only(),

    a_snapshot_is_killed: Case::of(TAKE, &[CREATE]).ready(|host| mark(host, "one")).again(&[6]).back(&[FORGET]),
    a_snapshot_of_a_vm_that_runs_is_killed: Case::of(TAKE, &[CREATE, START]).runs().again(&[6]).back(&[FORGET]),
    a_snapshot_with_memory_is_killed:
        Case::of(TAKE_MEMORY, &[CREATE, START]).runs().again(&[6]).back(&[FORGET]).stand_in_only(),
    a_removed_snapshot_is_killed:
        Case::of(FORGET, &[CREATE, START]).each(&[TAKE_MEMORY]).runs().again(&[3]).stand_in_only(),
    a_rollback_is_killed:
        Case::of("vm snapshot rollback 100 a-1 --confirm", &[CREATE])
            .ready(|host| change_after(host, &[TAKE])).also(is_back),
    a_rollback_of_a_vm_that_runs_is_killed:
        Case::of("vm snapshot rollback 100 a-1 --start --confirm", &[CREATE])
            .ready(|host| change_after(host, &[TAKE, START])).runs().also(is_back),
    a_rollback_to_memory_is_killed:
        Case::of("vm snapshot rollback 100 a-1 --confirm", &[CREATE])
            .ready(|host| change_after(host, &[START, TAKE_MEMORY]))
            .runs().also(is_back).again(&[6]).on(RESUME).back(&[UPDATE, UNSAID]).stand_in_only(),
    a_suspend_is_killed: Case::of(SUSPEND, &[CREATE, START]).again(&[6, 9]).back(&[START]).stand_in_only(),
    a_resume_is_killed: Case::of(RESUME, &[CREATE, START, SUSPEND]).runs().back(&[SUSPEND]).stand_in_only(),

    a_pulled_image_is_killed:
        Case::of("image pull disk.raw --name x", &[])
            .ready(|host| fs::write(host.env.path("disk.raw"), vec![7; 40 << 20]).unwrap())
            .done(None).again(&[6]).back(&["image delete x --confirm"]),
    a_start_of_all_is_killed:
        Case::of("host start-all", &[ONBOOT, ONBOOT_TOO]).runs().back(&[STOP, "vm stop 101"]),
    ; // In a namespace with a bridge.
    an_added_card_is_killed: "add_net",
    a_removed_card_is_killed: "remove_net",
}

pub(super) const ADD_NET: Case = Case::of(PLUG, &[CARD, START]).runs().again(&[6]).back(&[UNPLUG]).stand_in_only();
pub(super) const REMOVE_NET: Case = Case::of(UNPLUG, &[CARD, START]).each(&[PLUG]).runs().again(&[3]).stand_in_only();
