//! What a template must hold. Works on a template before and after its defaults are filled in: what is not said is
//! not checked.

use std::fmt::Display;
use std::path::Path;

use super::parse::tell;
use super::{Arch, ByteSize, Os, ProvisionMode, Template};
use crate::image::{Digest, Source};

/// A template that says what cannot be. Names every problem at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to validate template: {}", tell(.0))]
pub struct ValidateError(pub Vec<super::FieldError>);

/// More is a slip of the finger and not a machine (QEMU's q35 stops at 4096, `pc` at 255).
const MAX_CPUS: u32 = 1024;
/// Below this no Linux boots.
const MIN_MEMORY: ByteSize = ByteSize::mib(64);
/// qcow2 with its default cluster size ends here.
const MAX_DISK: ByteSize = ByteSize(64 << 40);
/// QEMU's own limit is far above any host.
const MAX_MEMORY: ByteSize = ByteSize(64 << 40);
/// An ISO is built in memory; a script is text that somebody wrote.
const MAX_SCRIPT: usize = 512 << 10;

/// Collects problems.
pub(super) struct Check {
    problems: Vec<super::FieldError>,
}

impl Check {
    pub(super) fn new() -> Self {
        Self {
            problems: Vec::new(),
        }
    }

    pub(super) fn fail(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.problems.push(super::FieldError {
            field: field.into(),
            line: 0,
            message: message.into(),
        });
    }

    fn that(&mut self, ok: bool, field: impl Into<String>, message: impl Into<String>) {
        if !ok {
            self.fail(field, message);
        }
    }

    pub(super) fn done(self) -> Result<(), ValidateError> {
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(ValidateError(self.problems))
        }
    }
}

impl Template {
    /// Checks all fields that rdd acts on, and those that decide what boots.
    ///
    /// # Errors
    /// [`ValidateError`] names each field and what it must be.
    pub fn validate(&self) -> Result<(), ValidateError> {
        let mut check = Check::new();
        check.that(self.base.is_empty(), "base", BASE);
        if let Some(os) = self.os {
            check.that(
                os == Os::Linux,
                "os",
                format!("must be \"Linux\"; got \"{os}\""),
            );
        }
        self.images(&mut check);
        self.sizes(&mut check);
        self.scripts(&mut check);
        self.user(&mut check);
        self.variables(&mut check);
        self.mounts(&mut check);
        self.forwards(&mut check);
        self.rest(&mut check);
        check.done()
    }

    fn images(&self, check: &mut Check) {
        check.that(
            !self.images.is_empty(),
            "images",
            "must hold at least one image",
        );
        for (i, image) in self.images.iter().enumerate() {
            let at = format!("images[{i}]");
            file(check, &at, &image.location, image.digest.as_deref());
            let arch = image.arch.or(self.arch);
            if let Some(kernel) = &image.kernel {
                file(
                    check,
                    &format!("{at}.kernel"),
                    &kernel.location,
                    kernel.digest.as_deref(),
                );
                same_arch(check, &format!("{at}.kernel.arch"), kernel.arch, arch);
                if let Some(cmdline) = &kernel.cmdline {
                    one_line(check, &format!("{at}.kernel.cmdline"), cmdline);
                }
            }
            if let Some(initrd) = &image.initrd {
                file(
                    check,
                    &format!("{at}.initrd"),
                    &initrd.location,
                    initrd.digest.as_deref(),
                );
                same_arch(check, &format!("{at}.initrd.arch"), initrd.arch, arch);
                check.that(
                    image.kernel.is_some(),
                    format!("{at}.initrd"),
                    "needs a kernel beside it",
                );
            }
        }
    }

    fn sizes(&self, check: &mut Check) {
        if let Some(cpus) = self.cpus {
            check.that(
                (1..=MAX_CPUS).contains(&cpus),
                "cpus",
                format!("must be from 1 to {MAX_CPUS}; got {cpus}"),
            );
        }
        if let Some(memory) = self.memory {
            check.that(
                (MIN_MEMORY..=MAX_MEMORY).contains(&memory),
                "memory",
                format!("must be from {MIN_MEMORY} to {MAX_MEMORY}; got {memory}"),
            );
        }
        if let Some(disk) = self.disk {
            check.that(
                disk.0 > 0 && disk <= MAX_DISK,
                "disk",
                format!("must be more than 0 and at most {MAX_DISK}; got {disk}"),
            );
        }
    }

