//! Whom to talk to, from flags, variables and contexts: which wins, and what is an error.

mod servers;

use std::{fs, path::Path};

use super::*;
use crate::{
    config::{Login, Paths},
    model::Class,
};

const TOKEN: &str = "ci@pve!deploy=hush-token";

const CONTEXTS: &str = "\
contexts:
  - name: prod
    endpoints:
      - url: https://pve1:8006
        fingerprint: abababababababababababababababababababababababababababababababab
      - url: https://pve2:8006
    user: root@pam
    ca-file: ca.pem
    node: pve2
    output: json
    read-only: true
  - name: lab
    endpoints: [{url: lab}]
    token-id: ci@pve!lab
    ca-file: ~/lab.pem
  - name: bare
    endpoints: [{url: bare}]
";

/// A home directory with what is in it, and what the command line and the environment say.
struct Case {
    home: tempfile::TempDir,
    flags: Flags,
    env: Vec<(&'static str, String)>,
}

fn case() -> Case {
    Case { home: tempfile::tempdir().unwrap(), flags: Flags::default(), env: Vec::new() }
}

impl Case {
    fn config(self, text: &str) -> Self {
        self.write("config.yaml", text)
    }

    fn contexts(self, current: &str) -> Self {
        self.config(&format!("current-context: {current}\n{CONTEXTS}"))
    }

    fn write(self, name: &str, text: &str) -> Self {
        let directory = self.home.path().join(".config/pvectl");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(name), text).unwrap();
        self
    }

    fn flag(mut self, name: &'static str, value: &str) -> Self {
        self.flags.set(name, value);
        self
    }

    fn env(mut self, name: &'static str, value: &str) -> Self {
        self.env.push((name, value.to_owned()));
        self
    }

    fn path(&self, below: &str) -> PathBuf {
        self.home.path().join(below)
    }

    fn resolve(&self) -> Result<Resolved> {
        let home = ("HOME", self.home.path().display().to_string());
        let env = Env::from_pairs(self.env.iter().cloned().chain([home]));
        let paths = Paths::new(&env)?;
        let file = File::load(&paths)?;
        resolve(&self.flags, &env, file.as_ref(), &Credentials::load(&paths.credentials)?)
    }

    fn proxmox(&self) -> Proxmox {
        match self.resolve().unwrap().connection {
            Connection::Proxmox(proxmox) => *proxmox,
            other => panic!("{other:?}"),
        }
    }

    fn usage(&self) -> Error {
        let error = self.resolve().unwrap_err();
        assert_eq!(error.class(), Class::Usage, "{error}");
        error
    }
}

fn urls(proxmox: &Proxmox) -> Vec<&str> {
    proxmox.endpoints.value.iter().map(Endpoint::url).collect()
}

fn hints(error: &Error) -> String {
    format!("{:?}", error.hints())
}

#[test]
fn the_sandbox_is_the_default_only_where_nothing_is_configured() {
    let connection = |case: Case| case.resolve().unwrap().connection;
    assert!(matches!(connection(case()), Connection::Sandbox { implicit: true }));
    let harmless = case().env("PVECTL_OUTPUT", "json").env("PVECTL_LOG", "debug").env("PVECTL_ENDPOINT", "");
    assert!(matches!(connection(harmless), Connection::Sandbox { implicit: true }));

    assert!(matches!(connection(case().flag("context", "sandbox")), Connection::Sandbox { implicit: false }));
    assert!(matches!(connection(case().env("PVECTL_CONTEXT", "sandbox")), Connection::Sandbox { implicit: false }));
    assert!(matches!(connection(case().contexts("sandbox")), Connection::Sandbox { implicit: false }));
    assert!(matches!(connection(case().flag("context", "local")), Connection::Local));
    let chosen = case().contexts("prod").env("PVECTL_ENDPOINT", "pve1").flag("context", "sandbox");
    assert!(matches!(connection(chosen), Connection::Sandbox { implicit: false }));
}

#[test]
fn half_a_configuration_is_an_error_and_never_the_sandbox() {
    for (name, value) in [
        ("PVECTL_CONFIG", "/nowhere/config.yaml"),
        ("PVECTL_ENDPOINT", "https://pve1:8006"),
        ("PVECTL_ENDPOINT", ","),
        ("PVECTL_TOKEN", TOKEN),
        ("PVECTL_TOKEN_FILE", "/nowhere"),
        ("PVECTL_CA_FILE", "/nowhere"),
        ("PVECTL_FINGERPRINT", "AB"),
    ] {
        let error = case().env(name, value).usage();
        assert!(error.message().contains(name), "{name}: {error}");
        assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    }
    assert!(hints(&case().config("").usage()).contains("add-context"));
    let error = case().config(CONTEXTS).usage();
    assert!(hints(&error).contains("use-context") && hints(&error).contains("prod, lab"), "{error:?}");
    assert!(hints(&case().contexts("gone").usage()).contains("use-context"));
}

