//! Fills in what a template does not say, from the host.

use std::collections::BTreeMap;

use super::host::Host;
use super::size::ByteSize;
use super::types::{Arch, Image, Os, ProvisionMode, Template, VmType};
use super::unsupported::Warning;
use super::validate::{ValidateError, valid_uid, valid_user_name};
use crate::layout::InstanceDir;

/// A guest's CPUs by default: four, as in Lima, or all of the host's if it has fewer.
const CPUS: u32 = 4;
/// A guest's RAM by default, as in Lima. Half of the host's RAM if that is less.
const MEMORY: ByteSize = ByteSize::gib(4);
/// A guest's disk by default, as in Lima. The file on the host grows with what the guest writes.
const DISK: ByteSize = ByteSize::gib(100);
/// The guest's user if the host's name is not valid in the guest, as in Lima.
const FALLBACK_USER: &str = "lima";
/// The user id if the host's is root's or there is none.
const FALLBACK_UID: u32 = 1000;
const SHELL: &str = "/bin/bash";

impl Template {
    /// Fills in what the template does not say, and puts parameters into scripts. `params` (of `spec.params`) override the
    /// template's own `param`. The result does not depend on the host any more.
    ///
    /// Unlike in Lima, containerd is off by default, because rdd does not install it yet.
    ///
    /// # Errors
    /// A parameter is used and not defined, or given and neither defined nor used; or the result does not pass
    /// [`Template::validate`].
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
        self.expand(host, instance, params)?;
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
                    message: format!("the host's user {name:?} is not a valid name in the guest; the guest's user is {FALLBACK_USER:?}"),
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
                .filter(|uid| valid_uid(*uid))
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

    /// Returns the images for an architecture, best first. Only images of the first one's variant count, as in Lima: an
    /// image of another kind is no replacement.
    pub fn images_for(&self, arch: Arch) -> impl Iterator<Item = (usize, &Image)> {
        let default = self.arch;
        let fits = move |image: &Image| image.arch.or(default).is_none_or(|a| a == arch);
        let first = self.images.iter().find(|image| fits(image));
        let kind = first.map(|image| (&image.variant, &image.arch_variant));
        self.images.iter().enumerate().filter(move |(_, image)| {
            fits(image) && kind == Some((&image.variant, &image.arch_variant))
        })
    }
}

/// Replaces a leading `~/` by the home folder of the host's user.
fn expand_home(location: &mut String, host: &Host) {
    if let Some(rest) = location.strip_prefix("~/") {
        *location = host.user.home.join(rest).to_string_lossy().into_owned();
    }
}

/// Returns half of a size in whole MiB.
fn half_of(size: ByteSize) -> ByteSize {
    const MIB: u64 = 1 << 20;
    ByteSize(size.0 / 2 / MIB * MIB)
}
