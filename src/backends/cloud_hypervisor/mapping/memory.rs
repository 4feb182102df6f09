//! Processors, memory, and how both lie on the host's nodes.

use super::{
    super::vmm::config::{
        BalloonConfig, CpuAffinity, CpuTopology, CpusConfig, HotplugMethod, MemoryConfig, MemoryZoneConfig, NumaConfig,
    },
    check::{refuse, wrong},
    facts::Facts,
    warnings::Warnings,
};
use crate::model::{
    List, Result,
    config::{QemuConfig, qemu::Hugepages},
};

/// Bytes by which memory grows.
pub(super) const STEP: u64 = 128 << 20;
const MIB: u64 = 1 << 20;

/// Proxmox's word for a part of the machine that may change while it runs.
pub(super) fn may_hotplug(config: &QemuConfig, what: &str) -> Result<bool> {
    let wished = config.hotplug()?.unwrap_or_else(|| List::from("1"));
    let usual = wished.contains("1") && matches!(what, "network" | "disk" | "usb");
    Ok(usual || wished.contains(what))
}

/// The numbers in `0-3,8`; lists in property strings have semicolons.
fn ranges(key: &str, text: &str) -> Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for part in List::from(text).iter() {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (Ok(from), Ok(to)) = (from.trim().parse::<u64>(), to.trim().parse::<u64>()) else {
            return Err(wrong(key, format!("`{part}` is no number and no range such as 0-3")));
        };
        if from > to || to > 8191 {
            return Err(wrong(key, format!("`{part}` is no range of processors")));
        }
        numbers.extend(from..=to);
    }
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

/// How many processors there are at start and at most.
pub(super) fn vcpus(config: &QemuConfig, facts: &Facts) -> Result<(u32, u32)> {
    let (cores, sockets) = (config.cores()?.unwrap_or(1), config.sockets()?.unwrap_or(1));
    let max = cores.saturating_mul(sockets);
    if cores == 0 || sockets == 0 {
        return Err(wrong("cores", "a machine has at least one processor"));
    }
    if max > facts.host_cpus {
        let host = facts.host_cpus;
        return Err(wrong("cores", format!("{sockets} × {cores} is {max} processors, and this host has {host}")));
    }
    let boot = config.vcpus()?.filter(|vcpus| *vcpus > 0).unwrap_or(max);
    if boot > max {
        return Err(wrong("vcpus", format!("{boot} is more than the {max} that sockets × cores allow")));
    }
    // The host has fewer than that.
    Ok((boot.try_into().unwrap_or(u32::MAX), max.try_into().unwrap_or(u32::MAX)))
}

/// Processors.
pub(super) fn cpus(config: &QemuConfig, facts: &Facts, warnings: &mut Warnings) -> Result<CpusConfig> {
    let (boot_vcpus, max_vcpus) = vcpus(config, facts)?;
    let packages = u16::try_from(config.sockets()?.unwrap_or(1)).unwrap_or(u16::MAX);
    let mut cpus = CpusConfig {
        boot_vcpus,
        max_vcpus,
        topology: Some(CpuTopology {
            threads_per_core: 1,
            cores_per_die: u16::try_from(config.cores()?.unwrap_or(1)).unwrap_or(u16::MAX),
            dies_per_package: 1,
            packages,
            ..CpuTopology::default()
        }),
        ..CpusConfig::default()
    };
    if let Some(ostype) = config.ostype()? {
        match ostype.as_str() {
            "l26" | "other" => {}
            windows if windows.starts_with('w') => cpus.kvm_hyperv = Some(true),
            _ => warnings.say("ostype", "no effect, guests other than Linux and Windows have no settings of their own"),
        }
    }
    if let Some(affinity) = config.affinity()? {
        let host_cpus = ranges("affinity", &affinity)?;
        if let Some(missing) = host_cpus.iter().find(|cpu| **cpu >= facts.host_cpus) {
            return Err(wrong("affinity", format!("this host has no processor {missing}, it has {}", facts.host_cpus)));
        }
        cpus.affinity = (0..max_vcpus)
            .map(|vcpu| CpuAffinity { vcpu, host_cpus: host_cpus.clone(), ..CpuAffinity::default() })
            .collect();
    }
    model(config, &mut cpus, warnings)?;
    Ok(cpus)
}

