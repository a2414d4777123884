//! Regular expressions of schemas and CEL rules, with bounded memory.
//!
//! A compiled expression can be a thousand times larger than its text (`^\pL{300}$`), and a definition can have
//! thousands of them. So a schema keeps only the text and the size class; the compiled form is made when it is
//! needed and lives in one cache of the process, whose total size is bounded.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use regex::{Regex, RegexBuilder};

/// The largest compiled size of one expression in bytes: a Unicode class such as `\p{L}` repeated a hundred times.
const MAX_PATTERN: usize = 4 << 20;
/// The largest compiled size of all expressions of one schema together, each counted once: 2,000 expressions of
/// 16 KiB, more than the largest published definitions have. Compiling as much takes a few seconds.
pub(super) const MAX_SCHEMA_PATTERNS: usize = 32 << 20;
/// The smallest size class: what an expression of a few characters takes.
const MIN_CLASS: usize = 4 << 10;
/// The total of the size classes in the cache. A `Regex` has forward and reverse programs and their caches, about
/// four times its class, so the cache takes at most 32 MiB.
const MAX_CACHED: usize = 8 << 20;
/// The longest expression that is compiled, in bytes.
const MAX_TEXT: usize = 10_000;
/// How many steps of a validation the compilation of one KiB counts for.
const STEPS_PER_KIB: usize = 128;

/// A regular expression that is known to compile.
#[derive(Clone)]
pub(crate) struct Pattern {
    source: Arc<str>,
    /// The compiled size in bytes, rounded up to a power of two.
    class: usize,
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.source).finish()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

/// Translates the syntax of Go, in which schemas are written, to that of the `regex` crate: `\d`, `\w`, `\s` and `\b`
/// mean ASCII only, and `[` inside a class is a plain character. The Unicode classes of `regex` would also make the
/// compiled form of ordinary expressions a hundred times larger.
fn from_go(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut chars = source.chars().peekable();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        match c {
            '[' if in_class => {
                // `[:alpha:]` is a class inside the class.
                let posix = chars.peek() == Some(&':');
                out.push_str(if posix { "[" } else { r"\[" });
                if posix {
                    for c in chars.by_ref() {
                        out.push(c);
                        if c == ']' {
                            break;
                        }
                    }
                }
            }
            '[' => {
                in_class = true;
                out.push(c);
                out.extend(chars.next_if_eq(&'^'));
                // A bracket at the start is a plain character.
                if chars.next_if_eq(&']').is_some() {
                    out.push_str(r"\]");
                }
            }
            ']' => {
                in_class = false;
                out.push(c);
            }
            '\\' => match (chars.next(), in_class) {
                (Some('d'), _) => out.push_str("[0-9]"),
                (Some('D'), _) => out.push_str("[^0-9]"),
                (Some('w'), _) => out.push_str("[0-9A-Za-z_]"),
                (Some('W'), _) => out.push_str("[^0-9A-Za-z_]"),
                (Some('s'), _) => out.push_str(r"[\t\n\f\r ]"),
                (Some('S'), _) => out.push_str(r"[^\t\n\f\r ]"),
                (Some('b'), false) => out.push_str(r"(?-u:\b)"),
                (Some('B'), false) => out.push_str(r"(?-u:\B)"),
                (escaped, _) => {
                    out.push('\\');
                    out.extend(escaped);
                }
            },
            _ => out.push(c),
        }
    }
    out
}

fn build(source: &str, class: usize) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&from_go(source))
        .size_limit(class)
        .dfa_size_limit(class)
        .build()
}

