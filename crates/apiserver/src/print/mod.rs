//! How objects are shown: tables (`metav1.Table`) and metadata only (`PartialObjectMetadata`).

mod age;
mod jsonpath;
mod table;

pub(crate) use table::{IncludeObject, definitions, partial, row};
