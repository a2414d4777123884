//! `gemini -p … --output-format json|stream-json`: one JSON object at the end, or one event a line.
//!
//! json: `response`, `stats`, and `error` when it failed. stream-json: `init`, `message` (of the assistant: pieces of
//! the answer), `tool_use`, `tool_result`, `error` (a warning, not the end), `result` with `status` and `stats`.
//! Gemini CLI reports no cost. It reports a rate limit that it waits for on standard error only.
//! Source: <https://geminicli.com/docs/cli/headless/> and gemini-cli `packages/core/src/output/types.ts`.

use serde_json::Value;

use review::plain::one_line;

use super::{Adapter, Reader, Said};

/// The adapter of `gemini`.
pub struct Gemini;

impl Adapter for Gemini {
    fn command(&self) -> &'static [&'static str] {
        // Without `--skip-trust` Gemini CLI exits with code 55 in any folder that its user has not trusted, and each
        // work tree is a new folder. The variable of the same effect runs the hooks and servers of the change's
        // `.gemini/settings.json`; the flag, which Gemini CLI reads after the settings, does not.
        &[
            "gemini",
            "--output-format",
            "stream-json",
            "--skip-trust",
            "-p",
            "Carry out the review that standard input asks for.",
        ]
    }

    fn environment(&self) -> &'static [&'static str] {
        &[
            "GEMINI_API_KEY",
            "GEMINI_CLI_HOME",
            "GEMINI_MODEL",
            "GEMINI_TELEMETRY_ENABLED",
            "GOOGLE_API_KEY",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "GOOGLE_CLOUD_PROJECT",
            "GOOGLE_CLOUD_LOCATION",
            "GOOGLE_GEMINI_BASE_URL",
            "GOOGLE_GENAI_USE_GCA",
            "GOOGLE_GENAI_USE_VERTEXAI",
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
    /// Lines of the single object, which spans many lines.
    whole: String,
    streaming: bool,
    ended: bool,
    after_tool: bool,
}

impl Reader for Events {
    fn line(&mut self, line: &str) -> Option<String> {
        let event: Option<Value> = serde_json::from_str(line).ok();
        let Some((kind, event)) =
            event.and_then(|e: Value| Some((e["type"].as_str()?.to_owned(), e)))
        else {
            if !self.streaming {
                self.whole.push_str(line);
                self.whole.push('\n');
            }
            return None;
        };
        self.streaming = true;
        match kind.as_str() {
            "init" => Some(match event["model"].as_str() {
                Some(model) => format!("started {}", one_line(model, 40)),
                None => "started".to_owned(),
            }),
            "message" if event["role"] == "assistant" => {
                let piece = event["content"].as_str().unwrap_or_default();
                // Text before a tool call is not the answer yet.
                if std::mem::take(&mut self.after_tool) {
                    self.said.text.clear();
                }
                self.said.text.push_str(piece);
                Some(one_line(piece, 80))
            }
            "tool_use" => {
                let name = event["tool_name"].as_str().unwrap_or("tool");
                self.said.usage.called(name);
                self.after_tool = true;
                let parameters = &event["parameters"];
                let about = ["file_path", "absolute_path", "path", "command", "pattern"]
                    .iter()
                    .find_map(|key| parameters[key].as_str())
                    .unwrap_or_default();
                Some(one_line(&format!("{name} {about}"), 80))
            }
            "result" => {
                self.ended = true;
                let stats = &event["stats"];
                self.said.usage.input_tokens = stats["input_tokens"].as_u64();
                self.said.usage.output_tokens = stats["output_tokens"].as_u64();
                if event["status"] == "error" {
                    self.failed(&event["error"]);
                }
                None
            }
            _ => None,
        }
    }

    fn said(&mut self) -> Said {
        if !self.streaming {
            self.whole_object();
        }
        let mut said = std::mem::take(&mut self.said);
        if !self.ended && said.error.is_none() {
            said.error = Some("it ended without a result".to_owned());
        }
        said
    }
}

impl Events {
    fn failed(&mut self, error: &Value) {
        let message = error["message"]
            .as_str()
            .unwrap_or("it failed without a message");
        let kind = error["type"].as_str().unwrap_or_default();
        let code = match &error["code"] {
            Value::Null => String::new(),
            code => code.to_string(),
        };
        self.said.error = Some(one_line(&format!("{kind} {code} {message}"), 500));
    }

    fn whole_object(&mut self) {
        // Warnings may precede the object.
        let Some(start) = self.whole.find('{') else {
            return;
        };
        let Ok(object) = serde_json::from_str::<Value>(&self.whole[start..]) else {
            return;
        };
        self.ended = true;
        if !object["error"].is_null() {
            self.failed(&object["error"]);
        }
        object["response"]
            .as_str()
            .unwrap_or_default()
            .clone_into(&mut self.said.text);
        let stats = &object["stats"];
        let models = stats["models"].as_object();
        let sum = |name: &str| {
            models?
                .values()
                .filter_map(|model| model["tokens"][name].as_u64())
                .reduce(u64::saturating_add)
        };
        self.said.usage.input_tokens = sum("prompt");
        self.said.usage.output_tokens = sum("candidates");
        for (name, tool) in stats["tools"]["byName"].as_object().into_iter().flatten() {
            for _ in 0..tool["count"].as_u64().unwrap_or(0).min(10_000) {
                self.said.usage.called(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_object_is_parsed() {
        let object = r###"{
  "response": "## Findings",
  "stats": {
    "models": {"gemini-2.5-pro": {"api": {"totalRequests": 2}, "tokens": {"prompt": 24939, "candidates": 20, "total": 25113, "cached": 21263, "thoughts": 154, "tool": 0}}},
    "tools": {"totalCalls": 1, "byName": {"google_web_search": {"count": 1}}}
  }
}"###;
        let mut events = Events::default();
        for line in object.lines() {
            events.line(line);
        }
        let said = events.said();
        assert_eq!((said.text.as_str(), said.error), ("## Findings", None));
        assert_eq!(said.usage.input_tokens, Some(24939));
        assert_eq!(said.usage.tools["google_web_search"], 1);
    }

    #[test]
    fn documented_stream_is_parsed() {
        let stream = r###"{"type":"init","timestamp":"2025-10-10T12:00:00.000Z","session_id":"abc","model":"gemini-2.5-pro"}
{"type":"message","role":"user","content":"List files","timestamp":"2025-10-10T12:00:01.000Z"}
{"type":"message","role":"assistant","content":"I will look.","delta":true}
{"type":"tool_use","tool_name":"Bash","tool_id":"bash-1","parameters":{"command":"ls"}}
{"type":"tool_result","tool_id":"bash-1","status":"success","output":"a"}
{"type":"message","role":"assistant","content":"## Find","delta":true}
{"type":"message","role":"assistant","content":"ings","delta":true}
{"type":"result","status":"success","stats":{"total_tokens":250,"input_tokens":50,"output_tokens":200,"duration_ms":3000,"tool_calls":1}}"###;
        let mut events = Events::default();
        let actions: Vec<String> = stream.lines().filter_map(|l| events.line(l)).collect();
        assert_eq!(actions[0], "started gemini-2.5-pro");
        assert_eq!(actions[2], "Bash ls");
        let said = events.said();
        assert_eq!((said.text.as_str(), said.error), ("## Findings", None));
        assert_eq!(said.usage.output_tokens, Some(200));
    }

    #[test]
    fn documented_failure_is_reported() {
        let mut events = Events::default();
        events.line(r#"{"error":{"type":"ApiError","message":"RESOURCE_EXHAUSTED","code":429}}"#);
        assert!(super::super::is_rate_limit(&events.said().error.unwrap()));
    }
}
