//! What was made of documents: read and overwritten, one row for each.
//!
//! It is beside the chain of events, and says what holds now.

use rusqlite::params;
use serde_json::Value;

use super::{Journal, damaged, failed, redact::redact};
use crate::{
    model::{Applied, Result},
    sqlite::Safety,
};

impl Journal {
    pub(super) fn applied_in(&self, context: &str) -> Result<Vec<Applied>> {
        self.read(|transaction| {
            let sql = "SELECT kind, name, vmid, done, trying FROM applied WHERE context = ?1 ORDER BY kind, name";
            let mut query = transaction.prepare_cached(sql)?;
            let rows = query.query_map([context], |row| {
                let value = |text: Option<String>| -> rusqlite::Result<Option<Value>> {
                    text.map(|text| serde_json::from_str(&text).map_err(damaged)).transpose()
                };
                Ok(Applied {
                    context: context.to_owned(),
                    kind: row.get(0)?,
                    name: row.get(1)?,
                    vmid: row.get(2)?,
                    done: value(row.get(3)?)?,
                    trying: value(row.get(4)?)?,
                })
            })?;
            rows.collect()
        })
    }

    pub(super) fn keep_applied(&self, applied: &Applied) -> Result<()> {
        let text = |value: &Option<Value>| {
            value.clone().map(|mut value| {
                // Secrets stand here by the names of their files alone; should one ever not, it is not written.
                redact(&mut value);
                value.to_string()
            })
        };
        let (done, trying, time) = (text(&applied.done), text(&applied.trying), self.clock.now().as_microsecond());
        // What is being tried is known before the first request goes out, also after a loss of power.
        self.write(Safety::Power, |transaction| {
            let sql = "INSERT OR REPLACE INTO applied (context, kind, name, vmid, done, trying, time)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            let Applied { context, kind, name, vmid, .. } = applied;
            transaction.prepare_cached(sql)?.execute(params![context, kind, name, vmid, done, trying, time])
        })
        .map(drop)
        .map_err(|error| failed("cannot write to the journal", &self.path, "", error))
    }

    pub(super) fn drop_applied(&self, context: &str, kind: &str, name: &str) -> Result<()> {
        self.write(Safety::Process, |transaction| {
            let sql = "DELETE FROM applied WHERE context = ?1 AND kind = ?2 AND name = ?3";
            transaction.prepare_cached(sql)?.execute([context, kind, name])
        })
        .map(drop)
        .map_err(|error| failed("cannot write to the journal", &self.path, "", error))
    }
}
