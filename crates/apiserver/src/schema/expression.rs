//! CEL expressions: parsed within limits, with the calls of [`super::meter`] inserted.
//!
//! An evaluator of our own would have to repeat the operators, functions and conversions of the `cel` crate, and its
//! parser and evaluator recurse without a limit that holds for all inputs. So the text is scanned before it is
//! parsed, everything runs on the compute pool with its large stack, and the parsed expression is rewritten so that
//! the evaluation pays for its work as it goes.

use std::sync::{Arc, OnceLock};

use cel::{
    Context, Env, Value,
    common::{
        ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators},
        types::{CelBool, CelInt, CelString},
    },
};

use super::meter::{self, COPY, Ended, GLANCE, ITERATE, MATCHES, SPEND, WALK};
use crate::compute::Token;

/// The longest expression in bytes. The longest rule of the published Gateway API definitions has 1,700.
const MAX_TEXT: usize = 16 << 10;
/// The deepest nesting of brackets and prefix operators.
const MAX_NESTING: usize = 40;
/// The most operators, selections and calls. Each can add one level to the parsed tree: `1 + 1 + 1` has two. In a
/// debug build the parser needs about 75 KiB of stack for each.
const MAX_OPERATORS: usize = 400;

/// A parsed expression that pays for its evaluation.
pub(super) struct Expression {
    metered: IdedExpr,
    /// The price of one evaluation without the turns of its loops.
    price: u64,
}

/// What an evaluation can yield.
pub(super) enum Outcome {
    Bool(bool),
    Text(String),
    Other,
}

impl Expression {
    /// Parses a text. Needs the stack of the compute pool. Returns the expression to evaluate and the tree as it was
    /// parsed, for estimates.
    pub(super) fn parse(text: &str) -> Result<(Self, IdedExpr), String> {
        scan(text)?;
        // The parser panics on some wrong input.
        let parsed = std::panic::catch_unwind(|| {
            environment()
                .parser()
                .parse(text)
                .map_err(|error| error.to_string())
        });
        let parsed = parsed.unwrap_or_else(|_| Err("syntax error".into()))?;
        let mut metered = parsed.clone();
        insert_meters(&mut metered);
        let price = price(&parsed);
        Ok((Self { metered, price }, parsed))
    }

    /// Evaluates the expression for at most `budget` units, which it reduces. The result is `Err` with a text if the
    /// evaluation fails.
    pub(super) fn evaluate(
        &self,
        context: &Context<'_, '_>,
        budget: &mut u64,
        token: &Token,
    ) -> (Result<Outcome, String>, Option<Ended>) {
        let (result, cost, ended) = meter::metered(*budget, self.price, token, || {
            // Some operations of the interpreter panic instead of failing.
            let evaluate = std::panic::AssertUnwindSafe(|| {
                let value = Value::resolve_val(&self.metered, context);
                value.map(|value| {
                    if let Some(boolean) = value.downcast_ref::<CelBool>() {
                        Outcome::Bool(*boolean.inner())
                    } else if let Some(text) = value.downcast_ref::<CelString<'_>>() {
                        Outcome::Text(text.inner().to_owned())
                    } else {
                        Outcome::Other
                    }
                })
            });
            match std::panic::catch_unwind(evaluate) {
                Ok(result) => result.map_err(|error| error.to_string()),
                Err(_) => Err("the evaluation ended with a fault of the interpreter".into()),
            }
        });
        *budget -= cost.min(*budget);
        (result, ended)
    }
}

/// The environment of all expressions.
pub(super) fn environment() -> Arc<Env> {
    static ENVIRONMENT: OnceLock<Arc<Env>> = OnceLock::new();
    let made = ENVIRONMENT.get_or_init(|| {
        let env = meter::environment().unwrap_or_else(|error| {
            tracing::error!(%error, "the functions that limit CEL rules cannot be declared");
            // Without functions every rule that calls one fails, which is safe.
            Env::default()
        });
        Arc::new(env)
    });
    Arc::clone(made)
}

