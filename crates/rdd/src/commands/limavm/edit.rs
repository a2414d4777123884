//! `rdd limavm edit`: the template of a VM, in the user's editor.

use std::collections::BTreeMap;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::process::Command;

use anyhow::{Context as _, bail};
use api::lima::TEMPLATE_KEY;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tracing::info;

use super::find::find;
use crate::context::Context;
use crate::exit::message;
use crate::logging::RESULT;
use crate::output;
use crate::service::client::refused;

/// An editor that every system has.
const FALLBACK_EDITOR: &str = if cfg!(windows) { "notepad" } else { "vi" };

/// Opens the template in the editor. A refused template can be corrected; its text is never lost.
pub(crate) async fn run(client: &Client, context: &Context, name: &str) -> anyhow::Result<()> {
    let (api, vm) = find(client, name).await?;
    let config_map = vm
        .status
        .as_ref()
        .and_then(|status| status.template_config_map.clone())
        .with_context(|| {
            format!("LimaVM {name:?} has no template yet; try again once it is created")
        })?;
    let namespace = api.namespace().unwrap_or("default");
    let config_maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let stored = config_maps.get(&config_map).await.map_err(refused)?;
    let original = template_of(&stored)?;

    let mut file = tempfile::Builder::new()
        .prefix(&format!("{name}-template-"))
        .suffix(".yaml")
        .tempfile()
        .context("cannot make a temporary file for the editor")?;
    file.write_all(original.as_bytes())
        .context("cannot write the template to a temporary file")?;
    let path = file.into_temp_path();
    let editor = words(
        context
            .environment
            .editor
            .as_deref()
            .unwrap_or(FALLBACK_EDITOR),
    )?;
    loop {
        if let Err(error) = open(&editor, &path) {
            let kept = path.keep()?;
            return Err(error.context(format!("the template is at {}", kept.display())));
        }
        let edited = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read the edited template {}", path.display()))?;
        if edited.trim().is_empty() {
            bail!("the template was emptied; nothing was changed");
        }
        if edited == original {
            info!(target: RESULT, "the template of LimaVM {name:?} was not changed");
            return Ok(());
        }
        // With the resourceVersion that was edited, so that a change made meanwhile is not overwritten.
        let patch = json!({
            "metadata": { "resourceVersion": stored.resource_version() },
            "data": BTreeMap::from([(TEMPLATE_KEY, &edited)]),
        });
        match config_maps
            .patch(&config_map, &PatchParams::default(), &Patch::Merge(patch))
            .await
        {
            Ok(_) => {
                info!(target: RESULT, "the template of LimaVM {name:?} was changed");
                return Ok(());
            }
            Err(error) => {
                let error = refused(error);
                if !wants_to_correct(&error) {
                    let kept = path.keep()?;
                    return Err(error.context(format!(
                        "the template was not changed; your text is kept in {}",
                        kept.display()
                    )));
                }
            }
        }
    }
}

fn template_of(config_map: &ConfigMap) -> anyhow::Result<String> {
    config_map
        .data
        .as_ref()
        .and_then(|data| data.get(TEMPLATE_KEY))
        .cloned()
        .with_context(|| {
            format!(
                "ConfigMap {:?} has no {TEMPLATE_KEY:?} entry",
                config_map.name_any()
            )
        })
}

fn open(editor: &[String], path: &std::path::Path) -> anyhow::Result<()> {
    let (program, arguments) = editor
        .split_first()
        .context("the editor's name is empty; set VISUAL or EDITOR")?;
    let status = Command::new(program)
        .args(arguments)
        .arg(path)
        .status()
        .with_context(|| {
            format!(
                "cannot run the editor {program:?}; set VISUAL or EDITOR to one that is installed"
            )
        })?;
    if !status.success() {
        bail!("the editor {program:?} ended with {status}; nothing was changed");
    }
    Ok(())
}

/// Asks on the terminal, if there is one, whether to edit again.
fn wants_to_correct(error: &anyhow::Error) -> bool {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return false;
    }
    output::print_error(&format!("{}\nEdit again? [Y/n] ", message(error)));
    let mut answer = String::new();
    match std::io::stdin().lock().read_line(&mut answer) {
        Ok(read) => read > 0 && !answer.trim().to_lowercase().starts_with('n'),
        Err(_) => false,
    }
}

/// Splits an editor's command at spaces outside quotes, as a shell does: `code --wait`, `'/a b/ed' -x`.
fn words(command: &str) -> anyhow::Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for c in command.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        bail!("the editor's command has a quote that does not end: {command}");
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editor_command_is_split_at_spaces_outside_quotes() {
        for (command, expected) in [
            ("vi", vec!["vi"]),
            (" code  --wait ", vec!["code", "--wait"]),
            ("'/a b/ed' -x", vec!["/a b/ed", "-x"]),
            (r#"ed"it"or ''"#, vec!["editor", ""]),
            ("", vec![]),
        ] {
            assert_eq!(words(command).unwrap(), expected, "{command}");
        }
        assert!(words("'ed").is_err());
    }
}
