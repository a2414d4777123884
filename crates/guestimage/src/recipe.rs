//! The recipes of images.

use lima::template::Arch;

/// A distribution release that images can be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The name for users, and of the image.
    pub name: &'static str,
    /// The release's code name, which mirrors use.
    pub suite: &'static str,
    /// Archive areas.
    pub components: &'static str,
    /// The file with the keys of the mirrors' signatures, on the host and in the guest.
    pub keyring: &'static str,
    /// The packages beside the essential ones. `{arch}` is Debian's name of the architecture.
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
        // ext4 is built into the cloud kernel; virtio-blk is a module, which the initial RAM disk loads.
        "linux-image-cloud-{arch}",
        "systemd-sysv",
        "udev",
        "kmod",
        "dbus",
        // User sessions with a bus, for `systemctl --user` and rootless containers.
        "libpam-systemd",
        "dbus-user-session",
        "openssh-server",
        "sudo",
        "e2fsprogs",
        "iproute2",
        "iputils-ping",
        "netbase",
        // Time zones, for `timezone` in templates.
        "tzdata",
        "ca-certificates",
        "procps",
        "less",
        "vim-tiny",
        "curl",
    ],
};

/// Returns the recipe with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Recipe> {
    RECIPES.iter().find(|recipe| recipe.name == name)
}

/// Returns Debian's name of an architecture, or `None` if Debian has no cloud kernel for it.
#[must_use]
pub fn debian_arch(arch: Arch) -> Option<&'static str> {
    match arch {
        Arch::X86_64 => Some("amd64"),
        Arch::Aarch64 => Some("arm64"),
        _ => None,
    }
}

impl Recipe {
    /// Returns the packages for an architecture.
    #[must_use]
    pub fn packages(&self, debian_arch: &str) -> Vec<String> {
        self.packages
            .iter()
            .map(|name| name.replace("{arch}", debian_arch))
            .collect()
    }
}

/// Returns the kernel's command line without the words that depend on the accelerator. `console` is the first serial port.
#[must_use]
pub fn kernel_command_line(console: &str) -> String {
    let agent = crate::overlay::AGENT_PATH;
    // Read by the initial RAM disk (`root=`, `rootfstype=`, `init=`), which mounts the disk read-write. `net.ifnames=0`: the
    // card is eth0, as in Lima's guests.
    format!("root=/dev/vda rootfstype=ext4 rw console={console} quiet init={agent} net.ifnames=0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_is_found_by_its_exact_name() {
        assert_eq!(find("debian-12").unwrap().suite, "bookworm");
        assert!(find("debian").is_none() && find("").is_none());
    }

    #[test]
    fn packages_have_the_name_of_the_architecture() {
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
    fn the_command_line_keeps_mitigations_on() {
        let line = kernel_command_line("ttyS0");
        assert!(
            !line.contains("mitigations") && !line.contains("tsc="),
            "{line}"
        );
        assert!(line.contains("init=/usr/lib/rdd/guestagent"), "{line}");
    }
}
