//! The pxc-link binary without any server: what it prints, on which stream, and the code it ends with.
#![expect(clippy::unwrap_used, reason = "what cannot be prepared or read is a test that fails")]

use std::{
    fs,
    io::Read as _,
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use pxc_link::{
    domain::{code::Code, hint::Remedy},
    report,
};
use serde_json::{Value, json};

/// The configuration of the end-to-end tests, from whose world the recorded facts are.
const LINK: &str = include_str!("e2e/pxc-link.yaml");
const FACTS: &str = include_str!("cli/facts.json");
const ESCAPE: char = '\x1b';

/// A folder that is home and working folder, and a run of the binary in it with nothing of this process's environment.
struct Place {
    folder: tempfile::TempDir,
    environment: Vec<(&'static str, String)>,
}

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Place {
    fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), environment: Vec::new() }
    }

    /// With this configuration where it is looked for.
    fn with(config: &str) -> Self {
        let place = Self::empty();
        place.write("pxc-link.yaml", config);
        place
    }

    fn set(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// With the passwords that [`LINK`] refers to.
    fn with_passwords(self) -> Self {
        self.set("PXC_SOURCE_PASSWORD", "a").set("PXC_REPLICA_PASSWORD", "b").set("PXC_REPLICATION_PASSWORD", "c")
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pxc-link"));
        command.args(arguments).current_dir(self.path()).env_clear().env("HOME", self.path()).stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(&self.command(arguments).output().unwrap(), arguments)
    }
}

impl Ended {
    fn of(output: &Output, arguments: &[&str]) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let ended = Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) };
        println!("{arguments:?} ended with {:?}\n{}{}", ended.code, ended.out, ended.err);
        ended
    }

    /// The one document on stdout.
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap()
    }

    fn errors(&self) -> Vec<&str> {
        self.err.lines().filter(|line| line.starts_with("error: ")).collect()
    }
}

#[test]
fn version_is_text_or_a_document() {
    let place = Place::empty();
    let line = format!("pxc-link {}\n", env!("CARGO_PKG_VERSION"));
    for arguments in [&["version"][..], &["--version"], &["-V"]] {
        let ended = place.run(arguments);
        assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (Some(0), line.as_str(), ""));
    }
    let document =
        json!({"schema": "pxc-link.io/version/v1", "name": "pxc-link", "version": env!("CARGO_PKG_VERSION")});
    assert_eq!(place.run(&["version", "-o", "json"]).json(), document);
    assert_eq!(serde_yaml::from_str::<Value>(&place.run(&["version", "-o", "yaml"]).out).unwrap(), document);
}

#[test]
fn completions_name_every_command() {
    let place = Place::empty();
    for shell in ["bash", "zsh", "fish"] {
        let ended = place.run(&["completions", shell]);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
        for command in
            ["init", "config", "setup", "verify", "status", "monitor", "render", "teardown", "explain", "version"]
        {
            assert!(ended.out.contains(command), "{shell}: {command}");
        }
    }
    place.write("completions.bash", &place.run(&["completions", "bash"]).out);
    // As bash itself does after `pxc-link sta` and a tab.
    let script = "source ./completions.bash && [[ $(complete -p pxc-link) =~ -F\\ ([^ ]+) ]] && COMP_WORDS=(pxc-link sta) COMP_CWORD=1 && ${BASH_REMATCH[1]} pxc-link sta pxc-link && echo ${COMPREPLY[@]}";
    let offered = Command::new("bash").args(["-c", script]).current_dir(place.path()).output().unwrap();
    assert_eq!(Ended::of(&offered, &["bash"]).out, "status\n");
}

#[test]
fn every_code_is_listed_and_explained() {
    let place = Place::empty();
    let list = place.run(&["explain", "--list"]);
    assert_eq!((list.code, list.err.as_str()), (Some(0), ""));
    let listed: Vec<&str> = list.out.lines().skip(1).filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(listed, Code::ALL.iter().map(ToString::to_string).collect::<Vec<_>>());
    for code in Code::ALL {
        let ended = place.run(&["explain", &code.to_string()]);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{code}");
        assert!(ended.out.starts_with(&format!("{code}: {}\n", code.title())), "{}", ended.out);
    }
    assert_eq!(place.run(&["explain", "402"]).out, place.run(&["explain", "pxl402"]).out);
    for wrong in ["PXL999", "foo", ""] {
        let ended = place.run(&["explain", wrong]);
        assert_eq!((ended.code, ended.out.as_str(), ended.errors().len()), (Some(2), "", 1));
        assert!(ended.err.contains(&format!("`{wrong}` [PXL114]")), "{}", ended.err);
    }
}

