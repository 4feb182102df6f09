//! Images that come into storages: sent, fetched from addresses (nothing leaves this machine: sizes are made up), and
//! templates of containers by their names.

use serde_json::{Value, json};

use super::{Context, Reply, Route};
use crate::{
    model::{
        Method::{Get, Post},
        Size,
    },
    sandbox::world::{effect::Effect, hash, node::Volume, task::Order},
    server::Fault,
};

pub(super) const TABLE: &[Route] = &[
    (Get, "/nodes/{node}/aplinfo", available),
    (Post, "/nodes/{node}/aplinfo", fetch_template),
    (Get, "/nodes/{node}/query-url-metadata", about),
    (Post, "/nodes/{node}/storage/{storage}/download-url", fetch),
    (Post, "/nodes/{node}/storage/{storage}/upload", upload),
];

/// Templates: package, version, section, file's end, headline.
const TEMPLATES: &[(&str, &str, &str, &str, &str)] = &[
    ("alpine-3.22-default", "20250617", "system", "tar.xz", "LXC default image for alpine 3.22 (20250617)"),
    ("debian-12-standard", "12.7-1", "system", "tar.zst", "Debian 12 Bookworm (standard)"),
    ("debian-12-standard", "12.12-1", "system", "tar.zst", "Debian 12 Bookworm (standard)"),
    ("debian-13-standard", "13.1-2", "system", "tar.zst", "Debian 13 Trixie (standard)"),
    ("ubuntu-24.04-standard", "24.04-2", "system", "tar.zst", "Ubuntu 24.04 Noble (standard)"),
    ("debian-12-turnkey-wordpress", "18.2-1", "turnkeylinux", "tar.gz", "TurnKey WordPress"),
];

/// A made-up size for what is not there: 64 MiB to 1 GiB, the same for the same name.
fn size_of(name: &str) -> u64 {
    let number = u64::from_str_radix(&hash(name)[..8], 16).unwrap_or(0);
    (64 << 20) + number % (960 << 20)
}

fn file_of((package, version, _, ending, _): &(&str, &str, &str, &str, &str)) -> String {
    format!("{package}_{version}_amd64.{ending}")
}

fn available(context: &mut Context<'_>) -> Result<Reply, Fault> {
    context.node()?;
    let rows = TEMPLATES.iter().map(|template| {
        let (package, version, section, _, headline) = template;
        let os = package.split('-').take(2).collect::<Vec<_>>().join("-");
        json!({
            "template": file_of(template), "package": package, "version": version, "section": section,
            "headline": headline, "os": os, "type": "lxc", "architecture": "amd64",
            "source": "http://download.proxmox.com/images", "location": format!("system/{}", file_of(template)),
            "sha512sum": hash(package).repeat(2), "infopage": "https://pve.proxmox.com",
        })
    });
    Ok(Reply::data(rows.collect::<Vec<Value>>()))
}

/// The storage of a request, if it takes such content.
fn storage(context: &Context<'_>, content: &str) -> Result<String, Fault> {
    let (node, name) = (context.node()?, context.need("storage")?);
    let storage = context.world.storages.get(name).filter(|storage| storage.is_on(&node));
    let storage = storage.ok_or_else(|| Fault::die(format!("storage '{name}' does not exist")))?;
    if !storage.holds(content) {
        return Err(Fault::parameter(
            "storage",
            format!(
                "can't upload to storage type '{}', or storage does not support content type '{content}'",
                storage.kind
            ),
        ));
    }
    Ok(storage.name.clone())
}

/// Whether a name ends as one of its content does.
fn check_name(content: &str, name: &str) -> Result<(), Fault> {
    let endings: &[&str] = match content {
        "iso" => &[".iso", ".img"],
        "vztmpl" => &[".tar.gz", ".tar.xz", ".tar.zst"],
        _ => &[".qcow2", ".raw", ".vmdk", ".ova", ".ovf"],
    };
    let fits = endings.iter().any(|ending| name.to_lowercase().ends_with(ending));
    if fits { Ok(()) } else { Err(Fault::parameter("filename", "wrong file extension")) }
}

fn volume(context: &Context<'_>, storage: &str, content: &str, name: &str, size: u64) -> Result<Volume, Fault> {
    let node = context.world.home(&context.node()?, storage).to_owned();
    let ending = name.rsplit('.').next().unwrap_or_default();
    let format = if content == "vztmpl" { format!("t{ending}") } else { ending.to_owned() };
    let volid = format!("{storage}:{content}/{name}");
    let (content, created) = (content.to_owned(), context.now);
    Ok(Volume { node, volid, content, format, size, vmid: None, created, parent: None })
}

