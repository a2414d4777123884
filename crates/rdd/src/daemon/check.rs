//! Damage of the database: reported when the daemon starts, and repaired on request.

use std::sync::Arc;

use apiserver::http::mount::{
    MountedService, RequestBody, error_response, json_response, read_body,
};
use apiserver::{ResponseBody, User};
use http::{Method, Request, Response};
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, ObjectMeta, PostParams};
use lima::layout::LimaHome;
use store::{IndexedStore, Store as _};
use tower::util::BoxCloneSyncService;

use crate::service::check_request::{self, CheckRequest, PATH};

/// HTTP's "bad request".
const BAD_REQUEST: u16 = 400;
/// HTTP's "unauthorized".
const UNAUTHORIZED: u16 = 401;
/// HTTP's "not found".
const NOT_FOUND: u16 = 404;
/// HTTP's "method not allowed".
const METHOD_NOT_ALLOWED: u16 = 405;
/// HTTP's "conflict".
const CONFLICT: u16 = 409;

/// Returns the service to mount at [`PATH`], which lists, restores and deletes damaged rows.
pub(super) fn service(store: Arc<IndexedStore>) -> MountedService {
    let answer = move |request: Request<RequestBody>| {
        let store = Arc::clone(&store);
        async move { Ok(answer(&store, request).await) }
    };
    BoxCloneSyncService::new(tower::service_fn(answer))
}

async fn answer(store: &IndexedStore, request: Request<RequestBody>) -> Response<ResponseBody> {
    let path = request.uri().path().to_owned();
    if path != PATH {
        let message = format!("the daemon has no path {path}; a check is requested at {PATH}");
        return error_response(NOT_FOUND, "NotFound", message);
    }
    if request.method() != Method::POST {
        let message = format!("{PATH} answers POST only");
        return error_response(METHOD_NOT_ALLOWED, "MethodNotAllowed", message);
    }
    let Some(user) = request.extensions().get::<User>().cloned() else {
        return error_response(UNAUTHORIZED, "Unauthorized", "Unauthorized");
    };
    let body = match read_body(request.into_body()).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let request: CheckRequest = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => {
            let message = format!("cannot read the check request: {error}");
            return error_response(BAD_REQUEST, "BadRequest", message);
        }
    };
    tracing::info!(user = user.name, ?request, "checking the database");
    let report = check_request::apply(store, &request).await;
    match report.map(serde_json::to_value) {
        Ok(Ok(report)) => json_response(&report),
        Ok(Err(error)) => error_response(CONFLICT, "Conflict", error.to_string()),
        Err(error) => error_response(CONFLICT, "Conflict", error.to_string()),
    }
}

/// Logs what the opening of the database found, and what it means for the VMs whose folders exist.
pub(super) fn log_opening(store: &IndexedStore, home: &LimaHome) {
    let opening = store.opening();
    if let Some(backup) = &opening.restored_from {
        tracing::warn!(
            "the objects were restored from the backup {}; changes after it are lost",
            backup.display()
        );
    }
    let rows = store.quarantined();
    if !rows.is_empty() {
        tracing::warn!(
            "{} damaged objects are not served; `rdd svc check` lists, restores or deletes them",
            rows.len()
        );
    }
    if opening.fresh {
        let vms = lima::instance::list(home).unwrap_or_default();
        if !vms.is_empty() {
            let names: Vec<_> = vms.iter().map(|vm| vm.name().to_owned()).collect();
            tracing::warn!(
                "the database was missing or empty, and has no backup, although there are folders of VMs: {}; the VMs \
                 keep their disks, and their objects are lost",
                names.join(", ")
            );
        }
    }
}

/// Publishes an event for each damaged row.
pub(super) async fn publish_events(store: &IndexedStore, client: &kube::Client, namespace: &str) {
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    for row in store.quarantined() {
        let now = Time(jiff::Timestamp::now());
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("damaged-row-{}.{:x}", row.id, row.found)),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Namespace".to_owned()),
                name: Some(namespace.to_owned()),
                namespace: Some(namespace.to_owned()),
                ..ObjectReference::default()
            },
            type_: Some("Warning".to_owned()),
            reason: Some("DamagedRow".to_owned()),
            message: Some(format!(
                "the stored object {:?} is not served: {}; `rdd svc check` restores or deletes it",
                row.key, row.problem
            )),
            source: Some(EventSource {
                component: Some("rdd".to_owned()),
                ..EventSource::default()
            }),
            first_timestamp: Some(now.clone()),
            last_timestamp: Some(now),
            count: Some(1),
            ..Event::default()
        };
        match events.create(&PostParams::default(), &event).await {
            Ok(_) => {}
            // Published by an earlier daemon.
            Err(kube::Error::Api(status)) if status.code == CONFLICT => {}
            Err(error) => tracing::warn!(%error, "cannot publish the event of a damaged row"),
        }
    }
}
