//! What the VMM opens on the host: images and their locks, consoles, sockets.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::{fd::OwnedFd, unix::net::UnixListener},
    path::{Path, PathBuf},
    thread,
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    libc,
};
use serde_json::{Value, json};

use crate::serial::Serial;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Granularity {
    ByteRange,
    Full,
}

/// Takes a lock that belongs to the open file, not to the process; whether it was free.
pub(crate) fn lock(file: &File, exclusive: bool, granularity: Granularity) -> bool {
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let wanted = libc::flock {
        l_type: if exclusive { libc::F_WRLCK } else { libc::F_RDLCK } as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: 0,
        l_len: if granularity == Granularity::Full { 0 } else { i64::try_from(length).unwrap_or(0) },
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_OFD_SETLK(&wanted)).is_ok()
}

fn text<'a>(config: &'a Value, key: &str) -> Option<&'a str> {
    config[key].as_str()
}

/// A disk that is open, and locked later: the real one locks all at the end of the boot.
pub(crate) struct Disk {
    pub(crate) id: String,
    pub(crate) file: File,
    path: String,
    readonly: bool,
    granularity: Granularity,
}

impl Disk {
    /// Opens an image. Notes its format where none was given.
    pub(crate) fn open(config: &mut Value, walls: Option<&[PathBuf]>) -> Result<Self, Vec<String>> {
        let path = text(config, "path").unwrap_or_default().to_owned();
        let readonly = config["readonly"] == true;
        let opened = match walls.is_some_and(|walls| !walls.iter().any(|wall| Path::new(&path).starts_with(wall))) {
            true => Err(io::Error::from_raw_os_error(libc::EACCES)),
            false => OpenOptions::new().read(true).write(!readonly).open(&path),
        };
        let mut file = opened.map_err(|error| {
            vec!["Cannot open disk path".to_owned(), format!("I/O error (path={path} op=open)"), error.to_string()]
        })?;
        let (found, behind) = format_of(&mut file).map_err(|error| vec![error.to_string()])?;
        match text(config, "image_type").unwrap_or("Unknown") {
            "Unknown" => config["image_type"] = json!(found),
            given if given == found => {}
            given => {
                let lower = |name: &str| name.trim_start_matches("Fixed").to_lowercase();
                return Err(vec![format!(
                    "Disk image type does not match expected type: specified = {}, detected = {}",
                    lower(given),
                    lower(found)
                )]);
            }
        }
        if behind && config["backing_files"] != true {
            return Err(vec!["Failed to create disk".to_owned(), "Maximum disk nesting depth exceeded".to_owned()]);
        }
        let granularity = if config["lock_granularity"] == "Full" { Granularity::Full } else { Granularity::ByteRange };
        Ok(Self { id: text(config, "id").unwrap_or_default().to_owned(), file, path, readonly, granularity })
    }

    pub(crate) fn lock(&self) -> Result<(), Vec<String>> {
        if lock(&self.file, !self.readonly, self.granularity) {
            return Ok(());
        }
        let kind = if self.readonly { "Read" } else { "Write" };
        Err(vec![
            "Cannot lock images of all block devices".to_owned(),
            format!("Failed to get {kind} lock for disk image: {}", self.path),
            "The file is already locked".to_owned(),
        ])
    }
}

/// The paths within which the VMM has locked itself with its configuration; `None` if it has not.
pub(crate) fn walls(config: &Value) -> Option<Vec<PathBuf>> {
    let list = |key: &str| config[key].as_array().cloned().unwrap_or_default();
    let paths = [list("disks"), list("landlock_rules")].concat();
    (config["landlock_enable"] == true)
        .then(|| paths.iter().filter_map(|entry| text(entry, "path")).map(PathBuf::from).collect())
}

/// The format of an image, and whether it names another behind it.
fn format_of(file: &mut File) -> io::Result<(&'static str, bool)> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut head = [0; 16];
    file.seek(SeekFrom::Start(0))?;
    let read = file.read(&mut head)?;
    let mut foot = [0; 8];
    if length >= 512 {
        file.seek(SeekFrom::Start(length - 512))?;
        file.read_exact(&mut foot)?;
    }
    Ok(match &head[..read] {
        [b'Q', b'F', b'I', 0xfb, _, _, _, _, behind @ ..] => ("Qcow2", behind.iter().any(|byte| *byte != 0)),
        [b'v', b'h', b'd', b'x', b'f', b'i', b'l', b'e', ..] => ("Vhdx", false),
        _ if &foot == b"conectix" => ("FixedVhd", false),
        _ => ("Raw", false),
    })
}

/// A socket that listens until this is dropped, and its file with it.
pub(crate) struct Listening {
    path: PathBuf,
    /// Its file stays behind.
    stale: bool,
}

