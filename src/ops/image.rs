//! Images in the storages of a cluster: installation media, templates of containers, disks to import. Fetched by a node,
//! or sent from here.
//!
//! Where they lie and how they are removed is the business of [`stored`](super::stored).

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::Value;

use super::{
    CallRequest, Ops, Place, ResourcePlan, Within, closest,
    create::{is_of_family, version_key},
    plain,
    raw::Subject,
    stored::file_of,
};
use crate::{
    contract::embedded,
    model::{Class, Error, Hint, Method, NodeName, Params, Result, Size},
};

/// The sorts of content that are images.
pub const IMAGES: [&str; 3] = ["iso", "vztmpl", "import"];

/// What the names of files end with, by the sort of content.
const ENDINGS: [(&str, &[&str]); 3] = [
    ("iso", &[".iso", ".img"]),
    ("vztmpl", &[".tar.gz", ".tar.xz", ".tar.zst"]),
    ("import", &[".qcow2", ".raw", ".vmdk", ".ova"]),
];

/// An image to be.
#[derive(Debug, Clone, Default)]
pub struct ImageRequest {
    /// What it is called there; its own name if nothing is said.
    pub name: Option<String>,
    /// The sort of content; by the name's end if nothing is said.
    pub content: Option<String>,
    /// Where it goes.
    pub within: Within,
    /// What its checksum has to be, and by which method.
    pub checksum: Option<(String, String)>,
    /// Replace one of this name.
    pub overwrite: bool,
    /// What else the server is told, by PVE's names.
    pub params: Params,
}

/// The sort of content of a file, by the end of its name.
///
/// # Errors
/// [`Class::Usage`] for an end that no sort has.
pub fn content_of_file(name: &str) -> Result<&'static str> {
    let lower = name.to_ascii_lowercase();
    let fits = |endings: &[&str]| endings.iter().any(|ending| lower.ends_with(ending));
    ENDINGS.iter().find(|(_, endings)| fits(endings)).map(|(content, _)| *content).ok_or_else(|| {
        let known: Vec<String> =
            ENDINGS.iter().map(|(content, endings)| format!("{content}: {}", endings.join(" "))).collect();
        Error::usage(format!("`{name}` does not end as an image does"))
            .with_hint(Hint::Text(format!("names end so, by content: {}", known.join("; "))))
    })
}

impl ImageRequest {
    /// What it is called there, and what sort it is; checked before anything is asked of a server.
    fn named(&self, own: &str) -> Result<(String, String)> {
        let name = self.name.clone().unwrap_or_else(|| own.to_owned());
        if name.is_empty() || name.contains('/') {
            return Err(Error::usage("the address names no file")
                .with_hint(Hint::Text("say what it is called: --name NAME".into())));
        }
        let guessed = content_of_file(&name)?;
        match self.content.as_deref() {
            Some(content) if !IMAGES.contains(&content) => {
                Err(Error::usage(format!("`content` `{content}`: one of {} is expected", IMAGES.join(", "))))
            }
            Some(content) if content != guessed => {
                Err(Error::usage(format!("`{name}` is no name for `{content}`, but for `{guessed}`"))
                    .with_hint(Hint::Text("give it another name with --name".into())))
            }
            _ => Ok((name, guessed.to_owned())),
        }
    }

    fn checksum_params(&self) -> Params {
        let mut params = self.params.clone();
        if let Some((method, sum)) = &self.checksum {
            params.push("checksum-algorithm", method);
            params.push("checksum", sum);
        }
        params
    }
}

impl Ops {
    /// Plans to let a node fetch an image from an address.
    ///
    /// # Errors
    /// [`Class::Conflict`] for a name that is taken or an image without room; see
    /// [`place_for`](Self::place_for) for the storage.
    pub async fn plan_pull_url(&self, url: &str, request: &ImageRequest) -> Result<ResourcePlan> {
        let bare = url.split(['?', '#']).next().unwrap_or(url);
        let own = bare.split_once("://").and_then(|(_, rest)| rest.rsplit_once('/')).map_or("", |(_, file)| file);
        let (name, content) = request.named(own)?;
        let place = self.place_for(&content, &request.within).await?;
        self.refuse_taken(&place, &content, &name, request.overwrite).await?;
        let asked = Params::new().with("node", &place.node).with("url", url);
        // Whoever may not ask is told by the fetching itself.
        if let Ok(about) = self.read_at("/nodes/{node}/query-url-metadata", asked).await {
            refuse_full(&place, about.get("size").and_then(Value::as_u64))?;
        }
        let mut params = Params::new()
            .with("node", &place.node)
            .with("storage", &place.storage.storage)
            .with("content", &content)
            .with("filename", &name)
            .with("url", url);
        params.extend(request.checksum_params().iter());
        let target = (Method::Post, "/nodes/{node}/storage/{storage}/download-url");
        let mut plan = self.plan_resource_call("pull", "image", &name, target, (params, &Params::new())).await?;
        plan.notes.push(format!("goes to {} as {content}", place.label()));
        Ok(plan)
    }

