//! How large and how deeply nested an object may be, and the one walk that measures both.
//!
//! Every write passes [`check`] after decoding, patching, defaulting and admission, so the limits hold however the
//! values came in: as JSON, protobuf, a patch, or a default of a schema. [`check_body`] estimates the memory of a
//! request before it is decoded.

use serde_json::Value;

use crate::status::ApiError;

/// The deepest nesting of an object. The JSON decoder stops at 128 levels, so a stored object of 100 levels can still
/// be decoded inside the wrappers that lists, tables and watch events put around it.
pub(crate) const MAX_DEPTH: usize = 100;
/// The largest encoded object in bytes: 1.5 MiB, the default limit of etcd (`--max-request-bytes`), so that an object
/// that is accepted here is also accepted by a Kubernetes cluster.
pub(crate) const MAX_BYTES: usize = 3 << 19;

/// The most memory in bytes that a decoded object may take. A map with one short entry is 8 bytes of JSON but takes
/// 700 bytes of memory, so 3 MiB of JSON can take 250 MiB. A write holds up to three copies of an object, and the
/// server has to stay below 200 MiB.
pub(crate) const MAX_MEMORY: usize = 64 << 20;
/// The memory of a map that is not empty: one node of a B-tree with room for eleven entries.
const MAP_MEMORY: usize = 700;
/// The memory of a value or key beside its text.
const VALUE_MEMORY: usize = 40;
/// Smaller bodies cannot take much memory, and are not scanned.
const SMALL_BODY: usize = 64 << 10;

/// What [`measure`] finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Levels of nesting; a scalar has one.
    pub(crate) depth: usize,
    /// Bytes of compact JSON.
    pub(crate) bytes: usize,
    /// Values of any type, the outermost included.
    pub(crate) values: usize,
    /// Bytes of memory, estimated.
    pub(crate) memory: usize,
}

/// Measures a value; `None` if it is nested deeper than `max_depth`. Never recurses deeper than that.
pub(crate) fn measure(value: &Value, max_depth: usize) -> Option<Extent> {
    let left = max_depth.checked_sub(1)?;
    let mut extent = Extent {
        depth: 1,
        bytes: 0,
        values: 1,
        memory: VALUE_MEMORY,
    };
    let mut inner = |value: &Value| {
        let found = measure(value, left)?;
        extent.depth = extent.depth.max(found.depth + 1);
        extent.values += found.values;
        extent.memory += found.memory;
        Some(found.bytes + 1)
    };
    let bytes = match value {
        Value::Null => 4,
        Value::Bool(b) => 5 - usize::from(*b),
        Value::Number(number) => match number.as_i64() {
            Some(n) => digits(n),
            None => number.to_string().len(),
        },
        Value::String(text) => encoded_length(text),
        Value::Array(items) => {
            let mut bytes = 2 - usize::from(!items.is_empty());
            for item in items {
                bytes += inner(item)?;
            }
            bytes
        }
        Value::Object(map) => {
            let mut bytes = 2 - usize::from(!map.is_empty());
            for (key, value) in map {
                bytes += encoded_length(key) + 1 + inner(value)?;
            }
            bytes
        }
    };
    extent.bytes = bytes;
    extent.memory += match value {
        Value::String(text) => text.len(),
        Value::Object(map) if !map.is_empty() => {
            let keys: usize = map.keys().map(|key| key.len() + VALUE_MEMORY).sum();
            MAP_MEMORY * map.len().div_ceil(11) + keys
        }
        _ => 0,
    };
    Some(extent)
}

fn digits(number: i64) -> usize {
    let sign = usize::from(number < 0);
    sign + number.unsigned_abs().checked_ilog10().unwrap_or(0) as usize + 1
}

/// The length of a string in JSON, with quotes and escapes.
fn encoded_length(text: &str) -> usize {
    let escapes = text.bytes().map(|byte| match byte {
        b'"' | b'\\' | 0x08 | 0x09 | 0x0a | 0x0c | 0x0d => 1,
        0..0x20 => 5,
        _ => 0,
    });
    text.len() + 2 + escapes.sum::<usize>()
}

