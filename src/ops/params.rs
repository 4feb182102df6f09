//! Configuration keys before they are sent: friendly values to PVE's, and everything checked against the contract.
//!
//! What is wrong is said by the contract, in words for people.

use std::sync::Arc;

use crate::{
    backends::Action,
    contract::{Contract, Endpoint, Kind, Schema, embedded},
    model::{Error, GuestKind, Hint, Params, Result, Size, is_disk_key},
};

/// Keys whose unit is MiB and for which people write `8G`.
const MEBIBYTES: [&str; 4] = ["memory", "swap", "balloon", "maxmem"];

/// Turns what a person may write into what PVE takes: `yes` for a boolean, `8G` where MiB are meant. Everything else
/// is left as it is, for the check to judge.
///
/// # Errors
/// For a size that is none, or that is no whole number of MiB.
pub fn friendly_value(key: &str, value: &str, schema: &Schema) -> Result<String> {
    if schema.kind == Kind::Boolean {
        return Ok(match value.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => "1".to_owned(),
            "false" | "no" | "off" => "0".to_owned(),
            _ => value.to_owned(),
        });
    }
    if is_disk_key(key) {
        return friendly_disk(key, value);
    }
    let plain = value.bytes().all(|b| b.is_ascii_digit());
    if MEBIBYTES.contains(&key) && !plain && !value.contains('=') {
        let size: Size =
            value.parse().map_err(|error| Error::usage(format!("`{key}`: {error}; a plain number is MiB")))?;
        if size.0 == 0 || !size.0.is_multiple_of(Size::mib(1).0) {
            return Err(Error::usage(format!("`{key}`: `{value}` is no whole number of MiB")));
        }
        return Ok((size.0 >> 20).to_string());
    }
    Ok(value.to_owned())
}

/// Turns `local-lvm:32G` into PVE's `local-lvm:32`, and refuses what is neither a size nor a volume.
fn friendly_disk(key: &str, value: &str) -> Result<String> {
    let (volume, rest) = value.split_once(',').map_or((value, None), |(volume, rest)| (volume, Some(rest)));
    let bare = volume.trim_start_matches("file=").trim_start_matches("volume=");
    let Some((storage, what)) = bare.split_once(':').filter(|_| !bare.contains('=') && !bare.starts_with('/')) else {
        return Ok(value.to_owned());
    };
    let is_number = what.parse::<f64>().is_ok();
    // `iso/x.iso`, `100/vm-100-disk-0.qcow2`, `vm-100-disk-0`, `0.0.1.scsi-3600…`, `cloudinit`.
    let is_volume = what.contains(['/', '-']) || what == "cloudinit";
    if is_number || is_volume {
        return Ok(value.to_owned());
    }
    let Ok(size) = what.parse::<Size>() else {
        return Err(Error::usage(format!("`{key}` `{value}`: `{what}` is neither a size nor a volume")).with_hint(Hint::Text(
            format!("`{key}` takes a new disk's size in GiB ({storage}:32), or a volume that exists ({storage}:vm-100-disk-0)"),
        )));
    };
    let gib = size.0 as f64 / Size::gib(1).0 as f64;
    let prefix = &volume[..volume.len() - bare.len()];
    Ok(format!("{prefix}{storage}:{gib}{}", rest.map_or(String::new(), |rest| format!(",{rest}"))))
}

/// The contract's endpoint of an action.
fn endpoint(contract: &Contract, kind: GuestKind, action: Action) -> Result<&Endpoint> {
    let spec = action.spec();
    let template = spec.template(kind);
    contract
        .endpoint(spec.method, &template)
        .ok_or_else(|| Error::usage(format!("the API has no {} {template}", spec.method)))
}

/// The declaration of an action's parameter.
pub(super) fn schema(kind: GuestKind, action: Action, key: &str) -> Option<&'static Schema> {
    endpoint(embedded(), kind, action).ok()?.parameters.get(key)
}

/// Whether an action has a parameter of this name.
pub(super) fn is_known(kind: GuestKind, action: Action, key: &str) -> bool {
    schema(kind, action, key).is_some()
}

/// The error for a key that no configuration of this kind has.
pub(super) fn unknown_key(kind: GuestKind, action: Action, key: &str) -> Error {
    let close = endpoint(embedded(), kind, action).map(|endpoint| endpoint.suggest(key)).unwrap_or_default();
    Error::usage(format!("unknown key `{key}`")).did_you_mean(close)
}

