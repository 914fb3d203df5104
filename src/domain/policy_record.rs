//! What the link's ServiceEntry remembers of PeerAuthentications of the source, so that what setup did to them can be undone.

use std::{collections::BTreeMap, fmt};

use serde_json::{Map, Value, json};

/// One PeerAuthentication that setup made or changed for a link. Written as `created pxc/pxc-link-production`, or as
/// `changed pxc/database 3306=STRICT 33060=`, each port with the mode that it had of its own before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRecord {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The ports that were changed in somebody else's, each with its own mode before, if it had one; `None` for one that was made
    /// for the link.
    pub changed: Option<BTreeMap<u16, Option<String>>>,
}

impl PolicyRecord {
    /// Reads what was written; what is no record is passed over.
    pub fn parse(text: &str) -> Vec<Self> {
        text.split(", ").filter_map(Self::one).collect()
    }

    fn one(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (verb, place) = (words.next()?, words.next()?);
        let (namespace, name) = place.split_once('/')?;
        let changed = match verb {
            "created" => None,
            "changed" => Some(words.filter_map(port).collect()),
            _ => return None,
        };
        Some(Self { namespace: namespace.to_owned(), name: name.to_owned(), changed })
    }

    /// The records of before with further ones: what a policy was before the first change of it is what stays.
    pub fn merged(before: &str, further: Vec<Self>) -> String {
        let mut all = Self::parse(before);
        for record in further {
            let same = |known: &&mut Self| (&known.namespace, &known.name) == (&record.namespace, &record.name);
            match all.iter_mut().find(same) {
                Some(known) => {
                    for (port, mode) in record.changed.into_iter().flatten() {
                        known.changed.iter_mut().for_each(|ports| {
                            ports.entry(port).or_insert_with(|| mode.clone());
                        });
                    }
                }
                None => all.push(record),
            }
        }
        all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    /// `namespace/name`.
    pub fn place(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The merge patch that undoes what was changed, as far as it still stands in the policy, where that is known; `None` where there
    /// is nothing to undo.
    pub fn undo(&self, policy: Option<&Value>) -> Option<Value> {
        let stands = |port: &u16| {
            policy.is_none_or(|policy| policy["spec"]["portLevelMtls"][port.to_string()]["mode"] == "DISABLE")
        };
        let ports: Map<String, Value> = self
            .changed
            .iter()
            .flatten()
            .filter(|(port, _)| stands(port))
            .map(|(port, mode)| (port.to_string(), mode.as_ref().map_or(Value::Null, |mode| json!({"mode": mode}))))
            .collect();
        if ports.is_empty() {
            return None;
        }
        // The map must not be empty (its definition: at least one property): without a port left it goes as a whole.
        let gone = |port: &String| ports.get(port).is_some_and(Value::is_null);
        let now = policy.and_then(|policy| policy["spec"]["portLevelMtls"].as_object());
        let none_left = now.is_some_and(|now| now.keys().all(gone)) && ports.values().all(Value::is_null);
        Some(json!({"spec": {"portLevelMtls": if none_left { Value::Null } else { ports.into() }}}))
    }
}

fn port(word: &str) -> Option<(u16, Option<String>)> {
    let (port, mode) = word.split_once('=')?;
    Some((port.parse().ok()?, Some(mode.to_owned()).filter(|mode| !mode.is_empty())))
}

impl fmt::Display for PolicyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.changed.is_some() { "changed" } else { "created" };
        write!(f, "{verb} {}", self.place())?;
        self.changed
            .iter()
            .flatten()
            .try_for_each(|(port, mode)| write!(f, " {port}={}", mode.as_deref().unwrap_or("")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(ports: &[(u16, Option<&str>)]) -> PolicyRecord {
        let ports = ports.iter().map(|(port, mode)| (*port, mode.map(ToOwned::to_owned)));
        PolicyRecord { namespace: "pxc".into(), name: "database".into(), changed: Some(ports.collect()) }
    }

    #[test]
    fn records_are_read_as_they_are_written() {
        let made = PolicyRecord { namespace: "pxc".into(), name: "pxc-link-production".into(), changed: None };
        let both = vec![made, changed(&[(3306, Some("STRICT")), (33060, None)])];
        let text = PolicyRecord::merged("", both.clone());
        assert_eq!(text, "created pxc/pxc-link-production, changed pxc/database 3306=STRICT 33060=");
        assert_eq!(PolicyRecord::parse(&text), both);
        assert_eq!(PolicyRecord::parse("nonsense, deleted a/b, created x"), []);
    }

    #[test]
    fn what_was_before_the_first_change_stays() {
        let again = changed(&[(3306, Some("DISABLE")), (33060, Some("STRICT"))]);
        assert_eq!(
            PolicyRecord::merged("changed pxc/database 3306=", vec![again]),
            "changed pxc/database 3306= 33060=STRICT"
        );
        assert_eq!(PolicyRecord::merged("created a/b", Vec::new()), "created a/b");
    }

    #[test]
    fn only_what_was_changed_and_still_stands_is_undone() {
        let record = changed(&[(3306, Some("STRICT")), (33060, None), (33061, None)]);
        let now = json!({"spec": {"portLevelMtls": {
            "3306": {"mode": "DISABLE"}, "33060": {"mode": "DISABLE"}, "33061": {"mode": "STRICT"}, "9999": {"mode": "DISABLE"},
        }}});
        let undone = json!({"spec": {"portLevelMtls": {"3306": {"mode": "STRICT"}, "33060": null}}});
        assert_eq!(record.undo(Some(&now)), Some(undone));
        assert_eq!(changed(&[(33061, None)]).undo(Some(&now)), None, "somebody undid it already");
        assert!(changed(&[(33061, None)]).undo(None).is_some(), "not known, so said");
        let alone = json!({"spec": {"portLevelMtls": {"3306": {"mode": "DISABLE"}}}});
        assert_eq!(changed(&[(3306, None)]).undo(Some(&alone)), Some(json!({"spec": {"portLevelMtls": null}})));
        let strict = changed(&[(3306, Some("STRICT"))]).undo(Some(&alone));
        assert_eq!(strict, Some(json!({"spec": {"portLevelMtls": {"3306": {"mode": "STRICT"}}}})));
    }
}
