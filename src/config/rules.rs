//! Rule files, as far as they are text: which keys a rule has, and on which line. What they mean is for `ops`.

use std::path::Path;

use serde::Deserialize;
use serde_yaml::Spanned;

use super::{store, yaml};
use crate::model::{Error, Hint, Result};

/// A value of a rule, with its line.
pub type RuleValue = Spanned<String>;

/// A rule as it is written. Values are checked by whoever knows what they may be.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RuleText {
    /// For which verbs; all if it is left out.
    #[serde(default)]
    pub verbs: Vec<RuleValue>,
    /// For which guests; all if it is left out.
    #[serde(default)]
    pub guests: RuleGuests,
    /// What is needed: `typed-name`, or `forbidden`.
    pub needs: RuleValue,
    /// What is told to whoever meets it.
    pub why: Option<String>,
}

/// The guests that a rule is for: those that are all of this.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RuleGuests {
    /// `vm` or `container`.
    pub kind: Option<RuleValue>,
    /// A name; `*` stands for anything.
    pub name: Option<RuleValue>,
    /// The node.
    pub node: Option<RuleValue>,
    /// The pool.
    pub pool: Option<RuleValue>,
    /// Labels, as `--selector` takes them.
    pub selector: Option<RuleValue>,
    /// A tag.
    pub tag: Option<RuleValue>,
    /// Numbers: `150`, `100-199,250`.
    pub vmid: Option<RuleValue>,
}

/// Reads the rules of a file.
///
/// # Errors
/// [`Class::Usage`](crate::model::Class::Usage) for a file that is not there, and for everything that is wrong in it, with its line.
pub fn read_rules(path: &Path) -> Result<Vec<RuleText>> {
    let Some(text) = store::read(path)? else {
        // Without the file there would be no rules, which is what nobody wants who names one.
        return Err(Error::usage(format!("the rule file `{}` does not exist", path.display())).with_hint(Hint::Text(
            "`pvectl config view --origin` shows who names it; no change is made without it".to_owned(),
        )));
    };
    yaml::parse(&text).map_err(|flaw| flaw.in_file(path))
}
