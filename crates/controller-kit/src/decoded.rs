//! Reads objects of which some fields do not fit their type.
//!
//! An object that was written under an older schema, or past the API server into its database, can hold a number where
//! the type has a string. With plain kube-rs types one such object makes every list and every watch of its kind fail.
//! [`Decoded`] takes the place of the type in `Api<…>`, lists and watches: it drops the fields that do not fit, and says
//! which.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::PartialObjectMeta;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

/// Fields that are dropped before the rest of the object is given up as well: each costs one more decoding.
const MAX_DROPPED: usize = 64;

/// A field that was dropped because it does not fit its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field, such as `status.restartCount`; `.` for the whole object.
    pub field: String,
    /// Why it does not fit.
    pub reason: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)
    }
}

/// An object, decoded as far as it fits its type.
#[derive(Debug, Clone)]
pub struct Decoded<K> {
    /// `Err`: nothing but the metadata could be decoded.
    object: Result<K, Box<ObjectMeta>>,
    problems: Vec<Problem>,
}

impl<K> Decoded<K> {
    /// The object without the fields of [`Decoded::problems`]; `None` if a required field is among them.
    pub fn object(&self) -> Option<&K> {
        self.object.as_ref().ok()
    }

    /// The same, by value.
    pub fn into_object(self) -> Option<K> {
        self.object.ok()
    }

    /// The fields that were dropped.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether a field of this section (`spec`, `status`) was dropped, or the whole object.
    pub fn has_problem_in(&self, section: &str) -> bool {
        self.object.is_err()
            || self.problems.iter().any(|problem| {
                let field = problem.field.strip_prefix(section);
                field.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            })
    }

    /// All problems in one line; `None` when there are none.
    pub fn problem_text(&self) -> Option<String> {
        let texts: Vec<String> = self.problems.iter().map(ToString::to_string).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }
}

impl<K> From<K> for Decoded<K> {
    fn from(object: K) -> Self {
        Decoded {
            object: Ok(object),
            problems: Vec::new(),
        }
    }
}

/// Decodes `value`, without the fields that do not fit.
fn decode<K: DeserializeOwned>(mut value: Value) -> (Option<K>, Vec<Problem>) {
    let mut problems = Vec::new();
    while problems.len() < MAX_DROPPED {
        let error = match serde_path_to_error::deserialize::<_, K>(&value) {
            Ok(object) => return (Some(object), problems),
            Err(error) => error,
        };
        let path = steps(error.path());
        if integral_float(&mut value, &path) {
            continue;
        }
        problems.push(Problem {
            field: error.path().to_string(),
            reason: error.inner().to_string(),
        });
        if !remove(&mut value, &path) {
            break;
        }
    }
    (None, problems)
}

/// The way to a field.
enum Step {
    Key(String),
    Index(usize),
}

fn steps(path: &Path) -> Vec<Step> {
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Map { key } => Some(Step::Key(key.clone())),
            Segment::Seq { index } => Some(Step::Index(*index)),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

fn find<'a>(value: &'a mut Value, path: &[Step]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Index(index) => value.get_mut(index),
    })
}

/// JSON has one kind of number, so 3.0 is the integer 3 (Kubernetes reads it so, too). Whether it was one.
fn integral_float(value: &mut Value, path: &[Step]) -> bool {
    // Beyond this a float no longer tells neighbouring integers apart.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let Some(found) = find(value, path) else {
        return false;
    };
    match found.as_f64().filter(|_| found.is_f64()) {
        Some(float) if float.fract() == 0.0 && float.abs() < EXACT => {
            #[expect(clippy::cast_possible_truncation, reason = "checked above")]
            let integer = float as i64;
            *found = integer.into();
            true
        }
        _ => false,
    }
}

/// Removes the field; false when that is the whole object.
fn remove(value: &mut Value, path: &[Step]) -> bool {
    let Some((last, parents)) = path.split_last() else {
        return false;
    };
    match (find(value, parents), last) {
        (Some(Value::Object(fields)), Step::Key(key)) => fields.remove(key).is_some(),
        (Some(Value::Array(items)), Step::Index(index)) if *index < items.len() => {
            items.remove(*index);
            true
        }
        _ => false,
    }
}

