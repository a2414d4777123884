//! Instance folders, with real qemu-img.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use lima::image::{Cache, Limits, RootBus};
use lima::instance::{self, InstanceError};
use lima::layout::{InstanceDir, LimaHome};
use lima::progress::{Cancel, Silent};
use lima::template::{ByteSize, Template};
use process::lock::FileLock;

use crate::crash::{self, End};
use crate::http_server::{Manner, Server};
use crate::images::build;
use crate::template::host;

fn qemu_img(arguments: &[&str], path: &Path) -> String {
    let output = Command::new("qemu-img")
        .args(arguments)
        .arg(path)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A Lima home in a folder with an unfriendly name (hazard 14), and a cache.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a[1] *b")).unwrap();
        Self { dir }
    }

    fn root(&self) -> std::path::PathBuf {
        self.dir.path().join("a[1] *b")
    }

    fn home(&self) -> LimaHome {
        LimaHome::new(self.root().join("lima"))
    }

    fn cache(&self) -> Cache {
        Cache::new(self.root().join("cache")).with_limits(Limits {
            attempts: 1,
            ..Limits::default()
        })
    }

    fn template(&self, text: &str) -> Template {
        template(&self.home(), text)
    }

    fn prepare(&self, name: &str, text: &str) -> Result<InstanceDir, InstanceError> {
        instance::prepare(
            &self.home(),
            name,
            &self.template(text),
            &self.cache(),
            &Silent,
            &Cancel::new(),
        )
    }

    /// Returns the names in the Lima home, except the locks.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.home().root).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.retain(|name| name != "_locks");
        names.sort();
        names
    }
}

fn template(home: &LimaHome, text: &str) -> Template {
    let mut template = Template::parse(text).unwrap().template;
    template
        .fill_defaults(&host(), &home.instance("x").unwrap(), &BTreeMap::new())
        .unwrap();
    template
}

const BUILT: &str = "images: [{location: image://d}]\ndisk: 1GiB\n";

