//! Cells of tables that people wrote.

/// The number at the start of a cell: `1 (severity)` is 1, `none` is 0; `—` is unknown.
pub fn count(cell: &str) -> Option<usize> {
    let cell = cell.trim().trim_matches('*').trim();
    if cell.eq_ignore_ascii_case("none") {
        return Some(0);
    }
    let digits = cell.chars().take_while(char::is_ascii_digit).count();
    cell[..digits].parse().ok()
}

/// A duration in seconds: `10m 56s`, `39 min 35 s`, `1h 2m`, `10:04`, `1:02:03`.
pub fn seconds(cell: &str) -> Option<f64> {
    let cell = cell.trim().trim_matches(['*', '`', '~']).trim();
    let first = cell.split_whitespace().next().unwrap_or("");
    if first.contains(':') {
        let mut sum = 0.0;
        for part in first.split(':') {
            sum = sum * 60.0 + part.parse::<f64>().ok()?;
        }
        return Some(sum);
    }
    let (mut sum, mut any) = (0.0, false);
    let mut number = String::new();
    let mut chars = cell.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_ascii_digit() || c == '.' {
            number.push(c);
            continue;
        }
        if number.is_empty() || c.is_whitespace() {
            continue;
        }
        let factor = match c {
            'h' => 3600.0,
            'm' => 60.0,
            's' => 1.0,
            _ => return any.then_some(sum),
        };
        sum += factor * number.parse::<f64>().ok()?;
        any = true;
        number.clear();
        // `min`, `sec`, `hours`
        while chars.peek().is_some_and(|c| c.is_alphabetic()) {
            chars.next();
        }
    }
    any.then_some(sum)
}

/// US dollars: `$1.50`, `~$0.7`.
pub(super) fn dollars(cell: &str) -> Option<f64> {
    let (_, amount) = cell.split_once('$')?;
    let end = amount
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(amount.len());
    amount[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells() {
        for (cell, expected) in [
            ("10m 56s", Some(656.0)),
            ("39 min 35 s", Some(2375.0)),
            ("1h 2m", Some(3720.0)),
            ("10:04", Some(604.0)),
            ("1:02:03", Some(3723.0)),
            ("`8m 1s` (retry)", Some(481.0)),
            ("—", None),
            ("", None),
            ("fast", None),
        ] {
            assert_eq!(seconds(cell), expected, "{cell}");
        }
        assert_eq!(count("2 (I→S)"), Some(2));
        assert_eq!(count("none"), Some(0));
        assert_eq!(count("—"), None);
        assert_eq!(dollars("~$0.75 (est.)"), Some(0.75));
        assert_eq!(dollars("cheap"), None);
    }
}
