//! Answers that were put into bytes before they are asked for: many callers, one work.
//!
//! What is in them, and for whom, is the service's to know.

use std::{fmt, time::Instant};

use axum::body::Bytes;
use serde_json::Value;

use super::response::{PLAIN, gzip};

/// A good answer as it goes over the wire, plain and compressed.
#[derive(Clone, PartialEq)]
pub struct Prepared {
    data: Value,
    plain: Bytes,
    packed: Option<Bytes>,
    since: Instant,
}

impl Prepared {
    /// The answer with this in its `data`, which was true at this moment.
    pub fn data(data: Value, since: Instant) -> Self {
        let plain = format!("{{\"data\":{data}}}").into_bytes();
        let packed = (plain.len() > PLAIN).then(|| gzip(&plain)).flatten();
        Self { data, plain: plain.into(), packed: packed.map(Bytes::from), since }
    }

    /// What it says, for an envelope that is not the usual one.
    pub(super) fn value(&self) -> &Value {
        &self.data
    }

    /// The usual envelope.
    pub(super) fn plain(&self) -> Bytes {
        self.plain.clone()
    }

    /// The same compressed, where that is worth it.
    pub(super) fn packed(&self) -> Option<Bytes> {
        self.packed.clone()
    }

    /// How old it is, in whole seconds that have begun.
    pub(super) fn age(&self) -> u64 {
        self.since.elapsed().as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("bytes", &self.plain.len()).finish_non_exhaustive()
    }
}
