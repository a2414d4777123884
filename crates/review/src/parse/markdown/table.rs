//! Tables.

use super::lines::{Kind, Line};

/// A table: the cells of its first row, and of the rows under the rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Column names, without emphasis.
    pub header: Vec<String>,
    /// Rows, without emphasis.
    pub rows: Vec<Vec<String>>,
}

/// The tables among some lines.
pub(super) fn tables(lines: &[Line<'_>]) -> Vec<Table> {
    let mut result: Vec<Table> = Vec::new();
    let mut open = false;
    for line in lines {
        let Some(cells) = (line.kind == Kind::Text)
            .then(|| cells(line.text))
            .flatten()
        else {
            open = false;
            continue;
        };
        let rule = cells
            .iter()
            .all(|c| !c.is_empty() && c.chars().all(|c| matches!(c, '-' | ':')));
        match result.last_mut().filter(|_| open) {
            None => {
                result.push(Table {
                    header: cells,
                    rows: Vec::new(),
                });
                open = true;
            }
            Some(_) if rule => {}
            Some(table) => table.rows.push(cells),
        }
    }
    result
}

/// The cells of a row; a `|` in inline code or behind a backslash is text.
fn cells(line: &str) -> Option<Vec<String>> {
    let row = line.trim().strip_prefix('|')?;
    let row = row.strip_suffix('|').unwrap_or(row);
    let mut cells = vec![String::new()];
    let (mut code, mut escaped) = (false, false);
    // A backtick without its partner opens nothing.
    let balanced = row.matches('`').count() % 2 == 0;
    for c in row.chars() {
        match c {
            '|' if !escaped && !code => cells.push(String::new()),
            _ => {
                if c == '`' && balanced {
                    code = !code;
                }
                if let Some(last) = cells.last_mut() {
                    last.push(c);
                }
            }
        }
        escaped = c == '\\' && !escaped;
    }
    Some(
        cells
            .iter()
            .map(|c| c.trim().trim_matches('*').trim().to_owned())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::super::lines::lines;
    use super::*;

    #[test]
    fn cells_and_rows() {
        let text =
            "x\n| A | B |\n|---|:-:|\n| `a|b` | **1** |\n| c \\| d | |\n\n| other | t |\n|-|-|\n";
        let found = tables(&lines(text));
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].header, ["A", "B"]);
        assert_eq!(found[0].rows, [["`a|b`", "1"], ["c \\| d", ""]]);
        assert_eq!(found[1].rows.len(), 0);
    }
}
