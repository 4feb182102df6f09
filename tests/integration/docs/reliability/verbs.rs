//! Every command, and where it stands: in the matrix, or why not.
//!
//! Data only. `words` are those of the reference.

/// A command that changes a server.
pub(super) struct Verb {
    /// Its words: `vm start`.
    pub(super) words: &'static str,
    /// What it is called with beside, where it is in the matrix more than once.
    pub(super) with: &'static str,
    /// What is typed. `{upid}` is what the last command before it printed.
    pub(super) line: &'static str,
    /// What is done before.
    pub(super) setup: &'static [&'static str],
    /// Whether tasks that are begun before do not end.
    pub(super) slow: bool,
    /// Whether it sends the last reads before its change side by side: which of them a fault strikes is chance, so the
    /// one before them is struck.
    pub(super) abreast: bool,
}

const fn verb(words: &'static str, line: &'static str) -> Verb {
    Verb { words, with: "", line, setup: &[], slow: false, abreast: false }
}

impl Verb {
    const fn after(self, setup: &'static [&'static str]) -> Self {
        Self { setup, ..self }
    }

    const fn with(self, with: &'static str) -> Self {
        Self { with, ..self }
    }
}

/// What a screen over SPICE needs.
const SPICE: &[&str] = &["vm update 100 --vga qxl", "vm restart 100"];

/// What a create and a start need that are to be gone on with.
const CUT_OFF: &[&str] = &[
    "vm create --vmid 150 --name made --node pve1 --description 'sandbox: start fails' --start",
    "vm update 150 --description mended",
];

// What changes of things need that are not there from the beginning; the first, or the last, makes one.
const FAST: &[&str] = &["storage create fast --type dir --path /srv/fast --content images,rootdir"];
const ALONE: &[&str] = &["container delete 111 --confirm"];
const ROLE: &[&str] = &["role create Made --privs VM.Audit"];
const REALM: &[&str] =
    &["realm create made --type ldap --server1 ldap.example.org --base_dn dc=example,dc=org --user_attr uid"];
const TOKEN: &[&str] = &["token create audit@pve made"];
const BACKUP: &[&str] = &["backup-job create made --schedule 02:30 --storage local --vmid 100 --node pve1"];
const REPLICATION: &[&str] = &["replication create 100-0 --target pve2"];
const HA: &[&str] = &["ha resource create vm:100 --state started"];
const HA_RULE: &[&str] = &[HA[0], "ha rule create made --type node-affinity --resources vm:100 --nodes pve1"];
const PCI: &[&str] = &["mapping pci create made --map node=pve1,path=0000:01:00.0,id=10de:2204"];
const USB: &[&str] = &["mapping usb create made --map node=pve1,id=0529:0001"];
const DIR: &[&str] = &["mapping dir create made --map node=pve1,path=/srv/made"];
const RULE: &str = "firewall rule create --guest 101 --type in --action ACCEPT --macro SSH";
const RULES: &[&str] = &[RULE, "firewall rule create --guest 101 --type in --action DROP"];
const SECURITY: &[&str] = &["firewall group create made"];
const EMPTY_SET: &[&str] = &["firewall ipset create made"];
const SET: &[&str] = &[EMPTY_SET[0], "firewall entry create 192.0.2.0/24 --ipset made"];
const ALIAS: &[&str] = &["firewall alias create made --cidr 192.0.2.1"];
const ACME: &[&str] = &["node config update pve1 --acme domains=pve1.example.org"];
const METRIC: &[&str] = &["metric-server create made --type graphite --server 192.0.2.20 --port 2003"];
const NETWORK: &[&str] = &["network create vmbr1 --node pve1 --type bridge"];

// A backup, and its name.
const VM_BACKUP: &[&str] = &["vm backup create 101", "vm backup list 101 -o name"];
const CT_BACKUP: &[&str] = &["container backup create 111", "container backup list 111 -o name"];
const TWO_BACKUPS: &[&str] = &["vm backup create 101", "vm backup create 101"];
const TWO_OF_A_CT: &[&str] = &["container backup create 111", "container backup create 111"];

