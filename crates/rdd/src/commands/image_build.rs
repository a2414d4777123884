//! `rdd image build`: a guest image from a distribution's packages.

use std::ffi::OsString;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use guestimage::{Options, Progress, Step};
use indicatif::{ProgressBar, ProgressStyle};
use lima::image::Cache;
use lima::progress::Cancel;
use process::stop::StopRequests;

use crate::context::Context;
use crate::exit::Failure;
use crate::logging::RESULT;

/// How often the spinner moves.
const TICK: Duration = Duration::from_millis(100);
/// The length of the progress bar. The build reports its progress as a number from 0 to 1.
const WHOLE: u32 = 1000;
/// The progress after which another line is logged where there is no terminal.
const A_LINE: f32 = 0.1;
/// Folders with programs such as `mke2fs`, which are not in the `PATH` of ordinary users.
const SYSTEM_PROGRAMS: &str = ":/usr/local/sbin:/usr/sbin:/sbin";

/// Builds the image unless it is in the cache, and prints how to use it.
pub(crate) fn run(
    context: &Context,
    cache: &Cache,
    name: &str,
    mirror: Option<String>,
    force: bool,
) -> anyhow::Result<()> {
    let mut options = Options::new(name);
    if !force && let Ok(image) = cache.built(name) {
        if guestimage::is_current(&image, &options)? {
            tracing::info!(target: RESULT, "image {name:?} is in the cache; `--force` builds it anew");
            return print_usage(name);
        }
        tracing::info!(
            target: RESULT,
            "image {name:?} in the cache was made by another version of rdd; building it anew (VMs keep their disks)"
        );
    }
    options.mirror = mirror;
    options.search_path = with_system_programs(&context.environment.search_path);
    let display = Arc::new(Display::new(name));
    let progress: Arc<dyn Progress> = display.clone();
    let result = interruptible(|cancel| guestimage::build(&options, cache, &progress, cancel));
    display.bar.finish_and_clear();
    let image = match result? {
        Err(guestimage::BuildError::Cancelled) => {
            return Err(Failure::interrupted(format_args!(
                "building the image {name:?} was interrupted; its files were removed"
            ))
            .into());
        }
        image => image.with_context(|| format!("cannot build the image {name:?}"))?,
    };
    tracing::info!(target: RESULT, "built image {name:?}: {} MiB", image.size >> 20);
    print_usage(name)
}

fn print_usage(name: &str) -> anyhow::Result<()> {
    crate::output::print(&format!(
        "Make a VM of it:         rdd limavm create demo template://{name} --start\n\
         In your own template:    images: [{{location: \"image://{name}\"}}]\n"
    ))
}

/// Runs blocking work. An interrupt cancels it, so that it removes its unfinished files.
fn interruptible<T: Send>(work: impl FnOnce(&Cancel) -> T + Send) -> anyhow::Result<T> {
    let cancel = Cancel::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut requests = {
        let _inside = runtime.enter();
        StopRequests::listen().context("cannot listen for an interrupt")?
    };
    let (finished, is_finished) = tokio::sync::oneshot::channel::<()>();
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let result = work(&cancel);
            drop(finished);
            result
        });
        runtime.block_on(async {
            tokio::select! {
                _ = requests.next() => cancel.cancel(),
                _ = is_finished => {}
            }
        });
        worker
            .join()
            .map_err(|_| anyhow::anyhow!("the build panicked; the lines above show where"))
    })
}

fn with_system_programs(search_path: &OsString) -> OsString {
    let mut path = search_path.clone();
    if cfg!(unix) {
        path.push(SYSTEM_PROGRAMS);
    }
    path
}

/// Shows the progress: a bar on a terminal, lines elsewhere.
struct Display {
    name: String,
    bar: ProgressBar,
    shown: Mutex<Option<(Step, f32)>>,
}

impl Display {
    fn new(name: &str) -> Self {
        let bar = ProgressBar::new(u64::from(WHOLE));
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} {prefix} [{bar:30}] {wide_msg} {elapsed}")
        {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_owned());
        if !bar.is_hidden() {
            bar.enable_steady_tick(TICK);
        }
        Self {
            name: name.to_owned(),
            bar,
            shown: Mutex::new(None),
        }
    }
}

impl Progress for Display {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a number from 0 to 1, scaled to the bar"
    )]
    fn report(&self, step: Step, detail: &str, done: f32) {
        let separator = if detail.is_empty() { "" } else { ": " };
        if !self.bar.is_hidden() {
            self.bar
                .set_position((done.clamp(0.0, 1.0) * WHOLE as f32) as u64);
            self.bar
                .set_message(format!("{}{separator}{detail}", step.title()));
            return;
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.is_none_or(|(last, at)| last != step || done - at >= A_LINE) {
            *shown = Some((step, done));
            tracing::info!(target: RESULT, "image {:?}: {}{separator}{detail}", self.name, step.title());
        }
    }

    fn warn(&self, message: &str) {
        self.bar.suspend(|| tracing::warn!("{message}"));
    }
}
