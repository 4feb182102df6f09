//! Checked calls: what goes out, and what does not.

use serde_json::json;

use super::*;
use crate::{
    contract::{Arguments, Contract, embedded},
    model::Params,
};

const CONFIG: &str = "/nodes/{node}/qemu/{vmid}/config";

#[tokio::test]
async fn a_call_goes_out_filled_and_encoded() {
    let server = Server::start(|_, _| ok("null"));
    let change = Arguments::json(json!({
        "node": "pve1", "vmid": 100, "onboot": true, "tags": ["a", "b"], "description": "x & y",
        "net0": {"model": "virtio", "bridge": "vmbr0"},
    }));
    server.client().call(Method::Put, CONFIG, change.unwrap()).await.unwrap();
    let volume = Params::new().with("volume", "local:iso/x.iso");
    let path = "/nodes/pve1/storage/local/content/{volume}";
    server.client().call(Method::Delete, path, volume.with("delay", 5)).await.unwrap();
    let seen = server.seen();
    assert!(seen[0].is("PUT", "/nodes/pve1/qemu/100/config"), "{:?}", seen[0]);
    assert_eq!(seen[0].body, "onboot=1&tags=a%2Cb&description=x%20%26%20y&net0=model%3Dvirtio%2Cbridge%3Dvmbr0");
    assert!(seen[1].is("DELETE", "/nodes/pve1/storage/local/content/local:iso%2Fx.iso?delay=5"), "{:?}", seen[1]);
}

#[tokio::test]
async fn what_is_not_described_so_does_not_go_out() {
    let server = Server::start(|_, _| ok("null"));
    let client = server.client();
    let guest = Params::new().with("node", "pve1").with("vmid", 100);
    for (method, path, params) in [
        (Method::Put, CONFIG, guest.clone().with("memroy", 1)),
        (Method::Put, CONFIG, guest.clone().with("cores", 0)),
        (Method::Put, CONFIG, Params::new()),
        (Method::Delete, CONFIG, guest),
        (Method::Get, "/nosuch", Params::new()),
    ] {
        let error = client.call(method, path, params).await.unwrap_err();
        assert_eq!((error.class(), error.sent()), (Class::Usage, None), "{error}");
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn another_description_has_the_last_word() {
    let server = Server::start(|_, _| ok("null"));
    let script = r#"const apiSchema = [{"path": "/newer", "text": "newer", "leaf": 1, "info": {"GET": {
        "name": "newer", "method": "GET", "returns": {"type": "null"},
        "parameters": {"additionalProperties": 0, "properties": {"size": {"type": "integer"}}}}}}];"#;
    let newer = Arc::new(Contract::from_apidoc(script, embedded()).unwrap());
    let client = Client::builder().endpoint(server.endpoint()).auth(token()).contract(newer).build().unwrap();
    client.call(Method::Get, "/newer", Params::new().with("size", 1)).await.unwrap();
    assert!(client.call(Method::Get, "/newer", Params::new().with("size", "x")).await.is_err());
    assert!(client.call(Method::Get, "/version", Params::new()).await.is_err());
    client.send(&get("/version")).await.unwrap();
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_file_goes_last_with_its_length_and_without_chunks() {
    let server = Server::start(|_, _| ok("\"UPID:pve1:000003E8:018B8211:6B007FEF:imgcopy::root@pam:\""));
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("whatever");
    std::fs::write(&file, "the content\r\nof an image").unwrap();
    let params = Params::new().with("filename", "debian 13.iso").with("content", "iso");
    let call = Call::new(Method::Post, "/nodes/pve1/storage/local/upload").with_params(params).with_file(&file);
    server.client().submit(&call).await.unwrap();
    let seen = server.seen();
    assert!(seen[0].is("POST", "/nodes/pve1/storage/local/upload"), "{:?}", seen[0]);
    assert!(seen[0].header("transfer-encoding").is_none(), "{:?}", seen[0]);
    assert_eq!(seen[0].header("content-length").unwrap(), seen[0].body.len().to_string());
    let boundary = seen[0].header("content-type").unwrap().split_once("boundary=").unwrap().1.to_owned();
    let parts: Vec<&str> = seen[0].body.split(&format!("--{boundary}")).collect();
    assert_eq!(parts.len(), 4, "{}", seen[0].body);
    assert!(parts[1].contains("name=\"content\"") && parts[1].ends_with("\r\n\r\niso\r\n"), "{}", parts[1]);
    assert!(parts[2].contains("name=\"filename\"; filename=\"debian 13.iso\""), "{}", parts[2]);
    assert!(parts[2].ends_with("\r\n\r\nthe content\r\nof an image\r\n"), "{}", parts[2]);
    // What cannot be read is not begun.
    let gone = Call { file: Some(home.path().join("gone")), ..call.clone() };
    let error = server.client().submit(&gone).await.unwrap_err();
    assert_eq!(error.class(), Class::Usage);
    assert!(!error.may_have_happened());
    let folder = Call { file: Some(home.path().into()), ..call };
    assert_eq!(server.client().submit(&folder).await.unwrap_err().class(), Class::Usage);
    assert_eq!(server.seen().len(), 1);
}
