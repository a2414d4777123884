//! Templates in files, in Lima's documented format. Each begins with what has to come of it:
//!
//! ```text
//! #: accepted             or  #: refused: PART OF THE MESSAGE
//! #: warning: PART OF A WARNING
//! #: contains: PART OF THE TEMPLATE WITH DEFAULTS       #: lacks: …
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use lima::layout::LimaHome;
use lima::template::{Loader, LocalFiles, Template, embed};

use crate::template::host;

struct Files;

impl Loader for Files {
    fn load(&self, locator: &str) -> Result<String, String> {
        std::fs::read_to_string(locator).map_err(|error| error.to_string())
    }
}

/// The template with its defaults as YAML, and its warnings.
fn complete(path: &Path) -> Result<(String, Vec<String>), String> {
    let text = std::fs::read_to_string(path).unwrap();
    let text = embed(&text, path.to_str().unwrap(), &Files, LocalFiles::Refused)
        .map_err(|error| error.to_string())?;
    let parsed = Template::parse(&text).map_err(|error| error.to_string())?;
    let mut template = parsed.template;
    let dir = LimaHome::new("/l").instance("web").unwrap();
    let more = template
        .fill_defaults(&host(), &dir, &BTreeMap::new())
        .map_err(|error| error.to_string())?;
    let warnings = parsed.warnings.iter().chain(&more).map(ToString::to_string);
    Ok((template.to_yaml().unwrap(), warnings.collect()))
}

/// What is wrong with the outcome of one file.
fn problems(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let expected: Vec<&str> = text
        .lines()
        .map_while(|line| line.strip_prefix("#: "))
        .collect();
    assert!(!expected.is_empty(), "{} expects nothing", path.display());
    let outcome = complete(path);
    let (yaml, warnings, error) = match &outcome {
        Ok((yaml, warnings)) => (yaml.as_str(), &warnings[..], None),
        Err(error) => ("", &[][..], Some(error.as_str())),
    };
    let warned = |part: &str| warnings.iter().any(|warning| warning.contains(part));
    let holds = |line: &str| match line.split_once(": ").unwrap_or((line, "")) {
        ("accepted", _) => error.is_none(),
        ("refused", part) => error.is_some_and(|error| error.contains(part)),
        ("warning", part) => warned(part),
        ("contains", part) => yaml.contains(part),
        ("lacks", part) => error.is_none() && !yaml.contains(part),
        _ => panic!("{}: {line:?} is no expectation", path.display()),
    };
    let name = path.file_name().unwrap().display().to_string();
    let mut found: Vec<String> = expected
        .iter()
        .filter(|line| !holds(line))
        .map(|line| format!("{name}: not {line:?}; the outcome is {outcome:?}"))
        .collect();
    // Every warning is expected, so that none comes for a field that works.
    found.extend(
        warnings
            .iter()
            .filter(|warning| {
                !expected
                    .iter()
                    .filter_map(|line| line.strip_prefix("warning: "))
                    .any(|part| warning.contains(part))
            })
            .map(|warning| format!("{name}: unexpected warning {warning:?}")),
    );
    found
}

#[test]
fn each_template_of_the_corpus_has_the_expected_outcome() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    paths.sort();
    assert!(paths.len() > 30);
    let found: Vec<String> = paths.iter().flat_map(|path| problems(path)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}
