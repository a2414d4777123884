//! The database inherits the access control list of its folder, which is the user's own.

use std::io;
use std::path::Path;

#[expect(clippy::unnecessary_wraps, reason = "the Unix module can fail")]
pub(super) fn create(_path: &Path) -> io::Result<()> {
    Ok(())
}
