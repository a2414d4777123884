//! A pull request, which is fetched only when the user asks for it.

use super::TargetError;
use super::address::Site;
use crate::git::Git;

/// Fetches the request's head, and the remote's default branch if no base was given. Refs of deep-review keep git from
/// collecting the commits. Returns base and head.
pub(super) fn fetch(
    git: &Git,
    number: u64,
    remote: &str,
    base: Option<&str>,
) -> Result<(String, String), TargetError> {
    let head_ref = format!("refs/deep-review/pull/{number}");
    let base_ref = format!("refs/deep-review/base/{number}");
    let site = git.remote_address(remote).and_then(|at| Site::of(&at));
    let published = Site::request_ref(site.as_ref(), number);
    let mut refs = vec![format!("+{published}:{head_ref}")];
    if base.is_none() {
        // A stale remote-tracking branch would show others' commits as part of the request.
        refs.push(format!("+HEAD:{base_ref}"));
    }
    git.fetch(remote, &refs)
        .map_err(|error| TargetError::Request {
            number,
            remote: remote.to_owned(),
            published,
            reason: crate::git::short(&error),
        })?;
    let base = git.commit(base.unwrap_or(&base_ref))?;
    Ok((base, git.commit(&head_ref)?))
}