pub(super) static VERBS: &[Verb] = &[
    verb("vm create", "vm create --vmid 150 --name made --node pve1"),
    verb("vm create", "vm create --vmid 150 --name made --node pve1 --start").with("--start"),
    verb("vm start", "vm start 101"),
    verb("vm stop", "vm stop 100"),
    verb("vm shutdown", "vm shutdown 100"),
    verb("vm restart", "vm restart 100"),
    verb("vm reset", "vm reset 100"),
    verb("vm pause", "vm pause 100"),
    verb("vm resume", "vm resume 100").after(&["vm pause 100"]),
    verb("vm suspend", "vm suspend 100"),
    verb("vm update", "vm update 101 --cores 4"),
    verb("vm rename", "vm rename 101 other"),
    verb("vm add disk", "vm add disk 101 --volume local-lvm:4"),
    verb("vm add net", "vm add net 101 --bridge vmbr0"),
    verb("vm add fs", "vm add fs 101 --tag made").after(DIR),
    verb("vm add device", "vm add device 101 --mapping made").after(PCI),
    Verb { abreast: true, ..verb("vm remove", "vm remove 101 net0") },
    verb("vm delete", "vm delete 103 --confirm"),
    verb("vm delete", "vm delete 100 --force --confirm").with("--force"),
    verb("vm snapshot create", "vm snapshot create 100 fresh"),
    verb("vm snapshot rollback", "vm snapshot rollback 101 before-upgrade --confirm"),
    verb("vm snapshot delete", "vm snapshot delete 101 before-upgrade --confirm"),
    verb("vm snapshot update", "vm snapshot update 101 before-upgrade --description told"),
    verb("vm config rollback", "vm config rollback 101 --before 1 --confirm").after(&["vm update 101 --cores 4"]),
    verb("vm exec", "vm exec 100 -- true"),
    verb("vm file write", "vm file write 100 /tmp/made"),
    verb("vm agent fsfreeze freeze", "vm agent fsfreeze freeze 100"),
    verb("vm agent fsfreeze thaw", "vm agent fsfreeze thaw 100"),
    verb("vm agent fstrim", "vm agent fstrim 100"),
    verb("vm sendkey", "vm sendkey 100 ret"),
    verb("vm monitor", "vm monitor 100 -- announce_self"),
    verb("vm spice", "vm spice 100").after(SPICE),
    verb("vm cloudinit regenerate", "vm cloudinit regenerate 101").after(&["vm update 101 --ide2 local-lvm:cloudinit"]),
    verb("vm agent set-password", "vm agent set-password 100 root --password @/etc/shells"),
    verb("vm clone", "vm clone 9000 made --vmid 150"),
    verb("vm cp", "vm cp 103"),
    Verb { abreast: true, ..verb("vm backup create", "vm backup create 101") },
    verb("vm backup update", "vm backup update {upid} --notes told").after(VM_BACKUP),
    verb("vm backup delete", "vm backup delete {upid} --confirm").after(VM_BACKUP),
    verb("vm backup prune", "vm backup prune 101 --keep-last 1 --confirm").after(TWO_BACKUPS),
    verb("vm backup restore", "vm backup restore {upid} --vmid 150").after(VM_BACKUP),
    verb("vm migrate", "vm migrate 103 pve1"),
    verb("vm migrate", "vm migrate 100 pve2 --with-local-disks").with("--with-local-disks"),
    verb("vm move-disk", "vm move-disk 103 scsi0 fast").after(FAST),
    verb("vm detach", "vm detach 103 scsi0"),
    verb("vm reassign", "vm reassign 103 scsi0 --to 150 --as scsi1").after(&["vm clone 103 other --vmid 150"]),
    verb("vm import-disk", "vm import-disk 103 local-lvm:vm-103-disk-0 --storage local-lvm"),
    verb("vm tag add", "vm tag add 103 made"),
    verb("vm tag remove", "vm tag remove 103 build"),
    verb("vm template", "vm template 103 --confirm"),
    verb("vm resize-disk", "vm resize-disk 103 scsi0 +1G"),
    verb(
        "container create",
        "container create --vmid 150 --name made --node pve1 --rootfs local-lvm:4 --template debian-12",
    ),
    verb("container start", "container start 111"),
    verb("container stop", "container stop 110"),
    verb("container shutdown", "container shutdown 110"),
    verb("container restart", "container restart 110"),
    verb("container pause", "container pause 110"),
    verb("container resume", "container resume 110").after(&["container pause 110"]),
    verb("container update", "container update 111 --cores 4"),
    verb("container rename", "container rename 111 other"),
    verb("container add disk", "container add disk 111 --volume local-lvm:4 --mp /srv"),
    verb("container add net", "container add net 111 --bridge vmbr0"),
    Verb { abreast: true, ..verb("container remove", "container remove 111 net0") },
    verb("container spice", "container spice 110"),
    verb("container delete", "container delete 111 --confirm"),
    verb("container snapshot create", "container snapshot create 111 fresh"),
    verb("container snapshot rollback", "container snapshot rollback 111 fresh --confirm")
        .after(&["container snapshot create 111 fresh"]),
    verb("container snapshot delete", "container snapshot delete 111 fresh --confirm")
        .after(&["container snapshot create 111 fresh"]),
    verb("container snapshot update", "container snapshot update 111 fresh --description told")
        .after(&["container snapshot create 111 fresh"]),
    verb("container config rollback", "container config rollback 111 --before 1 --confirm")
        .after(&["container update 111 --cores 4"]),
    verb("container clone", "container clone 111 made --vmid 150"),
    verb("container cp", "container cp 111"),
    Verb { abreast: true, ..verb("container backup create", "container backup create 111") },
    verb("container backup update", "container backup update {upid} --notes told").after(CT_BACKUP),
    verb("container backup delete", "container backup delete {upid} --confirm").after(CT_BACKUP),
    verb("container backup prune", "container backup prune 111 --keep-last 1 --confirm").after(TWO_OF_A_CT),
    verb("container backup restore", "container backup restore {upid} --vmid 150").after(CT_BACKUP),
    verb("container migrate", "container migrate 111 pve1"),
    verb("container move-disk", "container move-disk 111 rootfs fast").after(FAST),
    verb("container detach", "container detach 111 mp0").after(&["container update 111 --mp0 local-lvm:4,mp=/srv"]),
    verb("container reassign", "container reassign 111 mp0 --to 150")
        .after(&["container update 111 --mp0 local-lvm:4,mp=/srv", "container clone 111 other --vmid 150"]),
    verb("container tag add", "container tag add 111 made"),
    verb("container tag remove", "container tag remove 111 app.dns"),
    verb("container template", "container template 111 --confirm"),
    verb("container resize-disk", "container resize-disk 111 rootfs +1G"),
    verb("storage create", "storage create made --type dir --path /srv/made --content images"),
    verb("storage update", "storage update local-lvm --nodes pve1"),
    verb("storage delete", "storage delete local-lvm --confirm"),
    Verb { abreast: true, ..verb("backup create", "backup create 101") },
    verb("backup update", "backup update {upid} --notes told").after(VM_BACKUP),
    verb("backup delete", "backup delete {upid} --confirm").after(VM_BACKUP),
    verb("backup prune", "backup prune 101 --keep-last 1 --confirm").after(TWO_BACKUPS),
    verb("backup restore", "backup restore {upid} --vmid 150").after(VM_BACKUP),
    verb("image pull", "image pull debian-13-standard --node pve1"),
    verb("image upload", "image upload /etc/passwd --name made.iso --node pve1"),
    verb("image delete", "image delete local:iso/debian-12.7.0-amd64-netinst.iso --node pve1 --confirm"),
    verb("pool create", "pool create made"),
    verb("pool update", "pool update prod --comment other"),
    verb("pool delete", "pool delete made --confirm").after(&["pool create made"]),
    verb("pool add", "pool add prod 111"),
    verb("pool remove", "pool remove prod 111").after(&["pool add prod 111"]),
    verb("user create", "user create made@pve"),
    verb("user update", "user update audit@pve --comment other"),
    verb("user delete", "user delete totp@pve --confirm"),
    verb("group create", "group create made"),
    verb("group update", "group update made --comment other").after(&["group create made"]),
    verb("group delete", "group delete made --confirm").after(&["group create made"]),
    verb("role create", "role create Made --privs VM.Audit"),
    verb("role update", "role update Made --privs VM.Console --append").after(ROLE),
    verb("role delete", "role delete Made --confirm").after(ROLE),
    verb("realm create", REALM[0]),
    verb("realm update", "realm update made --comment other").after(REALM),
    verb("realm sync", "realm sync made --scope users").after(REALM),
    verb("user unlock-tfa", "user unlock-tfa totp@pve"),
    verb("realm delete", "realm delete made --confirm").after(REALM),
    verb("token create", "token create audit@pve made"),
    verb("token update", "token update audit@pve!readonly --comment other"),
    verb("token update", "token update audit@pve!made --regenerate").with("--regenerate").after(TOKEN),
    verb("token delete", "token delete audit@pve!made --confirm").after(TOKEN),
    verb("acl add", "acl add /pool/prod --user totp@pve --role PVEVMUser"),
    verb("acl remove", "acl remove / --user totp@pve --role PVEAuditor"),
    verb("backup-job create", BACKUP[0]),
    verb("backup-job update", "backup-job update made --schedule hourly").after(BACKUP),
    verb("backup-job delete", "backup-job delete made --confirm").after(BACKUP),
    verb("backup-job run", "backup-job run made").after(BACKUP),
    verb("replication create", REPLICATION[0]),
    verb("replication update", "replication update 100-0 --schedule hourly").after(REPLICATION),
    verb("replication delete", "replication delete 100-0 --confirm").after(REPLICATION),
    verb("replication run", "replication run 100-0").after(REPLICATION),
    verb("ha resource create", HA[0]),
    verb("ha resource update", "ha resource update vm:100 --state stopped").after(HA),
    verb("ha resource delete", "ha resource delete vm:100 --confirm").after(HA),
    verb("ha rule create", HA_RULE[1]).after(HA),
    verb("ha rule update", "ha rule update made --nodes pve2").after(HA_RULE),
    verb("ha rule delete", "ha rule delete made --confirm").after(HA_RULE),
    verb("mapping pci create", PCI[0]),
    verb("mapping pci update", "mapping pci update made --description other").after(PCI),
    verb("mapping pci delete", "mapping pci delete made --confirm").after(PCI),
    verb("mapping usb create", USB[0]),
    verb("mapping usb update", "mapping usb update made --description other").after(USB),
    verb("mapping usb delete", "mapping usb delete made --confirm").after(USB),
    verb("mapping dir create", DIR[0]),
    verb("mapping dir update", "mapping dir update made --description other").after(DIR),
    verb("mapping dir delete", "mapping dir delete made --confirm").after(DIR),
    verb("firewall rule create", RULE),
    verb("firewall rule update", "firewall rule update 0 --guest 101 --comment other").after(RULES),
    verb("firewall rule move", "firewall rule move 0 1 --guest 101").after(RULES),
    verb("firewall rule enable", "firewall rule enable 0 --guest 101").after(RULES),
    verb("firewall rule disable", "firewall rule disable 0 --guest 101")
        .after(&[RULE, "firewall rule enable 0 --guest 101"]),
    verb("firewall rule delete", "firewall rule delete 0 --guest 101 --confirm").after(RULES),
    verb("firewall options update", "firewall options update --node pve1 --nosmurfs"),
    verb("firewall group create", SECURITY[0]),
    verb("firewall group update", "firewall group update made --comment other").after(SECURITY),
    verb("firewall group delete", "firewall group delete made --confirm").after(SECURITY),
    verb("firewall ipset create", SET[0]),
    verb("firewall ipset update", "firewall ipset update made --comment other").after(SET),
    verb("firewall ipset delete", "firewall ipset delete made --force --confirm").after(SET),
    verb("firewall entry create", SET[1]).after(EMPTY_SET),
    verb("firewall entry update", "firewall entry update 192.0.2.0/24 --ipset made --comment other").after(SET),
    verb("firewall entry delete", "firewall entry delete 192.0.2.0/24 --ipset made --confirm").after(SET),
    verb("firewall alias create", ALIAS[0]),
    verb("firewall alias update", "firewall alias update made --cidr 192.0.2.2").after(ALIAS),
    verb("firewall alias delete", "firewall alias delete made --confirm").after(ALIAS),
    verb("network create", NETWORK[0]),
    verb("network update", "network update vmbr0 --node pve1 --comments other"),
    verb("network delete", "network delete vmbr1 --node pve1 --confirm").after(NETWORK),
    verb("network apply", "network apply --node pve1 --confirm").after(NETWORK),
    verb("network revert", "network revert --node pve1 --confirm").after(NETWORK),
    verb("node start-all", "node start-all pve1"),
    verb("node stop-all", "node stop-all pve1 --confirm"),
    verb("node suspend-all", "node suspend-all pve1 --confirm"),
    verb("node refresh-updates", "node refresh-updates pve1"),
    verb("node certificate upload", "node certificate upload pve1 /etc/passwd"),
    verb("node certificate delete", "node certificate delete pve1 --confirm"),
    verb("node certificate order", "node certificate order pve1").after(ACME),
    verb("node certificate renew", "node certificate renew pve1").after(ACME),
    verb("node certificate revoke", "node certificate revoke pve1 --confirm").after(ACME),
    verb("node config update", "node config update pve1 --description made"),
    verb("node dns update", "node dns update pve1 --dns2 192.0.2.53"),
    verb("node time update", "node time update pve1 --timezone Europe/Vienna"),
    verb("cluster update", "cluster update --keyboard de"),
    verb("metric-server create", METRIC[0]),
    verb("metric-server update", "metric-server update made --disable").after(METRIC),
    verb("metric-server delete", "metric-server delete made --confirm").after(METRIC),
    verb("node evacuate", "node evacuate pve3 --to pve1 --confirm").after(ALONE),
    verb("node migrate-all", "node migrate-all pve3 pve1 --confirm").after(ALONE),
    verb("node service", "node service restart pve1 pvestatd"),
    verb("node wake", "node wake pve3").after(&["sandbox node pve3 offline"]),
    verb("node shutdown", "node shutdown pve2 --confirm"),
    verb("node reboot", "node reboot pve2 --confirm"),
    verb("node spice", "node spice pve1"),
    Verb { setup: &["vm start 101 --no-wait --quiet"], slow: true, ..verb("task stop", "task stop {upid}") },
    verb("operation resume", "operation resume 1").after(CUT_OFF),
    verb("delete", "delete vm 103 --confirm"),
    verb("api post", "api post /nodes/{node}/qemu/{vmid}/status/start -p vmid=101"),
    verb("api put", "api put /nodes/{node}/qemu/{vmid}/config -p vmid=101 -p cores=4"),
    verb("api delete", "api delete /nodes/{node}/qemu/{vmid} -p vmid=103 --confirm"),
];

