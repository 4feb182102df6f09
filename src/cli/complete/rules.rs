//! The table of arguments: where the values of each come from.
//!
//! An argument is found by its id or by the name of its value (`NODE`), so that a new one with a known value needs no
//! entry. Fixed values are the parser's.

use clap::Arg;

use super::{Candidate, Request, api, config, files, sources, things, volumes};

/// Where values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Nowhere: a name that does not exist yet, a number.
    Nothing,
    Files,
    AtFile,
    Targets,
    VmTemplates,
    Templates,
    Nodes,
    Storages,
    Pools,
    Vmids,
    Guests,
    Statuses,
    Tags,
    TagList,
    Labels,
    Selector,
    Upids,
    Operations,
    Contexts,
    Hosts,
    Kinds,
    HelpWords,
    Formats,
    Columns,
    Fields,
    Verbs,
    Backends,
    Volumes,
    ConfigKeys,
    ConfigPairs,
    ConfigValue,
    ApiPaths,
    ApiParams,
    ApiMethods,
    Explain,
    Snapshots,
    Backups,
    Things(&'static str),
}

/// The commands that an argument belongs to (their last words; none for all), its id or the name of its value,
/// and its source. The first that fits counts.
const RULES: &[(&str, &str, Source)] = &[
    ("config add-context", "name", Source::Nothing),
    ("config add-context", "node", Source::Nothing),
    ("config add-context", "user", Source::Nothing),
    ("config", "name", Source::Contexts),
    ("", "context", Source::Contexts),
    ("", "expect-context", Source::Contexts),
    ("", "host", Source::Hosts),
    ("", "output", Source::Formats),
    ("", "sort-by", Source::Columns),
    ("", "field-selector", Source::Fields),
    ("", "FILE", Source::Files),
    ("add fs", "source", Source::Files),
    ("", "ssh-key", Source::AtFile),
    ("vm create", "template", Source::VmTemplates),
    ("container create", "template", Source::Templates),
    ("create", "vmid", Source::Nothing),
    ("backup restore", "vmid", Source::Nothing),
    ("", "kind", Source::Kinds),
    ("snapshot create", "snapshot", Source::Nothing),
    ("", "snapshot", Source::Snapshots),
    ("clone", "source", Source::Targets),
    ("cp", "source", Source::Targets),
    ("clone", "vmid", Source::Nothing),
    ("cp", "vmid", Source::Nothing),
    ("resize-disk", "target", Source::Targets),
    ("reassign", "to", Source::Targets),
    ("import-disk", "source", Source::Volumes),
    ("import-disk", "disk", Source::Nothing),
    ("migrate-all", "to", Source::Nodes),
    ("token create", "resource-name", Source::Things("user")),
    ("token create", "token-name", Source::Nothing),
    ("create", "resource-name", Source::Nothing),
    ("update", "resource-name", Source::Targets),
    ("pool", "guests", Source::Vmids),
    ("", "role", Source::Things("role")),
    ("", "user", Source::Things("user")),
    ("", "group", Source::Things("group")),
    ("", "groups", Source::Things("group")),
    ("", "token", Source::Things("token")),
    ("", "owner-group", Source::Things("firewall-group")),
    ("", "owner-set", Source::Things("firewall-ipset")),
    ("", "owner-guest", Source::Guests),
    ("node", "targets", Source::Nodes),
    ("", "node-name", Source::Nodes),
    ("node", "vms", Source::Vmids),
    ("", "BACKUP", Source::Backups),
    ("backup", "guests", Source::Vmids),
    ("backup", "guest", Source::Vmids),
    ("backup create", "targets", Source::Targets),
    ("", "targets", Source::Targets),
    ("", "target", Source::Targets),
    ("", "status", Source::Statuses),
    ("", "node", Source::Nodes),
    ("", "NODE", Source::Nodes),
    ("", "STORAGE", Source::Storages),
    ("", "POOL", Source::Pools),
    ("", "tag", Source::Tags),
    ("create", "tags", Source::TagList),
    ("update", "tags", Source::TagList),
    ("", "TAG", Source::Tags),
    ("", "label", Source::Labels),
    ("", "selector", Source::Selector),
    ("", "UPID", Source::Upids),
    ("operation show", "id", Source::Operations),
    ("", "VMID", Source::Vmids),
    ("help", "words", Source::HelpWords),
    ("", "VERB", Source::Verbs),
    ("", "BACKEND", Source::Backends),
    ("", "disk", Source::Volumes),
    ("", "set", Source::ConfigPairs),
    ("", "unset", Source::ConfigKeys),
    ("api", "path", Source::ApiPaths),
    ("api", "PATH", Source::ApiPaths),
    ("api", "param", Source::ApiParams),
    ("api", "force-param", Source::ApiParams),
    ("explain", "what", Source::Explain),
    ("explain", "method", Source::ApiMethods),
];

