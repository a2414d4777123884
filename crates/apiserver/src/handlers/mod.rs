//! Handlers, one file for each verb: a handler reads the options of the request, calls `registry` or the store, and
//! answers in the format and view that the client accepts.
//!
//! *Invariant*: no handler writes to the store by itself.

mod accept;
mod call;
mod create;
mod delete;
mod get;
mod list;
mod meta;
mod options;
mod patch;
pub(crate) mod reply;
pub(crate) mod request;
mod review;
mod selection;
mod update;
mod watch;

use call::Call;
use http::Method;
use reply::Reply;
use request::Request;

use crate::{
    kinds::kind::Verb,
    route::{ResourcePath, Route},
    status::ApiError,
};

/// Answers an authorized request.
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
    let call = Call::resolve(request, path).await?;
    match call.verb()? {
        Verb::Watch => watch::watch(&call),
        Verb::Get => get::get(&call),
        Verb::List => list::list(&call).await,
        Verb::Create => create::create(&call).await,
        Verb::Update => update::update(&call).await,
        Verb::Patch => patch::patch(&call).await,
        Verb::Delete => delete::delete(&call).await,
        Verb::DeleteCollection => delete::delete_collection(&call).await,
    }
}
