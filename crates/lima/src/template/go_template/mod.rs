//! The part of Go's text/template that Lima's templates use, evaluated within limits.
//!
//! Lima runs text/template over scripts, paths and messages (`executeGuestTemplate` in `pkg/limayaml/defaults.go`), so a
//! template may hold names (`{{.Param.version}}`), choices (`{{if eq .Param.release "stable"}}`), loops and text/template's
//! own functions. Scripts also hold braces for other programs (`docker ps --format '{{.Names}}'`). The rules:
//!
//! - An action that names only what Lima defines is evaluated.
//! - Any other single action stays in the text as it is.
//! - A block (`if`, `with`, `range`) over an unknown name stays as it is when it is on one line without `;`, which is how
//!   scripts pass a format to another program. Otherwise it is an error: a shell would run both branches.
//!
//! ```text
//! text ─ scan: pieces ─ syntax: nodes ─ eval: text, at most Limits bytes
//! ```

mod eval;
mod scan;
mod syntax;

use std::collections::{BTreeMap, BTreeSet};

/// The largest text that one field may expand to. A script is text that a person wrote.
pub(super) const FIELD_LIMIT: usize = 512 << 10;
/// What all fields of a template may expand to together. The guest's disk is built in memory.
const TOTAL_LIMIT: usize = 4 << 20;

/// The names that an expansion knows, and what is left of its limits.
pub(super) struct Names<'a> {
    /// `User`, `Home`, …, without the leading dot.
    pub(super) fixed: BTreeMap<&'static str, Fixed>,
    /// The values of `.Param`.
    pub(super) params: &'a BTreeMap<String, String>,
    /// The parameters that the expanded texts mention.
    pub(super) used: BTreeSet<String>,
    /// An unknown name has no value instead of being an error, as in Lima's `message`, whose data is the whole instance.
    pub(super) lenient: bool,
    /// The bytes that further fields may expand to.
    left: usize,
}

/// The value of a name that Lima defines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fixed {
    Text(String),
    Number(i64),
}

