//! On and off: start, stop, shutdown, reboot, reset, pause, resume, destroy.
//!
//! Each is called with the VM's lock held and nothing left over from before.

use std::{path::PathBuf, thread, time::Duration};

use super::{
    Job, Local,
    asked::typed,
    configure::prune,
    group::Entering,
    live::{SENT, keep},
    logs,
    look::SLOW,
};
use crate::{
    backends::cloud_hypervisor::{
        disk,
        failpoint::{Point, reach},
        host::{self, facts},
        mapping,
        mapping::{Facts, Vsock},
        state::{
            Draft, End, Outcome, Process, Settle, Verb, Vm, Work,
            reconcile::{Action, Sight},
        },
        vmm::{Ping, Vmm},
    },
    model::{Class, Error, Hint, Params, Result, config::QemuConfig},
};

/// How long a guest gets to shut down unless somebody says otherwise: Proxmox's own limit.
const SHUTDOWN: Duration = Duration::from_secs(180);
/// After this the power button is pressed once more: a guest may have been too young to see the first time.
const AGAIN: Duration = Duration::from_secs(10);

/// A VMM that was started.
pub(super) struct Launched {
    pub(super) process: Process,
    pub(super) vmm: Vmm,
    pub(super) ping: Ping,
    pub(super) group: Entering,
}

/// A failed start with what this user cannot open, of which a VMM says little.
pub(super) fn explained(error: Error) -> Error {
    // Only a VM with a network card minds about taps, and its VMM says so.
    let matters = |name: &str| name != "taps" || error.message().contains("/dev/net/tun");
    let doors: Vec<_> = facts::shut_doors().into_iter().filter(|door| matters(&door.name)).collect();
    doors.into_iter().fold(error, |error, door| {
        let mend = door.mend.unwrap_or_default();
        error.with_hint(Hint::Text(format!("{}. {mend}", door.seen)))
    })
}

impl Local {
    pub(super) async fn start(&self, vm: &Vm, sight: Sight, job: &Job) -> Result<()> {
        if sight != Sight::Stopped {
            return Err(Error::from_exit_status(&format!("VM {} already running", vm.vmid)));
        }
        if vm.lock() == Some("suspended") {
            return self.wake(vm, job).await;
        }
        vm.check_lock()?;
        if vm.settings.is_on("template") {
            return Err(Error::conflict(format!("VM {} is a template", vm.vmid)));
        }
        let mut settings = vm.settings.clone();
        settings.apply_pending();
        // Memory that was given up, since nothing says any more that it is suspended. That of a snapshot stays.
        let given_up = settings.config.remove("vmstate").into_iter().map(PathBuf::from);
        let drops = given_up.filter(|folder| *folder == self.memory_of(vm, "suspend").folder).collect();
        prune(&mut settings);
        let alone = self.give_addresses(vm.vmid, &mut settings.config)?;
        let work = Work { drops, settings: Some(settings.clone()), ..Work::default() };
        let intent = self.state().begin(vm.vmid, Draft::new(Verb::Start).task(&job.upid).work(work))?;
        drop(alone);
        let vm = Vm { settings, ..self.state().vm(vm.vmid)? };
        match self.boot(&vm, job).await {
            Ok(process) => {
                self.carry_out(&vm, &Action::RemoveFiles(intent.work.drops)).await?;
                self.state().settle(vm.vmid, &Settle::running(process).ending(intent.id, Outcome::Finished))
            }
            Err(error) => {
                // What runs by now goes; what it left is known to be dead then.
                if let Some(process) = self.state().vm(vm.vmid)?.process {
                    self.end_vmm(&vm, &process).await?;
                    self.carry_out(&vm, &Action::RemoveSockets).await?;
                }
                self.release_all(&vm, job).await?;
                let end = End::FailedStart { error: Some(error.to_string()) };
                self.state().settle(vm.vmid, &Settle::stopped(end).ending(intent.id, Outcome::RolledBack))?;
                Err(explained(error))
            }
        }
    }

    /// Starts a VMM and the VM in it.
    async fn boot(&self, vm: &Vm, job: &Job) -> Result<Process> {
        let places = self.places(vm);
        let config = typed(&vm.settings.config);
        let taps = self.taps(vm, &config).await?;
        let mapped = mapping::map(&config, &Facts { taps, ..self.facts(vm, &config)? })?;
        mapped.notes.iter().try_for_each(|note| job.line(note))?;
        mapped.warnings.iter().try_for_each(|warning| job.warn(warning))?;
        let Launched { process: started, vmm, group, .. } = self.launch(vm).await?;
        keep(&places.state.join(SENT), &mapped.config)?;
        reach(Point::SentKept);
        vmm.create(&mapped.config, SLOW).await?;
        reach(Point::VmCreated);
        vmm.boot(SLOW).await?;
        reach(Point::VmBooted);
        group.done(job).await?;
        self.pull_cables(vm).await?;
        if mapped.freeze {
            vmm.pause(SLOW).await?;
        }
        Ok(started)
    }

