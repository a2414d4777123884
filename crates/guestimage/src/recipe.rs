//! What an image is made of.

use lima::template::Arch;

/// A distribution release that images can be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// What users call it, and the name of the image.
    pub name: &'static str,
    /// The release's code name, by which mirrors know it.
    pub suite: &'static str,
    /// Archive areas.
    pub components: &'static str,
    /// The file with the keys that the mirrors' indexes are signed with, on the host and in the guest.
    pub keyring: &'static str,
    /// What is installed beside the essential packages; `{arch}` is Debian's name of the architecture.
    pub packages: &'static [&'static str],
}

/// Every recipe.
pub const RECIPES: &[Recipe] = &[DEBIAN_12];

const DEBIAN_12: Recipe = Recipe {
    name: "debian-12",
    suite: "bookworm",
    components: "main",
    keyring: "/usr/share/keyrings/debian-archive-keyring.gpg",
    packages: &[
        // The cloud kernel has NVMe and ext4 built in, so that it needs no initial RAM disk.
        "linux-image-cloud-{arch}",
        "systemd-sysv",
        "udev",
        "kmod",
        "dbus",
        // A session, and a bus for it: `systemctl --user`, rootless containers.
        "libpam-systemd",
        "dbus-user-session",
        "openssh-server",
        "sudo",
        "e2fsprogs",
        "iproute2",
        "iputils-ping",
        "netbase",
        "ca-certificates",
        "procps",
        "less",
        "vim-tiny",
        "curl",
    ],
};

/// The recipe of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Recipe> {
    RECIPES.iter().find(|recipe| recipe.name == name)
}

/// Debian's name of an architecture; `None` where Debian has no cloud kernel.
#[must_use]
pub fn debian_arch(arch: Arch) -> Option<&'static str> {
    match arch {
        Arch::X86_64 => Some("amd64"),
        Arch::Aarch64 => Some("arm64"),
        _ => None,
    }
}

impl Recipe {
    /// The packages for an architecture.
    #[must_use]
    pub fn packages(&self, debian_arch: &str) -> Vec<String> {
        self.packages
            .iter()
            .map(|name| name.replace("{arch}", debian_arch))
            .collect()
    }
}

/// The kernel's command line, without what depends on the accelerator. `console` is the first serial port.
#[must_use]
pub fn kernel_command_line(console: &str) -> String {
    let agent = crate::overlay::AGENT_PATH;
    // `rootwait`: NVMe is probed in the background. `net.ifnames=0`: the card is eth0, as in Lima's guests.
    format!(
        "root=/dev/nvme0n1 rootfstype=ext4 rootwait rw console={console} quiet init={agent} net.ifnames=0"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_is_found_by_name_only() {
        assert_eq!(find("debian-12").unwrap().suite, "bookworm");
        assert!(find("debian").is_none() && find("").is_none());
    }

    #[test]
    fn packages_are_those_of_the_architecture() {
        assert!(
            DEBIAN_12
                .packages("arm64")
                .contains(&"linux-image-cloud-arm64".to_owned())
        );
        assert!(
            DEBIAN_12
                .packages("amd64")
                .iter()
                .all(|name| !name.contains('{'))
        );
    }

    #[test]
    fn the_command_line_has_nothing_that_weakens_a_guest_with_hardware_acceleration() {
        let line = kernel_command_line("ttyS0");
        assert!(
            !line.contains("mitigations") && !line.contains("tsc="),
            "{line}"
        );
        assert!(line.contains("init=/usr/lib/rdd/guestagent"), "{line}");
    }
}