/// Refuses a text that is too long or nested too deeply for the recursive parser.
fn scan(text: &str) -> Result<(), String> {
    if text.len() > MAX_TEXT {
        return Err(format!("it is longer than {MAX_TEXT} bytes"));
    }
    let (mut nesting, mut prefixes, mut operators) = (0_usize, 0, 0);
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        match byte {
            b'"' | b'\'' => {
                rest = after_string(text.as_bytes(), rest);
                prefixes = 0;
                continue;
            }
            b'/' if after.first() == Some(&b'/') => {
                let end = after.iter().position(|b| *b == b'\n');
                rest = end.map_or(&[][..], |end| &after[end..]);
                continue;
            }
            b'(' | b'[' | b'{' => {
                nesting += 1;
                operators += 1;
            }
            b')' | b']' | b'}' => nesting = nesting.saturating_sub(1),
            b'!' | b'-' => {
                prefixes += 1;
                operators += 1;
            }
            b'?' | b':' => {
                // The branches of a conditional are nested in each other.
                nesting += usize::from(byte == b'?');
                operators += 1;
            }
            b'&' | b'|' | b'=' | b'<' | b'>' => {
                // These come in pairs, mostly.
                operators += usize::from(after.first() != Some(&byte));
            }
            b'.' | b'+' | b'*' | b'/' | b'%' | b',' => operators += 1,
            _ => {}
        }
        if !matches!(byte, b'!' | b'-' | b' ' | b'\t' | b'\n' | b'\r') {
            prefixes = 0;
        }
        if nesting + prefixes > MAX_NESTING {
            return Err(format!("it is nested deeper than {MAX_NESTING} levels"));
        }
        if operators > MAX_OPERATORS {
            return Err(format!("it has more than {MAX_OPERATORS} operators"));
        }
        rest = after;
    }
    Ok(())
}

/// The rest of a text after the string that `rest` begins with.
fn after_string<'t>(text: &'t [u8], rest: &'t [u8]) -> &'t [u8] {
    let start = text.len() - rest.len();
    // A raw string (`r"\"`) has no escapes.
    let raw = start > 0 && matches!(text[start - 1], b'r' | b'R');
    let quote = rest[0];
    let triple = rest.starts_with(&[quote; 3]);
    let end: &[u8] = if triple { &[quote; 3] } else { &rest[..1] };
    let mut rest = &rest[end.len()..];
    while !rest.is_empty() {
        if rest.starts_with(end) {
            return &rest[end.len()..];
        }
        let escaped = rest[0] == b'\\' && !raw && rest.len() > 1;
        rest = &rest[if escaped { 2 } else { 1 }..];
    }
    rest
}

/// The price of one evaluation as in Kubernetes, without the turns of loops, which pay for themselves.
fn price(expr: &IdedExpr) -> u64 {
    let mut total = match &expr.expr {
        Expr::Literal(_) | Expr::Unspecified | Expr::Comprehension(_) => 0,
        Expr::Ident(_) | Expr::Select(_) | Expr::Call(_) => 1,
        Expr::List(_) => 10,
        Expr::Map(_) => 30,
        Expr::Struct(_) => 40,
    };
    match &expr.expr {
        Expr::Comprehension(loop_) => {
            total += price(&loop_.accu_init) + price(&loop_.iter_range) + price(&loop_.result);
        }
        _ => for_each_child(expr, &mut |child| total += price(child)),
    }
    total
}

/// Calls `visit` for each direct part of an expression.
pub(super) fn for_each_child<'e>(expr: &'e IdedExpr, visit: &mut dyn FnMut(&'e IdedExpr)) {
    match &expr.expr {
        Expr::Literal(_) | Expr::Unspecified | Expr::Ident(_) => {}
        Expr::Select(select) => visit(&select.operand),
        Expr::Call(call) => {
            call.target.iter().for_each(|target| visit(target));
            call.args.iter().for_each(visit);
        }
        Expr::List(list) => list.elements.iter().for_each(visit),
        Expr::Map(map) => map
            .entries
            .iter()
            .for_each(|entry| entry_parts(&entry.expr, visit)),
        Expr::Struct(made) => made
            .entries
            .iter()
            .for_each(|entry| entry_parts(&entry.expr, visit)),
        Expr::Comprehension(loop_) => {
            for part in [
                &loop_.iter_range,
                &loop_.accu_init,
                &loop_.loop_cond,
                &loop_.loop_step,
                &loop_.result,
            ] {
                visit(part);
            }
        }
    }
}

fn entry_parts<'e>(entry: &'e EntryExpr, visit: &mut dyn FnMut(&'e IdedExpr)) {
    match entry {
        EntryExpr::StructField(field) => visit(&field.value),
        EntryExpr::MapEntry(entry) => {
            visit(&entry.key);
            visit(&entry.value);
        }
    }
}

