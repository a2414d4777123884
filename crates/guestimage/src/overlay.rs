//! The files that the image has beside the packages: the guest agent, settings, and masked units.
//!
//! A unit is masked only if it has no use in a guest that a host boots directly (no boot loader, no TPM, no console to type
//! at). Everything that a user might want keeps its ordinary state.

use std::io;

use tar::{Builder, EntryType, Header};

use crate::mirror::Mirror;
use crate::recipe::Recipe;

/// The guest agent, a static program. Empty if this crate was not built on Linux.
pub static GUEST_AGENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guestagent"));

/// The agent's path in the guest, and the `init=` of the kernel's command line.
pub const AGENT_PATH: &str = "/usr/lib/rdd/guestagent";

/// The path of the script that finishes the image, relative to its root. The script removes itself.
pub(crate) const SETUP_SCRIPT: &str = "usr/lib/rdd/setup.sh";

const FILES: &[(&str, u32, &[u8])] = &[
    (SETUP_SCRIPT, 0o755, include_bytes!("../overlay/setup.sh")),
    (
        "etc/systemd/system/rdd-guestagent.service",
        0o644,
        include_bytes!("../overlay/etc/systemd/system/rdd-guestagent.service"),
    ),
    (
        "etc/systemd/system/ssh.service.d/10-rdd.conf",
        0o644,
        include_bytes!("../overlay/etc/systemd/system/ssh.service.d/10-rdd.conf"),
    ),
    (
        "etc/ssh/sshd_config.d/10-rdd.conf",
        0o644,
        include_bytes!("../overlay/etc/ssh/sshd_config.d/10-rdd.conf"),
    ),
    (
        "etc/systemd/network/80-dhcp.network",
        0o644,
        include_bytes!("../overlay/etc/systemd/network/80-dhcp.network"),
    ),
    (
        "etc/sysctl.d/50-ping.conf",
        0o644,
        include_bytes!("../overlay/etc/sysctl.d/50-ping.conf"),
    ),
    (
        "etc/tmpfiles.d/systemd-nologin.conf",
        0o644,
        include_bytes!("../overlay/etc/tmpfiles.d/systemd-nologin.conf"),
    ),
    (
        "usr/share/pam-configs/rdd-systemd",
        0o644,
        include_bytes!("../overlay/usr/share/pam-configs/rdd-systemd"),
    ),
    ("etc/default/locale", 0o644, b"LANG=C.UTF-8\n"),
    (
        "etc/fstab",
        0o644,
        b"# The root is mounted by the kernel (root= on its command line).\n",
    ),
];

/// Units without use in these guests.
const MASKED_UNITS: &[&str] = &[
    // Boot loader, TPM, partitions, first-boot questions.
    "systemd-boot-system-token.service",
    "systemd-pcrphase.service",
    "systemd-pcrphase-initrd.service",
    "systemd-pcrphase-sysinit.service",
    "systemd-pcrmachine.service",
    "systemd-pstore.service",
    "systemd-repart.service",
    "systemd-firstboot.service",
    "systemd-machine-id-commit.service",
    // The kernel mounts the root writable, after replaying its journal.
    "systemd-fsck-root.service",
    "systemd-remount-fs.service",
    // No person types passwords at a console.
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    "getty@tty1.service",
    "keyboard-setup.service",
    "console-setup.service",
    // Updates of /usr as an image, which these guests do not have.
    "ldconfig.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-update-done.service",
    "systemd-sysusers.service",
    // No graphics, no EFI variables.
    "modprobe@drm.service",
    "modprobe@efi_pstore.service",
];

/// Generators without use in these guests. Each is a process at every start of systemd.
const MASKED_GENERATORS: &[&str] = &[
    "systemd-bless-boot-generator",
    "systemd-cryptsetup-generator",
    "systemd-getty-generator",
    "systemd-gpt-auto-generator",
    "systemd-hibernate-resume-generator",
    "systemd-integritysetup-generator",
    "systemd-veritysetup-generator",
];