#[test]
fn an_instance_of_a_built_image_has_all_files_and_can_be_loaded() {
    let world = World::new();
    build(&world.cache(), "d", &[7; 1 << 16]);
    let dir = world.prepare("web", BUILT).unwrap();
    assert_eq!(world.names(), ["web"]);
    assert_eq!(
        std::fs::metadata(dir.base_disk()).unwrap().nlink(),
        2,
        "linked, not copied"
    );
    assert_eq!(std::fs::read(dir.kernel()).unwrap(), b"kernel");
    assert_eq!(
        std::fs::read_to_string(dir.kernel_cmdline()).unwrap(),
        "root=/dev/nvme0n1 quiet"
    );
    assert_eq!(
        std::fs::metadata(dir.diff_disk())
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    let info: serde_json::Value = serde_json::from_str(&qemu_img(
        &["info", "--output=json", "--backing-chain"],
        &dir.diff_disk(),
    ))
    .unwrap();
    assert_eq!(
        info[0]["backing-filename"], "basedisk",
        "relative, so that the folder can move"
    );
    assert_eq!(info[0]["virtual-size"], 1 << 30);
    assert_eq!(info[1]["format"], "raw");

    let loaded = instance::load(&dir).unwrap();
    assert_eq!(loaded.template, world.template(BUILT));
    assert_eq!(
        (loaded.hints.root_bus, loaded.hints.firmware.as_deref()),
        (RootBus::Nvme, Some("qboot.rom"))
    );
    assert_eq!(instance::list(&world.home()).unwrap(), [dir]);
    let error = world.prepare("web", BUILT).unwrap_err();
    assert!(matches!(error, InstanceError::Exists { .. }), "{error}");
}

#[test]
fn an_instance_of_a_downloaded_qcow2_image_grows_and_never_shrinks() {
    let world = World::new();
    let source = world.root().join("source.qcow2");
    assert!(
        Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2"])
            .arg(&source)
            .arg("2G")
            .status()
            .unwrap()
            .success()
    );
    let server = Server::start(&std::fs::read(&source).unwrap(), &[Manner::Good]);
    let text = format!(
        "images: [{{location: \"{}\"}}]\ndisk: 1GiB\n",
        server.url("x.qcow2")
    );
    let dir = world.prepare("web", &text).unwrap();
    let size = |dir: &InstanceDir| -> u64 {
        let info = qemu_img(&["info", "--output=json"], &dir.diff_disk());
        serde_json::from_str::<serde_json::Value>(&info).unwrap()["virtual-size"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(
        size(&dir),
        2 << 30,
        "the image's size, because that is larger"
    );
    let mut template = world.template(&text);
    template.disk = Some(ByteSize::gib(3));
    template.cpus = Some(2);
    instance::update_template(&dir, &template).unwrap();
    assert_eq!(size(&dir), 3 << 30);
    assert_eq!(instance::load(&dir).unwrap().template.cpus, Some(2));
    template.disk = Some(ByteSize::gib(1));
    let error = instance::update_template(&dir, &template).unwrap_err();
    assert!(
        matches!(error, InstanceError::DiskShrinks { .. }),
        "{error}"
    );
    assert_eq!(size(&dir), 3 << 30);
    let other = world.prepare("other", &text).unwrap();
    assert_eq!(
        std::fs::metadata(other.base_disk()).unwrap().nlink(),
        3,
        "two instances and the cache share one file"
    );
}

#[test]
fn a_failed_preparation_leaves_nothing_and_works_once_the_cause_is_removed() {
    let world = World::new();
    let root = world.root();
    let backing = root.join("backing.qcow2");
    std::fs::write(root.join("secret"), b"secret").unwrap();
    let create = ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", "secret"];
    assert!(
        Command::new("qemu-img")
            .args(create)
            .arg(&backing)
            .current_dir(&root)
            .status()
            .unwrap()
            .success()
    );
    std::fs::write(root.join("empty"), b"").unwrap();
    let mut iso = vec![0; 40 * 2048];
    iso[16 * 2048 + 1..][..5].copy_from_slice(b"CD001");
    std::fs::write(root.join("cd.iso"), iso).unwrap();
    let vmdk = root.join("x.vmdk");
    assert!(
        Command::new("qemu-img")
            .args(["create", "-q", "-f", "vmdk"])
            .arg(&vmdk)
            .arg("1M")
            .status()
            .unwrap()
            .success()
    );
    let file = |name: &str| {
        format!(
            "images: [{{location: \"{}\"}}]\ndisk: 1GiB\n",
            root.join(name).display()
        )
    };
    let other = if host().arch.as_str() == "s390x" {
        "x86_64"
    } else {
        "s390x"
    };
    for (text, reason) in [
        (BUILT.to_owned(), "rdd image build d"),
        (file("nothing"), "images[0]: cannot open"),
        (file("backing.qcow2"), "needs another file"),
        (file("empty"), "it is empty"),
        (file("cd.iso"), "it is a CD image"),
        (file("x.vmdk"), "its format is vmdk"),
        (
            format!("images: [{{location: /x, arch: {other}}}]"),
            "none is for the architecture",
        ),
        (
            "images: [{location: \"http://127.0.0.1:1/x\"}]".to_owned(),
            "images[0]: cannot download",
        ),
        (file("secret").replace("disk", "digest: x\n#"), ""),
    ] {
        if reason.is_empty() {
            continue;
        }
        let error = world.prepare("web", &text).unwrap_err().to_string();
        assert!(error.contains(reason), "{reason} is not in {error}");
        assert_eq!(world.names(), [""; 0], "{reason}");
    }
    let error = world.prepare("a/b", BUILT).unwrap_err().to_string();
    assert!(error.contains("a/b"), "{error}");
    build(&world.cache(), "d", &[7; 1 << 16]);
    world.prepare("web", BUILT).unwrap();
}

#[test]
fn an_image_for_another_architecture_is_not_reported_as_broken() {
    let world = World::new();
    build(&world.cache(), "d", &[7; 1 << 16]);
    let text = format!("arch: aarch64\n{BUILT}");
    let error = world.prepare("web", &text).unwrap_err().to_string();
    assert!(
        error.contains("is for x86_64") && error.contains("wants aarch64"),
        "{error}"
    );
    assert!(
        !error.contains("broken") && !error.contains("image build"),
        "to build it again would not help: {error}"
    );
}

#[test]
fn the_next_image_is_used_if_the_first_fails() {
    let world = World::new();
    build(&world.cache(), "d", &[7; 1 << 16]);
    let text = "images: [{location: /no/such}, {location: image://unknown}, {location: image://d}]\ndisk: 1GiB\n";
    let dir = world.prepare("web", text).unwrap();
    assert_eq!(instance::load(&dir).unwrap().hints.location, "image://d");
}

#[test]
fn a_home_too_long_for_sockets_is_an_error_before_files_are_made() {
    let world = World::new();
    let home = LimaHome::new(world.root().join("h".repeat(100)));
    let template = world.template(BUILT);
    let error = instance::prepare(
        &home,
        "web",
        &template,
        &world.cache(),
        &Silent,
        &Cancel::new(),
    )
    .unwrap_err();
    assert!(matches!(error, InstanceError::Socket(_)), "{error}");
    assert!(!home.root.exists());
}

#[test]
fn a_smaller_disk_is_refused_and_changes_nothing() {
    let world = World::new();
    build(&world.cache(), "d", &[7; 1 << 16]);
    let dir = world.prepare("web", BUILT).unwrap();
    let mut template = instance::load(&dir).unwrap().template;
    let size = template.disk.unwrap();
    let before = std::fs::read(dir.lima_yaml()).unwrap();
    template.disk = Some(ByteSize(size.0 / 2));
    for error in [
        instance::check_change(&dir, &template).unwrap_err(),
        instance::update_template(&dir, &template).unwrap_err(),
    ] {
        assert!(
            matches!(error, InstanceError::DiskShrinks { .. }),
            "{error}"
        );
        assert!(error.to_string().starts_with("disk: "), "{error}");
    }
    assert_eq!(std::fs::read(dir.lima_yaml()).unwrap(), before);
    template.disk = Some(size);
    instance::check_change(&dir, &template).unwrap();
    template.disk = Some(ByteSize(size.0 * 2));
    instance::check_change(&dir, &template).unwrap();
    // An instance that does not exist yet may have any size.
    let other = world.home().instance("other").unwrap();
    instance::check_change(&other, &template).unwrap();
}

#[test]
fn a_cancelled_preparation_leaves_nothing() {
    let world = World::new();
    build(&world.cache(), "d", &[7; 1 << 16]);
    let cancel = Cancel::new();
    cancel.cancel();
    let result = instance::prepare(
        &world.home(),
        "web",
        &world.template(BUILT),
        &world.cache(),
        &Silent,
        &cancel,
    );
    assert!(result.unwrap_err().to_string().contains("cancelled"));
    assert_eq!(world.names(), [""; 0]);
}

#[test]
fn deleting_needs_the_instances_own_lock_and_removes_every_file() {
    let world = World::new();
    build(&world.cache(), "d", &[7; 1 << 16]);
    let dir = world.prepare("web", BUILT).unwrap();
    let lock = |path: &Path| FileLock::acquire(path, "test", Instant::now()).unwrap();
    let wrong = world.root().join("other.lock");
    let error = instance::delete(&world.home(), &dir, lock(&wrong)).unwrap_err();
    assert!(matches!(error, InstanceError::NotLocked { .. }), "{error}");
    std::fs::write(dir.protected(), b"").unwrap();
    let error = instance::delete(&world.home(), &dir, lock(&dir.ha_lock()))
        .unwrap_err()
        .to_string();
    assert!(error.contains("protected"), "{error}");
    std::fs::remove_file(dir.protected()).unwrap();
    let prepared = world.home().locks_dir().join("web.lock");
    assert!(prepared.exists());
    instance::delete(&world.home(), &dir, lock(&dir.ha_lock())).unwrap();
    assert_eq!(world.names(), [""; 0]);
    assert!(!prepared.exists(), "the lock's file goes with the instance");
    assert!(matches!(
        instance::load(&dir),
        Err(InstanceError::Missing { .. })
    ));
    assert_eq!(
        world.cache().built("d").unwrap().name,
        "d",
        "the cache keeps its image"
    );
}

/// Runs in a child process, in the folder of the parent.
#[test]
#[ignore = "run by another test, in a process of its own"]
fn prepare_in_a_child() {
    let Some(root) = crash::folder() else { return };
    let home = LimaHome::new(root.join("lima"));
    let template = template(&home, BUILT);
    instance::prepare(
        &home,
        "web",
        &template,
        &Cache::new(root.join("cache")),
        &Silent,
        &Cancel::new(),
    )
    .unwrap();
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn delete_in_a_child() {
    let Some(root) = crash::folder() else { return };
    let home = LimaHome::new(root.join("lima"));
    let dir = home.instance("web").unwrap();
    let lock = FileLock::acquire(&dir.ha_lock(), "test", Instant::now()).unwrap();
    instance::delete(&home, &dir, lock).unwrap();
}

#[test]
fn h23_h24_killed_at_each_step_there_is_a_whole_instance_or_none() {
    for point in [
        "prepare.after-folder",
        "prepare.after-image",
        "prepare.after-disk",
        "file.written:3",
        "prepare.after-files",
        "prepare.after-rename",
    ] {
        let world = World::new();
        build(&world.cache(), "d", &[7; 1 << 16]);
        assert_eq!(
            crash::run("instance::prepare_in_a_child", &world.root(), point),
            End::Killed,
            "{point}"
        );
        let whole = point == "prepare.after-rename";
        assert_eq!(
            instance::list(&world.home()).unwrap().len(),
            usize::from(whole),
            "{point}"
        );
        if whole {
            instance::load(&world.home().instance("web").unwrap()).unwrap();
            continue;
        }
        // Removed by the next call, or by the daemon's start.
        assert_eq!(
            instance::remove_stale(&world.home()).unwrap().len(),
            1,
            "{point}"
        );
        assert_eq!(world.names(), [""; 0], "{point}");
        crash::run("instance::prepare_in_a_child", &world.root(), point);
        let dir = world.prepare("web", BUILT).unwrap();
        instance::load(&dir).unwrap();
        assert_eq!(world.names(), ["web"], "{point}");
    }
}

#[test]
fn h23_a_delete_that_was_killed_leaves_no_half_instance() {
    let world = World::new();
    build(&world.cache(), "d", &[7; 1 << 16]);
    world.prepare("web", BUILT).unwrap();
    let point = "instance.delete.after-rename";
    assert_eq!(
        crash::run("instance::delete_in_a_child", &world.root(), point),
        End::Killed
    );
    assert_eq!(instance::list(&world.home()).unwrap(), []);
    instance::remove_stale(&world.home()).unwrap();
    assert_eq!(world.names(), [""; 0]);
}

/// Runs in a mount namespace whose Lima home is a file system of 2 MiB.
#[test]
#[ignore = "run by another test, in a process of its own"]
fn prepare_on_a_full_disk() {
    let Some(root) = crash::folder() else { return };
    let home = LimaHome::new(root.join("lima"));
    let cache = Cache::new(root.join("cache"));
    let large = template(
        &home,
        &format!(
            "images: [{{location: \"{}\"}}]\n",
            root.join("large").display()
        ),
    );
    let error = instance::prepare(&home, "web", &large, &cache, &Silent, &Cancel::new())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("are needed") && error.contains("free some space and try again"),
        "{error}"
    );
    assert_eq!(instance::list(&home).unwrap(), []);
    let small = template(&home, "images: [{location: image://d}]\n");
    let dir = instance::prepare(&home, "web", &small, &cache, &Silent, &Cancel::new()).unwrap();
    instance::load(&dir).unwrap();
    println!("the full disk was met");
}

#[test]
fn a_full_disk_is_an_error_leaves_nothing_and_the_same_call_works_later() {
    let world = World::new();
    build(&world.cache(), "d", &[7; 1 << 16]);
    std::fs::write(world.root().join("large"), vec![1; 4 << 20]).unwrap();
    std::fs::create_dir(world.home().root).unwrap();
    let script = r#"mount -t tmpfs -o size=2m tmpfs "$1" && exec "$2" --ignored --exact instance::prepare_on_a_full_disk --nocapture"#;
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", script, "sh"])
        .arg(world.home().root)
        .arg(std::env::current_exe().unwrap())
        .env(crash::FOLDER, world.root())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.starts_with("unshare:") || errors.starts_with("mount:") {
        // The host does not allow user namespaces. The message has a test beside the code.
        return testutils::skip(testutils::Need::Namespaces, errors);
    }
    assert!(
        output.status.success() && text.contains("the full disk was met"),
        "{text}\n{errors}"
    );
}
