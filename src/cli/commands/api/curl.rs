//! A call as a line for a shell, with variables in the place of everything secret.

use crate::model::{Call, Error, Method, Result, is_secret_at};

/// `curl -X PUT -H "Authorization: PVEAPIToken=$PVE_TOKEN" …`. Without a URL the server is a variable too.
///
/// # Errors
/// For a value that no shell can be given: one with a NUL in it.
pub(super) fn curl(call: &Call, url: Option<&str>) -> Result<String> {
    let quote = |text: &str| {
        shlex::try_quote(text)
            .map(std::borrow::Cow::into_owned)
            .map_err(|_| Error::usage("a parameter has a NUL in it, which no command line can carry"))
    };
    let mut words = vec!["curl".to_owned()];
    if call.method == Method::Get {
        words.push("-sS".to_owned());
    } else {
        words.extend(["-sS".to_owned(), "-X".to_owned(), call.method.to_string()]);
    }
    words.extend(["-H".to_owned(), "\"Authorization: PVEAPIToken=$PVE_TOKEN\"".to_owned()]);
    // These two take no body: the parameters go into the query.
    if matches!(call.method, Method::Get | Method::Delete) && !call.params.is_empty() {
        words.push("-G".to_owned());
    }
    if matches!(call.method, Method::Post | Method::Put) && call.params.is_empty() {
        // The server wants a length, also that of nothing.
        words.extend(["-d".to_owned(), "''".to_owned()]);
    }
    for (key, value) in call.params.iter() {
        match &call.file {
            Some(file) if key == "filename" => {
                words.extend(["-F".to_owned(), quote(&format!("{key}=@{};filename={value}", file.display()))?]);
                continue;
            }
            Some(_) => words.push("--form-string".to_owned()),
            None => words.push("--data-urlencode".to_owned()),
        }
        words.push(if is_secret_at(&call.path, key) {
            format!("\"{key}=${}\"", variable(key))
        } else {
            quote(&format!("{key}={value}"))?
        });
    }
    words.push(match url {
        Some(url) => quote(&format!("{url}/api2/json{}", call.path))?,
        None => format!("\"$PVE_URL\"{}", quote(&format!("/api2/json{}", call.path))?),
    });
    Ok(words.join(" "))
}

/// `new-password` → `NEW_PASSWORD`.
fn variable(key: &str) -> String {
    key.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Params;

    fn line(method: Method, path: &str, params: Params) -> String {
        curl(&Call::new(method, path).with_params(params), Some("https://pve1:8006")).unwrap()
    }

    #[test]
    fn a_shell_reads_what_was_meant_and_no_secret() {
        let params = Params::new().with("comment", "it's 1 & $HOME").with("password", "hunter2").with("a", "@b");
        let line = line(Method::Post, "/access/users", params);
        assert!(line.contains("\"password=$PASSWORD\"") && !line.contains("hunter2"), "{line}");
        let words = shlex::split(&line).unwrap();
        assert!(words.contains(&"comment=it's 1 & $HOME".to_owned()) && words.contains(&"a=@b".to_owned()), "{line}");
        assert_eq!(words.last().unwrap(), "https://pve1:8006/api2/json/access/users");
    }

    #[test]
    fn parameters_go_where_the_server_looks_for_them() {
        let params = || Params::new().with("type", "vm");
        assert!(!line(Method::Get, "/version", Params::new()).contains(" -G"));
        assert!(line(Method::Get, "/cluster/resources", params()).contains(" -G --data-urlencode 'type=vm'"));
        assert!(line(Method::Delete, "/pools", params()).contains("-X DELETE"));
        assert!(line(Method::Post, "/x", Params::new()).contains("-d ''"));
        assert!(!line(Method::Put, "/x", params()).contains(" -G"));
    }
}
