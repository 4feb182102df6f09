//! What the verbs on the inside of a guest are called.

use super::super::verbs::Words;

/// The verb that runs a program in a guest.
pub const EXEC: Words = Words::new("exec", "running a program in", "ran a program");
/// The verb that writes a file in a guest.
pub const FILE_WRITE: Words = Words::new("file-write", "writing a file in", "file written");
/// The verb that holds the file systems of a guest still.
pub const FREEZE: Words = Words::new("fsfreeze-freeze", "freezing the file systems of", "file systems frozen");
/// The verb that lets them go on.
pub const THAW: Words = Words::new("fsfreeze-thaw", "thawing the file systems of", "file systems thawed");
/// The verb that gives back what the file systems of a guest do not use.
pub const TRIM: Words = Words::new("fstrim", "trimming the file systems of", "file systems trimmed");
/// The verb that sets a user's password in a guest.
pub const SET_PASSWORD: Words = Words::new("set-password", "setting a password in", "password set");
/// The verb that presses keys.
pub const SENDKEY: Words = Words::new("sendkey", "pressing keys of", "keys pressed");
/// The verb that makes the cloud-init drive anew.
pub const CLOUDINIT: Words =
    Words::new("cloudinit-regenerate", "making the cloud-init drive of", "cloud-init drive made anew");

/// All of them.
pub(in crate::ops) const ALL: &[Words] = &[EXEC, FILE_WRITE, FREEZE, THAW, TRIM, SET_PASSWORD, SENDKEY, CLOUDINIT];

/// What is done, before the name of a guest.
pub(in crate::ops) fn act(name: &str) -> &'static str {
    match name {
        "exec" => "run a program in",
        "file-write" => "write a file in",
        "fsfreeze-freeze" => "freeze the file systems of",
        "fsfreeze-thaw" => "thaw the file systems of",
        "fstrim" => "trim the file systems of",
        "set-password" => "set a password in",
        "sendkey" => "press keys of",
        "cloudinit-regenerate" => "make the cloud-init drive of",
        _ => "reach into",
    }
}
