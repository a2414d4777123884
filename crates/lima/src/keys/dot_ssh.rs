//! The public keys of a user's `.ssh` folder.

use std::path::Path;

use ssh_key::PublicKey;

use super::read::{Found, look};

/// Keys that are used at most. A guest's disk is built in memory.
const KEYS_LIMIT: usize = 100;

/// Returns the public keys in `.ssh/*.pub` of a home folder, as lines of `authorized_keys`. Files that are no public key
/// are left out, as in Lima.
#[must_use]
pub fn public_keys_of(home: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(home.join(".ssh")) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pub"))
        .collect();
    paths.sort();
    paths
        .iter()
        .take(KEYS_LIMIT)
        .filter_map(|path| match look(path) {
            Found::Bytes(bytes) => String::from_utf8(bytes).ok(),
            _ => None,
        })
        .map(|text| text.trim().to_owned())
        .filter(|line| !line.contains('\n') && PublicKey::from_openssh(line).is_ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_keys_are_read() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(public_keys_of(home.path()), [""; 0]);
        let folder = home.path().join(".ssh");
        std::fs::create_dir(&folder).unwrap();
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJuhB1UqCEWtXkRWGkSwbvGxkWzfTYpSU1QqjL6Wj5Ib me@host";
        for (name, text) in [
            ("b.pub", format!("{key}\n")),
            ("a.pub", "no key\n".to_owned()),
            ("c.pub", format!("{key}\n{key}\nroot ALL\n")),
            ("id_ed25519", key.to_owned()),
        ] {
            std::fs::write(folder.join(name), text).unwrap();
        }
        assert_eq!(public_keys_of(home.path()), [key]);
    }
}
