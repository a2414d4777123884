//! Local files, compressed files, and images built on this machine.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use lima::image::{
    BuiltDisk, BuiltImage, BuiltKernel, Cache, DiskFormat, EntryId, ImageError, RootBus,
};
use lima::progress::{Cancel, Silent};
use lima::template::Arch;

use crate::crash;

pub(crate) fn image(name: &str, text: &[u8]) -> BuiltImage {
    BuiltImage {
        name: name.to_owned(),
        arch: Arch::of_this_build().unwrap(),
        created: "2026-01-02T03:04:05Z".to_owned(),
        disk: BuiltDisk {
            file: "disk.raw".to_owned(),
            format: DiskFormat::Raw,
            virtual_size: text.len() as u64,
            sha256: "0".repeat(64),
        },
        kernel: Some(BuiltKernel {
            file: "vmlinux".to_owned(),
            cmdline: "root=/dev/nvme0n1 quiet".to_owned(),
        }),
        initrd: None,
        firmware: Some("qboot.rom".to_owned()),
        root_bus: RootBus::Nvme,
        size: 0,
        description: None,
        fingerprint: None,
    }
}

pub(crate) fn build(cache: &Cache, name: &str, text: &[u8]) -> BuiltImage {
    let staged = cache.stage_built(name, &Silent, &Cancel::new()).unwrap();
    std::fs::write(staged.path().join("disk.raw"), text).unwrap();
    std::fs::write(staged.path().join("vmlinux"), b"kernel").unwrap();
    let json = serde_json::to_vec(&image(name, text)).unwrap();
    std::fs::write(staged.path().join("image.json"), json).unwrap();
    cache.publish_built(name, staged.path()).unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_built_image_replaces_the_older_one_and_links_to_the_older_stay() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path());
    let error = cache.built("debian-12").unwrap_err().to_string();
    assert!(error.contains("rdd image build debian-12"), "{error}");
    build(&cache, "debian-12", b"one");
    let link = dir.path().join("basedisk");
    cache
        .fetch("image://debian-12", None, &Silent, &Cancel::new())
        .unwrap()
        .place(&link, Some(u64::MAX), &Silent, &Cancel::new())
        .unwrap();
    assert_eq!(
        std::fs::metadata(&link).unwrap().nlink(),
        2,
        "a link and not a copy"
    );
    build(&cache, "debian-12", b"two");
    assert_eq!(std::fs::read(&link).unwrap(), b"one");
    let fetched = cache
        .fetch("image://debian-12", None, &Silent, &Cancel::new())
        .unwrap();
    assert_eq!(std::fs::read(fetched.path()).unwrap(), b"two");
    drop(fetched);
    assert_eq!(names(&dir.path().join("built")), ["debian-12"]);
    let listed = cache.list().unwrap();
    assert_eq!(listed[0].id, EntryId::Built("debian-12".to_owned()));
    cache.remove(&listed[0].id).unwrap();
    assert!(matches!(
        cache.built("debian-12"),
        Err(ImageError::NotBuilt { .. })
    ));
}

#[test]
fn an_incomplete_build_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path());
    build(&cache, "d", b"one");
    for (file, json, reason) in [
        (
            "other",
            serde_json::to_vec(&image("d", b"")).unwrap(),
            "it has no file \"disk.raw\"",
        ),
        ("disk.raw", b"{".to_vec(), "does not describe an image"),
        (
            "disk.raw",
            serde_json::to_vec(&image("e", b"")).unwrap(),
            "calls it \"e\"",
        ),
        (
            "disk.raw",
            serde_json::to_string(&image("d", b""))
                .unwrap()
                .replace("vmlinux", "../vmlinux")
                .into(),
            "not the name",
        ),
    ] {
        let staged = cache.stage_built("d", &Silent, &Cancel::new()).unwrap();
        std::fs::write(staged.path().join(file), b"x").unwrap();
        std::fs::write(staged.path().join("image.json"), json).unwrap();
        let error = cache
            .publish_built("d", staged.path())
            .unwrap_err()
            .to_string();
        assert!(error.contains(reason), "{error}");
    }
    assert_eq!(cache.built("d").unwrap().disk.virtual_size, 3);
    assert_eq!(names(&dir.path().join("built")), ["d"]);
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn publish_in_a_child() {
    if let Some(folder) = crash::folder() {
        build(&Cache::new(folder), "d", b"two");
    }
}

#[test]
fn a_publication_killed_at_any_step_leaves_one_complete_image() {
    for (point, expected) in [
        ("image.after-old-moved", "one"),
        ("image.after-published", "two"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path());
        build(&cache, "d", b"one");
        assert_eq!(
            crash::run("images::publish_in_a_child", dir.path(), point),
            crash::End::Killed
        );
        assert_eq!(cache.list().unwrap().len(), 1, "{point}");
        let fetched = cache
            .fetch("image://d", None, &Silent, &Cancel::new())
            .unwrap();
        assert_eq!(
            std::fs::read_to_string(fetched.path()).unwrap(),
            expected,
            "{point}"
        );
        drop(fetched);
        build(&cache, "d", b"three");
        assert_eq!(names(&dir.path().join("built")), ["d"], "{point}");
    }
}

