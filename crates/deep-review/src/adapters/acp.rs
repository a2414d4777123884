//! The Agent Client Protocol, version 1, without a library: JSON-RPC 2.0, one message a line, over the agent's standard
//! input and output.
//!
//! The client sends `initialize`, `session/new`, `session/set_mode` if the agent offers a mode that refuses without
//! asking, and `session/prompt`; the agent sends `session/update` notifications and answers the prompt with a stop
//! reason. The only request of the agent that the client supports is `session/request_permission`: it grants reading
//! and searching, once for each request, and refuses everything else. The client offers neither files nor a terminal.
//! The crate `agent-client-protocol` would bring a dozen dependencies for these few messages.
//! Source: <https://agentclientprotocol.com/protocol/overview> and the pages below it.

use std::collections::HashSet;

use serde_json::{Value, json};

use review::plain::one_line;

use super::{Adapter, AskedBy, Said};

/// The adapter of agents that speak the protocol.
pub struct Acp;

impl Adapter for Acp {
    fn asked_by(&self) -> AskedBy {
        AskedBy::Protocol
    }
}

/// The number of tool calls whose ids are remembered to count each call once. The limit keeps an agent that floods from
/// using up memory; a review makes some hundreds of calls.
const CALLS: usize = 10_000;

/// The mode of Claude Code's adapter that refuses whatever the settings do not allow, without a question. When the
/// client refuses instead, the adapter ends the whole turn without an answer; in this mode the model learns of the
/// refusal and continues.
const REFUSING: &str = "dontAsk";

/// The action that a message calls for.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing.
    Wait,
    /// Send these messages.
    Send(Vec<Value>),
    /// The agent has finished.
    Done,
}

/// One conversation: a state machine that does no input or output itself.
///
/// ```text
/// initialize → session/new → (session/set_mode →) session/prompt → end of turn
/// ```
#[derive(Debug)]
pub struct Conversation {
    state: State,
    prompt: String,
    folder: String,
    session: Value,
    said: Said,
    after_tool: bool,
    /// The ids of the tool calls so far.
    calls: HashSet<String>,
    /// What the agent is doing, for the progress display.
    pub action: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Initializing,
    Opening,
    Choosing,
    Prompting,
    Ended,
}

impl State {
    fn request(self) -> u64 {
        match self {
            State::Initializing => 0,
            State::Opening => 1,
            State::Prompting | State::Ended => 2,
            State::Choosing => 3,
        }
    }
}

impl Conversation {
    /// Creates a conversation about `prompt` in the absolute path `folder`. Returns it with its first message.
    #[must_use]
    pub fn open(prompt: String, folder: String) -> (Self, Value) {
        let conversation = Conversation {
            state: State::Initializing,
            prompt,
            folder,
            session: Value::Null,
            said: Said::default(),
            after_tool: false,
            calls: HashSet::new(),
            action: None,
        };
        let first = conversation.call(
            "initialize",
            &json!({
                "protocolVersion": 1,
                "clientCapabilities": {"fs": {"readTextFile": false, "writeTextFile": false}, "terminal": false},
                "clientInfo": {"name": "deep-review", "title": "deep-review", "version": env!("CARGO_PKG_VERSION")},
            }),
        );
        (conversation, first)
    }

    fn call(&self, method: &str, params: &Value) -> Value {
        json!({"jsonrpc": "2.0", "id": self.state.request(), "method": method, "params": params})
    }

    /// Processes one line from the agent.
    pub fn line(&mut self, line: &str) -> Step {
        let Ok(message) = serde_json::from_str::<Value>(line) else {
            return Step::Wait;
        };
        match message["method"].as_str() {
            Some("session/update") => {
                self.update(&message["params"]["update"]);
                Step::Wait
            }
            Some("session/request_permission") => Step::Send(vec![permission(&message)]),
            Some(method) if !message["id"].is_null() => Step::Send(vec![json!({
                "jsonrpc": "2.0",
                "id": message["id"],
                "error": {"code": -32601, "message": format!("deep-review offers no {}", one_line(method, 60))},
            })]),
            Some(_) => Step::Wait,
            None if message["id"] == json!(self.state.request()) => self.answer(&message),
            None => Step::Wait,
        }
    }

