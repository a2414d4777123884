//! A small HTTP server with the behaviour and the faults of real ones.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// The server's behaviour for each request in order. The last one holds for all later requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Serves the file or the requested range.
    Good,
    /// Announces the whole length and closes the connection after this many bytes.
    CutAfter(usize),
    /// Sends this many bytes and then nothing, with the connection open.
    StallAfter(usize),
    /// Replies with this status and no body.
    Status(u16),
    /// Supports no ranges and sends no ETag.
    Plain,
    /// Delays the reply until [`Server::release`].
    Hold,
}

#[derive(Debug)]
struct State {
    body: Mutex<(Vec<u8>, String)>,
    manners: Vec<Manner>,
    requests: AtomicUsize,
    ranges: Mutex<Vec<Option<String>>>,
    stop: AtomicBool,
    released: (Mutex<bool>, Condvar),
}

/// The server. Dropping the value stops it.
#[derive(Debug)]
pub(crate) struct Server {
    state: Arc<State>,
    address: std::net::SocketAddr,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(body: &[u8], manners: &[Manner]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            body: Mutex::new((body.to_vec(), "\"v1\"".to_owned())),
            manners: manners.to_vec(),
            requests: AtomicUsize::new(0),
            ranges: Mutex::new(Vec::new()),
            stop: AtomicBool::new(false),
            released: (Mutex::new(false), Condvar::new()),
        });
        let shared = state.clone();
        let thread = std::thread::spawn(move || {
            let mut workers = Vec::new();
            for stream in listener.incoming() {
                if shared.stop.load(Ordering::SeqCst) {
                    break;
                }
                let state = shared.clone();
                workers.push(std::thread::spawn(move || {
                    let _ = serve(stream.unwrap(), &state);
                }));
            }
            for worker in workers {
                worker.join().unwrap();
            }
        });
        Self {
            state,
            address,
            thread: Some(thread),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    pub(crate) fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// Returns the `Range` of each request.
    pub(crate) fn ranges(&self) -> Vec<Option<String>> {
        self.state.ranges.lock().unwrap().clone()
    }

    /// Replaces the file.
    pub(crate) fn replace(&self, body: &[u8], etag: &str) {
        *self.state.body.lock().unwrap() = (body.to_vec(), etag.to_owned());
    }

    /// Sends delayed replies.
    pub(crate) fn release(&self) {
        *self.state.released.0.lock().unwrap() = true;
        self.state.released.1.notify_all();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        self.release();
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn serve(stream: TcpStream, state: &State) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        head.push(line.trim().to_owned());
    }
    if head.is_empty() {
        return Ok(());
    }
    let header = |name: &str| {
        head.iter().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    };
    let number = state.requests.fetch_add(1, Ordering::SeqCst);
    state.ranges.lock().unwrap().push(header("range"));
    let manner = *state
        .manners
        .get(number)
        .or(state.manners.last())
        .unwrap_or(&Manner::Good);
    if manner == Manner::Hold {
        let mut released = state.released.0.lock().unwrap();
        while !*released {
            released = state.released.1.wait(released).unwrap();
        }
    }
    let (body, etag) = state.body.lock().unwrap().clone();
    let mut stream = stream;
    if let Manner::Status(status) = manner {
        return write!(
            stream,
            "HTTP/1.1 {status} Reply\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    if manner == Manner::Plain {
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        )?;
        return stream.write_all(&body);
    }
    if header("if-none-match").as_deref() == Some(etag.as_str()) {
        return write!(
            stream,
            "HTTP/1.1 304 Not Modified\r\nETag: {etag}\r\nConnection: close\r\n\r\n"
        );
    }
    let same = header("if-range").is_none_or(|validator| validator == etag);
    let from = header("range").filter(|_| same).and_then(|range| {
        range
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse::<usize>()
            .ok()
    });
    let total = body.len();
    let rest = match from {
        Some(from) if from >= total => {
            return write!(
                stream,
                "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{total}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
        Some(from) => {
            let last = total - 1;
            write!(
                stream,
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{last}/{total}\r\n"
            )?;
            &body[from..]
        }
        None => {
            write!(stream, "HTTP/1.1 200 OK\r\n")?;
            &body[..]
        }
    };
    write!(
        stream,
        "ETag: {etag}\r\nContent-Type: application/x-qemu-disk\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        rest.len()
    )?;
    match manner {
        Manner::CutAfter(count) => stream.write_all(&rest[..count.min(rest.len())]),
        Manner::StallAfter(count) => {
            stream.write_all(&rest[..count.min(rest.len())])?;
            // Until the client closes the connection.
            let _ = reader.read(&mut [0; 1]);
            Ok(())
        }
        _ => stream.write_all(rest),
    }
}
