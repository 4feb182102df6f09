//! The server's own description of its API, which lies beside the API as a file.
//!
//! Fetching and reading; keeping it for the next time is the caller's.

use super::{Client, auth::Credentials, request::Request, response::Answer};
use crate::{
    contract::{APIDOC_PATH, Contract, embedded},
    model::{Call, Class, Error, Method, Result},
};

impl Client {
    /// The server's own description: prose, and what its version has and the embedded one has not. Some 4 MB on a real
    /// server; no login is needed and none is sent.
    ///
    /// # Errors
    /// [`Class::NotFound`] where the documentation is not installed or not served; [`Class::Failed`] when the file is
    /// something else; and whatever keeps the server from answering.
    pub async fn description(&self) -> Result<Contract> {
        let call = Call::new(Method::Get, APIDOC_PATH);
        let request = Request::file(&call)?;
        let (script, _) = self.0.transport.send(&request, &Credentials::None, Answer::file).await?;
        Contract::from_apidoc(&script, embedded()).map_err(|error| {
            Error::new(Class::Failed, "the server's description of its API cannot be read").with_source(error)
        })
    }
}