/// What is let through that the built-in description refuses.
#[derive(Debug, Clone, Default)]
pub struct Beyond {
    /// Parameters that are sent as they are, without a check.
    pub forced: Params,
    /// The server's own description: what it takes is sent, too.
    pub described: Option<Arc<Contract>>,
}

/// Makes an action's parameters what PVE takes, and checks them as the server would, before anything is sent. Those
/// that are forced are neither changed nor checked, and win over the others.
///
/// # Errors
/// [`Class::Usage`](crate::model::Class::Usage) that names each wrong key, the part that is wrong, and what is expected.
pub fn check_params(kind: GuestKind, action: Action, params: Params, beyond: &Beyond) -> Result<Params> {
    let refused = match checked(endpoint(embedded(), kind, action)?, &params, &beyond.forced) {
        Ok(checked) => return Ok(checked),
        Err(refused) => refused,
    };
    match beyond.described.as_deref().map(|described| endpoint(described, kind, action)) {
        Some(Ok(endpoint)) => checked(endpoint, &params, &beyond.forced),
        Some(Err(_)) | None => Err(refused),
    }
}

fn checked(endpoint: &Endpoint, params: &Params, forced: &Params) -> Result<Params> {
    let mut checked = Params::new();
    for (key, value) in params.iter().filter(|(key, _)| forced.get(key).is_none()) {
        match endpoint.parameters.get(key) {
            Some(schema) => checked.push(key, friendly_value(key, value, schema)?),
            None => checked.push(key, value),
        }
    }
    // Path parameters are valid by their types; the check only wants to see them.
    let mut whole = checked.clone();
    whole.set("node", "localhost");
    if whole.get("vmid").is_none() {
        whole.set("vmid", 100);
    }
    let mut errors = endpoint.check(&whole).err().unwrap_or_default();
    // What is forced counts as given where another parameter asks for it.
    errors.retain(|key, _| forced.get(key).is_none());
    if !errors.is_empty() {
        let refusal = endpoint.refusal("key", &checked, &errors);
        let unknown = errors.keys().find(|key| endpoint.parameters.get(key).is_none());
        let hint =
            unknown.map(|key| format!("a key that only a newer server has is sent with --force-param {key}=VALUE"));
        return Err(hint.into_iter().fold(refusal, |refusal, hint| refusal.with_hint(Hint::Text(hint))));
    }
    checked.extend(forced.iter());
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Class;

    fn check(pairs: &[(&str, &str)]) -> Result<Params> {
        check_params(GuestKind::Qemu, Action::Create, pairs.iter().copied().collect(), &Beyond::default())
    }

    #[test]
    fn friendly_values_become_the_servers() {
        let params =
            check(&[("memory", "8G"), ("onboot", "yes"), ("cores", "4"), ("scsi0", "fast:512M,ssd=1")]).unwrap();
        let want =
            Params::new().with("memory", 8192).with("onboot", 1).with("cores", 4).with("scsi0", "fast:0.5,ssd=1");
        assert_eq!(params, want);
    }

    #[test]
    fn what_is_wrong_and_what_is_expected_is_said() {
        let error = |pairs: &[(&str, &str)]| {
            let error = check(pairs).unwrap_err();
            assert_eq!(error.class(), Class::Usage);
            (error.message().to_owned(), format!("{:?}", error.hints()))
        };
        let (message, hints) = error(&[("core", "4")]);
        assert!(message.contains("unknown key `core`") && hints.contains("cores"), "{message} {hints}");
        let (message, hints) = error(&[("net0", "virtio,brigde=vmbr0")]);
        assert!(message.contains("unknown part `brigde`") && hints.contains("bridge="), "{message} {hints}");
        let (message, _) = error(&[("memory", "lots")]);
        assert!(message.contains("`lots` is not a size"), "{message}");
        let (message, hints) = error(&[("cores", "many")]);
        assert!(message.contains("`cores` `many`") && hints.contains("INTEGER"), "{message} {hints}");
        let (message, _) = error(&[("scsi0", "local-lvm:vm-100-disk-0,size=zzz")]);
        assert!(message.contains("part `size`"), "{message}");
        let (message, hints) = error(&[("scsi0", "local-lvm:abc")]);
        assert!(
            message.contains("`abc` is neither a size nor a volume") && hints.contains("local-lvm:32"),
            "{message}"
        );
    }
}