/// Refuses an object that is too large or nested too deeply.
pub(crate) fn check(object: &Value) -> Result<Extent, ApiError> {
    let extent = measure(object, MAX_DEPTH).ok_or_else(too_deep)?;
    if extent.bytes > MAX_BYTES {
        return Err(too_large(extent.bytes));
    }
    if extent.memory > MAX_MEMORY {
        return Err(too_much_memory());
    }
    Ok(extent)
}

/// Refuses a JSON body that would take too much memory when it is decoded.
pub(crate) fn check_body(body: &[u8]) -> Result<(), ApiError> {
    if body.len() < SMALL_BODY {
        return Ok(());
    }
    let (mut maps, mut values) = (0, 1);
    let mut bytes = body.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' => maps += 1,
            b',' | b':' | b'[' => values += 1,
            b'"' => {
                // To the end of the string.
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'"' => break,
                        b'\\' => {
                            bytes.next();
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if body.len() + maps * MAP_MEMORY + values * VALUE_MEMORY > MAX_MEMORY {
        return Err(too_much_memory());
    }
    Ok(())
}

/// The refusal of an object with more than [`MAX_DEPTH`] levels.
pub(crate) fn too_deep() -> ApiError {
    ApiError::bad_request(format!(
        "the object would be nested deeper than {MAX_DEPTH} levels, which is the limit"
    ))
}

/// The refusal of an object with more than [`MAX_BYTES`] bytes.
pub(crate) fn too_large(bytes: usize) -> ApiError {
    let message = format!(
        "Request entity too large: the object would have {bytes} bytes, the limit is {MAX_BYTES}"
    );
    ApiError::new(413, "RequestEntityTooLarge", message)
}

/// The refusal of an object with more than [`MAX_MEMORY`] bytes.
pub(crate) fn too_much_memory() -> ApiError {
    let message = format!(
        "Request entity too large: the object has so many maps and values that it would take more than {MAX_MEMORY} \
         bytes of memory"
    );
    ApiError::new(413, "RequestEntityTooLarge", message)
}

/// The refusal of an object whose defaults alone have more than [`MAX_BYTES`] bytes.
pub(crate) fn too_large_by_defaults() -> ApiError {
    let message = format!(
        "Request entity too large: the defaults of the schema would add more than {MAX_BYTES} bytes to the object"
    );
    ApiError::new(413, "RequestEntityTooLarge", message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn measure_agrees_with_the_encoder() {
        for value in [
            json!(null),
            json!(true),
            json!(false),
            json!(0),
            json!(-120),
            json!(i64::MIN),
            json!(u64::MAX),
            json!(1.5e-9),
            json!("é\"\\\n\u{1}\u{7f}"),
            json!([]),
            json!({}),
            json!([1, [2, "x"], {"a": {"b\n": []}}]),
        ] {
            let extent = measure(&value, MAX_DEPTH).expect("shallow");
            assert_eq!(extent.bytes, value.to_string().len(), "{value}");
        }
        let extent = measure(&json!({"a": [1, {"b": 2}]}), MAX_DEPTH).expect("shallow");
        assert_eq!((extent.depth, extent.values), (4, 5));
    }

    #[test]
    fn body_of_many_small_maps_is_refused_before_it_is_decoded() {
        let body = |count: usize| json!(vec![json!({"k": 1}); count]).to_string();
        assert!(check_body(body(150_000).as_bytes()).is_err());
        assert!(check_body(body(50_000).as_bytes()).is_ok());
        let text = json!(["{,".repeat(1 << 20), "\"{".repeat(1 << 18)]).to_string();
        assert!(
            check_body(text.as_bytes()).is_ok(),
            "the content of strings does not count"
        );
        let deep = measure(&json!(vec![json!({"k": 1}); 150_000]), MAX_DEPTH).expect("shallow");
        assert!(deep.memory > MAX_MEMORY, "{}", deep.memory);
    }

    #[test]
    fn measure_stops_at_the_depth_limit() {
        let mut value = json!(1);
        for _ in 1..MAX_DEPTH {
            value = json!([value]);
        }
        assert_eq!(measure(&value, MAX_DEPTH).map(|e| e.depth), Some(MAX_DEPTH));
        assert_eq!(measure(&json!([value]), MAX_DEPTH), None);
    }
}
