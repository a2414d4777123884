//! Where the template of a new VM comes from.

use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context as _, bail};

/// The templates that the program brings along, by name.
const BUILT_IN: [(&str, &str); 1] = [(
    "debian-12",
    include_str!("../../../../../templates/debian-12.yaml"),
)];

/// A template is text that people write; what is larger is something else. Also about what a ConfigMap may hold.
const LARGEST: u64 = 1 << 20;

/// How long a download of a template may take: it is a page of text.
const DOWNLOAD: Duration = Duration::from_secs(30);

/// A template, or where the API server finds it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A ConfigMap that exists.
    ConfigMap(String),
    /// The text itself.
    Text {
        /// The template.
        text: String,
        /// What the user called it.
        origin: String,
    },
}

/// Reads the template that the user means. Anything with a separator of paths or `:` is a file or URL, and `-` standard
/// input.
pub(crate) fn resolve(given: &str) -> anyhow::Result<Source> {
    if given == "-" {
        let text = bounded(std::io::stdin().lock())
            .context("cannot read the template from standard input")?;
        return Ok(Source::Text {
            text,
            origin: "standard input".to_owned(),
        });
    }
    if !given.contains(|c| c == ':' || std::path::is_separator(c)) {
        return Ok(Source::ConfigMap(given.to_owned()));
    }
    let text = match given.split_once("://") {
        Some(("template", name)) => built_in(name)?.to_owned(),
        Some(("http" | "https", _)) => {
            download(given).with_context(|| format!("cannot download the template {given}"))?
        }
        Some(("file", path)) => read(path)?,
        Some((scheme, _)) => bail!(
            "cannot read the template {given}: {scheme}:// is not known; use a file, https://, http:// or template://debian-12"
        ),
        // Lima 2 writes its own templates like that.
        None => match given.strip_prefix("template:") {
            Some(name) => built_in(name)?.to_owned(),
            None => read(given)?,
        },
    };
    Ok(Source::Text {
        text,
        origin: given.to_owned(),
    })
}

/// Whether a template of this name came with the program.
pub(super) fn is_built_in(name: &str) -> bool {
    BUILT_IN.iter().any(|(known, _)| *known == name)
}

fn built_in(name: &str) -> anyhow::Result<&'static str> {
    BUILT_IN
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, text)| *text)
        .with_context(|| {
            let known: Vec<_> = BUILT_IN
                .iter()
                .map(|(name, _)| format!("template://{name}"))
                .collect();
            format!(
                "there is no built-in template {name:?}; there is {}",
                known.join(", ")
            )
        })
}

fn read(path: &str) -> anyhow::Result<String> {
    let open = || -> anyhow::Result<String> {
        let file = std::fs::File::open(path)?;
        if file.metadata()?.is_dir() {
            bail!("it is a folder");
        }
        bounded(file)
    };
    open().with_context(|| format!("cannot read the template {path}"))
}

fn bounded(reader: impl std::io::Read) -> anyhow::Result<String> {
    let mut text = String::new();
    reader.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        bail!("it is larger than 1 MiB, which no template is");
    }
    Ok(text)
}

fn download(url: &str) -> anyhow::Result<String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(DOWNLOAD))
        .tls_config(
            ureq::tls::TlsConfig::builder()
                .provider(ureq::tls::TlsProvider::Rustls)
                .unversioned_rustls_crypto_provider(std::sync::Arc::new(
                    rustls::crypto::ring::default_provider(),
                ))
                .root_certs(ureq::tls::RootCerts::PlatformVerifier)
                .build(),
        )
        .build()
        .into();
    bounded(agent.get(url).call()?.into_body().into_reader())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_config_map_and_anything_else_is_read() {
        assert_eq!(resolve("web").unwrap(), Source::ConfigMap("web".into()));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a b.yaml");
        std::fs::write(&file, "images: []\n").unwrap();
        let path = file.to_str().unwrap();
        for given in [path.to_owned(), format!("file://{path}")] {
            let Source::Text { text, origin } = resolve(&given).unwrap() else {
                panic!("{given} was not read")
            };
            assert_eq!((text.as_str(), origin), ("images: []\n", given));
        }
    }

    #[test]
    fn a_built_in_template_is_found_in_both_spellings_of_lima() {
        let texts = ["template://debian-12", "template:debian-12"].map(|given| {
            let Source::Text { text, .. } = resolve(given).unwrap() else {
                panic!("{given} was not read")
            };
            text
        });
        assert_eq!(texts[0], texts[1]);
        assert!(is_built_in("debian-12") && !is_built_in("web"));
    }

    #[test]
    fn what_cannot_be_read_is_named_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("large"), vec![b'x'; (1 << 20) + 1]).unwrap();
        for (given, reason) in [
            (path("none"), "No such file"),
            (path("."), "it is a folder"),
            (path("large"), "larger than 1 MiB"),
            ("ftp://x/y".into(), "ftp:// is not known"),
            ("template://nixos".into(), "template://debian-12"),
            ("template:nixos".into(), "template://debian-12"),
        ] {
            let error = format!("{:#}", resolve(&given).unwrap_err());
            assert!(error.contains(reason), "{given}: {error}");
        }
    }
}
