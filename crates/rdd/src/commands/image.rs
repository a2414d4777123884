//! `rdd image`: the guest images in the cache, which all instances share.

use std::time::SystemTime;

use anyhow::bail;
use jiff::Timestamp;
use lima::image::{Cache, CacheEntry, EntryId};

use super::image_build;
use crate::cli::Image;
use crate::context::Context;
use crate::exit::Exit;
use crate::logging::RESULT;
use crate::output;

/// Runs a command of `rdd image`.
pub(crate) fn run(command: Image, context: &Context) -> anyhow::Result<Exit> {
    let cache = Cache::new(&context.paths.cache_dir);
    match command {
        Image::Build {
            name,
            mirror,
            force,
        } => image_build::run(context, &cache, &name, mirror, force)?,
        Image::List => list(&cache)?,
        Image::Remove { name } => remove(&cache, &name)?,
    }
    Ok(Exit::Success)
}

fn list(cache: &Cache) -> anyhow::Result<()> {
    let rows: Vec<_> = cache.list()?.iter().map(row).collect();
    output::print(&output::table(["IMAGE", "ARCH", "SIZE", "CREATED"], &rows))
}

fn row(entry: &CacheEntry) -> [String; 4] {
    let created = entry
        .created
        .filter(|_| entry.complete)
        .map_or_else(|| "unfinished".to_owned(), date);
    let arch = entry
        .arch
        .map_or_else(|| "-".to_owned(), |arch| arch.to_string());
    [entry.id.to_string(), arch, size(entry.size), created]
}

fn date(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| "unknown".to_owned(), |time| format!("{time:.0}"))
}

/// Formats a number of bytes for people.
fn size(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    match bytes {
        bytes if bytes >= MIB => format!("{} MiB", bytes / MIB),
        bytes => format!("{} KiB", bytes.div_ceil(1 << 10)),
    }
}

fn remove(cache: &Cache, name: &str) -> anyhow::Result<()> {
    // The name that the list shows, or the short name of a built image.
    let known = cache.list()?;
    let is_meant = |id: &EntryId| id.to_string() == name || *id == EntryId::Built(name.to_owned());
    let Some(entry) = known.iter().find(|entry| is_meant(&entry.id)) else {
        bail!("there is no image {name:?} in the cache; `rdd image list` shows what there is");
    };
    cache.remove(&entry.id)?;
    tracing::info!(target: RESULT, "removed {}", entry.id);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_readable_units() {
        for (bytes, text) in [
            (0, "0 KiB"),
            (1, "1 KiB"),
            (1 << 20, "1 MiB"),
            (328 << 20, "328 MiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
