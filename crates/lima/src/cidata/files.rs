//! The files of the disk.

use super::facts::{CidataError, Facts};
use super::{boot_script, env, user_data};
use crate::image::sha256_hex;

/// A file of the disk.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DiskFile {
    pub(super) path: String,
    pub(super) content: String,
    pub(super) executable: bool,
}

/// Returns all files, in the order of their names.
pub(super) fn all(facts: &Facts) -> Result<Vec<DiskFile>, CidataError> {
    for (field, value) in [
        ("the user's name", &facts.user),
        ("the user's full name", &facts.comment),
        ("the home folder", &facts.home),
        ("the shell", &facts.shell),
        ("the host name", &facts.hostname),
    ] {
        env::one_line(field, value)?;
    }
    let file = |path: &str, content: String| DiskFile {
        path: path.to_owned(),
        content,
        executable: false,
    };
    let mut files = vec![
        file("user-data", user_data::user_data(facts)?),
        file("network-config", user_data::network_config(facts)?),
        file("lima.env", env::lima_env(facts)?),
        file("param.env", env::param_env(facts)?),
        file("etc_environment", env::etc_environment(facts)?),
        file("etc_hosts", env::etc_hosts(facts)),
        file("ssh_authorized_keys", env::authorized_keys(facts)?),
        DiskFile {
            executable: true,
            ..file("boot.sh", boot_script::BOOT.to_owned())
        },
    ];
    for script in &facts.scripts {
        let path = format!("{}/{:08}", env::script_folder(script.mode), script.index);
        files.push(DiskFile {
            executable: script.file.is_none(),
            ..file(&path, script.text.clone())
        });
    }
    let id = match &facts.instance_id {
        Some(id) => id.clone(),
        None => id_of(&files),
    };
    files.push(file("meta-data", user_data::meta_data(facts, &id)?));
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Returns an id that differs for other content.
fn id_of(files: &[DiskFile]) -> String {
    let mut text = String::new();
    for file in files {
        // The length separates the files, so that no two lists of files give the same text.
        text.push_str(&format!(
            "{} {}\n{}",
            file.path,
            file.content.len(),
            file.content
        ));
    }
    format!("rdd-{}", &sha256_hex(text.as_bytes())[..16])
}
