//! Directories of this host that are shared with guests: each has a virtiofsd of its own, which comes up before the VMM
//! connects to it and ends with it, or somebody else's that listens already.
//!
//! Beside Proxmox's `virtiofs0: dirid=TAG` the note says which directory: `x-virtiofs0: source=/srv`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{Local, asked::typed};
use crate::{
    backends::cloud_hypervisor::{
        host::{self, Places},
        mapping,
        state::{Config, Settings, Vm},
    },
    model::{Error, Hint, PropertyString, Result, config::qemu::VirtioFs},
};

/// How virtiofsd may shut itself in; its own choice where nothing is said.
const SANDBOXES: [&str; 3] = ["namespace", "chroot", "none"];

/// What a device shares.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Share {
    /// What somebody else serves on this socket.
    Theirs(PathBuf),
    /// A directory that is served for it.
    Own(Own),
}

/// A directory that is served for a device.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Own {
    key: String,
    source: PathBuf,
    /// Where somebody wants the socket to be.
    socket: Option<PathBuf>,
    args: Vec<String>,
}

impl Own {
    fn socket(&self, places: &Places) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| places.share_socket(&self.key))
    }
}

/// The shares of a configuration by their number; of a device without a note nobody knows what it shares.
///
/// # Errors
/// [`Class::Usage`](crate::model::Class::Usage) for a note that cannot be followed.
fn shares(config: &Config) -> Result<BTreeMap<u16, Share>> {
    let mut found = BTreeMap::new();
    for row in typed(config).virtiofs_all() {
        let (n, device) = row?;
        let key = format!("virtiofs{n}");
        let note = mapping::note(&key);
        let Some(said) = config.get(&note).map(|said| PropertyString::lenient(said)) else { continue };
        let wrong = |what: String| Error::usage(format!("{note}: {what}"));
        let socket = said.get("socket").map(PathBuf::from);
        let share = match (said.get("source").map(PathBuf::from), socket) {
            (Some(source), _) if !source.is_absolute() => {
                return Err(wrong(format!("source: `{}` has to be a whole path, from /", source.display())));
            }
            (Some(source), socket) => {
                let args = args(&device, &source, &said).map_err(|error| error.context(&note))?;
                Share::Own(Own { key, source, socket, args })
            }
            (None, Some(socket)) => Share::Theirs(socket),
            (None, None) => continue,
        };
        found.insert(n, share);
    }
    Ok(found)
}

/// What virtiofsd is told: the device's options in its words.
fn args(device: &VirtioFs, source: &Path, note: &PropertyString) -> Result<Vec<String>> {
    // In its first versions it does not say by itself that it takes connections.
    let mut args = vec![format!("--shared-dir={}", source.display()), "--log-level=info".to_owned()];
    if let Some(cache) = device.cache()? {
        args.push(format!("--cache={}", cache.as_str()));
    }
    let switches = [
        (device.direct_io()?, "--allow-direct-io"),
        (device.expose_acl()?, "--posix-acl"),
        (device.expose_xattr()?, "--xattr"),
        (Some(note.get("readonly") == Some("1")), "--readonly"),
    ];
    args.extend(switches.iter().filter(|(on, _)| *on == Some(true)).map(|(_, switch)| (*switch).to_owned()));
    match note.get("sandbox") {
        None => {}
        Some(sandbox) if SANDBOXES.contains(&sandbox) => args.push(format!("--sandbox={sandbox}")),
        Some(other) => {
            return Err(Error::usage(format!("sandbox: `{other}` is none of {}", SANDBOXES.join(", "))));
        }
    }
    Ok(args)
}

/// Looks at the socket on which somebody else serves a shared directory: a VMM that finds nobody there waits, and answers
/// nobody meanwhile.
fn check_listens(key: &str, socket: &Path) -> Result<()> {
    if host::listens(socket) {
        return Ok(());
    }
    let socket = socket.display();
    Err(Error::not_found(format!("{key}: nobody listens on {socket}")).with_hint(Hint::Text(format!(
        "start the virtiofsd that serves it: `virtiofsd --socket-path={socket} --shared-dir=…`, or name the directory \
         with --source"
    ))))
}

