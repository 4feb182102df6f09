//! What each verb does, with the answers of v53 word for word where they were seen.

use serde_json::{Map, Value, json};

use crate::{
    config,
    devices::{self, Disk, Listening},
    machine::{Booted, Machine, Refusal, refuse},
};

const STEP: u64 = 128 << 20;

/// What can be added: verb, section, in prose, the stem of its name.
const ADDABLE: &[(&str, &str, &str, &str)] = &[
    ("vm.add-device", "devices", "The device could not be added to the VM", "_vfio"),
    ("vm.add-user-device", "user_devices", "The user device could not be added to the VM", "_vfio_user"),
    ("vm.add-disk", "disks", "The disk could not be added to the VM", "_disk"),
    ("vm.add-fs", "fs", "The fs could not be added to the VM", "_fs"),
    (
        "vm.add-generic-vhost-user",
        "generic_vhost_user",
        "The generic vhost-user device could not be added to the VM",
        "_generic_vhost_user",
    ),
    ("vm.add-net", "net", "The network device could not be added to the VM", "_net"),
    ("vm.add-pmem", "pmem", "The pmem device could not be added to the VM", "_pmem"),
    ("vm.add-vdpa", "vdpa", "The vDPA device could not be added to the VM", "_vdpa"),
    ("vm.add-vsock", "vsock", "The vsock device could not be added to the VM", "_vsock"),
];

/// Sections in the order in which a boot places their devices.
const ORDER: &[&str] =
    &["disks", "net", "rng", "generic_vhost_user", "fs", "pmem", "vsock", "balloon", "vdpa", "devices"];

type Done = Result<Option<Value>, Refusal>;

fn chained<T>(status: u16, head: &[&str], chain: Vec<String>) -> Result<T, Refusal> {
    Err((status, head.iter().map(|word| (*word).to_owned()).chain(chain).collect()))
}

fn field<'a>(body: &'a Value, name: &str) -> Result<&'a str, Refusal> {
    match &body[name] {
        Value::String(text) => Ok(text),
        Value::Null => Err((400, vec![format!("missing field `{name}`")])),
        other => Err((400, vec![format!("invalid type: {other}, expected a string")])),
    }
}

fn number(body: &Value, name: &str) -> Result<Option<u64>, Refusal> {
    match &body[name] {
        Value::Null => Ok(None),
        value => value.as_u64().map(Some).ok_or_else(|| (400, vec![format!("invalid type: {value}, expected u64")])),
    }
}

impl Booted {
    /// Gives a device its name, and its place if all went well with it.
    fn name(&mut self, device: &mut Value, stem: &str) -> String {
        if let Some(id) = device["id"].as_str() {
            return id.to_owned();
        }
        let id = format!("{stem}{}", self.named);
        self.named += 1;
        device["id"] = json!(id);
        id
    }

    fn place(&mut self, id: &str) -> String {
        let taken = |slot: usize| self.slots.iter().any(|(_, bdf)| *bdf == format!("0000:00:{slot:02x}.0"));
        let slot = (1..32).find(|slot| !taken(*slot)).unwrap_or(31);
        let bdf = format!("0000:00:{slot:02x}.0");
        self.slots.push((id.to_owned(), bdf.clone()));
        bdf
    }

