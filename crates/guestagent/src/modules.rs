//! Finds the kernel module files to load, and their order, in the text of `modules.dep`.
//!
//! A line is `kernel/a/b.ko: kernel/c.ko kernel/d.ko`. The dependencies are loaded from the last to the first; depmod writes
//! all of them, also the indirect ones (modules.dep(5)).

/// Returns the files to load for `wanted` (module names such as `virtio_net`), each once and dependencies first. Skips
/// names that are not in `modules.dep`, because these are built into the kernel or do not exist.
#[must_use]
pub fn load_order<'a>(modules_dep: &'a str, wanted: &[&str]) -> Vec<&'a str> {
    let mut order: Vec<&str> = Vec::new();
    for name in wanted {
        let Some(line) = modules_dep.lines().find(|line| line_is_of(line, name)) else {
            continue;
        };
        let Some((file, dependencies)) = line.split_once(':') else {
            continue;
        };
        for path in dependencies.split_ascii_whitespace().rev().chain([file]) {
            if !order.contains(&path) {
                order.push(path);
            }
        }
    }
    order
}

/// Module names use `_` where file names may use `-`.
fn line_is_of(line: &str, name: &str) -> bool {
    let Some((path, _)) = line.split_once(':') else {
        return false;
    };
    let Some(file) = path.rsplit('/').next() else {
        return false;
    };
    let stem = file.split('.').next().unwrap_or(file);
    stem.len() == name.len()
        && stem
            .bytes()
            .zip(name.bytes())
            .all(|(a, b)| a == b || (a == b'-' && b == b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_loaded_first_and_each_file_once() {
        let dep = "kernel/virtio/virtio_ring.ko: kernel/virtio/virtio.ko\n\
                   kernel/virtio/virtio.ko:\n\
                   kernel/net/failover.ko:\n\
                   kernel/virtio/virtio_pci.ko: kernel/virtio/virtio_ring.ko kernel/virtio/virtio.ko\n\
                   kernel/net/virtio-net.ko: kernel/net/failover.ko kernel/virtio/virtio_ring.ko kernel/virtio/virtio.ko\n";
        assert_eq!(
            load_order(dep, &["virtio_pci", "ext4", "virtio_net"]),
            [
                "kernel/virtio/virtio.ko",
                "kernel/virtio/virtio_ring.ko",
                "kernel/virtio/virtio_pci.ko",
                "kernel/net/failover.ko",
                "kernel/net/virtio-net.ko",
            ]
        );
    }

    #[test]
    fn a_broken_file_has_no_modules_to_load() {
        assert!(load_order("no colon here\n\n:::\n", &["virtio_net", "no"]).is_empty());
    }
}
