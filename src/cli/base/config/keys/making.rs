//! What a guest is made from and set up with, and how a change is made.

use super::{Key, both, ct, vm};

pub(super) const CLOUD_INIT: &[Key] = &[
    vm("ciuser", "User to set up").value("USER").common(),
    vm("cipassword", "Its password: @FILE, - for stdin; alone it asks").value("@FILE").common(),
    vm("sshkeys", "All its keys, percent-encoded; see --ssh-key").value("TEXT"),
    vm("ipconfig[n]", "Address of card n: ip=dhcp, or ip=CIDR,gw=IP").value("IP").common(),
    vm("ciupgrade", "Upgrade packages at the first start"),
    vm("cicustom", "Files of your own: user=STORAGE:snippets/X").value("PARTS"),
    vm("citype", "Format of the drive").value("TYPE"),
];

pub(super) const CONTAINER: &[Key] = &[
    ct("unprivileged", "Its user ids are none of the node's").common(),
    ct("features", "Such as nesting=1,keyctl=1").value("PARTS").common(),
    ct("timezone", "Time zone; host: the node's").value("ZONE"),
    ct("arch", "Architecture").value("ARCH"),
    ct("entrypoint", "The command it begins with").value("COMMAND"),
    ct("env", "A variable of its first process. Repeatable").value("NAME=VALUE"),
    ct("debug", "Log more when it starts"),
];

pub(super) const CREATION: &[Key] = &[
    vm("archive", "Restore this backup").value("VOLUME"),
    ct("ostemplate", "Its image by volume id; see --template").value("VOLUME"),
    ct("password", "Root's password: @FILE, - for stdin; alone it asks").value("@FILE").common(),
    ct("ssh-public-keys", "Root's keys: @FILE or the text; see --ssh-key").value("KEYS"),
    both("bwlimit", "Slow down restoring to so many KiB/s"),
    both("unique", "Draw new MAC addresses when restoring"),
    vm("live-restore", "Start it while it is being restored"),
    ct("restore", "The image is a backup of a container"),
    ct("ignore-unpack-errors", "Go on when unpacking goes wrong"),
    both("ha-managed", "Let HA look after it from the beginning"),
];

pub(super) const CHANGE: &[Key] = &[
    both("revert", "Take back changes that wait for a restart").value("KEYS"),
    both("digest", "Change it only if it is still so").value("DIGEST"),
    vm("background_delay", "Seconds to wait before it becomes a task"),
    vm("skiplock", "Ignore a lock; only root"),
];
