//! A scripted model: a small HTTP server on loopback.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::dialect::Dialect;

/// The model's reaction to a request.
#[derive(Clone)]
pub(crate) enum Turn {
    /// Answers with text.
    Say(&'static str),
    /// Calls a tool.
    Call(&'static str, Value),
    /// Refuses, with an HTTP status.
    Refuse(u16),
    /// Begins an answer that never ends.
    Stall,
}

/// A request for the review.
#[derive(Clone)]
pub(crate) struct Asked {
    /// All header lines.
    pub(crate) head: String,
    pub(crate) body: String,
}

/// The text at the start of every review's prompt; agents also send requests for titles, routes and the like.
const PROMPT: &str = "You review one change of a git repository";

struct State {
    turns: Vec<Turn>,
    asked: Vec<Asked>,
}

pub(crate) struct Model {
    url: String,
    state: Arc<Mutex<State>>,
}

impl Model {
    /// Plays the turns in order, and repeats the last for all later requests.
    pub(crate) fn start(turns: &[Turn]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State {
            turns: turns.to_vec(),
            asked: Vec::new(),
        }));
        let ours = state.clone();
        // The thread ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = ours.clone();
                std::thread::spawn(move || serve(&stream, &state));
            }
        });
        Model { url, state }
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// Returns the requests for the review so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }
}

/// Serves one request a connection. A client that disconnects is no error.
fn serve(stream: &TcpStream, state: &Mutex<State>) -> Option<()> {
    let mut from = BufReader::new(stream.try_clone().ok()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if from.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    from.read_exact(&mut body).ok()?;
    let body = String::from_utf8_lossy(&body).into_owned();
    let mut words = head.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let Some(dialect) = Dialect::of(path).filter(|_| method == "POST") else {
        let status = if method == "HEAD" { 200 } else { 404 };
        return send(
            stream,
            status,
            "application/json",
            if status == 404 { "{}" } else { "" },
        );
    };
    let Some(turn) = turn(state, &head, &body) else {
        let (kind, text) = dialect.aside(path);
        return send(stream, 200, kind, &text);
    };
    match turn {
        Turn::Refuse(status) => send(stream, status, "application/json", &dialect.refusal(status)),
        Turn::Say(text) => send(stream, 200, STREAM, &dialect.text(text, true)),
        Turn::Call(tool, input) => send(stream, 200, STREAM, &dialect.call(tool, &input)),
        Turn::Stall => {
            let beginning = dialect.text("Let me see", false);
            let mut to = stream;
            write!(
                to,
                "HTTP/1.1 200 OK\r\nContent-Type: {STREAM}\r\n\r\n{beginning}"
            )
            .ok()?;
            // Blocks until the client disconnects.
            from.read_to_end(&mut Vec::new()).ok().map(|_| ())
        }
    }
}

const STREAM: &str = "text/event-stream";

/// Returns the turn for a request if it asks for the review: it has the prompt, and tools.
fn turn(state: &Mutex<State>, head: &str, body: &str) -> Option<Turn> {
    let request: Value = serde_json::from_str(body).ok()?;
    if !body.contains(PROMPT) || request["tools"].as_array().is_none_or(Vec::is_empty) {
        return None;
    }
    let mut state = state.lock().unwrap();
    let at = state.asked.len().min(state.turns.len() - 1);
    state.asked.push(Asked {
        head: head.to_owned(),
        body: body.to_owned(),
    });
    Some(state.turns[at].clone())
}

fn send(mut stream: &TcpStream, status: u16, kind: &str, body: &str) -> Option<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status} Scripted\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .ok()
}
