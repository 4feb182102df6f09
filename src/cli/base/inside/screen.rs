//! `vnc` and `spice`: the screen of a VM, or the console of a container or a node, in a viewer of this machine.
//!
//! What lets a viewer in is in a file that only this user can read, and nowhere else.

use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process,
};

use async_trait::async_trait;
use clap::{ArgMatches, Command};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{super::get::target_arg, one};
use crate::{
    backends::term::{Opened, lead_to},
    cli::{
        cx::{Cx, flag, text},
        print,
        progress::Show,
        session::{Access, Session},
        verb::{Exit, Kind, Verb, switch, value},
    },
    client::{WebSocket, path},
    model::{Class, Error, Guest, GuestKind, Hint, Method, NodeName, Params, Result, Vmid},
};

/// What opens viewer files, the first that there is.
const VIEWERS: [&str; 2] = ["remote-viewer", "xdg-open"];

/// Whose screen it is, and how the API leads there.
pub(crate) struct Sight {
    pub(crate) node: NodeName,
    /// Else it is the node's own.
    pub(crate) guest: Option<(GuestKind, Vmid)>,
    /// What it is called in a title.
    pub(crate) title: String,
}

impl Sight {
    fn of(guest: &Guest) -> Self {
        Self { node: guest.node.clone(), guest: Some((guest.kind, guest.vmid)), title: guest.label() }
    }

    fn noun(&self) -> &'static str {
        self.guest.map_or("node", |(kind, _)| kind.noun())
    }

    /// What opens a VNC connection, and what a SPICE one, below [`Self::template`].
    fn opens(&self) -> [&'static str; 2] {
        match self.guest {
            Some(_) => ["vncproxy", "spiceproxy"],
            None => ["vncshell", "spiceshell"],
        }
    }

    /// What it is called in the journal: the number, or the node's name.
    fn name(&self) -> String {
        self.guest.map_or_else(|| self.node.to_string(), |(_, vmid)| vmid.to_string())
    }

    /// The path of it in the contract.
    fn template(&self) -> String {
        let below = self.guest.map(|(kind, _)| format!("/{}/{{vmid}}", kind.api())).unwrap_or_default();
        format!("/nodes/{{node}}{below}")
    }

    /// The same with what it is filled with.
    fn base(&self) -> String {
        let vmid = self.guest.map(|(_, vmid)| vmid.to_string()).unwrap_or_default();
        let parts = self.template();
        let parts = parts.split('/').skip(1).map(|part| match part {
            "{node}" => self.node.as_str(),
            "{vmid}" => vmid.as_str(),
            part => part,
        });
        path::segments(&parts.collect::<Vec<_>>())
    }

    /// What is told of it in data.
    fn told(&self, session: &Session) -> Value {
        let mut told = json!({"node": self.node, "name": self.title, "context": session.ops.context()});
        if let Some((_, vmid)) = self.guest {
            told["vmid"] = vmid.get().into();
        }
        told
    }
}

pub(super) struct Vnc;

#[async_trait(?Send)]
impl Verb for Vnc {
    fn name(&self) -> &'static str {
        "vnc"
    }

    fn about(&self, kind: &Kind) -> String {
        let what = if kind.guest() == GuestKind::Qemu { "screen" } else { "console" };
        format!("Bring the {what} of a {} to a port of this machine, for one VNC viewer", kind.noun)
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        let (noun, id) = (kind.noun, if kind.guest() == GuestKind::Qemu { 100 } else { 110 });
        vec![format!("pvectl {noun} vnc {id} --open"), format!("pvectl {noun} vnc {id} --listen 127.0.0.1:5901")]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        vnc_args(command.arg(target_arg()))
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        // What is wrong about it is said before anything is asked.
        listen(matches)?;
        let (session, sight) = running(cx, kind, matches).await?;
        show_vnc(cx, &session, &sight, matches).await
    }
}

/// The flags of `vnc`.
pub(crate) fn vnc_args(command: Command) -> Command {
    let listen =
        value("listen", "ADDRESS:PORT", "Where the viewer comes; port 0 is a free one").default_value("127.0.0.1:0");
    viewer_args(command.arg(listen))
}

/// Where a viewer is waited for.
pub(crate) fn listen(matches: &ArgMatches) -> Result<SocketAddr> {
    text(matches, "listen").unwrap_or_default().parse().map_err(|error| {
        Error::usage("--listen takes an address and a port, such as 127.0.0.1:5901").with_source(error)
    })
}

