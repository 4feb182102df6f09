//! The event monitor: JSON documents, each followed by an empty line.

use std::{fs::File, io::Write, time::Instant};

use serde_json::{Value, json};

pub(crate) struct Events {
    file: Option<File>,
    start: Instant,
}

impl Default for Events {
    fn default() -> Self {
        Self { file: None, start: Instant::now() }
    }
}

impl Events {
    pub(crate) fn to(file: File) -> Self {
        Self { file: Some(file), ..Self::default() }
    }

    pub(crate) fn say(&mut self, source: &str, event: &str, properties: Value) {
        let Some(file) = &mut self.file else { return };
        let time = self.start.elapsed();
        let document = json!({
            "timestamp": {"secs": time.as_secs(), "nanos": time.subsec_nanos()},
            "source": source, "event": event, "properties": properties,
        });
        let _ = write!(file, "{document:#}\n\n");
    }
}
