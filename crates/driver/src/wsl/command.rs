//! The commands of `wsl.exe`, each bounded.

use std::ffi::OsStr;
use std::process::ExitStatus;
use std::time::Duration;

use process::command::{CommandError, Run};
use process::spawn::SpawnError;

use super::distro::{Distro, Wsl};
use super::error::WslError;
use super::text::{UTF8, decode, lines};

/// Printed in every language if there is no distribution at all, which is not a failure.
const NONE_REGISTERED: &str = "WSL_E_DEFAULT_DISTRO_NOT_FOUND";
/// The start of each error code of WSL, in every language. The sentence that WSL prints for an empty list has none.
const ERROR_CODE: &str = "Wsl/";

/// What a command printed and how it ended.
struct Answer {
    command: String,
    status: ExitStatus,
    text: String,
}

impl Answer {
    fn failed(self) -> WslError {
        WslError::Failed {
            command: self.command,
            status: self.status.to_string(),
            output: lines(&self.text).join(" "),
        }
    }

    fn succeeded(self) -> Result<(), WslError> {
        if self.status.success() {
            Ok(())
        } else {
            Err(self.failed())
        }
    }
}

impl Wsl {
    /// Returns the names of all distributions of the user.
    pub(super) async fn registered(&self) -> Result<Vec<String>, WslError> {
        self.list(&["--list", "--quiet"]).await
    }

    /// Returns the names of the running distributions.
    pub(super) async fn running(&self) -> Result<Vec<String>, WslError> {
        self.list(&["--list", "--running", "--quiet"]).await
    }

    /// Reads a list. `--verbose` is not used, because its states are words in the user's language. For an empty list WSL
    /// prints a sentence in that language and exits with a failure, so a real failure is recognized by its error code.
    async fn list(&self, args: &[&str]) -> Result<Vec<String>, WslError> {
        let answer = self.command(args, self.limits.list).await?;
        let failed = !answer.status.success()
            && answer.text.contains(ERROR_CODE)
            && !answer.text.contains(NONE_REGISTERED);
        if failed {
            Err(answer.failed())
        } else {
            Ok(lines(&answer.text))
        }
    }

    pub(super) async fn import(&self, distro: &Distro) -> Result<(), WslError> {
        let args = [
            OsStr::new("--import"),
            OsStr::new(&distro.name),
            distro.folder.as_os_str(),
            distro.image.as_os_str(),
            OsStr::new("--version"),
            OsStr::new("2"),
        ];
        let answer = self.command(&args, self.limits.import).await;
        answer.map_err(slow)?.succeeded()
    }

    /// Boots the distribution by running a command in it that does nothing.
    pub(super) async fn boot(&self, distro: &Distro) -> Result<(), WslError> {
        let args = exec(distro, &["true"]);
        self.command(&args, self.limits.boot)
            .await
            .map_err(slow)?
            .succeeded()
    }

    pub(super) async fn end(&self, distro: &Distro) -> Result<(), WslError> {
        let args = ["--terminate", &distro.name];
        self.command(&args, self.limits.terminate)
            .await?
            .succeeded()
    }

    /// Unregisters a distribution that does not run.
    pub(super) async fn forget(&self, distro: &Distro) -> Result<(), WslError> {
        let args = ["--unregister", &distro.name];
        self.command(&args, self.limits.unregister)
            .await?
            .succeeded()
    }

    async fn command(
        &self,
        args: &[impl AsRef<OsStr>],
        limit: Duration,
    ) -> Result<Answer, WslError> {
        let mut command = "wsl".to_owned();
        for arg in args {
            command.push(' ');
            command.push_str(&arg.as_ref().to_string_lossy());
        }
        let run = Run::new(&self.program, limit)
            .args(args)
            .env(UTF8.0, UTF8.1);
        match run.run_any_async().await {
            Ok(output) => Ok(Answer {
                command,
                status: output.status,
                // Errors are on stdout or on stderr, depending on the version.
                text: format!("{}\n{}", decode(&output.stdout), decode(&output.stderr)),
            }),
            Err(CommandError::TimedOut { .. }) => Err(WslError::ServiceHangs { command, limit }),
            Err(CommandError::Spawn(error @ SpawnError::NotFound { .. })) => {
                Err(WslError::NotInstalled {
                    reason: error.to_string(),
                })
            }
            Err(error) => Err(WslError::Run {
                reason: error.to_string(),
            }),
        }
    }
}

/// A timeout of a command that takes long does not prove that the service hangs.
fn slow(error: WslError) -> WslError {
    match error {
        WslError::ServiceHangs { command, limit } => WslError::TimedOut { command, limit },
        other => other,
    }
}

/// Returns the arguments that run `command` in the distribution, as root and without a shell.
pub(super) fn exec<'a>(distro: &'a Distro, command: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["--distribution", &distro.name, "--user", "root", "--exec"];
    args.extend(command);
    args
}
