//! Choosing among data: label and field selectors, sort keys, and with the feature `query` JSONPath templates and jq.
//!
//! It knows values and tags and nothing else: not where they come from, not how they are printed. Everything is read
//! once, with errors that name the place in the text, and then used on as much data as there is.
//!
//! ```
//! use pvectl::{
//!     model::Tags,
//!     select::{FieldSelector, LabelSelector, SortKeys},
//! };
//! use serde_json::json;
//!
//! # fn main() -> pvectl::Result<()> {
//! let labels: LabelSelector = "app=web,tier notin (db,cache)".parse()?;
//! assert!(labels.matches(&Tags::parse("app.web;tier.front")));
//!
//! let fields: FieldSelector = "status=running,maxmem>=4G".parse()?;
//! assert!(fields.matches(&json!({"status": "running", "maxmem": 8_589_934_592_u64}))?);
//!
//! let mut rows = vec![json!({"name": "a", "mem": 1}), json!({"name": "b", "mem": 2})];
//! "-mem".parse::<SortKeys>()?.sort(&mut rows, |row| row);
//! assert_eq!(rows[0]["name"], "b");
//! # Ok(())
//! # }
//! ```

mod compare;
mod field;
#[cfg(feature = "query")]
mod jq;
#[cfg(feature = "query")]
mod jsonpath;
mod label;
mod path;
mod scan;
mod sort;
#[cfg(feature = "query")]
mod template;

pub use field::{Condition, FieldSelector, Relation};
#[cfg(feature = "query")]
pub use jq::Jq;
#[cfg(feature = "query")]
pub use jsonpath::JsonPath;
pub use label::{LabelSelector, LabelTest, Requirement};
pub use path::FieldPath;
pub use sort::{SortKey, SortKeys};
#[cfg(feature = "query")]
pub use template::Template;
