//! How people are stored: rows of JSON, by sort and key. Where the rows lie is for others to know.

use super::People;

/// A row as it is stored: what sort of thing, which one, and its JSON; no JSON if it is gone.
#[derive(Debug)]
pub struct Row {
    /// The sort.
    pub kind: &'static str,
    /// Which one.
    pub key: String,
    /// Its JSON.
    pub body: Option<String>,
}

/// One line for each table, so that none is read and not written.
macro_rules! tables {
    ($($name:ident),*) => {
        impl People {
            /// Takes over a row. What a newer version has is left alone.
            ///
            /// # Errors
            /// A body that is not of its sort.
            pub fn load(&mut self, kind: &str, key: &str, body: Option<&str>) -> serde_json::Result<()> {
                match kind {
                    $(stringify!($name) => {
                        let row = body.map(serde_json::from_str).transpose()?;
                        self.$name.load(key.to_owned(), row);
                    })*
                    _ => {}
                }
                Ok(())
            }

            /// What changed since the last time. Forgets that it changed.
            ///
            /// # Errors
            /// When one cannot be written as JSON.
            pub fn take_changes(&mut self) -> serde_json::Result<Vec<Row>> {
                let mut rows = Vec::new();
                $(for (key, row) in self.$name.take_changed() {
                    let body = row.map(serde_json::to_string).transpose()?;
                    rows.push(Row { kind: stringify!($name), key, body });
                })*
                Ok(rows)
            }
        }
    };
}

tables!(users, tokens, grants, groups, roles);
