//! Finds the package mirror and the apt options of this host.
//!
//! A user behind a company's mirror or proxy has configured apt already, so the build uses the same settings. Formats:
//! sources.list(5), both the one-line and the deb822 style, and apt.conf(5).

use std::path::Path;

use crate::error::BuildError;
use crate::recipe::Recipe;

/// The largest apt file that is read, in bytes. Real ones have a few KiB.
const FILE_LIMIT: u64 = 1 << 20;

/// A package mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The URL of the archive, without a slash at its end.
    pub archive: String,
    /// The URL of the security updates.
    pub security: String,
}

/// A package source in the host's apt configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    uri: String,
    suites: Vec<String>,
}

impl Mirror {
    /// Returns the mirror at a URL. Security updates come from `<mirror>-security`, as on all full mirrors of Debian.
    ///
    /// # Errors
    /// The text is not an http or https URL.
    pub fn named(url: &str) -> Result<Self, BuildError> {
        let refuse = |reason| BuildError::Mirror {
            mirror: url.to_owned(),
            reason,
        };
        let archive = url.trim_end_matches('/');
        let rest = archive
            .strip_prefix("http://")
            .or_else(|| archive.strip_prefix("https://"));
        let rest = rest.ok_or_else(|| refuse("it is not an http or https URL"))?;
        if rest.is_empty() || rest.starts_with('/') {
            return Err(refuse("it has no host"));
        }
        // The URL becomes a field of a line that apt splits at white space, and `[` begins options in it.
        if archive
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || matches!(c, '[' | ']' | '#'))
        {
            return Err(refuse(
                "it has a character that a package source cannot contain",
            ));
        }
        Ok(Self {
            archive: archive.to_owned(),
            security: format!("{archive}-security"),
        })
    }

    /// Returns the mirrors of the recipe's release in this host's apt configuration, or else those of another release of the
    /// same distribution, because a mirror has all releases.
    ///
    /// # Errors
    /// This host's apt has no mirror of the distribution. There is no default, because the choice is the user's.
    pub fn of_host(apt_folder: &Path, recipe: &Recipe) -> Result<Self, BuildError> {
        let sources = read_sources(apt_folder);
        let find = |matches: &dyn Fn(&Source) -> bool| {
            let usable =
                |source: &Source| Self::named(&source.uri).ok().map(|mirror| mirror.archive);
            sources
                .iter()
                .filter(|source| matches(source))
                .find_map(usable)
        };
        let has = |source: &Source, suite: &str| source.suites.iter().any(|s| s == suite);
        let security = format!("{}-security", recipe.suite);
        let archive = find(&|source| has(source, recipe.suite))
            .or_else(|| find(&|source| source.uri.trim_end_matches('/').ends_with("/debian")))
            .ok_or(BuildError::NoMirror {
                suite: recipe.suite,
            })?;
        let security = find(&|source| has(source, &security))
            .or_else(|| find(&|source| source.suites.iter().any(|s| s.ends_with("-security"))))
            .unwrap_or_else(|| format!("{archive}-security"));
        Ok(Self { archive, security })
    }

    /// Returns the mirror as the guest reaches it: the guest sees the host's loopback address as the gateway of QEMU's user
    /// network.
    #[must_use]
    pub fn for_guest(&self) -> Self {
        Self {
            archive: through_gateway(&self.archive),
            security: through_gateway(&self.security),
        }
    }

    /// Returns one-line sources for mmdebstrap.
    #[must_use]
    pub fn source_lines(&self, recipe: &Recipe) -> Vec<String> {
        let Recipe {
            suite,
            components,
            keyring,
            ..
        } = recipe;
        [
            (&self.archive, (*suite).to_owned()),
            (&self.archive, format!("{suite}-updates")),
            (&self.security, format!("{suite}-security")),
        ]
        .map(|(uri, suite)| format!("deb [signed-by={keyring}] {uri} {suite} {components}"))
        .to_vec()
    }

    /// Returns the text of the guest's `/etc/apt/sources.list.d/debian.sources`.
    #[must_use]
    pub fn deb822(&self, recipe: &Recipe) -> String {
        let Recipe {
            suite,
            components,
            keyring,
            ..
        } = recipe;
        let stanza = |uri: &str, suites: &str| {
            format!(
                "Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: {components}\nSigned-By: {keyring}\n"
            )
        };
        let archive = stanza(&self.archive, &format!("{suite} {suite}-updates"));
        format!(
            "{archive}\n{}",
            stanza(&self.security, &format!("{suite}-security"))
        )
    }
}