    fn attach(&mut self, key: &str, device: &mut Value) -> Result<String, Vec<String>> {
        let stem = ADDABLE.iter().find(|(_, section, _, _)| *section == key).map_or("_", |(_, _, _, stem)| stem);
        let id = match key {
            "rng" => "__rng".to_owned(),
            "balloon" => "__balloon".to_owned(),
            _ => self.name(device, stem),
        };
        match key {
            "disks" => self.disks.push(Disk::open(device, self.walls.as_deref())?),
            "net" => devices::tap(device)?,
            "vsock" => {
                let socket = Listening::at(device["socket"].as_str().unwrap_or_default()).map_err(|error| {
                    vec![
                        "Cannot create virtio-vsock backend".to_owned(),
                        "Error binding to the host-side Unix socket".to_owned(),
                        error.to_string(),
                    ]
                })?;
                self.sockets.push((id.clone(), socket));
            }
            "pmem" => {
                let file = device["file"].as_str().unwrap_or_default();
                let size = std::fs::metadata(file).map_err(|error| vec![error.to_string()])?.len();
                let size = device["size"].as_u64().unwrap_or(size);
                if !size.is_multiple_of(2 << 20) {
                    return Err(vec!["Trying to use a size that is not multiple of 2MiB".to_owned()]);
                }
            }
            "fs" | "generic_vhost_user" | "user_devices" => {
                let socket = device["socket"].as_str().unwrap_or_default();
                let connected = std::os::unix::net::UnixStream::connect(socket);
                let connected =
                    connected.map_err(|error| vec!["Cannot create vhost-user device".to_owned(), error.to_string()])?;
                self.served.push((id.clone(), connected));
            }
            "devices" | "vdpa" => {
                let path = device["path"].as_str().unwrap_or_default();
                std::fs::metadata(path)
                    .map_err(|error| vec!["Cannot create a VFIO device".to_owned(), error.to_string()])?;
            }
            _ => {}
        }
        Ok(self.place(&id))
    }
}

impl Machine {
    /// Verbs that take a body.
    pub(crate) const KNOWN: &[&str] = &[
        "vm.create",
        "vm.resize",
        "vm.resize-disk",
        "vm.resize-zone",
        "vm.remove-device",
        "vm.snapshot",
        "vm.restore",
        "vm.send-migration",
        "vm.receive-migration",
        "vm.add-device",
        "vm.add-user-device",
        "vm.add-disk",
        "vm.add-fs",
        "vm.add-generic-vhost-user",
        "vm.add-net",
        "vm.add-pmem",
        "vm.add-vdpa",
        "vm.add-vsock",
    ];

    pub(crate) fn act(&mut self, verb: &str, body: Value) -> Done {
        match verb {
            "vmm.ping" => {
                let version = self.control.orders().version.unwrap_or_else(|| "53.0.0".to_owned());
                Ok(Some(json!({"build_version": format!("v{version}"), "version": version,
                    "pid": std::process::id(), "features": ["io_uring", "kvm"]})))
            }
            "vmm.shutdown" => {
                self.drop_machine();
                Ok(None)
            }
            "vm.delete" => {
                self.drop_machine();
                Ok(None)
            }
            "vm.create" => self.create(body),
            "vm.boot" => self.boot("booting", "booted"),
            "vm.shutdown" => {
                self.running("The VM could not shutdown")?;
                self.cut_power();
                Ok(None)
            }
            "vm.reboot" => {
                self.events.say("vm", "rebooting", Value::Null);
                if self.booted.is_none() {
                    return refuse(404, &["The VM could not reboot", "VM is not created"]);
                }
                (self.booted, self.consoles) = (None, None);
                self.boot("", "rebooted")
            }
            "vm.power-button" => {
                self.running("Error triggering power button")?;
                if let Some(delay) = self.control.orders().polite() {
                    self.guest_powers_off_after(delay);
                }
                Ok(None)
            }
            "vm.nmi" => self.running("Error triggering NMI").map(|_| None),
            "vm.pause" => self.turn("pause", "paused", "The VM could not be paused", "Paused"),
            "vm.resume" => self.turn("resume", "resumed", "The VM could not resume", "Running"),
            "vm.info" => self.info(),
            "vm.counters" => self.counters(),
            "vm.resize" => self.resize(&body),
            "vm.resize-disk" => self.resize_disk(&body),
            "vm.resize-zone" => {
                field(&body, "id")?;
                let status = if self.config.is_some() { "Failed resizing a memory zone" } else { "VM is not created" };
                refuse(if self.config.is_some() { 500 } else { 404 }, &["The memory zone could not be resized", status])
            }
            "vm.remove-device" => self.remove(field(&body, "id")?.to_owned()),
            "vm.snapshot" => self.snapshot(field(&body, "destination_url")?),
            "vm.restore" => self.restore(field(&body, "source_url")?, body["resume"] == true),
            "vm.send-migration" | "vm.receive-migration" => {
                refuse(500, &["Error dispatching the migration worker", "The stand-in cannot migrate"])
            }
            add => match ADDABLE.iter().find(|(verb, ..)| *verb == add) {
                Some((_, key, prose, _)) => self.add(key, prose, body),
                None => refuse(404, &["Not Found"]),
            },
        }
    }

