//! Reviewers' Markdown into HTML. Raw HTML becomes text, images become words, links keep only harmless schemes.

use pulldown_cmark::{CodeBlockKind, CowStr, Event, Options, Parser, Tag, TagEnd};

use super::code::{code_block, diff_block};
use super::escape::{escape, safe_href};

/// The most that is rendered of one text; a longer one is cut, and says so. The appendix has all of it.
const LONGEST: usize = 200_000;

/// Renders a text of several paragraphs.
pub(super) fn prose(text: &str) -> String {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let mut writer = Writer::default();
    for event in Parser::new_ext(&text[..end], options) {
        writer.event(event);
    }
    if end < text.len() {
        writer
            .out
            .push_str("<p class=\"muted\">… (cut: too long to show)</p>");
    }
    writer.out
}

/// Renders a title or a reason: plain text, in which only code between backticks is marked up.
pub(super) fn inline(text: &str) -> String {
    let pieces: Vec<&str> = text.split('`').collect();
    // An odd backtick, or a run of them: the text as it is.
    if pieces.len().is_multiple_of(2) || text.contains("``") {
        return escape(text);
    }
    pieces
        .iter()
        .enumerate()
        .map(|(n, piece)| {
            if n % 2 == 1 {
                format!("<code>{}</code>", escape(piece))
            } else {
                escape(piece)
            }
        })
        .collect()
}

#[derive(Default)]
struct Writer {
    out: String,
    /// Code of the block that is open, with its language.
    code: Option<(String, String)>,
    /// For each open link whether it was written.
    links: Vec<bool>,
    in_head: bool,
}

impl Writer {
    fn event(&mut self, event: Event<'_>) {
        if let (Some((_, code)), Event::Text(text)) = (&mut self.code, &event) {
            code.push_str(text);
            return;
        }
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => {
                self.out.push_str(&escape(&text));
            }
            Event::Code(text) => {
                self.out.push_str("<code>");
                self.out.push_str(&escape(&text));
                self.out.push_str("</code>");
            }
            Event::SoftBreak => self.out.push('\n'),
            Event::HardBreak => self.out.push_str("<br>"),
            Event::Rule => self.out.push_str("<hr>"),
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        let text = match tag {
            Tag::Paragraph | Tag::HtmlBlock => "<p>",
            Tag::Heading { .. } => "<h4>",
            Tag::BlockQuote(_) => "<blockquote>",
            Tag::List(Some(first)) => {
                self.out.push_str(&format!("<ol start=\"{first}\">"));
                return;
            }
            Tag::List(None) => "<ul>",
            Tag::Item => "<li>",
            Tag::Table(_) => "<div class=\"wide\"><table>",
            Tag::TableHead => {
                self.in_head = true;
                "<thead><tr>"
            }
            Tag::TableRow => "<tr>",
            Tag::TableCell if self.in_head => "<th>",
            Tag::TableCell => "<td>",
            Tag::Emphasis => "<em>",
            Tag::Strong => "<strong>",
            Tag::Strikethrough => "<del>",
            Tag::CodeBlock(kind) => {
                let language = match kind {
                    CodeBlockKind::Fenced(info) => {
                        info.split_whitespace().next().unwrap_or("").to_owned()
                    }
                    CodeBlockKind::Indented => String::new(),
                };
                self.code = Some((language, String::new()));
                return;
            }
            Tag::Link { dest_url, .. } => {
                self.link(&dest_url);
                return;
            }
            Tag::Image { .. } => "<span class=\"muted\">[image: ",
            _ => return,
        };
        self.out.push_str(text);
    }

    fn link(&mut self, url: &CowStr<'_>) {
        let href = safe_href(url);
        if let Some(href) = &href {
            self.out.push_str(&format!(
                "<a href=\"{href}\" rel=\"noopener noreferrer nofollow\">"
            ));
        }
        self.links.push(href.is_some());
    }

    fn end(&mut self, tag: TagEnd) {
        let text = match tag {
            TagEnd::Paragraph | TagEnd::HtmlBlock => "</p>",
            TagEnd::Heading(_) => "</h4>",
            TagEnd::BlockQuote(_) => "</blockquote>",
            TagEnd::List(true) => "</ol>",
            TagEnd::List(false) => "</ul>",
            TagEnd::Item => "</li>",
            TagEnd::Table => "</tbody></table></div>",
            TagEnd::TableHead => {
                self.in_head = false;
                "</tr></thead><tbody>"
            }
            TagEnd::TableRow => "</tr>",
            TagEnd::TableCell if self.in_head => "</th>",
            TagEnd::TableCell => "</td>",
            TagEnd::Emphasis => "</em>",
            TagEnd::Strong => "</strong>",
            TagEnd::Strikethrough => "</del>",
            TagEnd::Image => "]</span>",
            TagEnd::Link => {
                if self.links.pop() == Some(true) {
                    self.out.push_str("</a>");
                }
                return;
            }
            TagEnd::CodeBlock => {
                if let Some((language, code)) = self.code.take() {
                    let html = if matches!(language.as_str(), "diff" | "patch") {
                        diff_block(&code)
                    } else {
                        code_block(&language, &code)
                    };
                    self.out.push_str(&html);
                }
                return;
            }
            _ => return,
        };
        self.out.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_of_the_text_is_text() {
        for (text, expected) in [
            (
                "<script>x</script>",
                "<p>&lt;script&gt;x&lt;/script&gt;</p>",
            ),
            (
                "a <b onclick=x>c</b>",
                "<p>a &lt;b onclick=x&gt;c&lt;/b&gt;</p>",
            ),
            ("[x](javascript:y)", "<p>x</p>"),
            (
                "![x](https://e.example/p.png)",
                "<p><span class=\"muted\">[image: x]</span></p>",
            ),
            (
                "[x](https://e.example/\"q)",
                "<p><a href=\"https://e.example/&quot;q\" rel=\"noopener noreferrer nofollow\">x</a></p>",
            ),
            ("# h `c`", "<h4>h <code>c</code></h4>"),
        ] {
            assert_eq!(prose(text), expected, "{text}");
        }
    }

    #[test]
    fn a_title_is_inline() {
        assert_eq!(
            inline("`a<b>` is __x__ <i>"),
            "<code>a&lt;b&gt;</code> is __x__ &lt;i&gt;"
        );
        assert_eq!(inline("# no heading"), "# no heading");
        assert_eq!(
            inline("<script>alert(1)</script>"),
            "&lt;script&gt;alert(1)&lt;/script&gt;"
        );
    }
}