    /// The templates of containers that a node can fetch.
    ///
    /// # Errors
    /// Whatever the server says.
    pub async fn available_images(&self, node: &NodeName) -> Result<Vec<Value>> {
        let mut rows = self.rows_at("/nodes/{node}/aplinfo", Params::new().with("node", node)).await?;
        rows.iter_mut().for_each(Value::sort_all_objects);
        rows.sort_by_cached_key(|row| (row.get("section").and_then(plain), row.get("template").and_then(plain)));
        Ok(rows)
    }

    /// Plans to let a node fetch a template of containers by its name.
    ///
    /// # Errors
    /// [`Class::NotFound`] for a name that is none; as [`plan_pull_url`](Self::plan_pull_url).
    pub async fn plan_pull_template(&self, name: &str, request: &ImageRequest) -> Result<ResourcePlan> {
        if request.content.as_deref().is_some_and(|content| content != "vztmpl") || request.checksum.is_some() {
            return Err(Error::usage(format!(
                "`{name}` is a template of containers, whose sort and checksum are known"
            ))
            .with_hint(Hint::Text("--content and --sha256 go with an address (https://…)".into())));
        }
        let place = self.place_for("vztmpl", &request.within).await?;
        let template = family_of(name, &self.available_images(&place.node).await?)?;
        self.refuse_taken(&place, "vztmpl", &template, request.overwrite).await?;
        let params =
            Params::new().with("node", &place.node).with("storage", &place.storage.storage).with("template", &template);
        let target = (Method::Post, "/nodes/{node}/aplinfo");
        let mut plan = self.plan_resource_call("pull", "image", &template, target, (params, &Params::new())).await?;
        plan.notes.push(format!("goes to {} as vztmpl", place.label()));
        Ok(plan)
    }

    /// Plans to send a file.
    ///
    /// # Errors
    /// [`Class::Usage`] for what is no file, or no image by its name; as
    /// [`plan_pull_url`](Self::plan_pull_url).
    pub async fn plan_upload(&self, file: PathBuf, request: &ImageRequest) -> Result<ResourcePlan> {
        let unreadable = |error| Error::usage(format!("cannot read {}", file.display())).with_source(error);
        let about = std::fs::metadata(&file).map_err(unreadable)?;
        if !about.is_file() {
            return Err(Error::usage(format!("{} is no file that could be uploaded", file.display())));
        }
        let own = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (name, content) = request.named(&own)?;
        let place = self.place_for(&content, &request.within).await?;
        self.refuse_taken(&place, &content, &name, request.overwrite).await?;
        refuse_full(&place, Some(about.len()))?;
        let mut params = Params::new()
            .with("node", &place.node)
            .with("storage", &place.storage.storage)
            .with("content", &content)
            .with("filename", &name);
        params.extend(request.checksum_params().iter());
        let path = "/nodes/{node}/storage/{storage}/upload";
        let call = CallRequest::new(embedded(), Method::Post, path, params.into(), &Params::new(), Some(file))?;
        let mut call = self.plan_call(call).await?;
        call.subject = Some(Subject { verb: "upload", kind: "image", name: name.clone() });
        let mut plan = ResourcePlan::of_call("upload", "image", &name, call);
        plan.notes.push(format!("{} to {} as {content}", Size(about.len()), place.label()));
        Ok(plan)
    }

