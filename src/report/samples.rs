//! What the real thing reports, for the snapshots of this module: a setup that went well, an endpoint that refuses, a
//! source whose sidecar waits for the client, and every renderer on them.

use jiff::Timestamp;

use super::{explain, json, junit, plan, problem, status, text};
use crate::{
    domain::{
        check::{Change, Check, CheckId, Milestone, Outcome, Report, Side, Subject},
        code::Code,
        hint::{Hint, Remedy},
        plan::{Action, FieldChange, Plan, Step, StepKind},
        problem::Problem,
        status::{Lag, LinkState, LinkStatus, Sample, StatusError},
    },
    ui::theme::Theme,
};

const PLAIN: Theme = Theme { colour: false, unicode: true };
const ASCII: Theme = Theme { colour: false, unicode: false };
const COLOUR: Theme = Theme { colour: true, unicode: true };

fn at() -> Timestamp {
    "2026-11-21T09:00:05Z".parse().unwrap()
}

fn member(pod: &str) -> Subject {
    Subject::Member(Side::Replica, pod.into())
}

fn check(id: &'static str, milestone: Milestone, subject: Subject, outcome: Outcome, evidence: &[&str]) -> Check {
    let evidence = evidence.iter().map(ToString::to_string).collect();
    Check { id: CheckId(id), subject, milestone, outcome, evidence }
}

