//! Views of objects: whole, as rows of a table, or only their metadata. A view is independent of the format in
//! which `codec` encodes it.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    conversion,
    kinds::kind::Kind,
    object,
    print::{self, IncludeObject},
    status::ApiError,
};

/// A view that a client can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Object,
    Table,
    Partial,
}

impl View {
    /// Returns the view that the parameters `as`, `g` and `v` of a media type name (`meta.k8s.io/v1`).
    pub(crate) fn of(
        r#as: Option<&str>,
        group: Option<&str>,
        version: Option<&str>,
    ) -> Option<Self> {
        let meta = group == Some("meta.k8s.io") && version == Some("v1");
        match r#as {
            None => Some(Self::Object),
            Some("Table") if meta => Some(Self::Table),
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") if meta => {
                Some(Self::Partial)
            }
            Some(_) => None,
        }
    }
}

/// Shows the objects of one kind to one client.
pub(crate) struct Viewer<'a> {
    pub(crate) kind: &'a Kind,
    pub(crate) view: View,
    /// The part of the object that each row of a table holds.
    pub(crate) include: IncludeObject,
    pub(crate) now: jiff::Timestamp,
}

/// Something shown: stored bytes, or a document that was made of them.
pub(crate) enum Shown {
    Json(Bytes),
    Value(Value),
}

impl Viewer<'_> {
    /// Shows one object. `columns`: whether a table defines its columns, which a watch does once.
    pub(crate) fn object(&self, stored: &Bytes, columns: bool) -> Result<Shown, ApiError> {
        let bytes = conversion::present(self.kind, stored)?;
        match self.view {
            View::Object => Ok(Shown::Json(bytes)),
            View::Partial => {
                let object = object::decode_or_head(&bytes)?;
                Ok(Shown::Value(print::partial(&object)))
            }
            View::Table => {
                let object = object::decode_or_head(&bytes)?;
                let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                let rows = [self.row(&object)];
                Ok(Shown::Value(self.table(&metadata, &rows, columns)))
            }
        }
    }

    /// Shows a list whose items are not whole objects; `metadata` is that of the list.
    pub(crate) fn list(&self, metadata: &Value, items: &[Bytes]) -> Result<Value, ApiError> {
        let decoded = items
            .iter()
            .map(|stored| object::decode_or_head(&conversion::present(self.kind, stored)?));
        match self.view {
            View::Object => {
                let items = decoded.collect::<Result<Vec<_>, _>>()?;
                let (kind, version) = (&self.kind.list_name, self.kind.api_version());
                Ok(
                    json!({"kind": kind, "apiVersion": version, "metadata": metadata, "items": items}),
                )
            }
            View::Partial => {
                let items = decoded.map(|object| object.map(|object| print::partial(&object)));
                let items = items.collect::<Result<Vec<_>, _>>()?;
                let kind = "PartialObjectMetadataList";
                Ok(
                    json!({"kind": kind, "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items}),
                )
            }
            View::Table => {
                let rows = decoded.map(|object| object.map(|object| self.row(&object)));
                let rows = rows.collect::<Result<Vec<_>, _>>()?;
                Ok(self.table(metadata, &rows, true))
            }
        }
    }

    /// Shows a bookmark of a watch, an object with this metadata only.
    pub(crate) fn bookmark(&self, metadata: &Value, columns: bool) -> Value {
        let (name, api_version) = (&self.kind.name, self.kind.api_version());
        let object = json!({"kind": name, "apiVersion": api_version, "metadata": metadata});
        match self.view {
            View::Object => object,
            View::Partial => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
            }
            View::Table => {
                let row = json!({"cells": [], "object": object});
                let metadata = json!({"resourceVersion": metadata["resourceVersion"]});
                self.table(&metadata, &[row], columns)
            }
        }
    }

    fn row(&self, object: &Value) -> Value {
        print::row(self.kind, object, self.include, self.now)
    }

    fn table(&self, metadata: &Value, rows: &[Value], columns: bool) -> Value {
        let columns = match columns {
            true => print::definitions(self.kind),
            false => Value::Null,
        };
        json!({
            "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
            "columnDefinitions": columns, "rows": rows,
        })
    }
}