impl Local {
    /// The sockets of a VM's shares by their number. Those of devices that are `new` to its VMM are looked at: somebody
    /// listens, or can be made to.
    ///
    /// # Errors
    /// [`Class::NotFound`](crate::model::Class::NotFound) where nobody listens, or there is nothing to serve, or nobody to
    /// serve it.
    pub(super) fn share_sockets(&self, vm: &Vm, new: impl Fn(&str) -> bool) -> Result<BTreeMap<u16, PathBuf>> {
        let places = self.places(vm);
        let mut found = BTreeMap::new();
        for (n, share) in shares(&vm.settings.config)? {
            let key = format!("virtiofs{n}");
            let socket = match share {
                Share::Theirs(socket) => {
                    if new(&key) {
                        check_listens(&key, &socket)?;
                    }
                    socket
                }
                Share::Own(own) => {
                    let socket = own.socket(&places);
                    if new(&key) {
                        self.check_share(&own)?;
                        host::short_socket(&socket)?;
                    }
                    socket
                }
            };
            found.insert(n, socket);
        }
        Ok(found)
    }

    /// Refuses the start of a VM with shares that cannot be had.
    pub(super) fn refuse_start_of_shares(&self, vm: &Vm) -> Result<()> {
        let settings = Settings::new(vm.settings.to_come());
        self.share_sockets(&Vm { settings, ..vm.clone() }, |_| true).map(drop)
    }

    /// Refuses directories that cannot be shared, of devices that are new to a configuration.
    pub(super) fn refuse_shares(&self, config: &Config, new: impl Fn(&str) -> bool) -> Result<()> {
        shares(config)?.into_values().try_for_each(|share| match share {
            Share::Own(own) if new(&own.key) || new(&mapping::note(&own.key)) => self.check_share(&own),
            _ => Ok(()),
        })
    }

    fn check_share(&self, own: &Own) -> Result<()> {
        let Own { key, source, socket, .. } = own;
        if !source.is_dir() {
            return Err(Error::not_found(format!("{key}: there is no directory {}", source.display()))
                .with_hint(Hint::Text("make it first; a file cannot be shared".to_owned())));
        }
        if let Some(socket) = socket.as_ref().filter(|socket| host::listens(socket)) {
            return Err(host::taken(socket).context(key));
        }
        self.virtiofsd().map(drop).map_err(|error| error.context(key))
    }

    /// Refuses to save the memory of a VM that runs where what its guest has open in a share would be lost.
    pub(super) fn refuse_memory_of_shares(&self, vm: &Vm) -> Result<()> {
        let own = |share: &Share| matches!(share, Share::Own(_));
        let Some((n, _)) = shares(&vm.settings.config)?.into_iter().find(|(_, share)| own(share)) else {
            return Ok(());
        };
        let program = self.virtiofsd()?;
        if host::facts::keeps_open_files(program) {
            return Ok(());
        }
        let what = format!(
            "virtiofs{n}: {} cannot save what the guest has open, so the memory of VM {} cannot be saved",
            program.display(),
            vm.vmid
        );
        Err(Error::usage(what).with_hint(Hint::Text(
            "take a snapshot without --memory, shut the VM down, or install a virtiofsd that knows --migration-mode"
                .to_owned(),
        )))
    }

    /// virtiofsd, if it is one that can be used.
    fn virtiofsd(&self) -> Result<&Path> {
        let missing = || {
            Error::not_found("there is no `virtiofsd` to share directories with")
                .with_hint(Hint::Text("`pvectl check` says how to install it".to_owned()))
        };
        let program = self.options().virtiofsd.as_deref().ok_or_else(missing)?;
        host::facts::check_virtiofsd(program)?;
        Ok(program)
    }

    /// Serves all shares of a VM whose VMM has just come up.
    pub(super) async fn serve_shares(&self, vm: &Vm) -> Result<()> {
        for (n, share) in shares(&vm.settings.config)? {
            match share {
                Share::Own(own) => self.serve(vm, &own).await?,
                Share::Theirs(socket) => check_listens(&format!("virtiofs{n}"), &socket)?,
            }
        }
        Ok(())
    }

    /// Serves one share, if it is for us to do.
    pub(super) async fn serve_share(&self, vm: &Vm, key: &str) -> Result<()> {
        for share in shares(&vm.settings.config)?.into_values() {
            match share {
                Share::Own(own) if own.key == key => return self.serve(vm, &own).await,
                _ => {}
            }
        }
        Ok(())
    }

