//! The owner of the instance: a client that keeps asking while a trial runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};

use crate::plane::{self, JSON, Plane};

/// Between two requests of the owner: often enough to notice a stall of a tenth of a second.
const PERIOD: Duration = Duration::from_millis(50);
/// Every so many requests the owner comes with a new connection, as a new command does.
const NEW_CONNECTION: u32 = 10;
/// A request without an answer after this time counts as a lock-out.
const LOCKED_OUT: Duration = Duration::from_secs(30);
const PATH: &str = "/api/v1/namespaces/default";

/// What the owner saw during a trial.
#[derive(Debug, Clone, Default)]
pub(crate) struct Experience {
    pub(crate) requests: u32,
    /// The longest wait for an answer, the connection's set-up included.
    pub(crate) longest: Duration,
    /// The first request that failed.
    pub(crate) failure: Option<String>,
}

/// The owner at work, until [`Owner::leave`].
pub(crate) struct Owner {
    stop: watch::Sender<bool>,
    task: JoinHandle<Experience>,
}

impl Owner {
    pub(crate) fn arrive(plane: &Arc<Plane>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(work(Arc::clone(plane), stopped));
        Self { stop, task }
    }

    /// Ends the work after the request under way, and returns what was seen.
    pub(crate) async fn leave(self) -> Experience {
        self.stop.send_replace(true);
        self.task.await.unwrap_or_else(|error| Experience {
            failure: Some(format!("the owner's task failed: {error}")),
            ..Experience::default()
        })
    }
}

async fn work(plane: Arc<Plane>, mut stopped: watch::Receiver<bool>) -> Experience {
    let mut seen = Experience::default();
    let mut ticks = interval(PERIOD);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopped.changed() => return seen,
        }
        let started = Instant::now();
        let answer = if seen.requests.is_multiple_of(NEW_CONNECTION) {
            match Client::try_from(plane.config.clone()) {
                Ok(client) => ask(&client).await,
                Err(error) => Err(error.to_string()),
            }
        } else {
            ask(&plane.client).await
        };
        seen.requests += 1;
        seen.longest = seen.longest.max(started.elapsed());
        if let Err(failure) = answer {
            seen.failure.get_or_insert(failure);
        }
    }
}

async fn ask(client: &Client) -> Result<(), String> {
    let asked = plane::send(client, Method::GET, PATH, JSON, Vec::new());
    match timeout(LOCKED_OUT, asked).await {
        Ok(Ok(answer)) if answer.status == 200 => Ok(()),
        Ok(Ok(answer)) => Err(format!("the owner got {}", answer.brief())),
        Ok(Err(error)) => Err(format!("the owner got no answer: {error}")),
        Err(_elapsed) => Err(format!("the owner got no answer within {LOCKED_OUT:?}")),
    }
}
