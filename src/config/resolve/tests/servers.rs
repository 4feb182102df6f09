//! A server that is named alone, and what a context with its address lends it.

use super::*;

#[test]
fn a_server_named_alone_gets_no_contexts_secret() {
    let stored = "contexts: {prod: {password: hush}}\n";
    let case = case().contexts("prod").write("credentials.yaml", stored).flag("host", "pve9");
    let proxmox = case.proxmox();
    assert_eq!(urls(&proxmox), ["https://pve9:8006"]);
    assert!(matches!(proxmox.secret.value, SecretSource::Ask));
    assert_eq!(proxmox.ca_file, None);

    // Named together, they belong together; what is pinned stays with its server.
    let case = case.flag("context", "prod").flag("host", "pve9,pve1");
    let proxmox = case.proxmox();
    assert!(matches!(proxmox.secret.value, SecretSource::Stored(_)));
    assert!(proxmox.endpoints.value[0].fingerprint().is_none());
    assert!(proxmox.endpoints.value[1].fingerprint().is_some());
}

#[test]
fn a_server_named_alone_is_trusted_as_in_the_context_that_has_it() {
    let stored = "contexts: {prod: {password: hush}}\n";
    let case = case().contexts("lab").write("credentials.yaml", stored).flag("host", "https://pve1:8006");
    let proxmox = case.proxmox();
    assert!(proxmox.endpoints.value[0].fingerprint().is_some());
    assert_eq!(proxmox.fingerprints, Some(Origin::Context("prod".into())));
    assert_eq!(proxmox.ca_file.unwrap().origin, Origin::Context("prod".into()));
    // As nobody: credentials go where their context is named.
    assert!(matches!(proxmox.secret.value, SecretSource::Ask));
    let resolved = case.resolve().unwrap();
    assert!(resolved.warnings.iter().any(|warning| warning.contains("--context prod")), "{:?}", resolved.warnings);

    let other = CONTEXTS.to_owned() + "  - name: twin\n    endpoints: [{url: pve1}]\n    user: root@pam\n";
    let case = case_with(&other).flag("host", "pve1");
    assert_eq!(case.proxmox().fingerprints, None, "two contexts trust different certificates");
}

fn case_with(contexts: &str) -> Case {
    case().config(&format!("current-context: lab\n{contexts}"))
}
