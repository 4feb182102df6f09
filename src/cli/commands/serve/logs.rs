//! What a served host says while it works: lines of text for people, lines of JSON for programs.

use std::sync::Arc;

use clap::ArgMatches;
use tracing_subscriber::EnvFilter;

use crate::{
    cli::{
        cx::{Cx, text},
        ui,
    },
    serve::Metrics,
    server::OnRequest,
};

/// How lines are written.
pub(super) const FORMATS: [&str; 2] = ["text", "json"];
/// How much.
pub(super) const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Begins to log. Where `-v` or `PVECTL_LOG` has begun before, that goes on.
pub(super) fn begin(cx: &Cx, matches: &ArgMatches) {
    let filter = EnvFilter::new(format!("pvectl={}", text(matches, "log-level").unwrap_or("info")));
    let ui = cx.ui.clone();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    let lines = lines.with_writer(move || ui::Log(Arc::clone(&ui)));
    // Whatever is set stays set.
    let _ = match text(matches, "log-format") {
        Some("json") => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
        _ => lines.with_target(false).try_init(),
    };
}

/// Says something about the server itself: to people, or as a line for programs like all others.
pub(super) fn say(cx: &Cx, matches: &ArgMatches, line: &str) {
    match text(matches, "log-format") {
        Some("json") => tracing::info!("{line}"),
        _ => cx.ui.say(line),
    }
}

/// Counts requests, and tells of those that change something, and of those that fail, without being asked.
pub(super) fn on_request(metrics: Arc<Metrics>) -> OnRequest {
    Arc::new(move |request| {
        metrics.request(&request.method, request.status);
        let (id, method, path) = (request.id.as_str(), request.method.as_str(), request.path.as_str());
        let (status, took) = (request.status, request.time);
        if method == "GET" && status < 500 {
            tracing::debug!(request = id, method, path, status, ?took, "answered");
        } else {
            tracing::info!(request = id, method, path, status, ?took, "answered");
        }
    })
}
