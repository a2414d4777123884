//! Validates a template, before and after its defaults are filled in. Absent fields are not checked.

use std::fmt::Display;
use std::path::Path;

use super::go_template::FIELD_LIMIT;
use super::parse::{FieldError, list};
use super::size::ByteSize;
use super::types::{Arch, Os, Provision, ProvisionMode, Template};
use crate::image::{Digest, Source};

/// A template with values that are not valid. Names every problem at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to validate template: {}", list(.0))]
pub struct ValidateError(pub Vec<FieldError>);

/// More CPUs are a typing error: QEMU's q35 supports 4096, `pc` 255.
const MAX_CPUS: u32 = 1024;
/// Below this no Linux boots.
const MIN_MEMORY: ByteSize = ByteSize::mib(64);
/// The limit of qcow2 with its default cluster size.
const MAX_DISK: ByteSize = ByteSize(64 << 40);
/// Above the RAM of any host.
const MAX_MEMORY: ByteSize = ByteSize(64 << 40);
/// The kernel's overflow id and the id of no user (Debian policy 9.2.2), and the largest ones, which mean "no id".
const NO_USER_IDS: [u32; 4] = [65_534, 65_535, u32::MAX - 1, u32::MAX];

/// Collects problems.
pub(super) struct Check {
    problems: Vec<FieldError>,
}

impl Check {
    pub(super) fn new() -> Self {
        Self {
            problems: Vec::new(),
        }
    }

    pub(super) fn fail(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.problems.push(FieldError {
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
    /// Checks the fields that have an effect in rdd.
    ///
    /// # Errors
    /// [`ValidateError`] names each field and what it must be.
    pub fn validate(&self) -> Result<(), ValidateError> {
        let mut check = Check::new();
        check.that(self.base.is_empty(), "base", NOT_EMBEDDED);
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
            "must have at least one image",
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
            let runs = mode.runs();
            if step.file.is_some() {
                check.fail(format!("{at}.file"), NOT_EMBEDDED);
            }
            match &step.script {
                Some(script) => {
                    check.that(
                        script.len() <= FIELD_LIMIT,
                        format!("{at}.script"),
                        format!("has {} bytes; at most {FIELD_LIMIT} fit", script.len()),
                    );
                    check.that(
                        !script.contains('\0'),
                        format!("{at}.script"),
                        "must not contain a NUL character",
                    );
                }
                None if step.file.is_some() => {}
                None => check.that(
                    !runs,
                    format!("{at}.script"),
                    format!("must be set with mode {mode}"),
                ),
            }
        }
        for (i, step) in self.provision.iter().enumerate() {
            files_of_step(check, &format!("provision[{i}]"), step);
        }
        for (i, probe) in self.probes.iter().enumerate() {
            if probe.file.is_some() {
                check.fail(format!("probes[{i}].file"), NOT_EMBEDDED);
            }
            let set = probe.script.is_some() || probe.file.is_some();
            check.that(set, format!("probes[{i}].script"), "must be set");
        }
    }

    fn user(&self, check: &mut Check) {
        if let Some(name) = &self.user.name {
            check.that(
                valid_user_name(name),
                "user.name",
                format!("{name:?} is not a login name: it begins with a-z or _, then a-z, 0-9, _ or -, at most 32 characters"),
            );
            check.that(
                name != "root",
                "user.name",
                "must not be root; the user becomes root with sudo",
            );
        }
        if let Some(uid) = self.user.uid {
            check.that(
                valid_uid(uid),
                "user.uid",
                format!("must be more than 0 and none of 65534, 65535 and the two largest ids; got {uid}"),
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
                    "must not contain a colon, which ends a field of /etc/passwd",
                );
                one_line(check, field, path);
            }
        }
        if let Some(comment) = &self.user.comment {
            check.that(
                !comment.contains(':'),
                "user.comment",
                "must not contain a colon",
            );
            one_line(check, "user.comment", comment);
        }
        if let Some(zone) = &self.timezone {
            // It becomes a path below /usr/share/zoneinfo.
            let good = zone
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"/_+-".contains(&b))
                && !zone.starts_with('/')
                && !zone.ends_with('/')
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
                    // pam_env, which reads /etc/environment, knows no way to write it.
                    check.that(
                        !value.contains('#'),
                        &at,
                        "must not contain #, which begins a comment in /etc/environment",
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
                format!("{target} belongs to the guest's system; choose a folder below it"),
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
                        format!("begins at {first} and ends at {last}, which is less"),
                    );
                }
            }
            if let (Some(guest), Some(host)) = (rule.guest_port_range, rule.host_port_range) {
                check.that(
                    i32::from(guest[1]) - i32::from(guest[0])
                        == i32::from(host[1]) - i32::from(host[0]),
                    format!("{at}.hostPortRange"),
                    "must have as many ports as guestPortRange",
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

/// Checks the fields that only the modes `data` and `yq` have, by Lima's rules.
fn files_of_step(check: &mut Check, at: &str, step: &Provision) {
    let mode = step.mode.unwrap_or(ProvisionMode::System);
    let writes = matches!(mode, ProvisionMode::Data | ProvisionMode::Yq);
    if writes {
        let path = step.path.as_deref().unwrap_or_default();
        check.that(
            path.starts_with('/') || path.starts_with("{{"),
            format!("{at}.path"),
            format!("must be an absolute path with mode {mode}; got {path:?}"),
        );
        let (field, text) = if mode == ProvisionMode::Data {
            ("content", &step.content)
        } else {
            ("expression", &step.expression)
        };
        check.that(
            text.is_some(),
            format!("{at}.{field}"),
            format!("must be set with mode {mode}"),
        );
        if let Some(permissions) = &step.permissions {
            check.that(
                u32::from_str_radix(permissions, 8).is_ok_and(|mode| mode <= 0o7777),
                format!("{at}.permissions"),
                format!("must be an octal number such as 644; got {permissions:?}"),
            );
        }
        for (field, text) in [("path", &step.path), ("owner", &step.owner)] {
            if let Some(text) = text {
                one_line(check, &format!("{at}.{field}"), text);
            }
        }
        return;
    }
    for (field, is_set) in [
        ("content", step.content.is_some()),
        ("overwrite", step.overwrite.is_some()),
        ("owner", step.owner.is_some()),
        ("path", step.path.is_some()),
        ("permissions", step.permissions.is_some()),
        ("expression", step.expression.is_some()),
        ("format", step.format.is_some()),
    ] {
        check.that(
            !is_set,
            format!("{at}.{field}"),
            format!("goes with the modes data and yq only; the mode is {mode}"),
        );
    }
}

const NOT_EMBEDDED: &str =
    "must be embedded before the template is stored; `rdd limavm create NAME FILE` does that";

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
            format!("must be one line of text; it contains the control character {c:?}"),
        );
    }
}

/// Whether an id can be that of an ordinary user.
pub(super) fn valid_uid(uid: u32) -> bool {
    uid > 0 && !NO_USER_IDS.contains(&uid)
}

/// Whether Debian's adduser and useradd both accept the name.
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
