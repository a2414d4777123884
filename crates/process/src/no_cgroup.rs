//! Stubs for systems other than Linux, which have no cgroups.

/// Has no value, because no cgroup is made here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Cgroup {}

/// Has no value, because no cgroup is made here.
#[derive(Debug)]
pub(crate) enum Fresh {}

/// Has no value, because no cgroup is made here.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entrance {}

impl Entrance {
    #[cfg(unix)]
    pub(crate) fn enter(self) {
        match self {}
    }
}

impl Fresh {
    pub(crate) fn make(_marks: &str) -> Option<Self> {
        None
    }

    pub(crate) fn entrance(&self) -> Entrance {
        match *self {}
    }

    pub(crate) fn into_cgroup(self) -> Cgroup {
        match self {}
    }
}

impl Cgroup {
    pub(crate) fn of(_pid: u32, _mark: &str) -> Option<Self> {
        None
    }

    pub(crate) fn below_us(_mark: &str) -> Vec<Self> {
        Vec::new()
    }

    pub(crate) fn kill(&self) {
        match *self {}
    }

    pub(crate) fn is_populated(&self) -> bool {
        match *self {}
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        match *self {}
    }

    pub(crate) fn remove(&self) -> bool {
        match *self {}
    }
}