/// Brings a screen to a port of this machine.
pub(crate) async fn show_vnc(cx: &Cx, session: &Session, sight: &Sight, matches: &ArgMatches) -> Result<Exit> {
    let listen = listen(matches)?;
    let asked = asked(cx, session, sight, ("vnc", sight.opens()[0]), Params::new().with("websocket", 1)).await?;
    let Some(data) = asked else { return Ok(0) };
    let Some(client) = &session.client else { return Err(Error::new(Class::Bug, "a server without a client")) };
    let opened = Opened::read(&data)?;
    // The server waits ten seconds for somebody; the viewer may take its time.
    let socket = lead_to(client, &sight.base(), &opened).await?;
    let listener = TcpListener::bind(listen).await;
    let listener =
        listener.map_err(|error| Error::new(Class::Failed, format!("cannot listen at {listen}")).with_source(error))?;
    let at = listener.local_addr().map_err(|error| Error::new(Class::Failed, "no address").with_source(error))?;
    let password = opened.password.clone().unwrap_or_default();
    let config = json!({
        "type": "vnc", "host": at.ip().to_string(), "port": at.port(), "password": password,
        "title": format!("{} - %d", sight.title), "delete-this-file": 1,
    });
    let file = write_viewer_file(cx, matches, sight, &config)?;
    let mut told = sight.told(session);
    told["address"] = at.to_string().into();
    told["file"] = json!(file);
    print::data_or(&cx.ui, &session.style, &told, &[file.display().to_string()], |out| {
        writeln!(out, "{at}\n{}", file.display())
    })?;
    cx.ui.say(format_args!("the password for {at} is in the file; it ends when the viewer does, or with Ctrl-C"));
    if flag(matches, "open") {
        open(&file)?;
    }
    let _mind = cx.interrupt.mind();
    let ended = tokio::select! {
        ended = serve(socket, listener) => ended,
        () = cx.interrupt.raised() => Ok(Class::Interrupted.exit_code()),
    };
    // The viewer has deleted it, if it is one that does.
    let _ = fs::remove_file(&file);
    ended
}

/// Lets one viewer in, and carries bytes to and fro until one end is gone.
async fn serve(mut socket: WebSocket, listener: TcpListener) -> Result<Exit> {
    let failed = |error| Error::new(Class::Failed, "the viewer did not come").with_source(error);
    let mut before = Vec::new();
    let mut viewer: TcpStream = loop {
        tokio::select! {
            came = listener.accept() => break came.map_err(failed)?.0,
            said = socket.receive() => match said? {
                Some(bytes) => before.extend_from_slice(&bytes),
                None => return Err(Error::new(Class::Failed, "the server closed the screen before a viewer came")),
            },
        }
    };
    drop(listener);
    let _ = viewer.set_nodelay(true);
    if viewer.write_all(&before).await.is_err() {
        return Ok(0);
    }
    let mut typed = vec![0; 32 * 1024];
    loop {
        tokio::select! {
            said = socket.receive() => match said? {
                Some(bytes) if viewer.write_all(&bytes).await.is_ok() => {}
                _ => break,
            },
            read = viewer.read(&mut typed) => match read {
                Ok(count) if count > 0 => socket.send(&typed[..count]).await?,
                _ => break,
            },
        }
    }
    socket.close().await;
    Ok(0)
}

pub(super) struct Spice;

#[async_trait(?Send)]
impl Verb for Spice {
    fn name(&self) -> &'static str {
        "spice"
    }

    fn about(&self, kind: &Kind) -> String {
        let what = if kind.guest() == GuestKind::Qemu { "screen" } else { "console" };
        format!(
            "Write a file with which a SPICE viewer opens the {what} of a {}; it is good for half a minute",
            kind.noun
        )
    }

    fn examples(&self, kind: &Kind) -> Vec<String> {
        let (noun, id) = (kind.noun, if kind.guest() == GuestKind::Qemu { 100 } else { 110 });
        vec![format!("pvectl {noun} spice {id} --open"), format!("remote-viewer \"$(pvectl {noun} spice {id})\"")]
    }

    fn args(&self, command: Command, _: &Kind) -> Command {
        spice_args(command.arg(target_arg()))
    }

    async fn run(&self, cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<Exit> {
        let (session, sight) = running(cx, kind, matches).await?;
        show_spice(cx, &session, &sight, matches).await
    }
}

/// The flags of `spice`.
pub(crate) fn spice_args(command: Command) -> Command {
    let proxy = "The host through which the viewer goes, port 3128; else the one that this talks to";
    viewer_args(command.arg(value("proxy", "HOST", proxy)))
}

