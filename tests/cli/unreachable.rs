//! Clusters that cannot be reached, passwords that cannot be had, and the end of waiting.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use super::place::{LINK, Place};

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
