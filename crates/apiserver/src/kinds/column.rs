//! The columns of a kind's table (`metav1.TableColumnDefinition`).

use serde_json::Value;

/// Where the text of a cell comes from.
pub(crate) enum Cell {
    /// `metadata.name`.
    Name,
    /// The time since the first timestamp that one of these JSONPaths finds.
    AgeOf(Vec<String>),
    /// The values that this JSONPath finds.
    Path(String),
    /// The result of this function.
    Computed(fn(&Value) -> Value),
}

/// One column.
pub(crate) struct Column {
    pub(crate) name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub(crate) kind: String,
    pub(crate) format: String,
    pub(crate) description: String,
    /// 0: always shown. Greater: shown with `-o wide` only.
    pub(crate) priority: i64,
    pub(crate) cell: Cell,
}

pub(super) fn column(name: &str, kind: &str, cell: Cell) -> Column {
    Column {
        name: name.into(),
        kind: kind.into(),
        format: if matches!(cell, Cell::Name) {
            "name".into()
        } else {
            String::new()
        },
        description: String::new(),
        priority: 0,
        cell,
    }
}

pub(super) fn name_column() -> Column {
    column("Name", "string", Cell::Name)
}

pub(super) fn age_column() -> Column {
    let created = ".metadata.creationTimestamp".into();
    column("Age", "string", Cell::AgeOf(vec![created]))
}

pub(super) fn path_column(name: &str, path: &str) -> Column {
    column(name, "string", Cell::Path(path.into()))
}
