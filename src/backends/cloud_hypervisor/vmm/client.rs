//! The client: one call, one connection, one answer within a deadline.
//!
//! A connection is not kept: a VMM takes ten of them, and a new one costs microseconds. Only what reads is sent again.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::{
    config::{
        DeviceConfig, DiskConfig, FsConfig, GenericVhostUserConfig, ImageType, NetConfig, PmemConfig, UserDeviceConfig,
        VdpaConfig, VmConfig, VsockConfig,
    },
    error::{Error, Result, Why},
    exchange::{Answer, Ask, exchange, request},
    request::{Counters, Info, PciDevice, Ping, ReceiveMigration, Resize, Restore, SendMigration, file_url},
    verb::{State, Verb},
};
use crate::model;

/// Bytes of a request that every version takes.
pub const BODY_LIMIT: usize = 51_200;

/// Bytes of a request that versions after 53 take.
const NEWER_BODY_LIMIT: usize = 4 << 20;

/// Bytes of a socket's path: what fits into the kernel's address, without its end.
pub const PATH_LIMIT: usize = 107;

/// One VMM's socket. Every call says how long it waits; `within` covers connecting, asking and reading.
///
/// # Errors
/// Of each call: [`Error`], with [`Why::Nobody`] where no process listens and [`Why::Unresponsive`] where one does and
/// does not answer. A VMM does one thing at a time: while it boots or writes a snapshot even [`ping`](Self::ping) waits.
/// A call in a state it is not for is [`Why::WrongState`] or [`Why::Undefined`]; the states are in [`Verb`]'s table.
#[derive(Debug)]
pub struct Vmm {
    socket: PathBuf,
    limit: AtomicUsize,
}

