//! `metric-server`: where the cluster sends figures about its nodes, guests and storages. Tables only.

use crate::{
    cli::{
        print::fields::{Field, How},
        resource::{View, late, verbs},
        verb::{Kind, Of},
    },
    ops::resource,
};

pub(super) const KIND: Kind = Kind {
    noun: "metric-server",
    plural: "metric-servers",
    aliases: &[],
    about: "Metric servers: where the cluster sends its figures (Graphite, InfluxDB, OpenTelemetry)",
    guest: None,
    paths: &["/cluster/metrics/server", "/cluster/metrics/server/{id}"],
    of: Of::Cluster,
    columns: || SERVERS.headings(),
    verbs: || verbs(&SERVERS),
};

static SERVERS: View = View {
    resource: resource("metric-server"),
    columns: &[
        Field::text("NAME", "id"),
        Field::text("TYPE", "type"),
        Field::text("SERVER", "server"),
        Field::new("PORT", "port", How::Number),
        Field::new("DISABLED", "disable", How::Flag),
    ],
    example: "figures",
    making: "--type influxdb --server 192.0.2.20 --port 8089",
    changing: "--disable",
    is_named_by_server: false,
    late: late!(SERVERS),
};
