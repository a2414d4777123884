//! What the evaluation of CEL rules may cost, and the functions that count it.
//!
//! The `cel` crate has no hook to limit or interrupt an evaluation. So [`super::expression`] inserts calls of the
//! functions below into the parsed rule: every turn of a loop, every copy, and every function whose work depends on
//! the size of its arguments first pays for itself. When the budget is used up or the client has left, these calls
//! fail, and since they are in the condition of each loop, the evaluation ends after a few more steps.
//!
//! The unit and the limits are those of Kubernetes: one for each access and call, a tenth for each byte that is
//! walked. One unit takes about 150 ns.

use std::cell::RefCell;

use cel::{
    Env, ExecutionError,
    common::{
        types::{self, CelBytes, CelInt, CelList, CelMap, CelString},
        value::{CowVal, Val},
    },
};

use super::pattern;
use crate::compute::Token;

/// The most that one evaluation of one rule may cost (`PerCallLimit` of Kubernetes).
pub(super) const PER_CALL: u64 = 1_000_000;
/// The most that all rules of one object may cost together (`RuntimeCELCostBudget` of Kubernetes).
pub(super) const PER_OBJECT: u64 = 10_000_000;

/// Pays a fixed price and returns its second argument.
pub(super) const SPEND: &str = "__spend";
/// Pays for walking its argument once, and returns it.
pub(super) const WALK: &str = "__walk";
/// Pays for keeping a copy of its argument, and returns it.
pub(super) const COPY: &str = "__copy";
/// Pays for looking at its argument without entering lists and maps, and returns it.
pub(super) const GLANCE: &str = "__glance";
/// Pays for the copies that a loop makes of the items of its argument one after another, and returns it.
pub(super) const ITERATE: &str = "__iterate";
/// `matches` with a bounded cache of compiled expressions.
pub(super) const MATCHES: &str = "__matches";

/// Bytes or values that are walked for one unit.
const WALKED_PER_UNIT: u64 = 10;
/// The price of keeping one value: it takes about 100 bytes, so one evaluation can keep 25 MB.
const COPY_PRICE: u64 = 4;
/// Values that a loop copies for a moment for one unit.
const ITERATED_PER_UNIT: u64 = 8;

/// Why an evaluation has ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The evaluation has cost more than [`PER_CALL`].
    Call,
    /// The evaluations have cost more than what was left of [`PER_OBJECT`].
    Object,
    /// The client has left, or the time is over.
    Stopped,
}

struct Meter {
    left: u64,
    ended: Option<Ended>,
    /// What exceeding `left` means.
    limit: Ended,
    token: Token,
    until_check: u64,
}

/// Units between two looks at the clock and the cancellation.
const CHECK_INTERVAL: u64 = 1000;

thread_local! {
    /// The meter of the evaluation that runs on this thread. The functions of an `Env` have no state of their own.
    static METER: RefCell<Option<Meter>> = const { RefCell::new(None) };
}

/// Runs one evaluation that costs at least `price` and may cost `budget` units, at most [`PER_CALL`]. Returns what it
/// cost and, if the meter ended it, why.
pub(super) fn metered<T>(
    budget: u64,
    price: u64,
    token: &Token,
    evaluate: impl FnOnce() -> T,
) -> (T, u64, Option<Ended>) {
    let (left, limit) = match budget < PER_CALL {
        true => (budget, Ended::Object),
        false => (PER_CALL, Ended::Call),
    };
    METER.set(Some(Meter {
        left,
        ended: None,
        limit,
        token: token.clone(),
        until_check: CHECK_INTERVAL,
    }));
    // If this fails, the meter says so at the end.
    let _ = spend(price);
    let result = evaluate();
    let meter = METER.take();
    let (cost, ended) = meter.map_or((left, None), |meter| (left - meter.left, meter.ended));
    (result, cost, ended)
}

fn spend(units: u64) -> Result<(), ExecutionError> {
    let paid = METER.with_borrow_mut(|meter| meter.as_mut().is_none_or(|meter| meter.pay(units)));
    match paid {
        true => Ok(()),
        false => Err(ExecutionError::function_error(
            "cost",
            "operation cancelled: actual cost limit exceeded",
        )),
    }
}

impl Meter {
    /// Takes units away; `false` if the evaluation has to end.
    fn pay(&mut self, units: u64) -> bool {
        if self.ended.is_some() {
            return false;
        }
        let Some(left) = self.left.checked_sub(units) else {
            self.left = 0;
            self.ended = Some(self.limit);
            return false;
        };
        self.left = left;
        match self.until_check.checked_sub(units) {
            Some(left) => self.until_check = left,
            None => {
                self.until_check = CHECK_INTERVAL;
                if self.token.is_stopped() {
                    self.ended = Some(Ended::Stopped);
                    return false;
                }
            }
        }
        true
    }
}

