//! Only a hostagent, for the tests of this crate: `rdd hostagent` without rdd.
//!
//! `hostagent-under-test FOLDER NAME SEARCH_PATH READY_SECONDS GRACE_SECONDS HEALTH_SECONDS`
//!
//! `HOST_CLOCK` names a file with the offset of this host's clock in seconds.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use hostagent::{Limits, Options};
use lima::layout::InstanceDir;
use process::stop::StopRequests;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let mut args = std::env::args_os().skip(1);
    let mut next = || args.next().unwrap_or_default();
    let folder = PathBuf::from(next());
    let name = next().to_string_lossy().into_owned();
    let search_path = next();
    let mut seconds = || Duration::from_secs(next().to_string_lossy().parse().unwrap_or(0));
    let options = Options {
        dir: InstanceDir::at(folder.join(&name), name),
        config_dir: folder.join("_config"),
        cache_dir: folder.join("_cache"),
        search_path,
        accelerator: Some(driver::Accelerator::Tcg),
        host: lima::cidata::HostFacts::default(),
        limits: Limits {
            ready: seconds(),
            grace: seconds(),
            health: seconds(),
        },
        wall_clock,
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    else {
        return ExitCode::FAILURE;
    };
    let result = runtime.block_on(async {
        let mut requests = StopRequests::listen().map_err(|error| error.to_string())?;
        let stop = async move {
            requests.next().await;
        };
        hostagent::run(options, stop)
            .await
            .map_err(|error| error.to_string())
    });
    match result {
        Ok(outcome) => ExitCode::from(outcome.exit_code()),
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn wall_clock() -> SystemTime {
    let ahead = std::env::var_os("HOST_CLOCK")
        .and_then(|file| std::fs::read_to_string(file).ok()?.parse().ok())
        .unwrap_or(0);
    SystemTime::now() + Duration::from_secs(ahead)
}
