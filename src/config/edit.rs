//! Changes a configuration file's text line by line, so that comments and layout survive.
//!
//! Not a YAML editor: it knows the usual block form only. What it makes is read again, and if that is not what was
//! meant (the file uses another form), the file is written anew from its data.

use std::collections::BTreeMap;

use super::{
    file::{Content, Context},
    yaml,
};
use crate::model::Result;

/// The new text of a file that said `before` and shall say `after`.
pub(super) fn rewrite(text: &str, before: &Content, after: &Content) -> Result<String> {
    if let Some(edited) = edit(text, before, after)?
        && yaml::parse::<Content>(&edited).is_ok_and(|content| content == *after)
    {
        return Ok(edited);
    }
    yaml::print(after)
}

fn edit(text: &str, before: &Content, after: &Content) -> Result<Option<String>> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if before.contexts != after.contexts {
        match edit_contexts(&lines, before, after)? {
            Some(edited) => lines = edited,
            None => return Ok(None),
        }
    }
    if before.current_context != after.current_context {
        edit_current(&mut lines, after.current_context.as_deref())?;
    }
    lines.push(String::new());
    Ok(Some(lines.join("\n")))
}

fn key_line(lines: &[String], key: &str) -> Option<usize> {
    lines.iter().position(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')))
}

fn edit_current(lines: &mut Vec<String>, name: Option<&str>) -> Result<()> {
    const KEY: &str = "current-context";
    let place = key_line(lines, KEY);
    let line = match name {
        Some(name) => Some(yaml::print(&BTreeMap::from([(KEY, name)]))?.trim_end().to_owned()),
        None => None,
    };
    match (place, line) {
        (Some(place), Some(line)) => {
            let comment = lines[place].find(" #").map(|start| lines[place][start..].to_owned()).unwrap_or_default();
            lines[place] = line + &comment;
        }
        (Some(place), None) => {
            lines.remove(place);
        }
        (None, Some(line)) => lines.insert(key_line(lines, "contexts").unwrap_or(lines.len()), line),
        (None, None) => {}
    }
    Ok(())
}

/// One entry of the list as it is in the text.
struct Item<'a> {
    /// Comments and empty lines above it.
    above: &'a [String],
    lines: &'a [String],
}

fn edit_contexts(lines: &[String], before: &Content, after: &Content) -> Result<Option<Vec<String>>> {
    let Some(key) = key_line(lines, "contexts") else {
        let mut edited = lines.to_vec();
        edited.push("contexts:".to_owned());
        for context in &after.contexts {
            edited.extend(render(context, 0)?);
        }
        return Ok(Some(edited));
    };
    let end = lines[key + 1..]
        .iter()
        .position(|line| !line.is_empty() && !line.starts_with([' ', '-', '#']))
        .map_or(lines.len(), |count| key + 1 + count);
    let list = &lines[key + 1..end];
    let indent = list.iter().find_map(|line| dash(line)).unwrap_or(0);
    let starts: Vec<usize> = (0..list.len()).filter(|&at| dash(&list[at]) == Some(indent)).collect();
    if starts.len() != before.contexts.len() {
        return Ok(None);
    }

    // Comments right above an entry go with it.
    let idle = |line: &String| line.trim().is_empty() || line.trim_start().starts_with('#');
    let trimmed = |from: usize, to: usize| to - list[from..to].iter().rev().take_while(|line| idle(line)).count();
    let mut items = Vec::new();
    let mut above = 0;
    for (index, &start) in starts.iter().enumerate() {
        let stop = trimmed(start, starts.get(index + 1).copied().unwrap_or(list.len()));
        items.push(Item { above: &list[above..start], lines: &list[start..stop] });
        above = stop;
    }

    let mut edited = lines[..key].to_vec();
    edited.push(if after.contexts.is_empty() { "contexts: []".to_owned() } else { "contexts:".to_owned() });
    for context in &after.contexts {
        let old = before.contexts.iter().zip(&items).find(|(old, _)| old.name == context.name);
        if let Some((_, item)) = old {
            edited.extend_from_slice(item.above);
        }
        match old {
            Some((old, item)) if old == context => edited.extend_from_slice(item.lines),
            _ => edited.extend(render(context, indent)?),
        }
    }
    edited.extend_from_slice(&list[above..]);
    edited.extend_from_slice(&lines[end..]);
    Ok(Some(edited))
}

