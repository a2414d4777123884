//! The `message` of a template, which a user sees after the first start.

use lima::layout::LimaHome;

use crate::context::Context;

/// Returns the lines of the message, with its names expanded. A VM without one has none, and so has a VM whose files cannot
/// be read, because a greeting is no reason to fail.
pub(super) fn lines(context: &Context, name: &str) -> Vec<String> {
    let message = LimaHome::new(context.paths.lima_home())
        .instance(name)
        .ok()
        .and_then(|dir| lima::instance::load(&dir).ok())
        .and_then(|instance| instance.template.message);
    for_terminal(&message.unwrap_or_default())
}

/// A template may come from another person, so its text must not control the terminal.
fn for_terminal(text: &str) -> Vec<String> {
    text.trim()
        .lines()
        .map(|line| {
            line.chars()
                .filter(|c| !c.is_control() || *c == '\t')
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_lines_and_no_control_characters() {
        assert_eq!(
            for_terminal("\nTo run `x`:\r\n\tssh \u{1b}[31mx\u{7}\n\n"),
            ["To run `x`:", "\tssh [31mx"]
        );
        assert_eq!(for_terminal(""), [""; 0]);
    }
}
