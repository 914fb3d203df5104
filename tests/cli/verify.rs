//! Recorded facts judged again, in every form of a report.

use serde_json::{Value, json};

use super::place::{FACTS, LINK, Place};

#[test]
fn saved_facts_are_judged_without_any_server() {
    let changed = |pointer: &str, value: Value| {
        let mut facts: Value = serde_json::from_str(FACTS).unwrap();
        *facts.pointer_mut(pointer).unwrap() = value;
        facts.to_string()
    };
    let receiver = "/client/members/got/0/server/got/channels/0/receiver";
    let refused = json!({"code": "PXL402", "message": "refused", "evidence": [], "hint": null});
    let silent = json!({"code": "PXL408", "message": "no answer", "evidence": [], "hint": null});
    let gone = json!({"code": "PXL401", "message": "no connection", "evidence": [], "hint": null});
    let server = "/client/members/got/0/server";
    let table = [
        (FACTS.to_owned(), &[][..], 0, "warning", None),
        (FACTS.to_owned(), &["--strict"], 4, "warning", Some("PXL519")),
        (changed("/source/members/got/0/server/got/gtid_mode", json!("OFF")), &[], 4, "failed", Some("PXL501")),
        (changed(receiver, json!({"state": "OFF", "error": null})), &[], 4, "failed", Some("PXL512")),
        (changed(server, json!({ "failed": refused })), &[], 4, "failed", Some("PXL402")),
        (changed(server, json!({ "failed": silent })), &[], 6, "unknown", Some("PXL408")),
        (changed(server, json!({ "failed": gone })), &[], 5, "unknown", Some("PXL401")),
    ];
    let place = Place::with(LINK);
    for (facts, flags, code, verdict, says) in table {
        place.write("facts.json", &facts);
        let arguments = [&["verify", "--facts", "facts.json"], flags].concat();
        let text = place.run(&arguments);
        assert_eq!((text.code, text.err.as_str()), (Some(code), ""), "{says:?}");
        assert!(text.out.contains(says.unwrap_or("ok")), "{says:?}");
        let json = place.run(&[&arguments[..], &["-o", "json"]].concat());
        let document = json.json();
        assert_eq!((json.code, &document["verdict"]), (Some(code), &json!(verdict)), "{says:?}");
        assert_eq!(document["schema"], "pxc-link.io/report/v1");
    }
}

#[test]
fn only_what_was_asked_for_is_reported() {
    let place = Place::with(LINK);
    place.write("facts.json", FACTS);
    let ids = |only: &[&str]| {
        let flags: Vec<&str> = only.iter().flat_map(|pattern| ["--only", pattern]).collect();
        let ended = place.run(&[&["verify", "--facts", "facts.json", "-o", "json"], &flags[..]].concat());
        assert_eq!(ended.code, Some(0), "{only:?}");
        let document = ended.json();
        let checks = document["checks"].as_array().unwrap().clone();
        checks.iter().map(|check| check["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&["path.query"]), ["path.query"]);
    assert_eq!(ids(&["name.*", "M7"]), ["name.resolves", "name.table", "path.query", "path.server"]);
    assert_eq!(ids(&["m1,m7"]), ids(&["name.*", "M7"]));
    assert!(ids(&["prerequisites"]).contains(&"gtid.mode".to_owned()));
    // The facts have a warning, but not about what is asked here.
    let strict = place.run(&["verify", "--facts", "facts.json", "--strict", "--only", "M7"]);
    assert_eq!(strict.code, Some(0));
    // A check that this link does not have: nothing was judged, so nothing is called good.
    let nothing = place.run(&["verify", "--facts", "facts.json", "--only", "channel.encrypted"]);
    assert_eq!(nothing.code, Some(5));
    assert!(nothing.out.contains("nothing was checked") || !nothing.out.contains(" ok "), "{}", nothing.out);
}

#[test]
fn junit_has_a_case_for_every_check() {
    let place = Place::with(LINK);
    place.write("facts.json", FACTS);
    let run = |flags: &[&str]| place.run(&[&["verify", "--facts", "facts.json"], flags].concat());
    let checks = run(&["-o", "json"]).json()["checks"].as_array().unwrap().len();
    for (flags, code, failures) in [(&["-o", "junit"][..], 0, 0), (&["-o", "junit", "--strict"], 4, 1)] {
        let ended = run(flags);
        let document = quick_junit::Report::deserialize_from_str(&ended.out).unwrap();
        assert_eq!((ended.code, document.tests, document.failures), (Some(code), checks, failures));
        assert_eq!(document.test_suites[0].name.as_str(), "production");
    }
    // An error in place of a report is no suite.
    let ended = Place::with("links: [\n").run(&["verify", "-o", "junit"]);
    assert_eq!((ended.code, ended.out.as_str(), ended.errors().len()), (Some(3), "", 1));
}

#[test]
fn hints_name_the_files_that_were_given() {
    let place = Place::with(LINK);
    place.write("other.yaml", LINK);
    let mut facts: Value = serde_json::from_str(FACTS).unwrap();
    facts["client"]["members"]["got"][0]["server"]["got"]["channels"] = json!([]);
    place.write("facts.json", &facts.to_string());
    let ended = place.run(&["--config", "other.yaml", "verify", "--facts", "facts.json"]);
    assert!(ended.out.contains("$ pxc-link --config other.yaml setup --source production\n"), "{}", ended.out);
    let ended = place.run(&["verify", "--facts", "facts.json"]);
    assert!(ended.out.contains("$ pxc-link setup --source production\n"), "{}", ended.out);
}

#[test]
fn a_file_that_holds_no_facts_is_refused() {
    let place = Place::with(LINK);
    place.write("empty.json", "{}");
    for (file, says) in [("none.json", "No such file"), ("pxc-link.yaml", "line 1"), ("empty.json", "missing field")] {
        let ended = place.run(&["verify", "--facts", file]);
        assert_eq!((ended.code, ended.out.as_str(), ended.errors().len()), (Some(3), "", 1));
        assert!(ended.err.contains(&format!("`{file}`")) && ended.err.contains("[PXL115]"), "{}", ended.err);
        assert!(ended.err.contains(says) && ended.err.contains("\nhint: "), "{}", ended.err);
    }
}
