//! The JSONPath of printer columns: fields, indices, wildcards, filters on equality
//! (`.status.conditions[?(@.type=="Ready")].status`).

use serde_json::Value;

/// The most steps of a path. A path with more finds nothing.
const MAX_STEPS: usize = 32;
/// The longest path in bytes. A filter parses its part for each item, so a long path would cost its length for each.
const MAX_TEXT: usize = 1024;

/// Returns what the path finds, in order. A path that is wrong or too long finds nothing.
pub(super) fn find<'a>(root: &'a Value, path: &str) -> Vec<&'a Value> {
    if path.len() > MAX_TEXT {
        return Vec::new();
    }
    let path = path.trim().trim_start_matches('{').trim_end_matches('}');
    let mut rest = path.strip_prefix('$').unwrap_or(path);
    let mut found = vec![root];
    for _ in 0..MAX_STEPS {
        if rest.is_empty() {
            return found;
        }
        let Some((step, after)) = next_step(rest) else {
            return Vec::new();
        };
        found = found
            .into_iter()
            .flat_map(|value| step.take(value))
            .collect();
        rest = after;
    }
    Vec::new()
}

enum Step<'a> {
    /// `.name` or `['name']`.
    Field(String),
    /// `.*` or `[*]`.
    All,
    /// `[3]`; negative numbers count from the end.
    Index(i64),
    /// `[?(@.path=="value")]`: the path and the value.
    Filter(&'a str, &'a str),
}

/// Returns the name at the start of a text, with its escapes (`\.`) resolved, and the rest.
fn bare_name(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            '.' | '[' => return (name, &text[at..]),
            c => name.push(c),
        }
    }
    (name, "")
}

fn next_step(text: &str) -> Option<(Step<'_>, &str)> {
    if let Some(inside) = text.strip_prefix('[') {
        if let Some(filter) = inside.strip_prefix("?(") {
            let (condition, after) = filter.split_once(")]")?;
            let (left, right) = condition.split_once("==")?;
            let field = left.trim().strip_prefix("@.")?;
            return Some((
                Step::Filter(field, right.trim().trim_matches(['"', '\''])),
                after,
            ));
        }
        if let Some(quote) = inside.chars().next().filter(|c| *c == '\'' || *c == '"') {
            let (name, after) = inside[1..].split_once(&[quote, ']'].iter().collect::<String>())?;
            return Some((Step::Field(name.replace("\\.", ".")), after));
        }
        let (inside, after) = inside.split_once(']')?;
        return Some(match inside.trim() {
            "*" => (Step::All, after),
            index => (Step::Index(index.parse().ok()?), after),
        });
    }
    let text = text.strip_prefix('.').unwrap_or(text);
    if let Some(after) = text.strip_prefix('*') {
        return Some((Step::All, after));
    }
    let (name, after) = bare_name(text);
    (!name.is_empty()).then_some((Step::Field(name), after))
}

impl Step<'_> {
    fn take<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        match (self, value) {
            (Self::Field(name), Value::Object(map)) => map.get(name).into_iter().collect(),
            (Self::All, Value::Object(map)) => map.values().collect(),
            (Self::All, Value::Array(list)) => list.iter().collect(),
            (Self::Index(index), Value::Array(list)) => {
                let from_end = index.checked_add(list.len() as i64).filter(|_| *index < 0);
                let at = usize::try_from(from_end.unwrap_or(*index)).ok();
                at.and_then(|at| list.get(at)).into_iter().collect()
            }
            (Self::Filter(field, wanted), Value::Array(list)) => {
                let holds = |item: &&Value| match find(item, &format!(".{field}")).first() {
                    Some(Value::String(text)) => text == wanted,
                    Some(Value::Bool(b)) => wanted.parse() == Ok(*b),
                    Some(Value::Number(n)) => {
                        wanted.parse::<serde_json::Number>().is_ok_and(|w| w == *n)
                    }
                    Some(_) => false,
                    None => false,
                };
                list.iter().filter(holds).collect()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn long_path_finds_nothing() {
        let object = json!({"a": 1});
        let path = format!(".a{}", " ".repeat(super::MAX_TEXT));
        assert!(super::find(&object, &path).is_empty());
        assert!(super::find(&object, &"[?(@.a==".repeat(100)).is_empty());
    }

    #[test]
    fn path_finds_fields_indices_and_filtered_items() {
        let object = json!({
            "spec": {"running": true, "list": [{"name": "a", "v": 1}, {"name": "b", "v": 2}]},
            "metadata": {"annotations": {"x.io/y": "z"}},
        });
        for (path, expected) in [
            (".spec.running", "[true]"),
            ("{.spec.running}", "[true]"),
            (".spec.list[1].name", "[\"b\"]"),
            (".spec.list[-1].name", "[\"b\"]"),
            (".spec.list[*].v", "[1,2]"),
            (".spec.list[?(@.name==\"b\")].v", "[2]"),
            (".metadata.annotations.x\\.io/y", "[\"z\"]"),
            (".metadata.annotations['x.io/y']", "[\"z\"]"),
            (".spec.none.deep", "[]"),
            (".spec.list[", "[]"),
        ] {
            let found = json!(super::find(&object, path));
            assert_eq!(found.to_string(), expected, "{path}");
        }
    }
}
