//! Leases: a PUT creates one that does not exist, so that the holder needs no second request.

use k8s_openapi::api::coordination::v1::Lease;

use super::{
    column::{age_column, name_column, path_column},
    kind::{Kind, SchemaSource},
    typed,
};
use crate::codec::protobuf::{self, Form, Message};

const MESSAGE: &Message = &[
    (1, "metadata", Form::Message(protobuf::META)),
    (2, "spec", Form::Message(SPEC)),
];
const SPEC: &Message = &[
    (1, "holderIdentity", Form::Text),
    (2, "leaseDurationSeconds", Form::Int),
    (3, "acquireTime", Form::MicroTime),
    (4, "renewTime", Form::MicroTime),
    (5, "leaseTransitions", Form::Int),
    (6, "strategy", Form::Text),
    (7, "preferredHolder", Form::Text),
];

pub(super) fn kind() -> Kind {
    let schema = || typed::of::<Lease>("io.k8s.api.coordination.v1.Lease");
    Kind {
        merge_keys: Some(&[]),
        protobuf: Some(MESSAGE),
        create_on_update: true,
        columns: vec![
            name_column(),
            path_column("Holder", ".spec.holderIdentity"),
            age_column(),
        ],
        ..Kind::new(
            "coordination.k8s.io",
            "v1",
            "leases",
            "Lease",
            SchemaSource::Typed(schema),
        )
    }
}
