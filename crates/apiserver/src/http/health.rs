//! `/healthz`, `/livez` and `/readyz`, which need no certificate.

use http::{HeaderValue, Response, StatusCode, header};

use super::frontend::Frontend;
use crate::codec::body::ResponseBody;

/// Answers a health check. `/livez` succeeds whenever the server responds; `/readyz` only if every check passes.
pub(super) fn answer(frontend: &Frontend, endpoint: &str, query: &str) -> Response<ResponseBody> {
    let mut failed = false;
    let mut lines = vec!["[+]ping ok".to_owned()];
    if endpoint == "readyz" {
        for check in frontend.ready_checks.read().iter() {
            lines.push(match (check.check)() {
                Ok(()) => format!("[+]{} ok", check.name),
                Err(why) => {
                    failed = true;
                    format!("[-]{} failed: {why}", check.name)
                }
            });
        }
    }
    let verbose = query
        .split('&')
        .any(|p| p == "verbose" || p.starts_with("verbose="));
    let text = match (failed, verbose) {
        (false, false) => "ok".into(),
        (false, true) => format!("{}\n{endpoint} check passed\n", lines.join("\n")),
        (true, _) => format!("{}\n{endpoint} check failed\n", lines.join("\n")),
    };
    let mut response = Response::new(ResponseBody::full(text));
    if failed {
        // Kubernetes answers 500; a probe only compares with 200.
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
