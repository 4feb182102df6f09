//! Links between the documents lead somewhere: to a file that is there, and to a heading that it has.

use std::{fs, path::Path};

use regex_lite::Regex;

use super::{documents, root};

/// How a heading is called in a link.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn has_heading(path: &Path, wanted: &str) -> bool {
    let text = fs::read_to_string(path).expect("a document");
    text.lines().filter_map(|line| line.trim_start_matches('#').strip_prefix(' ')).any(|title| anchor(title) == wanted)
}

#[test]
fn links_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").expect("a pattern");
    let mut files = documents();
    files.extend(["CHANGELOG.md", "docs/design/README.md", "docs/design/decisions.md"].map(|name| root().join(name)));
    let (mut checked, mut dead) = (0, Vec::new());
    for path in files {
        let text = fs::read_to_string(&path).expect("a document");
        for target in link.captures_iter(&text).map(|found| found[1].to_owned()).filter(|link| !link.contains("://")) {
            let (file, heading) = target.split_once('#').unwrap_or((&target, ""));
            let place = if file.is_empty() { path.clone() } else { path.with_file_name(file) };
            if !place.exists() || !(heading.is_empty() || has_heading(&place, heading)) {
                dead.push(format!("{}: {target}", path.display()));
            }
            checked += 1;
        }
    }
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
    assert!(checked > 20, "only {checked} links were found");
}

#[test]
fn every_document_is_linked_from_the_readme() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    for directory in ["docs", "docs/guide", "docs/reference"] {
        for entry in fs::read_dir(root().join(directory)).expect("a directory of documents") {
            let name = entry.expect("an entry").file_name().into_string().expect("a name");
            let linked = !name.ends_with(".md") || readme.contains(&format!("]({directory}/{name})"));
            assert!(linked, "README.md does not lead to {directory}/{name}");
        }
    }
}
