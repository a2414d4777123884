//! Plain words in comments, messages, names and pages: the words that `crates/xtask/plain-words.toml` lists are refused.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

use super::known::{Known, PAGES, Rule};
use super::lexer::{Piece, pieces};
use super::pages;
use crate::workspace;

/// The file with the refused words.
const FILE: &str = "crates/xtask/plain-words.toml";

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Rules {
    /// Refused everywhere.
    words: BTreeSet<String>,
    /// Two refused words in a row.
    phrases: BTreeSet<String>,
    /// Refused unless a word of `people` comes before.
    of_people: BTreeSet<String>,
    people: BTreeSet<String>,
    /// Refused in identifiers, beside `words` and `of_people`.
    in_identifiers: BTreeSet<String>,
    #[serde(default)]
    allowed: Vec<Allowed>,
    /// Which of `allowed` were needed.
    #[serde(skip)]
    used: RefCell<BTreeSet<usize>>,
}

/// A refused word that is right in one file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Allowed {
    file: String,
    word: String,
    /// Why it is right there. Only people read it.
    #[serde(rename = "reason")]
    _reason: String,
}

/// The refused words of these crates (and of the pages, as one more); `complete` when that is all there is, so that an
/// allowed word that no file needs is a problem too.
pub(super) fn problems(
    root: &Path,
    crates: &[String],
    complete: bool,
    known: &Known,
) -> anyhow::Result<Vec<String>> {
    let text =
        fs::read_to_string(root.join(FILE)).with_context(|| format!("cannot read {FILE}"))?;
    let rules: Rules = toml::from_str(&text).with_context(|| format!("cannot read {FILE}"))?;
    let mut problems = Vec::new();
    for name in crates {
        let files = match name.as_str() {
            PAGES => page_files(root)?,
            name => workspace::rust_files(&root.join("crates").join(name))?,
        };
        let mut found = Vec::new();
        for path in files {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let file = workspace::name(root, &path);
            let refused = match name.as_str() {
                PAGES => rules.in_page(&text),
                _ => rules.in_source(&text),
            };
            found.extend(
                refused
                    .into_iter()
                    .filter(|(_, word)| !rules.allows(&file, word))
                    .map(|(line, word)| {
                        format!("{file}:{line}: `{word}`: use plain words (see {FILE})")
                    }),
            );
        }
        problems.extend(known.judge(Rule::Prose, name, found));
    }
    if complete {
        problems.extend(known.strangers(Rule::Prose, crates));
        problems.extend(rules.unused());
    }
    Ok(problems)
}

/// The Markdown pages, the Makefile and the scripts.
fn page_files(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut result = pages::list(root)?;
    result.extend([root.join("Makefile"), root.join(".ci/run")]);
    for entry in fs::read_dir(root.join("scripts")).context("cannot read scripts")? {
        result.push(entry?.path());
    }
    Ok(result)
}

impl Rules {
    /// The refused words of a Rust file, with their lines.
    fn in_source(&self, text: &str) -> Vec<(usize, String)> {
        let mut result = Vec::new();
        // Comments on lines that follow each other are one text.
        let mut comment: Vec<(usize, String)> = Vec::new();
        for (line, piece) in pieces(text) {
            match piece {
                Piece::Comment(text) => {
                    if comment.last().is_some_and(|(last, _)| last + 1 < line) {
                        result.extend(self.refused(&std::mem::take(&mut comment)));
                    }
                    // A line without a word joins its neighbours too.
                    comment.push((line, String::new()));
                    comment.extend(words(line, text));
                }
                Piece::Literal(text) => {
                    result.extend(self.refused(&words(line, &without_escapes(text))));
                }
                Piece::Identifier(name) => {
                    result.extend(self.refused_in_identifier(name).map(|word| (line, word)));
                }
            }
        }
        result.extend(self.refused(&comment));
        result.sort();
        result
    }

