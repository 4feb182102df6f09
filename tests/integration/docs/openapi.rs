//! The description of the plain routes is that of the routes.

use super::{must_be, root};

#[test]
fn the_openapi_file_is_that_of_the_routes() {
    let text = serde_json::to_string_pretty(pvectl::serve::openapi()).unwrap();
    must_be(&root().join("docs/reference/openapi.json"), &format!("{text}\n"));
}