    fn answer(&mut self, message: &Value) -> Step {
        // In other modes the agent asks for permission, and the client refuses.
        if !message["error"].is_null() && self.state != State::Choosing {
            let error = &message["error"];
            let text = error["message"].as_str().unwrap_or("no message");
            let data = match &error["data"] {
                Value::Null => String::new(),
                data => data.to_string(),
            };
            self.said.error = Some(one_line(&format!("{} {text} {data}", error["code"]), 500));
            self.state = State::Ended;
            return Step::Done;
        }
        let result = &message["result"];
        match self.state {
            State::Initializing => {
                if result["protocolVersion"] != json!(1) {
                    self.said.error = Some(format!(
                        "it speaks version {} of the protocol, we speak 1",
                        one_line(&result["protocolVersion"].to_string(), 20)
                    ));
                    self.state = State::Ended;
                    return Step::Done;
                }
                self.state = State::Opening;
                let params = json!({"cwd": self.folder, "mcpServers": [], "_meta": meta()});
                Step::Send(vec![self.call("session/new", &params)])
            }
            State::Opening => {
                self.session = result["sessionId"].clone();
                let modes = result["modes"]["availableModes"].as_array();
                let quiet = modes
                    .into_iter()
                    .flatten()
                    .any(|mode| mode["id"] == REFUSING);
                if !quiet {
                    return self.prompt();
                }
                self.state = State::Choosing;
                let params = json!({"sessionId": self.session, "modeId": REFUSING});
                Step::Send(vec![self.call("session/set_mode", &params)])
            }
            State::Choosing => self.prompt(),
            State::Prompting => {
                self.state = State::Ended;
                let reason = result["stopReason"].as_str().unwrap_or("unknown");
                if reason != "end_turn" {
                    self.said.error = Some(format!("it stopped early: {}", one_line(reason, 60)));
                }
                Step::Done
            }
            State::Ended => Step::Done,
        }
    }

    fn prompt(&mut self) -> Step {
        self.state = State::Prompting;
        let prompt = std::mem::take(&mut self.prompt);
        let params = json!({
            "sessionId": self.session,
            "prompt": [{"type": "text", "text": prompt}],
        });
        Step::Send(vec![self.call("session/prompt", &params)])
    }

    fn update(&mut self, update: &Value) {
        match update["sessionUpdate"].as_str() {
            Some("agent_message_chunk") => {
                let piece = update["content"]["text"].as_str().unwrap_or_default();
                // Text before a tool call is not the answer yet.
                if std::mem::take(&mut self.after_tool) {
                    self.said.text.clear();
                }
                self.said.text.push_str(piece);
                self.action = Some(one_line(piece, 80));
            }
            Some("tool_call") => {
                self.after_tool = true;
                let kind = update["kind"].as_str().unwrap_or("other");
                if self.is_new(update["toolCallId"].as_str()) {
                    self.said.usage.called(kind);
                }
                let title = update["title"].as_str().unwrap_or(kind);
                self.action = Some(one_line(title, 80));
            }
            _ => {}
        }
    }

    /// Returns whether this call has not been seen before: some agents announce a call when the model begins to request
    /// it, and again with its arguments.
    fn is_new(&mut self, id: Option<&str>) -> bool {
        match id {
            Some(id) if self.calls.len() < CALLS => self.calls.insert(one_line(id, 200)),
            Some(id) => !self.calls.contains(id),
            None => true,
        }
    }

    /// Returns the agent's whole answer.
    #[must_use]
    pub fn said(mut self) -> Said {
        if self.state != State::Ended && self.said.error.is_none() {
            self.said.error = Some("it ended before its turn did".to_owned());
        }
        self.said
    }
}

/// Vendor extensions of the protocol, by vendor; agents skip those of other vendors. Claude Code's adapter takes
/// options of its SDK here: without them it would run the commands in a `.claude/settings.json` and a `.mcp.json` of
/// the change (its `acp-agent.ts`).
fn meta() -> Value {
    json!({"claudeCode": {"options": {"settingSources": ["user"]}}})
}

