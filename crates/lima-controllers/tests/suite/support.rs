//! A control plane in this process: API server, controllers, and its own Lima home.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api::LimaVM;
use api::lima::{condition as types, reason};
use apiserver::{Server, User};
use controller_kit::discovery::EMBEDDED_MANAGER;
use controller_kit::{Controller, GraceLimit, Manager, ManagerError, Shutdown};
use k8s_openapi::api::core::v1::{ConfigMap, Event};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use lima::layout::LimaHome;
use lima_controllers::{Config, HostagentCommand, LimaVmController};
use process::{Process, Signal};
use serde_json::{Value, json};
use store::{IndexedStore, Options};
use tempfile::TempDir;
use testutils::poll_async;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower::ServiceExt;

/// For waits that a passing test never reaches.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// The grace period of fake hostagents; they need milliseconds.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// The task of the controllers.
pub(crate) type Ending = JoinHandle<Result<(), ManagerError>>;
/// The controllers: how to stop them, how to shorten that, and their task.
type Running = (oneshot::Sender<Shutdown>, GraceLimit, Ending);

/// A control plane. Its VMs end with it: stop it with [`Plane::stop`], or they end when their folder is gone.
pub(crate) struct Plane {
    pub(crate) folder: TempDir,
    pub(crate) client: Client,
    /// Whether the logs of deleted VMs are kept; read when the controllers start.
    pub(crate) keep_logs: bool,
    /// The API server refuses all writes of the controllers.
    refuse_writes: Arc<AtomicBool>,
    server: Server,
    running: Option<Running>,
}

impl Plane {
    /// A control plane whose controllers run.
    pub(crate) async fn start() -> Plane {
        let mut plane = Plane::without_controllers().await;
        plane.start_controllers().await;
        plane
    }

    pub(crate) async fn without_controllers() -> Plane {
        // Socket paths are short, so the folder is not the (long) one of the build.
        let folder = tempfile::Builder::new()
            .prefix("rdd-c")
            .tempdir_in("/tmp")
            .unwrap();
        let (server, client) = database().await;
        let image = std::fs::File::create(folder.path().join("image.raw")).unwrap();
        image.set_len(1 << 20).unwrap();
        Plane {
            folder,
            client,
            keep_logs: false,
            refuse_writes: Arc::default(),
            server,
            running: None,
        }
    }

    /// A control plane without controllers whose schema of LimaVMs accepts anything.
    pub(crate) async fn with_loose_schema() -> Plane {
        let plane = Plane::without_controllers().await;
        plane.loosen_schema().await;
        plane
    }

    /// Lets the API server accept any LimaVM, until the controllers start and install their definition.
    pub(crate) async fn loosen_schema(&self) {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let name = "limavms.lima.rancherdesktop.io";
        let mut crd = serde_json::to_value(api.get(name).await.unwrap()).unwrap();
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
            json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        let crd = serde_json::from_value(crd).unwrap();
        api.replace(name, &PostParams::default(), &crd)
            .await
            .unwrap();
    }

    /// Replaces the database by an empty one.
    pub(crate) async fn lose_database(&mut self) {
        assert!(self.running.is_none());
        (self.server, self.client) = database().await;
    }

    /// From now on, all writes of the controllers fail, or no longer.
    pub(crate) fn refuse_controller_writes(&self, refuse: bool) {
        self.refuse_writes.store(refuse, Ordering::Relaxed);
    }

