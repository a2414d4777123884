//! One file a verb. A handler reads the request's options, asks `registry` or the store, and renders.

mod create;
mod delete;
mod get;
mod list;
mod meta;
mod options;
mod output;
mod patch;
mod review;
mod selection;
mod strict;
mod update;
mod watch;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use options::Query;
use output::Output;
pub(crate) use output::{Reply, json_reply, status_reply};

use crate::{
    registry::{Resource, Target},
    route::{ResourcePath, Route},
    server::Inner,
    status::ApiError,
    user::User,
};

/// A request, read and authenticated.
pub(crate) struct Request {
    pub(crate) server: Arc<Inner>,
    pub(crate) user: User,
    pub(crate) method: Method,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Becomes true when what the request came through stops: its watch ends then.
    pub(crate) closing: Closing,
}

pub(crate) type Closing = tokio::sync::watch::Receiver<bool>;

/// A request for a resource that exists.
struct Call {
    request: Request,
    query: Query,
    output: Output,
    target: Target,
}

impl Call {
    fn server(&self) -> &Arc<Inner> {
        &self.request.server
    }

    fn resource(&self) -> &Arc<Resource> {
        &self.target.resource
    }
}

impl Request {
    /// The media type of the body, without parameters.
    fn media_type(&self) -> &str {
        let header = self.headers.get(http::header::CONTENT_TYPE);
        let header = header
            .and_then(|h| h.to_str().ok())
            .unwrap_or("application/json");
        header.split(';').next().unwrap_or_default().trim()
    }
}

/// Answers a request that needs a user.
pub(crate) async fn answer(request: Request, route: Route) -> Result<Reply, ApiError> {
    match route {
        Route::Resource(path) => resource(request, path).await,
        route => meta::answer(&request, &route),
    }
}

async fn resource(request: Request, path: ResourcePath) -> Result<Reply, ApiError> {
    let collection = path.namespace.is_none() && path.name.is_none();
    if collection
        && request.method == Method::POST
        && let Some(reply) = review::answer(&request, &path)?
    {
        return Ok(reply);
    }
    let resource = request
        .server
        .registry
        .find(&path.group, &path.version, &path.plural);
    let resource = resource.ok_or_else(ApiError::no_such_resource)?;
    let subresource_known = match path.subresource.as_deref() {
        None => true,
        Some("status") => resource.status,
        Some("finalize") => path.plural == "namespaces" && request.method == Method::PUT,
        Some(_) => false,
    };
    let placed = path.namespace.is_some() == resource.namespaced
        || path.namespace.is_none() && path.name.is_none();
    if !subresource_known || !placed {
        return Err(ApiError::no_such_resource());
    }
    let call = Call {
        query: Query::parse(&request.query)?,
        output: Output::negotiate(&request.headers)?,
        target: Target {
            resource,
            namespace: path.namespace,
            name: path.name.unwrap_or_default(),
            subresource: path.subresource,
        },
        request,
    };
    let (named, whole) = (
        !call.target.name.is_empty(),
        call.target.subresource.is_none(),
    );
    match (call.request.method.as_str(), named) {
        ("GET" | "HEAD", _) if whole && call.query.flag("watch") => watch::watch(&call),
        ("GET" | "HEAD", true) => get::get(&call),
        ("GET" | "HEAD", false) => list::list(&call).await,
        ("POST", false) => create::create(&call).await,
        ("PUT", true) => update::update(&call).await,
        ("PATCH", true) => patch::patch(&call).await,
        ("DELETE", true) if whole => delete::delete(&call).await,
        ("DELETE", false)
            if whole && call.target.namespace.is_some() == call.resource().namespaced =>
        {
            delete::delete_collection(&call).await
        }
        _ => Err(ApiError::method_not_allowed()),
    }
}