/// The host's address in QEMU's user network.
const GATEWAY: &str = "10.0.2.2";

/// Replaces the host's loopback address in a URL by the gateway.
fn through_gateway(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find('/').map_or(url.len(), |at| start + at);
    let host_start = url[start..end]
        .rfind('@')
        .map_or(start, |at| start + at + 1);
    let authority = &url[host_start..end];
    let host_length = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']').map_or(authority.len(), |at| at + 2),
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(host_length);
    if host == "localhost" || host == "[::1]" || host.starts_with("127.") {
        format!("{}{GATEWAY}{port}{}", &url[..host_start], &url[end..])
    } else {
        url.to_owned()
    }
}

fn read_sources(apt_folder: &Path) -> Vec<Source> {
    let parts = apt_folder.join("sources.list.d");
    let mut files: Vec<_> = std::fs::read_dir(parts)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.sort();
    files.insert(0, apt_folder.join("sources.list"));
    let mut sources = Vec::new();
    for file in files {
        let small =
            std::fs::metadata(&file).is_ok_and(|meta| meta.is_file() && meta.len() <= FILE_LIMIT);
        let Some(text) = small.then(|| std::fs::read_to_string(&file).ok()).flatten() else {
            continue;
        };
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources.extend(one_line_sources(&text)),
            Some("sources") => sources.extend(deb822_sources(&text)),
            _ => {}
        }
    }
    sources
}

fn one_line_sources(text: &str) -> Vec<Source> {
    text.lines()
        .filter_map(|line| {
            let line = line.split('#').next()?.trim();
            let mut rest = line
                .strip_prefix("deb")?
                .strip_prefix([' ', '\t'])?
                .trim_start();
            if let Some(options) = rest.strip_prefix('[') {
                rest = options.split_once(']')?.1;
            }
            let mut words = rest.split_ascii_whitespace();
            Some(Source {
                uri: words.next()?.to_owned(),
                suites: vec![words.next()?.to_owned()],
            })
        })
        .collect()
}

fn deb822_sources(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    // A comment line does not divide stanzas.
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    for stanza in lines.split(|line| line.trim().is_empty()) {
        let mut field = "";
        let (mut types, mut uris, mut suites, mut enabled) =
            (Vec::new(), Vec::new(), Vec::new(), true);
        for line in stanza {
            let value = if line.starts_with([' ', '\t']) {
                line
            } else {
                let Some((name, value)) = line.split_once(':') else {
                    continue;
                };
                field = name;
                value
            };
            let words = value.split_ascii_whitespace().map(str::to_owned);
            match field.to_ascii_lowercase().as_str() {
                "types" => types.extend(words),
                "uris" => uris.extend(words),
                "suites" => suites.extend(words),
                "enabled" => enabled = !matches!(value.trim(), "no" | "false" | "0"),
                _ => {}
            }
        }
        if enabled && types.iter().any(|kind| kind == "deb") {
            sources.extend(uris.into_iter().map(|uri| Source {
                uri,
                suites: suites.clone(),
            }));
        }
    }
    sources
}

