//! One reviewer's finding, and its checks.

use serde::{Deserialize, Serialize};

/// How bad a finding is. The order is the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Must be fixed before the change lands.
    Critical,
    /// Should be fixed before the change lands.
    Important,
    /// Would make the change better.
    Suggestion,
}

/// Where a finding comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// The change introduced the defect.
    Regression,
    /// The defect existed before the change.
    Gap,
    /// Nothing is wrong; it could be better.
    Enhancement,
}

/// Whether the finding belongs to this change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// The author should answer it in this change.
    InScope,
    /// It is for a later change.
    Future,
}

/// A place in the code. Lines count from 1, both ends included.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Location {
    /// Path from the top of the repository, with `/`.
    pub path: String,
    /// First line; `None`: the whole file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<u32>,
    /// Last line; `None`: the first line alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<u32>,
}

/// A command that shows the defect, and what it printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The command line as the reviewer gave it. Never run without the user's leave.
    pub command: String,
    /// What the reviewer says it printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

/// One finding of one reviewer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The name the reviewer gave it (`I2`), else its place in the review (`#3`).
    pub id: String,
    /// The reviewer's severity.
    pub severity: Severity,
    /// `None`: the reviewer does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// `None`: the reviewer does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// One line, without Markdown's emphasis.
    pub title: String,
    /// Every place named in the heading; the first is where it is.
    #[serde(default)]
    pub locations: Vec<Location>,
    /// The code as the reviewer quoted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<String>,
    /// Why it is a defect; Markdown.
    #[serde(default)]
    pub explanation: String,
    /// A unified diff (with or without file headers), or prose when no diff was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// Commands that show it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// Names in `[…]` behind the heading of a consolidated finding.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviewers: Vec<String>,
    /// What was checked against the code, with the result; empty before verification.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
}

impl Finding {
    /// A finding with nothing but a name, a severity and a title.
    pub fn new(id: impl Into<String>, severity: Severity, title: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            severity,
            class: None,
            scope: None,
            title: title.into(),
            locations: Vec::new(),
            quote: None,
            explanation: String::new(),
            fix: None,
            evidence: Vec::new(),
            reviewers: Vec::new(),
            checks: Vec::new(),
        }
    }
}

/// One check of a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The kind of check.
    pub kind: CheckKind,
    /// The result.
    pub result: CheckResult,
    /// Details for the reader: `the quote is at lines 40-44, not 38-42`.
    pub detail: String,
}

impl Check {
    /// A check with its result.
    pub fn new(kind: CheckKind, result: CheckResult, detail: String) -> Self {
        Self {
            kind,
            result,
            detail,
        }
    }
}

/// The kinds of checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckKind {
    /// The file exists at the head.
    File,
    /// The lines exist in the file.
    Lines,
    /// The quoted code is in the file.
    Quote,
    /// The place is in the diff; blame says whether the change made it.
    Diff,
    /// The fix applies to the head.
    FixApplies,
    /// The given command passes with the fix applied.
    FixPasses,
    /// The repro command shows what it claims.
    Repro,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckResult {
    /// It holds.
    Confirmed,
    /// It holds after a correction that `detail` names.
    Corrected,
    /// It does not hold.
    Refuted,
    /// It could not be checked, or was not allowed.
    Unchecked,
}
