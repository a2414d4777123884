//! Why a run ended that was not asked to: the hostagent's last event, else the last lines of the logs.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use driver::{Host, tail};
use hostagent::status::{Ended, Event, Phase, Stage};
use lima::layout::InstanceDir;

use super::plan::Machine;

/// The part of a log that is read, from its end, in bytes.
const TAIL: u64 = 16 << 10;
/// The number of last lines that are shown if none of them is an error.
const LINES: usize = 3;

/// What is known of the end of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ending {
    /// The guest powered itself off, which is no failure.
    pub(crate) powered_off: bool,
    /// The cause, for people.
    pub(crate) cause: String,
}

/// Reads the logs of the last hostagent. They are small and local, so no thread is needed.
pub(crate) fn read(dir: &InstanceDir, machine: Machine) -> Ending {
    let events = Events::read(dir);
    if let Some(event) = events
        .last
        .filter(|event| matches!(event.phase, Some(Phase::Exiting | Phase::Stopping)))
    {
        if !event.status.errors.is_empty() {
            return Ending {
                powered_off: false,
                cause: event.status.errors.join("; "),
            };
        }
        if let Some(reason) = event.reason {
            return Ending {
                powered_off: match event.ended {
                    Some(ended) => ended == Ended::GuestPoweredOff,
                    // A hostagent of an earlier version.
                    None => event.phase == Some(Phase::Exiting),
                },
                cause: reason,
            };
        }
    }
    let mut cause = last_error(&last_bytes(&dir.ha_stderr_log()));
    if events.had_machine && machine == Machine::Absent {
        // Both ended, and the hostagent could not report what it knew of the machine.
        let driver = driver::for_instance(dir, &Host::default());
        for log in driver.files(dir).logs {
            let lines = tail::of_file(&log.path);
            if !lines.is_empty() {
                cause.push_str(&format!("\nlast lines of {}:\n{lines}", log.writer));
            }
        }
    }
    Ending {
        powered_off: false,
        cause,
    }
}

/// The stages that the last hostagent measured.
pub(crate) fn stages(dir: &InstanceDir) -> Vec<Stage> {
    Events::read(dir)
        .last
        .map(|event| event.stages)
        .unwrap_or_default()
}

/// The end of `ha.stdout.log`, which each hostagent starts anew.
struct Events {
    last: Option<Event>,
    /// A machine ran, so the machine's logs are of this run and not of an earlier one.
    had_machine: bool,
}

impl Events {
    fn read(dir: &InstanceDir) -> Events {
        let text = last_bytes(&dir.ha_stdout_log());
        let events = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Event>(line).ok());
        let mut all = Events {
            last: None,
            had_machine: false,
        };
        for event in events {
            all.had_machine |= matches!(
                event.phase,
                Some(Phase::Booting | Phase::Running | Phase::Degraded)
            );
            all.last = Some(event);
        }
        all
    }
}