/// A task that ends with a volume that is there, or says why not.
fn arrive(
    context: &mut Context<'_>,
    (kind, id): (&'static str, String),
    volume: Volume,
    script: Vec<(f64, String)>,
) -> Result<Reply, Fault> {
    let node = context.node()?;
    let free =
        context.world.storages.get(volume.storage()).map_or(0, |storage| context.world.fill(&node, storage).free());
    let effect = match free < volume.size {
        true => Effect::Fail("No space left on device".into()),
        false => Effect::Keep(volume),
    };
    let authid = context.authid();
    Ok(context.begin(Order { node, kind, id, authid, takes: 500, holds: Vec::new(), script, effect }))
}

/// What fetching says, a line for each tenth.
fn fetching(url: &str, file: &str, size: u64) -> Vec<(f64, String)> {
    let mut script = vec![
        (0.0, format!("downloading {url} to {file}")),
        (0.05, "HTTP request sent, awaiting response... 200 OK".to_owned()),
        (0.05, format!("Length: {size} ({}) [application/octet-stream]", Size(size))),
    ];
    for tenth in 1..=10_u64 {
        let kib = (size >> 10) / 10 * tenth;
        let left = 10 - tenth;
        let line = format!("{kib:6}K ........ ........ ........ ........ {:2}% 95.2M {left}s", tenth * 10);
        script.push((0.05 + 0.09 * tenth as f64, line));
    }
    script.push((0.97, format!("download of '{url}' to '{file}' finished")));
    script
}

fn fetch_template(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let storage = storage(context, "vztmpl")?;
    let wanted = context.need("template")?;
    if !TEMPLATES.iter().any(|template| file_of(template) == wanted) {
        return Err(Fault::parameter("template", "no such template"));
    }
    let size = size_of(wanted);
    let script = fetching(
        &format!("http://download.proxmox.com/images/system/{wanted}"),
        &format!("/var/lib/vz/template/cache/{wanted}"),
        size,
    );
    let volume = volume(context, &storage, "vztmpl", wanted, size)?;
    arrive(context, ("download", String::new()), volume, script)
}

fn about(context: &mut Context<'_>) -> Result<Reply, Fault> {
    context.node()?;
    let url = context.need("url")?;
    if is_nowhere(url) {
        return Err(Fault::die("invalid server response: '500 Can't connect'"));
    }
    let file = url.rsplit('/').next().unwrap_or_default();
    Ok(Reply::data(json!({"filename": file, "size": size_of(url), "mimetype": "application/octet-stream"})))
}

/// Hosts under `.invalid` are there for nobody.
fn is_nowhere(url: &str) -> bool {
    url.split('/').nth(2).is_some_and(|host| host.split(':').next().unwrap_or(host).ends_with(".invalid"))
}

fn fetch(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (content, name, url) = (context.need("content")?, context.need("filename")?, context.need("url")?);
    let storage = storage(context, content)?;
    check_name(content, name)?;
    let size = size_of(url);
    let (got, sum) = (hash(url), context.param("checksum").unwrap_or_default());
    let wrong = match (is_nowhere(url), context.param("checksum-algorithm")) {
        (true, _) => Some("download failed: Temporary failure in name resolution".to_owned()),
        // What would come is not known; its sum is that of the address.
        (false, Some("sha256")) if sum != got => Some(format!("checksum mismatch: got '{got}' != expect '{sum}'")),
        _ => None,
    };
    let script = fetching(url, &format!("/var/lib/vz/template/{content}/{name}"), size);
    let volume = volume(context, &storage, content, name, size)?;
    match wrong {
        None => arrive(context, ("download", name.to_owned()), volume, script),
        Some(why) => {
            let (node, authid) = (context.node()?, context.authid());
            let (id, effect) = (name.to_owned(), Effect::Fail(why));
            let order = Order { node, kind: "download", id, authid, takes: 200, holds: Vec::new(), script, effect };
            Ok(context.begin(order))
        }
    }
}

fn upload(context: &mut Context<'_>) -> Result<Reply, Fault> {
    let (content, name) = (context.need("content")?, context.need("filename")?);
    let storage = storage(context, content)?;
    check_name(content, name)?;
    let file = context.request.upload.clone();
    let file = file.ok_or_else(|| Fault::parameter("filename", "property is missing and it is not optional"))?;
    let sum = context.param("checksum").filter(|_| context.param("checksum-algorithm") == Some("sha256"));
    let script = vec![
        (0.0, format!("starting file import from: /var/tmp/pveupload-{}", &hash(name)[..32])),
        (0.1, format!("target node: {}", context.node()?)),
        (0.2, format!("target file: /var/lib/vz/template/{content}/{name}")),
        (0.3, format!("file size is: {}", Size(file.size))),
        (0.95, "finished file import successfully".to_owned()),
    ];
    let volume = volume(context, &storage, content, name, file.size)?;
    let got = file.sha256.unwrap_or_default();
    if let Some(sum) = sum.filter(|sum| *sum != got) {
        let why = format!("checksum mismatch: got '{got}' != expect '{sum}'");
        let (node, authid, effect) = (context.node()?, context.authid(), Effect::Fail(why));
        let (kind, id) = ("imgcopy", String::new());
        let order = Order { node, kind, id, authid, takes: 100, holds: Vec::new(), script, effect };
        return Ok(context.begin(order));
    }
    arrive(context, ("imgcopy", String::new()), volume, script)
}
