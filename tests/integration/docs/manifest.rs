//! The JSON schema of manifests is that of the table, and the example is made so.

use super::{Account, must_be, root};

#[test]
fn the_schema_is_that_of_the_table() {
    let schema = pvectl::manifest::schema(&pvectl::ops::manifest_nouns());
    let text = serde_json::to_string_pretty(&schema).unwrap();
    must_be(&root().join("docs/reference/manifest.schema.json"), &format!("{text}\n"));
}

#[test]
fn the_example_runs_in_the_sandbox() {
    let account = Account::new();
    let folder = root().join("examples/three-tier");
    let folder = folder.to_str().unwrap();
    for (words, code) in [("diff", 1), ("apply", 0), ("diff", 0)] {
        let said = account.pvectl(&[words, "-f", folder]);
        assert_eq!(said.code, Some(code), "{words}: {}", said.text);
    }
}
