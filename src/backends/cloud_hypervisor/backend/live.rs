//! Changes of a VM while it runs: what `mapping::changes` plans, carried out call by call.
//!
//! As on Proxmox, all that is asked for is first written down as waiting for the next start; then each call that the VMM
//! takes makes its key true. A call is an intent with what proves that it was done, so a command that dies in between is
//! mended by the next one. `config.json` beside the intent is what the VMM was given at its start, with what was added
//! and changed since: from it, and not from what the VMM says with all its defaults, the next change is planned.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use super::{
    Job, Local,
    asked::typed,
    configure::{Asked, prune, waits},
    lending::is_lent,
    look::{BALLOON, MEMORY, SLOW, VCPUS},
};
use crate::{
    backends::cloud_hypervisor::{
        failpoint::{Point, reach},
        host::{self, Limits},
        mapping::{self, Changes, Facts, Live, LiveCall},
        state::{Draft, Outcome, Settings, Settle, Verb, Vm, Work, reconcile::Sight},
        vmm::{
            Resize, Vmm,
            config::{DeviceConfig, FsConfig, NetConfig, VmConfig},
            events::{self, EventFile},
        },
    },
    model::{Class, Error, Hint, Result, config::QemuConfig},
};

/// How long a guest gets to let go of a device; Proxmox's own limit.
const EJECT: Duration = Duration::from_secs(5);
/// What the VMM was given.
pub(super) const SENT: &str = "config.json";
/// The same as it will be once the call under way is done.
const NEXT: &str = "config.json.next";

/// A change of a VM that runs, thought through.
pub(super) struct Planned {
    /// What the VMM has.
    sent: VmConfig,
    /// The VM as it would be if nothing had to wait.
    to_be: Vm,
    /// Keys whose values are to be others.
    changed: BTreeSet<String>,
    plan: Changes,
}

impl Planned {
    /// Whether a key counts as soon as it is written down.
    pub(super) fn is_now(&self, key: &str) -> bool {
        self.plan.now.iter().any(|now| now == key)
    }
}

impl Local {
    /// Thinks a change of a VM that runs through. `None` where nothing says what its VMM was given.
    ///
    /// # Errors
    /// For what cannot be had at all, live or later.
    pub(super) async fn plan_running(&self, vm: &Vm, asked: &Asked) -> Result<Option<Planned>> {
        let Some(sent) = sent(&self.places(vm).state.join(SENT)) else { return Ok(None) };
        let mut wished = Settings::new(vm.settings.config.clone());
        wished.change(&asked.change, |_| true);
        let to_be = Vm { settings: wished, ..vm.clone() };
        let after = config(&to_be);
        let new = |key: &str| sent.fs.iter().all(|fs| fs.id.as_deref() != Some(key));
        let facts = Facts { taps: self.taps(&to_be, &after).await?, ..self.facts_beside(&to_be, &after, new)? };
        let plan = mapping::changes(&config(vm), &sent, &after, &facts)?;
        let keys = asked.change.set.keys().chain(&asked.change.delete);
        let changed = keys.filter(|key| vm.settings.get(key) != to_be.settings.get(key)).cloned().collect();
        Ok(Some(Planned { sent, to_be, changed, plan }))
    }

    /// Makes the calls of a change that is written down. The VM's lock is held.
    pub(super) async fn do_all(&self, sight: Sight, planned: Planned, job: &Job) -> Result<()> {
        let Planned { mut sent, to_be, changed, plan } = planned;
        self.tell(&plan, &changed, job)?;
        let mut failed = BTreeSet::new();
        for (at, live) in plan.live.iter().enumerate() {
            if live.keys.iter().any(|key| failed.contains(key)) {
                continue;
            }
            let last = !plan.live[at + 1..].iter().any(|later| later.keys == live.keys);
            let keys = live.keys.join(", ");
            match self.do_live(&to_be, sight, &mut sent, live, last, job).await {
                Ok(()) if last => {
                    job.line(&format!("{keys}: changed while it runs"))?;
                    self.tell_kept(&to_be, job)?;
                }
                Ok(()) => {}
                // Nobody knows how the VMM is: what is left waits.
                Err(error) if error.may_have_happened() => return Err(error),
                Err(error) => {
                    let mut why = error.to_string();
                    for hint in error.hints() {
                        if let Hint::Text(text) = hint {
                            why.push_str(&format!("; {text}"));
                        }
                    }
                    job.warn(&waits(&keys, &why))?;
                    failed.extend(live.keys.iter().cloned());
                }
            }
        }
        Ok(())
    }