/// What processor the guest sees: the host's, always.
fn model(config: &QemuConfig, cpus: &mut CpusConfig, warnings: &mut Warnings) -> Result<()> {
    let Some(cpu) = config.cpu()? else { return Ok(()) };
    match cpu.cputype()?.as_deref() {
        None | Some("host" | "max") => {}
        Some(plain) if plain.starts_with("x86-64-v") || matches!(plain, "kvm64" | "qemu64") => {
            warnings.say("cpu", format!("the guest sees the host's processor, which is more than {plain}"));
        }
        Some(other) => {
            return Err(refuse(&format!("cpu={other}"), "the guest sees the host's processor", "use cpu=host"));
        }
    }
    for flag in cpu.flags()?.unwrap_or_default().iter() {
        match flag {
            "+vmx" | "+svm" | "+nested-virt" => cpus.nested = Some(true),
            "-vmx" | "-svm" | "-nested-virt" => cpus.nested = Some(false),
            other => {
                let what = format!("cpu flags={other}");
                let instead = "leave it out; only vmx, svm and nested-virt can be turned on and off";
                return Err(refuse(&what, "the guest sees the host's processor", instead));
            }
        }
    }
    if let Some(bits) = cpu.phys_bits()?.filter(|bits| bits != "host") {
        let bits = bits.parse().ok().filter(|bits| (32..=52).contains(bits));
        cpus.max_phys_bits =
            Some(bits.ok_or_else(|| wrong("cpu", "phys-bits is no number from 32 to 52 and not `host`"))?);
    }
    Ok(())
}

/// Memory in bytes as it is configured, and as it is given: rounded up to what the VMM can do.
pub(super) fn memory_size(config: &QemuConfig) -> Result<(u64, u64)> {
    let asked = config.memory()?.unwrap_or(512);
    if !(16..=1 << 32).contains(&asked) {
        return Err(wrong("memory", format!("{asked} MiB is not possible: at least 16 are needed")));
    }
    let bytes = asked * MIB;
    let page = page_size(config)?.unwrap_or(MIB);
    let step = if may_hotplug(config, "memory")? { page.max(STEP) } else { page };
    Ok((bytes, bytes.next_multiple_of(step)))
}

/// Bytes of a huge page, if there are any; 2 MiB where the host chooses.
fn page_size(config: &QemuConfig) -> Result<Option<u64>> {
    Ok(config.hugepages()?.map(|pages| if pages == Hugepages::V1024 { 1 << 30 } else { 2 * MIB }))
}

/// Memory and NUMA nodes. `shared`: another process maps it too.
pub(super) fn memory(
    config: &QemuConfig,
    facts: &Facts,
    shared: bool,
    warnings: &mut Warnings,
) -> Result<(MemoryConfig, Vec<NumaConfig>)> {
    let (asked, size) = memory_size(config)?;
    let hugepages = config.hugepages()?;
    // What is mapped by others cannot be merged, and huge pages are not looked at.
    let mergeable = config.allow_ksm()?.unwrap_or(true) && !shared && hugepages.is_none();
    if config.allow_ksm()? == Some(true) && !mergeable {
        warnings.say("allow-ksm", "no effect on huge pages, nor on memory that virtiofs shares");
    }
    let on = |wanted: bool| wanted.then_some(true);
    let whole = MemoryZoneConfig {
        size,
        shared: on(shared),
        mergeable: on(mergeable),
        hugepages: on(hugepages.is_some()),
        hugepage_size: match hugepages {
            Some(Hugepages::Any) | None => None,
            Some(_) => page_size(config)?,
        },
        ..MemoryZoneConfig::default()
    };
    let nodes = nodes(config, facts, &whole, warnings)?;
    if !nodes.is_empty() {
        if may_hotplug(config, "memory")? {
            warnings.say("hotplug", "memory cannot change while the machine runs, for it lies on several NUMA nodes");
        }
        let (zones, numa) = nodes.into_iter().unzip();
        return Ok((MemoryConfig { zones, ..MemoryConfig::default() }, numa));
    }
    if size > asked {
        let (asked, size) = (asked / MIB, size / MIB);
        let text = format!("{asked} MiB is rounded up to {size} MiB, what huge pages or growing need");
        warnings.say("memory", text);
    }
    let room = facts.memory_limit.saturating_sub(size) / STEP * STEP;
    let hotplug_size = Some(room).filter(|room| *room > 0);
    let hotplug_size = if may_hotplug(config, "memory")? { hotplug_size } else { None };
    let memory = MemoryConfig {
        size,
        shared: whole.shared,
        mergeable: whole.mergeable,
        hugepages: whole.hugepages,
        hugepage_size: whole.hugepage_size,
        hotplug_method: hotplug_size.map(|_| HotplugMethod::VirtioMem),
        hotplug_size,
        ..MemoryConfig::default()
    };
    Ok((memory, Vec::new()))
}

