//! `rdd svc paths`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::cli::PathsFormat;
use crate::context::Context;
use crate::output;

/// Prints the paths of the instance.
pub(crate) fn run(context: &Context, key: Option<&str>, format: PathsFormat) -> anyhow::Result<()> {
    let mut table = context.paths.table();
    if let Some(key) = key {
        let valid: Vec<_> = table.iter().map(|(key, _)| *key).collect();
        table.retain(|(known, _)| *known == key);
        if table.is_empty() {
            anyhow::bail!("unknown key {key:?}; valid keys: {}", valid.join(", "));
        }
    }
    let text = match format {
        PathsFormat::Table if key.is_some() => table
            .iter()
            .map(|(_, path)| format!("{}\n", path.display()))
            .collect(),
        PathsFormat::Table => columns(&table),
        PathsFormat::Json => {
            let object: serde_json::Map<String, serde_json::Value> = table
                .iter()
                .map(|(key, path)| Ok(((*key).to_owned(), utf8(path)?.into())))
                .collect::<anyhow::Result<_>>()?;
            format!("{}\n", serde_json::Value::Object(object))
        }
        PathsFormat::Shell => {
            let mut text = String::new();
            for (key, path) in &table {
                let _ = writeln!(
                    text,
                    "export RDD_{}={}",
                    key.to_uppercase(),
                    shell_quoted(utf8(path)?)
                );
            }
            text
        }
    };
    output::print(&text)
}

fn columns(table: &[(&'static str, PathBuf)]) -> String {
    let width = table.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    table.iter().fold(String::new(), |mut text, (key, path)| {
        let _ = writeln!(text, "{key:width$}  {}", path.display());
        text
    })
}

fn utf8(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| {
        format!("the path {path:?} is not valid UTF-8, only `-o table` can show it")
    })
}

/// Quotes the text for a shell, with the characters escaped that are special inside double quotes.
fn shell_quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}