/// Writes what a SPICE viewer opens.
pub(crate) async fn show_spice(cx: &Cx, session: &Session, sight: &Sight, matches: &ArgMatches) -> Result<Exit> {
    let here = session.url.as_deref().and_then(|url| url::Url::parse(url).ok());
    // The server writes the brackets of IPv6 itself.
    let here = here.and_then(|url| Some(url.host_str()?.trim_matches(['[', ']']).to_owned()));
    let proxy = text(matches, "proxy").map(str::to_owned).or(here);
    let params = Params::new().with_some("proxy", proxy);
    let asked = asked(cx, session, sight, ("spice", sight.opens()[1]), params).await.map_err(|error| {
        // QEMU has none where the display is not made for it.
        let none = sight.noun() == "vm" && error.message().contains("spice port");
        let vmid = sight.name();
        let hint = format!("pvectl vm update {vmid} --vga qxl, then stop and start it; or pvectl vm vnc {vmid}");
        if none { error.with_class(Class::Conflict).with_hint(Hint::Text(hint)) } else { error }
    })?;
    let Some(config) = asked else { return Ok(0) };
    let file = write_viewer_file(cx, matches, sight, &config)?;
    let mut told = sight.told(session);
    told["file"] = json!(file);
    print::data_or(&cx.ui, &session.style, &told, &[file.display().to_string()], |out| {
        writeln!(out, "{}", file.display())
    })?;
    if flag(matches, "open") {
        open(&file)?;
    }
    Ok(0)
}

fn viewer_args(command: Command) -> Command {
    let file = "Write the viewer file there; else into the directory of this session";
    command
        .arg(value("viewer-file", "FILE", file))
        .arg(switch("open", "Open it at once, with remote-viewer or what the desktop has for such files"))
}

/// A guest that runs.
async fn running(cx: &Cx, kind: &Kind, matches: &ArgMatches) -> Result<(Session, Sight)> {
    let session = cx.session(Access::Write).await?;
    if session.ops.backend().capabilities().here {
        return Err(Error::usage("VMs of this host have no screen").with_hint(Hint::Text("pvectl vm console".into())));
    }
    let guest = one(&session, kind, matches).await?.guest;
    let status = session.ops.backend().guest_status(&guest.reference()).await?;
    if status.get("status").and_then(Value::as_str) == Some("stopped") {
        let error = Error::conflict(format!("{} is not running, so there is nothing to see", guest.reference()));
        return Err(error.with_hint(Hint::Text(format!("pvectl {} start {}", guest.kind, guest.vmid))));
    }
    Ok((session, Sight::of(&guest)))
}

/// What the server gives for a viewer; nothing with `--dry-run`, which shows the call.
async fn asked(
    cx: &Cx,
    session: &Session,
    sight: &Sight,
    (verb, method): (&'static str, &str),
    mut params: Params,
) -> Result<Option<Value>> {
    params.push("node", &sight.node);
    params.extend(sight.guest.map(|(_, vmid)| ("vmid", vmid)));
    let path = format!("{}/{method}", sight.template());
    let target = (Method::Post, path.as_str());
    let plan =
        session.ops.plan_resource_call(verb, sight.noun(), &sight.name(), target, (params, &Params::new())).await?;
    if cx.switches.dry_run {
        crate::cli::resource::carry_out(cx, session, vec![plan]).await?;
        return Ok(None);
    }
    let show = Show::new(cx.ui.clone(), 1);
    let outcome = session.ops.run_resource(plan, &session.options, &show, &cx.interrupt).await;
    match (outcome.error, outcome.data) {
        (Some(error), _) => Err(error),
        (None, Some(data)) => Ok(Some(data)),
        (None, None) => Err(Error::new(Class::Interrupted, "interrupted: nothing was asked")),
    }
}

/// Writes what a viewer reads, as virt-viewer has it, for this user alone.
fn write_viewer_file(cx: &Cx, matches: &ArgMatches, sight: &Sight, config: &Value) -> Result<PathBuf> {
    let mut lines = String::from("[virt-viewer]\n");
    for (key, value) in config.as_object().into_iter().flatten() {
        let value = crate::ops::plain(value).unwrap_or_default();
        // A line break would begin another key.
        lines.extend([key.as_str(), "=", &value.replace(['\n', '\r'], " "), "\n"]);
    }
    let path = match text(matches, "viewer-file") {
        Some(path) => PathBuf::from(path),
        None => {
            let session = cx.env.path("XDG_RUNTIME_DIR").filter(|path| path.is_dir());
            let directory =
                session.map_or_else(|| cx.paths().map(|paths| paths.tickets().with_file_name("viewers")), Ok)?;
            directory.join(format!("pvectl-{}-{}.vv", sight.noun(), sight.name()))
        }
    };
    let failed = |error| Error::new(Class::Failed, format!("cannot write {}", path.display())).with_source(error);
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    // One that is there may be open to others.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    file.and_then(|mut file| file.write_all(lines.as_bytes())).map_err(failed)?;
    Ok(path)
}

/// Opens a viewer file.
fn open(file: &Path) -> Result<()> {
    for viewer in VIEWERS {
        let mut command = process::Command::new(viewer);
        command.arg(file).stdin(process::Stdio::null()).stdout(process::Stdio::null());
        match command.spawn() {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::new(Class::Failed, format!("cannot run {viewer}")).with_source(error)),
        }
    }
    Err(Error::new(Class::Failed, "there is nothing here that opens viewer files")
        .with_hint(Hint::Text("install virt-viewer; the file stays, for a viewer of yours".into())))
}
