//! The command line. What each command does is in `commands`, a file a command.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::duration::{Timeout, parse_duration, parse_timeout};
use crate::log_level::LogLevel;
use crate::logging::LogFormat;

/// How long `svc start` waits for the daemon by default.
const START_TIMEOUT: &str = "90s";
/// How long a command that boots or stops VMs waits by default.
const VM_TIMEOUT: &str = "5m";

/// Where the help of every command shows the flags that all have, apart from its own.
const LOGGING: &str = "Logging";

/// Keeps Linux VMs in the state that was declared.
#[derive(Debug, Parser)]
#[command(
    name = "rdd",
    disable_version_flag = true,
    arg_required_else_help = true,
    infer_subcommands = false,
    after_help = "`rdd --instance NAME COMMAND` (or RDD_INSTANCE) chooses the instance, 2 unless named; \
                  the flag belongs directly after `rdd`."
)]
pub(crate) struct Cli {
    /// Print the version and exit; `raw` for every detail of the build; any other TEXT is printed unchanged
    #[arg(long, value_name = "true|raw|TEXT", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) version: Option<String>,

    /// The least important level to log: fatal, error, warn, info, debug or trace (default: RDD_LOG_LEVEL, else warn)
    #[arg(long, global = true, value_name = "LEVEL", help_heading = LOGGING)]
    pub(crate) log_level: Option<LogLevel>,

    /// The form of the log lines
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        help_heading = LOGGING
    )]
    pub(crate) log_format: LogFormat,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Manage the control plane, the daemon of this instance
    #[command(subcommand, alias = "service")]
    Svc(Svc),

    /// Manage virtual machines
    #[command(subcommand, alias = "lima")]
    Limavm(LimaVm),

    /// Build and list guest images
    #[command(subcommand)]
    Image(Image),

    /// Print the version
    Version,

    /// Print a completion script for a shell
    ///
    /// For bash: `rdd completion bash > ~/.local/share/bash-completion/completions/rdd`; for fish: `rdd completion fish >
    /// ~/.config/fish/completions/rdd.fish`; for zsh, into a folder of `$fpath`: `rdd completion zsh > FOLDER/_rdd`.
    Completion {
        /// The shell to complete for
        shell: clap_complete::Shell,
    },

    /// The process of one VM; started by the daemon
    #[command(hide = true)]
    Hostagent(HostagentArgs),

    /// Print the reference of all commands as Markdown
    #[command(hide = true)]
    Docs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Svc {
    /// Create the control plane and save its settings
    Create(ServeSettings),

    /// Start the control plane, creating it when needed
    Start {
        #[command(flatten)]
        wait: StartWait,
        /// These apply to this session only
        #[command(flatten)]
        settings: ServeSettings,
    },

    /// Stop the control plane and its VMs, all of them at the same time
    Stop {
        /// Leave the VMs running; the next `svc start` adopts them
        #[arg(long, conflicts_with_all = ["grace_period", "force"])]
        keep_vms: bool,
        #[command(flatten)]
        grace: Grace,
        #[command(flatten)]
        wait: VmWait,
    },

    /// Replace the control plane with one of this version; its VMs keep running
    Restart {
        /// How long to wait; 0 waits without limit
        #[arg(long, value_name = "DURATION", default_value = START_TIMEOUT, value_parser = parse_timeout)]
        timeout: Timeout,
        /// These apply to this session only
        #[command(flatten)]
        settings: ServeSettings,
    },

    /// Show whether the control plane exists and runs
    Status,

    /// List damaged objects of the database, restore them from the last backup, or delete them
    Check {
        /// Restore the damaged row with this number from the last backup that has it
        #[arg(long, value_name = "ID")]
        restore: Vec<i64>,
        /// Delete the damaged row with this number
        #[arg(long, value_name = "ID")]
        delete: Vec<i64>,
        /// How long to wait for another command that uses the database; 0 waits without limit
        #[arg(long, value_name = "DURATION", default_value = START_TIMEOUT, value_parser = parse_timeout)]
        timeout: Timeout,
    },

    /// Stop the control plane and remove it with its VMs and its logs
    Delete {
        /// How long the control plane may take to stop; 0 waits without limit
        #[arg(long, value_name = "DURATION", default_value = VM_TIMEOUT, value_parser = parse_timeout)]
        timeout: Timeout,
    },

    /// Remove all objects and VMs and keep the settings; a running control plane is started again
    Reset {
        /// How long the control plane may take to stop; 0 waits without limit
        #[arg(long, value_name = "DURATION", default_value = VM_TIMEOUT, value_parser = parse_timeout)]
        timeout: Timeout,
    },

    /// Print the kubeconfig, starting the control plane when needed
    Config,

    /// Print where the instance keeps its files
    Paths {
        /// Print this path only
        key: Option<String>,
        /// The form of the output
        #[arg(short, long, value_enum, default_value_t)]
        output: PathsFormat,
    },

    /// Print the log of the control plane
    #[command(visible_alias = "log")]
    Logs(LogsArgs),

    /// Run the control plane in this process
    Serve {
        #[command(flatten)]
        settings: ServeSettings,
        /// Ignore the terminal, as a daemon does
        #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
              action = clap::ArgAction::Set, hide_possible_values = true, value_name = "BOOL")]
        background: bool,
    },
}

