//! What only this host can tell of a VM: where its files are, which process it is, how it last came to stand still.

use std::{fs, path::Path};

use serde_json::{Map, Value, json};

use super::{Local, console, volumes::volume_of};
use crate::{
    backends::cloud_hypervisor::{
        disk, host, mapping,
        mapping::is_seed,
        state::{End, Vm},
    },
    model::{ConfigView, Result},
};

impl Local {
    /// `directory`, `sockets`, `starts`; where there are such: `pid`, `build`, `console`, `image`, `ended`; `disks` by
    /// key with `path`, `format`, `size` and `on-disk` in bytes; `shares` by key with `socket`, whether they are `served` and,
    /// where that is for us to do, `source`, `log` and the `pid` of what keeps them up.
    pub(super) fn describe(&self, vm: &Vm) -> Result<Map<String, Value>> {
        let places = self.places(vm);
        let mut here = Map::new();
        let mut set = |key: &str, value: Value| drop(here.insert(key.to_owned(), value));
        set("directory", json!(places.state));
        set("sockets", json!(places.run));
        set("starts", vm.generation.into());
        let process = vm.process.clone();
        if let Some(process) = process.filter(|process| matches!(host::Process::find(process), Ok(Some(_)))) {
            set("pid", process.pid.into());
            set("build", json!(vm.build));
        } else if let Some(end) = &vm.end {
            set("ended", ended(end).into());
        }
        set(
            "console",
            match console::port(vm) {
                console::Port::Console => "pvectl vm console".into(),
                console::Port::Log => format!("none; all goes into the log ({})", mapping::SERIAL_LOG).into(),
                console::Port::None => "none".into(),
            },
        );
        if let Some(image) = vm.settings.get(mapping::IMAGE) {
            set("image", image.into());
        }
        let mut disks = Map::new();
        for (key, drive) in vm.settings.guest_config(ConfigView::Current).disks() {
            let volume = volume_of(&drive);
            if volume.is_empty() || volume == "none" || is_seed(volume) {
                continue;
            }
            if let Ok(path) = self.file(volume) {
                disks.insert(key, file(&path));
            }
        }
        set("disks", disks.into());
        // A note that cannot be followed is for the next start to say.
        if let Ok(Value::Object(shares)) = self.tell_shares(vm)
            && !shares.is_empty()
        {
            set("shares", shares.into());
        }
        Ok(here)
    }
}

/// A disk's file; one that is gone or is none says so.
fn file(path: &Path) -> Value {
    let kept = fs::metadata(path).map(|file| disk::kept(&file));
    match (disk::inspect(path), kept) {
        (Ok(seen), Ok(kept)) => {
            json!({"path": path, "format": seen.format.as_str(), "size": seen.virtual_size, "on-disk": kept})
        }
        (Err(error), _) => json!({"path": path, "error": error.to_string()}),
        (_, Err(error)) => json!({"path": path, "error": error.to_string()}),
    }
}

fn ended(end: &End) -> String {
    match end {
        End::Stopped => "it was stopped".to_owned(),
        End::Suspended => "it was suspended to disk".to_owned(),
        End::PoweredOff => "the guest powered itself off".to_owned(),
        End::Crashed { last_event: None } => "its VMM died".to_owned(),
        End::Crashed { last_event: Some(event) } => format!("its VMM died; the last it said was `{event}`"),
        End::HostRebooted => "the host went down under it".to_owned(),
        End::FailedStart { error: None } => "it never came up".to_owned(),
        End::FailedStart { error: Some(error) } => format!("it never came up: {error}"),
    }
}
