//! API paths from their parts, and parameters as the text that goes over the wire.
//!
//! It knows no endpoints: a path starts below `/api2/json`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stays as it is in a value: the unreserved characters of RFC 3986.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A path segment also keeps what makes a UPID readable.
const SEGMENT: &AsciiSet = &VALUE.remove(b':').remove(b'@').remove(b'!');

/// Joins segments to a path, each percent-encoded: `["nodes", "pve1", "storage", "local", "content", "local:iso/d.iso"]`
/// becomes `/nodes/pve1/storage/local/content/local:iso%2Fd.iso`.
pub fn segments<S: AsRef<str>>(parts: &[S]) -> String {
    parts.iter().flat_map(|part| ["/".into(), encode(part.as_ref(), SEGMENT)]).collect()
}

/// Parameters as `a=1&b=2`, for a query and for a form alike. The server splits at `;` too and takes `+` for a space,
/// so both are always encoded.
pub(super) fn form<'a>(params: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (key, value) in params {
        if !text.is_empty() {
            text.push('&');
        }
        text.extend([encode(key, VALUE), "=".into(), encode(value, VALUE)]);
    }
    text
}

/// A value as it stands in a cookie.
pub(super) fn cookie(value: &str) -> String {
    encode(value, VALUE).into_owned()
}

fn encode<'a>(text: &'a str, set: &'static AsciiSet) -> std::borrow::Cow<'a, str> {
    utf8_percent_encode(text, set).into()
}

/// The node a path is about, if it is about one.
pub(super) fn node(path: &str) -> Option<&str> {
    path.strip_prefix("/nodes/")?.split('/').next().filter(|node| !node.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_cannot_leave_its_place() {
        let upid = "UPID:pve1:000003EC:00041609:6B003243:qmstart:100:root@pam!ci:";
        assert_eq!(segments(&["nodes", "pve1", "tasks", upid]), format!("/nodes/pve1/tasks/{upid}"));
        assert_eq!(segments(&["a/b", "c?d#e", "f%2F g", "h;i"]), "/a%2Fb/c%3Fd%23e/f%252F%20g/h%3Bi");
        assert_eq!(segments(&["ä"]), "/%C3%A4");
    }

    #[test]
    fn a_form_survives_a_server_that_splits_at_semicolons() {
        let params = [("tags", "a;b"), ("size", "+1G"), ("description", "x & y = z\n"), ("delete", "")];
        assert_eq!(form(params.into_iter()), "tags=a%3Bb&size=%2B1G&description=x%20%26%20y%20%3D%20z%0A&delete=");
    }

    #[test]
    fn knows_the_node_of_a_path() {
        assert_eq!(node("/nodes/pve1/qemu/100"), Some("pve1"));
        assert_eq!(node("/nodes/pve1"), Some("pve1"));
        assert_eq!(node("/nodes"), None);
        assert_eq!(node("/cluster/resources"), None);
    }

    mod properties {
        use percent_encoding::percent_decode_str;
        use proptest::{collection::vec, prelude::*};

        use super::*;
        use crate::{
            contract::{Arguments, embedded},
            model::{Method, Params},
        };

        proptest! {
            #[test]
            fn parameters_survive_the_form(pairs in vec(("[a-z][a-z0-9_-]{0,8}", any::<String>()), 0..6)) {
                let params: Params = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
                let text = form(params.iter());
                let read: Vec<(String, String)> = url::form_urlencoded::parse(text.as_bytes()).into_owned().collect();
                prop_assert_eq!(&read, &pairs);
                // As the server splits it.
                let decode = |part: &str| percent_decode_str(part).decode_utf8().unwrap().into_owned();
                let split = text.split(['&', ';']).filter_map(|pair| pair.split_once('='));
                let read: Vec<(String, String)> = split.map(|(key, value)| (decode(key), decode(value))).collect();
                prop_assert_eq!(read, pairs);
            }

            /// Whatever stands in a path, the server reads what was meant.
            #[test]
            fn any_segment_survives(node in "[^/]{1,20}", volume in "[^/]{1,20}(/[^/]{1,9}){0,2}") {
                prop_assume!(node != "." && node != ".." && volume.split('/').all(|part| part != "." && part != ".."));
                let path = segments(&["nodes", &node, "storage", "local", "content", &volume]);
                prop_assert!(path.is_ascii());
                let found = embedded().find(Method::Get, &path).unwrap();
                prop_assert_eq!(&found.endpoint.path, "/nodes/{node}/storage/{storage}/content/{volume}");
                let want = Params::new().with("node", &node).with("storage", "local").with("volume", &volume);
                prop_assert_eq!(found.path_params, want);
            }

            /// The same through a template, whose names are taken out of the arguments.
            #[test]
            fn any_value_fills_a_template(node in "[^/]{1,20}", volume in "[^/]{1,20}(/[^/]{1,9}){0,2}") {
                prop_assume!(node != "." && node != ".." && volume.split('/').all(|part| part != "." && part != ".."));
                let template = "/nodes/{node}/storage/{storage}/content/{volume}";
                let given = Params::new().with("node", &node).with("storage", "local").with("volume", &volume);
                let route = embedded().route(Method::Get, template, &mut Arguments::from(given.clone())).unwrap();
                let path = segments(&route.segments().unwrap());
                prop_assert_eq!(embedded().find(Method::Get, &path).unwrap().path_params, given);
            }
        }
    }
}
