//! The table of situations: the same one has the same class wherever it is noticed.

use super::*;

fn class(status: u16, message: &str) -> Class {
    classify(status, message, &BTreeMap::new())
}

#[test]
fn the_same_situation_has_the_same_class_wherever_it_is_noticed() {
    let locked = "VM is locked (backup)";
    assert_eq!(class(500, locked), Class::Conflict);
    assert_eq!(Error::from_exit_status(locked).class(), Class::Conflict);
    let missing = "Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist\n";
    assert_eq!(class(500, missing), Class::NotFound);
    assert_eq!(Error::from_exit_status(missing).class(), Class::NotFound);
    assert_eq!(Error::from_exit_status("start failed: QEMU exited with code 1").class(), Class::TaskFailed);
}

#[test]
fn parameters_speak_before_the_message() {
    let params = |text: &str| BTreeMap::from([("x".to_owned(), text.to_owned())]);
    let verify = "Parameter verification failed.\n";
    assert_eq!(classify(400, verify, &params("VM 100 already exists")), Class::Conflict);
    assert_eq!(classify(400, verify, &params("no such task")), Class::NotFound);
    assert_eq!(classify(400, verify, &params("No such storage.")), Class::NotFound);
    // What could not be plugged in is noted all the same.
    let plugged = Error::from_answer(400, verify, params("hotplug problem - bridge 'vmbr9' does not exist"));
    assert_eq!((plugged.class(), plugged.hints().len()), (Class::Rejected, 1));
    assert_eq!(classify(400, verify, &params("type check ('boolean') failed - got 'yes'")), Class::Rejected);
}

#[test]
fn exit_codes_are_unique() {
    let codes: std::collections::BTreeSet<u8> = Class::ALL.iter().map(|class| class.exit_code()).collect();
    assert_eq!(codes.len(), Class::ALL.len());
}

#[test]
fn what_a_task_leaves_open_is_told() {
    for (text, hint) in [
        ("received interrupt", "look at the guest"),
        ("unexpected status", "look at the guest"),
        ("can't lock file '/x' - got timeout", "give the command again"),
    ] {
        let error = Error::from_exit_status(text);
        assert!(matches!(error.hints(), [Hint::Text(said)] if said.contains(hint)), "{error:?}");
    }
    let refused = Error::from_answer(500, "can't lock file '/x' - got timeout", BTreeMap::new());
    assert!(matches!(refused.hints(), [Hint::Text(said)] if said.contains("--wait-lock")), "{refused:?}");
}

#[test]
fn a_missing_privilege_is_named() {
    let error = Error::from_answer(403, "Permission check failed (/vms/100, VM.PowerMgmt)", BTreeMap::new());
    let want = Hint::NeedsPrivilege { path: "/vms/100".into(), privilege: "VM.PowerMgmt".into() };
    assert_eq!(error.hints(), std::slice::from_ref(&want));
    // A task finds out as well.
    let error = Error::from_exit_status("Permission check failed (/vms/100, VM.PowerMgmt)");
    assert_eq!((error.class(), error.hints()), (Class::Forbidden, [want].as_slice()));
    let error = Error::from_answer(403, "Permission check failed", BTreeMap::new());
    assert_eq!(error.hints(), [Hint::UnnamedPrivilege]);
}

#[test]
fn a_lock_of_the_cluster_is_a_conflict_with_a_way_out() {
    let said = "error during cfs-locked 'file-user_cfg' operation: got lock request timeout";
    let error = Error::from_answer(500, said, BTreeMap::new());
    assert_eq!(error.class(), Class::Conflict);
    assert!(matches!(error.hints(), [Hint::Text(hint)] if hint.contains("again")), "{:?}", error.hints());
}
