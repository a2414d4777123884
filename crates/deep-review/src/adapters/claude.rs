//! `claude -p --output-format stream-json --verbose`: one event a line.
//!
//! `system` (init; `api_retry` when the service refused a request that the program will retry), `assistant` and `user`
//! with a whole message under `message`, and at the end a `result` with the final text, the cost and the usage. Events
//! of other types are skipped, so that newer versions are understood too.
//! Source: <https://code.claude.com/docs/en/headless>, the Agent SDK's message types, and what version 2.1 prints.

use serde_json::Value;

use review::plain::one_line;

use super::{Adapter, Reader, Said};

/// The adapter of `claude`.
pub struct Claude;

impl Adapter for Claude {
    fn command(&self) -> &'static [&'static str] {
        // `-p` without a prompt reads it from standard input; stream-json needs --verbose. With `-p` the user is not
        // asked whether the folder is trusted: without the restriction of sources, a `.claude/settings.json` and a
        // `.mcp.json` of the change would run their commands and choose where the key is sent.
        &[
            "claude",
            "-p",
            "--output-format",
            "stream-json",
            "--verbose",
            "--setting-sources",
            "user",
        ]
    }

    fn environment(&self) -> &'static [&'static str] {
        &[
            "ANTHROPIC_API_KEY",
            "ANTHROPIC_AUTH_TOKEN",
            "ANTHROPIC_BASE_URL",
            "ANTHROPIC_MODEL",
            "CLAUDE_CODE_OAUTH_TOKEN",
            "CLAUDE_CODE_MAX_RETRIES",
            "CLAUDE_CONFIG_DIR",
            // Pass on the user's opt-outs of telemetry.
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
            "DISABLE_AUTOUPDATER",
            "DISABLE_ERROR_REPORTING",
            "DISABLE_TELEMETRY",
        ]
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::<Events>::default()
    }
}

/// The events so far.
#[derive(Debug, Default)]
pub struct Events {
    said: Said,
    last_text: String,
    /// The reason of the last retry, until the service responds again.
    refused: Option<String>,
    ended: bool,
}

impl Reader for Events {
    fn line(&mut self, line: &str) -> Option<String> {
        let event: Value = serde_json::from_str(line).ok()?;
        match event["type"].as_str()? {
            "system" => self.system(&event),
            // An error that the program reports in place of the model; the result repeats it.
            "assistant" if event["message"]["model"] == "<synthetic>" => None,
            "assistant" => self.assistant(&event["message"]),
            "result" => {
                self.result(&event);
                None
            }
            _ => None,
        }
    }

    fn said(&mut self) -> Said {
        let mut said = std::mem::take(&mut self.said);
        if said.text.is_empty() {
            said.text = std::mem::take(&mut self.last_text);
        }
        if !self.ended && said.error.is_none() {
            said.error = Some(match self.refused.take() {
                Some(refused) => format!("it ended without a result event; {refused}"),
                None => "it ended without a result event".to_owned(),
            });
        }
        said
    }
}

impl Events {
    fn system(&mut self, event: &Value) -> Option<String> {
        match event["subtype"].as_str() {
            // Older versions send the event without this field.
            None | Some("init") => Some(match event["model"].as_str() {
                Some(model) => format!("started {}", one_line(model, 40)),
                None => "started".to_owned(),
            }),
            Some("api_retry") => {
                let status = match event["error_status"].as_u64() {
                    Some(status) => format!("{status} "),
                    None => String::new(),
                };
                let error = event["error"].as_str().unwrap_or("unknown");
                let refused = one_line(&format!("the service refused: {status}{error}"), 200);
                let action = format!("{refused}; attempt {}", event["attempt"]);
                self.refused = Some(refused);
                Some(one_line(&action, 80))
            }
            // Hooks of the user, and events that this version does not know.
            Some(_) => None,
        }
    }

    fn assistant(&mut self, message: &Value) -> Option<String> {
        self.refused = None;
        let mut action = None;
        for block in message["content"].as_array().into_iter().flatten() {
            match block["type"].as_str() {
                Some("tool_use") => {
                    let name = block["name"].as_str().unwrap_or("tool");
                    self.said.usage.called(name);
                    let input = &block["input"];
                    let about = [
                        "file_path",
                        "path",
                        "command",
                        "pattern",
                        "url",
                        "description",
                    ]
                    .iter()
                    .find_map(|key| input[key].as_str())
                    .unwrap_or_default();
                    action = Some(one_line(&format!("{name} {about}"), 80));
                }
                Some("text") => {
                    let text = block["text"].as_str().unwrap_or_default();
                    text.clone_into(&mut self.last_text);
                    action = Some(one_line(text, 80));
                }
                _ => {}
            }
        }
        action
    }