    fn scripts(&self, check: &mut Check) {
        for (i, step) in self.provision.iter().enumerate() {
            let at = format!("provision[{i}]");
            let mode = step.mode.unwrap_or(ProvisionMode::System);
            if step.skip_default_dependency_resolution.is_some()
                && mode != ProvisionMode::Dependency
            {
                check.fail(
                    format!("{at}.skipDefaultDependencyResolution"),
                    format!("goes with mode dependency only; the mode is {mode}"),
                );
            }
            let runs = matches!(
                mode,
                ProvisionMode::System
                    | ProvisionMode::User
                    | ProvisionMode::Boot
                    | ProvisionMode::Dependency
            );
            match &step.script {
                Some(script) => {
                    check.that(
                        script.len() <= MAX_SCRIPT,
                        format!("{at}.script"),
                        format!("has {} bytes; at most {MAX_SCRIPT} fit", script.len()),
                    );
                    check.that(
                        !script.contains('\0'),
                        format!("{at}.script"),
                        "must not hold a NUL character",
                    );
                }
                None if step.file.is_some() => {
                    check.fail(
                        format!("{at}.file"),
                        "is not read by rdd; put the text into script",
                    );
                }
                None => check.that(
                    !runs,
                    format!("{at}.script"),
                    format!("must be set with mode {mode}"),
                ),
            }
        }
        for (i, probe) in self.probes.iter().enumerate() {
            let set = probe.script.is_some() || probe.file.is_some();
            check.that(set, format!("probes[{i}].script"), "must be set");
        }
    }