/// Returns the host's apt options for reaching a mirror: proxies, and checks that an administrator of an offline mirror has
/// turned off. Takes the output of `apt-config dump`; each option is one `--aptopt` of mmdebstrap.
#[must_use]
pub fn apt_options(dump: &str) -> Vec<String> {
    const WANTED: [&str; 6] = [
        "Acquire::Check-Valid-Until",
        "Acquire::Check-Date",
        "Acquire::Max-ValidTime",
        "Acquire::Retries",
        "Acquire::http::",
        "Acquire::https::",
    ];
    dump.lines()
        .filter_map(|line| {
            let (key, value) = line.trim().strip_suffix(';')?.split_once(' ')?;
            let wanted = WANTED.iter().any(|w| {
                if w.ends_with("::") {
                    key.starts_with(w)
                } else {
                    key == *w
                }
            });
            // Scripts (`Proxy-Auto-Detect`) and lists are left out, because the build's apt does not see the host's files.
            let simple = value.len() > 2 && !key.ends_with("::") && !key.contains("Auto-Detect");
            (wanted && simple).then(|| format!("{key} {value}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::find;

    fn apt(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sources.list.d")).unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn the_hosts_mirror_is_found_in_both_formats() {
        let recipe = find("debian-12").unwrap();
        let deb822 = "# comment\nTypes: deb deb-src\nURIs: http://mirror.example/debian/\nSuites: bookworm\n \
                      bookworm-updates\nComponents: main\n\nTypes: deb\nURIs: https://mirror.example/sec\nSuites: \
                      bookworm-security\n";
        let one_line = "# deb http://old.example/debian bookworm main\ndeb-src http://src.example/debian bookworm main\n\
                        deb [arch=amd64 signed-by=/k] http://mirror.example/debian bookworm main # x\n\
                        deb https://mirror.example/sec bookworm-security main\n";
        for (name, text) in [
            ("sources.list.d/debian.sources", deb822),
            ("sources.list", one_line),
        ] {
            let folder = apt(&[(name, text)]);
            let mirror = Mirror::of_host(folder.path(), recipe).unwrap();
            let expected = Mirror {
                archive: "http://mirror.example/debian".into(),
                security: "https://mirror.example/sec".into(),
            };
            assert_eq!(mirror, expected, "{name}");
        }
    }

    #[test]
    fn a_host_of_another_release_has_a_mirror() {
        let recipe = find("debian-12").unwrap();
        let folder = apt(&[(
            "sources.list",
            "deb http://m.example/debian trixie main\ndeb http://m.example/sec trixie-security main\n",
        )]);
        let expected = Mirror {
            archive: "http://m.example/debian".into(),
            security: "http://m.example/sec".into(),
        };
        assert_eq!(Mirror::of_host(folder.path(), recipe).unwrap(), expected);
    }

    #[test]
    fn a_host_without_a_mirror_is_an_error_that_names_the_option() {
        let recipe = find("debian-12").unwrap();
        let cases: [&[(&str, &str)]; 4] = [
            &[],
            &[(
                "sources.list",
                "deb http://archive.example/ubuntu noble main\n",
            )],
            &[(
                "sources.list.d/x.sources",
                "Types: deb\nEnabled: no\nURIs: http://m.example/debian\nSuites: bookworm\n",
            )],
            &[(
                "sources.list",
                "deb cdrom:[Debian]/ bookworm main\ndeb file:/srv/debian bookworm main\ndeb\ndeb [x\n",
            )],
        ];
        for files in cases {
            let folder = apt(files);
            let error = Mirror::of_host(folder.path(), recipe).unwrap_err();
            assert!(error.to_string().contains("--mirror"), "{files:?}: {error}");
        }
    }

    #[test]
    fn only_urls_are_mirrors() {
        assert_eq!(
            Mirror::named("https://m.example/debian/").unwrap().security,
            "https://m.example/debian-security"
        );
        for bad in [
            "",
            "ftp://m/debian",
            "http://",
            "http:///x",
            "http://m/de bian",
            "http://m/x\ndeb http://n",
            "http://m/[a]",
        ] {
            assert!(Mirror::named(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_guest_reaches_a_mirror_on_this_host_through_the_gateway() {
        for (url, seen) in [
            (
                "http://localhost:3142/debian",
                "http://10.0.2.2:3142/debian",
            ),
            (
                "http://user@127.0.0.1/debian",
                "http://user@10.0.2.2/debian",
            ),
            ("http://[::1]:80/debian", "http://10.0.2.2:80/debian"),
            (
                "http://mirror.example/debian",
                "http://mirror.example/debian",
            ),
        ] {
            assert_eq!(through_gateway(url), seen);
        }
    }

    #[test]
    fn only_plain_acquire_options_are_used() {
        let dump = "APT::Architecture \"amd64\";\nAcquire::Check-Valid-Until \"false\";\nAcquire::http \"\";\n\
                    Acquire::http::Proxy \"http://proxy.example:3128\";\nAcquire::http::Proxy-Auto-Detect \"/usr/bin/x\";\n\
                    Acquire::https::Verify-Peer \"\";\nDPkg::Post-Invoke:: \"rm -rf /\";\n";
        assert_eq!(
            apt_options(dump),
            [
                "Acquire::Check-Valid-Until \"false\"",
                "Acquire::http::Proxy \"http://proxy.example:3128\""
            ]
        );
    }
}
