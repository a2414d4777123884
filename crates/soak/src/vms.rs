//! The declared state of the VMs, as far as the user knows it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::plane::Object;

/// What the user knows about the result of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known<T> {
    /// The command succeeded.
    Sure(T),
    /// The command failed or timed out; it may have had its effect.
    Unsure,
}

/// One VM.
#[derive(Debug)]
pub(crate) struct Vm {
    pub(crate) name: String,
    pub(crate) exists: Known<bool>,
    pub(crate) running: Known<bool>,
    /// The inode of its disk, which another disk would not have.
    pub(crate) disk: Option<u64>,
}

impl Vm {
    pub(crate) fn new(index: usize) -> Vm {
        Vm {
            name: format!("vm{index}"),
            exists: Known::Sure(false),
            running: Known::Sure(false),
            disk: None,
        }
    }

    /// Resolves from the object what the user did not know. An object that is missing although it must exist, or the other
    /// way round, is a violation.
    pub(crate) fn settle(&mut self, object: Option<&Object>) -> Result<(), String> {
        let there = object.filter(|object| !object.deleting);
        match (self.exists, there) {
            (Known::Sure(true), None) => {
                return Err(format!("{} is lost: its object is gone", self.name));
            }
            (Known::Sure(false), Some(_)) => {
                return Err(format!("{} was deleted and is there again", self.name));
            }
            (_, found) => self.exists = Known::Sure(found.is_some()),
        }
        if let Some(object) = there {
            match self.running {
                Known::Sure(running) if running != object.running => {
                    return Err(format!(
                        "{} was declared running: {running}, and its object says {}",
                        self.name, object.running
                    ));
                }
                _ => self.running = Known::Sure(object.running),
            }
        } else {
            self.disk = None;
        }
        Ok(())
    }

    pub(crate) fn should_run(&self) -> bool {
        self.exists == Known::Sure(true) && self.running == Known::Sure(true)
    }

    /// Why the VM is not in its declared state, according to its object and files.
    pub(crate) fn unmet(&self, object: Option<&Object>, folder: &Path) -> Option<String> {
        let name = &self.name;
        let Some(object) = object else {
            return Some(format!("{name} has no object"));
        };
        let wanted = if self.should_run() {
            "True/Started"
        } else {
            "False/Stopped"
        };
        if object.condition != wanted {
            let Object {
                condition, message, ..
            } = object;
            return Some(format!(
                "{name} is {condition} ({message}) instead of {wanted}"
            ));
        }
        let Some((version, text)) = &object.template else {
            return Some(format!("{name} has no template"));
        };
        if *version != object.in_effect {
            return Some(format!("{name}: its template is not in effect yet"));
        }
        let yaml = std::fs::read_to_string(folder.join("lima.yaml")).unwrap_or_default();
        match text.lines().find(|line| line.starts_with("memory:")) {
            Some(line) if yaml.lines().any(|one| one == line) => None,
            line => Some(format!("{name}: {line:?} is not in its lima.yaml")),
        }
    }

    /// Checks that the disk is the same, unless it was deleted or replaced on request.
    pub(crate) fn same_disk(&mut self, folder: &Path) -> Result<(), String> {
        let path: PathBuf = folder.join("diffdisk");
        let found = std::fs::metadata(&path)
            .map_err(|error| {
                format!(
                    "the disk of {} is lost: {}: {error}",
                    self.name,
                    path.display()
                )
            })?
            .ino();
        match self.disk.replace(found) {
            Some(before) if before != found => {
                Err(format!("{} has another disk than before", self.name))
            }
            _ => Ok(()),
        }
    }
}
