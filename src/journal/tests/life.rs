//! What an operation looks like at each point of its life, and how it is found.

use super::*;

#[test]
fn an_operation_lives() {
    let Room { journal, directory: _directory } = room();
    let id = journal.plan(&intent("start", 150)).unwrap();
    let row = || journal.operations(&Filter::default()).unwrap().remove(0);
    assert_eq!((row().status, row().upid, row().ended), (Status::Planned, None, None));
    let step = Event::Step { step: 1, verdict: Verdict::Ok, exit_status: Some("OK".into()) };
    for (event, status) in [
        (Event::Sent { step: 1 }, Status::Sent),
        (Event::Target { vmid: 151, node: "pve2".into() }, Status::Sent),
        (Event::Upid { step: 1, upid: upid() }, Status::Running),
        (step, Status::Running),
        (ended(Verdict::Warning), Status::Warning),
    ] {
        assert_eq!(journal.in_flight().unwrap().len(), 1);
        journal.event(id, &event).unwrap();
        assert_eq!(row().status, status, "{event:?}");
    }
    assert_eq!(journal.in_flight().unwrap(), []);
    assert_eq!(
        serde_json::to_string(&row()).unwrap(),
        r#"{"id":1,"verb":"start","target":"pve1/150","vmid":151,"name":"app150","node":"pve2","context":"lab","#
            .to_owned()
            + r#""user":"root@pam!ci","host":"desk","upid":"UPID:pve1:000003EC:00041609:6B003243:qmstart:150:root@pam!ci:","#
            + r#""status":"warning","exit_status":"OK","started":"2026-01-01T00:00:00Z","ended":"2026-01-01T00:00:05Z","#
            + r#""duration":5.0,"error":null,"parent":null}"#
    );
    let details = journal.operation(id).unwrap().unwrap();
    assert_eq!((details.kind.as_str(), details.pid, details.events.len()), ("qemu", std::process::id(), 6));
    let step = &details.steps[0];
    assert_eq!(step.call.as_ref().unwrap()["method"], "POST");
    assert_eq!((step.sent, step.ended, step.verdict), (Some(at(1)), Some(at(4)), Some(Verdict::Ok)));
    assert_eq!(step.upid, Some(upid()));
    assert_eq!(journal.operation(OperationId(2)).unwrap(), None);
}

#[test]
fn every_verdict_is_a_status() {
    let Room { journal, directory: _directory } = room();
    for verdict in [Verdict::Ok, Verdict::Warning, Verdict::Failed, Verdict::Cancelled, Verdict::Unknown] {
        let id = whole(&journal, &intent("start", 1), verdict);
        let status = journal.operation(id).unwrap().unwrap().operation.status;
        assert_eq!(json!(status), json!(verdict));
    }
}

#[test]
fn a_resumed_operation_is_in_flight_again_and_its_step_starts_afresh() {
    let Room { journal, directory: _directory } = room();
    let id = journal.plan(&intent("create", 150)).unwrap();
    let failed = Event::Step { step: 2, verdict: Verdict::Failed, exit_status: Some("no space".into()) };
    let error = Event::Ended { verdict: Verdict::Failed, exit_status: None, error: Some("no space".into()) };
    for event in
        [Event::Sent { step: 2 }, Event::Upid { step: 2, upid: upid() }, failed, error, Event::Sent { step: 2 }]
    {
        journal.event(id, &event).unwrap();
    }
    let details = journal.in_flight().unwrap().remove(0);
    let row = &details.operation;
    assert_eq!((row.status, row.ended, row.error.as_deref()), (Status::Sent, None, None));
    let step = &details.steps[1];
    assert_eq!(
        (step.step, step.call.as_ref(), step.sent, step.upid.as_ref(), step.verdict),
        (2, None, Some(at(5)), None, None)
    );
}

