//! Writes the disk as an ISO 9660 image with Rock Ridge (long names, modes) and Joliet (long names for readers without Rock
//! Ridge).
//!
//! The library is a release candidate, because its stable versions (hadris-iso 2.5) stamp each file with the time of the
//! write and cannot be given another. Equal facts must give equal bytes. No other crate writes Rock Ridge and Joliet.

use hadris_fs::{Content, NoClock, Node, Owner, Permissions, SetAttr, Tree};
use hadris_iso::{IsoId, IsoLevel, IsoOptions, Preserve};

use super::facts::CidataError;
use super::files::DiskFile;

/// cloud-init looks for this label (or its capitals).
const LABEL: &str = "cidata";

pub(super) fn image(files: &[DiskFile]) -> Result<Vec<u8>, CidataError> {
    let failed = |what: &dyn std::fmt::Display| CidataError::Iso(what.to_string());
    let mut tree = Tree::new();
    // Keys and scripts may contain secrets, so only root can read them.
    let attributes = |mode| {
        SetAttr::default()
            .with_permissions(Permissions::new(mode))
            .with_owner(Owner::new(0, 0))
    };
    for file in files {
        if let Some((folder, _)) = file.path.split_once('/')
            && tree.get(folder).is_none()
        {
            tree.insert(folder, Node::dir().with_attrs(attributes(0o700)))
                .map_err(|error| failed(&error))?;
        }
        let node = Node::file(Content::bytes(file.content.as_bytes()));
        let mode = if file.executable { 0o700 } else { 0o600 };
        tree.insert(&file.path, node.with_attrs(attributes(mode)))
            .map_err(|error| failed(&error))?;
    }
    // A fixed time, so that equal facts give equal bytes.
    let options = IsoOptions::default()
        .with_id(IsoId::Volume, LABEL)
        .with_level(IsoLevel::L3)
        .with_joliet()
        .with_rock_ridge()
        .with_preserve(Preserve::PERMISSIONS | Preserve::OWNERS)
        .with_time(NoClock::TIME);
    let mut image = Vec::new();
    hadris_iso::sync::write(&mut image, &tree, &options).map_err(|error| failed(&error))?;
    Ok(image)
}
