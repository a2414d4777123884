//! Which files of this machine a template may name.

use super::locator::Locator;
use super::{EmbedError, references};
use crate::image::Source;
use crate::template::tree::{Node, Value};

/// Whether templates from the network may name files of this machine.
///
/// What a template names as an image or a kernel becomes readable inside the VM, where the template's scripts run as root
/// with a network. So a template of another person could read any file of the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalFiles {
    /// Only templates of this machine may.
    Refused,
    /// The user has looked at the template and confirmed it.
    Allowed,
}

/// Lists of files whose `location` is read on the host.
const LISTS: [&[&str]; 4] = [
    &["images"],
    &["firmware", "images"],
    &["containerd", "archives"],
    &["osOpts", "Windows", "virtioWin"],
];

/// Refuses a remote template that names a local file. Folders of `mounts` are not files that are read by a boot: they are
/// shown to the guest only, and not yet at all.
pub(super) fn check(root: &Node, from: &Locator, rule: LocalFiles) -> Result<(), EmbedError> {
    if !from.is_remote() || rule == LocalFiles::Allowed {
        return Ok(());
    }
    let refuse = |field: String, location: &str| EmbedError::LocalFile {
        parent: from.to_string(),
        field,
        location: location.to_owned(),
    };
    let location = |field: String, node: Option<&Node>| match node.map(|node| &node.value) {
        Some(Value::Text(text)) if matches!(Source::parse(text), Ok(Source::File(_))) => {
            Err(refuse(field, text))
        }
        _ => Ok(()),
    };
    for path in LISTS {
        let list = path.iter().try_fold(root, |node, name| node.get(name));
        for (index, item) in items(list).iter().enumerate() {
            let at = format!("{}[{index}]", path.join("."));
            location(format!("{at}.location"), item.get("location"))?;
            for part in ["kernel", "initrd"] {
                let file = item.get(part).and_then(|node| node.get("location"));
                location(format!("{at}.{part}.location"), file)?;
            }
        }
    }
    let certificates = root.get("caCerts").and_then(|node| node.get("files"));
    for (index, item) in items(certificates).iter().enumerate() {
        location(format!("caCerts.files[{index}]"), Some(item))?;
    }
    let mut named: Vec<(String, Node)> = Vec::new();
    if let Some(base) = root.get("base") {
        named.push(("base".to_owned(), base.clone()));
    }
    for list in ["provision", "probes"] {
        for (index, item) in items(root.get(list)).iter().enumerate() {
            if let Some(file) = item.get("file") {
                named.push((format!("{list}[{index}].file"), file.clone()));
            }
            location(format!("{list}[{index}].playbook"), item.get("playbook"))?;
        }
    }
    for (field, node) in named {
        for reference in references(node) {
            if let Ok(Locator::File(path)) = from.resolve(&reference.url) {
                return Err(refuse(field, &path.display().to_string()));
            }
        }
    }
    Ok(())
}

fn items(list: Option<&Node>) -> &[Node] {
    match list.map(|node| &node.value) {
        Some(Value::List(items)) => items,
        _ => &[],
    }
}
