//! Where a template is, and what a locator in it means.

use std::fmt;
use std::path::{Path, PathBuf};

use url::Url;

/// An absolute locator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Locator {
    /// `http://…` or `https://…`.
    Url(Url),
    /// A file of this machine.
    File(PathBuf),
    /// `template:NAME`: one that the program brings.
    Template(String),
    /// A text without a place, such as standard input.
    Nameless(String),
}

impl fmt::Display for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => url.fmt(f),
            Self::File(path) => path.display().fmt(f),
            Self::Template(name) => write!(f, "template:{name}"),
            Self::Nameless(name) => f.write_str(name),
        }
    }
}

const RELATIVE_TO_NOTHING: &str =
    "is a relative path, and the template was not read from a file or URL; write an absolute one";

impl Locator {
    /// The place of the template that the user named.
    pub(super) fn of_template(text: &str) -> Self {
        absolute(text).unwrap_or_else(|| Self::Nameless(text.to_owned()))
    }

    /// What `text` means in the template that is here.
    pub(super) fn resolve(&self, text: &str) -> Result<Self, &'static str> {
        if let Some(locator) = absolute(text) {
            return Ok(locator);
        }
        if let Some((scheme, _)) = text.split_once(':')
            && scheme.len() > 1
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric())
        {
            return Err(
                "has a scheme that is not supported; use a path, https:// or template:NAME",
            );
        }
        if text.starts_with('~') {
            return Err("begins with ~, which is not expanded here; write an absolute path");
        }
        if text.split(['/', '\\']).any(|part| part == "..") {
            return Err("must not lead out of the template's folder with \"..\"");
        }
        match self {
            Self::Url(url) => url.join(text).map(Self::Url).map_err(|_| "is not a URL"),
            Self::File(path) => path
                .parent()
                .map(|folder| Self::File(folder.join(text)))
                .ok_or(RELATIVE_TO_NOTHING),
            Self::Template(name) => Ok(Self::Template(
                Path::new(name)
                    .with_file_name(text)
                    .to_string_lossy()
                    .into_owned(),
            )),
            Self::Nameless(_) => Err(RELATIVE_TO_NOTHING),
        }
    }

    /// Whether a server decides what is behind this locator.
    pub(super) fn is_remote(&self) -> bool {
        matches!(self, Self::Url(_))
    }
}

fn absolute(text: &str) -> Option<Locator> {
    if let Some(name) = text
        .strip_prefix("template://")
        .or_else(|| text.strip_prefix("template:"))
    {
        return Some(Locator::Template(name.to_owned()));
    }
    if let Ok(url) = Url::parse(text) {
        match url.scheme() {
            "http" | "https" => return Some(Locator::Url(url)),
            "file" => return url.to_file_path().ok().map(Locator::File),
            _ => {}
        }
    }
    let path = Path::new(text);
    path.is_absolute().then(|| Locator::File(path.to_owned()))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn relative_locators_mean_the_folder_of_their_template() {
        for (from, text, expected) in [
            ("/t/a.yaml", "b.yaml", "/t/b.yaml"),
            ("/t/a.yaml", "sub/b.yaml", "/t/sub/b.yaml"),
            ("/t/a.yaml", "/x/b.yaml", "/x/b.yaml"),
            ("/t/a.yaml", "template:debian-12", "template:debian-12"),
            ("/t/a.yaml", "template://_images/x", "template:_images/x"),
            ("https://h/t/a.yaml?q=1", "b.yaml", "https://h/t/b.yaml"),
            ("https://h/t/a.yaml", "file:///x/b%20c", "/x/b c"),
            ("template:k8s/a", "b", "template:k8s/b"),
            ("standard input", "https://h/x", "https://h/x"),
        ] {
            let found = Locator::of_template(from).resolve(text).unwrap();
            assert_eq!(found.to_string(), expected, "{from} {text}");
        }
        for (from, text) in [
            ("/t/a.yaml", "../b.yaml"),
            ("https://h/t/a.yaml", "x/../../b"),
            ("/t/a.yaml", "github:owner/repo"),
            ("/t/a.yaml", "~/b.yaml"),
            ("standard input", "b.yaml"),
        ] {
            assert!(
                Locator::of_template(from).resolve(text).is_err(),
                "{from} {text}"
            );
        }
    }
}
