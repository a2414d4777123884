//! Puts names and parameters into the fields that may hold them.

use std::collections::{BTreeMap, BTreeSet};

use super::go_template::{Fixed, Names};
use super::host::Host;
use super::types::Template;
use super::validate::{Check, ValidateError};
use crate::layout::InstanceDir;

impl Template {
    /// Evaluates the actions in all fields, with `given` over the template's own parameters.
    pub(super) fn expand(
        &mut self,
        host: &Host,
        instance: &InstanceDir,
        given: &BTreeMap<String, String>,
    ) -> Result<(), ValidateError> {
        let declared: BTreeSet<String> = self.param.keys().cloned().collect();
        self.param.extend(given.clone());
        let params = std::mem::take(&mut self.param);
        let mut check = Check::new();
        let mut fixed = self.guest_names(instance);
        let mut names = Names::new(fixed.clone(), &params);
        if let Some(home) = &mut self.user.home {
            replace(&mut names, &mut check, "user.home", home);
            fixed.insert("Home", Fixed::Text(home.clone()));
        }

        // Fields for the guest see the guest's home folder.
        let mut names = names.with_fixed(fixed.clone());
        self.expand_guest_fields(&mut names, &mut check);

        // Fields for the host see the host's home folder, and the folder of the instance.
        host_names(&mut fixed, host, instance);
        let mut names = names.with_fixed(fixed);
        self.expand_host_fields(&mut names, &mut check);

        for name in given
            .keys()
            .filter(|name| !declared.contains(*name) && !names.used.contains(*name))
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

    fn guest_names(&self, instance: &InstanceDir) -> BTreeMap<&'static str, Fixed> {
        let text = |text: &str| Fixed::Text(text.to_owned());
        BTreeMap::from([
            ("Name", text(instance.name())),
            ("Hostname", text(&instance.hostname())),
            ("User", text(self.user.name.as_deref().unwrap_or_default())),
            (
                "UID",
                Fixed::Number(self.user.uid.unwrap_or_default().into()),
            ),
        ])
    }

    fn expand_guest_fields(&mut self, names: &mut Names<'_>, check: &mut Check) {
        for (i, step) in self.provision.iter_mut().enumerate() {
            let fields = [
                ("script", &mut step.script),
                ("content", &mut step.content),
                ("expression", &mut step.expression),
                ("path", &mut step.path),
                ("owner", &mut step.owner),
            ];
            for (field, text) in fields {
                if let Some(text) = text {
                    replace(names, check, &format!("provision[{i}].{field}"), text);
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
                    replace(names, check, &format!("probes[{i}].{field}"), text);
                }
            }
        }
        for (i, mount) in self.mounts.iter_mut().enumerate() {
            if let Some(point) = &mut mount.mount_point {
                replace(names, check, &format!("mounts[{i}].mountPoint"), point);
            }
        }
        for (i, rule) in self.port_forwards.iter_mut().enumerate() {
            if let Some(socket) = &mut rule.guest_socket {
                let field = format!("portForwards[{i}].guestSocket");
                replace(names, check, &field, socket);
            }
        }
        for (i, copy) in self.copy_to_host.iter_mut().enumerate() {
            if let Some(path) = &mut copy.guest {
                replace(names, check, &format!("copyToHost[{i}].guest"), path);
            }
        }
    }

    fn expand_host_fields(&mut self, names: &mut Names<'_>, check: &mut Check) {
        for (i, mount) in self.mounts.iter_mut().enumerate() {
            let field = format!("mounts[{i}].location");
            replace(names, check, &field, &mut mount.location);
        }
        for (i, rule) in self.port_forwards.iter_mut().enumerate() {
            if let Some(socket) = &mut rule.host_socket {
                let field = format!("portForwards[{i}].hostSocket");
                replace(names, check, &field, socket);
            }
        }
        for (i, copy) in self.copy_to_host.iter_mut().enumerate() {
            if let Some(path) = &mut copy.host {
                replace(names, check, &format!("copyToHost[{i}].host"), path);
            }
        }
        // Lima gives the message the whole instance, so that it may name what rdd does not have.
        names.lenient = true;
        if let Some(message) = &mut self.message {
            replace(names, check, "message", message);
        }
    }
}

fn host_names(fixed: &mut BTreeMap<&'static str, Fixed>, host: &Host, instance: &InstanceDir) {
    let text = |path: &std::path::Path| Fixed::Text(path.to_string_lossy().into_owned());
    fixed.insert("Home", text(&host.user.home));
    fixed.insert("Dir", text(instance.path()));
    // Obsolete names of Lima's.
    fixed.insert("Instance", Fixed::Text(instance.name().to_owned()));
    if let Some(home) = instance.path().parent() {
        fixed.insert("LimaHome", text(home));
    }
}

fn replace(names: &mut Names<'_>, check: &mut Check, field: &str, text: &mut String) {
    match names.expand(text) {
        Ok(expanded) => *text = expanded,
        Err(error) => check.fail(field, error.to_string()),
    }
}