impl Vmm {
    /// Gets ready to ask this socket; nothing is sent yet.
    ///
    /// # Errors
    /// [`Class::Usage`](model::Class::Usage) for a path that no socket can have.
    pub fn connect(socket: impl Into<PathBuf>) -> model::Result<Self> {
        let socket = socket.into();
        let length = socket.as_os_str().len();
        if length > PATH_LIMIT {
            return Err(model::Error::usage(format!(
                "the path of the socket has {length} bytes, {PATH_LIMIT} are possible: {}",
                socket.display()
            )));
        }
        Ok(Self { socket, limit: AtomicUsize::new(BODY_LIMIT) })
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Any verb with any body, as bytes of JSON; the answer's bytes, empty for none.
    ///
    /// # Errors
    /// See [`Vmm`]; a body larger than this version takes is [`Why::TooLarge`], and was not sent.
    pub async fn call(&self, verb: Verb, body: Option<Vec<u8>>, within: Duration) -> Result<Vec<u8>> {
        let deadline = Instant::now() + within;
        let (status, answer) = self.exchange(verb, body, within).await?;
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        // The VMM's reason is prose; the state says whether it was the reason. Asked once, in the time that is left.
        let left = deadline.saturating_duration_since(Instant::now());
        let state = match status {
            400 | 404 | 429 | 503 => None,
            _ => match self.exchange(Verb::INFO, None, left).await {
                Ok((200, info)) => serde_json::from_slice::<Info>(&info).ok().map(|info| Some(info.state)),
                Ok((404, _)) => Some(None),
                _ => None,
            },
        };
        Err(Error::from_answer(verb, status, &answer, state))
    }

    async fn exchange(&self, verb: Verb, body: Option<Vec<u8>>, within: Duration) -> Result<Answer> {
        let (size, limit) = (body.as_ref().map_or(0, Vec::len), self.limit.load(Ordering::Relaxed));
        if size > limit {
            return Err(Error::new(verb, Why::TooLarge { size, limit }));
        }
        let [answer] = self.exchange_all([(verb, request(verb, body)?)], within).await?;
        Ok(answer)
    }

    /// Asks one thing after another over one connection; gives status and body of each answer.
    ///
    /// If all of it only reads and an answer is lost, it is asked once more: a VMM without a place for one more
    /// connection closes it with its reason unread, and one that has ended is told from it by the second call.
    async fn exchange_all<const N: usize>(&self, asks: [Ask; N], within: Duration) -> Result<[Answer; N]> {
        let deadline = Instant::now() + within;
        let again = asks.iter().all(|(verb, _)| verb.reads).then(|| asks.clone());
        match (exchange(&self.socket, asks, within).await, again) {
            (Err(error), Some(asks)) if error.why == Why::Lost => {
                exchange(&self.socket, asks, deadline.saturating_duration_since(Instant::now())).await
            }
            (answers, _) => answers,
        }
    }

    async fn act(&self, verb: Verb, within: Duration) -> Result<()> {
        self.call(verb, None, within).await.map(drop)
    }

    async fn tell(&self, verb: Verb, body: &impl Serialize, within: Duration) -> Result<Vec<u8>> {
        let body = serde_json::to_vec(body).map_err(|error| Error::malformed(verb, error))?;
        self.call(verb, Some(body), within).await
    }

    async fn read<T: DeserializeOwned>(&self, verb: Verb, within: Duration) -> Result<T> {
        let answer = self.call(verb, None, within).await?;
        serde_json::from_slice(&answer).map_err(|error| Error::malformed(verb, error))
    }

    async fn add(&self, verb: Verb, device: &impl Serialize, within: Duration) -> Result<Option<PciDevice>> {
        let answer = self.tell(verb, device, within).await?;
        if answer.is_empty() {
            return Ok(None);
        }
        serde_json::from_slice(&answer).map(Some).map_err(|error| Error::malformed(verb, error))
    }

    /// Who serves here. Always. What it says of its version decides how large later requests may be.
    pub async fn ping(&self, within: Duration) -> Result<Ping> {
        let answer = self.call(Verb::PING, None, within).await?;
        self.met(&answer)
    }

    /// [`ping`](Self::ping) and [`info`](Self::info) over one connection.
    pub async fn look(&self, within: Duration) -> Result<(Ping, Result<Info>)> {
        let asks = [(Verb::PING, request(Verb::PING, None)?), (Verb::INFO, request(Verb::INFO, None)?)];
        let [(status, ping), (found, info)] = self.exchange_all(asks, within).await?;
        if status != 200 {
            return Err(Error::from_answer(Verb::PING, status, &ping, None));
        }
        let info = match found {
            200 => serde_json::from_slice(&info).map_err(|error| Error::malformed(Verb::INFO, error)),
            _ => Err(Error::from_answer(Verb::INFO, found, &info, None)),
        };
        Ok((self.met(&ping)?, info))
    }

    fn met(&self, answer: &[u8]) -> Result<Ping> {
        let ping: Ping = serde_json::from_slice(answer).map_err(|error| Error::malformed(Verb::PING, error))?;
        let newer = ping.major().is_some_and(|major| major > 53);
        self.limit.store(if newer { NEWER_BODY_LIMIT } else { BODY_LIMIT }, Ordering::Relaxed);
        Ok(ping)
    }

    /// Drops the machine and ends the process. Always; a power cut for a guest that runs. The process is gone some
    /// milliseconds after the answer, and may be before it: wait for its end, not for this.
    pub async fn shutdown_vmm(&self, within: Duration) -> Result<()> {
        self.act(Verb::SHUTDOWN_VMM, within).await
    }

    /// Defines the machine; without one only. Opens consoles, checks nothing else. One that fails over a console leaves
    /// the machine defined: [`delete`](Self::delete) it.
    pub async fn create(&self, config: &VmConfig, within: Duration) -> Result<()> {
        self.tell(Verb::CREATE, config, within).await.map(drop)
    }

    /// Drops the machine. Always, and again; a power cut if it runs.
    pub async fn delete(&self, within: Duration) -> Result<()> {
        self.act(Verb::DELETE, within).await
    }

    /// Boots the machine; once defined. One that fails has used up the machine's disks, and the next one would boot
    /// without: [`delete`](Self::delete) and [`create`](Self::create) before trying again. A disk that somebody else has
    /// locked even leaves a machine that counts as booted.
    pub async fn boot(&self, within: Duration) -> Result<()> {
        self.act(Verb::BOOT, within).await
    }

    /// Cuts the power; booted only. The machine stays defined and says `Created` from then on.
    pub async fn shutdown(&self, within: Duration) -> Result<()> {
        self.act(Verb::SHUTDOWN, within).await
    }

    /// Resets the machine; booted only. The guest is not asked; a paused one runs then.
    pub async fn reboot(&self, within: Duration) -> Result<()> {
        self.act(Verb::REBOOT, within).await
    }

    /// Presses the power button; booted only. What the guest does about it is its business.
    pub async fn power_button(&self, within: Duration) -> Result<()> {
        self.act(Verb::POWER_BUTTON, within).await
    }

    /// Sends a non-maskable interrupt; booted only.
    pub async fn nmi(&self, within: Duration) -> Result<()> {
        self.act(Verb::NMI, within).await
    }

    /// Pauses the machine; running or already paused.
    pub async fn pause(&self, within: Duration) -> Result<()> {
        unless(self.act(Verb::PAUSE, within).await, &State::Paused)
    }

    /// Lets the machine go on; paused or already running.
    pub async fn resume(&self, within: Duration) -> Result<()> {
        unless(self.act(Verb::RESUME, within).await, &State::Running)
    }

    /// The machine's configuration and state; defined only. `Created` does not say whether it ran before.
    pub async fn info(&self, within: Duration) -> Result<Info> {
        self.read(Verb::INFO, within).await
    }

    /// Counters of its devices; booted only.
    pub async fn counters(&self, within: Duration) -> Result<Counters> {
        self.read(Verb::COUNTERS, within).await
    }

    /// Changes processors, memory or balloon; defined only. Before boot it changes the configuration and is not checked.
    pub async fn resize(&self, to: &Resize, within: Duration) -> Result<()> {
        self.tell(Verb::RESIZE, to, within).await.map(drop)
    }

    /// Grows a disk to so many bytes; booted only, raw ones and qcow2 ones with nothing behind them. A smaller size is
    /// refused here ([`Why::Shrink`]): the VMM would cut the file off and call it a success.
    pub async fn resize_disk(&self, id: &str, bytes: u64, within: Duration) -> Result<()> {
        let verb = Verb::RESIZE_DISK;
        let info = self.info(within).await.map_err(|error| Error { verb, ..error })?;
        if !verb.needs.met_by(Some(&info.state)) {
            return Err(Error::new(verb, Why::WrongState(info.state)));
        }
        let disk = info.config.disks.iter().find(|disk| disk.id.as_deref() == Some(id));
        let disk = disk.ok_or_else(|| Error::new(verb, Why::NoDisk(id.to_owned())))?;
        // A qcow2 file is smaller than its disk; those the VMM itself does not shrink.
        if disk.image_type != Some(ImageType::Qcow2)
            && let Some(path) = &disk.path
        {
            let from = std::fs::metadata(path).map_err(|error| Error::malformed(verb, error))?.len();
            if bytes < from {
                return Err(Error::new(verb, Why::Shrink { from, to: bytes }));
            }
        }
        self.tell(verb, &json!({"id": id, "desired_size": bytes}), within).await.map(drop)
    }

    /// Changes a memory zone to so many bytes; booted only.
    pub async fn resize_zone(&self, id: &str, bytes: u64, within: Duration) -> Result<()> {
        self.tell(Verb::RESIZE_ZONE, &json!({"id": id, "desired_ram": bytes}), within).await.map(drop)
    }

    /// Passes a device of the host through; defined only. As with all that is added: booted, the guest sees it at once
    /// and its place is returned; before, it joins the configuration unchecked.
    pub async fn add_device(&self, device: &DeviceConfig, within: Duration) -> Result<Option<PciDevice>> {
        self.add(Verb::ADD_DEVICE, device, within).await
    }

    /// Adds a device of another process; defined only.
    pub async fn add_user_device(&self, device: &UserDeviceConfig, within: Duration) -> Result<Option<PciDevice>> {
        self.add(Verb::ADD_USER_DEVICE, device, within).await
    }

    /// Adds a disk; defined only.
    pub async fn add_disk(&self, disk: &DiskConfig, within: Duration) -> Result<Option<PciDevice>> {
        self.add(Verb::ADD_DISK, disk, within).await
    }

    /// Adds a shared folder; defined only, with shared memory. virtiofsd must listen already: the VMM waits for it, and
    /// answers nobody meanwhile.
    pub async fn add_fs(&self, fs: &FsConfig, within: Duration) -> Result<Option<PciDevice>> {
        self.add(Verb::ADD_FS, fs, within).await
    }

    /// Adds a vhost-user device of any kind; defined only, with shared memory.
    pub async fn add_generic_vhost_user(
        &self,
        device: &GenericVhostUserConfig,
        within: Duration,
    ) -> Result<Option<PciDevice>> {
        self.add(Verb::ADD_GENERIC_VHOST_USER, device, within).await
    }

    /// Adds a network interface; defined only. A tap that does not exist a VMM with the right to do so makes itself, in
    /// no bridge: make it first.
    pub async fn add_net(&self, net: &NetConfig, within: Duration) -> Result<Option<PciDevice>> {
        self.add(Verb::ADD_NET, net, within).await
    }

    /// Adds persistent memory; defined only.
    pub async fn add_pmem(&self, pmem: &PmemConfig, within: Duration) -> Result<Option<PciDevice>> {
        self.add(Verb::ADD_PMEM, pmem, within).await
    }

    /// Adds a vDPA device; defined only.
    pub async fn add_vdpa(&self, vdpa: &VdpaConfig, within: Duration) -> Result<Option<PciDevice>> {
        self.add(Verb::ADD_VDPA, vdpa, within).await
    }

    /// Adds the socket between guest and host; defined only, and only one.
    pub async fn add_vsock(&self, vsock: &VsockConfig, within: Duration) -> Result<Option<PciDevice>> {
        self.add(Verb::ADD_VSOCK, vsock, within).await
    }

    /// Asks the guest to let go of a device; defined only, and only once. It is gone when the event says so
    /// ([`events::removed`](super::events::removed)); a guest without hot-plugging never lets go. Before boot it is
    /// dropped from the configuration at once, without an event.
    pub async fn remove_device(&self, id: &str, within: Duration) -> Result<()> {
        self.tell(Verb::REMOVE_DEVICE, &json!({"id": id}), within).await.map(drop)
    }

    /// Writes the machine into an existing folder; paused only. Memory in full, disks not at all.
    pub async fn snapshot(&self, folder: &Path, within: Duration) -> Result<()> {
        self.tell(Verb::SNAPSHOT, &json!({"destination_url": file_url(folder)}), within).await.map(drop)
    }

    /// Reads a machine from a folder; without one only. By the build that wrote it.
    pub async fn restore(&self, from: &Restore, within: Duration) -> Result<()> {
        self.tell(Verb::RESTORE, from, within).await.map(drop)
    }

    /// Writes the guest's memory for debugging; paused only, and releases do not have it ([`Why::Unsupported`]).
    pub async fn coredump(&self, folder: &Path, within: Duration) -> Result<()> {
        self.tell(Verb::COREDUMP, &json!({"destination_url": file_url(folder)}), within).await.map(drop)
    }

    /// Moves the machine to another VMM; booted only. Returns at once; the rest is told by events, and in the end this
    /// VMM has no machine any more.
    pub async fn send_migration(&self, to: &SendMigration, within: Duration) -> Result<()> {
        self.tell(Verb::SEND_MIGRATION, to, within).await.map(drop)
    }

    /// Takes a machine in; without one only. Answers when it is there, and nobody else until then.
    pub async fn receive_migration(&self, from: &ReceiveMigration, within: Duration) -> Result<()> {
        self.tell(Verb::RECEIVE_MIGRATION, from, within).await.map(drop)
    }
}

/// Takes for done what was so before.
fn unless(done: Result<()>, already: &State) -> Result<()> {
    match done {
        Err(Error { why: Why::WrongState(state), .. }) if state == *already => Ok(()),
        done => done,
    }
}
