//! The command line itself: versions, completions, codes, what is refused, durations.

use std::process::Command;

use pxc_link::domain::code::Code;
use serde_json::{Value, json};

use super::place::{Ended, LINK, Place};

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
        for command in [
            "init", "config", "setup", "verify", "status", "monitor", "render", "grants", "teardown", "explain",
            "version",
        ] {
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
fn grants_are_printed_without_any_server_and_without_any_password() {
    let place = Place::with(LINK).with_passwords();
    let ended = place.run(&["grants", "--source", "production"]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert!(
        ended.out.contains("CREATE USER IF NOT EXISTS 'repl'@'%' IDENTIFIED BY <REPLICATION_PASSWORD> REQUIRE SSL;"),
        "{}",
        ended.out
    );
    let document = place.run(&["grants", "-o", "json"]).json();
    assert_eq!(document["schema"], json!("pxc-link.io/grants/v1"));
    let privileges = document["accounts"].as_array().unwrap().iter().flat_map(|it| it["grants"].as_array().unwrap());
    let privileges: Vec<&str> = privileges.map(|grant| grant["privilege"].as_str().unwrap()).collect();
    assert_eq!(privileges, ["REPLICATION SLAVE", "REPLICATION_SLAVE_ADMIN", "RELOAD", "SELECT"]);
    let hello = Place::with(include_str!("../e2e/services.yaml")).run(&["grants", "--source", "hello", "-o", "json"]);
    assert_eq!((hello.code, hello.json()["problems"][0]["code"].as_str()), (Some(2), Some("PXL119")), "{}", hello.out);
}
