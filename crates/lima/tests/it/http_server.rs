//! A small HTTP server with the manners of real ones, and the bad manners too.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// What the server does to a request, in the order of requests; the last one for all that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Serves the file, or the range of it that was asked for.
    Good,
    /// Announces the whole and closes after so many bytes.
    CutAfter(usize),
    /// Sends so many bytes and then nothing, with the connection open.
    StallAfter(usize),
    /// Answers with this status and no body.
    Status(u16),
    /// Knows no ranges and no ETag.
    Plain,
    /// Holds the answer back until [`Server::release`].
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

/// The server; ends when dropped.
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

    /// The `Range` of each request.
    pub(crate) fn ranges(&self) -> Vec<Option<String>> {
        self.state.ranges.lock().unwrap().clone()
    }

    /// Puts another file in the place of the first.
    pub(crate) fn replace(&self, body: &[u8], etag: &str) {
        *self.state.body.lock().unwrap() = (body.to_vec(), etag.to_owned());
    }

    /// Lets held answers go.
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
            "HTTP/1.1 {status} Told\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
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
            // Until the client hangs up.
            let _ = reader.read(&mut [0; 1]);
            Ok(())
        }
        _ => stream.write_all(rest),
    }
}