    /// Says what is to become of each key.
    fn tell(&self, plan: &Changes, changed: &BTreeSet<String>, job: &Job) -> Result<()> {
        let about = |warning: &&String| {
            let keys = warning.split(':').next().unwrap_or_default();
            keys.split(", ").any(|key| changed.contains(key))
        };
        plan.wished.warnings.iter().filter(about).try_for_each(|warning| job.warn(warning))?;
        let live: BTreeSet<&String> = plan.live.iter().flat_map(|live| &live.keys).collect();
        for key in changed {
            let waiting = plan.pending.iter().find(|waiting| waiting.key == *key);
            match waiting {
                Some(waiting) => job.line(&waits(key, waiting.why))?,
                None if plan.now.contains(key) => job.line(&format!("{key}: changed"))?,
                None if live.contains(key) => {}
                // Secrets, whose values nobody compares.
                None => job.line(&waits(key, "it goes into the seed that the next start writes"))?,
            }
        }
        Ok(())
    }

    /// Makes a call, and with it its key true if that was the last one. On an error the key waits still.
    async fn do_live(
        &self,
        to_be: &Vm,
        sight: Sight,
        sent: &mut VmConfig,
        live: &Live,
        last: bool,
        job: &Job,
    ) -> Result<()> {
        let places = self.places(to_be);
        let vm = self.state().vm(to_be.vmid)?;
        let Some(process) = vm.process.clone() else {
            return Err(Error::conflict(format!("VM {} has no process", vm.vmid)));
        };
        let mut then = sent.clone();
        live.call.record(&mut then);
        let (next, now) = (places.state.join(NEXT), places.state.join(SENT));
        let work = Work {
            made: vec![next.clone()],
            moves: vec![(next.clone(), now.clone())],
            settings: Some(settings_after(&vm, live, last.then_some(&to_be.settings))),
            ..proof(&live.call)
        };
        let intent = self.state().begin(vm.vmid, Draft::new(Verb::Update).task(&job.upid).work(work))?;
        let done = match keep(&next, &then) {
            Ok(()) => self.call(&vm, to_be, sight, &live.call).await,
            Err(error) => Err(error),
        };
        let outcome = match &done {
            Ok(()) => {
                reach(Point::LiveDone);
                fs::rename(&next, &now).map_err(|error| cannot("keep what was sent to the VMM", error))?;
                reach(Point::LiveKept);
                *sent = then;
                Outcome::Finished
            }
            Err(error) if error.may_have_happened() => {
                // The VMM itself shows whether it was done, if it answers again.
                self.mend(vm.vmid, job).await?;
                return done;
            }
            Err(_) => {
                let _ = fs::remove_file(&next);
                Outcome::RolledBack
            }
        };
        self.state().settle(vm.vmid, &Settle::running(process).ending(intent.id, outcome))?;
        done
    }

