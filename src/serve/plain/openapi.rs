//! The description of the plain routes as OpenAPI 3.1, from the table of routes and the schemas below.

use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use super::{ROOT, act::PATIENCE, table::TABLE};
use crate::serve::{
    exec::{LONGEST_TIMEOUT, TIMEOUT},
    plans::MOST,
};

/// The reasons of the statuses.
const REASONS: &[(u16, &str)] = &[
    (200, "It is so"),
    (201, "It was made"),
    (400, "The request makes no sense, the name is invalid or taken, or the VM is in no state for it"),
    (401, "No valid token or certificate"),
    (403, "A privilege is missing"),
    (404, "There is no such thing"),
    (408, "The body did not come in time"),
    (409, "The key is that of another plan"),
    (413, "The body is too large"),
    (415, "The body is not JSON"),
    (500, "It was not done: the VMM or this host failed"),
];

/// What every route with a token may answer.
const ALWAYS: [u16; 1] = [401];

/// What every route with a body may answer, beside that.
const WITH_BODY: [u16; 3] = [408, 413, 415];

/// The schemas, each with an example that tests hold against the code.
fn schemas() -> Value {
    let text = || json!({"type": "string"});
    let maybe = |kind: &str| json!({"type": [kind, "null"]});
    let whole = || json!({"type": "integer"});
    let bytes = || json!({"type": ["string", "null"], "contentEncoding": "base64", "description": "All of it, where it is no UTF-8"});
    let csr = || json!({"type": "string", "description": "A certificate signing request (PKCS #10) as PEM"});
    json!({
        "Error": {"type": "object", "required": ["error"], "properties": {"error": text()}},
        "Message": {"type": "object", "required": ["message"], "properties": {"message": text()}},
        "Vm": {
            "type": "object",
            "required": ["name", "status", "ip", "cpus", "memory_mb", "pid", "vmid"],
            "properties": {
                "name": text(), "status": text(), "ip": maybe("string"), "cpus": whole(), "memory_mb": whole(),
                "pid": maybe("integer"), "vmid": whole(),
            },
        },
        "Vms": {"type": "array", "items": {"$ref": "#/components/schemas/Vm"}},
        "NewVm": {
            "type": "object", "required": ["name"], "additionalProperties": false,
            "properties": {
                "name": text(), "cpus": whole(), "memory_mb": whole(), "disk_gb": whole(),
                "config": {"type": "object", "description": "Any of the keys of Proxmox VE, by its names"},
                "start": {"type": "boolean", "default": false},
            },
            "example": {"name": "web", "cpus": 2, "memory_mb": 1024, "disk_gb": 8, "config": {"onboot": true}, "start": true},
        },
        "Restart": {
            "type": "object", "additionalProperties": false,
            "properties": {
                "timeout": {"type": "integer", "default": PATIENCE, "description": "Seconds until its power is cut"},
                "force": {"type": "boolean", "default": false, "description": "Cut its power at once"},
            },
            "example": {"timeout": 60, "force": false},
        },
        "Rename": {
            "type": "object", "required": ["name"], "additionalProperties": false, "properties": {"name": text()},
            "example": {"name": "production"},
        },
        "Copy": {
            "type": "object", "additionalProperties": false,
            "properties": {"name": text(), "start": {"type": "boolean", "default": true}},
            "example": {"name": "web-2", "start": false},
        },
        "Exec": {
            "type": "object", "additionalProperties": false,
            "properties": {
                "args": {"type": "array", "items": text()},
                "timeout": {"type": "integer", "default": TIMEOUT, "minimum": 1, "maximum": LONGEST_TIMEOUT},
            },
            "example": {"args": ["--all"], "timeout": 10},
        },
        "Ran": {
            "type": "object",
            "required": [
                "exit_code", "signal", "timed_out", "stdout", "stdout_base64", "stderr", "stderr_base64", "truncated", "duration_ms",
            ],
            "properties": {
                "exit_code": maybe("integer"), "signal": maybe("integer"), "timed_out": {"type": "boolean"},
                "stdout": text(), "stdout_base64": bytes(), "stderr": text(), "stderr_base64": bytes(),
                "truncated": {"type": "boolean"}, "duration_ms": whole(),
            },
        },
        "NewPlan": {
            "type": "object", "required": ["actions"], "additionalProperties": false,
            "properties": {
                "key": {"type": "string", "description": "Also as the header Idempotency-Key"},
                "on_error": {"enum": ["stop", "carry-on"], "default": "stop"},
                "actions": {"type": "array", "minItems": 1, "maxItems": MOST, "items": action_schema()},
            },
            "example": {"key": "2026-11-30", "on_error": "carry-on", "actions": [{"action": "START", "name": "web"}]},
        },
        "Plan": {
            "type": "object",
            "required": ["id", "key", "user", "request", "on_error", "status", "created", "ended", "actions"],
            "properties": {
                "id": whole(), "key": maybe("string"), "user": text(), "request": text(),
                "on_error": {"enum": ["stop", "carry-on"]},
                "status": {"enum": ["waiting", "running", "ok", "failed", "unknown"]},
                "created": text(), "ended": maybe("string"),
                "actions": {"type": "array", "items": {
                    "type": "object",
                    "required": ["number", "action", "status", "vmid", "upid", "result", "error", "started", "ended"],
                    "properties": {
                        "number": whole(), "action": {"type": "object"},
                        "status": {"enum": ["waiting", "running", "ok", "failed", "skipped", "unknown"]},
                        "vmid": maybe("integer"), "upid": maybe("string"), "result": {}, "error": maybe("string"),
                        "started": maybe("string"), "ended": maybe("string"),
                    },
                }},
            },
        },
        "Plans": {"type": "array", "items": {"$ref": "#/components/schemas/Plan"}},
        "Heartbeat": {
            "type": "object", "required": ["to", "time", "status", "http_status", "error"],
            "properties": {
                "to": text(), "time": text(), "status": {"enum": ["ok", "failed"]}, "http_status": maybe("integer"),
                "error": maybe("string"),
            },
        },
        "Host": {
            "type": "object",
            "required": ["node", "version", "cpus", "memory", "memory_used", "uptime", "storages", "vms", "commands",
                         "reports_to", "heartbeat", "facts"],
            "properties": {
                "node": text(), "version": text(), "cpus": maybe("integer"), "memory": maybe("integer"),
                "memory_used": maybe("integer"), "uptime": maybe("integer"),
                "storages": {"type": "array", "items": {"type": "object"}},
                "vms": {"type": "object", "description": "How many VMs are in which state"},
                "commands": {"type": "array", "items": text()},
                "reports_to": {"type": ["string", "null"], "description": "Where heartbeats go"},
                "heartbeat": {"anyOf": [{"$ref": "#/components/schemas/Heartbeat"}, {"type": "null"}]},
                "facts": {"type": "array", "items": {"$ref": "#/components/schemas/Fact"}},
            },
        },
        "Queue": {"type": "array", "items": {
            "type": "object",
            "required": ["id", "vmid", "params", "user", "added", "status", "error", "upid"],
            "properties": {
                "id": whole(), "vmid": whole(), "params": {"type": "object"}, "user": text(), "added": text(),
                "status": {"enum": ["waiting", "applying", "failed"]}, "error": maybe("string"), "upid": text(),
            },
        }},
        "NewQueued": {
            "type": "object", "required": ["vmid", "params"], "additionalProperties": false,
            "properties": {
                "vmid": whole(),
                "params": {"type": "object", "description": "What is to be set, as for PUT /nodes/{node}/qemu/{vmid}/config"},
            },
            "example": {"vmid": 100, "params": {"virtio1": "local:8"}},
        },
        "Queued": {
            "type": "object", "required": ["upid"],
            "properties": {"upid": {"type": "string", "description": "The task that ends when it was done or cancelled"}},
        },
        "Fact": {
            "type": "object", "required": ["name", "status", "seen", "value", "mend"],
            "properties": {
                "name": text(), "status": {"enum": ["ok", "warn", "missing", "failed", "skipped"]}, "seen": text(),
                "value": {}, "mend": maybe("string"),
            },
        },
        "Me": {
            "type": "object", "required": ["user", "token", "method", "serial", "expires", "server", "time"],
            "properties": {
                "user": text(), "token": maybe("string"), "method": {"enum": ["token", "ticket", "certificate"]},
                "serial": maybe("string"), "expires": maybe("string"),
                "server": {
                    "type": "object", "required": ["name", "version"], "properties": {"name": text(), "version": text()},
                },
                "time": text(),
            },
        },
        "Enroll": {
            "type": "object", "required": ["token", "csr"], "additionalProperties": false,
            "properties": {"token": text(), "csr": csr()},
            "example": {"token": "1f0a…", "csr": "-----BEGIN CERTIFICATE REQUEST-----…"},
        },
        "Renew": {
            "type": "object", "required": ["csr"], "additionalProperties": false, "properties": {"csr": csr()},
            "example": {"csr": "-----BEGIN CERTIFICATE REQUEST-----…"},
        },
        "Enrolled": {
            "type": "object", "required": ["user", "serial", "expires", "certificate", "fingerprint"],
            "properties": {
                "user": text(), "serial": text(), "expires": text(),
                "certificate": {"type": "string", "description": "The certificate and its authority's, as PEM"},
                "fingerprint": {"type": "string", "description": "The SHA-256 of the server's own certificate"},
            },
        },
        "Metrics": text(),
        "OpenApi": {"type": "object"},
    })
}