    fn running(&mut self, prose: &str) -> Result<&mut Booted, Refusal> {
        match &mut self.booted {
            Some(booted) => Ok(booted),
            None => refuse(500, &[prose, "VM is not running"]),
        }
    }

    fn open_consoles(&mut self, prose: &str) -> Result<(), Refusal> {
        let Some(config) = &mut self.config else { return Ok(()) };
        let mut open = Vec::new();
        for key in ["serial", "console"] {
            match devices::console(key, &mut config[key]) {
                Ok(console) => open.extend(console),
                Err(chain) => return chained(500, &[prose, "Error creating console devices"], chain),
            }
        }
        self.consoles = Some(open);
        Ok(())
    }

    fn create(&mut self, body: Value) -> Done {
        let Value::Object(given) = body else { return Err((400, vec!["invalid type, expected a map".to_owned()])) };
        let config = config::whole(given).map_err(|said| (400, vec![said]))?;
        if self.config.is_some() {
            return refuse(500, &["The VM could not be created", "VM is already created"]);
        }
        // Set before its consoles are: one that fails there is defined all the same.
        self.config = Some(config);
        self.open_consoles("The VM could not be created")?;
        Ok(None)
    }

    fn boot(&mut self, before: &str, after: &str) -> Done {
        const PROSE: &str = "The VM could not boot";
        if !before.is_empty() {
            self.events.say("vm", before, Value::Null);
        }
        if self.config.is_none() {
            return refuse(404, &[PROSE, "VM config is missing"]);
        }
        if self.booted.is_some() {
            return refuse(500, &[PROSE, "VM is already created"]);
        }
        if self.consoles.is_none() {
            self.open_consoles(PROSE)?;
        }
        let Some(config) = &mut self.config else { return Ok(None) };
        validate(config).or_else(|chain| chained(500, &[PROSE], chain))?;
        let mut booted = Booted {
            state: "Running",
            vcpus: config["cpus"]["boot_vcpus"].as_u64().unwrap_or(1),
            memory: config["memory"]["size"].as_u64().unwrap_or_default(),
            balloon: config["balloon"]["size"].as_u64().unwrap_or_default(),
            walls: devices::walls(config),
            ..Booted::default()
        };
        for key in ORDER {
            // Taken out while they are opened: when one fails, all disks are gone from the configuration.
            let mut section = config[*key].take();
            let each: Vec<&mut Value> = match &mut section {
                Value::Array(each) => each.iter_mut().collect(),
                Value::Null => Vec::new(),
                one => vec![one],
            };
            let mut failed = None;
            for device in each {
                if let Err(chain) = booted.attach(key, device) {
                    failed = Some(chain);
                    break;
                }
            }
            if failed.is_none() || *key != "disks" {
                config[*key] = section;
            }
            drop_nulls(config);
            if let Some(chain) = failed {
                self.consoles = None;
                return chained(500, &[PROSE, "Error from device manager"], chain);
            }
        }
        if let Some(chain) = booted.disks.iter().find_map(|disk| disk.lock().err()) {
            // Here there is a machine already, and it stays.
            booted.state = "Created";
            self.booted = Some(booted);
            return chained(500, &[PROSE, "Error locking disk images: Another instance likely holds a lock"], chain);
        }
        if let Err(chain) = devices::payload(&config["payload"]) {
            self.consoles = None;
            config["disks"].take();
            drop_nulls(config);
            return chained(500, &[PROSE], chain);
        }
        self.booted = Some(booted);
        self.events.say("vm", after, Value::Null);
        let said = self.control.orders().serial;
        // The first is the serial port, if there is one.
        if let Some(serial) = self.consoles.iter().flatten().next().filter(|_| !said.is_empty()) {
            serial.say(&said);
        }
        Ok(None)
    }

