//! An event of tracing, and the spans around it.

use tracing::info_span;
use tracing::span::EnteredSpan;

/// A message and three fields.
pub fn event(number: u32) {
    tracing::info!(number, path = "/api/v1/orders", elapsed = 0.125, "request is done");
}

/// Three, one in the other, or none.
pub fn enter_spans(in_spans: bool) -> Vec<EnteredSpan> {
    if !in_spans {
        return Vec::new();
    }
    let request = info_span!("request", id = 12_345, method = "GET").entered();
    let handler = info_span!("handler", user = "u-4711").entered();
    let query = info_span!("query", table = "orders", limit = 50).entered();
    vec![request, handler, query]
}

/// The innermost first.
pub fn leave(spans: Vec<EnteredSpan>) {
    spans.into_iter().rev().for_each(drop);
}