#[test]
fn a_wrong_command_line_ends_with_2_and_says_what_is_wrong() {
    let place = Place::with(LINK);
    let table: &[(&[&str], &str)] = &[
        (&[], "Usage: pxc-link"),
        (&["stauts"], "'status'"),
        (&["status", "--sorce", "production"], "'--source'"),
        (&["status", "-o", "xml"], "text, json, yaml"),
        (&["status", "--all", "--source", "production"], "'--all' cannot be used with '--source"),
        (&["status", "-q", "-v"], "cannot be used with"),
        (&["setup", "--exit-code"], "--dry-run"),
        (&["verify", "--save", "a", "--facts", "b"], "cannot be used with"),
        (&["verify", "--save", "a", "--all"], "cannot be used with"),
        (&["verify", "--facts", "a", "--source", "production", "--source", "staging"], "give --source once"),
        (&["verify", "--facts", "a", "--wait", "1s"], "cannot be used with"),
        (&["verify", "--only", "path.qurey"], "the nearest is `path.query`"),
        (&["verify", "--only", "M0,M77"], "the nearest is `M7`"),
        (&["render", "--exit-code"], "--diff"),
        (&["verify", "-o", "xml"], "text, json, yaml, junit"),
        (&["explain"], "<CODE>"),
        (&["explain", "PXL402", "--list"], "cannot be used with"),
        (&["init", "--source-context", "a"], "--replica-context"),
        (&["monitor", "--count", "0"], "--count"),
        (&["monitor", "--interval", "1"], "`1` is no duration; write it like 90s, 5m or 1h30m"),
        (&["status", "--timeout", "90"], "`90` is no duration"),
        (&["status", "--timeout", "soon"], "`soon` is no duration"),
        (&["status", "--timeout", "0s"], "`0s` is no time at all"),
        (&["status", "--timeout", "9223372036854775807s"], "longer than"),
        (&["status", "--timeout=-5s"], "`-5s` is no duration"),
    ];
    for (arguments, says) in table {
        let ended = place.run(arguments);
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""));
        assert!(ended.err.contains(says), "{arguments:?} should say {says}");
    }
}

