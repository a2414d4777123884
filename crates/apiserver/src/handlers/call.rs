//! [`Call`]: a request for a kind that is served.

use std::sync::Arc;

use serde_json::Value;

use super::{accept::Accept, options::Query, request::Request};
use crate::{
    codec,
    kinds::kind::{Kind, Verb},
    registry::{backend::Backend, context::WriteContext, target::Target},
    route::ResourcePath,
    status::ApiError,
};

/// A request for a kind that is served.
pub(super) struct Call {
    pub(super) request: Request,
    pub(super) query: Query,
    pub(super) accept: Accept,
    pub(super) target: Target,
}

impl Call {
    /// Finds the kind and the subresource that the path names.
    pub(super) async fn resolve(request: Request, path: ResourcePath) -> Result<Self, ApiError> {
        let kind = request
            .backend
            .kind(&path.group, &path.version, &path.plural)
            .await
            .ok_or_else(ApiError::no_such_resource)?;
        let subresource = match &path.subresource {
            None => None,
            Some(name) => {
                let known = kind.subresource(name);
                Some(known.ok_or_else(ApiError::no_such_resource)?)
            }
        };
        // An object has a namespace if its kind is namespaced; a collection may span all namespaces.
        let everywhere = path.namespace.is_none() && path.name.is_none();
        if path.namespace.is_some() != kind.namespaced && !everywhere {
            return Err(ApiError::no_such_resource());
        }
        Ok(Self {
            query: Query::parse(&request.query),
            accept: Accept::negotiate(request.accept())?,
            target: Target {
                kind,
                namespace: path.namespace,
                name: path.name.unwrap_or_default(),
                subresource,
            },
            request,
        })
    }

    /// Returns the verb of the request, if the kind has it.
    pub(super) fn verb(&self) -> Result<Verb, ApiError> {
        let named = !self.target.name.is_empty();
        let in_place = self.target.namespace.is_some() == self.kind().namespaced;
        let verb = match (self.request.method.as_str(), named) {
            ("GET" | "HEAD", _)
                if self.target.subresource.is_none() && self.query.flag("watch") =>
            {
                Verb::Watch
            }
            ("GET" | "HEAD", true) => Verb::Get,
            ("GET" | "HEAD", false) => Verb::List,
            ("POST", false) => Verb::Create,
            ("PUT", true) => Verb::Update,
            ("PATCH", true) => Verb::Patch,
            ("DELETE", true) => Verb::Delete,
            ("DELETE", false) if in_place => Verb::DeleteCollection,
            _ => return Err(ApiError::method_not_allowed()),
        };
        let verbs = match self.target.subresource {
            Some(subresource) => subresource.verbs(),
            None => self.kind().verbs,
        };
        match verbs.contains(&verb) {
            true => Ok(verb),
            false => Err(ApiError::method_not_allowed()),
        }
    }

    pub(super) fn backend(&self) -> &Arc<Backend> {
        &self.request.backend
    }

    pub(super) fn kind(&self) -> &Arc<Kind> {
        &self.target.kind
    }

    /// Returns the context of a write with the options of this request.
    pub(super) fn write_context(&self) -> Result<WriteContext<'_>, ApiError> {
        Ok(WriteContext {
            backend: self.backend(),
            user: self.request.user.clone(),
            dry_run: self.query.dry_run()?,
            field_validation: self.query.field_validation()?,
            warnings: Vec::new(),
            plugins: true,
        })
    }

    /// Decodes the body as an object of this kind; returns a message for each duplicate field with it.
    pub(super) fn decode_body(&self) -> Result<(Value, Vec<String>), ApiError> {
        let decoded = codec::request::decode(
            self.request.media_type(),
            &self.request.body,
            &self.kind().name,
            self.kind().protobuf,
        )?;
        let duplicates = decoded.duplicates.iter();
        let problems = duplicates.map(|path| format!("duplicate field {path:?}"));
        Ok((decoded.value, problems.collect()))
    }
}
