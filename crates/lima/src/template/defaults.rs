//! What a template does not say, from the host; and its parameters put in.

use std::collections::{BTreeMap, BTreeSet};

use super::params::{Names, Undefined};
use super::validate::{Check, ValidateError, valid_user_name};
use super::{Arch, ByteSize, Host, Image, Os, ProvisionMode, Template, VmType, Warning};
use crate::layout::InstanceDir;

/// A guest's CPUs unless the template says otherwise: four, as in Lima, or as many as there are.
const CPUS: u32 = 4;
/// A guest's RAM: this, as in Lima, or half of the host's when that is less.
const MEMORY: ByteSize = ByteSize::gib(4);
/// A guest's disk, as in Lima. It takes only what is written to it.
const DISK: ByteSize = ByteSize::gib(100);
/// The guest's user when the host's cannot be one there, as in Lima.
const FALLBACK_USER: &str = "lima";
/// Its number, when the host's is root's or there is none.
const FALLBACK_UID: u32 = 1000;
const SHELL: &str = "/bin/bash";

impl Template {
    /// Fills in what the template does not say, and puts parameters into scripts: `params` (of `spec.params`) over the
    /// template's own `param`. Afterwards nothing depends on the host any more.
    ///
    /// Unlike in Lima, containerd is off unless the template asks for it: rdd does not install it yet, and most guests
    /// do without.
    ///
    /// # Errors
    /// A parameter that is used and not defined, or given and neither defined nor used; and all of
    /// [`Template::validate`], which runs over the result.
    pub fn fill_defaults(
        &mut self,
        host: &Host,
        instance: &InstanceDir,
        params: &BTreeMap<String, String>,
    ) -> Result<Vec<Warning>, ValidateError> {
        let mut warnings = Vec::new();
        self.os.get_or_insert(Os::Linux);
        self.vm_type.get_or_insert(VmType::Qemu);
        let arch = *self.arch.get_or_insert(host.arch);
        for image in &mut self.images {
            expand_home(&mut image.location, host);
            let arch = *image.arch.get_or_insert(arch);
            if let Some(kernel) = &mut image.kernel {
                expand_home(&mut kernel.location, host);
                kernel.arch.get_or_insert(arch);
            }
            if let Some(initrd) = &mut image.initrd {
                expand_home(&mut initrd.location, host);
                initrd.arch.get_or_insert(arch);
            }
        }
        self.cpus.get_or_insert(CPUS.min(host.cpus).max(1));
        self.memory.get_or_insert(half_of(host.memory).min(MEMORY));
        self.disk.get_or_insert(DISK);
        self.containerd.system.get_or_insert(false);
        self.containerd.user.get_or_insert(false);
        for step in &mut self.provision {
            step.mode.get_or_insert(ProvisionMode::System);
        }
        self.ssh.local_port.get_or_insert(0);
        self.ssh.load_dot_ssh_pub_keys.get_or_insert(false);
        self.ssh.forward_agent.get_or_insert(false);
        self.fill_user(host, &mut warnings);
        self.put_params_in(host, instance, params)?;
        self.validate()?;
        Ok(warnings)
    }

    fn fill_user(&mut self, host: &Host, warnings: &mut Vec<Warning>) {
        let user = &mut self.user;
        if user.name.is_none() {
            let name = &host.user.name;
            let usable = valid_user_name(name) && name != "root";
            if !usable {
                warnings.push(Warning {
                    field: "user.name".to_owned(),
                    message: format!("the host's user {name:?} cannot be the guest's; it is called {FALLBACK_USER:?} there"),
                });
            }
            user.name = Some(if usable {
                name.clone()
            } else {
                FALLBACK_USER.to_owned()
            });
        }
        user.uid.get_or_insert(
            host.user
                .uid
                .filter(|uid| *uid != 0)
                .unwrap_or(FALLBACK_UID),
        );
        let comment = || {
            host.user
                .comment
                .chars()
                .filter(|c| !c.is_control() && *c != ':')
                .collect()
        };
        user.comment.get_or_insert_with(comment);
        user.shell.get_or_insert_with(|| SHELL.to_owned());
        user.home
            .get_or_insert_with(|| "/home/{{.User}}.guest".to_owned());
    }

