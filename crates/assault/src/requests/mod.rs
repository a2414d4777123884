//! Requests that a single client sends: each area in a file of its own.

mod cel;
mod json_patch;
mod malformed;
mod schemas;
mod templates;
mod values;

use std::time::Duration;

use serde_json::Value;

use crate::plane::{Answer, DEFINITIONS, Plane, definition, until};
use crate::trial::Trial;

/// All trials of single requests.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = json_patch::trials();
    trials.extend(cel::trials());
    trials.extend(schemas::trials());
    trials.extend(values::trials());
    trials.extend(malformed::trials());
    trials.extend(templates::trials());
    trials
}

/// `Ok` when the server refused the request with a client's error.
fn refused(what: &str, answer: &Answer) -> Result<(), String> {
    match answer.status {
        400..=499 => decided(what, answer),
        _ => Err(format!("{what}: not refused: {}", answer.brief())),
    }
}

/// `Ok` when the server accepted or refused the request with an answer of bounded size.
fn decided(what: &str, answer: &Answer) -> Result<(), String> {
    if answer.is_decided() {
        return Ok(());
    }
    let size = answer.body.len();
    Err(format!("{what}: {} ({size} bytes)", answer.brief()))
}

/// Creates a definition; `false` when the server refuses it, which holds as well.
async fn define(plane: &Plane, plural: &str, schema: &Value) -> Result<bool, String> {
    let answer = plane.post(DEFINITIONS, &definition(plural, schema)).await?;
    decided("the definition", &answer)?;
    Ok(answer.status == 201)
}

/// Deletes a definition and what it defined; it must be gone, or this is the failure.
async fn undefine(plane: &Plane, plural: &str) -> Result<(), String> {
    let path = format!("{DEFINITIONS}/{plural}.assault.example");
    plane.delete(&path).await?;
    until(CLEAN_UP, async || {
        let answer = plane.get(&path).await?;
        if answer.status == 404 {
            Ok(())
        } else {
            Err(format!("the definition stays: {}", answer.brief()))
        }
    })
    .await
}

/// The clean-up of one definition with its objects, on a busy machine.
const CLEAN_UP: Duration = Duration::from_secs(60);
