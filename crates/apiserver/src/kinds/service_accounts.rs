//! ServiceAccounts.

use k8s_openapi::api::core::v1::ServiceAccount;
use serde_json::json;

use super::{
    column::{Cell, age_column, column, name_column},
    kind::{Kind, SchemaSource},
    typed,
};
use crate::{
    codec::protobuf::{self, Form, Message},
    patch::strategic::{MergeKeys, MergeList},
};

const MERGE_KEYS: MergeKeys = &[
    ("secrets", MergeList::Key("name")),
    ("imagePullSecrets", MergeList::Key("name")),
];

const MESSAGE: &Message = &[
    (1, "metadata", Form::Message(protobuf::META)),
    (2, "secrets", Form::Messages(protobuf::OBJECT_REFERENCE)),
    (3, "imagePullSecrets", Form::Messages(LOCAL_REFERENCE)),
    (4, "automountServiceAccountToken", Form::Bool),
];
const LOCAL_REFERENCE: &Message = &[(1, "name", Form::Text)];

pub(super) fn kind() -> Kind {
    let schema = || typed::of::<ServiceAccount>("io.k8s.api.core.v1.ServiceAccount");
    Kind {
        short_names: vec!["sa".into()],
        merge_keys: Some(MERGE_KEYS),
        protobuf: Some(MESSAGE),
        columns: vec![
            name_column(),
            column("Secrets", "string", Cell::Computed(|_| json!(0))),
            age_column(),
        ],
        ..Kind::new(
            "",
            "v1",
            "serviceaccounts",
            "ServiceAccount",
            SchemaSource::Typed(schema),
        )
    }
}
