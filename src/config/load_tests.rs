//! What a user reads when the file is wrong, word by word, and what comes out when it is right.

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::domain::spec::{Protocol, SecretRef, SourceLocation, Tls};

const GOOD: &str = "\
apiVersion: pxc-link.io/v1alpha1
kind: Links
links:
  production:
    host: pxc-source.production.global
    port: 3306
    vip: 240.0.0.7
    source:
      kubernetes: {context: production, namespace: pxc, service: pxc, kubeconfig: kube/production}
      account: {user: pxc_link, password: {env: PXC_SOURCE_PASSWORD}}
    replica:
      kubernetes: {context: dr, namespace: pxc, selector: app=pxc, container: pxc}
      account: {user: root, password: {secret: {name: pxc-secrets, key: root}}}
    replication:
      account: {user: repl, password: {file: secrets/repl}}
      channel: production
      tls: {mode: verify-identity, ca: /etc/mysql/ssl/ca.crt}
    thresholds: {lag: {warning: 30s, critical: 1h30m}}
";

const SHORT: &str = "\
apiVersion: pxc-link.io/v1alpha1
kind: Links
links:
  staging:
    source: {endpoints: [{address: 172.19.0.3, port: 31306}, {address: 172.19.0.2, port: 31306}]}
    replica:
      kubernetes: {namespace: pxc, selector: app=pxc, container: pxc}
      account: {user: root, password: {file: ~/root.password}}
    replication:
      account: {user: repl, password: {env: REPL_PASSWORD}}
      tls: {mode: disabled}
";

const HELLO: &str = "\
apiVersion: pxc-link.io/v1alpha1
kind: Links
links:
  hello:
    host: hello.cluster-a.global
    vip: 240.0.0.1
    ports: [{number: 8080, name: http, protocol: HTTP}]
    source: {kubernetes: {context: production, namespace: demo, service: hello}}
    client: {kubernetes: {context: dr, namespace: demo, selector: app=curl, container: curl}}
";

