//! How the program ends: the exit codes, and which error means which.

use std::fmt;

/// The exit codes of `rdd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The command succeeded.
    Success,
    /// The command failed.
    Error,
    /// The command line is invalid.
    Usage,
    /// Admission refused the object.
    Rejected,
    /// A wait's deadline passed.
    Deadline,
    /// The daemon uses another version of the protocol.
    Incompatible,
    /// Ctrl-C. As in a shell, the code is 128 plus the number of SIGINT.
    Interrupted,
    /// The exit code of another program, such as ssh.
    Remote(u8),
}

impl Exit {
    /// The exit status of the process.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Error => 1,
            Self::Usage => 2,
            Self::Rejected => 3,
            Self::Deadline => 4,
            Self::Incompatible => 5,
            Self::Interrupted => 130,
            Self::Remote(code) => code,
        }
    }

    /// The exit code of an error: that of the first [`Failure`] in its chain.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        error
            .chain()
            .find_map(|cause| cause.downcast_ref::<Failure>())
            .map_or(Self::Error, |failure| failure.exit)
    }
}

/// The error with its causes, each of them once: many messages of the libraries already end with their cause, so that
/// they are complete in a condition.
pub(crate) fn message(error: &anyhow::Error) -> String {
    let mut message = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !message.ends_with(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

/// An error with an exit code of its own.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    /// A wait that reached its deadline. The words are those of the Go daemon, because scripts look for them.
    pub(crate) fn deadline(waiting_for: impl fmt::Display) -> Self {
        Self {
            exit: Exit::Deadline,
            message: format!("{waiting_for}: context deadline exceeded"),
        }
    }

    /// A daemon that this program cannot talk to.
    pub(crate) fn incompatible(message: impl fmt::Display) -> Self {
        Self {
            exit: Exit::Incompatible,
            message: message.to_string(),
        }
    }

    /// Work that the user interrupted.
    pub(crate) fn interrupted(message: impl fmt::Display) -> Self {
        Self {
            exit: Exit::Interrupted,
            message: message.to_string(),
        }
    }

    /// A refusal by admission.
    pub(crate) fn rejected(message: impl fmt::Display) -> Self {
        Self {
            exit: Exit::Rejected,
            message: message.to_string(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_keeps_its_exit_code_under_more_context() {
        let error = anyhow::Error::new(Failure::deadline("waiting")).context("deleting");
        assert_eq!(Exit::of(&error), Exit::Deadline);
        assert!(format!("{error:#}").contains("context deadline exceeded"));
        assert_eq!(Exit::of(&anyhow::anyhow!("other")), Exit::Error);
    }

    #[test]
    fn cause_is_in_the_message_once() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let library =
            process::file::create_private_dir(&folder.path().join("file/folder")).unwrap_err();
        let said = library.to_string();
        let error = anyhow::Error::new(library).context("cannot build");
        assert_eq!(message(&error), format!("cannot build: {said}"));
        let plain = std::io::Error::other("full");
        let error = anyhow::Error::new(plain).context("cannot write");
        assert_eq!(message(&error), "cannot write: full");
    }
}