/// What Proxmox VE has no call for.
pub(super) const REFUSED: &[(&str, &str)] =
    &[("container reset", "container reset 110"), ("container suspend", "container suspend 110")];

/// Verbs that only read, on whatever kind.
pub(super) const READS: &[&str] = &[
    "list",
    "smart",
    "get",
    "describe",
    "history",
    "diff",
    "metrics",
    "wait",
    "logs",
    "watch",
    "attach",
    "show",
    "export",
    "verify",
    "ls",
    "content",
    "can-i",
    "status",
    "resources",
    "log",
    "options",
    "next-id",
    "tasks",
    "syslog",
    "services",
    "certificates",
    "refs",
    "macros",
    "pending",
    "disks",
    "pci",
    "usb",
    "updates",
    "versions",
    "available",
    "ip",
    "ping",
    "info",
    "osinfo",
    "hostname",
    "time",
    "timezone",
    "users",
    "fsinfo",
    "vcpus",
    "network",
    "read",
    "dump",
];

const HERE: &str = "things of this host, under Cloud Hypervisor";
const ROOT: &str = "wants root@pam by password, and the matrix has a token";
const TICKET: &str = "no API token may do it, and the matrix is gone through with one; its test is `kinds/people.rs`";
const LOGIN: &str = "makes or ends the login that the matrix is gone through with; its tests are `enroll/`";
const SITS: &str = "somebody sits at it; what opens it changes nothing";
const PLANS: &str = "asks the planners of the verbs above for what files say; its test is `manifests/killed.rs`";
const SERVED: &str = "of this host or of one that pvectl serves; its tests are `remote.rs`";
const LOOKS: &str = "goes the way to a server, and changes nothing there; its tests are `remote.rs`";
const PRINTS: &str = "print what is built in";