/// What the actions of a plan are.
fn action_schema() -> Value {
    let of = |action: &[&str], more: Value, required: &[&str]| {
        let mut properties = Map::from_iter([("action".to_owned(), json!({"enum": action}))]);
        properties.extend(more.as_object().cloned().unwrap_or_default());
        let required: Vec<&str> = ["action"].into_iter().chain(required.iter().copied()).collect();
        json!({"type": "object", "required": required, "properties": properties})
    };
    let (name, text) = (json!({"name": {"type": "string"}}), json!({"type": "string"}));
    json!({"oneOf": [
        of(&["START", "STOP", "PAUSE", "RESUME", "DELETE"], name, &["name"]),
        of(&["SNAPSHOT"], json!({"name": text, "snapshot": text}), &["name", "snapshot"]),
        of(&["EXECUTE"], json!({"command": text, "args": {"type": "array", "items": text}, "timeout": {"type": "integer"}}),
            &["command"]),
        {"allOf": [{"type": "object", "required": ["action"], "properties": {"action": {"const": "CREATE"}}}],
         "description": "CREATE, with what a new VM has; START it with an action of its own"},
    ]})
}

/// The description.
pub fn openapi() -> &'static Value {
    static MADE: OnceLock<Value> = OnceLock::new();
    MADE.get_or_init(make)
}

