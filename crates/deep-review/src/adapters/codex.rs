//! `codex exec --json`: one event a line.
//!
//! `thread.started`, `turn.started`, `item.started|updated|completed` with the item (`agent_message`, `reasoning`,
//! `command_execution`, `file_change`, `mcp_tool_call`, `web_search`, `todo_list`, `error`), `turn.completed` with the
//! usage, `turn.failed`, `error`. The review is the last `agent_message`. codex reports no cost.
//! Source: openai/codex, `codex-rs/exec/src/exec_events.rs`, and what version 0.169 prints. An item of type `error` is a
//! warning; the end is `turn.failed`, after an `error` event with the same message.

use serde_json::Value;

use review::plain::one_line;

use super::{Adapter, Reader, Said};

/// The adapter of `codex`.
pub struct Codex;

impl Adapter for Codex {
    fn command(&self) -> &'static [&'static str] {
        // `-` reads the prompt from standard input. The sandbox keeps the model's commands from writing. The questions
        // of the lead reviewer and of close calls are asked in an empty folder, which is no repository.
        // `project_doc_max_bytes=0` keeps codex from obeying an `AGENTS.md` of the change.
        &[
            "codex",
            "exec",
            "--json",
            "--sandbox",
            "read-only",
            "--skip-git-repo-check",
            "-c",
            "project_doc_max_bytes=0",
            "-",
        ]
    }

    fn environment(&self) -> &'static [&'static str] {
        &[
            "OPENAI_API_KEY",
            "OPENAI_BASE_URL",
            "CODEX_API_KEY",
            "CODEX_HOME",
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
    completed: bool,
}

impl Reader for Events {
    fn line(&mut self, line: &str) -> Option<String> {
        let event: Value = serde_json::from_str(line).ok()?;
        match event["type"].as_str()? {
            "thread.started" => Some("started".to_owned()),
            kind @ ("item.started" | "item.completed") => {
                self.item(&event["item"], kind == "item.completed")
            }
            "turn.completed" => {
                self.completed = true;
                let usage = &event["usage"];
                // `cached_input_tokens` is a part of `input_tokens`.
                self.said.usage.input_tokens = usage["input_tokens"].as_u64();
                self.said.usage.output_tokens = usage["output_tokens"].as_u64();
                None
            }
            "turn.failed" => {
                self.failed(&event["error"]["message"]);
                None
            }
            // Sent before each retry, too: `Reconnecting... 1/5`.
            "error" => {
                self.failed(&event["message"]);
                event["message"].as_str().map(|text| one_line(text, 80))
            }
            _ => None,
        }
    }

    fn said(&mut self) -> Said {
        let mut said = std::mem::take(&mut self.said);
        if self.completed {
            // Errors before the end (a reconnect) do not matter once the turn has completed.
            said.error = None;
        } else if said.error.is_none() {
            said.error = Some("it ended without turn.completed".to_owned());
        }
        said
    }
}

impl Events {
    fn failed(&mut self, message: &Value) {
        let message = message.as_str().unwrap_or("it failed without a message");
        self.said.error = Some(one_line(message, 500));
    }

    fn item(&mut self, item: &Value, completed: bool) -> Option<String> {
        let text = |key: &str| item[key].as_str().unwrap_or_default();
        let (tool, about) = match text("type") {
            "agent_message" if completed => {
                text("text").clone_into(&mut self.said.text);
                return Some(one_line(text("text"), 80));
            }
            "reasoning" if completed => return Some(one_line(text("text"), 80)),
            "command_execution" => ("shell".to_owned(), text("command")),
            "file_change" => ("edit".to_owned(), ""),
            "mcp_tool_call" => (format!("{}.{}", text("server"), text("tool")), ""),
            "web_search" => ("web_search".to_owned(), text("query")),
            _ => return None,
        };
        // Some items are never announced, but each is completed once.
        if completed {
            self.said.usage.called(&tool);
        }
        Some(one_line(&format!("{tool} {about}"), 80))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_stream_is_parsed() {
        let stream = r###"{"type":"thread.started","thread_id":"0199"}
{"type":"turn.started"}
{"type":"item.started","item":{"id":"item_1","type":"command_execution","command":"bash -lc ls","aggregated_output":"","status":"in_progress"}}
{"type":"item.completed","item":{"id":"item_1","type":"command_execution","command":"bash -lc ls","aggregated_output":"a\n","exit_code":0,"status":"completed"}}
{"type":"error","message":"Reconnecting... 1/5"}
{"type":"item.completed","item":{"id":"item_2","type":"agent_message","text":"## Findings"}}
{"type":"turn.completed","usage":{"input_tokens":24763,"cached_input_tokens":24448,"output_tokens":122}}"###;
        let mut events = Events::default();
        let actions: Vec<String> = stream.lines().filter_map(|l| events.line(l)).collect();
        assert_eq!(
            actions,
            [
                "started",
                "shell bash -lc ls",
                "shell bash -lc ls",
                "Reconnecting... 1/5",
                "## Findings"
            ]
        );
        let said = events.said();
        assert_eq!((said.text.as_str(), said.error), ("## Findings", None));
        assert_eq!(said.usage.input_tokens, Some(24763));
        assert_eq!(said.usage.output_tokens, Some(122));
        assert_eq!(said.usage.tools["shell"], 1);
    }

    #[test]
    fn failed_turn_is_reported() {
        let mut events = Events::default();
        events.line(r#"{"type":"turn.failed","error":{"message":"429 Too Many Requests"}}"#);
        assert_eq!(
            events.said().error.as_deref(),
            Some("429 Too Many Requests")
        );
    }
}