/// Replaces an expression by a call with that expression as the last argument.
fn wrap(expr: &mut IdedExpr, function: &str, price: Option<u64>) {
    // A constant and the accumulator of a loop cost nothing; the interpreter recognizes the latter by its name.
    let free = match &expr.expr {
        Expr::Literal(_) => true,
        Expr::Ident(name) => name.starts_with('@'),
        _ => false,
    };
    if free && price.is_none() {
        return;
    }
    let inner = std::mem::take(expr);
    let id = inner.id;
    let price = price.map(|units| IdedExpr {
        id,
        expr: Expr::Literal(LiteralValue::Int(CelInt::from(
            i64::try_from(units).unwrap_or(i64::MAX),
        ))),
    });
    *expr = IdedExpr {
        id,
        expr: Expr::Call(CallExpr {
            func_name: function.into(),
            target: None,
            args: price.into_iter().chain([inner]).collect(),
        }),
    };
}

/// Makes every part of an expression pay whose work depends on values.
fn insert_meters(expr: &mut IdedExpr) {
    match &mut expr.expr {
        Expr::Literal(_) | Expr::Unspecified | Expr::Ident(_) => {}
        Expr::Select(select) => insert_meters(&mut select.operand),
        Expr::List(list) => {
            for element in &mut list.elements {
                insert_meters(element);
                wrap(element, COPY, None);
            }
        }
        Expr::Map(map) => {
            for entry in &mut map.entries {
                meter_entry(&mut entry.expr);
            }
        }
        Expr::Struct(made) => {
            for entry in &mut made.entries {
                meter_entry(&mut entry.expr);
            }
        }
        Expr::Call(call) => meter_call(call),
        Expr::Comprehension(loop_) => meter_loop(loop_),
    }
}

fn meter_entry(entry: &mut EntryExpr) {
    let parts = match entry {
        EntryExpr::StructField(field) => [Some(&mut field.value), None],
        EntryExpr::MapEntry(entry) => [Some(&mut entry.key), Some(&mut entry.value)],
    };
    for part in parts.into_iter().flatten() {
        insert_meters(part);
        wrap(part, COPY, None);
    }
}

fn meter_call(call: &mut CallExpr) {
    if let Some(target) = &mut call.target {
        insert_meters(target);
    }
    call.args.iter_mut().for_each(insert_meters);
    let meter = match call.func_name.as_str() {
        // These look at no more than a number, a boolean or one entry.
        operators::CONDITIONAL
        | operators::LOGICAL_AND
        | operators::LOGICAL_OR
        | operators::LOGICAL_NOT
        | operators::NOT_STRICTLY_FALSE
        | operators::NEGATE
        | operators::SUBSTRACT
        | operators::MULTIPLY
        | operators::DIVIDE
        | operators::MODULO
        | operators::INDEX
        | operators::OPT_INDEX
        | operators::OPT_SELECT => return,
        "matches" => {
            call.args
                .splice(0..0, call.target.take().map(|target| *target));
            call.func_name = MATCHES.into();
            return;
        }
        "size" | "type" | "int" | "uint" | "double" | "bool" | "hasValue" => GLANCE,
        operators::ADD
        | "string"
        | "bytes"
        | "dyn"
        | "of"
        | "ofNonZeroValue"
        | "value"
        | "orValue"
        | "or" => COPY,
        _ => WALK,
    };
    // `optional.of(x)` is parsed as a call on the name `optional`, which must stay one.
    if let Some(target) = &mut call.target
        && !matches!(&target.expr, Expr::Ident(name) if name == "optional")
    {
        wrap(target, meter, None);
    }
    for argument in &mut call.args {
        wrap(argument, meter, None);
    }
}

fn meter_loop(loop_: &mut ComprehensionExpr) {
    let turn = 1 + price(&loop_.loop_cond) + price(&loop_.loop_step);
    insert_meters(&mut loop_.iter_range);
    wrap(&mut loop_.iter_range, ITERATE, None);
    for part in [
        &mut loop_.accu_init,
        &mut loop_.loop_cond,
        &mut loop_.loop_step,
        &mut loop_.result,
    ] {
        insert_meters(part);
    }
    // Errors in the step of `all` and `exists` are only reported after the loop, so the condition has to pay there.
    // `map` and `filter` have a constant condition, by which the interpreter recognizes them: there the step pays.
    if matches!(loop_.loop_cond.expr, Expr::Literal(_))
        && let Some(paying) = paying_part(&mut loop_.loop_step)
    {
        wrap(paying, SPEND, Some(turn));
        return;
    }
    wrap(&mut loop_.loop_cond, SPEND, Some(turn));
}