/// Grants read access, once; a review needs nothing else.
fn permission(message: &Value) -> Value {
    let params = &message["params"];
    let harmless = matches!(
        params["toolCall"]["kind"].as_str(),
        Some("read" | "search" | "think")
    );
    let wanted = if harmless {
        "allow_once"
    } else {
        "reject_once"
    };
    let option = params["options"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|option| option["kind"] == wanted);
    let outcome = match option {
        Some(option) => json!({"outcome": "selected", "optionId": option["optionId"]}),
        None => json!({"outcome": "cancelled"}),
    };
    json!({"jsonrpc": "2.0", "id": message["id"], "result": {"outcome": outcome}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mode_that_refuses_is_chosen_if_offered() {
        let (mut talk, _) = Conversation::open("review this".into(), "/work".into());
        talk.line(r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":1}}"#);
        let chosen = talk.line(r#"{"jsonrpc":"2.0","id":1,"result":{"sessionId":"s","modes":{"currentModeId":"default","availableModes":[{"id":"default"},{"id":"dontAsk"}]}}}"#);
        let Step::Send(chosen) = chosen else {
            panic!("{chosen:?}")
        };
        assert_eq!(chosen[0]["method"], "session/set_mode");
        assert_eq!(chosen[0]["params"]["modeId"], "dontAsk");
        let prompt = talk.line(r#"{"jsonrpc":"2.0","id":3,"error":{"code":-32601,"message":"?"}}"#);
        let Step::Send(prompt) = prompt else {
            panic!("{prompt:?}")
        };
        assert_eq!(prompt[0]["method"], "session/prompt");
        assert_eq!(prompt[0]["params"]["sessionId"], "s");
    }

    #[test]
    fn documented_turn_is_parsed() {
        let (mut talk, first) = Conversation::open("review this".into(), "/work".into());
        assert_eq!(first["method"], "initialize");
        let sent = |step: Step| match step {
            Step::Send(mut messages) => messages.remove(0),
            other => panic!("{other:?}"),
        };
        let new = sent(talk.line(r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":1,"agentCapabilities":{},"authMethods":[]}}"#));
        assert_eq!(new["params"]["cwd"], "/work");
        let prompt = sent(talk.line(r#"{"jsonrpc":"2.0","id":1,"result":{"sessionId":"sess_1"}}"#));
        assert_eq!(prompt["params"]["sessionId"], "sess_1");
        assert_eq!(prompt["params"]["prompt"][0]["text"], "review this");
        let asked = r#"{"jsonrpc":"2.0","id":5,"method":"session/request_permission","params":{"sessionId":"sess_1","toolCall":{"toolCallId":"c","kind":"execute"},"options":[{"optionId":"y","name":"Allow","kind":"allow_once"},{"optionId":"n","name":"No","kind":"reject_once"}]}}"#;
        assert_eq!(sent(talk.line(asked))["result"]["outcome"]["optionId"], "n");
        let asked = asked.replace("execute", "read");
        assert_eq!(
            sent(talk.line(&asked))["result"]["outcome"]["optionId"],
            "y"
        );
        let refused = sent(
            talk.line(r#"{"jsonrpc":"2.0","id":6,"method":"fs/write_text_file","params":{}}"#),
        );
        assert_eq!(refused["error"]["code"], -32601);
        for update in [
            r#"{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"Looking."}}"#,
            r#"{"sessionUpdate":"tool_call","toolCallId":"c","title":"Reading","kind":"read","status":"pending"}"#,
            r#"{"sessionUpdate":"tool_call","toolCallId":"c","title":"Reading a.rs","kind":"read","status":"pending"}"#,
            r#"{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"Good"}}"#,
        ] {
            let line = format!(
                r#"{{"jsonrpc":"2.0","method":"session/update","params":{{"sessionId":"sess_1","update":{update}}}}}"#
            );
            assert_eq!(talk.line(&line), Step::Wait);
        }
        assert_eq!(
            talk.line(r#"{"jsonrpc":"2.0","id":2,"result":{"stopReason":"end_turn"}}"#),
            Step::Done
        );
        let said = talk.said();
        assert_eq!((said.text.as_str(), said.error), ("Good", None));
        assert_eq!(said.usage.tools["read"], 1);
    }
}
