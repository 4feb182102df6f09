//! The output formats by name, and how what stands behind `-o` is read. What each prints is in its own file.

use std::rc::Rc;

use super::custom_columns::CustomColumns;
use crate::{
    model::{Error, Hint, Result, closest},
    select::{Jq, Template},
};

/// An output format.
#[derive(Debug, Clone)]
pub(crate) enum Format {
    Table,
    Wide,
    Json,
    Yaml,
    Name,
    Csv,
    JsonPath(Rc<Template>),
    CustomColumns(Rc<CustomColumns>),
    /// What `--jq` makes of the JSON.
    Jq(Rc<Jq>),
}

/// A format's name and how it is made.
pub(crate) struct FormatEntry {
    /// `json`.
    pub(crate) name: &'static str,
    /// What stands behind its name and a `=`: how help calls it, and an example.
    pub(crate) argument: Option<(&'static str, &'static str)>,
    make: fn(&str) -> Result<Format>,
}

impl FormatEntry {
    const fn plain(name: &'static str, make: fn(&str) -> Result<Format>) -> Self {
        Self { name, argument: None, make }
    }

    /// As it is typed: `json`, `jsonpath=TEMPLATE`.
    pub(crate) fn usage(&self) -> String {
        match self.argument {
            Some((argument, _)) => format!("{}={argument}", self.name),
            None => self.name.to_owned(),
        }
    }
}

/// Every format by name.
pub(crate) const FORMATS: &[FormatEntry] = &[
    FormatEntry::plain("table", |_| Ok(Format::Table)),
    FormatEntry::plain("wide", |_| Ok(Format::Wide)),
    FormatEntry::plain("json", |_| Ok(Format::Json)),
    FormatEntry::plain("yaml", |_| Ok(Format::Yaml)),
    FormatEntry::plain("name", |_| Ok(Format::Name)),
    FormatEntry::plain("csv", |_| Ok(Format::Csv)),
    FormatEntry {
        name: "jsonpath",
        argument: Some(("TEMPLATE", "'{.items[*].name}'")),
        make: |text| Ok(Format::JsonPath(Rc::new(Template::compile(text)?))),
    },
    FormatEntry {
        name: "custom-columns",
        argument: Some(("NAME:PATH,…", "VM:.vmid,NAME:.name")),
        make: |text| Ok(Format::CustomColumns(Rc::new(text.parse()?))),
    },
];

/// How formats are typed, one after another.
pub(crate) fn known_formats() -> String {
    FORMATS.iter().map(FormatEntry::usage).collect::<Vec<_>>().join(", ")
}

impl Format {
    /// Reads a format: its name, and behind a `=` what it needs.
    ///
    /// # Errors
    /// With the known formats and close ones; with the place of what is wrong behind the `=`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (name, argument) = text.split_once('=').map_or((text, None), |(name, argument)| (name, Some(argument)));
        let Some(entry) = FORMATS.iter().find(|entry| entry.name == name) else {
            let error = Error::usage(format!("unknown output format `{name}`, known are {}", known_formats()));
            return Err(
                error.did_you_mean(closest(&name.to_lowercase(), FORMATS.iter().map(|entry| entry.name.to_owned())))
            );
        };
        match (entry.argument, argument) {
            (None, None) => (entry.make)(""),
            (None, Some(_)) => Err(Error::usage(format!("the output format `{name}` takes nothing behind a `=`"))),
            (Some(_), Some(argument)) => (entry.make)(argument),
            (Some((argument, example)), None) => {
                let error = Error::usage(format!("the output format `{name}` needs {argument} behind a `=`"));
                Err(error.with_hint(Hint::Text(format!("such as -o {name}={example}"))))
            }
        }
    }

    /// The format of `--jq`.
    ///
    /// # Errors
    /// With the place of what is wrong.
    pub(crate) fn jq(text: &str) -> Result<Self> {
        Ok(Self::Jq(Rc::new(Jq::compile(text)?)))
    }

    /// Whether cells are printed.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }

    /// Whether the columns of a kind are printed, as cells or as data.
    pub(crate) fn has_columns(&self) -> bool {
        self.is_table() || matches!(self, Self::Csv)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_made_from_its_name_and_nothing_else() {
        for entry in FORMATS {
            let typed = match entry.argument {
                Some((_, example)) => format!("{}={}", entry.name, example.trim_matches('\'')),
                None => entry.name.to_owned(),
            };
            Format::parse(&typed).unwrap();
            let other = if entry.argument.is_some() { entry.name.to_owned() } else { format!("{}=x", entry.name) };
            assert!(Format::parse(&other).unwrap_err().message().contains(entry.name), "{other}");
        }
        let error = Format::parse("jsnpath={.x}").unwrap_err();
        assert!(error.message().starts_with("unknown output format `jsnpath`, known are table, wide,"), "{error}");
        assert_eq!(error.hints(), [Hint::DidYouMean(vec!["jsonpath".into()])]);
    }
}
