//! Holds the structure of a file against the schema: unknown and duplicate keys, wrong kinds of values, literal passwords.
//!
//! No message quotes a value, and no key from a place where a password belongs: what stands there may be the password.

use serde_json::Value as Schema;
use serde_yaml::Value as Yaml;

use super::{
    findings::Findings,
    tree::{Location, Node, Value},
};
use crate::domain::{code::Code, hint::Hint, nearest::nearest, problem::Problem};

/// Walks a document along its schema, notes the place of every value and everything wrong with the structure.
/// Gives what is left when all of that is taken out.
pub(super) fn check(root: &Node, schema: &Schema, findings: &mut Findings) -> Option<Yaml> {
    Walk { definitions: &schema["$defs"], findings }.value(root, root.at, schema, "")
}

struct Walk<'a> {
    definitions: &'a Schema,
    findings: &'a mut Findings,
}

impl Walk<'_> {
    fn value(&mut self, node: &Node, key_at: Location, schema: &Schema, path: &str) -> Option<Yaml> {
        let schema = self.resolve(schema);
        let at = if matches!(node.value, Value::Scalar { .. }) { node.at } else { key_at };
        if !path.is_empty() {
            self.findings.place(path, at);
        }
        if matches!(&node.value, Value::Scalar { text, plain: true } if is_null(text)) {
            let hint = Hint::text("give it a value, or take the key out");
            self.findings.add_at(at, Code::InvalidValue, format!("{} has no value", named(path)), hint);
            return None;
        }
        if schema["x-secret-reference"] == true && !matches!(node.value, Value::Mapping(_)) {
            self.literal_secret(at, path);
            return None;
        }
        match (schema["type"].as_str(), &node.value) {
            (Some("object"), Value::Mapping(entries)) => Some(self.mapping(entries, &schema, path)),
            (Some("array"), Value::List(items)) => {
                let items = items.iter().enumerate();
                let values =
                    items.filter_map(|(n, item)| self.value(item, item.at, &schema["items"], &format!("{path}[{n}]")));
                Some(Yaml::Sequence(values.collect()))
            }
            (Some("integer"), Value::Scalar { text, plain: true }) => self.integer(text, &schema, at, path),
            (Some("string") | None, Value::Scalar { text, plain }) if !plain || is_string(text) => {
                self.string(text, &schema, at, path)
            }
            (kind, _) => {
                self.wrong_kind(kind, &schema, matches!(node.value, Value::Scalar { .. }), at, path);
                None
            }
        }
    }

    fn resolve(&self, schema: &Schema) -> Schema {
        match schema["$ref"].as_str() {
            Some(reference) => self.definitions[reference.trim_start_matches("#/$defs/")].clone(),
            None => schema.clone(),
        }
    }

    fn mapping(&mut self, entries: &[(Node, Node)], schema: &Schema, path: &str) -> Yaml {
        let secret = schema["x-secret-reference"] == true;
        let mut kept = serde_yaml::Mapping::new();
        let mut seen: Vec<(&str, Location)> = Vec::new();
        for (key, value) in entries {
            let Value::Scalar { text, .. } = &key.value else {
                let hint = Hint::text("write a plain word before the colon");
                let message = format!("a key in {} is no plain word", named(path));
                self.findings.add_at(key.at, Code::InvalidValue, message, hint);
                continue;
            };
            let below = &schema["properties"][text.as_str()];
            let below = if below.is_null() { &schema["additionalProperties"] } else { below };
            if !below.is_object() {
                self.unknown_key(text, value, key.at, schema, secret, path);
                continue;
            }
            if let Some((_, first)) = seen.iter().find(|(name, _)| name == text) {
                let first = self.findings.cite(*first);
                let problem = Problem::new(Code::DuplicateKey, format!("key `{text}` stands twice in {}", named(path)))
                    .seen(self.findings.cite(key.at))
                    .seen(format!("first at {first}"))
                    .hint(Hint::text("keep one of the two"));
                self.findings.add(key.at, problem);
                continue;
            }
            seen.push((text, key.at));
            let path = join(path, text);
            if let Some(value) = self.value(value, key.at, below, &path) {
                kept.insert(Yaml::String(text.clone()), value);
            }
        }
        Yaml::Mapping(kept)
    }

    fn unknown_key(&mut self, key: &str, value: &Node, at: Location, schema: &Schema, secret: bool, path: &str) {
        let valid: Vec<&str> =
            schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let nearest = nearest(key, valid.iter().copied());
        match nearest {
            None if secret => {
                self.findings.condemn(path);
                return self.literal_secret(at, path);
            }
            None => {}
            // What it was meant to be is not missing.
            Some(meant) => {
                let meant = join(path, meant);
                if self.findings.at(&meant).is_none() {
                    self.findings.place(&meant, at);
                }
            }
        }
        // `{user: repl, hunter2}` makes a key without a value of what was meant as the password.
        let bare = matches!(&value.value, Value::Scalar { text, plain: true } if text.is_empty());
        let message = if secret || bare {
            format!("unknown key in {}", named(path))
        } else {
            format!("unknown key `{}` in {}", key.escape_debug(), named(path))
        };
        let valid = valid.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let hint = match nearest {
            Some(nearest) => format!("the nearest valid key is `{nearest}`; valid here: {valid}"),
            None => format!("valid here: {valid}"),
        };
        self.findings.add_at(at, Code::UnknownKey, message, Hint::text(hint));
    }

    fn literal_secret(&mut self, at: Location, path: &str) {
        let hint = "refer to it by `password: {env: NAME}`, `password: {file: PATH}` or \
                    `password: {secret: {name: NAME, key: KEY}}`, and change a password that has been in a file like this";
        self.findings.add_at(
            at,
            Code::LiteralSecret,
            format!("{} must say where the password is, not what it is", named(path)),
            Hint::text(hint),
        );
    }

    fn integer(&mut self, text: &str, schema: &Schema, at: Location, path: &str) -> Option<Yaml> {
        let bounds = (schema["minimum"].as_i64().unwrap_or(0), schema["maximum"].as_i64().unwrap_or(i64::MAX));
        match text.parse::<i64>() {
            Ok(number) if (bounds.0..=bounds.1).contains(&number) => Some(Yaml::Number(number.into())),
            Ok(_) => {
                let message = format!("{} is not between {} and {}", named(path), bounds.0, bounds.1);
                self.findings.add_at(at, Code::InvalidValue, message, Hint::text("write a number in that range"));
                None
            }
            Err(_) => {
                self.wrong_kind(Some("integer"), schema, true, at, path);
                None
            }
        }
    }

    fn string(&mut self, text: &str, schema: &Schema, at: Location, path: &str) -> Option<Yaml> {
        let Some(allowed) = choices(schema) else {
            return Some(Yaml::String(text.to_owned()));
        };
        if allowed.contains(&text) {
            return Some(Yaml::String(text.to_owned()));
        }
        let list = allowed.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(", ");
        let hint = match (nearest(text, allowed.iter().copied()), allowed.as_slice()) {
            (_, [only]) => format!("write `{only}`"),
            (Some(nearest), _) => format!("the nearest valid value is `{nearest}`"),
            (None, _) => format!("write one of {list}"),
        };
        let not = if allowed.len() == 1 { "not" } else { "none of" };
        let message = format!("{} is {not} {list}", named(path));
        self.findings.add_at(at, Code::InvalidValue, message, Hint::text(hint));
        None
    }

    fn wrong_kind(&mut self, kind: Option<&str>, schema: &Schema, scalar: bool, at: Location, path: &str) {
        let (kind, hint) = match kind {
            Some("object") => ("a mapping", "write its keys and values on the lines below, indented".to_owned()),
            Some("array") => ("a list", "write every item on a line of its own after `- `".to_owned()),
            Some("integer") => ("a whole number", "write digits only, without quotes".to_owned()),
            _ => match schema["examples"][0].as_str() {
                Some(example) => ("a string", format!("write it like `{example}`")),
                None if !scalar => ("a string", "write one value after the colon".to_owned()),
                None => ("a string", "put a value that looks like a number or a truth value in quotes".to_owned()),
            },
        };
        let message = format!("{} must be {kind}", named(path));
        self.findings.add_at(at, Code::InvalidValue, message, Hint::text(hint));
    }
}

