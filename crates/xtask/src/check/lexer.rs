//! The words of a source file that people read: comments, string literals and identifiers, each with its line.

use ra_ap_rustc_lexer::{FrontmatterAllowed, LiteralKind, TokenKind, tokenize};

/// A piece of a Rust file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A comment, doc comments included.
    Comment(&'a str),
    /// A string literal with its quotes.
    Literal(&'a str),
    Identifier(&'a str),
}

/// The pieces in order, each with the number of the line on which it begins.
pub(super) fn pieces(text: &str) -> Vec<(usize, Piece<'_>)> {
    let mut result = Vec::new();
    let (mut at, mut line) = (0, 1);
    for token in tokenize(text, FrontmatterAllowed::No) {
        let end = at + token.len as usize;
        let source = &text[at..end];
        let piece = match token.kind {
            TokenKind::LineComment { .. } | TokenKind::BlockComment { .. } => {
                Some(Piece::Comment(source))
            }
            TokenKind::Ident | TokenKind::RawIdent => Some(Piece::Identifier(source)),
            TokenKind::Literal {
                kind:
                    LiteralKind::Str { .. }
                    | LiteralKind::ByteStr { .. }
                    | LiteralKind::CStr { .. }
                    | LiteralKind::RawStr { .. }
                    | LiteralKind::RawByteStr { .. },
                ..
            } => Some(Piece::Literal(source)),
            _ => None,
        };
        result.extend(piece.map(|piece| (line, piece)));
        line += source.matches('\n').count();
        at = end;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_literals_and_identifiers_are_found_with_their_lines() {
        let text = "//! a\nfn f() {\n  g(\"/* b */\"); /* c\n d */ h\n}";
        let found = pieces(text);
        let expected = [
            (1, Piece::Comment("//! a")),
            (2, Piece::Identifier("fn")),
            (2, Piece::Identifier("f")),
            (3, Piece::Identifier("g")),
            (3, Piece::Literal("\"/* b */\"")),
            (3, Piece::Comment("/* c\n d */")),
            (4, Piece::Identifier("h")),
        ];
        assert_eq!(found, expected);
    }
}