/// What `svc create` saves and `svc start` overrides.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ServeSettings {
    /// The controllers to run: `*` for all, an empty value for none, names or groups (rdd, lima, app), `-name` excludes
    #[arg(long, value_name = "LIST", hide = true, allow_hyphen_values = true)]
    pub(crate) controllers: Option<String>,
    /// The port of the API (default: 6443 + the instance's index, else 6443, else any free one)
    #[arg(long, value_name = "PORT", hide = true)]
    pub(crate) secure_port: Option<u16>,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct StartWait {
    /// Wait until the control plane is ready
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true",
          action = clap::ArgAction::Set, hide_possible_values = true, value_name = "BOOL")]
    pub(crate) wait: bool,
    /// How long to wait; 0 waits without limit
    #[arg(long, value_name = "DURATION", default_value = START_TIMEOUT, value_parser = parse_timeout)]
    pub(crate) timeout: Timeout,
}

/// How long a guest may take to shut down.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Grace {
    /// How long a guest may take to shut down before its machine is switched off; 0 switches it off at once (default: the VM's spec.stop.gracePeriod, else 30s)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    grace_period: Option<Duration>,
    /// Switch the machine off at once, as `--grace-period 0` does
    #[arg(long, conflicts_with = "grace_period")]
    force: bool,
}

impl Grace {
    /// The grace period that the flags name.
    pub(crate) fn chosen(self) -> Option<Duration> {
        if self.force {
            Some(Duration::ZERO)
        } else {
            self.grace_period
        }
    }
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct VmWait {
    /// Wait until the command has taken effect
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true",
          action = clap::ArgAction::Set, hide_possible_values = true, value_name = "BOOL")]
    pub(crate) wait: bool,
    /// How long to wait; 0 waits without limit
    #[arg(long, value_name = "DURATION", default_value = VM_TIMEOUT, value_parser = parse_timeout)]
    pub(crate) timeout: Timeout,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct LogsArgs {
    /// Print standard output instead of standard error
    #[arg(short = 'o', long)]
    pub(crate) stdout: bool,
    /// Keep printing lines as they are added
    #[arg(short, long)]
    pub(crate) follow: bool,
}