/// Returns the archive that is unpacked over the packages. All files belong to root, for any user who builds.
///
/// # Errors
/// A path is too long for the format.
pub(crate) fn archive(recipe: &Recipe, mirror: &Mirror, agent: &[u8]) -> io::Result<Vec<u8>> {
    let mut archive = Builder::new(Vec::new());
    for folder in [
        "usr/lib/rdd",
        "etc/systemd/system/ssh.service.d",
        "etc/systemd/system-generators",
        "etc/systemd/network",
        "etc/ssh/sshd_config.d",
    ] {
        let mut header = header(EntryType::Directory, 0o755);
        archive.append_data(&mut header, format!("{folder}/"), io::empty())?;
    }
    let agent_path = AGENT_PATH.trim_start_matches('/');
    let sources = mirror.deb822(recipe);
    let more: [(&str, u32, &[u8]); 2] = [
        (agent_path, 0o755, agent),
        (
            "etc/apt/sources.list.d/debian.sources",
            0o644,
            sources.as_bytes(),
        ),
    ];
    for (path, mode, content) in FILES.iter().chain(&more) {
        let mut header = header(EntryType::Regular, *mode);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, path, *content)?;
    }
    for unit in MASKED_UNITS {
        mask(&mut archive, &format!("etc/systemd/system/{unit}"))?;
    }
    for generator in MASKED_GENERATORS {
        mask(
            &mut archive,
            &format!("etc/systemd/system-generators/{generator}"),
        )?;
    }
    archive.into_inner()
}

/// The time of the files is fixed, so that equal builds are equal.
fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}

fn mask(archive: &mut Builder<Vec<u8>>, path: &str) -> io::Result<()> {
    archive.append_link(&mut header(EntryType::Symlink, 0o777), path, "/dev/null")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_a_static_linux_program() {
        assert_eq!(&GUEST_AGENT[..4], b"\x7fELF");
        // A dynamic program has a PT_INTERP header with the path of its loader, which differs between distributions.
        const PT_INTERP: u8 = 3;
        let at = |index: usize| usize::from(GUEST_AGENT[index]);
        let (table, size, count) = (at(32), at(54), at(56));
        assert!(
            (0..count).all(|index| GUEST_AGENT[table + index * size] != PT_INTERP),
            "it is linked dynamically"
        );
    }

    #[test]
    fn the_archive_has_files_of_root_with_their_modes_and_equal_builds_are_equal() {
        let recipe = crate::recipe::find("debian-12").unwrap();
        let mirror = Mirror::named("http://m.example/debian").unwrap();
        let bytes = archive(recipe, &mirror, b"agent").unwrap();
        assert_eq!(bytes, archive(recipe, &mirror, b"agent").unwrap());
        let mut read = tar::Archive::new(&bytes[..]);
        let mut found = Vec::new();
        for entry in read.entries().unwrap() {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
            let target = entry.link_name().unwrap();
            found.push((
                entry.path().unwrap().display().to_string(),
                header.mode().unwrap(),
                header.size().unwrap(),
                target.map(|target| target.display().to_string()),
            ));
        }
        for expected in [
            ("usr/lib/rdd/", 0o755, 0, None),
            ("usr/lib/rdd/guestagent", 0o755, 5, None),
            (
                "etc/systemd/system/getty@tty1.service",
                0o777,
                0,
                Some("/dev/null"),
            ),
        ] {
            let (path, mode, size, target) = expected;
            let expected = (path.to_owned(), mode, size, target.map(str::to_owned));
            assert!(
                found.contains(&expected),
                "{expected:?} is not in {found:?}"
            );
        }
    }

    #[test]
    fn sshd_accepts_many_sessions_and_logins_at_once() {
        let (_, _, text) = FILES
            .iter()
            .find(|(path, _, _)| *path == "etc/ssh/sshd_config.d/10-rdd.conf")
            .unwrap();
        let text = String::from_utf8(text.to_vec()).unwrap();
        let value = |key: &str| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(key))
                .unwrap();
            line.trim()
                .split(':')
                .next()
                .unwrap()
                .parse::<u32>()
                .unwrap()
        };
        assert!(
            value("MaxSessions") >= 256 && value("MaxStartups") >= 256,
            "{text}"
        );
    }

    #[test]
    fn units_and_agent_use_the_same_pid_files() {
        let text = |name: &str| {
            let (_, _, content) = FILES
                .iter()
                .find(|(path, _, _)| path.ends_with(name))
                .unwrap();
            String::from_utf8(content.to_vec()).unwrap()
        };
        assert!(text("rdd-guestagent.service").contains("PIDFile=/run/rdd-guestagent.pid"));
        assert!(
            text("10-rdd.conf").contains("PIDFile=/run/sshd.pid")
                || text("10-rdd.conf").contains("HostKey")
        );
    }
}