/// A text that cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ExpandError {
    /// The value of a parameter is wanted that is not defined.
    #[error("uses {{{{.Param.{0}}}}}, and no parameter of that name is defined")]
    UndefinedParam(String),
    /// The result is too long.
    #[error("becomes longer than {limit} bytes once the parameters are put in")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// An action that belongs to a block cannot be evaluated.
    #[error(
        "{action}: {reason}; to keep the braces for another program, write {{{{\"{{{{\"}}}} in the place of {{{{"
    )]
    Action {
        /// The action as written.
        action: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ExpandError {
    fn action(action: &str, reason: impl Into<String>) -> Self {
        Self::Action {
            action: super::tree::shortened(action),
            reason: reason.into(),
        }
    }
}

impl<'a> Names<'a> {
    pub(super) fn new(
        fixed: BTreeMap<&'static str, Fixed>,
        params: &'a BTreeMap<String, String>,
    ) -> Self {
        Self {
            fixed,
            params,
            used: BTreeSet::new(),
            lenient: false,
            left: TOTAL_LIMIT,
        }
    }

    /// The same names and limits with other fixed values.
    pub(super) fn with_fixed(self, fixed: BTreeMap<&'static str, Fixed>) -> Self {
        Self { fixed, ..self }
    }

    /// Evaluates one field. The result is measured before each piece is added to it.
    pub(super) fn expand(&mut self, text: &str) -> Result<String, ExpandError> {
        if !text.contains("{{") {
            return Ok(text.to_owned());
        }
        let pieces = scan::pieces(text)?;
        let nodes = syntax::nodes(&pieces, self)?;
        let limit = FIELD_LIMIT.min(self.left);
        let out = eval::run(&nodes, self, limit)?;
        self.left -= out.len();
        Ok(out)
    }

    fn knows(&self, root: &str) -> bool {
        self.lenient || root == "Param" || self.fixed.contains_key(root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand_with(text: &str, lenient: bool) -> Result<String, ExpandError> {
        let params = BTreeMap::from([
            ("x".to_owned(), "yes".to_owned()),
            ("url".to_owned(), "http://m".to_owned()),
            ("empty".to_owned(), String::new()),
        ]);
        let fixed = BTreeMap::from([
            ("User", Fixed::Text("dev".to_owned())),
            ("UID", Fixed::Number(501)),
        ]);
        let mut names = Names::new(fixed, &params);
        names.lenient = lenient;
        names.expand(text)
    }

    fn expand(text: &str) -> Result<String, ExpandError> {
        expand_with(text, false)
    }

    #[test]
    fn one_branch_of_a_choice_remains() {
        for (text, expected) in [
            (r#"{{if eq .Param.x "yes"}}a{{else}}b{{end}}"#, "a"),
            (r#"{{if eq .Param.x "no"}}a{{else}}b{{end}}"#, "b"),
            (r#"{{if ne .Param.x "yes"}}a{{end}}"#, ""),
            (
                "{{if .Param.empty}}a{{else if .Param.x}}b{{else}}c{{end}}",
                "b",
            ),
            ("{{if not (and .Param.url .Param.empty)}}a{{end}}", "a"),
            ("{{if and .Param.url .Param.x}}a{{end}}", "a"),
            (
                "{{if or .Param.empty .Param.missing}}a{{else}}b{{end}}",
                "b",
            ),
            ("{{if eq .UID 500 501}}a{{end}}", "a"),
            ("{{if lt 1 2}}{{if ge 2 2}}a{{end}}{{end}}", "a"),
            (
                "{{with .Param.url}}[{{.}}]{{else}}none{{end}}",
                "[http://m]",
            ),
            ("{{with .Param.empty}}[{{.}}]{{else}}none{{end}}", "none"),
            (
                "{{range $k, $v := .Param}}{{$k}}={{$v}};{{end}}",
                "empty=;url=http://m;x=yes;",
            ),
            (
                "{{range .Param}}{{if .}}{{.}} {{$.User}},{{end}}{{end}}",
                "http://m dev,yes dev,",
            ),
            ("a \n{{- if .Param.x -}}\n b \n{{- end}}\nc", "ab\nc"),
        ] {
            assert_eq!(expand(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn values_functions_and_variables_are_put_in() {
        for (text, expected) in [
            ("{{.User}} {{ .User }} {{.UID}}", "dev dev 501"),
            ("a  {{- .User -}}  b", "adevb"),
            (
                r#"{{printf "%s-%d-%q-%%" .User .UID .Param.x}}"#,
                "dev-501-\"yes\"-%",
            ),
            (r#"{{index .Param "x"}}{{len .User}}"#, "yes3"),
            (r#"{{.Param.x | printf "%s!" | print}}"#, "yes!"),
            ("{{$a := .Param.x}}{{$a}}{{$a = .User}}{{$a}}", "yesdev"),
            ("{{/* a comment */}}x{{- /* another */ -}} y", "xy"),
            (r#"{{"{{"}}.Names}}"#, "{{.Names}}"),
            ("{{`raw`}}", "raw"),
        ] {
            assert_eq!(expand(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn actions_of_other_programs_stay_as_they_are() {
        for text in [
            "docker ps --format '{{.Names}}'",
            "docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' x",
            "docker inspect -f '{{if .State.Running}}up{{else}}down{{end}}' x",
            "docker inspect -f '{{json .State}} {{ .Config.Env | join }}' x",
            "echo ${{x} {{ item }} {{}} {{.}} {{ a {{ b",
            "'{{- .Names -}}' }} {{",
        ] {
            assert_eq!(expand(text).as_deref(), Ok(text));
        }
        let mixed = "{{ a {{.User}} }}";
        assert_eq!(expand(mixed).unwrap(), "{{ a dev }}");
    }

    #[test]
    fn a_block_that_cannot_be_evaluated_is_an_error_that_names_it() {
        for (text, part) in [
            (
                "{{if .Unknown}}\na\n{{else}}\nb\n{{end}}",
                "{{if .Unknown}}: ",
            ),
            (
                "{{if .Unknown}}; a; {{else}}; b; {{end}}",
                "{{if .Unknown}}: ",
            ),
            ("{{if .Param.x}}\na\n", "has no {{end}}"),
            ("a\n{{end}}\n", "{{end}}: ends no block"),
            ("{{else}}", "{{else}}: belongs to no block"),
            ("{{if}}\na\n{{end}}", "{{if}}: "),
            ("{{if eq .UID \"x\"}}a{{end}}", "cannot compare"),
            ("{{if eq .UID 1.5}}a{{end}}", "{{if eq .UID 1.5}}: "),
            ("{{define \"x\"}}a{{end}}", "define is not supported"),
            ("{{range .User}}a{{end}}", "cannot loop over"),
            ("{{if .Param.x", "{{if .Param.x"),
        ] {
            let error = expand(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        let nested = "{{if .Param.x}}".repeat(100) + &"{{end}}".repeat(100);
        assert!(
            expand(&nested)
                .unwrap_err()
                .to_string()
                .contains("blocks in blocks")
        );
        assert_eq!(
            expand("{{.Param.none}}"),
            Err(ExpandError::UndefinedParam("none".to_owned()))
        );
    }

    #[test]
    fn a_lenient_text_takes_unknown_names_for_empty() {
        let text = "{{- if .Instance.Config.VMOpts.vz.rosetta.enabled}}\na\n{{- end}}b{{.Dir}}";
        assert_eq!(expand_with(text, true).as_deref(), Ok("b"));
    }

    #[test]
    fn expansion_is_measured_before_it_happens() {
        let params = BTreeMap::from([("p".to_owned(), "x".repeat(300_000))]);
        for text in [
            "{{.Param.p}}".repeat(30_000),
            "{{range .Param}}{{.}}{{.}}{{end}}".to_owned(),
            r#"{{printf "%s%s" .Param.p .Param.p}}"#.to_owned(),
        ] {
            let mut names = Names::new(BTreeMap::new(), &params);
            let limit = FIELD_LIMIT;
            assert_eq!(names.expand(&text), Err(ExpandError::TooLong { limit }));
        }
        // Fields that fit one by one exceed what all may have together.
        let mut names = Names::new(BTreeMap::new(), &params);
        let fits = (0..100)
            .take_while(|_| names.expand("{{.Param.p}}").is_ok())
            .count();
        assert_eq!(fits, TOTAL_LIMIT / 300_000);
        // Loops in loops end at a number of steps, whatever they write.
        let params = (0..100).map(|n| (format!("p{n}"), String::new())).collect();
        let mut names = Names::new(BTreeMap::new(), &params);
        let loops = "{{range .Param}}{{range $.Param}}{{range $.Param}}{{range $.Param}}{{end}}{{end}}{{end}}{{end}}";
        let error = names.expand(loops).unwrap_err().to_string();
        assert!(error.contains("steps"), "{error}");
    }

    /// Counts what a scan looks at instead of measuring its time.
    #[test]
    fn scanning_is_linear_in_the_text() {
        for opening in ["{{", "{{`", "{{\"", "{{/*", "{{ a ", "{{.a.", "{{("] {
            let looked_at = |n: usize| {
                let text = opening.repeat(n) + "}}";
                scan::LOOKED_AT.with(|count| count.set(0));
                let _ = scan::pieces(&text);
                scan::LOOKED_AT.with(std::cell::Cell::get)
            };
            let (small, large) = (looked_at(5_000), looked_at(50_000));
            assert!(large <= 11 * small, "{opening}: {small} and then {large}");
        }
    }
}
