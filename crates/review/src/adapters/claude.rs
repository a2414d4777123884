//! `claude -p --output-format stream-json --verbose`: one event a line.
//!
//! `system` (init), `assistant` and `user` with a whole message under `message`, last a `result` with the final text,
//! the cost and the usage. Events of other types are skipped, so that newer versions are understood too.
//! Source: <https://code.claude.com/docs/en/headless> and the Agent SDK's message types.

use serde_json::Value;

use super::{Reader, Said, one_line};

/// The events so far.
#[derive(Debug, Default)]
pub struct Events {
    said: Said,
    last_text: String,
    ended: bool,
}

impl Reader for Events {
    fn line(&mut self, line: &str) -> Option<String> {
        let event: Value = serde_json::from_str(line).ok()?;
        match event["type"].as_str()? {
            "system" => Some(match event["model"].as_str() {
                Some(model) => format!("started {}", one_line(model, 40)),
                None => "started".to_owned(),
            }),
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
            said.error = Some("it ended without a result event".to_owned());
        }
        said
    }
}

impl Events {
    fn assistant(&mut self, message: &Value) -> Option<String> {
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
        let usage = &event["usage"];
        let tokens = |name: &str| usage[name].as_u64();
        // What was read from the cache is not in `input_tokens`.
        self.said.usage.input_tokens = [
            "input_tokens",
            "cache_creation_input_tokens",
            "cache_read_input_tokens",
        ]
        .iter()
        .filter_map(|name| tokens(name))
        .reduce(u64::saturating_add);
        self.said.usage.output_tokens = tokens("output_tokens");
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
            self.said.error = Some(one_line(&format!("{subtype}: {text} {errors}"), 500));
        } else {
            text.clone_into(&mut self.said.text);
        }
    }
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
    fn the_documented_stream() {
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
    fn a_failure_is_not_a_review() {
        let mut events = Events::default();
        events.line(r#"{"type":"result","subtype":"success","is_error":true,"result":"API Error: 429 rate_limit_error"}"#);
        let said = events.said();
        assert_eq!(said.text, "");
        assert!(super::super::is_rate_limit(&said.error.unwrap()));
    }

    #[test]
    fn without_a_result_the_last_words_are_kept_and_the_end_is_named() {
        let mut events = Events::default();
        events
            .line(r#"{"type":"assistant","message":{"content":[{"type":"text","text":"half"}]}}"#);
        let said = events.said();
        assert_eq!(said.text, "half");
        assert!(said.error.is_some());
    }
}