#[test]
fn durations_are_taken_before_and_after_the_command() {
    let place = Place::with(LINK);
    for duration in ["90s", "5m", "1h30m", "500ms", "1.5h"] {
        assert_eq!(place.run(&["--timeout", duration, "status"]).code, Some(5), "{duration}");
        assert_eq!(place.run(&["status", "--timeout", duration]).code, Some(5), "{duration}");
    }
}

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
        (&replaced("mode: verify-identity", "mode: verify-ca"), "PXL110", "pxc-link.yaml:13:"),
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
        (FACTS.to_owned(), &["--strict"], 4, "warning", Some("PXL501")),
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
fn waiting_ends_with_the_last_report_when_the_time_is_over() {
    let place = Place::with(LINK).with_passwords();
    let begun = Instant::now();
    let ended = place.run(&["verify", "--wait", "1s", "--only", "access"]);
    assert_eq!(ended.code, Some(4));
    assert!(ended.out.contains("[PXL201]") && begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let told = ended.err.matches("...     waiting for cluster.reachable").count();
    assert_eq!((told, ended.err.matches("x fail  waiting for cluster.reachable").count()), (1, 1), "{}", ended.err);
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

/// [`LINK`] with everything that mesh objects are made from.
fn offline() -> String {
    let source = "kubernetes: {context: production, namespace: pxc, service: pxc}";
    assert!(LINK.contains(source));
    let endpoints = "endpoints: [{address: 198.18.0.20, port: 31306}, {address: 198.18.0.3, port: 31306}]";
    LINK.replace(source, endpoints).replace("  production:\n", "  production:\n    vip: 240.0.0.7\n")
}

#[test]
fn objects_are_rendered_without_any_cluster() {
    // Neither a kubeconfig nor a password: nothing can have been asked.
    let place = Place::with(&offline());
    let ended = place.run(&["render"]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert_eq!(place.run(&["render", "--source", "production"]).out, ended.out, "the same every time");
    let documents: Vec<Value> = ended.out.split("---\n").map(|text| serde_yaml::from_str(text).unwrap()).collect();
    let [entry, rule] = documents.as_slice() else { panic!("two documents in {}", ended.out) };
    for (object, kind) in [(entry, "ServiceEntry"), (rule, "DestinationRule")] {
        assert_eq!((&object["apiVersion"], &object["kind"]), (&json!("networking.istio.io/v1"), &json!(kind)));
        let labels = json!({"app.kubernetes.io/managed-by": "pxc-link", "pxc-link.io/link": "production"});
        assert_eq!((&object["metadata"]["labels"], &object["metadata"]["namespace"]), (&labels, &json!("pxc")));
    }
    assert_eq!(entry["spec"]["addresses"], json!(["240.0.0.7"]));
    let addresses: Vec<&Value> =
        entry["spec"]["endpoints"].as_array().unwrap().iter().map(|endpoint| &endpoint["address"]).collect();
    assert_eq!(addresses, ["198.18.0.3", "198.18.0.20"]);
}

#[test]
fn what_rendering_lacks_is_named() {
    let vip = "    vip: 240.0.0.7\n";
    let without_vip = offline().replace(vip, "");
    let without_endpoints = LINK.replace("  production:\n", &format!("  production:\n{vip}"));
    for (config, open, context, keys) in [
        (without_vip.as_str(), "`vip` of link production is left open", "context `dr`", "write `vip` into link"),
        (
            &without_endpoints,
            "`source.endpoints` of link production",
            "context `production`",
            "write `source.endpoints` into",
        ),
        (LINK, "`vip` of link production", "context `dr`", "write `vip` and `source.endpoints` into link"),
    ] {
        let ended = Place::with(config).run(&["render"]);
        assert_eq!((ended.code, ended.out.as_str(), ended.errors().len()), (Some(3), "", 1));
        assert!(ended.errors()[0].contains(context) && ended.errors()[0].contains("[PXL201]"), "{}", ended.err);
        assert!(ended.err.contains(open) && ended.err.contains(keys), "{}", ended.err);
    }
    // A comparison always needs the cluster.
    let ended = Place::with(&offline()).run(&["render", "--diff", "--exit-code"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(3), ""));
    assert!(ended.errors()[0].contains("context `dr`"), "{}", ended.err);
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

#[test]
fn colours_follow_flag_and_environment() {
    let (unset, set, empty) = (None, Some("1"), Some(""));
    let table = [
        (&[][..], unset, unset, false),
        (&["--color", "always"], unset, unset, true),
        (&["--color", "always"], set, unset, true),
        (&["--color", "never"], unset, set, false),
        (&[], unset, set, true),
        (&[], set, set, false),
        (&[], empty, set, true),
    ];
    for (flags, no_color, force, coloured) in table {
        let mut place = Place::empty();
        for (name, value) in [("NO_COLOR", no_color), ("CLICOLOR_FORCE", force)] {
            place.environment.extend(value.map(|value| (name, value.to_owned())));
        }
        let good = place.run(&[flags, &["explain", "PXL402"]].concat());
        let bad = place.run(&[flags, &["explain", "PXL999"]].concat());
        let seen = (good.out.contains(ESCAPE), bad.err.contains(ESCAPE));
        assert_eq!(seen, (coloured, coloured), "{flags:?}, NO_COLOR {no_color:?}, CLICOLOR_FORCE {force:?}");
    }
}

#[test]
fn quiet_leaves_results_and_errors() {
    let place = Place::with(LINK);
    let (loud, quiet) = (place.run(&["status"]), place.run(&["status", "-q"]));
    assert_eq!((quiet.code, quiet.out.as_str(), quiet.err.as_str()), (loud.code, loud.out.as_str(), ""));
    assert!(loud.err.contains("link production: ") && loud.err.contains("$ pxc-link verify --source production"));
    let (loud, quiet) = (place.run(&["teardown"]), place.run(&["teardown", "-q"]));
    assert_eq!((quiet.code, quiet.errors()), (loud.code, loud.errors()));
    assert!(quiet.err.starts_with("error: ") && loud.err.starts_with("link production: "));
}

#[test]
fn progress_is_redrawn_on_a_terminal_unless_told_otherwise() {
    // Whether the beginning of a step is a line of its own, on a terminal.
    let plain = |place: &Place, flags: &[&str]| {
        let command = place.command(&[&["setup", "--color", "never"], flags].concat());
        let shown = rexpect::session::spawn_command(command, Some(10_000)).unwrap().exp_eof().unwrap();
        assert!(shown.contains("fail  both sides answer"), "{shown}");
        shown.contains("...     both sides answer")
    };
    let place = Place::with(LINK).with_passwords();
    assert_eq!((plain(&place, &[]), plain(&place, &["--no-progress"])), (false, true));
    assert!(plain(&place.set("PXC_LINK_NO_PROGRESS", "1"), &[]));
}

#[test]
fn progress_as_json_is_one_event_a_line() {
    let ended = Place::with(LINK).with_passwords().run(&["setup", "--progress", "json"]);
    let lines: Vec<&str> = ended.err.lines().take_while(|line| line.starts_with('{')).collect();
    let events: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    assert_eq!(kinds, ["target", "started", "failed"]);
    assert!(events.iter().all(|event| event["schema"] == "pxc-link.io/event/v1"));
}

#[test]
fn a_reader_that_has_gone_is_no_error_and_a_full_disk_is_one() {
    let place = Place::with(LINK);
    for arguments in [&["explain", "--list"][..], &["config", "--schema"], &["completions", "bash"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = Ended::of(&place.command(arguments).stdout(writer).output().unwrap(), arguments);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ended = Ended::of(&place.command(arguments).stdout(full).output().unwrap(), arguments);
        assert_eq!((ended.code, ended.errors().len()), (Some(1), 1));
        assert!(ended.err.contains("[PXL113]"), "{}", ended.err);
    }
    // Nobody reads on: watching ends by itself.
    let (mut reader, writer) = std::io::pipe().unwrap();
    let begun = Instant::now();
    let mut command = place.command(&["monitor", "--interval", "1ms", "--timeout", "20s"]);
    let mut child = command.stdout(writer).stderr(Stdio::null()).spawn().unwrap();
    drop(command);
    reader.read_exact(&mut [0; 10]).unwrap();
    drop(reader);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn samples_are_lines_or_documents() {
    let place = Place::with(LINK);
    let watch = |form| place.run(&["monitor", "--count", "2", "--interval", "1ms", "-o", form]);
    assert_eq!((watch("text").code, watch("text").out.lines().count()), (Some(0), 2));
    assert!(watch("text").err.ends_with("2 samples, worst lag not known\n"));
    for line in watch("json").out.lines() {
        let sample: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&sample["schema"], &sample["status"]["state"]),
            (&json!("pxc-link.io/sample/v1"), &json!("unknown"))
        );
    }
    assert_eq!(watch("yaml").out.split("---\n").filter(|part| part.starts_with("schema: ")).count(), 2);
}

#[test]
fn without_a_kubeconfig_every_command_says_so() {
    let nothing = Place::with(LINK).with_passwords();
    let other = Place::with(LINK).with_passwords().set("KUBECONFIG", "kubeconfig");
    other.write("kubeconfig", "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: u, user: {}}]\ncontexts: [{name: elsewhere, context: {cluster: c, user: u}}]\n");
    for (place, seen, hint) in [
        (&nothing, "contexts there are: none", "hint: name a kubeconfig that has contexts"),
        (&other, "contexts there are: elsewhere", "$ kubectl config get-contexts"),
    ] {
        for (command, code) in [("setup", 3), ("teardown", 3), ("verify", 4), ("status", 5)] {
            let ended = place.run(&[command]);
            let all = format!("{}{}", ended.out, ended.err);
            assert_eq!(ended.code, Some(code), "{command}");
            assert!(all.contains("kube context `dr` was looked for and is not there [PXL201]"), "{command}");
            assert!(!all.contains(" ok "), "{command} calls nothing good");
            if command != "status" {
                assert!(all.contains(seen) && all.contains(hint), "{command}");
            }
        }
    }
}

#[test]
fn passwords_are_asked_for_by_name_and_never_shown() {
    let secret = "x7hunter2-".repeat(4);
    for (value, code, says) in [("", "PXL108", "PXC_REPLICATION_PASSWORD"), (&secret, "PXL109", "40 bytes")] {
        let ended = Place::with(LINK).with_passwords().set("PXC_REPLICATION_PASSWORD", value).run(&["setup", "-vvv"]);
        assert_eq!((ended.code, ended.errors().len()), (Some(3), 1));
        assert!(ended.err.contains(&format!("[{code}]")) && ended.err.contains(says), "{}", ended.err);
        assert!(!ended.err.contains("hunter2"), "{code}");
    }
}

#[test]
fn an_api_that_never_answers_holds_no_command_beyond_its_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = Place::with(LINK).set("KUBECONFIG", "kubeconfig");
    let server = listener.local_addr().unwrap();
    let context = |name: &str| format!("{{name: {name}, context: {{cluster: c, user: u}}}}");
    place.write(
        "kubeconfig",
        &format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: 'https://{server}'}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\ncontexts: [{}, {}]\n",
            context("production"),
            context("dr")
        ),
    );
    let begun = Instant::now();
    let ended = place.run(&["--timeout", "300ms", "status"]);
    assert_eq!(ended.code, Some(5));
    assert!(ended.out.contains("[PXL203]"), "{}", ended.out);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}
