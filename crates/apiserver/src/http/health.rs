//! `/healthz`, `/livez`, `/readyz`: for everybody.

use http::{HeaderValue, Response, StatusCode, header};

use super::ResponseBody;
use crate::server::Inner;

/// Alive is who answers; ready is whose every condition holds.
pub(super) fn answer(server: &Inner, endpoint: &str, query: &str) -> Response<ResponseBody> {
    let mut failed = false;
    let mut lines = vec!["[+]ping ok".to_owned()];
    if endpoint == "readyz" {
        for check in server.ready_checks() {
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
        // Kubernetes answers 500; a probe only asks whether it is 200.
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