#[test]
fn an_endpoint_without_credentials_names_the_way_out() {
    let error = case().env("PVECTL_ENDPOINT", "pve1").usage();
    assert!(hints(&error).contains("PVECTL_TOKEN_FILE"), "{error:?}");
    for name in ["lab", "bare"] {
        let error = case().contexts(name).usage();
        assert!(error.message().contains(name), "{error}");
        assert!(hints(&error).contains("credential-command"), "{error:?}");
    }
}

#[test]
fn a_context_that_does_not_exist_is_not_found_with_close_names() {
    for case in [case().contexts("lab").flag("context", "prd"), case().contexts("lab").env("PVECTL_CONTEXT", "prd")] {
        let error = case.resolve().unwrap_err();
        assert_eq!(error.class(), Class::NotFound);
        assert!(error.hints().contains(&Hint::DidYouMean(vec!["prod".to_owned()])), "{error:?}");
    }
    let error = case().flag("context", "sandbx").resolve().unwrap_err();
    assert_eq!(error.class(), Class::NotFound);
    assert!(error.hints().contains(&Hint::DidYouMean(vec!["sandbox".to_owned()])), "{error:?}");
}

#[test]
fn a_context_gives_everything_it_says() {
    let case = case().contexts("prod");
    let proxmox = case.proxmox();
    let context = Origin::Context("prod".to_owned());
    assert_eq!(proxmox.context, Some(Sourced::new("prod".to_owned(), Origin::File)));
    assert_eq!(urls(&proxmox), ["https://pve1:8006", "https://pve2:8006"]);
    assert!(proxmox.endpoints.value[0].fingerprint().is_some());
    assert!(proxmox.endpoints.value[1].fingerprint().is_none());
    assert_eq!(proxmox.fingerprints, Some(context.clone()));
    assert_eq!(proxmox.ca_file, Some(Sourced::new(case.path(".config/pvectl/ca.pem"), context.clone())));
    assert_eq!(proxmox.identity, Some(Sourced::new(Identity::User("root@pam".to_owned()), context.clone())));
    assert!(matches!(proxmox.secret.value, SecretSource::Ask), "a user without a password is asked");
    assert_eq!(proxmox.node, Some(Sourced::new("pve2".to_owned(), context.clone())));
    assert_eq!(case.resolve().unwrap().read_only.sourced(), &Sourced::new(true, context));
}

#[test]
fn the_secret_is_looked_for_in_order() {
    let stored = "contexts: {prod: {password: hush-p}, lab: {token-secret: hush-t}}\n";
    let secret = |case: Case| case.proxmox().secret.value;
    assert!(matches!(secret(case().contexts("prod").write("credentials.yaml", stored)), SecretSource::Stored(_)));
    let lab = case().contexts("lab").write("credentials.yaml", stored).proxmox();
    assert!(matches!(lab.login().unwrap(), Some(Login::Token { id, .. }) if id == "ci@pve!lab"));
    let command =
        format!("current-context: lab\n{CONTEXTS}").replace("ci@pve!lab", "ci@pve!lab\n    credential-command: pass");
    let command = case().config(&command).write("credentials.yaml", stored);
    assert!(matches!(secret(command), SecretSource::Command(_)));
    let file = case().contexts("lab").write("credentials.yaml", stored).env("PVECTL_TOKEN_FILE", "/run/token");
    assert!(matches!(secret(file), SecretSource::File(path) if path == Path::new("/run/token")));

    let both = case().contexts("lab").env("PVECTL_TOKEN_FILE", "/run/token").env("PVECTL_TOKEN", TOKEN);
    let error = both.usage();
    assert!(error.message().contains("both") && !format!("{error:?}").contains("hush"), "{error:?}");
}

#[test]
fn a_stored_secret_of_the_wrong_sort_is_not_used() {
    let stored = case().contexts("lab").write("credentials.yaml", "contexts: {lab: {password: hush}}\n");
    assert!(stored.usage().message().contains("ci@pve!lab"));
}

#[test]
fn a_token_of_the_environment_replaces_the_contexts_user() {
    let proxmox = case().contexts("prod").env("PVECTL_TOKEN", TOKEN).proxmox();
    assert_eq!(proxmox.identity, None);
    assert_eq!(proxmox.secret.origin, Origin::Env("PVECTL_TOKEN"));
    assert!(matches!(proxmox.login().unwrap(), Some(Login::Token { id, .. }) if id == "ci@pve!deploy"));
    // The secret alone is enough where the context has the name.
    let proxmox = case().contexts("lab").env("PVECTL_TOKEN", "hush-token").proxmox();
    assert!(matches!(proxmox.login().unwrap(), Some(Login::Token { id, .. }) if id == "ci@pve!lab"));
}

