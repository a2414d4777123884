//! How fast this host's time stamp counter runs, for guests whose processor is emulated.
//!
//! Such a guest reads the host's counter (QEMU: `cpu_get_host_ticks` in `include/qemu/timer.h`) and measures its speed
//! against an emulated timer, which a busy host serves late. The result can be wrong by any factor: with 3 guests on 2
//! busy cores, one in seven took 2.6 GHz for 0.4 GHz, and its clock ran seven times too fast; another guest reported
//! lockups, gave up on its services and never became ready. The host measures without an emulator in between, and passes
//! the result to the guest's kernel.

use std::time::Duration;
#[cfg(target_arch = "x86_64")]
use std::time::Instant;

/// How long the counter is watched. Each end is known to about a microsecond, so the error is 0.02 %; the guest's kernel
/// refines the value by itself if it starts within 1 % (`arch/x86/kernel/tsc.c`).
const WATCHED: Duration = Duration::from_millis(10);
/// How often each end is read. The fastest reading counts, because the process may be interrupted during the others.
#[cfg(target_arch = "x86_64")]
const READINGS: usize = 16;

/// A measurement in progress.
#[derive(Debug, Clone, Copy)]
pub struct Measurement {
    #[cfg(target_arch = "x86_64")]
    begin: Option<Reading>,
}

impl Measurement {
    /// Starts a measurement. Work that is done before [`khz`](Self::khz) is called costs no extra time.
    #[must_use]
    pub fn begin() -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            begin: is_invariant().then(Reading::best),
        }
    }

    /// Returns the counter's speed in kHz, after a hundredth of a second at most. `None` on a host whose counter does not
    /// run at a constant rate, or where QEMU's guests read another counter: their kernels have to measure it themselves.
    pub async fn khz(self) -> Option<u32> {
        #[cfg(target_arch = "x86_64")]
        {
            let begin = self.begin?;
            tokio::time::sleep(WATCHED.saturating_sub(begin.at.elapsed())).await;
            begin.khz_until(Reading::best())
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = WATCHED;
            None
        }
    }
}

/// The counter and the clock at one instant.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy)]
struct Reading {
    at: Instant,
    counter: u64,
}

#[cfg(target_arch = "x86_64")]
impl Reading {
    /// Returns the fastest of several readings.
    fn best() -> Self {
        let (mut shortest, mut best) = Self::take();
        for _ in 1..READINGS {
            let (took, reading) = Self::take();
            if took < shortest {
                (shortest, best) = (took, reading);
            }
        }
        best
    }

    /// Returns a reading, and how long it took.
    fn take() -> (Duration, Self) {
        let before = Instant::now();
        let counter = counter();
        let took = before.elapsed();
        let at = before + took / 2;
        (took, Reading { at, counter })
    }

    fn khz_until(self, end: Reading) -> Option<u32> {
        let ticks = u128::from(end.counter.checked_sub(self.counter)?);
        let nanoseconds = end.at.checked_duration_since(self.at)?.as_nanos();
        let khz = (ticks * 1_000_000).checked_div(nanoseconds)?;
        u32::try_from(khz).ok().filter(|khz| *khz > 0)
    }
}

/// Returns whether the counter runs at a constant rate in all power states: "invariant TSC", bit 8 of EDX in CPUID's leaf
/// 8000_0007h (AMD64 Architecture Programmer's Manual, volume 3, E.4.4; Intel's manual has the same).
#[cfg(target_arch = "x86_64")]
fn is_invariant() -> bool {
    const POWER: u32 = 0x8000_0007;
    const INVARIANT: u32 = 1 << 8;
    std::arch::x86_64::__cpuid(0x8000_0000).eax >= POWER
        && std::arch::x86_64::__cpuid(POWER).edx & INVARIANT != 0
}

#[cfg(target_arch = "x86_64")]
fn counter() -> u64 {
    #[expect(unsafe_code, reason = "reading the counter is a processor instruction")]
    // SAFETY: reads a register that every x86-64 processor has; no system that QEMU runs on forbids it.
    unsafe {
        std::arch::x86_64::_rdtsc()
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn speed_is_ticks_divided_by_time() {
        let at = Instant::now();
        let begin = Reading { at, counter: 1_000 };
        let end = |millis, counter| Reading {
            at: at + Duration::from_millis(millis),
            counter,
        };
        assert_eq!(begin.khz_until(end(10, 26_001_000)), Some(2_600_000));
        // Readings without a usable difference.
        assert_eq!(begin.khz_until(end(0, 26_001_000)), None);
        assert_eq!(begin.khz_until(end(10, 999)), None);
        assert_eq!(begin.khz_until(end(10, 1_000)), None);
    }

    /// A measurement that is a hundred times as long is hardly affected by the kernel's scheduling.
    #[tokio::test]
    async fn short_measurement_agrees_with_a_long_one() {
        if !is_invariant() {
            eprintln!("not measured: this host's counter does not run at a constant rate");
            return;
        }
        let begin = Reading::best();
        let mut short = Vec::new();
        while begin.at.elapsed() < WATCHED * 100 {
            short.push(f64::from(Measurement::begin().khz().await.unwrap()));
        }
        let long = f64::from(begin.khz_until(Reading::best()).unwrap());
        short.sort_by(f64::total_cmp);
        // The median, because a machine that is paused for a moment spoils some measurements.
        assert!(
            (short[short.len() / 2] / long - 1.0).abs() < 0.001,
            "{short:?} and {long}"
        );
    }
}