    fn user(&self, check: &mut Check) {
        if let Some(name) = &self.user.name {
            check.that(
                valid_user_name(name),
                "user.name",
                format!("{name:?} is not a login name: it starts with a-z or _, goes on with a-z, 0-9, _ or -, 32 at most"),
            );
            check.that(
                name != "root",
                "user.name",
                "must not be root; the user becomes root with sudo",
            );
        }
        if let Some(uid) = self.user.uid {
            check.that(
                uid > 0 && uid < u32::MAX,
                "user.uid",
                "must not be root's number, nor the largest",
            );
        }
        for (field, path) in [
            ("user.home", &self.user.home),
            ("user.shell", &self.user.shell),
        ] {
            if let Some(path) = path {
                check.that(
                    path.starts_with('/'),
                    field,
                    format!("must be an absolute path; got {path:?}"),
                );
                check.that(
                    !path.contains(':'),
                    field,
                    "must not hold a colon, which ends a field of /etc/passwd",
                );
                one_line(check, field, path);
            }
        }
        if let Some(comment) = &self.user.comment {
            check.that(
                !comment.contains(':'),
                "user.comment",
                "must not hold a colon",
            );
            one_line(check, "user.comment", comment);
        }
        if let Some(zone) = &self.timezone {
            // Ends up in a path below /usr/share/zoneinfo.
            let good = zone
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"/_+-".contains(&b))
                && !zone.starts_with('/')
                && zone.len() <= 64;
            check.that(
                good,
                "timezone",
                format!("{zone:?} is not a time zone such as Europe/Berlin"),
            );
        }
    }

    fn variables(&self, check: &mut Check) {
        for (list, values) in [("env", &self.env), ("param", &self.param)] {
            for (name, value) in values {
                let at = format!("{list}.{name}");
                check.that(
                    valid_variable(name),
                    &at,
                    "must be letters, digits and _, and not start with a digit",
                );
                one_line(check, &at, value);
                if list == "env" {
                    // pam_env, which reads /etc/environment, cannot say either.
                    check.that(
                        !value.contains('#'),
                        &at,
                        "must not hold #, which starts a comment in /etc/environment",
                    );
                }
            }
        }
    }

    fn mounts(&self, check: &mut Check) {
        const SYSTEM: [&str; 10] = [
            "/", "/bin", "/dev", "/etc", "/home", "/opt", "/sbin", "/tmp", "/usr", "/var",
        ];
        for (i, mount) in self.mounts.iter().enumerate() {
            let at = format!("mounts[{i}].location");
            let location = mount.location.as_str();
            let rooted = Path::new(location).is_absolute()
                || location.starts_with('~')
                || location.starts_with("{{");
            check.that(
                rooted,
                &at,
                format!("must be an absolute path or start with ~; got {location:?}"),
            );
            let target = mount.mount_point.as_deref().unwrap_or(location);
            check.that(
                target == "/tmp" || !SYSTEM.contains(&target),
                format!("mounts[{i}].mountPoint"),
                format!("{target} is the guest's own; choose a folder below it"),
            );
        }
    }

    fn forwards(&self, check: &mut Check) {
        for (i, rule) in self.port_forwards.iter().enumerate() {
            let at = format!("portForwards[{i}]");
            for (field, port) in [("guestPort", rule.guest_port), ("hostPort", rule.host_port)] {
                check.that(
                    port != Some(0),
                    format!("{at}.{field}"),
                    "must be from 1 to 65535",
                );
            }
            for (field, range) in [
                ("guestPortRange", rule.guest_port_range),
                ("hostPortRange", rule.host_port_range),
            ] {
                if let Some([first, last]) = range {
                    check.that(
                        first <= last,
                        format!("{at}.{field}"),
                        format!("goes down: {first} to {last}"),
                    );
                }
            }
            if let (Some(guest), Some(host)) = (rule.guest_port_range, rule.host_port_range) {
                check.that(
                    i32::from(guest[1]) - i32::from(guest[0])
                        == i32::from(host[1]) - i32::from(host[0]),
                    format!("{at}.hostPortRange"),
                    "must hold as many ports as guestPortRange",
                );
            }
            if let Some(socket) = &rule.guest_socket {
                let rooted = socket.starts_with('/') || socket.starts_with("{{");
                check.that(
                    rooted,
                    format!("{at}.guestSocket"),
                    format!("must be an absolute path; got {socket:?}"),
                );
                check.that(
                    rule.guest_port.is_none(),
                    format!("{at}.guestPort"),
                    "must not be set beside guestSocket",
                );
            }
        }
    }

    fn rest(&self, check: &mut Check) {
        check.that(
            self.ssh.local_port != Some(22),
            "ssh.localPort",
            "must not be 22, which is the host's own sshd",
        );
        check.that(
            self.dns.is_empty() || self.host_resolver.enabled != Some(true),
            "dns",
            "must be empty while hostResolver.enabled is true",
        );
        for (i, disk) in self.additional_disks.iter().enumerate() {
            let good = crate::layout::validate_name(&disk.name);
            if let Err(error) = good {
                check.fail(format!("additionalDisks[{i}].name"), error.to_string());
            }
        }
    }
}

const BASE: &str =
    "is not resolved by rdd; embed it first: limactl template copy --embed-all TEMPLATE OUT.yaml";

fn file(check: &mut Check, at: &str, location: &str, digest: Option<&str>) {
    if let Err(error) = Source::parse(location) {
        check.fail(format!("{at}.location"), error.to_string());
    }
    if let Some(digest) = digest.filter(|digest| !digest.is_empty())
        && let Err(error) = digest.parse::<Digest>()
    {
        check.fail(format!("{at}.digest"), error.to_string());
    }
}

fn same_arch(check: &mut Check, at: &str, part: Option<Arch>, image: Option<Arch>) {
    if let (Some(part), Some(image)) = (part, image)
        && part != image
    {
        check.fail(at, format!("is {part}, and the image is {image}"));
    }
}

fn one_line(check: &mut Check, at: &str, text: impl AsRef<str> + Display) {
    let bad = text.as_ref().chars().find(|c| c.is_control() && *c != '\t');
    if let Some(c) = bad {
        check.fail(
            at,
            format!("must be one line of text; it holds the control character {c:?}"),
        );
    }
}

/// What Debian's adduser and useradd both take.
pub(super) fn valid_user_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
        && name.len() <= 32
}

fn valid_variable(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