fn last_bytes(path: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

/// The last error of a log, or its last lines.
fn last_error(log: &str) -> String {
    let lines: Vec<&str> = log
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    if let Some(error) = lines.iter().rev().find_map(|line| error_of(line)) {
        return error;
    }
    // Earlier lines are shown but are not the cause, because a process that is killed logs nothing.
    let cause = "the hostagent ended without an error message";
    if lines.is_empty() {
        return format!("{cause}; see its log with: rdd limavm logs");
    }
    let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
    format!("{cause}; the last lines of its log:\n{last}")
}

/// The message of a line that is an error, in either log format or as printed by `main` (`Error: …`).
fn error_of(line: &str) -> Option<String> {
    if let Ok(json) = serde_json::from_str::<serde_json::Value>(line) {
        let level = json["level"].as_str()?.to_ascii_lowercase();
        let message = json["msg"]
            .as_str()
            .or(json["message"].as_str())
            .or(json["fields"]["message"].as_str())?;
        return (level == "error" || level == "fatal").then(|| message.to_owned());
    }
    if let Some(message) = line
        .strip_prefix("Error: ")
        .or_else(|| line.strip_prefix("error: "))
    {
        return Some(message.to_owned());
    }
    if !line.contains("level=error") && !line.contains("level=fatal") {
        return None;
    }
    let message = line.split_once("msg=")?.1;
    let Some(quoted) = message.strip_prefix('"') else {
        return Some(message.split(' ').next().unwrap_or(message).to_owned());
    };
    let mut text = String::new();
    let mut escaped = false;
    for letter in quoted.chars() {
        match (escaped, letter) {
            (true, 'n') => text.push('\n'),
            (true, other) => text.push(other),
            (false, '\\') => {}
            (false, '"') => break,
            (false, other) => text.push(other),
        }
        escaped = !escaped && letter == '\\';
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_error_of_a_log_is_found_in_every_format() {
        let cases = [
            (
                "time=1 level=info msg=\"a\"\ntime=2 level=error msg=\"no \\\"qemu\\\": install it\" x=1\nbye",
                "no \"qemu\": install it",
            ),
            ("{\"level\":\"ERROR\",\"msg\":\"boom\"}\n", "boom"),
            ("starting\nError: cannot lock\n", "cannot lock"),
            ("level=error msg=short rest", "short"),
            (
                "one\ntwo\nthree\nfour\n",
                "the hostagent ended without an error message; the last lines of its log:\ntwo\nthree\nfour",
            ),
        ];
        for (log, expected) in cases {
            assert_eq!(last_error(log), expected, "{log}");
        }
        assert!(last_error("\n").contains("rdd limavm logs"));
    }

    #[test]
    fn guest_that_powered_itself_off_is_no_failure() {
        let folder = tempfile::tempdir().unwrap();
        let dir = InstanceDir::at(folder.path(), "vm");
        let write = |text: &str| std::fs::write(dir.ha_stdout_log(), text).unwrap();
        write(
            "{\"time\":\"t\",\"status\":{\"running\":true},\"phase\":\"running\"}\n\
               {\"time\":\"t\",\"status\":{\"exiting\":true},\"phase\":\"exiting\",\"reason\":\"the guest powered itself off\"}\n",
        );
        let ending = read(&dir, Machine::Absent);
        assert!(
            ending.powered_off && ending.cause.contains("powered itself off"),
            "{ending:?}"
        );
        write(
            "{\"time\":\"t\",\"status\":{\"exiting\":true,\"errors\":[\"QEMU crashed\"]},\"phase\":\"exiting\",\"reason\":\"x\"}\n",
        );
        assert_eq!(
            read(&dir, Machine::Absent),
            Ending {
                powered_off: false,
                cause: "QEMU crashed".into()
            }
        );
    }

    #[test]
    fn h19_unreported_end_is_explained_by_the_last_lines_of_machine_and_guest() {
        let folder = tempfile::tempdir().unwrap();
        let dir = InstanceDir::at(folder.path(), "vm");
        let write = |path: std::path::PathBuf, text: &str| std::fs::write(path, text).unwrap();
        write(dir.ha_stderr_log(), "Error: killed");
        write(
            driver::qemu::QemuFiles::of(&dir).stderr_log,
            "qemu: disk is gone",
        );
        write(dir.serial_log(), "\u{1b}[31mKernel panic\u{1b}[0m\r\n");
        // No machine has run since these were written, so they are of another run.
        assert_eq!(read(&dir, Machine::Absent).cause, "killed");
        write(
            dir.ha_stdout_log(),
            "{\"time\":\"t\",\"status\":{},\"phase\":\"booting\"}\n",
        );
        assert_eq!(
            read(&dir, Machine::Absent).cause,
            "killed\nlast lines of QEMU:\nqemu: disk is gone\nlast lines of the guest's console:\nKernel panic"
        );
        // The machine runs on, so its last lines are no explanation.
        assert_eq!(read(&dir, Machine::Alive).cause, "killed");
    }
}