/// The source of an argument's values, if the table has one.
pub(super) fn source(path: &[String], arg: &Arg) -> Option<Source> {
    if !arg.get_num_args().is_some_and(|range| range.takes_values()) {
        return None;
    }
    let id = arg.get_id().as_str();
    let names = arg.get_value_names().unwrap_or_default();
    // What the parser has a list of needs no other.
    if arg.get_value_parser().possible_values().is_some() {
        return None;
    }
    let is_here = |place: &str| match place {
        "" => true,
        place => {
            let place: Vec<&str> = place.split(' ').collect();
            path.windows(place.len()).any(|words| words == place)
        }
    };
    let is_it = |name: &str| name == id || names.iter().any(|value| value.as_str() == name);
    let own = || RULES.iter().find(|(place, name, _)| is_here(place) && is_it(name)).map(|(.., source)| *source);
    let of_config = || config::is_key(path, id).then_some(Source::ConfigValue);
    own().or_else(of_config)
}

impl Source {
    /// Everything that could be typed; who asks takes what begins with the word.
    pub(super) async fn candidates(self, request: &Request) -> Vec<Candidate> {
        match self {
            Self::Nothing | Self::Files => Vec::new(),
            Self::AtFile => files::behind_at(request, &request.word).await.unwrap_or_default(),
            Self::Targets => sources::targets(request).await,
            Self::VmTemplates => sources::vm_templates(request).await,
            Self::Templates => volumes::os_templates(request).await,
            Self::Nodes => sources::nodes(request).await,
            Self::Storages => volumes::storages(request, "").await,
            Self::Pools => sources::pools(request).await,
            Self::Guests => things::guests(request).await,
            Self::Vmids => sources::vmids(request).await,
            Self::Statuses => sources::statuses(request).await,
            Self::Tags => sources::tags(request).await,
            Self::TagList => sources::tag_list(request, &request.word).await,
            Self::Labels => sources::labels(request).await,
            Self::Selector => sources::selector(request).await,
            Self::Upids => sources::upids(request).await,
            Self::Operations => sources::operations(request).await,
            Self::Contexts => sources::contexts(request),
            Self::Hosts => sources::hosts(request),
            Self::Kinds => sources::kinds(request),
            Self::HelpWords => sources::help_words(request),
            Self::Formats => sources::formats(),
            Self::Columns => sources::columns(request),
            Self::Fields => sources::fields(request),
            Self::Verbs => sources::verbs(),
            Self::Backends => sources::backends(),
            Self::Volumes => volumes::volumes(request, "images").await,
            Self::ConfigKeys => config::keys(request),
            Self::ConfigPairs => config::pairs(request).await,
            Self::ConfigValue => config::value(request, &request.arg, &request.word).await,
            Self::ApiPaths => api::paths(request).await,
            Self::ApiParams => api::params(request).await,
            Self::ApiMethods => api::methods(request),
            Self::Explain => api::explain(request),
            Self::Things(noun) => things::things(request, noun).await,
            Self::Backups => volumes::backups(request).await,
            Self::Snapshots => api::snapshots(request).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{ArgAction, Command};

    use super::*;

    /// The source of an argument as the parser knows it after it was built.
    fn of(path: &str, arg: Arg) -> Option<Source> {
        let mut command = Command::new("test").arg(arg);
        command.build();
        let path: Vec<String> = path.split(' ').map(str::to_owned).collect();
        command.get_arguments().find(|arg| arg.get_id() != "help").and_then(|arg| source(&path, arg))
    }

    fn option(name: &'static str, value: &'static str) -> Arg {
        Arg::new(name).long(name).value_name(value)
    }

    #[test]
    fn arguments_that_are_made_elsewhere_find_their_source() {
        for (path, arg, wanted) in [
            ("api get", Arg::new("path").value_name("PATH"), Some(Source::ApiPaths)),
            ("api post", option("param", "KEY=VALUE").short('p'), Some(Source::ApiParams)),
            ("explain", Arg::new("what"), Some(Source::Explain)),
            ("vm migrate", option("target-node", "NODE"), Some(Source::Nodes)),
            ("vm list", option("selector", "SELECTOR"), Some(Source::Selector)),
            ("vm update", option("label", "KEY=VALUE"), Some(Source::Labels)),
            ("vm create", option("net[n]", "NET"), Some(Source::ConfigValue)),
            ("vm create", option("net", "NET"), Some(Source::ConfigValue)),
            ("container update", option("rootfs", "VOLUME"), Some(Source::ConfigValue)),
            ("vm start", option("net0", "NET"), None),
            ("vm create", option("nonsense", "WORD"), None),
            ("vm list", Arg::new("node").long("node").action(ArgAction::SetTrue), None),
            ("vm list", option("template", "BOOL").value_parser(["true", "false"]), None),
        ] {
            let name = arg.get_id().to_string();
            assert_eq!(of(path, arg), wanted, "{path} {name}");
        }
    }
}
