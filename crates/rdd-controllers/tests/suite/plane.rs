//! A control plane in this process, with both controllers.

use std::sync::Arc;
use std::time::Duration;

use apiserver::{Server, User};
use controller_kit::discovery::EMBEDDED_MANAGER;
use controller_kit::{Config, Controller, Manager, Shutdown};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use rdd_controllers::{NotaryController, ReplicaSetController};
use store::{IndexedStore, Options};
use testutils::poll_async;

/// For waits that a passing test never reaches.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A control plane. Its controllers end with the test.
pub(crate) struct Plane {
    pub(crate) client: Client,
    _server: Server,
}

impl Plane {
    pub(crate) async fn start() -> Plane {
        let store = IndexedStore::memory(Options::default()).unwrap();
        let mut config = apiserver::Config::new(Arc::new(store));
        config.namespaces = vec!["rdd-system".into()];
        let server = Server::new(config).await.unwrap();
        let client = Client::new(server.service(User::master("test")), "default");
        let config = Config {
            instance: "test".into(),
            manager_name: EMBEDDED_MANAGER.into(),
            started_at: jiff::Timestamp::now(),
            after_grace: LONG,
        };
        let controllers: Vec<Arc<dyn Controller>> =
            vec![Arc::new(NotaryController), Arc::new(ReplicaSetController)];
        let manager = Manager::new(client.clone(), config, controllers);
        let mut ready = manager.ready();
        tokio::spawn(manager.run(std::future::pending::<Shutdown>()));
        tokio::time::timeout(LONG, ready.wait_for(|ready| *ready))
            .await
            .expect("the controllers become ready")
            .unwrap();
        Plane {
            client,
            _server: server,
        }
    }

    pub(crate) fn maps(&self) -> Api<ConfigMap> {
        Api::default_namespaced(self.client.clone())
    }

    /// Waits until the ConfigMap exists and has this entry.
    pub(crate) async fn wait_entry(&self, name: &str, key: &str, value: &str) -> ConfigMap {
        let maps = self.maps();
        poll_async(LONG, &format!("{key} in {name}"), async || {
            let map = maps.get_opt(name).await.unwrap().ok_or("no ConfigMap")?;
            let found = map.data.as_ref().and_then(|data| data.get(key));
            match found.is_some_and(|found| found.ends_with(value)) {
                true => Ok(map),
                false => Err("another value"),
            }
        })
        .await
    }

    /// Waits until the ConfigMap is gone.
    pub(crate) async fn wait_gone(&self, name: &str) {
        let maps = self.maps();
        poll_async(LONG, &format!("the end of {name}"), async || {
            maps.get_opt(name)
                .await
                .unwrap()
                .map_or(Ok(()), |_| Err("it exists"))
        })
        .await;
    }
}
