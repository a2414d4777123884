//! The fingerprint of an image: a digest of its recipe, agent and settings. An image in the cache with another fingerprint
//! is out of date. The mirror's packages are not part of it, because they change every day.

use lima::image::BuiltImage;
use lima::template::Arch;
use sha2::{Digest as _, Sha256};

use crate::build::Options;
use crate::error::BuildError;
use crate::mirror::Mirror;
use crate::recipe::{self, Recipe};
use crate::{initrd, overlay, steps};

/// Returns the fingerprint of an image that [`crate::build`] would make now.
pub(crate) fn of(recipe: &Recipe, arch: Arch, disk_bytes: u64, agent: &[u8]) -> String {
    // The guest's package sources are in the overlay. The mirror is no part of the fingerprint, so it is empty here.
    let mirror = Mirror {
        archive: String::new(),
        security: String::new(),
    };
    let packages = recipe::debian_arch(arch).map(|name| recipe.packages(name));
    let settings = format!(
        "{recipe:?}\n{packages:?}\n{arch}\n{:?}\n{}\n{:?}",
        steps::mke2fs_arguments(disk_bytes),
        recipe::kernel_command_line(""),
        initrd::MODULES,
    );
    let mut hasher = Sha256::new();
    hasher.update(settings.len().to_le_bytes());
    hasher.update(settings);
    // Writing to memory fails for a path that is too long only, and the build reports that.
    hasher.update(overlay::archive(recipe, &mirror, agent).unwrap_or_default());
    hex::encode(hasher.finalize())
}

/// Returns whether an image of the cache is the one that [`crate::build`] would make now, apart from newer packages.
///
/// # Errors
/// No recipe has that name.
pub fn is_current(image: &BuiltImage, options: &Options) -> Result<bool, BuildError> {
    let recipe = crate::build::recipe(options)?;
    let now = of(recipe, image.arch, options.disk_bytes, overlay::GUEST_AGENT);
    Ok(image.fingerprint.as_ref() == Some(&now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipe_agent_size_and_architecture_change_the_fingerprint() {
        let recipe = recipe::find("debian-12").unwrap();
        let other = Recipe {
            packages: &["linux-image-cloud-{arch}"],
            ..recipe.clone()
        };
        let mut seen = vec![
            of(recipe, Arch::X86_64, 1 << 30, b"agent"),
            of(recipe, Arch::X86_64, 1 << 30, b"agent 2"),
            of(recipe, Arch::X86_64, 2 << 30, b"agent"),
            of(recipe, Arch::Aarch64, 1 << 30, b"agent"),
            of(&other, Arch::X86_64, 1 << 30, b"agent"),
        ];
        assert_eq!(seen[0], of(recipe, Arch::X86_64, 1 << 30, b"agent"));
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 5);
    }

    #[test]
    fn an_image_with_another_fingerprint_is_out_of_date() {
        let options = Options::new("debian-12");
        let recipe = recipe::find("debian-12").unwrap();
        let text = r#"{"name": "debian-12", "arch": "x86_64", "created": "2026-01-02T03:04:05Z", "disk":
            {"file": "disk.qcow2", "format": "qcow2", "virtualSize": 1, "sha256": "00"}}"#;
        let mut image: BuiltImage = serde_json::from_str(text).unwrap();
        assert!(!is_current(&image, &options).unwrap());
        let agent = overlay::GUEST_AGENT;
        image.fingerprint = Some(of(recipe, image.arch, options.disk_bytes, agent));
        assert!(is_current(&image, &options).unwrap());
        image.fingerprint = Some(of(recipe, image.arch, options.disk_bytes, b"older"));
        assert!(!is_current(&image, &options).unwrap());
    }
}
