//! Builds an image into a cache folder: `cargo run -p guestimage --example build_image -- CACHE [NAME] [MIRROR]`.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;
use std::time::Instant;

use guestimage::{Options, Progress, Step, build};
use lima::image::Cache;
use lima::progress::Cancel;

struct Print(Instant);

impl Progress for Print {
    fn report(&self, step: Step, detail: &str, done: f32) {
        println!(
            "{:6.1} s {:3.0} % {}: {detail}",
            self.0.elapsed().as_secs_f32(),
            done * 100.0,
            step.title()
        );
    }

    fn warn(&self, message: &str) {
        println!("warning: {message}");
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let cache = Cache::new(
        arguments
            .next()
            .ok_or("the first argument is the cache folder")?,
    );
    let mut options = Options::new(arguments.next().unwrap_or_else(|| "debian-12".to_owned()));
    options.mirror = arguments.next();
    let progress: Arc<dyn Progress> = Arc::new(Print(Instant::now()));
    let image = build(&options, &cache, &progress, &Cancel::new())?;
    println!("{image:#?}");
    Ok(())
}
