//! What the tests of QEMU share.

/// A name that breaks code which forgets to quote: QEMU's commas, the shell's spaces, globs, non-ASCII.
pub(crate) const HOSTILE: &str = "a[1] *b,c='é\"$x";