#[test]
fn after_any_events_the_table_says_what_the_view_says() {
    let room = room();
    let journal = &room.journal;
    let events = [
        Event::Sent { step: 1 },
        Event::Target { vmid: 151, node: "pve2".into() },
        Event::Upid { step: 1, upid: upid() },
        Event::Step { step: 1, verdict: Verdict::Ok, exit_status: None },
        ended(Verdict::Warning),
        ended(Verdict::Failed),
    ];
    for order in 0..events.len().pow(3) {
        let id = journal.plan(&intent("start", 150)).unwrap();
        for place in 0..3 {
            journal.event(id, &events[order / events.len().pow(place) % events.len()]).unwrap();
        }
    }
    assert_eq!(journal.verify().unwrap().broken, None);
}

#[test]
fn filters_choose_and_the_newest_comes_first() {
    let room = room();
    for (verb, vmid, verdict) in [
        ("start", 150, Verdict::Ok),
        ("stop", 150, Verdict::Failed),
        ("start", 151, Verdict::Ok),
        ("start", 9, Verdict::Failed),
    ] {
        whole(&room.journal, &intent(verb, vmid), verdict);
    }
    let named = Intent { name: Some("150".into()), target: "web".into(), ..intent("start", 7) };
    let named = Intent { context: "other".into(), ..named };
    room.journal.plan(&named).unwrap();
    let any = Filter::default;
    let target = |text: &str| Filter { target: Some(text.into()), ..any() };
    let verb = |text: &str| Some(text.to_owned());
    for (filter, ids) in [
        (any(), vec![5, 4, 3, 2, 1]),
        (Filter { limit: Some(2), ..any() }, vec![5, 4]),
        (target("150"), vec![5, 2, 1]),
        (Filter { limit: Some(2), ..target("150") }, vec![5, 2]),
        (target("app151"), vec![3]),
        (target("pve1/9"), vec![4]),
        (target("web"), vec![5]),
        (target("nobody"), vec![]),
        (Filter { verb: verb("start"), ..target("150") }, vec![5, 1]),
        (Filter { status: Some(Status::Failed), ..any() }, vec![4, 2]),
        (Filter { status: Some(Status::Failed), verb: verb("stop"), ..any() }, vec![2]),
        (Filter { status: Some(Status::Ok), ..any() }, vec![3, 1]),
        (Filter { status: Some(Status::Ok), context: Some("lab".into()), verb: verb("start"), ..any() }, vec![3, 1]),
        (Filter { context: Some("other".into()), ..any() }, vec![5]),
        (Filter { verb: verb("start"), limit: Some(3), ..any() }, vec![5, 4, 3]),
        (Filter { since: Some(at(8)), until: Some(at(12)), ..any() }, vec![3]),
        (Filter { since: Some(at(8)), status: Some(Status::Failed), ..any() }, vec![4]),
    ] {
        assert_eq!(room.list(&filter), ids, "{filter:?}");
    }
    assert_eq!("running".parse::<Status>().unwrap(), Status::Running);
    assert!("runing".parse::<Status>().unwrap_err().message().contains("running"));
}

#[test]
fn configurations_are_kept_per_context() {
    let Room { journal, directory: _directory } = room();
    let config = |cores: u32| json!({"cores": cores, "cipassword": "hunter2"});
    for (context, cores) in [("lab", Some(1)), ("lab", None), ("other", Some(2)), ("lab", Some(4))] {
        let before = cores.map(config);
        journal.plan(&Intent { context: context.into(), config_before: before, ..intent("update", 150) }).unwrap();
    }
    let kept = journal.config_history("lab", 150).unwrap();
    let shown: Vec<_> = kept.iter().map(|backup| (backup.operation.0, backup.config.clone())).collect();
    let hidden = |cores: u32| json!({"cores": cores, "cipassword": "***"});
    assert_eq!(shown, [(4, hidden(4)), (1, hidden(1))]);
    assert_eq!(journal.operation(OperationId(1)).unwrap().unwrap().config_before, Some(hidden(1)));
}

#[test]
fn an_event_of_nobodys_operation_is_refused() {
    let Room { journal, directory: _directory } = room();
    let error = journal.event(OperationId(7), &Event::Sent { step: 1 }).unwrap_err();
    assert!(
        error.message().contains("operation 7") && error.message().ends_with("the request was not sent"),
        "{error}"
    );
    assert_eq!(journal.verify().unwrap().events, 0);
}
