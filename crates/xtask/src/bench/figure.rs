//! How figures are printed.

use std::time::{Duration, Instant};

/// Prints one figure.
pub(crate) fn print(name: &str, value: f64, unit: &str) {
    println!("{name} {value:.1} {unit}");
}

/// Prints minimum and median of several measurements, in milliseconds.
pub(crate) fn print_times(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let milliseconds = |time: &Duration| time.as_secs_f64() * 1000.0;
    if let (Some(least), Some(median)) = (times.first(), times.get(times.len() / 2)) {
        print(&format!("{name}_min"), milliseconds(least), "ms");
        print(&format!("{name}_median"), milliseconds(median), "ms");
    }
}

/// Returns the duration of a call and its result.
pub(crate) fn time<T>(what: impl FnOnce() -> T) -> (Duration, T) {
    let began = Instant::now();
    let result = what();
    (began.elapsed(), result)
}
