//! A configuration with changes that wait for the next start.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::tolerant;

/// Keys and values as they stand in a configuration file.
pub type ConfigTexts = BTreeMap<String, String>;

/// Changes that wait: a value, or `None` for a key that goes.
pub type PendingChanges = BTreeMap<String, Option<String>>;

/// The configuration as the next start will see it.
pub fn config_to_come(config: &ConfigTexts, pending: &PendingChanges) -> ConfigTexts {
    let mut config = config.clone();
    for (key, value) in pending {
        match value {
            Some(value) => drop(config.insert(key.clone(), value.clone())),
            None => drop(config.remove(key)),
        }
    }
    config
}

/// Makes the waiting changes real, as a start does.
pub fn apply_pending(config: &mut ConfigTexts, pending: &mut PendingChanges) {
    *config = config_to_come(config, pending);
    pending.clear();
}

/// A key of a configuration with the change that waits for it: `GET …/pending`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    /// The configuration key.
    pub key: String,
    /// What runs now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// What the next start will use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Value>,
    /// 1: will be deleted at the next start; 2: by force.
    #[serde(default, deserialize_with = "tolerant::u64::option", skip_serializing_if = "Option::is_none")]
    pub delete: Option<u64>,
}

impl Pending {
    /// Whether a change waits here.
    pub fn waits(&self) -> bool {
        self.pending.is_some() || self.delete.is_some_and(|how| how > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_comes_with_the_start() {
        let text = |text: &str| text.to_owned();
        let mut config = ConfigTexts::from([(text("cores"), text("2")), (text("memory"), text("512"))]);
        let mut pending = PendingChanges::from([
            (text("cores"), None),
            (text("memory"), Some(text("1024"))),
            (text("name"), Some(text("web"))),
        ]);
        let want = ConfigTexts::from([(text("memory"), text("1024")), (text("name"), text("web"))]);
        assert_eq!(config_to_come(&config, &pending), want);
        assert_eq!(config["cores"], "2", "nothing has happened yet");
        apply_pending(&mut config, &mut pending);
        assert_eq!((config, pending.len()), (want, 0));
    }
}
