//! The path of a field inside an object, kept as a chain of borrowed steps while the object is walked.
//!
//! A walk visits every value, but only a value with a fault needs its path as text. If each visit built the text, an
//! object with long keys near its root would cost the length of those keys for every value below them.

use std::fmt;

/// The longest path that a message shows, in bytes. Longer paths are cut at the end.
const MAX_SHOWN: usize = 512;

/// A path such as `spec.items[0].name`. The root has the empty path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Path<'a> {
    /// The object itself.
    Root,
    /// A field of the parent.
    Field(&'a Path<'a>, &'a str),
    /// An item of the parent.
    Index(&'a Path<'a>, usize),
}

impl<'a> Path<'a> {
    /// The path of a field of this value.
    pub(crate) fn field(&'a self, name: &'a str) -> Self {
        Self::Field(self, name)
    }

    /// The path of an item of this value.
    pub(crate) fn index(&'a self, index: usize) -> Self {
        Self::Index(self, index)
    }

    fn write(&self, out: &mut Shown) {
        match self {
            Self::Root => {}
            Self::Field(parent, name) => {
                parent.write(out);
                if !out.text.is_empty() {
                    out.push(".");
                }
                out.push(name);
            }
            Self::Index(parent, index) => {
                parent.write(out);
                out.push(&format!("[{index}]"));
            }
        }
    }
}

/// The start of the path, as far as it fits.
struct Shown {
    text: String,
    cut: bool,
}

impl Shown {
    fn push(&mut self, part: &str) {
        if self.cut {
            return;
        }
        let left = MAX_SHOWN.saturating_sub(self.text.len());
        if part.len() <= left {
            self.text.push_str(part);
            return;
        }
        self.text.push_str(&part[..part.floor_char_boundary(left)]);
        self.text.push('…');
        self.cut = true;
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = Shown {
            text: String::new(),
            cut: false,
        };
        self.write(&mut shown);
        f.write_str(&shown.text)
    }
}

/// `a.b`, as messages name fields.
pub(crate) fn child(path: &str, field: &str) -> String {
    match path {
        "" => field.into(),
        _ => format!("{path}.{field}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_shows_fields_and_indices_and_is_bounded() {
        let root = Path::Root;
        let spec = root.field("spec");
        let items = spec.field("items");
        assert_eq!(
            items.index(3).field("name").to_string(),
            "spec.items[3].name"
        );
        let long = "k".repeat(10_000);
        let shown = root.field(&long).field("x").to_string();
        assert!(
            shown.len() < MAX_SHOWN + 8 && shown.ends_with('…'),
            "{}",
            shown.len()
        );
    }
}