    /// Serves those again that nobody serves any more: a VMM that resets its machine waits for them.
    pub(super) async fn revive_shares(&self, vm: &Vm) -> Result<()> {
        let places = self.places(vm);
        for key in places.shares() {
            if host::served(&places, &key)?.is_none() {
                self.serve_share(vm, &key).await?;
            }
        }
        Ok(())
    }

    async fn serve(&self, vm: &Vm, own: &Own) -> Result<()> {
        let places = self.places(vm);
        let serving = host::Serving {
            program: self.virtiofsd()?,
            socket: &own.socket(&places),
            places: &places,
            key: &own.key,
            args: &own.args,
        };
        host::serve(&serving).await.map(drop).map_err(|error| {
            let log = places.share_log(&own.key);
            let cannot = error.context(format_args!("{} cannot be shared", own.source.display()));
            cannot.with_hint(Hint::Text(format!(
                "its log is {}; where it may not shut itself in, choose how with --sandbox",
                log.display()
            )))
        })
    }

    /// Ends shares of a VM.
    pub(super) async fn end_shares(&self, vm: &Vm, keys: &[String]) -> Result<()> {
        let places = self.places(vm);
        for key in keys {
            host::end_share(&places, key).await?;
        }
        Ok(())
    }

    /// What is told of the shares of a VM, by their keys.
    pub(super) fn tell_shares(&self, vm: &Vm) -> Result<Value> {
        let places = self.places(vm);
        let mut told = serde_json::Map::new();
        for (n, share) in shares(&vm.settings.config)? {
            let key = format!("virtiofs{n}");
            let row = match share {
                Share::Theirs(socket) => json!({"socket": socket, "served": "by somebody else"}),
                Share::Own(own) => {
                    let pid = host::served(&places, &key)?.map(|keeper| keeper.pid);
                    json!({
                        "source": own.source,
                        "socket": own.socket(&places),
                        "log": places.share_log(&key),
                        "pid": pid,
                        "served": pid.map_or("no".to_owned(), |pid| format!("below process {pid}")),
                    })
                }
            };
            told.insert(key, row);
        }
        Ok(told.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(rows: &[(&str, &str)]) -> Config {
        rows.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn options_become_virtiofsds_own() {
        for (device, note, wanted) in [
            ("dirid=a", "source=/srv", "--shared-dir=/srv --log-level=info"),
            (
                "a,cache=never,direct-io=1,expose-acl=1,expose-xattr=1",
                "source=/srv,readonly=1,sandbox=chroot",
                "--shared-dir=/srv --log-level=info --cache=never --allow-direct-io --posix-acl --xattr --readonly \
                 --sandbox=chroot",
            ),
            (
                "a,cache=metadata,direct-io=0",
                "source=/srv,readonly=0",
                "--shared-dir=/srv --log-level=info --cache=metadata",
            ),
        ] {
            let found = shares(&config(&[("virtiofs2", device), ("x-virtiofs2", note)])).unwrap();
            let Some(Share::Own(own)) = found.get(&2) else { panic!("{found:?}") };
            assert_eq!(own.args.join(" "), wanted);
        }
    }

    #[test]
    fn a_note_says_whose_it_is() {
        let of = |note: &str| shares(&config(&[("virtiofs0", "a"), ("x-virtiofs0", note)]));
        assert_eq!(of("socket=/run/a").unwrap(), [(0, Share::Theirs("/run/a".into()))].into());
        assert!(
            matches!(of("source=/srv,socket=/run/a").unwrap().get(&0), Some(Share::Own(own)) if own.socket.is_some())
        );
        assert_eq!(of("id=a").unwrap(), BTreeMap::new());
        assert_eq!(shares(&config(&[("virtiofs0", "a")])).unwrap(), BTreeMap::new());
        assert_eq!(shares(&config(&[("x-virtiofs0", "source=/srv")])).unwrap(), BTreeMap::new());
        assert!(of("source=srv").unwrap_err().message().contains("whole path"));
        assert!(of("source=/srv,sandbox=some").unwrap_err().to_string().contains("none of namespace, chroot, none"));
    }

    #[test]
    fn who_serves_for_somebody_else_is_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("share.sock");
        assert!(check_listens("virtiofs2", &path).unwrap_err().message().contains("virtiofs2: nobody listens"));
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        check_listens("virtiofs2", &path).unwrap();
    }
}
