//! What goes to which stream: colours, quiet, progress, documents, readers that have gone.

use std::{
    fs,
    io::Read as _,
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::place::{Ended, LINK, Place};

const ESCAPE: char = '\x1b';

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
