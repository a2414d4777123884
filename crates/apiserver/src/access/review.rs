//! Reviews: questions about users and their rights, answered without being stored.

use serde_json::{Value, json};

use super::{authorize, user::User};

/// A kind of review.
pub(crate) struct Review {
    pub(crate) group: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) kind: &'static str,
    /// Computes the status for the user that makes the request.
    answer: fn(&User, &Value) -> Value,
}

/// The version in which all reviews are served.
pub(crate) const VERSION: &str = "v1";

/// All kinds of review. A POST answers them.
pub(crate) static REVIEWS: [Review; 4] = [
    Review {
        group: "authentication.k8s.io",
        plural: "selfsubjectreviews",
        kind: "SelfSubjectReview",
        answer: |user, _| json!({"userInfo": {"username": user.name, "groups": user.groups}}),
    },
    Review {
        group: "authorization.k8s.io",
        plural: "selfsubjectaccessreviews",
        kind: "SelfSubjectAccessReview",
        answer: |user, _| access(user),
    },
    Review {
        group: "authorization.k8s.io",
        plural: "selfsubjectrulesreviews",
        kind: "SelfSubjectRulesReview",
        answer: |user, _| rules(user),
    },
    Review {
        group: "authorization.k8s.io",
        plural: "subjectaccessreviews",
        kind: "SubjectAccessReview",
        answer: |_, spec| access(&subject(spec)),
    },
];

impl Review {
    pub(crate) fn find(group: &str, version: &str, plural: &str) -> Option<&'static Self> {
        let served =
            |review: &&Self| review.group == group && review.plural == plural && version == VERSION;
        REVIEWS.iter().find(served)
    }

    /// Completes a review with its answer. `review` must be an object.
    pub(crate) fn complete(&self, user: &User, review: &mut Value) {
        let status = (self.answer)(user, &review["spec"]);
        let Some(fields) = review.as_object_mut() else {
            return;
        };
        fields.insert(
            "apiVersion".into(),
            format!("{}/{VERSION}", self.group).into(),
        );
        fields.insert("kind".into(), self.kind.into());
        if !fields.get("metadata").is_some_and(Value::is_object) {
            fields.insert("metadata".into(), json!({}));
        }
        fields.insert("status".into(), status);
    }
}

fn access(user: &User) -> Value {
    match authorize::allows(user) {
        true => json!({"allowed": true}),
        false => json!({
            "allowed": false,
            "reason": format!("only members of {} have access; this server has no RBAC", User::MASTERS),
        }),
    }
}

fn rules(user: &User) -> Value {
    if !authorize::allows(user) {
        return json!({"resourceRules": [], "nonResourceRules": [], "incomplete": false});
    }
    let all = json!(["*"]);
    json!({
        "resourceRules": [{"verbs": all, "apiGroups": all, "resources": all}],
        "nonResourceRules": [{"verbs": all, "nonResourceURLs": all}],
        "incomplete": false,
    })
}

/// The user that the spec of a SubjectAccessReview names.
fn subject(spec: &Value) -> User {
    let groups = spec["groups"].as_array().into_iter().flatten();
    User {
        name: spec["user"].as_str().unwrap_or_default().into(),
        groups: groups.filter_map(Value::as_str).map(Into::into).collect(),
    }
}
