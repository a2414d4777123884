//! A name belongs to one VM and one folder.

use api::LimaVM;
use api::lima::{condition as types, reason};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use testutils::poll_async;

use crate::support::{LONG, Plane, condition, vm};

async fn in_other(plane: &Plane) -> Api<LimaVM> {
    let api: Api<LimaVM> = Api::namespaced(plane.client.clone(), "other");
    let mut second = vm("vm", true);
    second.spec.template_ref.namespace = Some("default".into());
    api.create(&PostParams::default(), &second).await.unwrap();
    api
}

async fn wait_other(api: &Api<LimaVM>, wanted: &str) -> LimaVM {
    poll_async(LONG, wanted, async || {
        let vm = api.get("vm").await.unwrap();
        match vm.condition(types::CREATED) {
            Some(created) if created.reason == wanted => Ok(vm),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

#[tokio::test]
async fn second_vm_of_a_name_waits_until_the_first_is_gone() {
    let mut plane = Plane::start().await;
    plane.create_up("vm").await;
    let other = in_other(&plane).await;
    let second = wait_other(&other, reason::CREATE_FAILED).await;
    let message = &condition(&second, types::CREATED).message;
    assert!(
        message.contains("already used") && message.contains("unique across all namespaces"),
        "{message}"
    );
    // Also for a controller that sees both at once.
    plane.crash().await;
    plane.start_controllers().await;
    plane
        .wait_reason("vm", types::RUNNING, reason::STARTED)
        .await;
    assert_eq!(plane.starts("vm"), 1);

    plane.delete("vm").await;
    plane.wait_gone("vm").await;
    wait_other(&other, reason::CREATED).await;
    plane.end().await;
}

#[tokio::test]
async fn deleting_the_second_vm_does_no_harm_to_the_first() {
    let plane = Plane::start().await;
    plane.create_up("vm").await;
    let other = in_other(&plane).await;
    wait_other(&other, reason::CREATE_FAILED).await;
    other.delete("vm", &DeleteParams::default()).await.unwrap();
    poll_async(LONG, "the second to be gone", async || {
        match other.get_opt("vm").await.unwrap() {
            None => Ok(()),
            Some(vm) => Err(format!("{:?}", vm.status)),
        }
    })
    .await;
    assert!(crate::support::holder(&plane, "vm").is_some());
    assert!(plane.dir("vm").join("lima.yaml").is_file());
    plane.end().await;
}

#[tokio::test]
async fn folder_of_no_vm_is_left_alone() {
    let plane = Plane::start().await;
    std::fs::create_dir_all(plane.dir("vm")).unwrap();
    std::fs::write(plane.dir("vm").join("valuable"), "data").unwrap();
    plane.create("vm", true).await;
    let vm = plane
        .wait_reason("vm", types::CREATED, reason::CREATE_FAILED)
        .await;
    assert!(
        condition(&vm, types::CREATED)
            .message
            .contains("exists already")
    );
    plane.delete("vm").await;
    plane.wait_gone("vm").await;
    assert!(plane.dir("vm").join("valuable").is_file());
    // Once it is moved away, the VM can be created.
    std::fs::remove_dir_all(plane.dir("vm")).unwrap();
    plane.create("vm", false).await;
    plane
        .wait_reason("vm", types::CREATED, reason::CREATED)
        .await;
    plane.end().await;
}
