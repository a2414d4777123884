//! The commands of `wsl.exe`, each bounded.

use std::ffi::OsStr;
use std::process::ExitStatus;
use std::time::Duration;

use process::command::{CommandError, Run};

use super::error::WslError;
use super::text::{UTF8, decode, lines};
use super::{Distro, Wsl};

/// Said in every language when there is no distribution at all, which is an answer and no failure.
const NONE_REGISTERED: &str = "WSL_E_DEFAULT_DISTRO_NOT_FOUND";
/// How each error code of WSL begins, in every language; a sentence for people that stands for an empty list has none.
const ERROR_CODE: &str = "Wsl/";

/// What a command said and how it ended.
struct Said {
    command: String,
    status: ExitStatus,
    text: String,
}

impl Said {
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
    /// The names of all distributions of the user.
    pub(super) async fn registered(&self) -> Result<Vec<String>, WslError> {
        self.list(&["--list", "--quiet"]).await
    }

    /// The names of those that run.
    pub(super) async fn running(&self) -> Result<Vec<String>, WslError> {
        self.list(&["--list", "--running", "--quiet"]).await
    }

    /// Not `--verbose`, whose states are words in the user's language. An empty list is a sentence in that language and
    /// an exit status other than zero, so only an error code tells a failure from it.
    async fn list(&self, args: &[&str]) -> Result<Vec<String>, WslError> {
        let said = self.say(args, self.limits.list).await?;
        let failed = !said.status.success()
            && said.text.contains(ERROR_CODE)
            && !said.text.contains(NONE_REGISTERED);
        if failed {
            Err(said.failed())
        } else {
            Ok(lines(&said.text))
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
        let said = self.say(&args, self.limits.import).await;
        said.map_err(slow)?.succeeded()
    }

    /// Runs a command that does nothing, which boots the distribution.
    pub(super) async fn boot(&self, distro: &Distro) -> Result<(), WslError> {
        let args = exec(distro, &["true"]);
        self.say(&args, self.limits.boot)
            .await
            .map_err(slow)?
            .succeeded()
    }

    pub(super) async fn end(&self, distro: &Distro) -> Result<(), WslError> {
        let args = ["--terminate", &distro.name];
        self.say(&args, self.limits.terminate).await?.succeeded()
    }

    /// Only for a distribution that does not run.
    pub(super) async fn forget(&self, distro: &Distro) -> Result<(), WslError> {
        let args = ["--unregister", &distro.name];
        self.say(&args, self.limits.unregister).await?.succeeded()
    }

    async fn say(&self, args: &[impl AsRef<OsStr>], limit: Duration) -> Result<Said, WslError> {
        let mut command = "wsl".to_owned();
        for arg in args {
            command.push(' ');
            command.push_str(&arg.as_ref().to_string_lossy());
        }
        let run = Run::new(&self.program, limit)
            .args(args)
            .env(UTF8.0, UTF8.1);
        match run.run_any_async().await {
            Ok(output) => Ok(Said {
                command,
                status: output.status,
                // Errors are on either of the two, by version.
                text: format!("{}\n{}", decode(&output.stdout), decode(&output.stderr)),
            }),
            Err(CommandError::TimedOut { .. }) => Err(WslError::ServiceHangs { command, limit }),
            Err(error) => Err(WslError::Run {
                reason: error.to_string(),
            }),
        }
    }
}

/// What takes long may do so for other reasons than a service that hangs.
fn slow(error: WslError) -> WslError {
    match error {
        WslError::ServiceHangs { command, limit } => WslError::TimedOut { command, limit },
        other => other,
    }
}

/// Arguments that run `command` in the distribution, as root and without a shell.
pub(super) fn exec<'a>(distro: &'a Distro, command: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["--distribution", &distro.name, "--user", "root", "--exec"];
    args.extend(command);
    args
}