impl Listening {
    pub(crate) fn at(path: &str) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                thread::spawn(move || {
                    let mut bytes = [0; 4096];
                    while let Ok(1..) = stream.read(&mut bytes) {}
                });
            }
        });
        Ok(Self { path: PathBuf::from(path), stale: false })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if !self.stale {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What a console holds open.
pub(crate) enum Console {
    File { _file: File },
    Socket { socket: Serial },
    Out,
    Terminal { _ends: [OwnedFd; 2] },
}

impl Console {
    /// The guest says something.
    pub(crate) fn say(&self, text: &str) {
        match self {
            Self::Socket { socket } => socket.say(text),
            Self::Out => {
                let mut out = io::stdout().lock();
                let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            }
            Self::File { .. } | Self::Terminal { .. } => {}
        }
    }

    /// A machine that never was a machine cleans nothing up.
    pub(crate) fn leave_behind(&mut self) {
        if let Self::Socket { socket } = self {
            socket.stale = true;
        }
    }
}

/// Opens what a console leads to; a terminal's path is noted in the configuration.
pub(crate) fn console(key: &str, config: &mut Value) -> Result<Option<Console>, Vec<String>> {
    let failed = |error: &dyn std::fmt::Display| vec!["Error creating console device".to_owned(), error.to_string()];
    match text(config, "mode").unwrap_or("Off") {
        "File" => {
            let file = File::create(text(config, "file").unwrap_or_default()).map_err(|error| failed(&error))?;
            Ok(Some(Console::File { _file: file }))
        }
        "Socket" if key == "console" => Err(vec!["No socket option support for console device".to_owned()]),
        "Socket" => {
            let socket = Serial::at(Path::new(text(config, "socket").unwrap_or_default()));
            Ok(Some(Console::Socket { socket: socket.map_err(|error| failed(&error))? }))
        }
        "Pty" => {
            let ends = nix::pty::openpty(None, None).map_err(|error| failed(&error))?;
            config["file"] = json!(nix::unistd::ttyname(&ends.slave).map_err(|error| failed(&error))?);
            Ok(Some(Console::Terminal { _ends: [ends.master, ends.slave] }))
        }
        "Tty" if key == "serial" => Ok(Some(Console::Out)),
        _ => Ok(None),
    }
}

/// A tap: looked at, never made or taken, which would need rights.
pub(crate) fn tap(config: &Value) -> Result<(), Vec<String>> {
    let Some(name) = text(config, "tap") else { return Ok(()) };
    let device = Path::new("/sys/class/net").join(name);
    let why = match (device.exists(), device.join("tun_flags").exists()) {
        (_, true) => return Ok(()),
        (true, false) => "Invalid argument (os error 22)",
        // What a VMM without rights finds; one with rights would make the tap.
        (false, false) => "Operation not permitted (os error 1)",
    };
    let chain = [
        "Cannot create virtio-net device",
        "Failed to open taps",
        "Open tap device failed",
        "Unable to configure tap interface",
        why,
    ];
    Err(chain.map(str::to_owned).to_vec())
}

/// Looks at what is to be booted, as far as a VMM without processors can.
pub(crate) fn payload(config: &Value) -> Result<(), Vec<String>> {
    let chain = |links: &[&str]| Err(links.iter().map(|link| (*link).to_owned()).collect());
    let unbootable = |why| chain(&["Failed to validate config", "Payload configuration is not bootable", why]);
    let (path, what) = match (text(config, "firmware"), text(config, "kernel")) {
        (Some(_), Some(_)) => return unbootable("Specifying a kernel is not supported when a firmware is provided"),
        (None, None) => return unbootable("No bootitem provided: neither firmware nor kernel"),
        (Some(path), None) => (path, "firmware"),
        (None, Some(path)) => (path, "kernel"),
    };
    let mut head = Vec::new();
    match File::open(path).and_then(|file| file.take(0x206).read_to_end(&mut head)) {
        Err(error) => chain(&[&format!("Cannot open {what} file"), &error.to_string()]),
        Ok(_) if head.starts_with(b"\x7fELF") || head.get(0x202..0x206) == Some(b"HdrS") || what == "firmware" => {
            match text(config, "initramfs").map(File::open) {
                Some(Err(error)) => chain(&["Cannot open initramfs file", &error.to_string()]),
                _ => Ok(()),
            }
        }
        Ok(_) => chain(&[
            "Cannot load the kernel into memory",
            "Kernel Loader: failed to load bzImage kernel image: Kernel Loader: Invalid bzImage",
            "Kernel Loader: Invalid bzImage",
        ]),
    }
}
