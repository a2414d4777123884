//! JSON patch (RFC 6902) with bounds on what one patch can do.
//!
//! The operations come from the `json-patch` crate. Its own loop over a patch keeps every replaced value for an undo
//! and limits neither depth nor copies, so the loop here applies one operation at a time, checks the bounds before
//! each, and works on a copy of the object that is dropped on failure.

use json_patch::{Patch, PatchOperation, jsonptr::Pointer};
use serde_json::Value;

use crate::{
    limits::{self, Extent, MAX_DEPTH, MAX_MEMORY},
    status::ApiError,
};

/// The most operations of one patch; Kubernetes' limit.
pub(super) const MAX_OPERATIONS: usize = 10_000;
/// The most bytes of JSON that all `copy` operations of one patch may add together: the size of a request, as in
/// Kubernetes.
const MAX_COPIED: usize = 3 << 20;
/// The most values that all operations of one patch may visit together: about half a second of work. 10,000
/// operations on values of 2,000 parts each stay below it.
const MAX_VISITED: usize = 20_000_000;
/// How many list items that an insertion or removal moves count as one visited value: moving them is one `memmove`.
const SHIFTED_PER_VISIT: usize = 16;

/// Applies all operations to `document`. After an error the state of `document` is unspecified.
pub(super) fn apply(document: &mut Value, patch: &Patch) -> Result<(), ApiError> {
    let mut bounds = Bounds::default();
    for (index, operation) in patch.iter().enumerate() {
        bounds.check(document, operation)?;
        json_patch::patch_unsafe(document, std::slice::from_ref(operation)).map_err(|error| {
            let message = format!(
                "the server rejected our request due to an error in our request: operation '/{index}' failed at path \
                 '{}': {}",
                error.path, error.kind
            );
            ApiError::new(422, "Invalid", message)
        })?;
    }
    Ok(())
}

/// The totals over the operations of one patch.
#[derive(Default)]
struct Bounds {
    copied: usize,
    /// The memory of what was copied.
    memory: usize,
    visited: usize,
}

impl Bounds {
    /// Refuses an operation that would nest the document too deeply or exceed a total.
    fn check(&mut self, document: &Value, operation: &PatchOperation) -> Result<(), ApiError> {
        match operation {
            PatchOperation::Add(add) => {
                self.visit_list(document, &add.path)?;
                self.place(&add.value, &add.path)?;
            }
            PatchOperation::Replace(replace) => {
                self.place(&replace.value, &replace.path)?;
            }
            PatchOperation::Remove(remove) => self.visit_list(document, &remove.path)?,
            PatchOperation::Move(from_to) => {
                self.visit_list(document, &from_to.from)?;
                self.visit_list(document, &from_to.path)?;
                if let Some(value) = document.pointer(from_to.from.as_str()) {
                    self.place(value, &from_to.path)?;
                }
            }
            PatchOperation::Copy(from_to) => {
                self.visit_list(document, &from_to.path)?;
                if let Some(value) = document.pointer(from_to.from.as_str()) {
                    let extent = self.place(value, &from_to.path)?;
                    self.copied = self.copied.saturating_add(extent.bytes);
                    self.memory = self.memory.saturating_add(extent.memory);
                    if self.memory > MAX_MEMORY {
                        return Err(limits::too_much_memory());
                    }
                    if self.copied > MAX_COPIED {
                        let why = format!(
                            "Request entity too large: the copy operations of the patch copy more than {MAX_COPIED} bytes"
                        );
                        return Err(ApiError::new(413, "RequestEntityTooLarge", why));
                    }
                }
            }
            PatchOperation::Test(test) => {
                self.place(&test.value, Pointer::root())?;
            }
        }
        Ok(())
    }

    /// Counts a value that is put at `path` and returns its size.
    fn place(&mut self, value: &Value, path: &Pointer) -> Result<Extent, ApiError> {
        let above = path.as_str().bytes().filter(|b| *b == b'/').count();
        let extent = MAX_DEPTH
            .checked_sub(above)
            .and_then(|left| limits::measure(value, left))
            .ok_or_else(limits::too_deep)?;
        self.visit(extent.values)?;
        Ok(extent)
    }

    /// Counts the items that move when the list that contains `path` gains or loses one.
    fn visit_list(&mut self, document: &Value, path: &Pointer) -> Result<(), ApiError> {
        let parent = path
            .split_back()
            .map_or(Pointer::root(), |(parent, _)| parent);
        let list = document.pointer(parent.as_str()).and_then(Value::as_array);
        self.visit(1 + list.map_or(0, Vec::len) / SHIFTED_PER_VISIT)
    }

    fn visit(&mut self, values: usize) -> Result<(), ApiError> {
        self.visited = self.visited.saturating_add(values);
        if self.visited > MAX_VISITED {
            let why = format!(
                "Request entity too large: the operations of the patch visit more than {MAX_VISITED} values together"
            );
            return Err(ApiError::new(413, "RequestEntityTooLarge", why));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(document: &Value, patch: Value) -> Result<Value, ApiError> {
        let patch: Patch = serde_json::from_value(patch).expect("a patch");
        let mut document = document.clone();
        apply(&mut document, &patch).map(|()| document)
    }

    fn nested(levels: usize) -> Value {
        (1..levels).fold(json!({}), |inner, _| json!({"x": inner}))
    }

    #[test]
    fn copies_that_nest_or_double_the_document_are_refused() {
        let nest: Vec<Value> = (0..200)
            .map(|_| json!({"op": "copy", "from": "/spec", "path": "/spec/x"}))
            .collect();
        let error = patched(&json!({"spec": {}}), nest.into()).expect_err("refused");
        assert_eq!(error.code, 400, "{error}");
        let wide: Vec<Value> = (0..40)
            .map(|n| json!({"op": "copy", "from": "/spec", "path": format!("/spec/x{n}")}))
            .collect();
        let error =
            patched(&json!({"spec": {"y": "z".repeat(100)}}), wide.into()).expect_err("refused");
        assert_eq!(error.code, 413, "{error}");
    }

    #[test]
    fn moves_cannot_nest_the_document_deeper_than_the_limit() {
        let deep = nested(60);
        let path = format!("/b{}", "/x".repeat(59));
        let patch = json!([
            {"op": "add", "path": "/a", "value": deep},
            {"op": "add", "path": "/b", "value": deep},
            {"op": "move", "from": "/a", "path": path},
        ]);
        assert_eq!(patched(&json!({}), patch).expect_err("refused").code, 400);
    }

    #[test]
    fn many_operations_on_a_large_list_are_refused() {
        let list = json!({"l": vec![0; 100_000]});
        let shift: Vec<Value> = (0..10_000)
            .map(|_| json!({"op": "add", "path": "/l/0", "value": 1}))
            .collect();
        assert_eq!(patched(&list, shift.into()).expect_err("refused").code, 413);
    }

    #[test]
    fn failing_operation_is_named() {
        for patch in [
            json!([{"op": "test", "path": "", "value": {"a": {"k": 1}}}, {"op": "move", "from": "/a", "path": "/a/k"}]),
            json!([{"op": "move", "from": "/a/k", "path": "/a"}, {"op": "test", "path": "/x", "value": 1}]),
        ] {
            let error = patched(&json!({"a": {"k": 1}}), patch).expect_err("refused");
            assert_eq!(error.code, 422);
            assert!(error.message.contains("operation '/1' failed"), "{error}");
        }
    }
}