/// The forms of `rdd svc paths`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PathsFormat {
    /// One line for each path
    #[default]
    Table,
    /// One JSON object
    Json,
    /// `export` statements
    Shell,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LimaVm {
    /// Create a VM from a template
    #[command(after_help = "Examples:\n  \
        rdd limavm create web template://debian-12 --start\n  \
        rdd limavm create web ./lima.yaml --dry-run\n  \
        sed 's/cpus: 2/cpus: 4/' lima.yaml | rdd limavm create web -")]
    Create {
        /// The name of the VM, unique in the instance
        name: String,
        /// A ConfigMap's name, or a file or URL (anything with `/` or `:`; `template://debian-12` is built in), or `-` for standard input
        template: String,
        /// The namespace of the VM
        #[arg(short, long, default_value = "default")]
        namespace: String,
        /// Start the VM
        #[arg(long)]
        start: bool,
        #[command(flatten)]
        wait: VmWait,
        /// Check everything without creating anything
        #[arg(long)]
        dry_run: bool,
        /// Refuse a template with fields that Lima does not have, instead of warning about them
        #[arg(long)]
        strict: bool,
        /// Let a template from a URL name files of this machine as image, kernel or script; check the template first
        #[arg(long)]
        allow_local_files: bool,
    },

    /// Start a VM
    Start {
        /// The name of the VM
        name: String,
        #[command(flatten)]
        wait: VmWait,
    },

    /// Stop a VM
    Stop {
        /// The name of the VM
        name: String,
        #[command(flatten)]
        grace: Grace,
        #[command(flatten)]
        wait: VmWait,
    },

    /// Stop a VM and start it again
    Restart {
        /// The name of the VM
        name: String,
        #[command(flatten)]
        grace: Grace,
        #[command(flatten)]
        wait: VmWait,
    },

    /// Delete a VM with its disk
    Delete {
        /// The name of the VM
        name: String,
        #[command(flatten)]
        grace: Grace,
        #[command(flatten)]
        wait: VmWait,
    },

    /// Take over a VM folder that belongs to no VM, as after the loss of the database
    Adopt {
        /// The name of the folder and of the new VM
        name: String,
    },

    /// List the VMs
    #[command(visible_alias = "ls")]
    List,

    /// Show the state, phases and events of a VM
    Describe {
        /// The name of the VM
        name: String,
    },

    /// Run a shell or a command in a VM
    #[command(after_help = "Examples:\n  \
        rdd limavm shell web\n  \
        rdd limavm shell web uname -a\n  \
        rdd limavm shell web sh -c 'ls /var/log | wc -l'\n  \
        tar c . | rdd limavm shell --workdir /tmp web tar x")]
    Shell {
        /// The working directory in the VM
        #[arg(long, value_name = "DIR")]
        workdir: Option<OsString>,
        /// The name of the VM
        name: String,
        /// The command and its arguments; a login shell if there is none
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },

    /// Print the log of a VM's hostagent
    #[command(visible_alias = "log")]
    Logs {
        /// The name of the VM
        name: String,
        #[command(flatten)]
        logs: LogsArgs,
    },

    /// Edit the template of a VM with $VISUAL or $EDITOR
    Edit {
        /// The name of the VM
        name: String,
    },
}

/// The arguments of a hostagent.
#[derive(Debug, Args)]
pub(crate) struct HostagentArgs {
    /// The folder of the VM
    #[arg(long, value_name = "FOLDER")]
    pub(crate) dir: PathBuf,
    /// The folder of the cache that all VMs share
    #[arg(long, value_name = "FOLDER")]
    pub(crate) cache_dir: Option<PathBuf>,
}

impl LimaVm {
    /// How the command waits; nothing for commands that never wait.
    pub(crate) fn wait(&self) -> Option<VmWait> {
        match self {
            Self::Create { wait, .. }
            | Self::Start { wait, .. }
            | Self::Stop { wait, .. }
            | Self::Restart { wait, .. }
            | Self::Delete { wait, .. } => Some(*wait),
            Self::List
            | Self::Adopt { .. }
            | Self::Describe { .. }
            | Self::Shell { .. }
            | Self::Logs { .. }
            | Self::Edit { .. } => None,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Image {
    /// Build a guest image from a distribution's packages
    Build {
        /// The image to build: debian-12
        name: String,
        /// The package mirror (default: the mirror that this host uses)
        #[arg(long, value_name = "URL")]
        mirror: Option<String>,
        /// Build it even when it is in the cache
        #[arg(long)]
        force: bool,
    },

    /// List the images in the cache
    #[command(visible_alias = "ls")]
    List,

    /// Remove an image from the cache
    #[command(visible_alias = "rm")]
    Remove {
        /// The image to remove
        name: String,
    },
}

/// The flags that only developer mode shows; they work in every mode.
const DEVELOPER_FLAGS: [&str; 2] = ["controllers", "secure_port"];

/// The definition of the command line; in developer mode with the flags that are hidden otherwise.
pub(crate) fn command(developer_mode: bool) -> clap::Command {
    let command = <Cli as clap::CommandFactory>::command();
    if developer_mode {
        with_developer_flags(command)
    } else {
        command
    }
}

fn with_developer_flags(mut command: clap::Command) -> clap::Command {
    for flag in DEVELOPER_FLAGS {
        if command
            .get_arguments()
            .any(|argument| argument.get_id() == flag)
        {
            command = command.mut_arg(flag, |argument| argument.hide(false));
        }
    }
    let children: Vec<String> = command
        .get_subcommands()
        .map(|child| child.get_name().to_owned())
        .collect();
    children.iter().fold(command, |command, child| {
        command.mut_subcommand(child, with_developer_flags)
    })
}
