//! What this host's VMs cost beside raw calls of the VMM, over the stand-in and, where it can run, the real one.

use std::os::unix::fs::symlink;

use pvectl::backends::cloud_hypervisor::{
    disk::{self, Method, Unwatched},
    host::{Launch, Places, Process, spawn},
    vmm::{
        Vmm,
        config::{ConsoleConfig, ConsoleMode, CpusConfig, MemoryConfig, PayloadConfig, SerialConfig, VmConfig},
    },
};

use super::*;

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/integration/vmm/kernel.rs"]
mod kernel;

/// How long a VMM may take to answer before something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// The VMMs that can run here, by name.
fn vmms() -> Vec<(&'static str, PathBuf)> {
    let mut found = Vec::new();
    let stand_in = Path::new(PVECTL).with_file_name("examples").join("stand_in_vmm");
    if stand_in.is_file() {
        found.push(("stand-in", stand_in));
    } else {
        talk("SKIPPED: no stand-in: cargo build --release --example stand_in_vmm");
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let real = std::env::split_paths(&path).map(|folder| folder.join("cloud-hypervisor")).find(|file| file.is_file());
    match (real, fs::OpenOptions::new().read(true).write(true).open("/dev/kvm")) {
        (Some(real), Ok(_)) => found.push(("real VMM", real)),
        _ => talk("SKIPPED: the real VMM: no cloud-hypervisor on PATH, or /dev/kvm does not open"),
    }
    found
}

/// An account with one VMM, gone with all of its processes.
struct Host {
    home: Home,
    /// Short, for the sockets' sake.
    run: TempDir,
    vmm: PathBuf,
}

impl Host {
    fn new(vmm: &Path) -> Result<Self> {
        let host = Self { home: Home::new()?, run: TempDir::new()?, vmm: vmm.to_owned() };
        fs::create_dir(host.home.path("programs"))?;
        symlink(vmm, host.home.path("programs/cloud-hypervisor"))?;
        fs::write(host.home.path("kernel"), kernel::halting_kernel())?;
        Ok(host)
    }

    fn pvectl(&self, line: &str) -> Command {
        let mut command = self.home.pvectl(&line.split(' ').collect::<Vec<_>>());
        command.env("PVECTL_CONTEXT", "local").env("XDG_RUNTIME_DIR", self.run.path());
        command.env("PATH", self.home.path("programs")).current_dir(self.home.path(""));
        command
    }

    fn create(&self, vmid: u32) -> Result<()> {
        let line = format!("vm create --vmid {vmid} --name vm-{vmid} --memory 64 --kernel kernel --quiet");
        run(&mut self.pvectl(&line)).map(drop)
    }

    /// The machine that the command makes of such a VM, in essence.
    fn machine(&self, places: &Places) -> VmConfig {
        VmConfig {
            cpus: Some(CpusConfig { boot_vcpus: 1, max_vcpus: 1, ..Default::default() }),
            memory: Some(MemoryConfig { size: 64 << 20, ..Default::default() }),
            payload: Some(PayloadConfig { kernel: Some(self.home.path("kernel")), ..Default::default() }),
            console: Some(ConsoleConfig { mode: ConsoleMode::Off, ..Default::default() }),
            serial: Some(SerialConfig {
                mode: ConsoleMode::Socket,
                socket: Some(places.serial_socket()),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    /// Spawn, create and boot, and nothing else: the time of it, and the end of the process.
    fn raw(&self, generation: u64) -> Result<Duration> {
        let places = Places { state: self.home.path("raw"), run: self.run.path().join("raw") };
        let machine = self.machine(&places);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let began = Instant::now();
        let id = spawn(&Launch { binary: &self.vmm, places: &places, generation, args: &[] })?;
        let vmm = Vmm::connect(places.api_socket())?;
        runtime.block_on(async {
            vmm.create(&machine, PATIENCE).await?;
            vmm.boot(PATIENCE).await
        })?;
        let took = began.elapsed();
        let process = Process::find(&id)?.ok_or("the VMM is gone")?;
        process.kill()?;
        process.ended_now(PATIENCE)?;
        Ok(took)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let mark = self.home.path("").display().to_string();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            if line.contains("--api-socket") && line.contains(&mark) {
                let _ = Command::new("kill").arg("-9").arg(entry.file_name()).status();
            }
        }
    }
}

/// A start beside raw calls, a list of many VMs, and the memory of both.
pub(super) fn measure(report: &mut Report) -> Result<()> {
    for (name, vmm) in vmms() {
        start(report, name, &vmm)?;
        list(report, name, &vmm)?;
    }
    Ok(())
}

fn start(report: &mut Report, name: &str, vmm: &Path) -> Result<()> {
    const BUDGET: Duration = Duration::from_millis(5);
    let host = Host::new(vmm)?;
    host.create(100)?;
    let [mut raw, mut whole, mut stop, mut nothing]: [Samples; 4] = Default::default();
    for round in 0..43 {
        let bare = host.raw(round)?;
        let process = run(&mut empty())?;
        let started = run(&mut host.pvectl("vm start 100 --quiet"))?;
        let stopped = run(&mut host.pvectl("vm stop 100 --quiet"))?;
        if round >= 3 {
            raw.0.push(bare);
            whole.0.push(started);
            stop.0.push(stopped);
            nothing.0.push(process);
        }
    }
    let over = whole.median().saturating_sub(raw.median());
    report.row(
        &format!("`pvectl vm start` on this host over raw spawn, create and boot, {name}"),
        "≤ 5 ms",
        over <= BUDGET,
        &format!("{} (whole command {}, raw {})", ms(over), whole.told(), raw.told()),
    );
    // The raw calls are made by the benchmark itself, where a program would have to be started for them.
    let rest = over.saturating_sub(nothing.median());
    report.row(
        &format!("the same, less an empty process, {name}"),
        "-",
        true,
        &format!("{} (an empty process {})", ms(rest), ms(nothing.median())),
    );
    report.row(&format!("`pvectl vm stop` on this host, {name}"), "-", true, &stop.told());
    let kib = sampled_peak(&mut host.pvectl("vm start 100"))?;
    report.row(
        &format!("peak memory, `pvectl vm start` on this host, {name}"),
        "-",
        true,
        &format!("{:.1} MB", (kib * 1024) as f64 / 1e6),
    );
    Ok(())
}

fn list(report: &mut Report, name: &str, vmm: &Path) -> Result<()> {
    const VMS: u32 = 100;
    const BUDGET: Duration = Duration::from_millis(25);
    let host = Host::new(vmm)?;
    for vmid in 100..100 + VMS {
        host.create(vmid)?;
    }
    for running in [false, true] {
        if running {
            run(&mut host.pvectl(&format!("vm start 100-{} --quiet", 99 + VMS)))?;
        }
        let mut commands = [empty(), host.pvectl("vm list"), host.pvectl("vm list -o json")];
        let [nothing, table, data] = taking_turns(30, &mut commands)?;
        let power = if running { "running" } else { "off" };
        report.row(
            &format!("list of {VMS} VMs of this host, {power}, {name}"),
            "≤ 25 ms",
            table.median() <= BUDGET && data.median() <= BUDGET,
            &format!("{}; as json {} (an empty process {})", table.told(), data.told(), ms(nothing.median())),
        );
        let kib = sampled_peak(&mut host.pvectl("vm list"))?;
        report.row(
            &format!("peak memory, the same, {power}, {name}"),
            "-",
            true,
            &format!("{:.1} MB", (kib * 1024) as f64 / 1e6),
        );
    }
    Ok(())
}

/// The most memory a command with little output held, in KiB: the kernel's high-water mark, read all the time until the
/// command ends. Reading it once for each bite of the output would miss nearly all of a short run.
fn sampled_peak(command: &mut Command) -> Result<u64> {
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let status = format!("/proc/{}/status", process.id());
    let mut peak = 0;
    let ended = loop {
        let mark = fs::read_to_string(&status).unwrap_or_default();
        let mark = mark.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = mark
            .and_then(|mark| mark.trim().trim_end_matches(" kB").parse().ok())
            .map_or(peak, |kib: u64| peak.max(kib));
        if let Some(ended) = process.try_wait()? {
            break ended;
        }
        std::thread::sleep(Duration::from_micros(200));
    };
    // A process that was never seen beyond its first pages was not measured.
    if ended.success() && peak > 2048 {
        Ok(peak)
    } else {
        Err(format!("no memory was read ({peak} KiB), {ended}").into())
    }
}

/// In which directory disks are copied; its file system must share blocks.
const WHERE: &str = "PVECTL_BENCH_AT";

/// A copy of a disk where the file system shares blocks, beside the bare system call.
pub(super) fn reflink(report: &mut Report) -> Result<()> {
    const BUDGET: Duration = Duration::from_millis(10);
    const BYTES: usize = 256 << 20;
    let Some(directory) = std::env::var_os(WHERE) else {
        talk(&format!("SKIPPED: {WHERE} names no directory on a file system that shares blocks"));
        return Ok(());
    };
    let directory = TempDir::new_in(directory)?;
    let path = |name: &str| directory.path().join(name);
    let mut disk = fs::File::create(path("disk.raw"))?;
    let block: Vec<u8> = (0..1_u32 << 20).map(|at| (at / 5) as u8 | 1).collect();
    for _ in 0..BYTES / block.len() {
        disk.write_all(&block)?;
    }
    disk.sync_all()?;
    let (mut bare, mut whole) = (Samples::default(), Samples::default());
    for round in 0..20 {
        let to = path(&format!("bare-{round}"));
        let began = Instant::now();
        rustix::fs::ioctl_ficlone(fs::File::create(&to)?, fs::File::open(path("disk.raw"))?)?;
        bare.0.push(began.elapsed());
        let to = path(&format!("copy-{round}"));
        let began = Instant::now();
        let copied = disk::copy(&path("disk.raw"), &to, &Unwatched)?;
        whole.0.push(began.elapsed());
        if copied.method != Method::Reflink {
            return Err(format!(
                "{} was copied by {:?}: its file system shares no blocks",
                to.display(),
                copied.method
            )
            .into());
        }
    }
    report.row(
        "copy of a disk of 256 MiB by reflink, on the disk for good",
        "≤ 10 ms",
        whole.median() <= BUDGET,
        &format!("{}; the bare call {}", whole.told(), bare.told()),
    );
    Ok(())
}
