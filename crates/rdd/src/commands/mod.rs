//! The commands, one file for each.

mod hostagent;
mod image;
mod image_build;
mod limavm;
mod svc;

use crate::cli::Command;
use crate::context::Context;
use crate::exit::Exit;
use crate::{completion, docs, output, version};

/// Runs a command.
pub(crate) fn run(command: Command, context: &Context) -> anyhow::Result<Exit> {
    match command {
        Command::Svc(command) => svc::run(command, context),
        Command::Limavm(command) => limavm::run(command, context),
        Command::Image(command) => image::run(command, context),
        Command::Hostagent(arguments) => hostagent::run(context, &arguments),
        Command::Version => {
            output::print(&format!("{}\n", version::short())).map(|()| Exit::Success)
        }
        Command::Completion { shell } => {
            output::print(&completion::script(shell)).map(|()| Exit::Success)
        }
        Command::Docs => output::print(&docs::reference()).map(|()| Exit::Success),
    }
}