    fn put_params_in(
        &mut self,
        host: &Host,
        instance: &InstanceDir,
        given: &BTreeMap<String, String>,
    ) -> Result<(), ValidateError> {
        let declared: BTreeSet<String> = self.param.keys().cloned().collect();
        self.param.extend(given.clone());
        let params = std::mem::take(&mut self.param);
        let user = self.user.name.clone().unwrap_or_default();
        let uid = self.user.uid.unwrap_or_default().to_string();
        let mut check = Check::new();
        let mut fixed = BTreeMap::from([
            (".Name", instance.name().to_owned()),
            (".Hostname", instance.hostname()),
            (".User", user),
            (".UID", uid),
        ]);
        let mut names = Names {
            fixed: fixed.clone(),
            params: &params,
            used: BTreeSet::new(),
        };
        if let Some(home) = &mut self.user.home {
            replace(&mut names, &mut check, "user.home", home);
            fixed.insert(".Home", home.clone());
        }

        // What runs in the guest sees the guest's home; what the host does sees the host's, and its folder.
        let mut guest = Names {
            fixed: fixed.clone(),
            params: &params,
            used: names.used,
        };
        for (i, step) in self.provision.iter_mut().enumerate() {
            let fields = [
                ("script", &mut step.script),
                ("content", &mut step.content),
                ("path", &mut step.path),
                ("owner", &mut step.owner),
            ];
            for (field, text) in fields {
                if let Some(text) = text {
                    replace(
                        &mut guest,
                        &mut check,
                        &format!("provision[{i}].{field}"),
                        text,
                    );
                }
            }
        }
        for (i, probe) in self.probes.iter_mut().enumerate() {
            for (field, text) in [
                ("script", &mut probe.script),
                ("description", &mut probe.description),
                ("hint", &mut probe.hint),
            ] {
                if let Some(text) = text {
                    replace(
                        &mut guest,
                        &mut check,
                        &format!("probes[{i}].{field}"),
                        text,
                    );
                }
            }
        }
        for (i, mount) in self.mounts.iter_mut().enumerate() {
            if let Some(point) = &mut mount.mount_point {
                replace(
                    &mut guest,
                    &mut check,
                    &format!("mounts[{i}].mountPoint"),
                    point,
                );
            }
        }
        for (i, rule) in self.port_forwards.iter_mut().enumerate() {
            if let Some(socket) = &mut rule.guest_socket {
                replace(
                    &mut guest,
                    &mut check,
                    &format!("portForwards[{i}].guestSocket"),
                    socket,
                );
            }
        }
        for (i, copy) in self.copy_to_host.iter_mut().enumerate() {
            if let Some(path) = &mut copy.guest {
                replace(
                    &mut guest,
                    &mut check,
                    &format!("copyToHost[{i}].guest"),
                    path,
                );
            }
        }

        fixed.insert(".Home", host.user.home.to_string_lossy().into_owned());
        fixed.insert(".Dir", instance.path().to_string_lossy().into_owned());
        let mut outside = Names {
            fixed,
            params: &params,
            used: guest.used,
        };
        for (i, mount) in self.mounts.iter_mut().enumerate() {
            replace(
                &mut outside,
                &mut check,
                &format!("mounts[{i}].location"),
                &mut mount.location,
            );
        }
        for (i, rule) in self.port_forwards.iter_mut().enumerate() {
            if let Some(socket) = &mut rule.host_socket {
                replace(
                    &mut outside,
                    &mut check,
                    &format!("portForwards[{i}].hostSocket"),
                    socket,
                );
            }
        }
        for (i, copy) in self.copy_to_host.iter_mut().enumerate() {
            if let Some(path) = &mut copy.host {
                replace(
                    &mut outside,
                    &mut check,
                    &format!("copyToHost[{i}].host"),
                    path,
                );
            }
        }
        if let Some(message) = &mut self.message {
            replace(&mut outside, &mut check, "message", message);
        }

        for name in given
            .keys()
            .filter(|name| !declared.contains(*name) && !outside.used.contains(*name))
        {
            let known: Vec<&str> = declared.iter().map(String::as_str).collect();
            let hint = match super::de::suggestion(name, &known) {
                Some(near) => format!(", did you mean {near}?"),
                None if known.is_empty() => "; it has none".to_owned(),
                None => format!("; it has {}", known.join(", ")),
            };
            check.fail(
                format!("param.{name}"),
                format!("the template has no such parameter{hint}"),
            );
        }
        self.param = params;
        check.done()
    }

    /// The images that this template offers for an architecture, best first.
    pub fn images_for(&self, arch: Arch) -> impl Iterator<Item = (usize, &Image)> {
        let default = self.arch;
        self.images
            .iter()
            .enumerate()
            .filter(move |(_, image)| image.arch.or(default).is_none_or(|a| a == arch))
    }
}

fn replace(names: &mut Names<'_>, check: &mut Check, field: &str, text: &mut String) {
    match names.put_in(text) {
        Ok(done) => *text = done,
        Err(Undefined(param)) => {
            check.fail(
                field,
                format!("uses {{{{.Param.{param}}}}}, and no parameter of that name is defined"),
            );
        }
    }
}

/// `~/x` is a file of the host's user.
fn expand_home(location: &mut String, host: &Host) {
    if let Some(rest) = location.strip_prefix("~/") {
        *location = host.user.home.join(rest).to_string_lossy().into_owned();
    }
}

/// Half, in whole MiB, so that it reads well.
fn half_of(size: ByteSize) -> ByteSize {
    const MIB: u64 = 1 << 20;
    ByteSize(size.0 / 2 / MIB * MIB)
}
