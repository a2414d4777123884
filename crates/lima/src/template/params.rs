//! `{{.Param.name}}` and its like. Lima runs Go's text/template over some fields; what templates use of it is plain
//! names, so plain names are what is put in. Other braces stay as they are: scripts are full of them
//! (`docker ps --format '{{.Names}}'`).

use std::collections::{BTreeMap, BTreeSet};

/// What names stand for.
pub(super) struct Names<'a> {
    /// `.Home`, `.User`, …
    pub(super) fixed: BTreeMap<&'static str, String>,
    /// `.Param.x`.
    pub(super) params: &'a BTreeMap<String, String>,
    /// The parameters that some text used.
    pub(super) used: BTreeSet<String>,
}

/// A parameter that nobody defined.
pub(super) struct Undefined(pub(super) String);

impl Names<'_> {
    /// Puts values in.
    pub(super) fn put_in(&mut self, text: &str) -> Result<String, Undefined> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("{{") {
            let Some(length) = rest[start..].find("}}") else {
                break;
            };
            let end = start + length + 2;
            let (before, expression) = (&rest[..start], &rest[start..end]);
            // `{{- x -}}` takes the white space around it away.
            let inner = &expression[2..expression.len() - 2];
            let (left, inner) = inner
                .strip_prefix("- ")
                .map_or((false, inner), |inner| (true, inner));
            let (right, inner) = inner
                .strip_suffix(" -")
                .map_or((false, inner), |inner| (true, inner));
            match self.value(inner.trim())? {
                Some(value) => {
                    out.push_str(if left { before.trim_end() } else { before });
                    out.push_str(&value);
                    rest = &rest[end..];
                    if right {
                        rest = rest.trim_start();
                    }
                }
                None => {
                    // Not ours; go on behind the opening braces, as another expression may begin inside.
                    out.push_str(&rest[..start + 2]);
                    rest = &rest[start + 2..];
                }
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    fn value(&mut self, name: &str) -> Result<Option<String>, Undefined> {
        if let Some(param) = name.strip_prefix(".Param.") {
            if !param
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_')
            {
                return Ok(None);
            }
            self.used.insert(param.to_owned());
            return match self.params.get(param) {
                Some(value) => Ok(Some(value.clone())),
                None => Err(Undefined(param.to_owned())),
            };
        }
        Ok(self.fixed.get(name).cloned())
    }
}