    fn result(&mut self, event: &Value) {
        self.ended = true;
        (self.said.usage.input_tokens, self.said.usage.output_tokens) = tokens(event);
        self.said.usage.cost_usd = event["total_cost_usd"].as_f64();
        let text = event["result"].as_str().unwrap_or_default();
        let subtype = event["subtype"].as_str().unwrap_or("success");
        if event["is_error"].as_bool().unwrap_or(false) || subtype != "success" {
            let errors: Vec<&str> = event["errors"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let errors = errors.join("; ");
            // When the service refuses, the program reports a `success` that is an error nevertheless.
            let subtype = Some(subtype).filter(|subtype| *subtype != "success");
            let parts = [subtype.unwrap_or_default(), text, &errors];
            self.said.error = Some(one_line(&parts.join(" "), 500));
        } else {
            text.clone_into(&mut self.said.text);
        }
    }
}

/// Returns the tokens read and written. `modelUsage` covers what the cost is for: sub-agents and helper models too;
/// `usage` covers the main conversation only.
fn tokens(result: &Value) -> (Option<u64>, Option<u64>) {
    let sum = |of: &Value, names: &[&str]| {
        names
            .iter()
            .filter_map(|name| of[name].as_u64())
            .reduce(u64::saturating_add)
    };
    // The first count of each excludes tokens read from the cache.
    let inputs = [
        "inputTokens",
        "cacheCreationInputTokens",
        "cacheReadInputTokens",
    ];
    let models = result["modelUsage"].as_object();
    let all = |names: &[&str]| {
        models?
            .values()
            .filter_map(|model| sum(model, names))
            .reduce(u64::saturating_add)
    };
    let usage = &result["usage"];
    let inputs_of_usage = [
        "input_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
    ];
    (
        all(&inputs).or_else(|| sum(usage, &inputs_of_usage)),
        all(&["outputTokens"]).or_else(|| sum(usage, &["output_tokens"])),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = r###"{"type":"system","subtype":"init","session_id":"s","model":"claude-opus-4","tools":["Read"]}
{"type":"assistant","message":{"role":"assistant","content":[{"type":"text","text":"Let me look."},{"type":"tool_use","id":"t1","name":"Read","input":{"file_path":"src/a.rs"}}]}}
{"type":"user","message":{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"fn a() {}"}]}}
{"type":"rate_limit_event","info":{}}
{"type":"result","subtype":"success","is_error":false,"duration_ms":1000,"num_turns":2,"result":"## Findings","total_cost_usd":0.25,"usage":{"input_tokens":10,"cache_creation_input_tokens":5,"cache_read_input_tokens":100,"output_tokens":7}}"###;

    #[test]
    fn documented_stream_is_parsed() {
        let mut events = Events::default();
        let actions: Vec<String> = STREAM.lines().filter_map(|l| events.line(l)).collect();
        assert_eq!(actions, ["started claude-opus-4", "Read src/a.rs"]);
        let said = events.said();
        assert_eq!(said.text, "## Findings");
        assert_eq!(said.error, None);
        assert_eq!(said.usage.input_tokens, Some(115));
        assert_eq!(said.usage.output_tokens, Some(7));
        assert_eq!(said.usage.cost_usd, Some(0.25));
        assert_eq!(said.usage.tools["Read"], 1);
    }

    #[test]
    fn usage_includes_helper_models() {
        let mut events = Events::default();
        events.line(r#"{"type":"result","subtype":"success","result":"x","usage":{"input_tokens":10,"output_tokens":7},"modelUsage":{"opus":{"inputTokens":10,"outputTokens":7,"cacheReadInputTokens":100,"cacheCreationInputTokens":5},"haiku":{"inputTokens":1,"outputTokens":2}}}"#);
        let usage = events.said().usage;
        assert_eq!(
            (usage.input_tokens, usage.output_tokens),
            (Some(116), Some(9))
        );
    }

    #[test]
    fn service_refusal_is_shown_and_reported_if_no_result_follows() {
        let refusal = r#"{"type":"system","subtype":"api_retry","attempt":1,"max_retries":10,"retry_delay_ms":543.7,"error_status":401,"error":"authentication_failed"}"#;
        let mut events = Events::default();
        let action = events.line(refusal).unwrap();
        assert_eq!(
            action,
            "the service refused: 401 authentication_failed; attempt 1"
        );
        let error = events.said().error.unwrap();
        assert!(error.contains("401 authentication_failed"), "{error}");
        let mut events = Events::default();
        events.line(refusal);
        events.line(r#"{"type":"assistant","message":{"content":[{"type":"text","text":"x"}]}}"#);
        assert!(!events.said().error.unwrap().contains("401"));
    }

    #[test]
    fn failure_is_not_a_review() {
        let mut events = Events::default();
        events.line(r#"{"type":"assistant","message":{"model":"<synthetic>","content":[{"type":"text","text":"API Error: 429 rate_limit_error"}]},"error":"rate_limit"}"#);
        events.line(r#"{"type":"result","subtype":"success","is_error":true,"result":"API Error: 429 rate_limit_error"}"#);
        let said = events.said();
        assert_eq!(said.text, "");
        assert_eq!(
            said.error.as_deref(),
            Some("API Error: 429 rate_limit_error")
        );
        assert!(super::super::is_rate_limit(
            "API Error: 429 rate_limit_error"
        ));
    }

    #[test]
    fn stream_without_result_keeps_last_text_and_reports_failure() {
        let mut events = Events::default();
        events
            .line(r#"{"type":"assistant","message":{"content":[{"type":"text","text":"half"}]}}"#);
        let said = events.said();
        assert_eq!(said.text, "half");
        assert!(said.error.is_some());
    }
}