#[test]
fn the_environment_alone_is_enough() {
    let pin = "cd".repeat(32);
    let case = case()
        .contexts("prod")
        .env("PVECTL_ENDPOINT", "https://a:8006, b")
        .env("PVECTL_TOKEN", TOKEN)
        .env("PVECTL_FINGERPRINT", &pin);
    let proxmox = case.proxmox();
    assert_eq!(proxmox.context, None, "the current context has no part in it");
    assert_eq!(urls(&proxmox), ["https://a:8006", "https://b:8006"]);
    assert!(proxmox.endpoints.value.iter().all(|endpoint| endpoint.fingerprint().is_some()));
    assert_eq!(proxmox.fingerprints, Some(Origin::Env("PVECTL_FINGERPRINT")));
    assert_eq!(proxmox.node, None);
    assert!(case.resolve().unwrap().read_only.check().is_ok());

    let three = [pin.as_str(); 3].join(",");
    let error = self::case().env("PVECTL_ENDPOINT", "a,b").env("PVECTL_TOKEN", TOKEN).env("PVECTL_FINGERPRINT", &three);
    assert!(error.usage().message().contains("3 fingerprints for 2 servers"));
}

#[test]
fn a_context_named_by_a_flag_goes_to_its_own_server() {
    let case = case().contexts("lab").flag("context", "prod").env("PVECTL_ENDPOINT", "elsewhere");
    let resolved = case.resolve().unwrap();
    assert!(resolved.warnings.iter().any(|warning| warning.contains("`PVECTL_ENDPOINT` is ignored")));
    assert_eq!(urls(&case.proxmox())[0], "https://pve1:8006");
}

#[test]
fn a_built_in_context_has_no_server() {
    for name in ["sandbox", "local"] {
        assert!(case().flag("context", name).flag("host", "pve1").usage().message().contains(name));
    }
}

#[test]
fn options_come_from_flag_then_environment_then_context_then_default() {
    let value = |case: &Case, name: &str| {
        let resolved = case.resolve().unwrap();
        resolved.settings.into_iter().find(|setting| setting.option.name == name).unwrap().value
    };
    let lab = case().contexts("lab").env("PVECTL_TOKEN", TOKEN);
    assert_eq!(value(&lab, "output"), Some(Sourced::new("table".into(), Origin::Default)));
    assert_eq!(value(&lab, "timeout"), None);
    let case = case().contexts("prod");
    assert_eq!(value(&case, "output"), Some(Sourced::new("json".into(), Origin::Context("prod".into()))));
    let case = case.env("PVECTL_OUTPUT", "yaml");
    assert_eq!(value(&case, "output"), Some(Sourced::new("yaml".into(), Origin::Env("PVECTL_OUTPUT"))));
    let case = case.flag("output", "csv");
    assert_eq!(value(&case, "output"), Some(Sourced::new("csv".into(), Origin::Flag("--output".into()))));
}

#[test]
fn a_ca_file_is_found_from_home_and_read_late() {
    let case = case().contexts("lab").env("PVECTL_TOKEN", TOKEN);
    let proxmox = case.proxmox();
    let path = case.path("lab.pem");
    assert_eq!(proxmox.ca_file.as_ref().map(|file| file.value.as_path()), Some(path.as_path()));
    let error = proxmox.ca_pem().unwrap_err();
    assert_eq!(error.class(), Class::Usage);
    assert!(error.message().contains(&path.display().to_string()), "{error}");
    fs::write(&path, "not this").unwrap();
    assert_eq!(proxmox.ca_pem().unwrap_err().class(), Class::Usage);
    fs::write(&path, "-----BEGIN CERTIFICATE-----\n").unwrap();
    assert!(proxmox.ca_pem().unwrap().is_some());

    let case = case.env("PVECTL_CA_FILE", "/etc/ca.pem");
    assert_eq!(case.proxmox().ca_file, Some(Sourced::new("/etc/ca.pem".into(), Origin::Env("PVECTL_CA_FILE"))));
}

