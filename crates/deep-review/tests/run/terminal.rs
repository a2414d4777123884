//! The output on a real terminal (tmux), and through a pipe.

use std::process::Command;

use testutils::poll;

use crate::repository::{LONG, REVIEW, Repository, entry};

/// A terminal that ends with the test.
struct Terminal {
    socket: String,
}

impl Terminal {
    /// `None` when tmux is not installed.
    fn start(repository: &Repository, columns: u32, rows: u32, command: &str) -> Option<Self> {
        testutils::program_or_skip(testutils::Need::Tmux, "tmux")?;
        let socket = repository.outside("tmux").to_str().unwrap().to_owned();
        let status = Command::new("tmux")
            .args(["-S", &socket, "-f", "/dev/null", "new-session", "-d"])
            .args(["-x", &columns.to_string(), "-y", &rows.to_string()])
            // The pane keeps its content when the command has exited.
            .args([";", "set", "-g", "remain-on-exit", "on", ";"])
            .args(["respawn-pane", "-k", command])
            .current_dir(repository.top())
            .status();
        assert!(status.unwrap().success());
        Some(Terminal { socket })
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux")
            .args(["-S", &self.socket])
            .args(args)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn shows(&self, text: &str) -> String {
        poll(LONG, text, || {
            let screen = self.tmux(&["capture-pane", "-p"]);
            // The terminal breaks a line that is too long for it.
            match screen.replace('\n', "").contains(text) {
                true => Ok(screen),
                false => Err(screen),
            }
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

#[test]
fn each_reviewer_keeps_one_row_and_ctrl_c_leaves_no_garbage() {
    let repository = Repository::new();
    let good = repository.printer("good", REVIEW);
    let busy = repository.script(
        "busy",
        "cat >/dev/null; for n in 1 2 3; do printf '{\"type\":\"assistant\",\"message\":{\"content\":[{\"type\":\"tool_use\",\"name\":\"Read\",\"input\":{\"file_path\":\"a/path/that/is/longer/than/the/terminal/is/wide/%s.rs\"}}]}}\\n' $n; sleep 0.3; done; exec sleep 1000",
    );
    repository.configure(
        &[
            entry("quick", "command", &[&good], ""),
            entry("busy with a long name that is cut", "claude", &[&busy], ""),
            entry("absent", "command", &["no-such-program-anywhere"], ""),
        ]
        .concat(),
    );
    let run = repository.command(&["run"]);
    let mut line = format!("'{}'", run.get_program().to_str().unwrap());
    for arg in run.get_args() {
        line.push_str(&format!(" '{}'", arg.to_str().unwrap()));
    }
    let Some(terminal) = Terminal::start(&repository, 50, 24, &line) else {
        return;
    };
    terminal.shows("Read a/path");
    terminal.shows("quick            finished   0:0");
    // The terminal is made narrower during the run: it breaks the rows, which are redrawn in place.
    terminal.tmux(&["resize-window", "-x", "40", "-y", "24"]);
    terminal.shows("busy with a … working");
    terminal.tmux(&["send-keys", "C-c"]);
    terminal.shows("goes on from here");
    // Includes the lines above the screen: the terminal keeps pieces of the rows that it broke itself.
    let screen = terminal.tmux(&["capture-pane", "-p", "-S", "-"]);
    for (name, state) in [
        ("quick        ", "finished"),
        ("busy with a …", "stopped"),
        ("absent       ", "missing"),
    ] {
        let lines: Vec<&str> = screen
            .lines()
            .filter(|line| line.starts_with(&format!("{name} {state}")))
            .collect();
        assert_eq!(lines.len(), 1, "{name} in:\n{screen}");
        assert!(lines[0].chars().count() < 40, "{screen}");
    }
    assert!(!screen.contains("busy with a … working"), "{screen}");
    drop(terminal);
    poll(LONG, "tmux to end", || match repository.left_over() {
        found if found.is_empty() => Ok(()),
        found => Err(format!("{found:?}")),
    });
}

#[test]
fn pipe_gets_a_line_for_each_change_without_control_characters() {
    let repository = Repository::new();
    let good = repository.printer("good", REVIEW);
    repository.configure(&entry("quick", "command", &[&good], ""));
    let output = repository.run(&[]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        !errors.contains('\x1b') && !errors.contains('\r'),
        "{errors}"
    );
    assert!(errors.contains("quick: finished 1 finding\n"), "{errors}");
}