fn report(checks: Vec<Check>, changes: &[(&str, &'static str)]) -> Report {
    let changes = changes.iter().map(|(target, verb)| Change { target: (*target).into(), verb }).collect();
    Report { link: "production".into(), at: at(), checks, changes }
}

fn passed(id: &'static str, milestone: Milestone, subject: Subject, evidence: &[&str]) -> Check {
    check(id, milestone, subject, Outcome::Passed, evidence)
}

fn success() -> Report {
    use Milestone::{Access, Name, Prerequisites, Query, Replication};
    let mut checks = vec![passed("access.cluster", Access, Subject::Cluster(Side::Source), &["kube-system 5b1f…"])];
    for pod in ["pxc-0", "pxc-1", "pxc-2"] {
        checks.push(passed("name.resolves", Name, member(pod), &["240.13.37.9"]));
        checks.push(passed("path.query", Query, member(pod), &[&format!("through {pod}")]));
    }
    let expiring = Problem::new(Code::TlsVerification, "the source's certificate expires in 11 days")
        .seen("not after 2026-12-02T00:00:00Z")
        .hint(Hint::text("have it renewed before then; the receiver stops at its next reconnect otherwise"));
    checks.push(check("tls.expiry", Prerequisites, Subject::Link, Outcome::Warned(expiring), &[]));
    checks.push(passed("channel.running", Replication, member("pxc-0"), &["receiver ON", "applier ON", "0 missing"]));
    report(
        checks,
        &[
            ("ServiceEntry/pxc-source-production", "created"),
            ("DestinationRule/pxc-source-production", "created"),
            ("channel production on pxc-0", "started"),
        ],
    )
}

fn refused() -> Report {
    use Milestone::{Connection, Endpoints, Greeting, Query, Replication};
    let broken =
        |counter: &str| {
            Problem::new(Code::EndpointRefused, "the endpoint 172.19.0.2:31306 refuses the connection")
            .seen(format!("cx_connect_fail {counter}"))
            .seen("ERROR 2013 (HY000): Lost connection to MySQL server at 'reading initial communication packet'\n$ x")
            .hint(
                Hint::text("give every member of the source a NodePort, then run `setup` again")
                    .then([
                        "kubectl", "--context", "production", "-n", "pxc", "patch", "service", "pxc", "--type", "merge",
                        "-p", r#"{"spec":{"type":"NodePort"}}"#,
                    ])
                    .then(["pxc-link", "setup", "--source", "production"]),
            )
        };
    let because = |id| Outcome::Skipped { because: (CheckId(id), member("pxc-0")) };
    let connection = "path.connection";
    report(
        vec![
            check("mesh.endpoints", Endpoints, member("pxc-0"), Outcome::Passed, &["172.19.0.2:31306"]),
            check("mesh.endpoints", Endpoints, member("pxc-1"), Outcome::Passed, &["172.19.0.2:31306"]),
            check(connection, Connection, member("pxc-0"), Outcome::Failed(broken("3 → 4")), &["probe: mysql client"]),
            check(connection, Connection, member("pxc-1"), Outcome::Failed(broken("0 → 1")), &["probe: mysql client"]),
            check("path.greeting", Greeting, member("pxc-0"), because(connection), &[]),
            check("path.query", Query, member("pxc-0"), because("path.greeting"), &[]),
            check(
                "channel.running",
                Replication,
                member("pxc-1"),
                Outcome::Unknown(
                    Problem::new(Code::ServerTimedOut, "the server did not answer within 5 s").seen("last: connecting"),
                ),
                &[],
            ),
        ],
        &[],
    )
}

fn hang() -> Report {
    let problem = Problem::new(Code::PermissiveHang, "no greeting from 172.19.0.2:31306 within 5 s")
        .seen("cx_connect_fail 4 → 4, upstream_cx_total 7 → 8, 0 bytes received")
        .seen("source pod pxc-0 has a sidecar and PeerAuthentication default is PERMISSIVE")
        .hint(
            Hint::text("take 3306 out of mutual TLS for the source's pods")
                .then(["kubectl", "--context", "production", "apply", "-f", "peer-authentication.yaml"])
                .sql("replica pxc-0", "START REPLICA IO_THREAD FOR CHANNEL 'production'"),
        );
    let greeting = Milestone::Greeting;
    report(vec![check("path.greeting", greeting, member("pxc-0"), Outcome::Failed(problem), &[])], &[])
}

fn readable(coloured: &str) -> String {
    coloured.replace('\x1b', "␛")
}

#[test]
fn reports_as_text() {
    use text::Detail::{Brief, Full};
    insta::assert_snapshot!("success", text::report(&success(), Brief, PLAIN));
    insta::assert_snapshot!("success_full", text::report(&success(), Full, PLAIN));
    insta::assert_snapshot!("refused", text::report(&refused(), Brief, PLAIN));
    insta::assert_snapshot!("refused_ascii", text::report(&refused(), Brief, ASCII));
    insta::assert_snapshot!("refused_colour", readable(&text::report(&refused(), Brief, COLOUR)));
    insta::assert_snapshot!("hang", text::report(&hang(), Brief, PLAIN));
    insta::assert_snapshot!("nothing", text::report(&report(Vec::new(), &[]), Brief, PLAIN));
}

#[test]
fn reports_as_json() {
    insta::assert_snapshot!("refused_json", json::text(&json::ReportDto::from(&refused())).unwrap());
    insta::assert_snapshot!("success_json", json::text(&json::ReportDto::from(&success())).unwrap());
}

#[test]
fn reports_as_junit() {
    let both = [refused(), success()];
    let shown = junit::junit(&both, false).unwrap();
    insta::assert_snapshot!("junit", shown);
    let document = quick_junit::Report::deserialize_from_str(&shown).unwrap();
    assert_eq!((document.tests, document.failures, document.errors, document.skipped), (16, 2, 1, 2));
    let strict = quick_junit::Report::deserialize_from_str(&junit::junit(&both, true).unwrap()).unwrap();
    assert_eq!((strict.tests, strict.failures), (16, 3), "a warning is a failure then");
}

#[test]
fn junit_is_well_formed_whatever_was_seen() {
    let odd = Problem::new(Code::PathBroken, "]]> <a b=\"c\"> & \u{1}\u{1b}[2J\0 é").seen("</system-out>\n<x>");
    let outcome = Outcome::Failed(odd.hint(Hint::run("a < b", ["echo", "</failure>"])));
    let sample = report(vec![check("path.query", Milestone::Query, Subject::Link, outcome, &["&amp;"])], &[]);
    let document = quick_junit::Report::deserialize_from_str(&junit::junit(&[sample], false).unwrap()).unwrap();
    let case = &document.test_suites[0].test_cases[0];
    assert_eq!(case.system_out.as_ref().unwrap().as_str().trim(), "seen: </system-out>\n    | <x>\nseen: &amp;");
}

#[test]
fn colours_change_no_word() {
    for sample in [success(), refused(), hang()] {
        let coloured = text::report(&sample, text::Detail::Full, COLOUR);
        let stripped = anstream::adapter::strip_str(&coloured).to_string();
        assert_eq!(stripped, text::report(&sample, text::Detail::Full, PLAIN));
    }
}

#[test]
fn every_failed_check_has_its_line_and_every_hint_its_commands_once() {
    let report = refused();
    let shown = text::report(&report, text::Detail::Brief, PLAIN);
    assert_eq!(shown.matches("✗ fail").count(), 2);
    let hint = report.first_problem().and_then(Check::problem).and_then(|problem| problem.hint.clone()).unwrap();
    assert_eq!(super::commands(&shown), hint.commands);
}

#[test]
fn what_spoils_several_checks_is_told_once_and_named_then() {
    let lost = || {
        let problem = Problem::new(Code::ApiUnreachable, "the API cannot be reached").seen("refused");
        Outcome::Unknown(problem.hint(Hint::run("look", ["true"])))
    };
    let source = || Subject::Cluster(Side::Source);
    let checks = vec![
        check("cluster.reachable", Milestone::Access, source(), lost(), &[]),
        check("gtid.mode", Milestone::Prerequisites, source(), lost(), &[]),
        check("server.ids", Milestone::Prerequisites, source(), lost(), &["another thing"]),
    ];
    insta::assert_snapshot!("repeated", text::report(&report(checks, &[]), text::Detail::Brief, PLAIN));
}

#[test]
fn skipped_and_unknown_never_become_ok() {
    let mut sample = success();
    let of_one = sample.checks.iter_mut().find(|check| check.id.0 == "path.query").unwrap();
    of_one.outcome = Outcome::Skipped { because: (CheckId("name.resolves"), member("pxc-0")) };
    let shown = text::report(&sample, text::Detail::Brief, PLAIN);
    assert!(shown.contains("2/3 replica members"), "{shown}");
    assert!(shown.contains("1 skipped"), "{shown}");
    sample.checks.clear();
    assert_eq!(sample.verdict(), crate::domain::check::Verdict::Unknown);
}

#[test]
fn problems_as_text_and_json() {
    let denied = Problem::new(Code::AccessDenied, "cannot log in to replica pxc-0 as `root`")
        .seen("ERROR 1045 (28000): Access denied for user 'root'@'127.0.0.1'\x1b[2J")
        .hint(Hint::run(
            "compare key `root` of Secret `pxc-secrets` with what the server has",
            ["kubectl", "--context", "dr", "-n", "pxc", "get", "secret", "pxc-secrets"],
        ));
    let bare = Problem::new(Code::Interrupted, "interrupted");
    insta::assert_snapshot!("problem", problem::problem(&denied, PLAIN));
    insta::assert_snapshot!("problem_colour", readable(&problem::problem(&denied, COLOUR)));
    let several = [denied.clone(), bare.clone(), denied, bare];
    insta::assert_snapshot!("problems", problem::problems(&several, PLAIN));
    insta::assert_snapshot!("problems_json", json::text(&json::ErrorDto::from(&several[..2])).unwrap());
}

#[test]
fn a_hint_that_several_problems_share_is_written_once_below_the_last() {
    let hint = Hint::text("").then(["true"]);
    let of = |message: &str| Problem::new(Code::InvalidValue, message).hint(hint.clone());
    let shown = problem::problems(&[of("a"), of("b")], PLAIN);
    assert_eq!(super::commands(&shown), [Remedy::Argv(vec!["true".into()])]);
    assert!(shown.find("error: b") < shown.find("$ true"), "{shown}");
}

fn sample_plan() -> Plan {
    let step = |kind, target: &str, action| Step { kind, target: target.into(), action };
    let lines = |lines: &[&str]| lines.iter().map(ToString::to_string).collect::<Vec<_>>();
    let endpoints = FieldChange {
        field: "spec.endpoints".into(),
        before: "172.19.0.3:31306".into(),
        after: "172.19.0.2:31306".into(),
    };
    let with = lines(&["pxc-source.production.global:3306, 240.13.37.9", "source_ssl=1, auto_position=1"]);
    let note = Some("password: not compared".into());
    Plan {
        steps: vec![
            step(StepKind::Lease, "Lease/pxc-link-production", Action::Create { with: Vec::new() }),
            step(StepKind::ServiceEntry, "ServiceEntry/production", Action::Update { fields: vec![endpoints] }),
            step(StepKind::DestinationRule, "DestinationRule/production", Action::Unchanged { note: None }),
            step(StepKind::Path, "path from pxc-0", Action::Read),
            step(StepKind::Channel, "channel production on pxc-0", Action::Create { with }),
            step(StepKind::Channel, "channel archive on pxc-0", Action::Unchanged { note }),
            step(
                StepKind::Start,
                "channel production on pxc-0",
                Action::Start { threads: lines(&["receiver", "applier"]) },
            ),
            step(StepKind::Channel, "channel old on pxc-1", Action::Delete),
        ],
    }
}

#[test]
fn plans() {
    insta::assert_snapshot!("plan", plan::plan(&sample_plan(), PLAIN));
    insta::assert_snapshot!("plan_ascii", plan::plan(&sample_plan(), ASCII));
    insta::assert_snapshot!("plan_colour", readable(&plan::plan(&sample_plan(), COLOUR)));
    insta::assert_snapshot!("plan_json", json::text(&json::PlanDto::from(&sample_plan())).unwrap());
    insta::assert_snapshot!("plan_empty", plan::plan(&Plan { steps: Vec::new() }, PLAIN));
}

fn statuses() -> [LinkStatus; 3] {
    let good = LinkStatus {
        link: "production".into(),
        member: Some("pxc-0".into()),
        name: None,
        state: LinkState::Replicating,
        lag: Lag::Exactly { seconds: 0.0 },
        missing: Some(0),
        receiver: Some("ON".into()),
        applier: Some("ON".into()),
        source_uuid: Some("3e11fa47-71ca-11e1-9e33-c80aa9429562".into()),
        source_member: Some("pxc-1".into()),
        error: None,
    };
    let text = "Got fatal error 1236 from source when reading data from binary log".to_owned();
    let stopped = LinkStatus {
        link: "archive".into(),
        state: LinkState::Broken,
        lag: Lag::AtLeast { seconds: 500.0 },
        missing: Some(8120),
        receiver: Some("OFF".into()),
        source_member: None,
        error: Some(StatusError { code: Some(Code::Purged), errno: 13114, text }),
        ..good.clone()
    };
    let text = "port-forward: connection refused".to_owned();
    let unreachable = LinkStatus {
        link: "hello".into(),
        member: None,
        name: None,
        state: LinkState::Unknown,
        lag: Lag::Unknown,
        missing: None,
        receiver: None,
        applier: None,
        source_uuid: None,
        source_member: None,
        error: Some(StatusError { code: Some(Code::ServerUnreachable), errno: 0, text }),
    };
    [good, stopped, unreachable]
}

#[test]
fn statuses_and_samples() {
    let all = statuses();
    insta::assert_snapshot!("status", status::table(&all, PLAIN));
    insta::assert_snapshot!("status_colour", readable(&status::table(&all, COLOUR)));
    insta::assert_snapshot!("status_json", json::text(&json::StatusesDto::new(at(), &all)).unwrap());
    let note = Some("above the warning threshold of 30s".to_owned());
    let samples = all.map(|status| Sample { at: at(), status, applied_per_second: Some(412.4), note: None });
    let late = Sample { note, applied_per_second: None, ..samples[0].clone() };
    let lines = |theme| samples.iter().chain([&late]).map(|one| status::sample(one, theme)).collect::<String>();
    insta::assert_snapshot!("samples", lines(PLAIN));
    insta::assert_snapshot!("samples_colour", readable(&lines(COLOUR)));
    insta::assert_snapshot!("sample_json", json::text(&json::SampleDto::from(&late)).unwrap());
}

#[test]
fn explanations() {
    insta::assert_snapshot!("explain", explain::explain(Code::PermissiveHang, PLAIN));
    insta::assert_snapshot!("explain_colour", readable(&explain::explain(Code::PermissiveHang, COLOUR)));
    let list = explain::list(PLAIN);
    insta::assert_snapshot!("explain_list", list.lines().take(3).collect::<Vec<_>>().join("\n"));
    assert_eq!(list.lines().count(), Code::ALL.len() + 1, "every code once, below the heading");
}
