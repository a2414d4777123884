//! What the image has beside the packages: the guest agent, settings, and units that are off.
//!
//! Rule for turning things off: a unit is masked only when it can do nothing useful in a guest that a host boots
//! directly (no boot loader, no TPM, no console to type at). What a user might want is left in its ordinary state.

use crate::mirror::Mirror;
use crate::recipe::Recipe;
use crate::tar::Archive;

/// The guest agent, a static program; empty when this crate was not built on Linux.
pub static GUEST_AGENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guestagent"));

/// Where it is in the guest, and the `init=` of the kernel's command line.
pub const AGENT_PATH: &str = "/usr/lib/rdd/guestagent";

/// The script that finishes the image, relative to its root. It removes itself.
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

/// Units that can do nothing here.
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
    // Nobody types passwords at a console.
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    "getty@tty1.service",
    "keyboard-setup.service",
    "console-setup.service",
    // Image updates of /usr, which there are none of.
    "ldconfig.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-update-done.service",
    "systemd-sysusers.service",
    // No graphics, no EFI variables.
    "modprobe@drm.service",
    "modprobe@efi_pstore.service",
];

/// Generators for what a guest does not have: each is a process at every start of systemd.
const MASKED_GENERATORS: &[&str] = &[
    "systemd-bless-boot-generator",
    "systemd-cryptsetup-generator",
    "systemd-getty-generator",
    "systemd-gpt-auto-generator",
    "systemd-hibernate-resume-generator",
    "systemd-integritysetup-generator",
    "systemd-veritysetup-generator",
];

/// The archive that is unpacked over the packages.
pub(crate) fn archive(recipe: &Recipe, mirror: &Mirror, agent: &[u8]) -> Vec<u8> {
    let mut archive = Archive::default();
    for folder in [
        "usr/lib/rdd",
        "etc/systemd/system/ssh.service.d",
        "etc/systemd/system-generators",
        "etc/systemd/network",
        "etc/ssh/sshd_config.d",
    ] {
        archive.folder(folder, 0o755);
    }
    archive.file(AGENT_PATH.trim_start_matches('/'), 0o755, agent);
    for (path, mode, content) in FILES {
        archive.file(path, *mode, content);
    }
    archive.file(
        "etc/apt/sources.list.d/debian.sources",
        0o644,
        mirror.deb822(recipe).as_bytes(),
    );
    for unit in MASKED_UNITS {
        archive.link(&format!("etc/systemd/system/{unit}"), "/dev/null");
    }
    for generator in MASKED_GENERATORS {
        archive.link(
            &format!("etc/systemd/system-generators/{generator}"),
            "/dev/null",
        );
    }
    archive.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_a_static_linux_program() {
        assert_eq!(&GUEST_AGENT[..4], b"\x7fELF");
        // A dynamic program has a PT_INTERP header with its loader, which another distribution has elsewhere.
        const PT_INTERP: u8 = 3;
        let at = |index: usize| usize::from(GUEST_AGENT[index]);
        let (table, size, count) = (at(32), at(54), at(56));
        assert!(
            (0..count).all(|index| GUEST_AGENT[table + index * size] != PT_INTERP),
            "it is linked dynamically"
        );
    }

    #[test]
    fn the_pid_files_of_the_units_are_those_of_the_agent() {
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