/// The part of the step of `map`, `filter` or `exists_one` that is evaluated in every turn: the condition in
/// `condition ? … : @result`, or the item in `@result + [item]`.
fn paying_part(step: &mut IdedExpr) -> Option<&mut IdedExpr> {
    let Expr::Call(call) = &mut step.expr else {
        return None;
    };
    match (call.func_name.as_str(), call.args.as_mut_slice()) {
        (operators::CONDITIONAL, [condition, ..]) => Some(condition),
        (operators::ADD, [_, added]) => match &mut added.expr {
            Expr::List(list) => list.elements.first_mut(),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The deepest texts that [`scan`] admits, in several shapes.
    fn deepest() -> Vec<String> {
        let nested = |open: &str, middle: &str, close: &str, levels: usize| {
            format!("{}{middle}{}", open.repeat(levels), close.repeat(levels))
        };
        let (levels, operators) = (MAX_NESTING - 1, MAX_OPERATORS - 10);
        vec![
            nested("(", "true", ")", levels),
            nested("!", "true", "", levels),
            nested("[", "", "]", levels),
            nested("{1:", "1", "}", levels),
            nested("true?true:", "true", "", levels),
            nested("(true?", "true", ":true)", levels / 2),
            nested("size(", "'a'", ")", levels),
            nested("[1].all(a,", "true", ")", levels / 2),
            nested("[1].map(a,", "true", ")", levels / 2),
            nested("1+", "1", "", operators),
            nested("1<", "1", "", operators),
            nested("true&&", "true", "", operators),
            nested("false||", "true", "", operators),
            nested("true&&false||", "true", "", operators / 2),
            nested("self", ".a", "", 1) + &".a".repeat(operators),
            format!("self{}", "[0]".repeat(operators)),
            format!("'a'{}", ".size()".repeat(operators / 2)),
            format!("{}{}", "(".repeat(levels), "1+".repeat(operators - levels))
                + "1"
                + &")".repeat(levels),
        ]
    }

    #[test]
    fn deepest_texts_need_at_most_half_of_the_stack() {
        let work = || {
            for text in deepest() {
                let start: String = text.chars().take(20).collect();
                assert_eq!(scan(&text), Ok(()), "{start}");
                if let Ok((expression, _)) = Expression::parse(&text) {
                    let context = Context::with_env(environment());
                    let token = Token::unlimited();
                    let _ = expression.evaluate(&context, &mut 1_000_000, &token);
                }
            }
        };
        let thread = std::thread::Builder::new().stack_size(crate::compute::STACK / 2);
        thread
            .spawn(work)
            .expect("a thread")
            .join()
            .expect("no fault");
    }

    #[test]
    fn long_and_deep_texts_are_refused_before_they_are_parsed() {
        let nested = |open: &str, close: &str, levels: usize| {
            format!("{}true{}", open.repeat(levels), close.repeat(levels))
        };
        for text in [
            nested("(", ")", 1000),
            nested("!", "", 1000),
            nested("- ", "", 1000),
            nested("[", "]", 1000),
            nested("{1:", "}", 1000),
            nested("true?", ":true", 1000),
            nested("size(", ")", 1000),
            vec!["true"; 1000].join("&&"),
            vec!["1"; 1000].join("+"),
            format!("has(self{})", ".a".repeat(1000)),
            format!("self{}", "[0]".repeat(1000)),
            "x".repeat(MAX_TEXT + 1),
        ] {
            let start: String = text.chars().take(20).collect();
            assert!(scan(&text).is_err(), "{start}");
        }
        for text in [
            r"self.matches('((((((((((((((((((((((((((((((((((((((((((((((((')",
            r#"self == r"\" || self == "\"((((((((((((((((((((((((((((((((((((((((((((""#,
            "true // ((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((\n && true",
            "'''((((((((((((((((((((((((((((((('(((((((((((((((((((((''' == ''",
        ] {
            assert_eq!(scan(text), Ok(()), "{text}");
        }
    }
}
