//! The state that a process inherits from the process which started it, besides descriptors and environment: signal
//! dispositions, the signal mask, limits and umask. They are set here, for every child, so that nothing depends on the program that
//! started rdd. (`Spawn` sets the working directory and the environment, `child.rs` closes descriptors.)
//!
//! A program that ignores SIGCHLD or SIGTERM, blocks signals, or limits the size of files passes this on through `exec`
//! (`signal(7)`, `setrlimit(2)`). With SIGCHLD ignored no exit status can be read; a daemon that ignores SIGTERM cannot be
//! stopped; QEMU with RLIMIT_FSIZE dies of SIGXFSZ when its disk grows.

#![expect(unsafe_code, reason = "signals and umask are C interfaces")]

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The signals of Linux (`signal(7)`) and macOS: at most 64, without real-time signals that the C library reserves.
const LAST_SIGNAL: libc::c_int = 64;
/// Files of a long-lived process are for its owner only.
const PRIVATE_UMASK: libc::mode_t = 0o077;

/// Sets the state of a child between fork and exec. Makes system calls only, and neither allocates nor takes a lock.
pub(crate) fn set_in_child(long_lived: bool) {
    reset_signals();
    raise_file_size_limit();
    if long_lived {
        // SAFETY: changes one number of this process.
        unsafe { libc::umask(PRIVATE_UMASK) };
    }
}

/// Sets the state of the calling process, as far as its behaviour depends on it: call it first in `main`.
pub(crate) fn set_in_this_process() {
    // SAFETY: the default disposition has no handler. Rust's runtime ignores SIGPIPE and installs handlers for SIGSEGV and
    // SIGBUS, which stay.
    unsafe {
        // SIGINT, SIGQUIT and SIGHUP are left alone: a shell or `nohup` that ignores them for a command means that command.
        for signal in [libc::SIGCHLD, libc::SIGTERM, libc::SIGALRM, libc::SIGXFSZ] {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
    raise_file_size_limit();
}

/// Every signal has its default action, and none is blocked.
///
/// This includes SIGINT and SIGQUIT, which a shell ignores in what it starts in the background: a child leads a session of
/// its own, so no key press reaches it by accident.
fn reset_signals() {
    // SAFETY: async-signal-safe calls. `signal` fails for SIGKILL, SIGSTOP and signals that do not exist, which is ignored.
    unsafe {
        for signal in 1..=LAST_SIGNAL {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Raises the limit to the highest that this user may have. Best effort.
fn raise_file_size_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Fsize);
    if current != maximum {
        let _ = setrlimit(
            Resource::Fsize,
            Rlimit {
                current: maximum,
                maximum,
            },
        );
    }
}
