//! Asking the API server which of some rules the user lacks: all rules of a namespace at once where its authorizers can be listed,
//! else rule by rule.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, future::join_all, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, ResourceRule, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SelfSubjectRulesReview,
    SelfSubjectRulesReviewSpec,
};
use kube::{Api, api::PostParams};

use super::{Cluster, K8sError};
use crate::{domain::facts::DeniedRule, wait::Deadline};

/// Requests under way at once: enough to take one round trip's time, few enough not to open a connection each.
const AT_ONCE: usize = 8;

/// Those of the rules that are denied, sorted.
///
/// # Errors
/// Any of [`K8sError`].
pub(crate) async fn missing(
    cluster: &Cluster,
    rules: impl IntoIterator<Item = DeniedRule>,
    deadline: Deadline,
) -> Result<Vec<DeniedRule>, K8sError> {
    let mut by_namespace: BTreeMap<Option<String>, Vec<DeniedRule>> = BTreeMap::new();
    for rule in rules {
        by_namespace.entry(rule.namespace.clone()).or_default().push(rule);
    }
    let unsettled = by_namespace.into_iter().map(|(namespace, rules)| async move {
        match namespace {
            Some(namespace) if rules.len() > 1 => not_listed(cluster, &namespace, rules, deadline).await,
            // A list is of one namespace and does not tell what of it holds everywhere.
            _ => rules,
        }
    });
    let unsettled = join_all(unsettled).await.into_iter().flatten();
    let ask = |rule: DeniedRule| async move {
        let allowed = is_allowed(cluster, &rule, deadline).await?;
        Ok::<_, K8sError>((!allowed).then_some(rule))
    };
    let answers: Vec<Option<DeniedRule>> = stream::iter(unsettled.map(ask)).buffered(AT_ONCE).try_collect().await?;
    let mut denied: Vec<DeniedRule> = answers.into_iter().flatten().collect();
    denied.sort();
    Ok(denied)
}

/// Those of a namespace's rules that the list of the user's rules there does not grant, all of them where there is no full list:
/// an authorizer that cannot be listed may also deny what another grants.
async fn not_listed(cluster: &Cluster, namespace: &str, rules: Vec<DeniedRule>, deadline: Deadline) -> Vec<DeniedRule> {
    let api: Api<SelfSubjectRulesReview> = Api::all(cluster.client());
    let review = SelfSubjectRulesReview {
        spec: SelfSubjectRulesReviewSpec { namespace: Some(namespace.to_owned()) },
        ..SelfSubjectRulesReview::default()
    };
    let parameters = PostParams::default();
    let answer = cluster.call("listing the permissions", deadline, api.create(&parameters, &review)).await;
    match answer.ok().and_then(|answer| answer.status) {
        Some(list) if !list.incomplete && list.evaluation_error.is_none() => {
            rules.into_iter().filter(|rule| !list.resource_rules.iter().any(|held| grants(held, rule))).collect()
        }
        _ => rules,
    }
}

/// Whether a rule of a list grants another, as the RBAC authorizer decides it (kubernetes: `RuleAllows`).
fn grants(held: &ResourceRule, wanted: &DeniedRule) -> bool {
    let any = |list: Option<&[String]>, values: &[&str]| {
        list.unwrap_or_default().iter().any(|held| values.contains(&held.as_str()))
    };
    let all_with_subresource = wanted.resource.split_once('/').map(|(_, subresource)| format!("*/{subresource}"));
    let resource = all_with_subresource.as_deref().unwrap_or(&wanted.resource);
    any(Some(&held.verbs), &["*", &wanted.verb])
        && any(held.api_groups.as_deref(), &["*", &wanted.group])
        && any(held.resources.as_deref(), &["*", &wanted.resource, resource])
        && match held.resource_names.as_deref() {
            None | Some([]) => true,
            Some(names) => wanted.name.as_ref().is_some_and(|name| names.contains(name)),
        }
}

async fn is_allowed(cluster: &Cluster, rule: &DeniedRule, deadline: Deadline) -> Result<bool, K8sError> {
    let api: Api<SelfSubjectAccessReview> = Api::all(cluster.client());
    let parameters = PostParams::default();
    let review = review(rule);
    let answer = cluster.call("asking for permissions", deadline, api.create(&parameters, &review)).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

fn review(rule: &DeniedRule) -> SelfSubjectAccessReview {
    let (resource, subresource) = match rule.resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (rule.resource.as_str(), None),
    };
    // The namespace of a request for a Namespace is that Namespace.
    let own = (rule.resource == "namespaces").then(|| rule.name.clone()).flatten();
    SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                verb: Some(rule.verb.clone()),
                group: Some(rule.group.clone()),
                resource: Some(resource.into()),
                subresource,
                namespace: rule.namespace.clone().or(own),
                name: rule.name.clone(),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(verb: &str, group: &str, resource: &str, name: Option<&str>) -> DeniedRule {
        DeniedRule {
            verb: verb.into(),
            group: group.into(),
            resource: resource.into(),
            namespace: Some("pxc".into()),
            name: name.map(ToOwned::to_owned),
        }
    }

    fn held(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> ResourceRule {
        let list = |of: &[&str]| of.iter().map(ToString::to_string).collect::<Vec<_>>();
        ResourceRule {
            verbs: list(verbs),
            api_groups: Some(list(groups)),
            resources: Some(list(resources)),
            resource_names: Some(list(names)),
        }
    }

    #[test]
    fn a_rule_is_granted_by_one_that_names_it_or_everything() {
        let list = wanted("list", "", "pods", None);
        assert!(grants(&held(&["get", "list"], &[""], &["nodes", "pods"], &[]), &list));
        assert!(grants(&held(&["*"], &["*"], &["*"], &[]), &list));
        assert!(!grants(&held(&["get"], &[""], &["pods"], &[]), &list), "another verb");
        assert!(!grants(&held(&["list"], &["apps"], &["pods"], &[]), &list), "another group");
        assert!(!grants(&held(&["list"], &[""], &["pods"], &["pxc-0"]), &list), "one pod is not all of them");
        assert!(!grants(&ResourceRule { verbs: vec!["*".into()], ..ResourceRule::default() }, &list));
    }

    #[test]
    fn a_subresource_is_a_resource_of_its_own() {
        let exec = wanted("create", "", "pods/exec", None);
        assert!(grants(&held(&["create"], &[""], &["pods/exec"], &[]), &exec));
        assert!(grants(&held(&["create"], &[""], &["*/exec"], &[]), &exec));
        assert!(!grants(&held(&["create"], &[""], &["pods"], &[]), &exec));
        assert!(!grants(&held(&["create"], &[""], &["*/exec"], &[]), &wanted("create", "", "pods", None)));
    }

    #[test]
    fn a_rule_about_one_object_is_granted_by_its_name() {
        let secret = wanted("get", "", "secrets", Some("pxc-secrets"));
        assert!(grants(&held(&["get"], &[""], &["secrets"], &["other", "pxc-secrets"]), &secret));
        assert!(grants(&held(&["get"], &[""], &["secrets"], &[]), &secret));
        assert!(!grants(&held(&["get"], &[""], &["secrets"], &["other"]), &secret));
    }
}
