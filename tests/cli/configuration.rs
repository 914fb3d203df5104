//! The configuration: wrong, missing, shown, written.

use pxc_link::{domain::hint::Remedy, report};
use serde_json::{Value, json};

use super::place::{LINK, Place};

#[test]
fn a_wrong_configuration_is_one_message_with_its_code_and_place() {
    let literal = "hunter2-never-shown";
    let replaced = |from: &str, to: &str| {
        assert!(LINK.contains(from), "{from}");
        LINK.replace(from, to)
    };
    let table = [
        ("links: [\n", "PXL102", "pxc-link.yaml:2:"),
        (&replaced("service: pxc", "servce: pxc"), "PXL103", "pxc-link.yaml:6:"),
        (&replaced("service: pxc}", "service: pxc, service: b}"), "PXL104", "pxc-link.yaml:6:"),
        (&replaced("user: repl,", "user: \"\","), "PXL105", "pxc-link.yaml:12:"),
        (&replaced("{env: PXC_SOURCE_PASSWORD}", literal), "PXL106", "pxc-link.yaml:7:"),
        (&replaced("  production:", "  staging:"), "PXL107", "has staging"),
        (&replaced("mode: verify-identity", "mode: required"), "PXL105", "pxc-link.yaml:13:"),
        ("", "PXL105", "is empty"),
    ];
    for (config, code, says) in table {
        let place = Place::with(config);
        for command in ["verify", "status", "setup", "teardown", "monitor"] {
            let ended = place.run(&["-vvv", command, "--source", "production"]);
            assert_eq!((ended.code, ended.out.as_str(), ended.errors().len()), (Some(3), "", 1), "{code}");
            assert!(ended.errors()[0].ends_with(&format!("[{code}]")) && ended.err.contains(says), "{code}: {says}");
            assert!(ended.err.contains("\nhint: ") && !ended.err.contains(literal), "{code}");
        }
        let ended = place.run(&["verify", "--source", "production", "-o", "json"]);
        let document = ended.json();
        assert_eq!((ended.code, &document["schema"]), (Some(3), &json!("pxc-link.io/error/v1")));
        assert_eq!(document["problems"].as_array().unwrap().len(), 1);
        assert_eq!(document["problems"][0]["code"], code);
        assert!(document["problems"][0]["hint"]["text"].is_string() && !ended.out.contains(literal), "{code}");
        let yaml = place.run(&["verify", "--source", "production", "-o", "yaml"]);
        assert_eq!((yaml.code, serde_yaml::from_str::<Value>(&yaml.out).unwrap()), (Some(3), document));
    }
}

#[test]
fn a_configuration_that_is_not_there_leads_to_a_command_that_runs() {
    let place = Place::empty();
    let missing = Place::empty().set("PXC_LINK_CONFIG", "named.yaml");
    for (place, arguments, says) in [
        (&place, &["status"][..], "pxc-link.yaml: no such file"),
        (&place, &["config"], ".config/pxc-link/config.yaml: no such file"),
        (&place, &["--config", "none.yaml", "setup"], "`none.yaml`, named by --config"),
        (&missing, &["verify"], "`named.yaml`, named by PXC_LINK_CONFIG"),
    ] {
        let ended = place.run(arguments);
        assert_eq!((ended.code, ended.out.as_str(), ended.errors().len()), (Some(3), "", 1));
        assert!(ended.err.contains("[PXL101]") && ended.err.contains(says), "{says}");
        let commands = report::commands(&ended.err);
        let [Remedy::Argv(argv)] = commands.as_slice() else { panic!("one command, not {commands:?}") };
        let next: Vec<&str> = argv.iter().map(String::as_str).collect();
        assert_eq!((next[0], place.run(&next[1..]).code), ("pxc-link", Some(0)));
    }
}

#[test]
fn config_shows_every_value_in_every_form() {
    let place = Place::with(LINK);
    let text = place.run(&["config"]);
    assert_eq!((text.code, text.err.as_str()), (Some(0), ""));
    assert!(text.out.starts_with("pxc-link.yaml  (found in the working folder)\n"), "{}", text.out);
    let json = place.run(&["config", "-o", "json"]).json();
    assert_eq!(json["schema"], "pxc-link.io/config/v1");
    for value in json["values"].as_array().unwrap() {
        let key = value["key"].as_str().unwrap();
        let line = text.out.lines().find(|line| line.split(' ').next() == Some(key)).unwrap();
        assert!(line.contains(value["value"].as_str().unwrap()), "{line}");
    }
    assert_eq!(serde_yaml::from_str::<Value>(&place.run(&["config", "-o", "yaml"]).out).unwrap(), json);
    let schema = Place::empty().run(&["config", "--schema"]).json();
    assert!(schema["$schema"].is_string() && schema["properties"]["links"].is_object(), "{schema:#}");
}

#[test]
fn init_writes_what_config_reads_and_never_over_a_file() {
    const INIT: [&str; 5] = ["init", "--source-context", "east", "--replica-context", "west"];
    let place = Place::empty();
    let ended = place.run(&INIT);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), ""));
    assert!(ended.err.contains("`pxc-link setup --source production --dry-run`"), "{}", ended.err);
    let config = place.run(&["config"]);
    assert_eq!(config.code, Some(0));
    assert!(config.out.contains("east") && config.out.contains("west"), "{}", config.out);

    let written = place.read("pxc-link.yaml");
    assert_eq!(place.run(&[&INIT[..], &["--stdout"]].concat()).out, written);
    let again = place.run(&[&INIT[..], &["--name", "other"]].concat());
    assert_eq!((again.code, again.errors().len()), (Some(1), 1));
    assert!(again.err.contains("[PXL113]") && again.err.contains("hint: the file stays as it is"), "{}", again.err);
    assert_eq!(place.read("pxc-link.yaml"), written);

    let elsewhere = place.run(&[&INIT[..], &["--config", "a b.yaml"]].concat());
    assert_eq!((elsewhere.code, place.read("a b.yaml").as_str()), (Some(0), written.as_str()));
    assert!(elsewhere.err.contains("`pxc-link --config 'a b.yaml' setup"), "{}", elsewhere.err);

    let refused = place.run(&[&INIT[..], &["--config", "new.yaml", "--name", "Bad_Name"]].concat());
    assert_eq!((refused.code, place.path().join("new.yaml").exists()), (Some(3), false));
    assert!(refused.err.contains("[PXL105]") && refused.err.contains("`new.yaml` was not written"), "{}", refused.err);
    assert!(!refused.err.contains("new.yaml:"), "places in a file that is not there: {}", refused.err);
}
