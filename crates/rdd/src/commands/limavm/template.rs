//! The source of a new VM's template.

use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use lima::template::{Loader, LocalFiles};

/// The built-in templates, by name.
const BUILT_IN: [(&str, &str); 1] = [(
    "debian-12",
    include_str!("../../../../../templates/debian-12.yaml"),
)];

/// The most bytes of a template. People write templates by hand, and a ConfigMap cannot contain much more.
const LARGEST: u64 = 1 << 20;

/// How long the download of a template may take, which is a page of text.
const DOWNLOAD: Duration = Duration::from_secs(30);

/// A template, or the name of the ConfigMap that contains it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// An existing ConfigMap.
    ConfigMap(String),
    /// Text.
    Text {
        /// The template.
        text: String,
        /// The name that the user gave, for messages.
        origin: String,
    },
}

/// What a template may contain.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rules {
    /// Unknown fields are an error.
    pub(crate) strict: bool,
    /// A template from the network may name files of this machine.
    pub(crate) allow_local_files: bool,
}

/// Reads the template that the user means, with its base templates and script files merged in. Anything with a path
/// separator or `:` is a file or URL, and `-` is standard input.
pub(crate) fn resolve(given: &str, rules: Rules) -> anyhow::Result<Source> {
    if given != "-" && !given.contains(|c| c == ':' || std::path::is_separator(c)) {
        if rules.strict {
            bail!(
                "--strict works with a file or URL only: {given} is a ConfigMap, which is stored already"
            );
        }
        return Ok(Source::ConfigMap(given.to_owned()));
    }
    let origin = if given == "-" {
        "standard input"
    } else {
        given
    };
    let locator = locator(origin)?;
    let text = if given == "-" {
        bounded(std::io::stdin().lock()).context("cannot read the template from standard input")?
    } else {
        read_locator(given)?
    };
    let local_files = if rules.allow_local_files {
        LocalFiles::Allowed
    } else {
        LocalFiles::Refused
    };
    let text = lima::template::embed(&text, &locator, &Reading, local_files)?;
    if rules.strict {
        lima::template::Template::parse(&text)?.strict()?;
    }
    Ok(Source::Text {
        text,
        origin: origin.to_owned(),
    })
}

/// Relative names in a template mean its own folder, so a path becomes absolute.
fn locator(given: &str) -> anyhow::Result<String> {
    if given.contains("://") || given.starts_with("template:") || given == "standard input" {
        return Ok(given.to_owned());
    }
    let path =
        std::path::absolute(given).with_context(|| format!("cannot tell which file {given} is"))?;
    Ok(path.to_string_lossy().into_owned())
}

/// Reads base templates and script files.
struct Reading;

impl Loader for Reading {
    fn load(&self, locator: &str) -> Result<String, String> {
        read_locator(locator).map_err(|error| format!("{error:#}"))
    }
}

fn read_locator(given: &str) -> anyhow::Result<String> {
    match given.split_once("://") {
        Some(("template", name)) => built_in(name).map(str::to_owned),
        Some(("http" | "https", _)) => {
            download(given).with_context(|| format!("cannot download the template {given}"))
        }
        Some(("file", path)) => read(path),
        Some((scheme, _)) => bail!(
            "cannot read the template {given}: {scheme}:// is not known; use a file, https://, http:// or template://debian-12"
        ),
        // Lima 2 writes its own templates like that.
        None => match given.strip_prefix("template:") {
            Some(name) => built_in(name).map(str::to_owned),
            None => read(given),
        },
    }
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
    fn name_is_a_config_map_and_a_path_is_read() {
        assert_eq!(
            resolve("web", Rules::default()).unwrap(),
            Source::ConfigMap("web".into())
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a b.yaml");
        std::fs::write(&file, "images: []\n").unwrap();
        let path = file.to_str().unwrap();
        for given in [path.to_owned(), format!("file://{path}")] {
            let Source::Text { text, origin } = resolve(&given, Rules::default()).unwrap() else {
                panic!("{given} was not read")
            };
            assert_eq!((text.as_str(), origin), ("images: []\n", given));
        }
    }

    #[test]
    fn built_in_template_is_found_in_both_spellings_of_lima() {
        let texts = ["template://debian-12", "template:debian-12"].map(|given| {
            let Source::Text { text, .. } = resolve(given, Rules::default()).unwrap() else {
                panic!("{given} was not read")
            };
            text
        });
        assert_eq!(texts[0], texts[1]);
        assert!(is_built_in("debian-12") && !is_built_in("web"));
    }

    #[test]
    fn a_file_may_build_on_a_file_beside_it_and_on_a_built_in_template() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("a.yaml"), "base: [b.yaml, 'template:debian-12']\n").unwrap();
        std::fs::write(path("b.yaml"), "cpus: 3\nprovision: [{file: s.sh}]\n").unwrap();
        std::fs::write(path("s.sh"), "#!/bin/sh\nhello\n").unwrap();
        let Source::Text { text, .. } = resolve(&path("a.yaml"), Rules::default()).unwrap() else {
            panic!("a.yaml was not read")
        };
        for part in ["cpus: 3", "hello", "image://debian-12"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn strict_refuses_unknown_fields_and_config_maps() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        std::fs::write(&file, "images: []\ncpu: 3\n").unwrap();
        let strict = Rules {
            strict: true,
            ..Rules::default()
        };
        let given = file.to_str().unwrap();
        resolve(given, Rules::default()).unwrap();
        let error = resolve(given, strict).unwrap_err().to_string();
        assert!(error.contains("did you mean cpus?"), "{error}");
        assert!(resolve("web", strict).is_err());
    }

    #[test]
    fn unreadable_template_is_reported_with_the_reason() {
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
            let error = format!("{:#}", resolve(&given, Rules::default()).unwrap_err());
            assert!(error.contains(reason), "{given}: {error}");
        }
    }
}
