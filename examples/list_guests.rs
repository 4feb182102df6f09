//! Lists the guests of a cluster: of the sandbox, or of a server that is named.
//!
//! ```sh
//! cargo run --example list_guests
//! cargo run --example list_guests -- https://pve1:8006 token-file [FINGERPRINT]
//! ```
//!
//! The token file holds one line, `USER@REALM!NAME=SECRET`. Without a fingerprint the system's authorities vouch for
//! the server's certificate.

#![allow(clippy::print_stdout, reason = "an example talks to people")]

use std::{env, error::Error, fs};

use pvectl::{
    client::{Auth, Client, Endpoint},
    sandbox,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let directory = tempfile::tempdir()?;
    let (_sandbox, client) = match args.as_slice() {
        [] => {
            let sandbox = sandbox::Session::start(&directory.path().join("sandbox.db")).await?;
            let auth = Auth::Token { id: sandbox.token_id().to_owned(), secret: sandbox.secret().clone() };
            let client = Client::builder().endpoint(Endpoint::parse(sandbox.url())?).auth(auth).build()?;
            (Some(sandbox), client)
        }
        [url, token_file, fingerprint @ ..] => {
            let mut endpoint = Endpoint::parse(url)?;
            if let Some(fingerprint) = fingerprint.first() {
                endpoint = endpoint.with_fingerprint(fingerprint.parse()?);
            }
            let token = fs::read_to_string(token_file)?;
            let (id, secret) = token.trim().split_once('=').ok_or("USER@REALM!NAME=SECRET is expected")?;
            let auth = Auth::Token { id: id.to_owned(), secret: secret.into() };
            (None, Client::builder().endpoint(endpoint).auth(auth).build()?)
        }
        _ => return Err("give nothing, or URL TOKEN-FILE [FINGERPRINT]".into()),
    };

    let mut guests = client.guests().await?;
    guests.sort_by_key(|guest| guest.vmid);
    println!("{:>6}  {:<9}  {:<12}  {:<8}  STATUS", "VMID", "KIND", "NAME", "NODE");
    for guest in &guests {
        let (vmid, kind, name, node) = (guest.vmid.get(), guest.kind.noun(), guest.label(), &guest.node);
        println!("{vmid:>6}  {kind:<9}  {name:<12}  {:<8}  {}", node.as_str(), guest.status);
    }
    Ok(())
}
