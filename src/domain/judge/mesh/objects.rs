//! The link's own mesh objects: are they there, and as `setup` writes them? And what mends them where they are not.

use serde_json::{Map, Value, json};

use super::super::{
    Asked, ask, ids,
    kubectl::{Kubectl, with},
};
use crate::domain::{
    check::{Check, Subject},
    code::Code,
    facts::{ChangedField, Facts, OwnObject},
    hint::{Hint, Remedy},
    problem::{Fetched, Problem},
    spec::MeshLink,
};

/// Judges the link's objects; `None` where they were not looked at.
///
/// A missing object is a failure, and so is an entry without its address. What else was changed is a warning: what the change breaks fails on its own milestone, and what it
/// does not break may be meant.
pub(crate) fn objects(spec: MeshLink<'_>, facts: &Facts) -> Option<Check> {
    let asked = ask(ids::MESH_OBJECTS, Subject::Link);
    Some(match facts.objects.as_ref()? {
        Fetched::Failed(problem) => asked.unfetched(problem),
        Fetched::Got(objects) => judged(spec, facts, objects, asked),
    })
}

fn judged(spec: MeshLink<'_>, facts: &Facts, objects: &[OwnObject], asked: Asked) -> Check {
    let missing: Vec<String> = objects
        .iter()
        .filter(|object| !object.present)
        .map(|object| format!("{}/{}", object.kind, object.name))
        .collect();
    if !missing.is_empty() {
        let what =
            format!("the link has no {} in namespace `{}`", missing.join(" and no "), spec.client.cluster.namespace);
        let hint = with(Hint::text("set the link up"), mending(spec, facts, objects));
        return asked.failed(Problem::new(Code::ObjectsChanged, what).hint(hint));
    }
    let differences = differences(objects);
    if differences.is_empty() {
        return asked.passed(objects.iter().map(|object| format!("{}/{}", object.kind, object.name)));
    }
    let unnamed = objects.iter().flat_map(|object| &object.changed).any(|field| field.path == ["addresses"]);
    let what = if unnamed {
        "the link's ServiceEntry has lost its virtual address: the mesh name no longer leads to a listener of its own"
    } else {
        "the link's mesh objects are not as `setup` writes them"
    };
    let problem = differences.into_iter().fold(Problem::new(Code::ObjectsChanged, what), Problem::seen);
    let problem = problem.hint(with(Hint::text(CHANGED), mending(spec, facts, objects)));
    if unnamed { asked.failed(problem) } else { asked.warned(problem) }
}

/// What a hint says where objects were changed.
pub(crate) const CHANGED: &str = "somebody changed the link's own objects: bring them back to what `setup` writes";

/// What differs, one line a field.
pub(crate) fn differences(objects: &[OwnObject]) -> Vec<String> {
    let word = |value: &Value| if value.is_null() { "absent".to_owned() } else { value.to_string() };
    objects
        .iter()
        .flat_map(|object| {
            object.changed.iter().chain(&object.added).map(|field| {
                let (is, wanted) = (word(&field.is), word(&field.wanted));
                format!("{}/{} {}: {is}, `setup` writes {wanted}", object.kind, object.name, field.name())
            })
        })
        .collect()
}

/// The commands that bring the objects back: what was added is taken out by patches, as an apply leaves the fields of others
/// alone; then `setup`, which takes fields from another manager only when told to.
pub(crate) fn mending(spec: MeshLink<'_>, facts: &Facts, objects: &[OwnObject]) -> Vec<Remedy> {
    let mut commands = Vec::new();
    if let Some(kubectl) = Kubectl::of(&spec, facts, spec.client_side()) {
        for object in objects.iter().filter(|object| !object.added.is_empty()) {
            let patch = json!({"spec": without(&object.added)}).to_string();
            commands.push(kubectl.line(&[
                "patch",
                &object.kind.to_lowercase(),
                &object.name,
                "--type",
                "merge",
                "-p",
                &patch,
            ]));
        }
    }
    if objects.iter().any(|object| !object.present || !object.changed.is_empty()) {
        let mut argv = vec!["pxc-link", "setup", "--source", &spec.name];
        if objects.iter().any(|object| object.shared && !object.changed.is_empty()) {
            argv.push("--force-conflicts");
        }
        commands.push(Remedy::Argv(argv.into_iter().map(ToOwned::to_owned).collect()));
    }
    commands
}

/// A merge patch that takes fields out.
fn without(fields: &[ChangedField]) -> Value {
    let mut patch = Value::Object(Map::new());
    for field in fields {
        let mut place = &mut patch;
        for key in &field.path {
            place = &mut place[key.as_str()];
        }
        *place = Value::Null;
    }
    patch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_were_added_are_set_to_null_and_nothing_else() {
        let field = |path: &[&str]| ChangedField {
            path: path.iter().map(ToString::to_string).collect(),
            is: json!(1),
            wanted: Value::Null,
        };
        let patch = without(&[field(&["a", "b"]), field(&["a", "c"]), field(&["d"])]);
        assert_eq!(patch, json!({"a": {"b": null, "c": null}, "d": null}));
    }
}
