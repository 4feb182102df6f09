//! API tokens: one header, no login, nothing to renew.

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use crate::model::{Error, Result};

/// The header of a token. The server does not say which part of a token is wrong, so its form is checked here.
///
/// # Errors
/// [`Class::Usage`](crate::model::Class::Usage); the texts are not repeated, for a secret may stand in the wrong place.
pub(super) fn header(id: &str, secret: &SecretString) -> Result<HeaderValue> {
    let proper = id.split_once('!').is_some_and(|(user, name)| {
        user.split_once('@').is_some_and(|(user, realm)| !user.is_empty() && !realm.is_empty())
            && !name.is_empty()
            && !id.contains(|c: char| c == '=' || c.is_whitespace())
    });
    if !proper {
        return Err(Error::usage("an API token's id has the form user@realm!name, and its secret stands elsewhere"));
    }
    let secret = secret.expose_secret().trim();
    if secret.is_empty() {
        return Err(Error::usage(format!("the secret of the API token `{id}` is empty")));
    }
    super::secret_header(&format!("PVEAPIToken={id}={secret}"), "the API token")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_checked_without_being_shown() {
        let secret = SecretString::from("0000-aaaa\n");
        let made = header("root@pam!ci", &secret).unwrap();
        assert_eq!(made, "PVEAPIToken=root@pam!ci=0000-aaaa");
        assert!(made.is_sensitive());
        for bad in ["", "root@pam", "root!ci", "root@pam!ci=0000-aaaa", "root@pam!", "@pam!ci", "root@!ci"] {
            let error = header(bad, &secret).expect_err(bad);
            assert!(!error.to_string().contains("0000-aaaa"), "{error}");
        }
        assert!(header("root@pam!ci", &SecretString::from(" ")).is_err());
        assert!(header("root@pam!ci", &SecretString::from("a\nb")).is_err());
    }
}
