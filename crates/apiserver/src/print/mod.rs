//! Other forms of objects: tables (`metav1.Table`) and metadata only (`PartialObjectMetadata`).

mod age;
mod jsonpath;
mod table;

pub(crate) use table::{IncludeObject, definitions, partial, row};