    fn turn(&mut self, verb: &str, past: &str, prose: &str, state: &'static str) -> Done {
        if self.booted.is_some() {
            self.events.say("vm", if verb == "pause" { "pausing" } else { "resuming" }, Value::Null);
        }
        let booted = self.running(prose)?;
        if booted.state == state || (booted.state == "Created" && state == "Running") {
            let head = if verb == "pause" { "Cannot pause VM" } else { "Cannot resume VM" };
            let failed = format!("Failed to {verb} migratable component");
            let from = booted.state;
            let why = format!("Invalid transition: InvalidStateTransition({from}, {state})");
            return refuse(500, &[prose, head, &failed, &why]);
        }
        booted.state = state;
        self.events.say("vm", past, Value::Null);
        Ok(None)
    }

    fn info(&self) -> Done {
        let Some(config) = &self.config else {
            return refuse(404, &["The VM info is not available", "VM is not created"]);
        };
        let Some(booted) = &self.booted else {
            return Ok(Some(json!({"config": config, "state": "Created",
                "memory_actual_size": config["memory"]["size"]})));
        };
        let mut tree = Map::new();
        for (id, bdf) in &booted.slots {
            let parent = format!("_virtio-pci-{id}");
            tree.insert(id.clone(), json!({"id": id, "resources": [], "parent": parent, "children": []}));
            tree.insert(parent.clone(), json!({"id": parent, "resources": [], "children": [id], "pci_bdf": bdf}));
        }
        Ok(Some(json!({"config": config, "state": booted.state,
            "memory_actual_size": booted.memory.saturating_sub(booted.balloon), "device_tree": tree})))
    }

    fn counters(&mut self) -> Done {
        let orders = self.control.orders();
        let config = self.config.clone().unwrap_or_default();
        let disks = &self.running("The VM info is not available")?.disks;
        // One that the guest has not let go of still counts.
        let disks: Vec<String> = disks.iter().map(|disk| disk.id.clone()).collect();
        let mut all = Map::new();
        let ids = |key: &str| -> Vec<String> {
            let each = config[key].as_array().cloned().unwrap_or_default();
            each.iter().filter_map(|device| device["id"].as_str().map(str::to_owned)).collect()
        };
        for id in disks {
            let mut counters = Map::new();
            for way in ["read", "write"] {
                counters.insert(format!("{way}_bytes"), json!(0));
                counters.insert(format!("{way}_ops"), json!(0));
                counters.insert(format!("{way}_latency_min"), json!(u64::MAX));
                counters.insert(format!("{way}_latency_max"), json!(u64::MAX));
                counters.insert(format!("{way}_latency_avg"), json!(u64::MAX / 10_000));
            }
            all.insert(id, Value::Object(counters));
        }
        for id in ids("net") {
            all.insert(id, json!({"rx_bytes": 0, "rx_frames": 0, "tx_bytes": 0, "tx_frames": 0}));
        }
        for (id, told) in &orders.counters {
            if let (Some(Value::Object(counters)), Value::Object(told)) = (all.get_mut(id), told) {
                counters.extend(told.clone());
            }
        }
        Ok(Some(Value::Object(all)))
    }

