//! What reviewers were asked beyond their reviews: the lead reviewer's refused text, and the close calls of the merge.

use super::escape::escape;
use crate::model::{Refused, Report};

/// Returns the reason why the lead reviewer's text was refused, as HTML for a paragraph.
pub(super) fn not_taken(refused: &Refused) -> String {
    let sentences: String = refused
        .sentences
        .iter()
        .map(|s| {
            format!(
                "<br>Refused: <q class=\"refused\">{}</q> — {}",
                escape(&s.text),
                escape(&s.why)
            )
        })
        .collect();
    format!(
        "Generated from the findings: {} was to write it, and {}.{sentences}",
        escape(&refused.author),
        escape(&refused.reason)
    )
}

/// The close calls, each with its decision.
pub(super) fn close_calls(report: &Report) -> String {
    let Some(close) = &report.close_calls else {
        return String::new();
    };
    let trouble = close.trouble.as_ref().map_or_else(String::new, |why| {
        format!(
            "<p>{} {}; the likeness decides.</p>",
            escape(&close.by),
            escape(why)
        )
    });
    let rows: String = close
        .calls
        .iter()
        .map(|call| {
            let name = |(reviewer, id): &(String, String)| escape(&format!("{reviewer} {id}"));
            let decided = match call.same {
                Some(true) => format!("one defect, says {}", escape(&close.by)),
                Some(false) => format!("two defects, says {}", escape(&close.by)),
                None => "by likeness".to_owned(),
            };
            format!(
                "<tr><td>{}</td><td>{}</td><td class=\"num\">{:.2}</td><td>{decided}</td></tr>",
                name(&call.one),
                name(&call.other),
                call.score
            )
        })
        .collect();
    format!(
        "<section class=\"more\" id=\"close-calls\"><h2>Close calls of the merge</h2>{trouble}<div class=\"wide\"><table><thead><tr>\
         <th>One</th><th>Other</th><th>Likeness</th><th>Decided</th></tr></thead><tbody>{rows}</tbody></table></div>\
         </section>"
    )
}
