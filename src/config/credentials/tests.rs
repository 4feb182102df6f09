//! Credentials: what is read, kept and refused, and with which rights.

use super::*;

const SECRET: &str = "11111111-2222-3333-4444-555555555555";

/// Name and secret of a login.
fn parts(login: &Login) -> (&str, &str) {
    match login {
        Login::Token { id, secret } => (id, secret.expose_secret()),
        Login::Password { user, password } => (user, password.expose_secret()),
        Login::Certificate { user } => (user, ""),
    }
}

fn token(id: &str) -> Identity {
    Identity::Token(id.to_owned())
}

#[test]
fn a_token_is_read_in_its_usual_forms() {
    let line = format!("ci@pve!deploy={SECRET}");
    for text in [line.clone(), format!("{line}\n"), format!("PVEAPIToken={line}\r\n")] {
        assert_eq!(parts(&parse_token(&text, None, "x").unwrap()), ("ci@pve!deploy", SECRET), "{text:?}");
    }
    assert_eq!(parts(&parse_token(SECRET, Some("a@pam!b"), "x").unwrap()), ("a@pam!b", SECRET));
    let named = parse_token(&line, Some("a@pam!b"), "x").unwrap();
    assert_eq!(parts(&named).0, "ci@pve!deploy", "the text's own name goes first");
    let mail = format!("me@example.org@pve!laptop={SECRET}");
    assert_eq!(parts(&parse_token(&mail, None, "x").unwrap()).0, "me@example.org@pve!laptop");
}

#[test]
fn what_is_no_token_is_explained_and_not_repeated() {
    for text in ["", "\n", "hush", "hush=hush", "ci@pve!hush", "ci@pve!deploy=", "ci@pve=hush", "a hush", "@!=hush"] {
        let error = parse_token(text, None, "`/run/token`").unwrap_err();
        assert_eq!(error.class(), Class::Usage, "{text:?}");
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("/run/token") && shown.contains("USER@REALM!NAME=SECRET"), "{text:?}: {shown}");
        assert!(!shown.contains("hush"), "{text:?}: {shown}");
    }
}

#[test]
fn secrets_come_back_and_never_show() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("credentials.yaml");
    let mut credentials = Credentials::load(&path).unwrap();
    credentials.insert("prod", Stored::TokenSecret("hush-1".into())).unwrap();
    credentials.insert("lab", Stored::Password("hush: #2 '\"".into())).unwrap();
    credentials.save().unwrap();

    let read = Credentials::load(&path).unwrap();
    assert!(matches!(read.get("prod"), Some(Stored::TokenSecret(secret)) if secret.expose_secret() == "hush-1"));
    assert!(matches!(read.get("lab"), Some(Stored::Password(secret)) if secret.expose_secret() == "hush: #2 '\""));
    let source = SecretSource::Stored(read.get("lab").unwrap().clone());
    let login = source.fetch(Some(&Identity::User("root@pam".into()))).unwrap().unwrap();
    assert_eq!(parts(&login), ("root@pam", "hush: #2 '\""));
    for shown in [format!("{read:?}"), format!("{login:?}"), format!("{source:?}"), source.to_string()] {
        assert!(!shown.contains("hush"), "{shown}");
    }
}

#[test]
fn a_broken_file_is_placed_and_its_text_is_not_repeated() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("credentials.yaml");
    for text in [
        "contexts:\n  prod: hush\n",
        "contexts:\n  prod: {pasword: hush}\n",
        "contexts:\n  prod: {token-secret: hush, password: hush}\n",
        "contexts:\n  prod: {token-secret: [hush]}\n",
        "hush\n",
        "hush: 1\n",
        "contexts: {prod: {password: 'hush\n",
    ] {
        fs::write(&path, text).unwrap();
        let error = Credentials::load(&path).unwrap_err();
        assert_eq!(error.class(), Class::Usage, "{text:?}");
        assert!(error.message().contains("line "), "{text:?}: {error}");
        assert!(!format!("{error} {error:?}").contains("hush"), "{text:?}: {error:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_file_open_to_others_is_read_with_a_warning_and_takes_no_more() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("credentials.yaml");
    fs::write(&path, "contexts: {prod: {password: hush}, lab: {password: hush}}\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();

    let mut credentials = Credentials::load(&path).unwrap();
    let command = format!("chmod 600 {}", path.display());
    assert!(matches!(credentials.warnings().as_slice(), [one] if one.contains(&command)), "{credentials:?}");
    assert!(credentials.get("prod").is_some());
    let error = credentials.insert("new", Stored::Password("more".into())).unwrap_err();
    assert_eq!(error.class(), Class::Usage);
    assert!(matches!(error.hints(), [Hint::Text(text)] if text.contains(&command)), "{error:?}");

    // Taking a secret out is always welcome.
    credentials.remove("lab");
    credentials.save().unwrap();
    assert_eq!(store::mode(&path), Some(0o600));
    assert!(Credentials::load(&path).unwrap().warnings().is_empty());
}

#[test]
fn nothing_is_written_without_a_change() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("credentials.yaml");
    let mut credentials = Credentials::load(&path).unwrap();
    credentials.remove("nobody");
    credentials.save().unwrap();
    assert!(!path.exists());
}

#[test]
fn a_token_file_is_read_when_it_is_needed() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("token");
    let source = SecretSource::File(path.clone());
    let error = source.fetch(None).unwrap_err();
    assert_eq!(error.class(), Class::Usage);
    assert!(error.message().contains(&path.display().to_string()), "{error}");
    fs::write(&path, format!("ci@pve!deploy={SECRET}\n")).unwrap();
    assert_eq!(parts(&source.fetch(None).unwrap().unwrap()), ("ci@pve!deploy", SECRET));
    fs::write(&path, SECRET).unwrap();
    assert_eq!(parts(&source.fetch(Some(&token("a@pam!b"))).unwrap().unwrap()), ("a@pam!b", SECRET));
    assert!(source.fetch(None).is_err());
}

#[cfg(unix)]
#[test]
fn a_command_gives_a_token_or_a_password() {
    let fetch = |command: &str, identity: Option<&Identity>| SecretSource::Command(command.to_owned()).fetch(identity);
    let user = Identity::User("root@pam".to_owned());
    let login = fetch("printf ' pass word \\n'", Some(&user)).unwrap().unwrap();
    assert_eq!(parts(&login), ("root@pam", " pass word "));
    let login = fetch(&format!("echo ci@pve!deploy={SECRET}"), None).unwrap().unwrap();
    assert_eq!(parts(&login), ("ci@pve!deploy", SECRET));
    let login = fetch(&format!("echo {SECRET} | cat"), Some(&token("a@pam!b"))).unwrap().unwrap();
    assert_eq!(parts(&login), ("a@pam!b", SECRET));

    for (command, class) in
        [("exit 7", Class::Unauthenticated), ("true", Class::Unauthenticated), ("echo hush", Class::Usage)]
    {
        let error = fetch(command, None).unwrap_err();
        assert_eq!(error.class(), class, "{command}");
        assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    }
}

#[test]
fn a_person_is_asked_elsewhere() {
    assert!(SecretSource::Ask.fetch(None).unwrap().is_none());
}