#[test]
fn compressed_files_are_recognized_by_their_content_and_unpacked() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path().join("cache"));
    let text: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    for (tool, suffix) in [
        ("gzip", "gz"),
        ("xz", "xz"),
        ("zstd", "zst"),
        ("bzip2", "bz2"),
    ] {
        let raw = dir.path().join(format!("a [{tool}]* b"));
        std::fs::write(&raw, &text).unwrap();
        let status = Command::new(tool)
            .arg("-q")
            .arg("-k")
            .arg("--")
            .arg(&raw)
            .status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "{tool} is needed for this test"
        );
        let packed = dir.path().join(format!("a [{tool}]* b.{suffix}"));
        let named = dir.path().join(format!("{tool} without suffix"));
        std::fs::rename(packed, &named).unwrap();
        let fetched = cache
            .fetch(named.to_str().unwrap(), None, &Silent, &Cancel::new())
            .unwrap();
        let out = dir.path().join(format!("{tool}.out"));
        fetched
            .place(&out, Some(u64::MAX), &Silent, &Cancel::new())
            .unwrap();
        assert_eq!(std::fs::read(&out).unwrap(), text, "{tool}");

        let kept = dir.path().join(format!("{tool}.kept"));
        fetched.place(&kept, None, &Silent, &Cancel::new()).unwrap();
        assert_eq!(
            std::fs::read(&kept).unwrap(),
            std::fs::read(&named).unwrap()
        );

        let packed = std::fs::read(&named).unwrap();
        std::fs::write(&named, &packed[..packed.len() / 2]).unwrap();
        let broken = dir.path().join(format!("{tool}.broken"));
        let error = fetched
            .place(&broken, Some(u64::MAX), &Silent, &Cancel::new())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("cannot unpack") && error.contains(tool),
            "{error}"
        );
    }
    assert!(
        !names(dir.path()).iter().any(|name| name.ends_with(".tmp")),
        "{:?}",
        names(dir.path())
    );
}

#[test]
fn a_packed_image_is_unpacked_with_holes_and_within_a_limit() {
    const LENGTH: u64 = 256 << 20;
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path().join("cache"));
    let raw = dir.path().join("disk.raw");
    let file = std::fs::File::create(&raw).unwrap();
    std::os::unix::fs::FileExt::write_at(&file, b"middle", 100 << 20).unwrap();
    file.set_len(LENGTH).unwrap();
    drop(file);
    let packed = Command::new("gzip").arg("-1").arg(&raw).status().unwrap();
    assert!(packed.success());
    let location = dir.path().join("disk.raw.gz").display().to_string();
    let fetched = cache
        .fetch(&location, None, &Silent, &Cancel::new())
        .unwrap();
    let out = dir.path().join("out");
    fetched
        .place(&out, Some(LENGTH), &Silent, &Cancel::new())
        .unwrap();
    let unpacked = std::fs::metadata(&out).unwrap();
    assert_eq!(unpacked.len(), LENGTH);
    assert!(
        unpacked.blocks() * 512 < 8 << 20,
        "{} blocks",
        unpacked.blocks()
    );
    let mut middle = [0; 6];
    let file = std::fs::File::open(&out).unwrap();
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut middle, 100 << 20).unwrap();
    assert_eq!(&middle, b"middle");

    let large = dir.path().join("large");
    let error = fetched
        .place(&large, Some(LENGTH - 1), &Silent, &Cancel::new())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("confirm it with a larger \"disk\""),
        "{error}"
    );
}

#[test]
fn a_file_of_the_user_is_copied_with_its_holes_and_never_removed() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path().join("cache"));
    let source = dir.path().join("disk.raw");
    let file = std::fs::File::create(&source).unwrap();
    std::os::unix::fs::FileExt::write_at(&file, b"end", 64 << 20).unwrap();
    drop(file);
    let location = format!("file://{}", source.display());
    let out = dir.path().join("out");
    let fetched = cache
        .fetch(&location, None, &Silent, &Cancel::new())
        .unwrap();
    fetched
        .place(&out, Some(u64::MAX), &Silent, &Cancel::new())
        .unwrap();
    let (original, copy) = (
        std::fs::metadata(&source).unwrap(),
        std::fs::metadata(&out).unwrap(),
    );
    assert_eq!(original.len(), copy.len());
    assert_eq!(
        original.nlink(),
        1,
        "the user may change the file; a link would break the VM"
    );
    assert!(copy.blocks() * 512 < 8 << 20, "{} blocks", copy.blocks());

    let digest = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
    let error = cache
        .fetch(&location, Some(&digest), &Silent, &Cancel::new())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&"0".repeat(64)) && !error.contains("removed"),
        "{error}"
    );
    assert!(source.exists());
    let error = cache
        .fetch("/no/such/file", None, &Silent, &Cancel::new())
        .unwrap_err()
        .to_string();
    assert!(error.contains("/no/such/file"), "{error}");
}