    async fn call(&self, vm: &Vm, to_be: &Vm, sight: Sight, call: &LiveCall) -> Result<()> {
        let vmm = Vmm::connect(self.places(vm).api_socket())?;
        let resize = match call {
            LiveCall::Vcpus(vcpus) => Resize { desired_vcpus: Some(*vcpus), ..Resize::default() },
            LiveCall::Memory(bytes) => Resize { desired_ram: Some(*bytes), ..Resize::default() },
            LiveCall::Balloon(bytes) => Resize { desired_balloon: Some(*bytes), ..Resize::default() },
            LiveCall::AddDisk(disk) => return Ok(vmm.add_disk(disk, SLOW).await.map(drop)?),
            LiveCall::GrowDisk { id, size } => return Ok(vmm.resize_disk(id, *size, SLOW).await?),
            LiveCall::AddDevice(device) => return self.add_device(vm, &vmm, device).await,
            LiveCall::AddFs(fs) => return self.add_share(to_be, &vmm, fs).await,
            LiveCall::AddNet(net) => return self.add_card(to_be, &vmm, net).await,
            LiveCall::Remove(id) => {
                self.eject(vm, sight, &vmm, id).await?;
                if is_lent(id) {
                    return self.return_devices(vm.uuid, Some(std::slice::from_ref(id))).await;
                }
                return match id.trim_end_matches(|c: char| c.is_ascii_digit()) {
                    "net" => self.unplug(vm, id).await,
                    "virtiofs" => self.end_shares(vm, std::slice::from_ref(id)).await,
                    _ => Ok(()),
                };
            }
            LiveCall::Tap { n, .. } => {
                let net = config(to_be).net(*n)?.unwrap_or_default();
                return self.plug(to_be, &format!("net{n}"), &net).await.map(drop);
            }
            LiveCall::Cgroup { cpulimit, cpuunits } => {
                return self.limit_group(vm, Limits { processors: *cpulimit, weight: *cpuunits }).await;
            }
        };
        Ok(vmm.resize(&resize, SLOW).await?)
    }

    /// Adds a card; its tap is there before the VMM opens it, which would make one that is on no bridge.
    async fn add_card(&self, to_be: &Vm, vmm: &Vmm, card: &NetConfig) -> Result<()> {
        let key = card.id.as_deref().unwrap_or_default();
        let n = key.strip_prefix("net").and_then(|n| n.parse().ok()).unwrap_or_default();
        let net = config(to_be).net(n)?.unwrap_or_default();
        self.plug(to_be, key, &net).await?;
        match vmm.add_net(card, SLOW).await {
            Ok(_) if net.link_down()?.unwrap_or(false) => self.plug(to_be, key, &net).await.map(drop),
            Ok(_) => Ok(()),
            Err(error) => {
                let error = Error::from(error);
                if !error.may_have_happened() {
                    self.unplug(to_be, key).await?;
                }
                Err(error)
            }
        }
    }

    /// Adds a device of the host, which is taken from there first.
    async fn add_device(&self, vm: &Vm, vmm: &Vmm, device: &DeviceConfig) -> Result<()> {
        let id = device.id.clone().unwrap_or_default();
        let address = device.path.as_deref().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        let added = async {
            self.take_device(vm, &id, &address).await?;
            Ok(vmm.add_device(device, SLOW).await.map(drop)?)
        };
        let added: Result<()> = added.await;
        if added.as_ref().is_err_and(|error| !error.may_have_happened()) {
            self.return_devices(vm.uuid, Some(&[id])).await?;
        }
        added
    }

    /// Adds a shared directory; it is served before the VMM connects, which would wait for it and answer nobody.
    async fn add_share(&self, to_be: &Vm, vmm: &Vmm, fs: &FsConfig) -> Result<()> {
        let key = fs.id.clone().unwrap_or_default();
        self.serve_share(to_be, &key).await?;
        let added = vmm.add_fs(fs, SLOW).await.map(drop).map_err(Error::from);
        if added.as_ref().is_err_and(|error| !error.may_have_happened()) {
            self.end_shares(to_be, &[key]).await?;
        }
        added
    }

