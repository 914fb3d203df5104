//! The dependency rule of `src/lib.rs`, checked on every path that the source names.
#![expect(clippy::unwrap_used, reason = "a source that cannot be read is a test that fails")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use syn::visit::{self, Visit};

/// What a part of the tree may not name: other parts (`crate::…`) and crates.
struct Rule {
    part: &'static str,
    parts: &'static [&'static str],
    crates: &'static [&'static str],
}

const IO: &[&str] =
    &["tokio", "kube", "k8s_openapi", "mysql_async", "clap", "tracing", "hyper", "serde_yaml", "saphyr"];

const RULES: &[Rule] = &[
    Rule {
        part: "domain",
        parts: &["config", "mysql", "k8s", "mesh", "workflow", "report", "ui", "cli", "wait", "shutdown", "error"],
        crates: IO,
    },
    Rule {
        part: "config",
        parts: &["mysql", "k8s", "mesh", "workflow", "report", "ui", "cli"],
        crates: &["tokio", "kube", "k8s_openapi", "mysql_async", "clap", "hyper"],
    },
    Rule {
        part: "mysql",
        parts: &["k8s", "mesh", "workflow", "report", "ui", "cli"],
        crates: &["kube", "k8s_openapi", "clap", "serde_yaml", "saphyr", "hyper"],
    },
    Rule {
        part: "k8s",
        parts: &["mysql", "mesh", "workflow", "report", "ui", "cli"],
        crates: &["mysql_async", "clap", "serde_yaml", "saphyr"],
    },
    Rule {
        part: "mesh",
        parts: &["mysql", "workflow", "report", "ui", "cli"],
        crates: &["mysql_async", "kube", "k8s_openapi", "clap", "serde_yaml", "saphyr"],
    },
    Rule {
        part: "workflow",
        parts: &["report", "ui", "cli"],
        crates: &["mysql_async", "kube", "k8s_openapi", "clap", "serde_yaml", "saphyr", "hyper"],
    },
    Rule { part: "report", parts: &["config", "mysql", "k8s", "mesh", "workflow", "cli", "wait"], crates: IO },
    Rule {
        part: "ui",
        parts: &["config", "mysql", "k8s", "mesh", "workflow", "cli"],
        crates: &["kube", "k8s_openapi", "mysql_async", "clap", "serde_yaml", "saphyr", "hyper"],
    },
    Rule { part: "cli", parts: &[], crates: &["mysql_async", "kube", "k8s_openapi", "serde_yaml", "saphyr", "hyper"] },
];

/// Collects every path of a file, the trees of `use` flattened, tests left out.
#[derive(Default)]
struct Paths {
    seen: BTreeSet<Vec<String>>,
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
    })
}

impl Paths {
    fn tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.tree(&with(&path.ident), &path.tree),
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.tree(before, item)),
            syn::UseTree::Name(name) => drop(self.seen.insert(with(&name.ident))),
            syn::UseTree::Rename(rename) => drop(self.seen.insert(with(&rename.ident))),
            syn::UseTree::Glob(_) => drop(self.seen.insert(before.to_vec())),
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_test(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.seen.insert(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }
}

fn source_files(below: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(source_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Paths of a file as they would be written from the crate's root: `super` resolved, `self` dropped.
fn paths_of(file: &Path) -> Vec<Vec<String>> {
    let mut paths = Paths::default();
    paths.visit_file(&syn::parse_file(&fs::read_to_string(file).unwrap()).unwrap());
    let mut module: Vec<String> =
        file.strip_prefix(src()).unwrap().with_extension("").iter().map(|part| part.to_string_lossy().into()).collect();
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    paths.seen.into_iter().map(|path| absolute(&module, path)).collect()
}

fn absolute(module: &[String], path: Vec<String>) -> Vec<String> {
    let ups = path.iter().take_while(|part| *part == "super").count();
    if ups == 0 {
        return path;
    }
    let kept = &module[..module.len().saturating_sub(ups)];
    [&["crate".to_owned()], kept, &path[ups..]].concat()
}

fn breaches(rule: &Rule) -> Vec<String> {
    let mut found = Vec::new();
    for file in source_files(&src().join(rule.part)) {
        for path in paths_of(&file) {
            let first = path.first().map_or("", String::as_str);
            let part = if first == "crate" { path.get(1).map_or("", String::as_str) } else { "" };
            if rule.crates.contains(&first) || rule.parts.contains(&part) {
                found.push(format!("{}: {}", file.display(), path.join("::")));
            }
        }
    }
    found
}

#[test]
fn every_part_names_only_what_lies_below_it() {
    let found: Vec<String> = RULES.iter().flat_map(breaches).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_part_of_the_tree_has_a_rule() {
    let parts: BTreeSet<String> = fs::read_dir(src())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    let ruled: BTreeSet<String> = RULES.iter().map(|rule| rule.part.to_owned()).collect();
    assert_eq!(parts, ruled);
}

#[test]
fn the_check_finds_what_it_is_there_to_find() {
    let mut paths = Paths::default();
    paths.visit_file(
        &syn::parse_str("use super::super::k8s::{Cluster, client as c}; fn f() { tokio::spawn(g()); }").unwrap(),
    );
    let module = ["domain".to_owned(), "judge".to_owned()];
    let seen: Vec<String> = paths.seen.into_iter().map(|path| absolute(&module, path).join("::")).collect();
    assert!(seen.contains(&"crate::k8s::Cluster".to_owned()) && seen.contains(&"tokio::spawn".to_owned()), "{seen:?}");
}

#[test]
fn secrets_are_exposed_in_few_places_only() {
    let mut sites = Vec::new();
    for file in source_files(&src()) {
        let text = fs::read_to_string(&file).unwrap();
        let count = text.matches("expose_secret(").count();
        if count > 0 {
            sites.push((file.strip_prefix(src()).unwrap().display().to_string(), count));
        }
    }
    sites.sort();
    let allowed = [
        "config/secret.rs",
        "k8s/exec.rs",
        "mesh/probe/mysql.rs",
        "mesh/probe/shell.rs",
        "mysql/client.rs",
        "mysql/operate.rs",
    ];
    for (file, _) in &sites {
        assert!(allowed.contains(&file.as_str()), "{file} exposes a secret; the places that may are {allowed:?}");
    }
}