fn make() -> Value {
    let reason = |status: u16| REASONS.iter().find(|(known, _)| *known == status).map_or("", |(_, reason)| *reason);
    let content = |schema: &str| {
        let kind = if schema == "Metrics" { "text/plain" } else { "application/json" };
        json!({kind: {"schema": {"$ref": format!("#/components/schemas/{schema}")}}})
    };
    let mut paths = Map::new();
    for route in TABLE {
        let mut answers = Map::new();
        let (good, schema) = route.good;
        for status in good {
            answers.insert(status.to_string(), json!({"description": reason(*status), "content": content(schema)}));
        }
        let always = ALWAYS.iter().filter(|_| !route.is_open);
        let with_body = WITH_BODY.iter().filter(|_| route.body.is_some());
        let mut bad: Vec<u16> = route.bad.iter().chain(always).chain(with_body).copied().collect();
        bad.sort_unstable();
        bad.dedup();
        for status in bad {
            answers.insert(status.to_string(), json!({"description": reason(status), "content": content("Error")}));
        }
        let vars = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let in_path =
            vars.map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
        let in_query = route.query.iter();
        let in_query = in_query.map(|name| json!({"name": name, "in": "query", "schema": {"type": "boolean"}}));
        let mut told = json!({"summary": route.summary, "responses": answers});
        let params: Vec<Value> = in_path.chain(in_query).collect();
        if !params.is_empty() {
            told["parameters"] = params.into();
        }
        if let Some((schema, required)) = route.body {
            told["requestBody"] = json!({"required": required, "content": content(schema)});
        }
        if route.is_open {
            told["security"] = json!([]);
        }
        let path = paths.entry(format!("{ROOT}{}", route.path)).or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = told;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "pvectl serve: plain routes",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The VMs of a host with Cloud Hypervisor, by name. Beside these routes it answers the API of Proxmox VE at /api2/json.",
        },
        "security": [{"token": []}, {"certificate": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {
                "type": "http", "scheme": "bearer", "description": "An API token: USER@REALM!NAME=SECRET",
            }, "certificate": {
                "type": "mutualTLS", "description": "A client certificate, from /api/enroll",
            }},
            "schemas": schemas(),
        },
    })
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::{
        super::{
            NewVm,
            beyond::{Exec, NewQueued},
        },
        *,
    };
    use crate::serve::plans::NewPlan;

    #[test]
    fn every_status_and_schema_is_there() {
        let all = openapi();
        let schemas = all["components"]["schemas"].as_object().unwrap();
        for route in TABLE {
            let told = &all["paths"][format!("{ROOT}{}", route.path)][route.method.as_str().to_lowercase()];
            for (status, answer) in told["responses"].as_object().unwrap() {
                assert_ne!(answer["description"], "", "{} {status}", route.path);
            }
            let body = route.body.map(|(schema, _)| schema);
            for schema in body.into_iter().chain([route.good.1]) {
                assert!(schemas.contains_key(schema), "{schema}");
            }
        }
    }

    /// The example of a body is read, has every key that the schema has, and nothing else can be said.
    fn holds<T: DeserializeOwned>(name: &str) {
        let schema = &openapi()["components"]["schemas"][name];
        let example = schema["example"].clone();
        let keys = |of: &Value| of.as_object().unwrap().keys().cloned().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(keys(&example), keys(&schema["properties"]), "{name}");
        assert!(serde_json::from_value::<T>(example.clone()).is_ok(), "{name}");
        let mut more = example;
        more["nonsense"] = 1.into();
        assert!(serde_json::from_value::<T>(more).is_err(), "{name}");
        let required = schema.get("required").and_then(Value::as_array).is_some();
        assert_eq!(serde_json::from_value::<T>(json!({})).is_err(), required, "{name}");
    }

    #[test]
    fn bodies_are_what_is_described() {
        holds::<NewVm>("NewVm");
        holds::<Exec>("Exec");
        holds::<NewQueued>("NewQueued");
        holds::<NewPlan>("NewPlan");
        holds::<super::super::act::Restart>("Restart");
        holds::<super::super::act::Rename>("Rename");
        holds::<super::super::act::Copy>("Copy");
        holds::<super::super::enroll::Enroll>("Enroll");
        holds::<super::super::enroll::Renew>("Renew");
    }
}
