//! Logs that the API gives line by line: their last lines.

use serde_json::Value;

use crate::{
    cli::{cx::Cx, print, session::Session, verb::Exit},
    model::{Params, Result},
    ops::plain,
};

/// Prints the last lines of a log.
pub(crate) async fn lines_of(cx: &Cx, session: &Session, path: &str, params: Params, limit: u64) -> Result<Exit> {
    let read = async |start: u64, limit: u64| {
        session.ops.read_whole(path, params.clone().with("start", start).with("limit", limit)).await
    };
    // A log is read from its beginning: only how long it is tells where its last lines are.
    let all = read(0, 1).await?.total.unwrap_or(limit);
    let lines = read(all.saturating_sub(limit), limit).await?.data;
    print::data_or(&cx.ui, &session.style, &lines, &[], |out| {
        let texts = lines.as_array().into_iter().flatten().filter_map(|line: &Value| plain(&line["t"]));
        texts.into_iter().try_for_each(|line| writeln!(out, "{line}"))
    })?;
    Ok(0)
}
