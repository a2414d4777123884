//! Web pages of a change, derived from the address of a remote.

/// A server that shows changes, with the paths of its pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    GitHub,
    GitLab,
    Gitea,
}

/// A repository on one of these servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    server: Server,
    /// `https://host/owner/name`.
    page: String,
}

impl Site {
    /// Returns the site of a remote's address; `None` if its host is no known server.
    pub(super) fn of(address: &str) -> Option<Self> {
        let (host, path) = match address.split_once("://") {
            Some((scheme, rest)) => {
                if !matches!(scheme, "https" | "http" | "ssh" | "git" | "git+ssh") {
                    return None;
                }
                let (host, path) = rest.split_once('/')?;
                let host = host.rsplit('@').next()?;
                // The port belongs to the protocol, not to the web pages.
                (host.split(':').next()?, path)
            }
            // `git@host:owner/name`, unless it is a path.
            None => address
                .split_once(':')
                .filter(|(host, _)| !host.contains('/'))?,
        };
        let host = host.rsplit('@').next()?.to_ascii_lowercase();
        let path = path.split(['?', '#']).next()?.trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        let plain = |text: &str| {
            text.chars()
                .all(|c| c.is_ascii_alphanumeric() || "-._~/".contains(c))
        };
        if !plain(&host) || host.contains('/') || !plain(path) || !path.contains('/') {
            return None;
        }
        let server = match host.as_str() {
            "codeberg.org" => Server::Gitea,
            host if host.contains("github") => Server::GitHub,
            host if host.contains("gitlab") => Server::GitLab,
            host if host.contains("gitea") || host.contains("forgejo") => Server::Gitea,
            _ => return None,
        };
        Some(Site {
            server,
            page: format!("https://{host}/{path}"),
        })
    }

    /// Returns the page of a pull or merge request.
    pub(super) fn request(&self, number: u64) -> String {
        let page = &self.page;
        match self.server {
            Server::GitHub => format!("{page}/pull/{number}"),
            Server::GitLab => format!("{page}/-/merge_requests/{number}"),
            Server::Gitea => format!("{page}/pulls/{number}"),
        }
    }

    /// Returns the page that shows the changes between two commits.
    pub(super) fn comparison(&self, base: &str, head: &str) -> String {
        let page = &self.page;
        match self.server {
            Server::GitLab => format!("{page}/-/compare/{base}...{head}"),
            Server::GitHub | Server::Gitea => format!("{page}/compare/{base}...{head}"),
        }
    }

    /// Returns the ref under which the server publishes a request's head. GitHub and Gitea: `refs/pull/N/head`.
    pub(super) fn request_ref(site: Option<&Self>, number: u64) -> String {
        match site.map(|site| site.server) {
            Some(Server::GitLab) => format!("refs/merge-requests/{number}/head"),
            _ => format!("refs/pull/{number}/head"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_remote_has_a_page() {
        for (address, page) in [
            (
                "https://github.com/a/b.git",
                "https://github.com/a/b/pull/7",
            ),
            (
                "https://me:token@github.com/a/b",
                "https://github.com/a/b/pull/7",
            ),
            ("git@github.com:a/b.git", "https://github.com/a/b/pull/7"),
            (
                "ssh://git@gitlab.example.org:2222/g/sub/b.git",
                "https://gitlab.example.org/g/sub/b/-/merge_requests/7",
            ),
            (
                "https://codeberg.org/a/b/?private_token=x",
                "https://codeberg.org/a/b/pulls/7",
            ),
        ] {
            assert_eq!(Site::of(address).unwrap().request(7), page, "{address}");
        }
    }

    #[test]
    fn unknown_server_has_no_page() {
        for address in [
            "/srv/github/a.git",
            "file:///srv/github/a/b",
            "https://example.org/a/b",
            "ext::sh -c github/a/b",
            "https://github.com/a",
            "https://github.com/a/b\" onclick=x",
            "../github:a/b",
        ] {
            assert_eq!(Site::of(address), None, "{address}");
        }
    }
}