    /// The controllers' own client.
    fn controllers_client(&self) -> Client {
        let service = self.server.service(User::master("controllers"));
        let refuse = Arc::clone(&self.refuse_writes);
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let refused = refuse.load(Ordering::Relaxed) && request.method() != http::Method::GET;
            let service = service.clone();
            async move {
                if refused {
                    return Err(Box::<dyn std::error::Error + Send + Sync>::from(
                        "disk full",
                    ));
                }
                service.oneshot(request).await.map_err(Into::into)
            }
        });
        Client::new(service, "default")
    }

    /// Where the logs of deleted VMs are kept.
    pub(crate) fn kept_logs(&self) -> PathBuf {
        self.folder.path().join("logs")
    }

    pub(crate) async fn start_controllers(&mut self) {
        let config = Config {
            lima_home: self.lima_home(),
            image_cache: self.folder.path().join("cache"),
            kept_logs: self.keep_logs.then(|| self.kept_logs()),
            hostagent: HostagentCommand {
                program: std::env::current_exe().unwrap(),
                args: [
                    "fake_hostagent::hostagent",
                    "--exact",
                    "--ignored",
                    "--nocapture",
                    "--",
                ]
                .map(Into::into)
                .to_vec(),
                kept_logs: Some(5),
                ..HostagentCommand::default()
            },
            stop_grace: GRACE,
        };
        let controller: Arc<dyn Controller> = Arc::new(LimaVmController::new(config));
        let config = controller_kit::Config {
            instance: "test".into(),
            manager_name: EMBEDDED_MANAGER.into(),
            started_at: jiff::Timestamp::now(),
            after_grace: LONG,
        };
        let manager = Manager::new(self.controllers_client(), config, vec![controller]);
        let (mut ready, grace_limit) = (manager.ready(), manager.grace_limit());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(
            manager.run(async move { stopped.await.unwrap_or(Shutdown::KeepWorkloads) }),
        );
        ready.wait_for(|ready| *ready).await.unwrap();
        self.running = Some((stop, grace_limit, task));
    }

    /// Stops the controllers.
    pub(crate) async fn stop(&mut self, how: Shutdown) {
        let (_grace_limit, ending) = self.begin_stop(how);
        ending.await.unwrap().unwrap();
    }

    /// Begins to stop the controllers; returns how to shorten that, and their task.
    pub(crate) fn begin_stop(&mut self, how: Shutdown) -> (GraceLimit, Ending) {
        let (stop, grace_limit, task) = self.running.take().expect("the controllers run");
        stop.send(how).unwrap();
        (grace_limit, task)
    }

    /// Aborts the controllers, as a kill of the daemon does.
    pub(crate) async fn crash(&mut self) {
        let (_stop, _grace_limit, task) = self.running.take().expect("the controllers run");
        task.abort();
        let _ = task.await;
    }

    /// Stops all VMs and with them the processes of this test.
    pub(crate) async fn end(mut self) {
        if self.running.is_none() {
            self.start_controllers().await;
        }
        self.stop(Shutdown::StopWorkloads { grace: GRACE }).await;
    }

    pub(crate) fn lima_home(&self) -> LimaHome {
        LimaHome::new(self.folder.path().join("l"))
    }

    pub(crate) fn dir(&self, vm: &str) -> PathBuf {
        self.lima_home().root.join(vm)
    }

    pub(crate) fn vms(&self) -> Api<LimaVM> {
        Api::default_namespaced(self.client.clone())
    }

    pub(crate) fn config_maps(&self) -> Api<ConfigMap> {
        Api::default_namespaced(self.client.clone())
    }

    /// A template that works.
    pub(crate) fn template(&self) -> String {
        let image = self.folder.path().join("image.raw");
        format!(
            "images:\n- location: {}\n  arch: x86_64\narch: x86_64\ncpus: 1\ndisk: 2MiB\n",
            image.display()
        )
    }

    pub(crate) async fn put_template(&self, name: &str, text: &str) {
        assert!(self.try_put_template(name, text).await, "{name} is new");
    }

    /// Creates a template ConfigMap unless it exists; returns whether it did.
    async fn try_put_template(&self, name: &str, text: &str) -> bool {
        let map: ConfigMap = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "template": text },
        }))
        .unwrap();
        match self
            .config_maps()
            .create(&PostParams::default(), &map)
            .await
        {
            Ok(_) => true,
            Err(kube::Error::Api(status)) if status.code == 409 => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// Declares a VM from the template that works.
    pub(crate) async fn create(&self, name: &str, running: bool) {
        self.try_put_template("source", &self.template()).await;
        let (api, params) = (self.vms(), PostParams::default());
        let vm = vm(name, running);
        when_not_busy(|| api.create(&params, &vm)).await;
    }

    pub(crate) async fn patch(&self, name: &str, patch: Value) {
        let (api, params) = (self.vms(), PatchParams::default());
        let patch = Patch::Merge(patch);
        when_not_busy(|| api.patch(name, &params, &patch)).await;
    }

    pub(crate) async fn set_running(&self, name: &str, running: bool) {
        self.patch(name, json!({ "spec": { "running": running } }))
            .await;
    }

    pub(crate) async fn get(&self, name: &str) -> LimaVM {
        self.vms().get(name).await.unwrap()
    }

    /// Waits until the VM is as `is` says.
    pub(crate) async fn wait(
        &self,
        name: &str,
        what: &str,
        is: impl Fn(&LimaVM) -> bool,
    ) -> LimaVM {
        let api = self.vms();
        poll_async(LONG, &format!("{name} to be {what}"), async || {
            match api.get(name).await {
                Ok(vm) if is(&vm) => Ok(vm),
                Ok(vm) => Err(serde_json::to_string(&vm.status).unwrap()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await
    }

    pub(crate) async fn wait_reason(&self, name: &str, kind: &str, reason: &str) -> LimaVM {
        self.wait(name, reason, |vm| {
            vm.condition(kind).is_some_and(|c| c.reason == reason)
        })
        .await
    }

    pub(crate) async fn wait_gone(&self, name: &str) {
        let api = self.vms();
        poll_async(LONG, &format!("{name} to be gone"), async || {
            match api.get_opt(name).await.unwrap() {
                None => Ok(()),
                Some(vm) => Err(serde_json::to_string(&vm).unwrap()),
            }
        })
        .await;
    }

    /// Makes the VM's hostagent misbehave (`fake_hostagent.rs`) from now on.
    pub(crate) fn make(&self, vm: &str, behaviour: &str) {
        std::fs::write(self.dir(vm).join(behaviour), "").unwrap();
    }

    /// The same with a text, which is written atomically.
    pub(crate) fn make_with(&self, vm: &str, behaviour: &str, text: &str) {
        let aside = self.dir(vm).join("aside");
        std::fs::write(&aside, text).unwrap();
        std::fs::rename(aside, self.dir(vm).join(behaviour)).unwrap();
    }

    /// Ends a misbehaviour of the VM's hostagent.
    pub(crate) fn heal(&self, vm: &str, behaviour: &str) {
        std::fs::remove_file(self.dir(vm).join(behaviour)).unwrap();
    }

    /// Creates a VM that is stopped, with its files.
    pub(crate) async fn create_stopped(&self, name: &str) {
        self.create(name, false).await;
        self.wait_reason(name, types::RUNNING, reason::STOPPED)
            .await;
    }

    /// Creates a VM whose hostagent misbehaves (`fake_hostagent.rs`), and waits until it hangs.
    pub(crate) async fn create_hanging(&self, name: &str, behaviour: &str) {
        self.create_stopped(name).await;
        // A hostagent that should hang while the VM is up must get there first.
        let later = behaviour == "mute";
        if !later {
            self.make(name, behaviour);
        }
        self.set_running(name, true).await;
        let reached = match behaviour {
            "boots" | "unbound" => reason::STARTING,
            _ => reason::STARTED,
        };
        self.wait_reason(name, types::RUNNING, reached).await;
        poll_async(LONG, "a hostagent", async || {
            holder(self, name).ok_or("the lock is free")
        })
        .await;
        if later {
            self.make(name, behaviour);
        }
    }

    /// Ends every misbehaviour of the VM's hostagent.
    pub(crate) fn heal_all(&self, name: &str) {
        for behaviour in ["no-luck", "unbound", "boots", "deaf", "lingers", "mute"] {
            let _ = std::fs::remove_file(self.dir(name).join(behaviour));
        }
    }

    /// Creates a VM that is up.
    pub(crate) async fn create_up(&self, name: &str) {
        self.create(name, true).await;
        self.wait_reason(name, types::RUNNING, reason::STARTED)
            .await;
    }

    pub(crate) async fn annotate(&self, name: &str, annotation: &str, value: &str) {
        self.patch(
            name,
            json!({ "metadata": { "annotations": { annotation: value } } }),
        )
        .await;
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.vms()
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }

    /// Kills the VM's hostagent, as `kill -9` does.
    pub(crate) fn kill_hostagent(&self, name: &str) {
        let identity = holder(self, name).expect("a hostagent lives");
        if let Some(process) = Process::open(&identity).unwrap() {
            process.signal(Signal::Kill).unwrap();
        }
    }

    /// Waits until the VM has an event for each of these reasons; returns all its events.
    pub(crate) async fn wait_events(&self, name: &str, reasons: &[&str]) -> Vec<Event> {
        let api: Api<Event> = Api::default_namespaced(self.client.clone());
        poll_async(LONG, &format!("events of {name}"), async || {
            let events: Vec<Event> = api
                .list(&ListParams::default())
                .await
                .unwrap()
                .into_iter()
                .filter(|event| event.involved_object.name.as_deref() == Some(name))
                .collect();
            let has = |reason: &&str| events.iter().any(|e| e.reason.as_deref() == Some(*reason));
            if reasons.iter().all(has) {
                Ok(events)
            } else {
                Err(format!(
                    "{:?}",
                    events.iter().map(|e| &e.reason).collect::<Vec<_>>()
                ))
            }
        })
        .await
    }

    /// The number of hostagents that were started for the VM.
    pub(crate) fn starts(&self, name: &str) -> usize {
        std::fs::read_to_string(self.dir(name).join("starts"))
            .unwrap_or_default()
            .lines()
            .count()
    }
}

/// Makes a call, and repeats it while the API server is busy.
async fn when_not_busy<T, F>(call: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, kube::Error>>,
{
    poll_async(LONG, "an answer", async || match call().await {
        Err(kube::Error::Api(status)) if status.code == 429 => Err(status.message),
        other => Ok(other.unwrap()),
    })
    .await
}

/// An API server on an empty database, and a client.
async fn database() -> (Server, Client) {
    let store = IndexedStore::memory(Options::default()).unwrap();
    let mut config = apiserver::Config::new(Arc::new(store));
    config.crds = api::crds()
        .iter()
        .map(|crd| serde_json::to_value(crd).unwrap())
        .collect();
    config.namespaces = vec!["other".into()];
    let server = Server::new(config).await.unwrap();
    let client = Client::new(server.service(User::master("test")), "default");
    (server, client)
}

pub(crate) fn vm(name: &str, running: bool) -> LimaVM {
    serde_json::from_value(json!({
        "apiVersion": "lima.rancherdesktop.io/v1alpha1", "kind": "LimaVM", "metadata": { "name": name },
        "spec": { "templateRef": { "name": "source" }, "running": running },
    }))
    .unwrap()
}

pub(crate) fn condition<'a>(vm: &'a LimaVM, kind: &str) -> &'a Condition {
    vm.condition(kind)
        .unwrap_or_else(|| panic!("{} has no condition {kind}", vm.name_any()))
}

pub(crate) fn status(vm: &LimaVM) -> api::LimaVMStatus {
    vm.status.clone().unwrap_or_default()
}

/// The process that holds the lock of a VM.
pub(crate) fn holder(plane: &Plane, vm: &str) -> Option<process::Identity> {
    match process::lock::holder(&plane.dir(vm).join("ha.lock")).unwrap() {
        process::lock::Holder::Held(info) => info.map(|info| info.identity),
        process::lock::Holder::Free => None,
    }
}
