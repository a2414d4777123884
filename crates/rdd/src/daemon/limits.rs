//! The resource limits of the process.

/// Raises the limit of open files as far as the system permits: each watcher is a connection, and the daemon promises to
/// serve a thousand of them, while the usual limit is 1024.
#[cfg(unix)]
pub(crate) fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    /// More than a daemon needs. Some systems report "unlimited" and then refuse it.
    const ENOUGH: u64 = 65_536;

    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(ENOUGH, |maximum| maximum.min(ENOUGH));
    if limit.current.is_some_and(|current| current < wanted)
        && let Err(error) = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(wanted),
                maximum: limit.maximum,
            },
        )
    {
        tracing::info!("cannot raise the limit of open files to {wanted}: {error}");
    }
}

/// Windows has no such limit.
#[cfg(not(unix))]
pub(crate) fn allow_many_files() {}