    /// Starts a VMM that has no VM yet, with the taps and the shares that its VM will need.
    pub(super) async fn launch(&self, vm: &Vm) -> Result<Launched> {
        let places = self.places(vm);
        let missing = || {
            Error::not_found("there is no `cloud-hypervisor` to start VMs with")
                .with_hint(Hint::Text("`pvectl check` says how to install it".to_owned()))
        };
        let launch = host::Launch {
            binary: self.options().binary.as_deref().ok_or_else(missing)?,
            places: &places,
            generation: u64::from(vm.generation),
            args: &[],
        };
        // Before the VMM, which would make one of its own that is on no bridge.
        let config = typed(&vm.settings.config);
        self.plug_all(vm, &config).await?;
        self.take_devices(vm, &config).await?;
        let started = host::spawn(&launch)?;
        logs::drop_old(&places, launch.generation);
        self.state().record_process(vm.vmid, &started, None)?;
        let group = self.enter_group(vm, &config, &started)?;
        let vmm = Vmm::connect(places.api_socket())?;
        let ping = vmm.ping(SLOW).await?;
        if ping.pid != started.pid {
            return Err(Error::conflict(format!(
                "another process than {} answers on the socket of VM {}",
                started.pid, vm.vmid
            )));
        }
        if vm.build.as_deref() != Some(&ping.build_version) {
            self.state().record_process(vm.vmid, &started, Some(&ping.build_version))?;
        }
        // After the VMM, with which they end, and before its machine, which connects to them.
        self.serve_shares(vm).await?;
        Ok(Launched { process: started, vmm, ping, group })
    }

    /// What the mapping has to know of this host, whatever the VM.
    pub(super) fn host_facts(&self) -> Facts {
        Facts {
            arch: std::env::consts::ARCH.to_owned(),
            host_cpus: thread::available_parallelism().map_or(1, |count| count.get() as u64),
            memory_limit: self.memory().0,
            no_cgroup: self.options().groups.why_not(),
            // That it can be; to which files, is each VM's own.
            landlock: facts::can_confine().then(Vec::new),
            ..Facts::default()
        }
    }

    /// What the mapping has to know.
    fn facts(&self, vm: &Vm, config: &QemuConfig) -> Result<Facts> {
        let mut facts = self.facts_beside(vm, config, |_| true)?;
        let places = self.places(vm);
        if let Some(seed) = mapping::seed(config, &self.seed_facts(vm, config)?)? {
            let path = places.state.join("seed.img");
            let image = disk::Seed {
                user_data: seed.user_data,
                meta_data: seed.meta_data,
                network_config: seed.network_config,
                vendor_data: seed.vendor_data,
            };
            image.write(&path)?;
            self.attach_seed(vm, &path, &mut facts.volumes)?;
        }
        Ok(facts)
    }

    /// The same beside a VM that runs: nothing is made anew, and of what it shares only the devices are looked at that
    /// are `new` to it.
    pub(super) fn facts_beside(&self, vm: &Vm, config: &QemuConfig, new: impl Fn(&str) -> bool) -> Result<Facts> {
        let places = self.places(vm);
        let volumes = self.attached(vm)?;
        let mut facts = Facts {
            uuid: vm.uuid.to_string(),
            firmware: self.options().firmware.clone(),
            landlock: self.confined_to(vm, &volumes)?,
            volumes,
            serial_socket: places.serial_socket(),
            vsock: Some(Vsock { cid: vm.cid, socket: places.vsock_socket() }),
            virtiofs: self.share_sockets(vm, new)?,
            ..self.host_facts()
        };
        self.check_devices(vm, config)?;
        let path = places.state.join("seed.img");
        if path.exists() {
            self.attach_seed(vm, &path, &mut facts.volumes)?;
        }
        Ok(facts)
    }

    pub(super) async fn stop(&self, vm: &Vm, sight: Sight, job: &Job) -> Result<()> {
        if sight == Sight::Stopped {
            return job.line("VM not running");
        }
        match (&vm.process, sight, self.state().intent(vm.vmid)?) {
            // Only its VMM could tell how what was left ends. Without one that is certain.
            (Some(process), Sight::Unresponsive, Some(_)) => {
                self.end_vmm(vm, process).await?;
                return self.mend(vm.vmid, job).await.map(drop);
            }
            (_, Sight::Unresponsive, _) => {}
            _ => self.keep_said(vm).await,
        }
        self.state().begin(vm.vmid, Draft::new(Verb::Stop).task(&job.upid))?;
        // A stop that was begun is what a stop is: it is carried out like one that was left.
        self.mend(vm.vmid, job).await.map(drop)
    }