    /// Takes a device away and waits until the guest has let go of it.
    async fn eject(&self, vm: &Vm, sight: Sight, vmm: &Vmm, id: &str) -> Result<()> {
        if sight == Sight::Paused {
            return Err(Error::conflict("the VM is paused, and its guest cannot let go of a device"));
        }
        let info = vmm.info(SLOW).await?;
        if !info.device_tree.unwrap_or_default().contains_key(id) {
            // The guest let go of it after an earlier command had given up.
            return Ok(());
        }
        let path = self.places(vm).events(u64::from(vm.generation));
        let mut file = EventFile::open(&path).map_err(|error| cannot("read the VMM's events", error))?;
        file.skip().map_err(|error| cannot("read the VMM's events", error))?;
        let VmConfig { disks, net, fs, devices, .. } = info.config;
        let mut ids = disks.iter().map(|disk| &disk.id).chain(net.iter().map(|net| &net.id));
        let listed = ids.any(|there| there.as_deref() == Some(id))
            || fs
                .iter()
                .map(|fs| &fs.id)
                .chain(devices.iter().map(|device| &device.id))
                .any(|there| there.as_deref() == Some(id));
        // The VMM takes the question once; what is no longer in its configuration was asked for already.
        if listed {
            vmm.remove_device(id, SLOW).await?;
        }
        let gone = file.wait(EJECT, |events| events::removed(events, id));
        let process = vm.process.as_ref().map(host::Process::find).transpose()?.flatten();
        let Some(process) = process else { return Err(Error::conflict("its VMM is gone")) };
        let gone = tokio::select! {
            gone = gone => gone.map_err(|error| cannot("read the VMM's events", error))?,
            ended = process.ended(None) => {
                ended?;
                return Err(Error::conflict("its VMM ended in between"));
            }
        };
        match gone {
            Some(_) => Ok(()),
            None => Err(Error::conflict(format!(
                "the guest did not let go of it within {} seconds: it has to be up, without use of the device, and to \
                 know ACPI hot-plugging",
                EJECT.as_secs()
            ))),
        }
    }
}

/// A VM's configuration as the mapping reads it.
fn config(vm: &Vm) -> QemuConfig {
    typed(&vm.settings.config)
}

/// The settings that are true once a call is done: its key's, if it was the key's last call.
fn settings_after(vm: &Vm, live: &Live, wished: Option<&Settings>) -> Settings {
    let mut settings = vm.settings.clone();
    for key in &live.keys {
        match wished {
            // Of a device that is exchanged only the taking away is done; what comes instead still waits.
            None => settings.put(key, None),
            Some(wished) => {
                settings.pending.remove(key);
                settings.put(key, wished.config.get(key));
            }
        }
    }
    prune(&mut settings);
    settings
}

/// What shows at the VMM that a call was done. What changes nothing there may be done twice.
fn proof(call: &LiveCall) -> Work {
    let size = |name: &str, size: u64| Work { sizes: [(name.to_owned(), size)].into(), ..Work::default() };
    let adds = |id: &Option<String>| Work { adds: id.clone(), ..Work::default() };
    match call {
        LiveCall::Vcpus(vcpus) => size(VCPUS, u64::from(*vcpus)),
        LiveCall::Memory(bytes) => size(MEMORY, *bytes),
        LiveCall::Balloon(bytes) => size(BALLOON, *bytes),
        LiveCall::Remove(id) => Work { removes: Some(id.clone()), ..Work::default() },
        LiveCall::AddDisk(disk) => adds(&disk.id),
        LiveCall::AddNet(net) => adds(&net.id),
        LiveCall::AddFs(fs) => adds(&fs.id),
        LiveCall::AddDevice(device) => adds(&device.id),
        LiveCall::GrowDisk { .. } | LiveCall::Tap { .. } | LiveCall::Cgroup { .. } => Work::default(),
    }
}

/// Writes down what the VMM is given.
pub(super) fn keep(path: &Path, config: &VmConfig) -> Result<()> {
    let text = serde_json::to_vec_pretty(config)
        .map_err(|error| Error::new(Class::Bug, "a VmConfig cannot be written").with_source(error))?;
    fs::write(path, text).map_err(|error| cannot("keep what was sent to the VMM", error))
}

/// Reads what the VMM was given, if that can be read.
fn sent(path: &Path) -> Option<VmConfig> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn cannot(what: &str, error: std::io::Error) -> Error {
    Error::new(Class::Failed, format!("cannot {what}")).with_source(error)
}
