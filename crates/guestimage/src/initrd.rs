//! The initial RAM disk: the guest agent as `/init`, and the few modules that the kernel needs to find its root disk.
//!
//! The root disk is on virtio-blk, whose driver is a module of Debian's cloud kernel, because QEMU freezes a guest on
//! virtio-blk when the host's disk is full. (The kernel's own NVMe driver would need no initial RAM disk, but QEMU's NVMe
//! device reports the error to the guest, which then gives up its file system.) It has no distribution's initramfs tools,
//! so it costs an emulated boot a few hundredths of a second.
//!
//! The archive's format is "newc" of cpio (`Documentation/driver-api/early-userspace/buffer-format.rst` of the kernel).

use std::fs;
use std::io;
use std::path::Path;

use guestagent::modules::load_order;

/// The modules that the root disk needs, without those that they depend on. Modules that are built into the kernel are
/// skipped. The agent loads the same ones (`guestagent`'s `initramfs`).
pub(crate) const MODULES: [&str; 2] = ["virtio_pci", "virtio_blk"];

/// The type bits of a mode (`inode(7)`).
const FILE: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;

/// Returns the initial RAM disk for the kernel `version` in the unpacked image at `rootfs`.
///
/// # Errors
/// A file of the image cannot be read.
pub(crate) fn build(rootfs: &Path, version: &str, agent: &[u8]) -> io::Result<Vec<u8>> {
    let folder = rootfs.join("usr/lib/modules").join(version);
    let dependencies = fs::read_to_string(folder.join("modules.dep"))?;
    let files = load_order(&dependencies, &MODULES);
    let mut archive = Archive::default();
    for path in ["dev", "proc", "root"] {
        archive.folder(path);
    }
    archive.file("init", 0o755, agent);
    let in_guest = format!("lib/modules/{version}");
    archive.folders_of(&format!("{in_guest}/modules.dep"));
    let needed: String = dependencies
        .lines()
        .filter(|line| {
            line.split_once(':')
                .is_some_and(|(file, _)| files.contains(&file))
        })
        .map(|line| format!("{line}\n"))
        .collect();
    archive.file(&format!("{in_guest}/modules.dep"), 0o644, needed.as_bytes());
    for file in files {
        let path = format!("{in_guest}/{file}");
        archive.folders_of(&path);
        archive.file(&path, 0o644, &fs::read(folder.join(file))?);
    }
    Ok(archive.finish())
}

/// A cpio archive. Folders come before their content, as the kernel unpacks in order.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    folders: Vec<String>,
    entries: u32,
}

impl Archive {
    fn folder(&mut self, path: &str) {
        if self.folders.iter().any(|known| known == path) {
            return;
        }
        self.folders.push(path.to_owned());
        self.entry(path, FOLDER | 0o755, &[]);
    }

    /// The folders above `path`.
    fn folders_of(&mut self, path: &str) {
        for (end, _) in path.match_indices('/') {
            self.folder(&path[..end]);
        }
    }

    fn file(&mut self, path: &str, permissions: u32, content: &[u8]) {
        self.entry(path, FILE | permissions, content);
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let links = 1;
        // Magic, inode, mode, uid, gid, links, time, size, four device numbers, length of the name, checksum.
        let header = format!(
            "070701{:08x}{mode:08x}{:08x}{:08x}{links:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}",
            self.entries,
            0,
            0,
            0,
            content.len(),
            0,
            0,
            0,
            0,
            path.len() + 1,
            0
        );
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    /// Every header and every content starts at a multiple of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names, modes and contents of an archive.
    fn entries(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut found = Vec::new();
        loop {
            let field = |index: usize| {
                let text = std::str::from_utf8(&bytes[6 + index * 8..][..8]).unwrap();
                u32::from_str_radix(text, 16).unwrap()
            };
            assert_eq!(&bytes[..6], b"070701");
            let (mode, size, name) = (field(1), field(6) as usize, field(11) as usize);
            let path = std::str::from_utf8(&bytes[110..110 + name - 1]).unwrap();
            if path == "TRAILER!!!" {
                return found;
            }
            let begin = (110 + name).next_multiple_of(4);
            found.push((path.to_owned(), mode, bytes[begin..begin + size].to_vec()));
            bytes = &bytes[(begin + size).next_multiple_of(4)..];
        }
    }

    #[test]
    fn archive_has_the_agent_and_the_modules_in_folders() {
        let rootfs = tempfile::tempdir().unwrap();
        let folder = rootfs.path().join("usr/lib/modules/6.1");
        let module = |path: &str| {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, path.file_name().unwrap().to_str().unwrap()).unwrap();
        };
        for path in ["kernel/virtio.ko", "kernel/b/virtio_blk.ko", "kernel/x.ko"] {
            module(path);
        }
        let blk = "kernel/b/virtio_blk.ko: kernel/virtio.ko\n";
        let dependencies = format!("{blk}kernel/x.ko:\nkernel/virtio.ko:\n");
        fs::write(folder.join("modules.dep"), dependencies).unwrap();
        let archive = build(rootfs.path(), "6.1", b"agent").unwrap();
        let entries = entries(&archive);
        let content = |path: &str| {
            let entry = entries.iter().find(|(name, ..)| name == path);
            entry.map(|(_, mode, content)| (*mode, String::from_utf8_lossy(content).into_owned()))
        };
        let file = |text: &str| Some((0o100_644, text.to_owned()));
        assert_eq!(content("init"), Some((0o100_755, "agent".into())));
        assert_eq!(content("root"), Some((0o040_755, String::new())));
        assert_eq!(
            content("lib/modules/6.1/kernel/virtio.ko"),
            file("virtio.ko")
        );
        assert_eq!(
            content("lib/modules/6.1/kernel/b/virtio_blk.ko"),
            file("virtio_blk.ko")
        );
        assert_eq!(content("lib/modules/6.1/kernel/x.ko"), None);
        assert_eq!(
            content("lib/modules/6.1/modules.dep"),
            file(&format!("{blk}kernel/virtio.ko:\n"))
        );
        // A folder comes before what is in it.
        let mut folders = Vec::new();
        for (path, mode, _) in &entries {
            if let Some((parent, _)) = path.rsplit_once('/') {
                assert!(folders.contains(&parent), "{path}");
            }
            if mode & FOLDER != 0 {
                folders.push(path.as_str());
            }
        }
    }
}