/// Problems as text, all parts of them.
pub(crate) fn render(problems: &[Problem]) -> String {
    let lines = problems.iter().flat_map(|problem| {
        let hint = problem.hint.iter();
        let commands = hint.clone().flat_map(|hint| hint.commands.iter().map(|command| format!("    {command}")));
        std::iter::once(format!("error: {} [{}]", problem.message, problem.code))
            .chain(problem.evidence.iter().map(|line| format!("  seen: {line}")))
            .chain(hint.map(|hint| format!("  hint: {}", hint.text)))
            .chain(commands)
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn parsed(text: &str) -> Result<Config, Vec<Problem>> {
    let folders = Folders { base: "/etc/pxc-link".into(), home: Some("/home/dba".into()) };
    read(text, Path::new("pxc-link.yaml"), ChosenBy::WorkingFolder, &folders)
}

/// What is reported when one piece of a good file is another one.
fn with(from: &str, to: &str) -> String {
    assert_eq!(GOOD.matches(from).count(), 1, "`{from}` must stand exactly once in the good file");
    wrong(&GOOD.replace(from, to))
}

fn wrong(text: &str) -> String {
    render(&parsed(text).unwrap_err())
}

#[test]
fn a_good_file_says_what_the_link_is_to_be() {
    insta::assert_debug_snapshot!(parsed(GOOD).unwrap().links);
}

#[test]
fn defaults_are_filled_in() {
    let config = parsed(SHORT).unwrap();
    let link = config.link(None).unwrap();
    let replication = link.replication().unwrap().replication;
    assert_eq!(
        (link.host.as_str(), replication.port, link.mesh().unwrap().vip),
        ("pxc-source.staging.global", 3306, None)
    );
    assert_eq!((replication.lag.warning.as_secs(), replication.lag.critical.as_secs()), (30, 300));
    assert_eq!((replication.channel.as_str(), &replication.tls), ("staging", &Tls::Disabled));
    assert_eq!(replication.replica_account.password, SecretRef::File("/home/dba/root.password".into()));
    assert!(replication.source_account.is_none());
    assert!(matches!(link.mesh().unwrap().source, SourceLocation::Endpoints(endpoints) if endpoints.len() == 2));
}

#[test]
fn the_view_of_a_full_file() {
    assert_snapshot!(parsed(GOOD).unwrap().view);
}

#[test]
fn the_view_of_a_short_file() {
    let view = parsed(SHORT).unwrap().view;
    assert_snapshot!(view);
    insta::assert_json_snapshot!(view);
}

#[test]
fn links_share_an_anchor() {
    let second = GOOD.split_once("  production:\n").unwrap().1;
    let second = second
        .replace("    host: pxc-source.production.global\n", "")
        .replace("240.0.0.7", "240.0.0.8")
        .replace("channel: production", "channel: other");
    let text = GOOD.replace("    replica:\n", "    replica: &dr\n") + "  second:\n" + &second;
    let start = text.rfind("    replica:\n").unwrap();
    let end = text.rfind("    replication:\n").unwrap();
    let text = format!("{}    replica: *dr\n{}", &text[..start], &text[end..]);
    let config = parsed(&text).unwrap();
    assert_eq!(config.links[0].mesh().unwrap().client, config.links[1].mesh().unwrap().client);
    assert_eq!(config.links[1].host, "pxc-source.second.global");
}

#[test]
fn unknown_keys() {
    assert_snapshot!(with("    host: pxc", "    hots: pxc"));
    assert_snapshot!(with("user: repl,", "user: repl, colour: blue,"));
    assert_snapshot!(wrong(&GOOD.replace("links:", "lnks:")));
}

#[test]
fn duplicate_keys() {
    assert_snapshot!(with("    port: 3306\n", "    port: 3306\n    vip: 240.0.0.9\n"));
    assert_snapshot!(wrong(&format!("{GOOD}  production: {{}}\n")));
}

#[test]
fn literal_passwords() {
    for literal in [
        "hunter2",
        "\"hunter2\"",
        "'hunter2'",
        "|\n          hunter2",
        "[hunter2]",
        "{hunter2: }",
        "{value: hunter2}",
        "{\"hunter2\"}",
        "!!str hunter2",
        "!secret hunter2",
        "&hunter2 hunter2",
        "12345678",
        "true",
        "{secret: hunter2}",
    ] {
        let text = wrong(&GOOD.replace("{file: secrets/repl}", literal));
        assert!(text.contains("[PXL106]"), "{literal}: {text}");
        assert!(!text.contains("hunter2") && !text.contains("12345678"), "{literal}: {text}");
    }
    assert_snapshot!(with("{file: secrets/repl}", "hunter2"));
    assert_snapshot!(with("{file: secrets/repl}", "{hunter2: }"));
}

#[test]
fn a_password_that_is_no_yaml_is_not_quoted() {
    for literal in ["@hunter2", "\"hunter2", "'hunter2", "%hunter2", "`hunter2", "*hunter2", "hunter2: x", "{hunter2"] {
        let text = wrong(&GOOD.replace("{file: secrets/repl}", literal));
        assert!(text.contains("[PXL102]") && !text.contains("hunter2"), "{literal}: {text}");
    }
    assert_snapshot!(with("{file: secrets/repl}", "@hunter2"));
}

#[test]
fn a_misspelt_way_to_a_password() {
    assert_snapshot!(with("{file: secrets/repl}", "{flie: secrets/repl}"));
    assert_snapshot!(with("password: {file: secrets/repl}", "pasword: hunter2"));
    assert_snapshot!(with("password: {file: secrets/repl}", "hunter2"));
    assert_snapshot!(with("{file: secrets/repl}", "{file: secrets/repl, env: REPL}"));
    assert_snapshot!(with("{file: secrets/repl}", "{}"));
    assert_snapshot!(with("{file: secrets/repl}", "{env: not-a-name!}"));
    assert_snapshot!(with("{name: pxc-secrets, key: root}", "{name: Pxc/Secrets}"));
    assert_snapshot!(with("{name: pxc-secrets, key: root}", "{hunter2: x, name: hunter2}"));
}

#[test]
fn a_syntax_problem_is_reported_alone() {
    let text = GOOD.replace("port: 3306", "prot: [").replace("user: repl,", "usr: repl,");
    assert_snapshot!(wrong(&text));
    assert_snapshot!(wrong("a: b\n---\nc: d\n"));
    assert_snapshot!(wrong("links:\n\tproduction:\n"));
}

#[test]
fn all_problems_of_meaning_in_one_run_in_the_order_of_the_file() {
    let text = GOOD
        .replace("host: pxc-source.production.global", "host: PXC_source")
        .replace("port: 3306", "port: 99999")
        .replace("240.0.0.7", "240.240.0.7")
        .replace("{context: production, namespace: pxc, service: pxc, ", "{context: 7, namespace: Pxc, ")
        .replace("user: pxc_link,", "user: a-user-name-of-more-than-32-characters,")
        .replace("selector: app=pxc", "selektor: app=pxc")
        .replace("channel: production", "channel: group_replication_applier")
        .replace("ca: /etc", "ca: etc")
        .replace("warning: 30s", "warning: 30")
        .replace("1h30m", "90 minutes");
    assert_snapshot!(wrong(&text));
}

#[test]
fn values_of_the_wrong_kind() {
    assert_snapshot!(with("port: 3306", "port: \"3306\""));
    assert_snapshot!(with("port: 3306", "port: 0"));
    assert_snapshot!(with("vip: 240.0.0.7", "vip:"));
    assert_snapshot!(with("vip: 240.0.0.7", "vip: [240.0.0.7]"));
    assert_snapshot!(with("thresholds: {lag: {warning: 30s, critical: 1h30m}}", "thresholds: [lag]"));
    assert_snapshot!(with("mode: verify-identity", "mode: verify_identity"));
    assert_snapshot!(with("apiVersion: pxc-link.io/v1alpha1", "apiVersion: v1"));
    assert_snapshot!(with("kind: Links\n", ""));
}

#[test]
fn missing_values() {
    let text = "apiVersion: pxc-link.io/v1alpha1\nkind: Links\nlinks:\n  production: {}\n  second:\n    source: {}\n    replica: {account: {}}\n    replication: {tls: {}}\n";
    assert_snapshot!(wrong(text));
    assert_snapshot!(wrong("apiVersion: pxc-link.io/v1alpha1\nkind: Links\nlinks: {}\n"));
    assert_snapshot!(wrong("links:\n"));
    assert_snapshot!(wrong("just a text"));
    assert_snapshot!(wrong("# nothing\n"));
}

#[test]
fn what_does_not_fit_together() {
    assert_snapshot!(with("verify-identity, ca: /etc/mysql/ssl/ca.crt", "disabled, ca: /x"));
    assert_snapshot!(with(", ca: /etc/mysql/ssl/ca.crt", ""));
    assert_snapshot!(with("warning: 30s, critical: 1h30m", "warning: 10m"));
    assert_snapshot!(with(
        "context: production, namespace: pxc, service: pxc, kubeconfig: kube/production",
        "namespace: pxc, service: pxc"
    ));
    assert_snapshot!(wrong(
        &SHORT.replace("source: {", "source: {kubernetes: {context: a, namespace: b, service: c}, ")
    ));
    assert_snapshot!(wrong(&SHORT.replace(
        "172.19.0.3, port: 31306}, {address: 172.19.0.2, port: 31306",
        "172.19.0.3, port: 31306}, {address: 172.19.0.3, port: 31306}, {address: \"::1\", port: 1}, {address: 127.0.0.1"
    )));
    let secret =
        "{endpoints: [{address: 10.0.0.1, port: 1}], account: {user: a, password: {secret: {name: b, key: c}}}}";
    assert_snapshot!(wrong(
        &SHORT.replace("{endpoints: [{address: 172.19.0.3, port: 31306}, {address: 172.19.0.2, port: 31306}]}", secret)
    ));
}

#[test]
fn an_operators_resource_and_how_the_source_is_entered() {
    let source = (
        "service: pxc, kubeconfig: kube/production",
        "pxc: cluster1, entry: hostPort, addressType: ExternalIP, maxEndpoints: 3",
    );
    let replica = ("selector: app=pxc, container: pxc", "pxc: cluster2");
    let config = parsed(&GOOD.replace(source.0, source.1).replace(replica.0, replica.1)).unwrap();
    let said = config.view.values.iter().filter(|value| value.key.contains(".kubernetes."));
    let said: Vec<String> = said.map(|value| format!("{} = {} ({})", value.key, value.value, value.origin)).collect();
    assert_snapshot!(said.join("\n"));
    assert_snapshot!(with("service: pxc,", "service: pxc, pxc: cluster1,"));
    assert_snapshot!(with("selector: app=pxc,", "selector: app=pxc, pxc: cluster2,"));
    assert_snapshot!(with(
        "service: pxc,",
        "pxc: Cluster_1, entry: nodePorts, addressType: Hostname, maxEndpoints: 0,"
    ));
}

#[test]
fn what_two_links_may_not_share() {
    let second = GOOD.split_once("  production:\n").unwrap().1;
    assert_snapshot!(wrong(&format!("{GOOD}  second:\n{second}")));
}

#[test]
fn a_link_of_any_service() {
    let config = parsed(HELLO).unwrap();
    assert_snapshot!(format!("{:#?}", config.links[0]));
    let named = HELLO.replace(", name: http, protocol: HTTP", "");
    let ports = parsed(&named).unwrap().links[0].ports();
    assert_eq!((ports[0].name.as_str(), ports[0].protocol), ("tcp-8080", Protocol::Tcp));
}

#[test]
fn a_link_of_any_service_that_is_wrong() {
    let with = |from: &str, to: &str| wrong(&HELLO.replace(from, to));
    assert_snapshot!(with("    host: hello.cluster-a.global\n", ""));
    assert_snapshot!(with("[{number: 8080, name: http, protocol: HTTP}]", "[]"));
    assert_snapshot!(with("protocol: HTTP}]", "protocol: HTTP}, {number: 8080, name: http}]"));
    assert_snapshot!(with("protocol: HTTP", "protocol: MySQL"));
    assert_snapshot!(with("    vip: 240.0.0.1\n", "    port: 8080\n    thresholds: {lag: {warning: 1s}}\n"));
    let several = "ports: [{number: 1}, {number: 2}]\n    source: {endpoints: [{address: 172.19.0.3, port: 31306}]}";
    assert_snapshot!(with(
        "ports: [{number: 8080, name: http, protocol: HTTP}]\n    source: {kubernetes: {context: production, namespace: demo, service: hello}}",
        several
    ));
    let client = HELLO.split_once("    client:").unwrap().0;
    assert_snapshot!(wrong(client));
}

#[test]
fn names_of_links() {
    assert_snapshot!(with("  production:\n", "  Prod_1:\n"));
}

#[test]
fn no_such_link() {
    let two = {
        let second = SHORT.split_once("links:\n").unwrap().1;
        parsed(&format!("{GOOD}{second}")).unwrap()
    };
    assert_eq!(two.link(Some("staging")).unwrap().name, "staging");
    let problems = [
        two.link(None).unwrap_err(),
        two.link(Some("prodution")).unwrap_err(),
        two.link(Some("elsewhere")).unwrap_err(),
        parsed(GOOD).unwrap().link(Some("second")).unwrap_err(),
    ];
    assert_snapshot!(render(&problems));
}

#[test]
fn where_the_file_is_searched() {
    let folder = tempfile::tempdir().unwrap();
    let user = folder.path().join("config.yaml");
    let problem = locate(None, None, Some(&user)).unwrap_err();
    assert_snapshot!(render(&[*problem]).replace(folder.path().to_str().unwrap(), "/home/dba/.config/pxc-link"));
    fs::write(&user, GOOD).unwrap();
    let found = |flag: Option<&str>, variable: Option<&str>| {
        let (path, by) = locate(flag.map(Path::new), variable.map(OsString::from), Some(&user)).unwrap();
        (path.display().to_string(), by)
    };
    assert_eq!(found(None, None), (user.display().to_string(), ChosenBy::UserFolder));
    assert_eq!(found(None, Some("")).1, ChosenBy::UserFolder);
    assert_eq!(found(None, Some("v.yaml")), ("v.yaml".into(), ChosenBy::Variable));
    assert_eq!(found(Some("f.yaml"), Some("v.yaml")), ("f.yaml".into(), ChosenBy::Flag));
}

#[test]
fn a_file_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("binary.yaml");
    fs::write(&path, b"kind: Links\npassword: hunter2\xff\n").unwrap();
    let mut problems = load(Some(&folder.path().join("none.yaml"))).unwrap_err();
    problems.extend(load(Some(folder.path())).unwrap_err());
    problems.extend(load(Some(&path)).unwrap_err());
    assert_snapshot!(render(&problems).replace(folder.path().to_str().unwrap(), "/folder"));
}

#[test]
fn relative_paths_begin_at_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    fs::write(&path, GOOD).unwrap();
    let config = load(Some(&path)).unwrap();
    let link = config.link(Some("production")).unwrap();
    assert_eq!(
        link.replication().unwrap().replication.account.password,
        SecretRef::File(folder.path().join("secrets/repl"))
    );
    let SourceLocation::Kubernetes { cluster, .. } = link.mesh().unwrap().source else { panic!("kubernetes") };
    assert_eq!(cluster.kubeconfig, Some(folder.path().join("kube/production")));
}

proptest! {
    #[test]
    fn a_literal_password_is_in_no_problem(
        core in "[A-Z][A-Z0-9!#$%&()*+,./:;<=>?@^_{}|~'\"\\\\\\[\\] -]{6,30}[A-Z]",
        style in 0_usize..6,
        place in 0_usize..3,
        key in 0_usize..4,
    ) {
        let literal = match style {
            0 => core.clone(),
            1 => format!("'{}'", core.replace('\'', "''")),
            2 => serde_json::Value::from(core.as_str()).to_string(),
            3 => format!("|\n          {core}"),
            4 => format!("{{{core}}}"),
            _ => format!("[{core}"),
        };
        let places = ["{env: PXC_SOURCE_PASSWORD}", "{secret: {name: pxc-secrets, key: root}}", "{file: secrets/repl}"];
        let keys = ["password: ", "pasword: ", "secret: ", "pw: "];
        let text = GOOD.replace(&format!("password: {}", places[place]), &format!("{}{literal}", keys[key]));
        prop_assume!(text != GOOD);
        let problems = parsed(&text).unwrap_err();
        let text = format!("{}{problems:?}", render(&problems));
        prop_assert!(!text.contains(&core), "{}", text);
        // Nor in pieces: no run of six characters of it.
        let characters: Vec<char> = core.chars().collect();
        for piece in characters.windows(6) {
            let piece: String = piece.iter().collect();
            prop_assert!(!text.contains(&piece), "{} in {}", piece, text);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        let _ = parsed(&text);
    }

    #[test]
    fn no_damage_to_a_good_file_makes_it_panic(at in 0..GOOD.len(), with in "[\\[\\]{}:,\"'&*!|>#%@ \n\tx-]{1,3}") {
        let mut text = GOOD.to_owned();
        text.insert_str(at, &with);
        let _ = parsed(&text);
    }
}