    /// The refused words of a page, with their lines. What is between backticks is code.
    fn in_page(&self, text: &str) -> Vec<(usize, String)> {
        let mut all = Vec::new();
        let mut fenced = false;
        for (index, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            } else if !fenced {
                let prose: Vec<&str> = line.split('`').step_by(2).collect();
                all.extend(words(index + 1, &prose.join(" ")));
            }
        }
        self.refused(&all)
    }

    fn refused(&self, words: &[(usize, String)]) -> Vec<(usize, String)> {
        let words: Vec<_> = words.iter().filter(|(_, word)| !word.is_empty()).collect();
        let mut result = Vec::new();
        for (index, (line, word)) in words.iter().enumerate() {
            let before = index.checked_sub(1).map_or("", |before| &words[before].1);
            let of_people = self.of_people.contains(word) && !self.people.contains(before);
            if self.words.contains(word) || of_people {
                result.push((*line, word.clone()));
            }
            let phrase = format!("{before} {word}");
            if self.phrases.contains(&phrase) {
                result.push((*line, phrase));
            }
        }
        result
    }

    fn refused_in_identifier(&self, name: &str) -> impl Iterator<Item = String> {
        parts(name).into_iter().filter(|part| {
            [&self.words, &self.of_people, &self.in_identifiers]
                .iter()
                .any(|list| list.contains(part))
        })
    }

    fn allows(&self, file: &str, word: &str) -> bool {
        let found = self
            .allowed
            .iter()
            .position(|allowed| allowed.file == file && allowed.word == word);
        self.used.borrow_mut().extend(found);
        found.is_some()
    }

    fn unused(&self) -> Vec<String> {
        let used = self.used.borrow();
        let unused = self
            .allowed
            .iter()
            .enumerate()
            .filter(|(index, _)| !used.contains(index));
        unused
            .map(|(_, allowed)| {
                format!(
                    "{FILE}: {} does not use the word `{}`",
                    allowed.file, allowed.word
                )
            })
            .collect()
    }
}

/// The words of a text in lower case, with their lines.
fn words(first_line: usize, text: &str) -> Vec<(usize, String)> {
    let mut result = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let words = line.split(|letter: char| !letter.is_alphanumeric());
        result.extend(
            words
                .filter(|word| !word.is_empty())
                .map(|word| (first_line + index, word.to_lowercase())),
        );
    }
    result
}

/// The text of a literal with a space for each escape, so that `\n` is no letter of the next word.
fn without_escapes(text: &str) -> String {
    let mut result = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter == '\\' {
            // A line that continues keeps its line break, so that lines are counted.
            result.push(if letters.next() == Some('\n') {
                '\n'
            } else {
                ' '
            });
        } else {
            result.push(letter);
        }
    }
    result
}

/// The words of `an_identifier`, `AnIdentifier` or `AN_IDENTIFIER` in lower case.
fn parts(name: &str) -> Vec<String> {
    let mut result = vec![String::new()];
    let mut lower = false;
    for letter in name.chars() {
        if letter == '_' || (letter.is_uppercase() && lower) {
            result.push(String::new());
        }
        lower = letter.is_lowercase();
        if letter != '_'
            && let Some(part) = result.last_mut()
        {
            part.extend(letter.to_lowercase());
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        let text = "words = [\"zork\"]\nphrases = [\"goes zap\"]\nof-people = [\"qui\"]\npeople = [\"users\"]\n\
                    in-identifiers = [\"plugh\"]\n[[allowed]]\nfile = \"a.rs\"\nword = \"zork\"\nreason = \"a name\"";
        toml::from_str(text).expect("TOML")
    }

    fn of(found: Vec<(usize, String)>) -> Vec<String> {
        found
            .into_iter()
            .map(|(line, word)| format!("{line} {word}"))
            .collect()
    }

    #[test]
    fn refused_words_are_found_in_comments_literals_and_identifiers() {
        let text = "// Zork here.\nfn zork_it(a: Plugh) {\n    f(\"\\nzork \\\n      zork\");\n}\n/* x\n zork */\nlet plugh_2 = 1;";
        let expected = [
            "1 zork", "2 plugh", "2 zork", "3 zork", "4 zork", "7 zork", "8 plugh",
        ];
        assert_eq!(of(rules().in_source(text)), expected);
    }

    #[test]
    fn phrase_across_two_comment_lines_is_found_and_a_word_for_people_is_right_after_them() {
        let text = "// It goes\n// zap for users\n//\n// qui wait.\n\n// qui\nfn f() {}";
        assert_eq!(of(rules().in_source(text)), ["2 goes zap", "6 qui"]);
    }

    #[test]
    fn code_in_pages_is_left_out() {
        let text = "A zork and `zork`.\n```\nzork\n```\nzork";
        assert_eq!(of(rules().in_page(text)), ["1 zork", "5 zork"]);
    }

    #[test]
    fn allowed_word_holds_in_its_file_only_and_must_be_used() {
        let rules = rules();
        assert!(!rules.allows("b.rs", "zork"));
        assert_eq!(rules.unused().len(), 1);
        assert!(rules.allows("a.rs", "zork"));
        assert_eq!(rules.unused(), [""; 0]);
    }
}