    fn resize(&mut self, body: &Value) -> Done {
        const PROSE: &str = "The VM could not be resized";
        let (vcpus, ram) = (number(body, "desired_vcpus")?, number(body, "desired_ram")?);
        let balloon = number(body, "desired_balloon")?;
        let polite = self.control.orders().polite().is_some();
        let Some(config) = &mut self.config else { return refuse(404, &[PROSE, "VM is not created"]) };
        let Some(booted) = &mut self.booted else {
            // Before boot nothing is checked.
            if let Some(vcpus) = vcpus {
                config["cpus"]["boot_vcpus"] = json!(vcpus);
            }
            if let Some(ram) = ram {
                config["memory"]["size"] = json!(ram);
            }
            if let Some(bytes) = balloon
                && !config["balloon"].is_null()
            {
                config["balloon"]["size"] = json!(bytes);
            }
            drop_nulls(config);
            return Ok(None);
        };
        self.events.say("vm", "resizing", Value::Null);
        if let Some(vcpus) = vcpus {
            if vcpus == 0 {
                return refuse(500, &[PROSE, "Error from CPU manager", "Requested zero vCPUs"]);
            }
            // Processors that the guest has not let go of are still there.
            if vcpus != booted.vcpus {
                if booted.pending {
                    return refuse(429, &[]);
                }
                if vcpus > config["cpus"]["max_vcpus"].as_u64().unwrap_or(1) {
                    return refuse(500, &[PROSE, "Error from CPU manager", "Requested vCPUs exceed maximum"]);
                }
                booted.pending = vcpus < booted.vcpus && !polite;
                if !booted.pending {
                    booted.vcpus = vcpus;
                }
            }
            config["cpus"]["boot_vcpus"] = json!(vcpus);
        }
        if let Some(ram) = ram {
            let size = config["memory"]["size"].as_u64().unwrap_or_default();
            let room = config["memory"]["hotplug_size"].as_u64().unwrap_or_default();
            let why = match ram.checked_sub(booted.memory) {
                None | Some(0) => None,
                Some(more) if !more.is_multiple_of(STEP) => {
                    Some("The requested hotplug memory addition is not a valid size")
                }
                Some(_) if ram > size + room => Some("Not enough space in the hotplug RAM region"),
                Some(_) => None,
            };
            if let Some(why) = why {
                return refuse(500, &[PROSE, "Memory manager error", why]);
            }
            booted.memory = ram;
            // Whatever the guest does about it.
            config["memory"]["hotplugged_size"] = if ram > size { json!(ram - size) } else { Value::Null };
            if let Value::Object(memory) = &mut config["memory"] {
                drop_nulls_in(memory);
            }
        }
        if let Some(bytes) = balloon {
            if config["balloon"].is_null() {
                drop_nulls(config);
                let why = "Missing virtio-balloon, can't proceed as expected";
                return refuse(500, &[PROSE, "Error from device manager", why]);
            }
            config["balloon"]["size"] = json!(bytes);
            if polite {
                booted.balloon = bytes;
            }
        }
        drop_nulls(config);
        self.events.say("vm", "resized", Value::Null);
        Ok(None)
    }

    fn resize_disk(&mut self, body: &Value) -> Done {
        const PROSE: &str = "The disk could not be resized";
        let id = field(body, "id")?;
        let Some(size) = number(body, "desired_size")? else {
            return Err((400, vec!["missing field `desired_size`".to_owned()]));
        };
        let Some(config) = &self.config else { return refuse(404, &[PROSE, "VM is not created"]) };
        let Some(booted) = &self.booted else { return refuse(500, &[PROSE, "Failed resizing a disk image"]) };
        let Some(disk) = booted.disks.iter().find(|disk| disk.id == id) else {
            let why = format!("Failed to find device corresponding to the given identifier: {id}");
            return refuse(500, &[PROSE, "Error from device manager", &why]);
        };
        let image = config["disks"].as_array().and_then(|disks| disks.iter().find(|disk| disk["id"] == id));
        let grown = match image.and_then(|disk| disk["image_type"].as_str()) {
            // A raw disk is cut off when told so, without a question.
            Some("Raw") => disk.file.set_len(size),
            Some("Qcow2") => grow_qcow2(&disk.file, size),
            _ => Err(std::io::Error::other("Failed to resize disk")),
        };
        match grown {
            Ok(()) => Ok(None),
            Err(error) => refuse(500, &[PROSE, "Error from device manager", &error.to_string()]),
        }
    }