/// How far in a list entry begins.
fn dash(line: &str) -> Option<usize> {
    let rest = line.trim_start_matches(' ');
    (rest == "-" || rest.starts_with("- ")).then(|| line.len() - rest.len())
}

fn render(context: &Context, indent: usize) -> Result<Vec<String>> {
    let text = yaml::print(&[context])?;
    Ok(text.lines().map(|line| format!("{:indent$}{line}", "")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Endpoint;

    fn content(text: &str) -> Content {
        yaml::parse(text).map_err(|flaw| flaw.message).unwrap()
    }

    fn context(name: &str) -> Context {
        let endpoints = vec![Endpoint::new("https://new:8006").unwrap()];
        Context { name: name.to_owned(), endpoints, ..Context::default() }
    }

    fn change(text: &str, change: impl FnOnce(&mut Content)) -> String {
        let before = content(text);
        let mut after = before.clone();
        change(&mut after);
        let edited = rewrite(text, &before, &after).unwrap();
        assert_eq!(content(&edited), after, "{edited}");
        edited
    }

    const TEXT: &str = "\
# my clusters
current-context: prod # careful
contexts:
  # the big one
  - name: prod
    endpoints:
      - url: https://pve1:8006 # rack 1
      - url: https://pve2:8006

  # the small one
  - name: lab
    endpoints: [{url: 'https://lab:8006'}]
# the end
";

    #[test]
    fn choosing_another_context_changes_one_line() {
        let edited = change(TEXT, |content| content.current_context = Some("lab".to_owned()));
        assert_eq!(edited, TEXT.replace("current-context: prod", "current-context: lab"));
    }

    #[test]
    fn a_new_context_goes_to_the_end_and_leaves_the_rest_alone() {
        let edited = change(TEXT, |content| content.contexts.push(context("new")));
        let (head, tail) = TEXT.split_once("# the end").unwrap();
        assert!(edited.starts_with(head), "{edited}");
        assert!(edited.ends_with(&format!("# the end{tail}")), "{edited}");
        assert!(edited.contains("\n  - name: new\n"), "{edited}");
    }

    #[test]
    fn a_removed_context_takes_its_comment_along() {
        let edited = change(TEXT, |content| drop(content.contexts.remove(0)));
        for gone in ["the big one", "rack 1"] {
            assert!(!edited.contains(gone), "{edited}");
        }
        for stays in ["# my clusters", "# careful", "# the small one", "# the end"] {
            assert!(edited.contains(stays), "{edited}");
        }
        let edited = change(TEXT, |content| content.contexts.clear());
        assert!(edited.contains("contexts: []\n"), "{edited}");
    }

    #[test]
    fn a_replaced_context_keeps_its_place_and_comment() {
        let edited = change(TEXT, |content| content.contexts[0] = context("prod"));
        assert!(edited.contains("  # the big one\n  - name: prod\n"), "{edited}");
        assert!(edited.find("name: prod") < edited.find("name: lab"), "{edited}");
    }

    #[test]
    fn a_file_of_another_form_is_written_anew() {
        let flow = "{current-context: prod, contexts: [{name: prod, endpoints: [{url: 'https://pve1:8006'}]}]}";
        for text in [flow, "\"contexts\": []\n", "contexts: # none yet\n  []\n", "# nothing\n", ""] {
            change(text, |content| {
                content.contexts.push(context("new"));
                content.current_context = Some("new".to_owned());
            });
        }
    }

    #[test]
    fn a_name_that_looks_like_something_else_is_quoted() {
        change(TEXT, |content| {
            content.contexts.push(context("1e3"));
            content.current_context = Some("1e3".to_owned());
        });
    }
}
