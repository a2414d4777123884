//! A control plane in this process.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apiserver::pki::Pki;
use apiserver::{Server, User};
use controller_kit::health::Health;
use controller_kit::{Config, Controller, Manager, ManagerError, Shutdown};
use k8s_openapi::api::core::v1::Event;
use kube::api::{ListParams, PostParams};
use kube::core::DynamicObject;
use kube::discovery::ApiResource;
use kube::{Api, Client};
use serde_json::{Value, json};
use store::{IndexedStore, Options};
use tempfile::TempDir;
use testutils::poll_async;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::toy::Toy;

/// For waits that a passing test never reaches.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) struct Plane {
    pub(crate) client: Client,
    server: Server,
    folder: TempDir,
}

/// A manager that runs.
pub(crate) struct Running {
    pub(crate) health: Health,
    stop: oneshot::Sender<Shutdown>,
    task: JoinHandle<Result<(), ManagerError>>,
}

impl Running {
    pub(crate) async fn stop(self) {
        self.stop.send(Shutdown::KeepWorkloads).unwrap();
        let ended = tokio::time::timeout(LONG, self.task).await;
        ended.expect("the manager ends").unwrap().unwrap();
    }
}

impl Plane {
    pub(crate) async fn start() -> Plane {
        let store = IndexedStore::memory(Options::default()).unwrap();
        let mut config = apiserver::Config::new(Arc::new(store));
        config.namespaces = vec!["rdd-system".into()];
        let server = Server::new(config).await.unwrap();
        Plane {
            client: Client::new(server.service(User::master("test")), "default"),
            server,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A client over HTTPS, as a controller in a program of its own has it.
    pub(crate) async fn https_client(&self) -> Client {
        // Another test of this process may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let pki = Pki::load_or_create(self.folder.path(), SystemTime::now()).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (server, tls) = (self.server.clone(), pki.server_config().unwrap());
        tokio::spawn(async move { server.serve(listener, tls, std::future::pending()).await });
        let text = pki.kubeconfig(&format!("https://{address}"), "toys");
        let kubeconfig = kube::config::Kubeconfig::from_yaml(&text).unwrap();
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options);
        Client::try_from(config.await.unwrap()).unwrap()
    }

    /// Runs controllers with this client, until all of them are ready.
    pub(crate) async fn run(
        &self,
        name: &str,
        client: Client,
        controllers: Vec<Arc<dyn Controller>>,
    ) -> Running {
        let running = self.begin(name, client, controllers);
        tokio::time::timeout(LONG, running.health.all_ready())
            .await
            .expect("the controllers become ready");
        running
    }

    /// Runs controllers with this client.
    pub(crate) fn begin(
        &self,
        name: &str,
        client: Client,
        controllers: Vec<Arc<dyn Controller>>,
    ) -> Running {
        let config = Config {
            instance: "test".into(),
            manager_name: name.into(),
            started_at: jiff::Timestamp::now(),
            after_grace: LONG,
        };
        let manager = Manager::new(client, config, controllers);
        let health = manager.health();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move { stopped.await.unwrap_or(Shutdown::KeepWorkloads) };
        let task = tokio::spawn(manager.run(shutdown));
        Running { health, stop, task }
    }

    /// Creates a toy with this spec, whether it fits the type or not.
    pub(crate) async fn create(&self, name: &str, spec: Value) {
        let resource = ApiResource::erase::<Toy>(&());
        let api: Api<DynamicObject> = Api::default_namespaced_with(self.client.clone(), &resource);
        let toy = serde_json::from_value(json!({
            "apiVersion": "toys.example.com/v1", "kind": "Toy", "metadata": { "name": name }, "spec": spec,
        }));
        // The definition was installed by the manager just now.
        poll_async(LONG, "toys to be served", async || {
            api.create(&PostParams::default(), toy.as_ref().unwrap())
                .await
        })
        .await;
    }

    /// Waits for an event of this object with this reason; returns its message.
    pub(crate) async fn wait_event(&self, name: &str, reason: &str) -> String {
        let api: Api<Event> = Api::default_namespaced(self.client.clone());
        poll_async(LONG, &format!("event {reason} of {name}"), async || {
            let events = api.list(&ListParams::default()).await.unwrap().items;
            let found = events.iter().find(|event| {
                event.involved_object.name.as_deref() == Some(name)
                    && event.reason.as_deref() == Some(reason)
            });
            match found {
                Some(event) => Ok(event.message.clone().unwrap_or_default()),
                None => Err(format!(
                    "{:?}",
                    events.iter().map(|e| &e.reason).collect::<Vec<_>>()
                )),
            }
        })
        .await
    }
}