    fn add(&mut self, key: &str, prose: &str, mut device: Value) -> Done {
        config::section(key, &mut device).map_err(|said| (400, vec![said]))?;
        let Some(config) = &mut self.config else { return refuse(404, &[prose, "VM is not created"]) };
        if key == "vsock" && !config["vsock"].is_null() {
            return refuse(500, &[prose, "Too many virtio-vsock devices"]);
        }
        let mut place = None;
        if let Some(booted) = &mut self.booted {
            let mut whole = config.clone();
            join(&mut whole, key, device.clone());
            validate(&whole).or_else(|chain| chained(500, &[prose], chain))?;
            let attached = booted.attach(key, &mut device).and_then(|bdf| {
                let id = device["id"].as_str().unwrap_or_default().to_owned();
                match booted.disks.last().filter(|_| key == "disks").map(Disk::lock) {
                    Some(Err(chain)) => {
                        booted.disks.pop();
                        booted.slots.retain(|(name, _)| *name != id);
                        Err(chain)
                    }
                    _ => Ok(json!({"id": id, "bdf": bdf})),
                }
            });
            place = Some(attached.or_else(|chain| chained(500, &[prose, "Error from device manager"], chain))?);
        }
        join(config, key, device);
        drop_nulls(config);
        Ok(place)
    }

    fn remove(&mut self, id: String) -> Done {
        const PROSE: &str = "The device could not be removed from the VM";
        let polite = self.control.orders().polite();
        let Some(config) = &mut self.config else { return refuse(404, &[PROSE, "VM is not created"]) };
        let there = take_device(&mut config.clone(), &id);
        let unknown = format!("Failed to find device corresponding to the given identifier: {id}");
        let Some(booted) = &mut self.booted else {
            if !take_device(config, &id) {
                return refuse(500, &[PROSE, "Error from device manager", &unknown]);
            }
            return Ok(None);
        };
        if !there {
            return refuse(500, &[PROSE, "Error from device manager", &unknown]);
        }
        // It leaves the configuration at once, and the machine when the guest lets go of it.
        take_device(config, &id);
        booted.leaving.push(id.clone());
        if let Some(delay) = polite {
            std::thread::sleep(delay);
            booted.leaving.retain(|leaving| *leaving != id);
            booted.disks.retain(|disk| disk.id != id);
            booted.sockets.retain(|(name, _)| *name != id);
            booted.served.retain(|(name, _)| *name != id);
            let bdf = booted.slots.iter().position(|(name, _)| *name == id).map(|at| booted.slots.remove(at).1);
            self.events.say("vm", "device-removed", json!({"id": id, "bdf": bdf}));
        }
        Ok(None)
    }

    fn snapshot(&mut self, url: &str) -> Done {
        const PROSE: &str = "The VM could not be snapshotted";
        let failed =
            |why: &str| refuse(500, &[PROSE, "Cannot snapshot VM", "Failed to snapshot migratable component", why]);
        if self.booted.is_some() {
            self.events.say("vm", "snapshotting", Value::Null);
        }
        if self.running(PROSE)?.state != "Paused" {
            return failed("Trying to snapshot while VM is running");
        }
        let folder = url.strip_prefix("file://").unwrap_or(url);
        let memory = self.booted.as_ref().map_or(0, |booted| booted.memory);
        let config = self.config.clone().unwrap_or_default();
        let write = || {
            let folder = std::path::Path::new(folder);
            std::fs::write(folder.join("config.json"), config.to_string())?;
            std::fs::write(folder.join("state.json"), "{}")?;
            std::fs::File::create(folder.join("memory-ranges"))?.set_len(memory)
        };
        if let Err(error) = write() {
            return failed(&error.to_string());
        }
        self.events.say("vm", "snapshotted", Value::Null);
        Ok(None)
    }

    fn restore(&mut self, url: &str, resume: bool) -> Done {
        const PROSE: &str = "The VM could not be restored";
        if self.config.is_some() {
            return refuse(500, &[PROSE, "VM is already created"]);
        }
        self.events.say("vm", "restoring", Value::Null);
        let folder = url.strip_prefix("file://").unwrap_or(url);
        if !std::path::Path::new(folder).is_dir() {
            let why = format!("Destination is not a directory: {folder:?}");
            return refuse(500, &[PROSE, "Cannot restore VM", "Failed to send migratable component snapshot", &why]);
        }
        let config =
            std::fs::read(format!("{folder}/config.json")).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let Some(config) = config else { return refuse(500, &[PROSE, "Cannot restore VM", "Cannot read config.json"]) };
        self.config = Some(config);
        if let Err((status, chain)) = self.boot("", "restored") {
            self.drop_machine();
            return chained(status, &[PROSE], chain.into_iter().skip(1).collect());
        }
        if let Some(booted) = &mut self.booted {
            booted.state = if resume { "Running" } else { "Paused" };
        }
        Ok(None)
    }
}

