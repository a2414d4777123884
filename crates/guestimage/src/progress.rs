//! Progress of a build.

/// A step of a build. The order is that of the build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Another process is building the same image, and its result will be used.
    WaitingForOther,
    /// mmdebstrap downloads and installs packages. Takes most of the time.
    Packages,
    /// The file system is made from the files.
    FileSystem,
    /// The disk is compressed.
    Disk,
    /// The digest is computed, and the image is moved into the cache.
    Publishing,
}

impl Step {
    /// Returns the name for users.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::WaitingForOther => "waiting for another build of the same image",
            Self::Packages => "installing packages",
            Self::FileSystem => "making the file system",
            Self::Disk => "compressing the disk",
            Self::Publishing => "publishing",
        }
    }

    /// Returns the share of the build that is done when this step begins, 0 to 1, by the times of a measured build.
    #[must_use]
    pub const fn share(self) -> f32 {
        match self {
            Self::WaitingForOther | Self::Packages => 0.0,
            Self::FileSystem => 0.80,
            Self::Disk => 0.88,
            Self::Publishing => 0.98,
        }
    }
}

/// Receives progress from the building thread and its helpers. Must not block.
pub trait Progress: Send + Sync {
    /// Reports that the share `done` of the whole build is done, 0 to 1. `detail` describes the work within the step and may be
    /// empty.
    fn report(&self, step: Step, detail: &str, done: f32);

    /// Reports something that the user should know and that does not stop the build.
    fn warn(&self, message: &str) {
        tracing::warn!("{message}");
    }
}

/// Ignores progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _: Step, _: &str, _: f32) {}
}