/// The values in a value, and the bytes of its strings.
#[derive(Default)]
struct Size {
    values: u64,
    bytes: u64,
}

impl Size {
    fn of(value: &dyn Val) -> Self {
        let mut size = Self::default();
        size.add(value);
        size
    }

    /// Recurses as deep as the value, which is at most as deep as an object plus the nesting of the rule.
    fn add(&mut self, value: &dyn Val) {
        self.values += 1;
        if let Some(text) = value.downcast_ref::<CelString<'_>>() {
            self.bytes += text.inner().len() as u64;
        } else if let Some(bytes) = value.downcast_ref::<CelBytes<'_>>() {
            self.bytes += bytes.inner().len() as u64;
        } else if let Some(list) = value.downcast_ref::<CelList<'_>>() {
            for item in list.inner() {
                self.add(item.as_ref());
            }
        } else if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
            for value in map.inner().values() {
                // The key as well.
                self.values += 1;
                self.add(value.as_ref());
            }
        }
    }

    fn walked(&self) -> u64 {
        (self.values + self.bytes).div_ceil(WALKED_PER_UNIT)
    }
}

type Arguments<'b, 'v> = Vec<CowVal<'b, 'v>>;
type Outcome<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

fn missing() -> ExecutionError {
    ExecutionError::missing_argument_or_target()
}

fn pay<'b, 'v>(args: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let mut args = args.into_iter();
    let price = args.next().ok_or_else(missing)?;
    let price = price
        .downcast_ref::<CelInt>()
        .map_or(1, |n| n.inner().unsigned_abs());
    spend(price)?;
    args.next().ok_or_else(missing)
}

fn measured<'b, 'v>(args: Arguments<'b, 'v>, price: fn(&Size) -> u64) -> Outcome<'b, 'v> {
    let value = args.into_iter().next().ok_or_else(missing)?;
    spend(price(&Size::of(value.as_ref())))?;
    Ok(value)
}

fn walk<'b, 'v>(args: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    measured(args, Size::walked)
}

fn copy<'b, 'v>(args: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    measured(args, |size| {
        // A number or a string has its price already as a part of the expression.
        let values = match size.values {
            1 => 1,
            values => values * COPY_PRICE,
        };
        values + size.bytes / WALKED_PER_UNIT
    })
}

fn glance<'b, 'v>(args: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let value = args.into_iter().next().ok_or_else(missing)?;
    let bytes = value
        .downcast_ref::<CelString<'_>>()
        .map_or(0, |text| text.inner().len());
    spend(bytes as u64 / 128)?;
    Ok(value)
}

fn iterate<'b, 'v>(args: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    measured(args, |size| {
        size.values / ITERATED_PER_UNIT + size.bytes / (128 * ITERATED_PER_UNIT)
    })
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature of an overload"
)]
fn matches<'b, 'v>(args: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let [text, expression] = args.as_slice() else {
        return Err(missing());
    };
    let texts = (
        text.downcast_ref::<CelString<'_>>(),
        expression.downcast_ref::<CelString<'_>>(),
    );
    let (Some(text), Some(expression)) = texts else {
        let kinds = args.iter().map(|arg| arg.get_type().name().to_owned());
        return Err(ExecutionError::no_such_overload("matches", kinds.collect()));
    };
    // As in cel-go: a tenth for each byte of the text, times a quarter of the length of the expression.
    let text_cost = 1 + text.inner().len() as u64 / 10;
    spend(text_cost * (1 + expression.inner().len() as u64 / 4))?;
    let (regex, steps) = pattern::dynamic(expression.inner());
    spend(steps as u64)?;
    let regex = regex.map_err(|why| {
        ExecutionError::function_error(
            "matches",
            format!("'{}' is no regex: {why}", expression.inner()),
        )
    })?;
    Ok(CowVal::owned(types::CelBool::from(
        regex.is_match(text.inner()),
    )))
}

/// The standard library and the functions above.
pub(super) fn environment() -> Result<Env, cel::DeclarationError> {
    let mut env = Env::stdlib();
    let any = || types::DYN_TYPE;
    env.add_overload(SPEND, SPEND, vec![any(), any()], pay)?;
    env.add_overload(WALK, WALK, vec![any()], walk)?;
    env.add_overload(COPY, COPY, vec![any()], copy)?;
    env.add_overload(GLANCE, GLANCE, vec![any()], glance)?;
    env.add_overload(ITERATE, ITERATE, vec![any()], iterate)?;
    env.add_overload(MATCHES, MATCHES, vec![any(), any()], matches)?;
    Ok(env)
}
