//! One list of scenarios for the stand-in VMM and, where it and KVM are there, for the real one.
//!
//! Where the two differ the stand-in is wrong. What only the stand-in can be told to do (hang, die) follows after.

pub(crate) mod kernel;
mod setup;

use std::{
    fs::{self, File},
    os::unix::{net::UnixListener, process::ExitStatusExt},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use command_fds::{CommandFdExt, FdMapping};
use pvectl::{
    backends::cloud_hypervisor::{
        host::facts::can_confine,
        vmm::{
            BODY_LIMIT, Needs, Resize, Result, State, Verb, Vmm, Why,
            config::{DiskConfig, ImageType, LandlockConfig, NetConfig, VmConfig, VsockConfig},
            events::{self, EventFile, Last},
        },
    },
    model::{self, Class},
};

use crate::harness::eventually;

use self::setup::{MIB, Running, SOON, programs, stand_in};

fn why<T: std::fmt::Debug>(result: Result<T>) -> Why {
    result.unwrap_err().why
}

#[tokio::test]
async fn the_power_of_a_machine() {
    for program in programs() {
        let mut running = Running::new(&program).await;
        let vmm = &running.vmm;
        let ping = vmm.ping(SOON).await.unwrap();
        assert_eq!((ping.major(), ping.pid), (Some(53), running.child.id()));
        assert_eq!(why(vmm.info(SOON).await), Why::Undefined);
        for (verb, want) in
            [(Verb::BOOT, Why::Undefined), (Verb::PAUSE, Why::Undefined), (Verb::REBOOT, Why::Undefined)]
        {
            assert_eq!(why(vmm.call(verb, None, SOON).await), want, "{verb:?}");
        }
        vmm.delete(SOON).await.unwrap();

        vmm.create(&running.machine(), SOON).await.unwrap();
        assert_eq!(why(vmm.create(&running.machine(), SOON).await), Why::WrongState(State::Created));
        assert_eq!(why(vmm.pause(SOON).await), Why::WrongState(State::Created));
        assert_eq!(why(vmm.counters(SOON).await), Why::WrongState(State::Created));
        let config = vmm.info(SOON).await.unwrap().config;
        assert_eq!(config.disks[0].num_queues, Some(1));
        assert_eq!(config.disks[0].other["disable_aio"], false);
        assert!(running.path("serial.sock").exists(), "consoles are opened at once");

        vmm.boot(SOON).await.unwrap();
        assert_eq!(running.state().await, State::Running);
        assert_eq!(why(vmm.boot(SOON).await), Why::WrongState(State::Running));
        for _ in 0..2 {
            vmm.pause(SOON).await.unwrap();
            assert_eq!(running.state().await, State::Paused);
        }
        for _ in 0..2 {
            vmm.resume(SOON).await.unwrap();
            assert_eq!(running.state().await, State::Running);
        }
        vmm.power_button(SOON).await.unwrap();
        vmm.nmi(SOON).await.unwrap();
        vmm.pause(SOON).await.unwrap();
        vmm.reboot(SOON).await.unwrap();
        assert_eq!(running.state().await, State::Running, "a paused one runs after a reset");
        vmm.shutdown(SOON).await.unwrap();
        assert_eq!(running.state().await, State::Created, "it does not say that it ran");
        assert!(!running.path("serial.sock").exists());
        assert_eq!(why(vmm.shutdown(SOON).await), Why::WrongState(State::Created));
        assert_eq!(events::last(&running.events()), Last::Down);
        vmm.boot(SOON).await.unwrap();
        assert_eq!(events::last(&running.events()), Last::Up);
        vmm.shutdown_vmm(SOON).await.unwrap();
        assert!(running.ended().success());
        assert_eq!(why(running.vmm.ping(SOON).await), Why::Nobody);
        assert!(!running.path("api.sock").exists() && running.path("api.sock.lock").exists());
        assert_eq!(events::last(&running.events()), Last::Down);
    }
}

#[tokio::test]
async fn sizes_of_a_machine() {
    for program in programs() {
        let running = Running::booted(&program).await;
        let vmm = &running.vmm;
        let vcpus = |count| Resize { desired_vcpus: Some(count), ..Default::default() };
        let memory = |bytes| Resize { desired_ram: Some(bytes), ..Default::default() };
        assert_eq!(why(vmm.resize(&vcpus(3), SOON).await), Why::Refused);
        vmm.resize(&vcpus(2), SOON).await.unwrap();
        vmm.resize(&vcpus(1), SOON).await.unwrap();
        assert_eq!(why(vmm.resize(&vcpus(1), SOON).await), Why::Pending);
        vmm.resize(&vcpus(2), SOON).await.unwrap();
        vmm.resize(&memory(384 * MIB), SOON).await.unwrap();
        let error = vmm.resize(&memory(385 * MIB), SOON).await.unwrap_err();
        assert_eq!(error.why, Why::Refused);
        assert_eq!(error.cause(), Some("The requested hotplug memory addition is not a valid size"));
        assert_eq!(why(vmm.resize(&memory(1024 * MIB), SOON).await), Why::Refused);

        let size = || fs::metadata(running.path("root")).unwrap().len();
        vmm.resize_disk("root", 16 * MIB, SOON).await.unwrap();
        assert_eq!(size(), 16 * MIB);
        let shrink = vmm.resize_disk("root", 4 * MIB, SOON).await;
        assert_eq!(why(shrink), Why::Shrink { from: 16 * MIB, to: 4 * MIB });
        assert_eq!(size(), 16 * MIB, "not even asked");
        assert_eq!(why(vmm.resize_disk("nope", 32 * MIB, SOON).await), Why::NoDisk("nope".to_owned()));
        // This is why: asked directly, the VMM cuts the file off.
        let body = br#"{"id": "root", "desired_size": 4194304}"#.to_vec();
        vmm.call(Verb::RESIZE_DISK, Some(body), SOON).await.unwrap();
        assert_eq!(size(), 4 * MIB);

        let counters = vmm.counters(SOON).await.unwrap();
        assert_eq!(counters.get("root", "read_bytes"), Some(0));
        assert_eq!(counters.get("root", "read_latency_min"), None);
        assert_eq!(counters.get("root", "read_latency_avg"), None);
    }
}

#[tokio::test]
async fn devices_come_and_wait_to_go() {
    for program in programs() {
        let running = Running::new(&program).await;
        let vmm = &running.vmm;
        vmm.create(&running.machine(), SOON).await.unwrap();
        assert_eq!(vmm.add_disk(&running.disk("cold", 4), SOON).await.unwrap(), None);
        vmm.remove_device("cold", SOON).await.unwrap();
        assert_eq!(vmm.info(SOON).await.unwrap().config.disks.len(), 1);
        vmm.boot(SOON).await.unwrap();

        let place = vmm.add_disk(&running.disk("data", 4), SOON).await.unwrap().unwrap();
        assert_eq!((place.id.as_str(), place.bdf.as_str()), ("data", "0000:00:03.0"));
        assert_eq!(why(vmm.add_disk(&running.disk("data", 4), SOON).await), Why::Refused);
        let twice = DiskConfig { id: Some("twice".to_owned()), ..running.disk("data", 4) };
        let error = vmm.add_disk(&twice, SOON).await.unwrap_err();
        assert_eq!(error.cause(), Some("The file is already locked"));
        let lo = NetConfig { tap: Some("lo".to_owned()), ..Default::default() };
        let error = vmm.add_net(&lo, SOON).await.unwrap_err();
        assert!(error.chain.contains(&"Unable to configure tap interface".to_owned()), "{error}");
        let vsock = VsockConfig { cid: 3, socket: running.path("vsock.sock"), ..Default::default() };
        assert!(vmm.add_vsock(&vsock, SOON).await.unwrap().is_some());
        assert!(running.path("vsock.sock").exists());
        assert_eq!(why(vmm.add_vsock(&vsock, SOON).await), Why::Refused);

        let mut watch = EventFile::open(running.path("events.json")).unwrap();
        watch.skip().unwrap();
        vmm.remove_device("data", SOON).await.unwrap();
        assert_eq!(why(vmm.remove_device("data", SOON).await), Why::Refused, "only once");
        let gone = watch.wait(Duration::from_millis(100), |events| events::removed(events, "data")).await.unwrap();
        assert_eq!(gone, None, "a guest that halts lets go of nothing");
    }
}

#[tokio::test]
async fn one_that_has_locked_itself_in_opens_nothing_else() {
    for program in programs() {
        if !can_confine() {
            eprintln!("vmm: SKIPPED what Landlock does, this kernel has none");
            return;
        }
        let running = Running::new(&program).await;
        let inside = running.path("inside");
        fs::create_dir(&inside).unwrap();
        let rules = vec![LandlockConfig::new(&inside, "rw")];
        let machine = VmConfig { landlock_enable: Some(true), landlock_rules: rules, ..running.machine() };
        running.vmm.create(&machine, SOON).await.unwrap();
        running.vmm.boot(SOON).await.unwrap();
        let error = running.vmm.add_disk(&running.disk("outside", 8), SOON).await.unwrap_err();
        assert!(error.to_string().contains("Permission denied"), "{error}");
        running.vmm.add_disk(&running.disk("inside/data", 8), SOON).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_failed_step_leaves() {
    for program in programs() {
        let running = Running::new(&program).await;
        let vmm = &running.vmm;
        let machine = running.machine();

        let missing = DiskConfig { path: Some(running.path("nowhere")), ..running.disk("extra", 1) };
        vmm.create(&VmConfig { disks: vec![running.disk("root", 8), missing], ..machine.clone() }, SOON).await.unwrap();
        let error = vmm.boot(SOON).await.unwrap_err();
        assert_eq!((&error.why, error.cause()), (&Why::Refused, Some("No such file or directory (os error 2)")));
        assert!(vmm.info(SOON).await.unwrap().config.disks.is_empty(), "the disks are used up");
        vmm.boot(SOON).await.unwrap();
        vmm.delete(SOON).await.unwrap();

        fs::write(running.path("serial.sock"), "").unwrap();
        assert_eq!(why(vmm.create(&machine, SOON).await), Why::Refused);
        assert_eq!(running.state().await, State::Created, "defined although it failed");
        fs::remove_file(running.path("serial.sock")).unwrap();
        vmm.delete(SOON).await.unwrap();

        let same = DiskConfig { id: Some("same".to_owned()), ..running.disk("root", 8) };
        vmm.create(&VmConfig { disks: vec![running.disk("root", 8), same], ..machine.clone() }, SOON).await.unwrap();
        let error = vmm.boot(SOON).await.unwrap_err();
        assert_eq!(error.cause(), Some("The file is already locked"));
        assert_eq!(error.chain.len(), 6, "there is a machine now: {error}");
        vmm.delete(SOON).await.unwrap();

        let wrong = DiskConfig { image_type: Some(ImageType::Qcow2), ..running.disk("root", 8) };
        vmm.create(&VmConfig { disks: vec![wrong], ..machine.clone() }, SOON).await.unwrap();
        assert_eq!(why(vmm.boot(SOON).await), Why::Refused);
        vmm.delete(SOON).await.unwrap();
        vmm.create(&VmConfig { payload: None, ..machine.clone() }, SOON).await.unwrap();
        assert_eq!(why(vmm.boot(SOON).await), Why::Refused);
        vmm.delete(SOON).await.unwrap();
        // What was never a machine leaves its socket lying, in everybody's way.
        fs::remove_file(running.path("serial.sock")).unwrap();

        // Two machines, one disk.
        vmm.create(&machine, SOON).await.unwrap();
        vmm.boot(SOON).await.unwrap();
        let other = Running::new(&program).await;
        let clash = VmConfig { disks: vec![running.disk("root", 8)], ..other.machine() };
        other.vmm.create(&clash, SOON).await.unwrap();
        assert_eq!(other.vmm.boot(SOON).await.unwrap_err().cause(), Some("The file is already locked"));
    }
}

#[tokio::test]
async fn requests_it_does_not_take() {
    for program in programs() {
        let running = Running::new(&program).await;
        let vmm = &running.vmm;
        let nowhere = Verb { path: "vm.nowhere", reads: true, needs: Needs::Nothing };
        assert_eq!(why(vmm.call(nowhere, None, SOON).await), Why::Unsupported);
        assert_eq!(why(vmm.coredump(Path::new("/nowhere"), SOON).await), Why::Unsupported);
        let error = vmm.call(Verb::CREATE, Some(b"{".to_vec()), SOON).await.unwrap_err();
        assert_eq!((error.status, &error.chain[0]), (Some(400), &"Failed to deserialize JSON".to_owned()));
        assert_eq!(model::Error::from(error).class(), Class::Rejected);
        assert_eq!(why(vmm.call(Verb::CREATE, None, SOON).await), Why::Refused, "an empty answer is an answer");
        let large = vec![b' '; BODY_LIMIT + 1];
        let limit = BODY_LIMIT;
        assert_eq!(why(vmm.call(Verb::CREATE, Some(large), SOON).await), Why::TooLarge { size: limit + 1, limit });
        let mut large = b"{}".to_vec();
        large.resize(BODY_LIMIT, b' ');
        vmm.call(Verb::CREATE, Some(large), SOON).await.unwrap();

        // It takes ten. While those of before are still being closed, it turns some of ours away.
        let mut held = Vec::new();
        let refused = loop {
            held.extend((0..10).map(|_| std::os::unix::net::UnixStream::connect(vmm.socket()).unwrap()));
            match vmm.ping(SOON).await {
                Ok(_) if held.len() < 1000 => tokio::time::sleep(Duration::from_millis(10)).await,
                // Its reason went unread, twice.
                Err(error) if error.why == Why::Lost && held.len() < 1000 => {}
                answer => break answer,
            }
        };
        assert_eq!(why(refused), Why::Busy);
        drop(held);
    }
}

#[tokio::test]
async fn a_second_vmm_on_a_socket_and_a_stale_socket() {
    for program in programs() {
        let mut running = Running::new(&program).await;
        let mut second = Command::new(&program);
        second.arg("--api-socket").arg(running.vmm.socket()).stderr(Stdio::null());
        assert!(!second.status().unwrap().success());
        running.vmm.ping(SOON).await.unwrap();
        running.child.kill().unwrap();
        assert_eq!(running.ended().signal(), Some(9));
        assert!(running.path("api.sock").exists());
        assert_eq!(why(running.vmm.ping(SOON).await), Why::Nobody);
        let mut third = second.spawn().unwrap();
        let mut served = false;
        for _ in 0..500 {
            served = running.vmm.ping(SOON).await.is_ok();
            if served {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        third.kill().unwrap();
        third.wait().unwrap();
        assert!(served, "a stale socket is in nobody's way");
    }
}

#[tokio::test]
async fn what_is_inherited_is_held_until_death() {
    for program in programs() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let listener = UnixListener::bind(path("api.sock")).unwrap();
        let alive = File::create(path("alive")).unwrap();
        alive.lock().unwrap();
        let inherit = |parent_fd, child_fd| FdMapping { parent_fd, child_fd };
        let mut command = Command::new(&program);
        command.args(["--api-socket", "fd=3", "--event-monitor", "fd=4"]).env_clear().stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let events = File::create(path("events.json")).unwrap();
        command
            .fd_mappings(vec![inherit(listener.into(), 3), inherit(events.into(), 4), inherit(alive.into(), 5)])
            .unwrap();
        let mut child = command.spawn().unwrap();
        // Ours are closed; the child's copies are left.
        drop(command);
        let vmm = Vmm::connect(path("api.sock")).unwrap();
        assert_eq!(vmm.ping(SOON).await.unwrap().pid, child.id(), "no waiting: the socket listened before it started");
        assert!(File::open(path("alive")).unwrap().try_lock().is_err());
        child.kill().unwrap();
        child.wait().unwrap();
        // A child that another test is about to run has our copy of it, until it runs.
        eventually("nobody holds it", || File::open(path("alive")).unwrap().try_lock().ok());
        assert_eq!(events::last(&EventFile::all(&path("events.json")).unwrap()), Last::NeverBooted);
        assert!(path("api.sock").exists());
    }
}

#[tokio::test]
async fn slow_is_not_dead() {
    let running = Running::told(&stand_in(), Some(r#"{"faults": {"vm.delete": "hang"}}"#)).await;
    let short = Duration::from_millis(200);
    assert_eq!(why(running.vmm.delete(short).await), Why::Unresponsive(short));
    let error = running.vmm.ping(short).await.unwrap_err();
    assert_eq!(error.why, Why::Unresponsive(short), "everybody waits");
    assert!(error.may_have_happened());
    let gone = Vmm::connect(running.path("other.sock")).unwrap();
    let error = gone.ping(SOON).await.unwrap_err();
    assert_eq!(error.why, Why::Nobody);
    assert!(!error.may_have_happened());
}

#[tokio::test]
async fn death_in_the_middle() {
    for order in ["die-before", "die-after"] {
        let orders = format!(r#"{{"faults": {{"vm.boot": "{order}"}}}}"#);
        let mut running = Running::told(&stand_in(), Some(&orders)).await;
        running.vmm.create(&running.machine(), SOON).await.unwrap();
        let error = running.vmm.boot(SOON).await.unwrap_err();
        assert_eq!(error.why, Why::Lost, "{order}");
        assert!(error.may_have_happened());
        assert_eq!(running.ended().signal(), Some(9));
        let want = if order == "die-after" { Last::Up } else { Last::NeverBooted };
        assert_eq!(events::last(&running.events()), want, "{order}");
    }
}

#[tokio::test]
async fn a_polite_guest() {
    let mut running = Running::told(&stand_in(), Some(r#"{"guest": "polite", "guest_delay_ms": 20}"#)).await;
    running.vmm.create(&running.machine(), SOON).await.unwrap();
    running.vmm.boot(SOON).await.unwrap();
    running.vmm.add_disk(&running.disk("data", 4), SOON).await.unwrap();
    let mut watch = EventFile::open(running.path("events.json")).unwrap();
    watch.skip().unwrap();
    running.vmm.remove_device("data", SOON).await.unwrap();
    assert!(watch.wait(SOON, |events| events::removed(events, "data")).await.unwrap().is_some());
    running.vmm.power_button(SOON).await.unwrap();
    assert!(running.ended().success());
    assert_eq!(events::last(&running.events()), Last::Down);
}