/// What sends no change to a Proxmox server, and why.
pub(super) const ELSEWHERE: &[(&str, &str)] = &[
    ("user password", TICKET),
    ("user tfa delete", TICKET),
    ("vm lock", ROOT),
    ("container lock", ROOT),
    ("vm unlock", ROOT),
    ("container unlock", ROOT),
    ("container add fs", ROOT),
    ("container add device", ROOT),
    ("vm console", SITS),
    ("vm vnc", SITS),
    ("container console", SITS),
    ("container vnc", SITS),
    ("node console", SITS),
    ("node vnc", SITS),
    ("vm ssh", "only asks for an address; the rest is the system's ssh"),
    ("container ssh", "only asks for an address; the rest is the system's ssh"),
    ("apply", PLANS),
    ("serve", HERE),
    ("host gc", HERE),
    ("host start-all", HERE),
    ("host stop-all", HERE),
    ("host facts", SERVED),
    ("host exec", SERVED),
    ("queue", SERVED),
    ("check", LOOKS),
    ("enroll", LOGIN),
    ("renew", LOGIN),
    ("unenroll", LOGIN),
    ("operation prune", "files of this account"),
    ("config", "files of this account"),
    ("sandbox", "files of this account"),
    ("explain", PRINTS),
    ("api-resources", PRINTS),
    ("completion", PRINTS),
    ("version", PRINTS),
    ("help", PRINTS),
];