impl<'de, K: Resource + DeserializeOwned> Deserialize<'de> for Decoded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let metadata = value["metadata"].clone();
        let (object, problems) = decode::<K>(value);
        let object = object.ok_or_else(|| {
            let partial =
                decode::<PartialObjectMeta<K>>(serde_json::json!({ "metadata": metadata }));
            Box::new(
                partial
                    .0
                    .map(|partial| partial.metadata)
                    .unwrap_or_default(),
            )
        });
        Ok(Decoded { object, problems })
    }
}

impl<K: Resource + Serialize> Serialize for Decoded<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.object {
            Ok(object) => object.serialize(serializer),
            // A write of it would lose what could not be decoded.
            Err(_) => Err(serde::ser::Error::custom(
                "an object that could not be decoded cannot be written",
            )),
        }
    }
}

impl<K: Resource> Resource for Decoded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        self.object.as_ref().map_or_else(AsRef::as_ref, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.object.as_mut().map_or_else(AsMut::as_mut, K::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ConfigMap, Pod};
    use kube::ResourceExt;
    use kube::core::ObjectList;
    use serde_json::json;

    use super::*;

    fn pod(value: Value) -> Decoded<Pod> {
        serde_json::from_value(value).unwrap()
    }

    fn fields<K>(decoded: &Decoded<K>) -> Vec<&str> {
        let problems = decoded.problems().iter();
        problems.map(|problem| problem.field.as_str()).collect()
    }

    #[test]
    fn field_of_a_wrong_type_is_dropped_and_named() {
        let decoded = pod(json!({
            "metadata": { "name": "a", "generation": "one" },
            "spec": { "containers": [{ "name": "c" }], "priority": 2_147_483_648_u64 },
        }));
        assert_eq!(fields(&decoded), ["metadata.generation", "spec.priority"]);
        assert!(decoded.has_problem_in("spec") && !decoded.has_problem_in("status"));
        let pod = decoded.object().unwrap();
        assert_eq!(pod.name_any(), "a");
        assert_eq!(pod.spec.as_ref().unwrap().containers[0].name, "c");
    }

    #[test]
    fn integral_float_is_an_integer() {
        let decoded = pod(json!({ "spec": { "containers": [], "priority": 3.0 } }));
        assert_eq!(fields(&decoded), <[&str; 0]>::default());
        let spec = decoded.into_object().unwrap().spec.unwrap();
        assert_eq!(spec.priority, Some(3));
        let decoded = pod(json!({ "spec": { "containers": [], "priority": 3.5 } }));
        assert_eq!(fields(&decoded), ["spec.priority"]);
    }

    #[test]
    fn item_without_a_required_field_is_dropped_alone() {
        let decoded = pod(json!({
            "status": { "conditions": [{ "type": "A", "status": "True" }, { "type": "B", "status": 1 }] },
        }));
        let conditions = decoded.object().unwrap().status.clone().unwrap().conditions;
        assert!(decoded.has_problem_in("status"));
        assert_eq!(conditions.unwrap()[0].type_, "A");
    }

    #[test]
    fn list_with_an_object_that_cannot_be_decoded_keeps_the_others() {
        let list: ObjectList<Decoded<ConfigMap>> = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "ConfigMapList", "metadata": {},
            "items": [
                { "metadata": { "name": "good" }, "data": { "a": "b" } },
                { "metadata": { "name": "bad", "labels": { "x": 1 } }, "data": "text" },
                "no object at all",
            ],
        }))
        .unwrap();
        let names: Vec<_> = list.items.iter().map(ResourceExt::name_any).collect();
        assert_eq!(names, ["good", "bad", ""]);
        assert_eq!(list.items[0].problem_text(), None);
        assert_eq!(fields(&list.items[1]), ["data", "metadata.labels.x"]);
        assert!(list.items[2].object().is_none());
        assert!(list.items[2].has_problem_in("spec"));
    }
}
