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