    pub(super) async fn shutdown(&self, vm: &Vm, sight: Sight, params: &Params, job: &Job) -> Result<()> {
        if sight == Sight::Stopped {
            return job.line("VM not running");
        }
        if sight == Sight::Paused {
            return Err(Error::from_exit_status("VM is paused - cannot shutdown"));
        }
        let Some(running) = &vm.process else { return Err(Error::conflict(format!("VM {} has no process", vm.vmid))) };
        let Some(held) = host::Process::find(running)? else { return Ok(()) };
        let limit = params.get("timeout").and_then(|text| text.parse().ok()).map_or(SHUTDOWN, Duration::from_secs);
        let vmm = Vmm::connect(self.places(vm).api_socket())?;
        // What it says on its way down, nobody else would keep.
        let listening = self.listen(vm);
        vmm.power_button(SLOW).await?;
        reach(Point::ButtonPressed);
        let mut gone = held.ended(Some(limit.min(AGAIN))).await?;
        if !gone && limit > AGAIN {
            // A guest that is on its way down does not mind; a VMM that is ending need not answer.
            let _ = vmm.power_button(SLOW).await;
            gone = held.ended(Some(limit - AGAIN)).await?;
        }
        if let Some((stay, listener)) = listening {
            drop(stay);
            // It has written all it heard when it is over; that it came to grief costs a log, not the shutdown.
            let _ = listener.await;
        }
        match (gone, params.get("forceStop")) {
            (true, _) => self.mend(vm.vmid, job).await.map(drop),
            (false, Some("1")) => {
                job.line("VM quit/powerdown failed - terminating now with SIGTERM")?;
                self.stop(vm, sight, job).await
            }
            (false, _) => Err(Error::from_exit_status("VM quit/powerdown failed - got timeout")),
        }
    }

    pub(super) async fn reboot(&self, vm: &Vm, sight: Sight, params: &Params, job: &Job) -> Result<()> {
        if sight == Sight::Stopped {
            return Err(Error::from_exit_status("VM not running"));
        }
        self.shutdown(vm, sight, params, job).await?;
        let (vm, sight) = self.mend(vm.vmid, job).await?;
        self.start(&vm, sight, job).await
    }

    pub(super) async fn reset(&self, vm: &Vm, sight: Sight) -> Result<()> {
        let vmm = self.running(vm, sight)?;
        self.keep_said(vm).await;
        self.revive_shares(vm).await?;
        vmm.reboot(SLOW).await?;
        self.pull_cables(vm).await
    }

    pub(super) async fn pause(&self, vm: &Vm, sight: Sight) -> Result<()> {
        match sight {
            Sight::Paused => Ok(()),
            _ => self.running(vm, sight)?.pause(SLOW).await.map_err(Error::from),
        }
    }

    pub(super) async fn resume(&self, vm: &Vm, sight: Sight, job: &Job) -> Result<()> {
        match sight {
            Sight::Running => Ok(()),
            Sight::Stopped if vm.lock() == Some("suspended") => self.wake(vm, job).await,
            _ => self.running(vm, sight)?.resume(SLOW).await.map_err(Error::from),
        }
    }

    fn running(&self, vm: &Vm, sight: Sight) -> Result<Vmm> {
        match sight {
            Sight::Running | Sight::Paused => Vmm::connect(self.places(vm).api_socket()),
            Sight::Unresponsive => Err(Error::conflict(format!("the VMM of VM {} does not answer", vm.vmid))),
            _ => Err(Error::from_exit_status(&format!("VM {} not running", vm.vmid))),
        }
    }

    pub(super) async fn destroy(&self, vm: &Vm, sight: Sight, params: &Params, job: &Job) -> Result<()> {
        vm.check_protection(&format!("can't remove VM {}", vm.vmid))?;
        if sight != Sight::Stopped {
            return Err(Error::conflict(format!("VM {} is running - destroy failed", vm.vmid)));
        }
        self.refuse_used_bases(vm)?;
        let mut drops = self.owned_files(vm)?;
        if params.get("destroy-unreferenced-disks") == Some("1") {
            drops.extend(self.unreferenced(vm.vmid));
        }
        let work = Work { drops, ..Work::default() };
        self.state().begin(vm.vmid, Draft::new(Verb::Delete).task(&job.upid).work(work))?;
        match self.mend(vm.vmid, job).await {
            // The row is gone, as it should be.
            Err(error) if error.class() == Class::NotFound => Ok(()),
            other => other.map(drop),
        }
    }
}
