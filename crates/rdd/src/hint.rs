//! The command to use instead of a command of the Go daemon, Lima or kubectl that rdd does not have.

/// The hint for a word that is no command; `None` when there is no better one than clap's.
pub(crate) fn of(command: &str) -> Option<&'static str> {
    match command {
        "ctl" | "kubectl" => Some(
            "`rdd ctl` comes later. Until then your own kubectl does it:\n\n    \
             rdd svc start && export KUBECONFIG=$(rdd svc paths config)\n    kubectl get limavms",
        ),
        "set" | "run" => Some(
            "The application level (`rdd set`, `rdd start`, `rdd run`, …) comes later; `rdd svc --help` has the \
             control plane, `rdd limavm --help` the VMs.",
        ),
        "start" | "stop" | "restart" | "delete" | "reset" | "status" | "logs" => Some(
            "`rdd svc --help` has the commands for the control plane, `rdd limavm --help` those for a VM.",
        ),
        "create" | "list" | "ls" | "shell" | "edit" | "describe" => {
            Some("`rdd limavm --help` has the commands for VMs.")
        }
        "config" | "paths" | "serve" => {
            Some("`rdd svc --help` has the commands for the control plane.")
        }
        _ => None,
    }
}
