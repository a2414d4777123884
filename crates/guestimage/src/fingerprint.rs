//! What an image was made by, in one value: another recipe, another agent or another setting of ours makes another one,
//! and an image in the cache that carries the old one is out of date. The mirror's packages are not part of it; they
//! change every day.

use lima::image::BuiltImage;
use lima::template::Arch;
use sha2::{Digest as _, Sha256};

use crate::build::Options;
use crate::error::BuildError;
use crate::mirror::Mirror;
use crate::recipe::{self, Recipe};
use crate::{overlay, steps};

/// The fingerprint of an image that [`crate::build`] would make now.
pub(crate) fn of(recipe: &Recipe, arch: Arch, disk_bytes: u64, agent: &[u8]) -> String {
    // The guest's sources.list is in the overlay, so a mirror is needed; any will do.
    let mirror = Mirror {
        archive: String::new(),
        security: String::new(),
    };
    let packages = recipe::debian_arch(arch).map(|name| recipe.packages(name));
    let settings = format!(
        "{recipe:?}\n{packages:?}\n{arch}\n{:?}\n{}",
        steps::mke2fs_arguments(disk_bytes),
        recipe::kernel_command_line(""),
    );
    let mut hasher = Sha256::new();
    hasher.update(settings.len().to_le_bytes());
    hasher.update(settings);
    hasher.update(overlay::archive(recipe, &mirror, agent));
    hex::encode(hasher.finalize())
}

/// Whether an image of the cache is what [`crate::build`] would make now, apart from newer packages.
///
/// # Errors
/// There is no recipe of that name.
pub fn is_current(image: &BuiltImage, options: &Options) -> Result<bool, BuildError> {
    let recipe = crate::build::recipe(options)?;
    let now = of(recipe, image.arch, options.disk_bytes, overlay::GUEST_AGENT);
    Ok(image.fingerprint.as_ref() == Some(&now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_goes_into_an_image_changes_its_fingerprint_and_nothing_else_does() {
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
    fn an_image_of_before_is_out_of_date_and_one_of_now_is_not() {
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
