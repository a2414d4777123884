//! Codecs: JSON, YAML and protobuf bodies of requests, JSON and YAML bodies of responses.
//!
//! *Invariant*: a codec knows no kind; a kind brings its [`protobuf::Message`].

pub(crate) mod body;
pub(crate) mod json;
pub(crate) mod protobuf;
pub(crate) mod request;
pub(crate) mod response;
mod yaml;
