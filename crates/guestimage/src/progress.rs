//! How a build tells what it does.

/// A part of a build, in the order in which they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Another process builds the same image; its result will be used.
    WaitingForOther,
    /// mmdebstrap downloads and installs packages: most of the time.
    Packages,
    /// The files are put into a file system.
    FileSystem,
    /// The disk is compressed.
    Disk,
    /// The result gets its digest and moves into the cache.
    Publishing,
}

impl Step {
    /// What people read.
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

    /// How much of a build is done when this step begins, 0 to 1: shares of the time of a measured build.
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

/// A sink for progress, called from the working thread and from helpers of it; it must not block.
pub trait Progress: Send + Sync {
    /// `done` is the part of the whole build that is done, 0 to 1; `detail` says what is done within the step, and may
    /// be empty.
    fn report(&self, step: Step, detail: &str, done: f32);

    /// Something that the user should know and that does not stop the work.
    fn warn(&self, message: &str) {
        tracing::warn!("{message}");
    }
}

/// Progress that nobody looks at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _: Step, _: &str, _: f32) {}
}