impl Pattern {
    /// Compiles an expression once to learn its size, and puts it into the cache. `Err` says what is wrong with it.
    pub(super) fn compile(source: &str) -> Result<Self, String> {
        if source.len() > MAX_TEXT {
            return Err(format!("it is longer than {MAX_TEXT} bytes"));
        }
        let mut class = MIN_CLASS;
        loop {
            match build(source, class) {
                Ok(regex) => {
                    let pattern = Self {
                        source: source.into(),
                        class,
                    };
                    cache().put(&pattern, &regex);
                    return Ok(pattern);
                }
                Err(regex::Error::CompiledTooBig(_)) if class < MAX_PATTERN => class *= 2,
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// The compiled size in bytes.
    pub(super) fn class(&self) -> usize {
        self.class
    }

    /// The compiled form, and how many validation steps it took to get it.
    pub(super) fn regex(&self) -> (Option<Regex>, usize) {
        if let Some(regex) = cache().get(&self.source) {
            return (Some(regex), 1);
        }
        let regex = build(&self.source, self.class).ok();
        if let Some(regex) = &regex {
            cache().put(self, regex);
        }
        (regex, self.class / 1024 * STEPS_PER_KIB)
    }
}

/// Returns the compiled form of an expression that a CEL rule made at run time, and how many steps it took.
pub(super) fn dynamic(source: &str) -> (Result<Regex, String>, usize) {
    if let Some(regex) = cache().get(source) {
        return (Ok(regex), 1);
    }
    match Pattern::compile(source) {
        Ok(pattern) => {
            let (regex, _) = pattern.regex();
            let steps = pattern.class / 1024 * STEPS_PER_KIB;
            (regex.ok_or_else(|| "it does not compile".into()), steps)
        }
        Err(why) => (Err(why), MAX_PATTERN / 1024 * STEPS_PER_KIB),
    }
}

/// Compiled expressions, the least recently used of which are dropped first.
#[derive(Default)]
struct Cache {
    compiled: HashMap<Arc<str>, Cached>,
    /// The total of the size classes.
    size: usize,
    /// Counts uses, to order them.
    uses: u64,
}

struct Cached {
    regex: Regex,
    class: usize,
    used: u64,
}

static CACHE: Mutex<Option<Cache>> = Mutex::new(None);

/// The cache, locked for one operation.
struct Locked(std::sync::MutexGuard<'static, Option<Cache>>);

fn cache() -> Locked {
    Locked(CACHE.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Locked {
    fn get(&mut self, source: &str) -> Option<Regex> {
        let cache = self.0.as_mut()?;
        cache.uses += 1;
        let cached = cache.compiled.get_mut(source)?;
        cached.used = cache.uses;
        // Clones share the compiled program.
        Some(cached.regex.clone())
    }

    fn put(&mut self, pattern: &Pattern, regex: &Regex) {
        let cache = self.0.get_or_insert_default();
        cache.uses += 1;
        let cached = Cached {
            regex: regex.clone(),
            class: pattern.class,
            used: cache.uses,
        };
        cache.size += pattern.class;
        if let Some(old) = cache.compiled.insert(Arc::clone(&pattern.source), cached) {
            cache.size -= old.class;
        }
        while cache.size > MAX_CACHED {
            let oldest = cache.compiled.iter().min_by_key(|(_, cached)| cached.used);
            let Some(source) = oldest.map(|(source, _)| Arc::clone(source)) else {
                break;
            };
            if let Some(old) = cache.compiled.remove(&source) {
                cache.size -= old.class;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expression_beyond_the_size_limit_is_refused() {
        assert!(Pattern::compile("^a+$").is_ok_and(|p| p.class() == MIN_CLASS));
        let error = Pattern::compile("(?:(?:a{1,200}){1,200}){1,200}").expect_err("too large");
        assert!(error.contains("size limit"), "{error}");
        assert!(Pattern::compile("(").is_err());
        assert!(Pattern::compile(&"a".repeat(MAX_TEXT + 1)).is_err());
    }

    #[test]
    fn expressions_have_the_meaning_of_go() {
        for (source, text, expected) in [
            (r"^\w{1,63}$", "abc_9", true),
            (r"^\w+$", "é", false),
            (r"^[\w.-]+$", "a.b-c", true),
            (r"^[^\d]+$", "abc", true),
            (r"^\d+$", "٣", false),
            (r"^\\d$", r"\d", true),
            (r"\bfoo\b", "a foo", true),
            (r"^[\S]+$", "a b", false),
            (r"^[^[]+$", "a[b", false),
            (r"^[^[\]]+$", "ab", true),
            (r"^[]a]+$", "a]", true),
            (r"^[[:alpha:]_]+$", "ab_", true),
            (r"^[a[:digit:]]+$", "a1", true),
        ] {
            let regex = Pattern::compile(source)
                .expect(source)
                .regex()
                .0
                .expect(source);
            assert_eq!(regex.is_match(text), expected, "{source} {text}");
        }
    }

    #[test]
    fn cache_stays_below_its_limit_and_dropped_expressions_still_match() {
        let patterns: Vec<Pattern> = (0..40)
            .map(|n| Pattern::compile(&format!("^x{n}.{{1000}}$")).expect("compiles"))
            .collect();
        let size = cache().0.as_ref().map_or(0, |cache| cache.size);
        assert!(size <= MAX_CACHED, "{size}");
        let total: usize = patterns.iter().map(Pattern::class).sum();
        assert!(total > MAX_CACHED, "{total}");
        let text = format!("x0{}", "a".repeat(1000));
        assert!(patterns[0].regex().0.expect("compiles").is_match(&text));
    }
}