#[cfg(unix)]
#[test]
fn a_client_certificate_is_a_login_where_nothing_else_is() {
    use std::os::unix::fs::PermissionsExt;
    let text = "
current-context: one
contexts:
  - {name: one, endpoints: [{url: one}], user: ann@pve, client-certificate: ann.pem}
  - {name: two, endpoints: [{url: two}], client-certificate: ~/ann.pem, client-key: ann.key}
  - {name: stored, endpoints: [{url: two}], user: ann@pve, client-certificate: ann.pem}
";
    let stored = "contexts: {stored: {password: hush-stored}}\n";
    let case = || case().config(text).write("credentials.yaml", stored);
    let one = case();
    let origin = Origin::Context("one".to_owned());
    let proxmox = one.proxmox();
    assert!(matches!(&proxmox.login().unwrap(), Some(Login::Certificate { user }) if user == "ann@pve"));
    assert_eq!(proxmox.secret.origin, origin);
    assert_eq!(proxmox.client_certificate, Some(Sourced::new(one.path(".config/pvectl/ann.pem"), origin)));
    assert_eq!(proxmox.client_certificate().unwrap_err().class(), Class::Usage);
    let file = one.path(".config/pvectl/ann.pem");
    fs::write(&file, "both").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let error = proxmox.client_certificate().unwrap_err();
    assert!(error.message().contains("open to others") && hints(&error).contains("chmod 600"), "{error:?}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(proxmox.client_certificate().unwrap().unwrap().0, "both");

    let two = case().flag("context", "two");
    let proxmox = two.proxmox();
    assert!(matches!(&proxmox.login().unwrap(), Some(Login::Certificate { user }) if user.is_empty()));
    assert_eq!(proxmox.client_key.map(|key| key.value), Some(two.path(".config/pvectl/ann.key")));
    // What is given beside it goes before it.
    let both = case().flag("context", "stored").proxmox();
    assert!(matches!(both.login().unwrap(), Some(Login::Password { .. })) && both.client_certificate.is_some());
    let both = case().env("PVECTL_TOKEN", TOKEN).proxmox();
    assert!(matches!(both.login().unwrap(), Some(Login::Token { .. })) && both.client_certificate.is_some());
    // The environment's, for a server that is named alone, and in place of a context's.
    let alone = case().env("PVECTL_ENDPOINT", "pve9").env("PVECTL_CLIENT_CERTIFICATE", "/me.pem").proxmox();
    assert!(matches!(alone.login().unwrap(), Some(Login::Certificate { .. })));
    let instead = case().flag("context", "two").env("PVECTL_CLIENT_CERTIFICATE", "/me.pem").proxmox();
    assert_eq!((instead.client_certificate.unwrap().value, instead.client_key), ("/me.pem".into(), None));
    let half = case().env("PVECTL_CLIENT_KEY", "/me.key").usage();
    assert!(half.message().contains("PVECTL_CLIENT_CERTIFICATE"), "{half}");
    let half = case().config("contexts: [{name: x, endpoints: [{url: x}], user: a@b, client-key: k}]\n").usage();
    assert!(half.message().contains("`client-key` without `client-certificate`"), "{half}");
}

#[test]
fn what_is_shown_holds_no_secret() {
    let stored = "contexts: {prod: {password: hush-stored}}\n";
    let case = case().contexts("prod").write("credentials.yaml", stored);
    let with_token = |case: Case| case.env("PVECTL_TOKEN", TOKEN);
    for resolved in [case.resolve().unwrap(), with_token(case).resolve().unwrap()] {
        let shown = format!("{resolved:?} {:?}", resolved.rows());
        assert!(!shown.contains("hush"), "{shown}");
    }
}

#[test]
fn rows_tell_where_each_value_came_from() {
    let rows = case().contexts("prod").flag("context", "prod").resolve().unwrap().rows();
    let shown: Vec<String> = rows.iter().map(|row| format!("{} = {} ({})", row.key, row.value, row.origin)).collect();
    for want in [
        "endpoints = https://pve1:8006,https://pve2:8006 (context prod)",
        "identity = root@pam (context prod)",
        "secret = asked for (context prod)",
        "context = prod (flag --context)",
        "output = json (context prod)",
        "color = auto (default)",
    ] {
        assert!(shown.iter().any(|line| line == want), "{want} is not in {shown:#?}");
    }
}

#[test]
fn only_the_context_itself_is_the_one_expected() {
    let expected =
        |case: Case, name: &str| case.resolve().unwrap().expect(name).map_err(|error| error.message().to_owned());
    assert_eq!(expected(case().contexts("prod"), "prod"), Ok(()));
    assert_eq!(expected(case(), "sandbox"), Ok(()));
    for (case, name, used) in [
        (case().contexts("prod"), "lab", "in use is `prod`"),
        (case().contexts("prod").flag("context", "prod").flag("host", "else"), "prod", "`prod` with the server else"),
        (case().env("PVECTL_ENDPOINT", "pve9").env("PVECTL_TOKEN", TOKEN), "prod", "no context but pve9"),
    ] {
        let error = expected(case, name).unwrap_err();
        assert!(error.contains(used), "{error}");
    }
}