type NodesOfMemory = Vec<(MemoryZoneConfig, NumaConfig)>;

/// The guest's nodes; none where there would be one that says nothing.
fn nodes(
    config: &QemuConfig,
    facts: &Facts,
    whole: &MemoryZoneConfig,
    warnings: &mut Warnings,
) -> Result<NodesOfMemory> {
    let said: Vec<_> = config.numa_nodes().collect::<Result<_>>()?;
    if !config.numa()?.unwrap_or(false) {
        for (n, _) in said {
            warnings.say(&format!("numa{n}"), "no effect without numa=1");
        }
        return Ok(Vec::new());
    }
    let (_, max) = vcpus(config, facts)?;
    let node = |n: u32, size: u64, host: Option<u32>, cpus: Vec<u32>| {
        let id = format!("mem{n}");
        let numa = NumaConfig { guest_numa_id: n, cpus, memory_zones: vec![id.clone()], ..NumaConfig::default() };
        (MemoryZoneConfig { id, size, host_numa_node: host, ..whole.clone() }, numa)
    };
    if said.is_empty() {
        // As Proxmox does: a node for each socket.
        let sockets = u32::try_from(config.sockets()?.unwrap_or(1)).unwrap_or(1);
        if sockets == 1 {
            return Ok(Vec::new());
        }
        let (page, cores) = (page_size(config)?.unwrap_or(MIB), max / sockets);
        let share = (whole.size / u64::from(sockets)).next_multiple_of(page);
        let sum = share * u64::from(sockets);
        if sum != whole.size {
            warnings.say("memory", format!("rounded up to {} MiB, the same for each socket", sum / MIB));
        }
        return Ok((0..sockets).map(|n| node(n, share, None, (n * cores..(n + 1) * cores).collect())).collect());
    }
    let mut found = Vec::new();
    for (n, wished) in said {
        let key = format!("numa{n}");
        let cpus = ranges(&key, wished.text("cpus").unwrap_or_default())?;
        if let Some(missing) = cpus.iter().find(|cpu| **cpu >= u64::from(max)) {
            return Err(wrong(&key, format!("the machine has no processor {missing}, it has {max}")));
        }
        let size = wished.memory()?.unwrap_or(0.0).max(0.0) as u64 * MIB;
        let page = page_size(config)?.unwrap_or(MIB);
        if size == 0 || !size.is_multiple_of(page) {
            return Err(wrong(&key, format!("memory has to be a multiple of {} MiB", page / MIB)));
        }
        let hosts = ranges(&key, wished.text("hostnodes").unwrap_or_default())?;
        let host = match hosts.as_slice() {
            [] => None,
            [one] => Some(u32::try_from(*one).unwrap_or(u32::MAX)),
            _ => {
                let why = "memory is bound to one node of the host, or to none";
                return Err(refuse(&format!("{key} hostnodes"), why, "name one node, or make a numa[n] for each"));
            }
        };
        let cpus = cpus.into_iter().filter_map(|cpu| u32::try_from(cpu).ok()).collect();
        found.push(node(n.into(), size, host, cpus));
    }
    let sum: u64 = found.iter().map(|(zone, _)| zone.size).sum();
    let asked = memory_size(config)?.0;
    if sum != asked {
        let why = format!("memory of all nodes is {} MiB, and the machine's is {} MiB", sum / MIB, asked / MIB);
        return Err(wrong("numa", why));
    }
    Ok(found)
}

/// The balloon, empty at start.
pub(super) fn balloon(config: &QemuConfig, warnings: &mut Warnings) -> Result<Option<BalloonConfig>> {
    let (memory, least) = (config.memory()?.unwrap_or(512), config.balloon()?);
    match least {
        Some(0) => return Ok(None),
        Some(least) if least > memory => {
            return Err(wrong("balloon", format!("{least} MiB is more than the memory, {memory} MiB")));
        }
        Some(least) if least < memory => {
            warnings.say("balloon", "memory is taken back when it is set on a running machine, not by itself");
        }
        _ => {}
    }
    Ok(Some(BalloonConfig {
        size: 0,
        deflate_on_oom: Some(true),
        free_page_reporting: Some(true),
        id: Some("balloon0".to_owned()),
        ..BalloonConfig::default()
    }))
}