    /// Refuses a name that is taken.
    async fn refuse_taken(&self, place: &Place, content: &str, name: &str, overwrite: bool) -> Result<()> {
        if overwrite {
            return Ok(());
        }
        let there = match self.backend().volumes(&place.node, &place.storage.storage, Some(content)).await {
            // What may not be read is for the server to refuse.
            Err(error) if error.class() == Class::Forbidden => return Ok(()),
            there => there?,
        };
        match there.iter().find(|volume| file_of(&volume.volid) == name) {
            None => Ok(()),
            Some(volume) => Err(Error::conflict(format!("{} is there already", volume.volid))
                .with_hint(Hint::Text("give --overwrite to replace it, or another --name".into()))),
        }
    }
}

impl Place {
    /// `storage local of pve1`.
    fn label(&self) -> String {
        format!("storage `{}` of {}", self.storage.storage, self.node)
    }
}

fn refuse_full(place: &Place, size: Option<u64>) -> Result<()> {
    match (size, place.storage.avail) {
        (Some(size), Some(free)) if size > free => {
            Err(Error::conflict(format!("{} wanted on {}, {} free", Size(size), place.label(), Size(free)))
                .with_hint(Hint::Text("make room, or take another storage".into())))
        }
        _ => Ok(()),
    }
}

/// The newest template of a name: a whole one, a package, or what a package begins with (`debian-12`).
///
/// # Errors
/// [`Class::NotFound`] for a name that is none,
/// [`Class::Usage`] for one that several packages have.
pub fn family_of(name: &str, rows: &[Value]) -> Result<String> {
    let text = |row: &Value, key: &str| row.get(key).and_then(plain).unwrap_or_default();
    let mut packages: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows {
        let (template, package) = (text(row, "template"), text(row, "package"));
        if template == name {
            return Ok(template);
        }
        if package == name || is_of_family(&template, name) {
            packages.entry(package).or_default().push(template);
        }
    }
    if let Some(exact) = packages.remove(name) {
        packages = BTreeMap::from([(name.to_owned(), exact)]);
    }
    let mut found = packages.into_iter();
    match (found.next(), found.next()) {
        (Some((_, templates)), None) => {
            Ok(templates.into_iter().max_by_key(|template| version_key(template)).unwrap_or_default())
        }
        (Some((one, _)), Some((other, _))) => {
            let rest: Vec<String> = [one, other].into_iter().chain(found.map(|(package, _)| package)).collect();
            Err(Error::usage(format!("several packages are called `{name}`: {}", rest.join(", ")))
                .with_hint(Hint::Text(format!("say which: pvectl image pull {}", rest[0]))))
        }
        (None, _) => {
            let known = rows.iter().map(|row| text(row, "package"));
            Err(Error::not_found(format!("no template of containers is called `{name}`"))
                .did_you_mean(closest(name, known))
                .with_hint(Hint::Text("see what there is: pvectl image available".into())))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Class;

    #[test]
    fn content_is_told_by_the_end_of_the_name() {
        for (name, content) in [
            ("debian.iso", "iso"),
            ("noble.IMG", "iso"),
            ("debian-12-standard_12.7-1_amd64.tar.zst", "vztmpl"),
            ("disk.qcow2", "import"),
        ] {
            assert_eq!(content_of_file(name).unwrap(), content, "{name}");
        }
        assert_eq!(content_of_file("notes.txt").unwrap_err().class(), Class::Usage);
    }

    #[test]
    fn a_name_means_the_newest_of_one_package() {
        let row = |package: &str, template: &str| json!({"package": package, "template": template});
        let rows = [
            row("debian-12-standard", "debian-12-standard_12.7-1_amd64.tar.zst"),
            row("debian-12-standard", "debian-12-standard_12.12-1_amd64.tar.zst"),
            row("debian-12-turnkey-wordpress", "debian-12-turnkey-wordpress_18.2-1_amd64.tar.gz"),
            row("alpine-3.20-default", "alpine-3.20-default_20240908_amd64.tar.xz"),
        ];
        let newest = "debian-12-standard_12.12-1_amd64.tar.zst";
        assert_eq!(family_of("debian-12-standard", &rows).unwrap(), newest);
        assert_eq!(family_of(newest, &rows).unwrap(), newest);
        assert!(family_of("alpine-3.20", &rows).unwrap().starts_with("alpine-3.20-default_"));
        let several = family_of("debian-12", &rows).unwrap_err();
        assert!(several.class() == Class::Usage && several.message().contains("debian-12-turnkey"), "{several}");
        assert_eq!(family_of("arch", &rows).unwrap_err().class(), Class::NotFound);
    }
}
