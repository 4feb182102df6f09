//! The systemd unit of a served host, as text: who installs it may read it before.
//!
//! It shuts in what pvectl and the VMs that it starts have no use for. VMs inherit all of it, so nothing is taken that a VM
//! may need: devices, network, control groups, namespaces, files anywhere.

use std::time::Duration;

use clap::{ArgMatches, parser::ValueSource};

use crate::{
    backends::cloud_hypervisor::host::units::{environment_lines, quoted},
    cli::{
        cx::{Cx, flag},
        local::{self, Service},
        verb::Exit,
    },
    model::Result,
};

/// How often a server that is well says so: one that did not for so long is started anew.
const WATCHDOG: Duration = Duration::from_secs(60);

/// The flags that go into the unit; those that name files first.
const FILES: &[&str] = &["tls-cert", "tls-key"];
const VALUES: &[&str] = &[
    "listen",
    "rate-limit",
    "stop-timeout",
    "log-format",
    "log-level",
    "metrics-addr",
    "allow-exec",
    "report-to",
    "report-every",
];
const SWITCHES: &[&str] = &["no-tls", "no-onboot"];

/// What root's service does without.
const SHUT_IN: &str = "\
NoNewPrivileges=yes
# VMs may have disks anywhere, but not in these; units of VMs with onboot=1 are made in the last.
ProtectSystem=full
ReadWritePaths=-/etc/systemd/system
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectHostname=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
CapabilityBoundingSet=~CAP_SYS_MODULE CAP_SYS_BOOT CAP_SYS_TIME CAP_SYSLOG CAP_WAKE_ALARM CAP_MAC_ADMIN CAP_MAC_OVERRIDE
";

/// Prints the unit.
pub(super) fn print(cx: &Cx, matches: &ArgMatches, limit: Duration) -> Result<Exit> {
    let service = local::service(cx)?;
    let text = unit(&service, &arguments(matches)?, limit);
    cx.ui.data(|out| out.write_all(text.as_bytes()))?;
    Ok(0)
}

/// The flags that were given, as they are typed; files by their whole paths.
fn arguments(matches: &ArgMatches) -> Result<Vec<String>> {
    let mut words = Vec::new();
    for name in FILES.iter().chain(VALUES) {
        if matches.value_source(name) != Some(ValueSource::CommandLine) {
            continue;
        }
        for value in matches.get_raw(name).into_iter().flatten() {
            let whole = FILES.contains(name).then(|| std::path::absolute(value).ok()).flatten();
            let value = whole.map_or_else(|| value.to_string_lossy().into_owned(), |path| path.display().to_string());
            words.extend([format!("--{name}"), value]);
        }
    }
    words.extend(SWITCHES.iter().filter(|name| flag(matches, name)).map(|name| format!("--{name}")));
    Ok(words)
}

fn unit(service: &Service, arguments: &[String], limit: Duration) -> String {
    let environment = environment_lines(&service.environment);
    let words: String = arguments.iter().map(|word| format!(" {}", quoted(word))).collect();
    let program = quoted(&service.executable.to_string_lossy());
    // VMs with onboot=1 are started by their own unit where there is one, and then not again.
    let (order, shut_in, wanted) = match service.user {
        true => ("After=pvectl-guests.service\n", "NoNewPrivileges=yes\n", "default.target"),
        false => (
            "Wants=network-online.target\nAfter=network-online.target local-fs.target pvectl-guests.service\n",
            SHUT_IN,
            "multi-user.target",
        ),
    };
    let (watchdog, stop) = (WATCHDOG.as_secs(), limit.as_secs() + 15);
    format!(
        "# Made by `pvectl serve --print-unit`.\n\
         [Unit]\n\
         Description=Virtual machines of this host, served by pvectl\n\
         {order}\n\
         [Service]\n\
         Type=notify\n\
         NotifyAccess=main\n\
         {environment}\
         ExecStart={program} serve{words}\n\
         Restart=on-failure\n\
         RestartSec=2\n\
         WatchdogSec={watchdog}\n\
         TimeoutStopSec={stop}\n\
         # VMs go on when the server ends.\n\
         KillMode=process\n\
         LimitNOFILE=65536\n\
         UMask=0077\n\
         {shut_in}\n\
         [Install]\n\
         WantedBy={wanted}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_special_to_systemd_is_quoted() {
        let service = Service {
            user: false,
            executable: "/opt/a b/pvectl".into(),
            environment: vec![("HOME".to_owned(), "/100%".to_owned())],
        };
        let text = unit(&service, &["--listen".into(), "0.0.0.0:1".into()], Duration::from_secs(60));
        assert!(text.contains("ExecStart=\"/opt/a b/pvectl\" serve \"--listen\" \"0.0.0.0:1\"\n"), "{text}");
        assert!(text.contains("Environment=\"HOME=/100%%\"\n"), "{text}");
        assert!(text.contains("KillMode=process\n") && text.contains("TimeoutStopSec=75\n"), "{text}");
        let user = unit(&Service { user: true, ..service }, &[], Duration::ZERO);
        assert!(user.contains("WantedBy=default.target") && !user.contains("ProtectSystem"), "{user}");
    }
}
