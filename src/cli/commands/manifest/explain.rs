//! `explain manifest.vm.spec.disks`: what stands at a place of a manifest.

use serde_json::json;

use crate::{
    cli::{
        cx::Cx,
        print::{self, Style},
        ui::{style, styled},
        verb::Exit,
    },
    manifest::{self, Field, Shape},
    model::{Error, Hint, Result},
};

/// Explains a place; the empty path is all of it.
pub(in crate::cli::commands) fn explain(cx: &Cx, look: &Style, path: &str) -> Result<Exit> {
    if path.is_empty() {
        return Err(Error::usage("say of what: manifest.vm, manifest.container, or manifest.other for the rest")
            .with_hint(Hint::Text("pvectl explain manifest.vm.spec".into())));
    }
    let (field, below) = manifest::explain(path)?;
    let data = json!({"path": path, "field": field, "below": below});
    print::data_or(&cx.ui, look, &data, &[format!("manifest.{path}")], |out| {
        if let Some(field) = field {
            writeln!(out, "{}  {}", styled(style::HEADER, field.path), shape(field))?;
            writeln!(out, "  {}", field.about)?;
        }
        for field in &below {
            let must = if field.required { ", required" } else { "" };
            writeln!(out, "  {}  {}{must}: {}", styled(style::HEADER, last(field)), shape(field), field.about)?;
        }
        match field.map(|field| field.path) {
            Some("spec.options" | "spec.options.*") => writeln!(out, "Keys: pvectl explain {}", sort(path)),
            Some(path_of) if path_of.starts_with("spec.disks.*") => writeln!(
                out,
                "Parts: pvectl explain {}.{}",
                sort(path),
                if sort(path) == "vm" { "scsi0" } else { "rootfs" }
            ),
            Some(path_of) if path_of.starts_with("spec.nets.*") => {
                writeln!(out, "Parts: pvectl explain {}.net0", sort(path))
            }
            Some("spec") if sort(path) == "other" => writeln!(out, "Keys: pvectl explain KIND"),
            _ => Ok(()),
        }
    })?;
    Ok(0)
}

fn sort(path: &str) -> &str {
    path.split('.').next().unwrap_or(path)
}

fn last(field: &Field) -> &str {
    match field.path.rsplit('.').next().unwrap_or(field.path) {
        "*" => "NAME",
        key => key,
    }
}

fn shape(field: &Field) -> String {
    match field.shape {
        Shape::Text => "text".to_owned(),
        Shape::Number => "number".to_owned(),
        Shape::Size => "size".to_owned(),
        Shape::Word(words) => words.join("|"),
        Shape::Truth => "true|false".to_owned(),
        Shape::Map | Shape::Parts => "mapping".to_owned(),
        Shape::List => "list of texts".to_owned(),
        Shape::Secret => "{ fromFile: PATH }".to_owned(),
        Shape::Any => "as the API takes it".to_owned(),
    }
}