/// What a boot checks before it builds anything.
fn validate(config: &Value) -> Result<(), Vec<String>> {
    let wrong = |why: &str| Err(vec!["Failed to validate config".to_owned(), why.to_owned()]);
    let (cpus, payload) = (&config["cpus"], &config["payload"]);
    let bootable = payload["kernel"].is_string() || payload["firmware"].is_string();
    if !bootable || (payload["kernel"].is_string() && payload["firmware"].is_string()) {
        return devices::payload(payload);
    }
    let (boot, max) = (cpus["boot_vcpus"].as_u64().unwrap_or(1), cpus["max_vcpus"].as_u64().unwrap_or(1));
    if max < boot {
        return wrong(&format!("Max CPUs ({max}) lower than boot CPUs ({boot})"));
    }
    if let Value::Object(topology) = &cpus["topology"]
        && topology.values().filter_map(Value::as_u64).product::<u64>() != max
    {
        return wrong("Product of CPU topology parts does not match maximum vCPU");
    }
    if let Some(cid @ 0..=2) = config["vsock"]["cid"].as_u64() {
        return wrong(&format!("{cid} is a special VSOCK CID"));
    }
    if config["memory"]["size"] == 0 && config["memory"]["zones"].is_null() {
        return Err(vec!["Memory manager error".to_owned(), "No memory zones found".to_owned()]);
    }
    let shared = config["memory"]["shared"] == true || config["memory"]["hugepages"] == true;
    if !shared && (!config["fs"].is_null() || !config["generic_vhost_user"].is_null()) {
        return wrong("Using vhost-user requires using shared memory or huge pages");
    }
    let mut ids = Vec::new();
    for section in config.as_object().into_iter().flat_map(Map::values) {
        let each = section.as_array().map_or(std::slice::from_ref(section), Vec::as_slice);
        for id in each.iter().filter_map(|device| device["id"].as_str()) {
            if ids.contains(&id) {
                return wrong(&format!("Identifier {id} is not unique"));
            }
            ids.push(id);
        }
    }
    Ok(())
}

fn join(config: &mut Value, key: &str, device: Value) {
    if key == "vsock" {
        config[key] = device;
        return;
    }
    match &mut config[key] {
        Value::Array(each) => each.push(device),
        section => *section = json!([device]),
    }
}

/// Takes a device out of the configuration, by name; whether it was there.
fn take_device(config: &mut Value, id: &str) -> bool {
    let mut found = false;
    for section in config.as_object_mut().into_iter().flat_map(Map::values_mut) {
        match section {
            Value::Array(each) => each.retain(|device| {
                let hit = device["id"] == id;
                found |= hit;
                !hit
            }),
            one if one["id"] == id => {
                found = true;
                *one = Value::Null;
            }
            _ => {}
        }
    }
    drop_nulls(config);
    found
}

/// Indexing a map to write leaves `null` where nothing was.
fn drop_nulls(config: &mut Value) {
    if let Value::Object(fields) = config {
        drop_nulls_in(fields);
    }
}

fn drop_nulls_in(fields: &mut Map<String, Value>) {
    fields.retain(|_, value| !value.is_null());
}

/// Grows a qcow2 disk with nothing below it, as far as its first table has room in its cluster of 64 KiB: larger ones are
/// not tested.
fn grow_qcow2(file: &std::fs::File, size: u64) -> std::io::Result<()> {
    use std::os::unix::fs::FileExt as _;

    let long = |at: u64| {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, at).map(|()| u64::from_be_bytes(bytes))
    };
    let entries = u32::try_from(size.div_ceil(512 << 20)).unwrap_or(u32::MAX);
    if long(8)? != 0 || size < long(24)? || entries > 8192 {
        return Err(std::io::Error::other("Failed to resize disk"));
    }
    file.write_all_at(&size.to_be_bytes(), 24)?;
    file.write_all_at(&entries.to_be_bytes(), 36)
}
