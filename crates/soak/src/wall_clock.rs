//! The movable wall clock of the daemon, its hostagents and the user's commands. QEMU's clock does not move, because the
//! driver does not pass the necessary variables on.
//!
//! libfaketime is no alternative: its processes share a semaphore, and a process that is killed or frozen while it holds
//! the semaphore blocks all others.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use process::command::Run;
use testutils::Instance;

/// The library to preload.
const SOURCE: &str = include_str!("wall_clock.c");
/// The variable that names the file with the offset.
const VARIABLE: &str = "SOAK_WALL_CLOCK";
/// The timeout of the compiler, which needs less than a second even on a busy machine.
const COMPILER: Duration = Duration::from_secs(60);
const MINUTE: i64 = 60;
const DAY: i64 = 24 * 60 * MINUTE;

/// The offsets of the clock. Beyond the lifetime of certificates (five years) the daemon would have to be restarted.
pub(crate) const JUMPS: [Jump; 8] = [
    Jump::Right,
    Jump::By("5 minutes behind", -5 * MINUTE),
    Jump::By("3 hours ahead", 180 * MINUTE),
    Jump::By("3 days behind", -3 * DAY),
    Jump::By("40 days ahead", 40 * DAY),
    AHEAD,
    Jump::By("3 years behind", -3 * 365 * DAY),
    Jump::To1970,
];

/// The largest offset.
pub(crate) const AHEAD: Jump = Jump::By("3 years ahead", 3 * 365 * DAY);

/// The clock's offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Jump {
    Right,
    By(&'static str, i64),
    /// As on a computer whose battery is empty.
    To1970,
}

#[derive(Debug)]
pub(crate) struct WallClock {
    file: File,
}

impl WallClock {
    /// Makes the clock of `instance` movable; it is right at first.
    ///
    /// # Errors
    /// The reason why it is not possible.
    pub(crate) fn new(instance: &mut Instance) -> Result<WallClock, String> {
        let folder = instance.scratch();
        let (library, path) = (folder.join("wall_clock.so"), folder.join("wall_clock"));
        Run::new("cc", COMPILER)
            .args(["-shared", "-fPIC", "-O2", "-x", "c", "-", "-o"])
            .arg(&library)
            .input(SOURCE)
            .run()
            .map_err(|error| error.to_string())?;
        let io = |error| format!("cannot write {}: {error}", path.display());
        let clock = WallClock {
            file: File::create(&path).map_err(io)?,
        };
        clock.move_by(3 * DAY).map_err(io)?;
        instance.env("LD_PRELOAD", &library).env(VARIABLE, &path);
        let moved =
            i64::try_from(seconds_of(instance)?).unwrap_or(0) - i64::try_from(now()).unwrap_or(0);
        clock.move_by(0).map_err(io)?;
        if (moved - 3 * DAY).abs() > MINUTE {
            return Err(format!("it was moved by {moved} s instead of three days"));
        }
        Ok(clock)
    }

    /// Moves the clock and returns a description.
    pub(crate) fn jump(&self, jump: Jump) -> Option<String> {
        let (text, seconds) = match jump {
            Jump::Right => ("right", 0),
            Jump::By(text, seconds) => (text, seconds),
            Jump::To1970 => ("in 1970", DAY - i64::try_from(now()).ok()?),
        };
        self.move_by(seconds).ok()?;
        Some(format!("the wall clock jumps and is {text}"))
    }

    fn move_by(&self, seconds: i64) -> std::io::Result<()> {
        // One write of eight bytes, which is atomic for readers.
        self.file.write_all_at(&seconds.to_ne_bytes(), 0)
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// The time that a program of this instance sees.
fn seconds_of(instance: &Instance) -> Result<u64, String> {
    let output = instance
        .run("date", COMPILER)
        .arg("+%s")
        .run()
        .map_err(|error| error.to_string())?;
    let text = output.text();
    text.parse().map_err(|_| format!("`date` printed {text:?}"))
}

/// The date that a program of this instance sees, as `1970-01-02`.
pub(crate) fn today(instance: &Instance) -> Result<String, String> {
    let output = instance.run("date", COMPILER).args(["-u", "+%F"]).run();
    output
        .map(|output| output.text())
        .map_err(|error| error.to_string())
}
