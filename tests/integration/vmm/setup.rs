//! VMMs to test, and the smallest machine that boots in them.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use super::kernel::halting_kernel;
use pvectl::backends::cloud_hypervisor::vmm::{
    State, Vmm, Why,
    config::{
        ConsoleConfig, ConsoleMode, CpusConfig, DiskConfig, ImageType, MemoryConfig, PayloadConfig, SerialConfig,
        VmConfig,
    },
    events::{self, EventFile},
};

pub(super) const SOON: Duration = Duration::from_secs(20);
pub(super) const MIB: u64 = 1 << 20;

/// The VMMs to test: the stand-in, and the real one where it can run.
pub(super) fn programs() -> Vec<PathBuf> {
    let mut programs = vec![stand_in()];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let real = std::env::split_paths(&path).map(|folder| folder.join("cloud-hypervisor")).find(|file| file.is_file());
    match (real, File::options().read(true).write(true).open("/dev/kvm")) {
        (Some(real), Ok(_)) => {
            eprintln!("vmm: RUNNING against the real VMM too: {}", real.display());
            programs.push(real);
        }
        (real, kvm) => eprintln!(
            "vmm: SKIPPED the real VMM, only the stand-in ran (on PATH: {}, /dev/kvm: {})",
            real.is_some(),
            kvm.map_or_else(|error| error.to_string(), |_| "opens".to_owned())
        ),
    }
    programs
}

/// Beside the folder of this test's own executable.
pub(super) fn stand_in() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let file = own.parent().unwrap().parent().unwrap().join("examples/stand_in_vmm");
    assert!(file.is_file(), "{} is missing: cargo build --example stand_in_vmm", file.display());
    file
}

/// A VMM in a folder of its own; killed when dropped.
pub(super) struct Running {
    pub(super) child: Child,
    pub(super) vmm: Vmm,
    pub(super) dir: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    pub(super) async fn new(program: &Path) -> Self {
        Self::told(program, None).await
    }

    /// With orders for the stand-in.
    pub(super) async fn told(program: &Path, orders: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        if let Some(orders) = orders {
            fs::write(dir.path().join("stand-in.json"), orders).unwrap();
        }
        let socket = dir.path().join("api.sock");
        let child = Command::new(program)
            .arg("--api-socket")
            .arg(format!("path={}", socket.display()))
            .arg("--event-monitor")
            .arg(format!("path={}", dir.path().join("events.json").display()))
            .arg("--log-file")
            .arg(dir.path().join("vmm.log"))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let running = Self { child, vmm: Vmm::connect(socket).unwrap(), dir };
        for _ in 0..1000 {
            match running.vmm.ping(SOON).await {
                Ok(_) => return running,
                Err(error) => assert_eq!(error.why, Why::Nobody, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} does not serve", program.display());
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn disk(&self, name: &str, mib: u64) -> DiskConfig {
        let path = self.path(name);
        if !path.exists() {
            File::create(&path).unwrap().set_len(mib * MIB).unwrap();
        }
        DiskConfig {
            path: Some(path),
            id: Some(name.to_owned()),
            image_type: Some(ImageType::Raw),
            ..Default::default()
        }
    }

    /// A machine that halts at once, with one disk.
    pub(super) fn machine(&self) -> VmConfig {
        let kernel = self.path("kernel");
        fs::write(&kernel, halting_kernel()).unwrap();
        VmConfig {
            cpus: Some(CpusConfig { boot_vcpus: 1, max_vcpus: 2, ..Default::default() }),
            memory: Some(MemoryConfig { size: 256 * MIB, hotplug_size: Some(256 * MIB), ..Default::default() }),
            payload: Some(PayloadConfig { kernel: Some(kernel), ..Default::default() }),
            disks: vec![self.disk("root", 8)],
            console: Some(ConsoleConfig { mode: ConsoleMode::Off, ..Default::default() }),
            serial: Some(SerialConfig {
                mode: ConsoleMode::Socket,
                socket: Some(self.path("serial.sock")),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    pub(super) async fn booted(program: &Path) -> Self {
        let running = Self::new(program).await;
        running.vmm.create(&running.machine(), SOON).await.unwrap();
        running.vmm.boot(SOON).await.unwrap();
        running
    }

    pub(super) async fn state(&self) -> State {
        self.vmm.info(SOON).await.unwrap().state
    }

    pub(super) fn events(&self) -> Vec<events::Event> {
        EventFile::all(&self.path("events.json")).unwrap()
    }

    pub(super) fn ended(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}
