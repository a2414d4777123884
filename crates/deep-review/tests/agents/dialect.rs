//! The protocols of the vendors' models: server-sent events over HTTP.
//!
//! Sources: the Messages streaming page of Anthropic's API, the Responses streaming events of OpenAI's, the
//! `streamGenerateContent` method of Google's Generative Language API.

use serde_json::{Value, json};

#[derive(Clone, Copy)]
pub(crate) enum Dialect {
    Anthropic,
    OpenAi,
    Google,
}

/// The usage that every answer reports.
pub(crate) const INPUT: u64 = 115;
pub(crate) const OUTPUT: u64 = 20;

impl Dialect {
    /// Returns the dialect for the path of a request.
    pub(crate) fn of(path: &str) -> Option<Self> {
        if path.starts_with("/v1/messages") {
            Some(Dialect::Anthropic)
        } else if path.starts_with("/v1/responses") {
            Some(Dialect::OpenAi)
        } else if path.contains("enerateContent") {
            Some(Dialect::Google)
        } else {
            None
        }
    }

    /// Returns the answer to a request that is not for a review: a title, a route, a count.
    pub(crate) fn aside(self, path: &str) -> (&'static str, String) {
        match self {
            Dialect::Anthropic if path.contains("count_tokens") => (
                "application/json",
                json!({"input_tokens": INPUT}).to_string(),
            ),
            Dialect::Google if !path.contains(":stream") => {
                // The answer for Gemini CLI's router; other requests accept any text.
                let route = json!({"reasoning": "scripted", "model_choice": "pro", "complexity_reasoning": "scripted", "complexity_score": 90});
                let answer = candidate(&json!({"text": route.to_string()}), true);
                ("application/json", answer.to_string())
            }
            _ => ("text/event-stream", self.text("ok", true)),
        }
    }

    pub(crate) fn text(self, text: &str, ends: bool) -> String {
        match self {
            Dialect::Anthropic => {
                let delta = json!({"type": "text_delta", "text": text});
                anthropic(
                    &json!({"type": "text", "text": ""}),
                    &delta,
                    ends.then_some("end_turn"),
                )
            }
            Dialect::OpenAi => openai(
                &json!({"type": "message", "role": "assistant", "id": "m", "content": [{"type": "output_text", "text": text}]}),
                ends,
            ),
            Dialect::Google => unnamed(&candidate(&json!({"text": text}), ends)),
        }
    }

    pub(crate) fn call(self, tool: &str, input: &Value) -> String {
        match self {
            Dialect::Anthropic => {
                let delta = json!({"type": "input_json_delta", "partial_json": input.to_string()});
                let block = json!({"type": "tool_use", "id": "toolu_1", "name": tool, "input": {}});
                anthropic(&block, &delta, Some("tool_use"))
            }
            Dialect::OpenAi => openai(
                &json!({"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": tool, "arguments": input.to_string()}),
                true,
            ),
            Dialect::Google => {
                let part = json!({"functionCall": {"name": tool, "args": input}});
                unnamed(&candidate(&part, true))
            }
        }
    }

    pub(crate) fn refusal(self, status: u16) -> String {
        let (kind, google) = match status {
            401 => ("authentication_error", "UNAUTHENTICATED"),
            429 => ("rate_limit_error", "RESOURCE_EXHAUSTED"),
            _ => ("overloaded_error", "UNAVAILABLE"),
        };
        // The message gives no reason, so the agent must understand the status.
        match self {
            Dialect::Anthropic => {
                json!({"type": "error", "error": {"type": kind, "message": "scripted"}})
            }
            Dialect::OpenAi => {
                json!({"error": {"type": kind, "code": kind, "message": "scripted"}})
            }
            Dialect::Google => {
                json!({"error": {"code": status, "message": "scripted", "status": google}})
            }
        }
        .to_string()
    }
}

fn named(events: &[Value]) -> String {
    events
        .iter()
        .map(|event| {
            let name = event["type"].as_str().unwrap();
            format!("event: {name}\ndata: {event}\n\n")
        })
        .collect()
}

fn unnamed(event: &Value) -> String {
    format!("data: {event}\n\n")
}

fn anthropic(block: &Value, delta: &Value, stop: Option<&str>) -> String {
    let mut events = vec![
        json!({"type": "message_start", "message": {
            "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-scripted", "content": [],
            "stop_reason": null, "stop_sequence": null,
            // All three are tokens read.
            "usage": {"input_tokens": 10, "cache_creation_input_tokens": 5, "cache_read_input_tokens": INPUT - 15, "output_tokens": 1},
        }}),
        json!({"type": "content_block_start", "index": 0, "content_block": block}),
        json!({"type": "content_block_delta", "index": 0, "delta": delta}),
    ];
    if let Some(stop) = stop {
        events.extend([
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": null}, "usage": {"output_tokens": OUTPUT}}),
            json!({"type": "message_stop"}),
        ]);
    }
    named(&events)
}

fn openai(item: &Value, ends: bool) -> String {
    let mut events = vec![
        json!({"type": "response.created", "response": {"id": "resp_1"}}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": item}),
    ];
    if ends {
        events.push(
            json!({"type": "response.completed", "response": {"id": "resp_1", "usage": {
                "input_tokens": INPUT, "input_tokens_details": {"cached_tokens": 100},
                "output_tokens": OUTPUT, "output_tokens_details": {"reasoning_tokens": 3},
                "total_tokens": INPUT + OUTPUT,
            }}}),
        );
    }
    named(&events)
}

fn candidate(part: &Value, ends: bool) -> Value {
    let mut candidate = json!({"content": {"role": "model", "parts": [part]}, "index": 0});
    if ends {
        candidate["finishReason"] = json!("STOP");
    }
    json!({
        "candidates": [candidate],
        "usageMetadata": {"promptTokenCount": INPUT, "candidatesTokenCount": OUTPUT, "totalTokenCount": INPUT + OUTPUT, "cachedContentTokenCount": 100},
        "modelVersion": "gemini-scripted",
    })
}
