//! What each answer of an API server comes to as a problem.

use super::*;

fn target() -> Arc<Target> {
    Target { kubeconfig: None, context: Some("dr".into()), server: "https://198.18.0.12:6443".into() }.into()
}

fn status(code: u16, reason: &str, message: &str) -> kube::Error {
    let mut status = Status::failure(message, reason);
    status.code = code;
    kube::Error::Api(status.boxed())
}

fn problem(code: u16, reason: &str, message: &str) -> Problem {
    K8sError::of(&target(), "applying ServiceEntry/x", status(code, reason, message)).into()
}

#[test]
fn a_forbidden_answer_names_the_rule_and_how_it_is_granted() {
    let problem = problem(
        403,
        "Forbidden",
        r#"pods is forbidden: User "pxc-link" cannot list resource "pods" in API group "" in the namespace "pxc""#,
    );
    assert_eq!(problem.code, Code::Forbidden);
    assert_eq!(problem.evidence[0], "missing: list pods in namespace pxc");
    assert_eq!(
        problem.hint.unwrap().commands[0].to_string(),
        "kubectl --context dr create role pxc-link-list-pods --namespace pxc --verb list --resource pods"
    );
}

#[test]
fn a_forbidden_object_and_a_cluster_wide_rule_are_read_too() {
    let (user, rule) = denied_rule(
        r#"secrets "pxc-secrets" is forbidden: User "u" cannot get resource "secrets" in API group "" in the namespace "pxc""#,
    )
    .unwrap();
    assert_eq!((user.as_str(), rule.to_string().as_str()), ("u", "get secrets `pxc-secrets` in namespace pxc"));
    let (_, rule) = denied_rule(
        r#"serviceentries.networking.istio.io is forbidden: User "u" cannot list resource "serviceentries" in API group "networking.istio.io" at the cluster scope"#,
    )
    .unwrap();
    assert_eq!(rule.to_string(), "list serviceentries.networking.istio.io cluster-wide");
}

#[test]
fn webhooks_that_deny_and_webhooks_that_are_down_are_told_apart() {
    let denied =
        problem(400, "", r#"admission webhook "validation.istio.io" denied the request: configuration is invalid: x"#);
    let down = problem(
        500,
        "InternalError",
        r#"Internal error occurred: failed calling webhook "validation.istio.io": no endpoints available for service "istiod""#,
    );
    assert_eq!((denied.code, down.code), (Code::ApplyRejected, Code::IstiodDown));
    assert!(denied.evidence[0].ends_with("configuration is invalid: x"));
    let unknown = problem(500, "", "failed to create typed patch object (x): .spec.y: field not declared in schema");
    assert_eq!(unknown.code, Code::ApplyRejected);
}

#[test]
fn a_missing_definition_is_not_a_missing_object() {
    assert_eq!(problem(404, "NotFound", "the server could not find the requested resource").code, Code::IstioMissing);
    assert_eq!(problem(404, "NotFound", "404 page not found").code, Code::IstioMissing);
    assert_eq!(problem(404, "NotFound", r#"leases "x" not found"#).code, Code::ApplyRejected);
    assert_eq!(problem(401, "Unauthorized", "Unauthorized").code, Code::CredentialsRejected);
    assert_eq!(problem(503, "ServiceUnavailable", "x").code, Code::ApiUnreachable);
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Layer(&'static str, #[source] Option<Box<Layer>>);

#[test]
fn causes_are_said_once() {
    let chain = Layer(
        "client error (Connect): tcp connect error: refused",
        Some(Box::new(Layer(
            "client error (Connect): tcp connect error: refused",
            Some(Box::new(Layer("tcp connect error: refused", Some(Box::new(Layer("refused", None)))))),
        ))),
    );
    assert_eq!(causes(&chain), ["client error (Connect)", "tcp connect error", "refused"]);
}