/// The strings a schema allows, if it lists them.
fn choices(schema: &Schema) -> Option<Vec<&str>> {
    if let Some(list) = schema["enum"].as_array() {
        return Some(list.iter().filter_map(Schema::as_str).collect());
    }
    // Variants with descriptions are one alternative each.
    let alternatives = schema["oneOf"].as_array()?;
    let constants: Vec<&str> = alternatives.iter().filter_map(|alternative| alternative["const"].as_str()).collect();
    (!constants.is_empty()).then_some(constants)
}

/// The path of a key.
fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{}", key.escape_debug()) }
}

/// A path in a sentence.
fn named(path: &str) -> String {
    if path.is_empty() { "the file".into() } else { format!("`{path}`") }
}

/// Null in the core schema of YAML 1.2.
fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// Whether a plain scalar is a string in the core schema of YAML 1.2: neither null, nor a truth value, nor a number.
fn is_string(text: &str) -> bool {
    let number = text.trim_start_matches(['-', '+']);
    let numeric = number.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && (number.parse::<f64>().is_ok()
            || ["0x", "0o"].iter().any(|radix| {
                number.strip_prefix(radix).is_some_and(|digits| digits.chars().all(|c| c.is_ascii_hexdigit()))
            })
            || matches!(number, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN"));
    let truth = matches!(text, "true" | "True" | "TRUE" | "false" | "False" | "FALSE");
    !(numeric || truth || is_null(text))
}
