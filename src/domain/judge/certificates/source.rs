//! What the source shows: its time, its names, and whether a CA file leads to it.

use super::{Flaw, Seen, validity};
use crate::domain::{
    certificate::{Certificate, Chain},
    check::Side,
    code::Code,
    facts::{Facts, MemberFacts},
    hint::Hint,
    judge::named,
    problem::Problem,
    spec::{ReplicationLink, Tls},
};

/// The certificate that a member of the source shows, by itself.
pub(super) fn shown(spec: ReplicationLink<'_>, facts: &Facts, one: &MemberFacts, texts: &[String]) -> Seen {
    let name = named(Side::Source, one);
    let shown = read(&name, texts)?;
    let Some(own) = shown.first() else { return Err(unread(&name, "it showed none")) };
    let renew = |what: &str| {
        let text = format!(
            "{what}, put it and its key in the place of `ssl_cert` and `ssl_key`, and have the server read them"
        );
        Hint::text(text).sql(&name, "ALTER INSTANCE RELOAD TLS")
    };
    let held = validity(own, facts.at, &format!("the certificate of {name}"), &renew("have a new certificate issued"));
    let lesser = match held {
        Err(wrong @ Flaw::Wrong(_)) => return Err(wrong),
        lesser => lesser,
    };
    let host = &spec.host;
    if matches!(spec.replication.tls, Tls::VerifyIdentity { .. }) && !own.is_for(host) {
        let message = format!("the certificate of {name} does not name `{host}`");
        let hint = renew(&format!(
            "have one issued that names `{host}` among its subject alternative names (or write `tls.mode: verify-ca`, which compares no names)"
        ));
        let names = format!("it names {}", own.hosts());
        return Err(Flaw::Wrong(
            Problem::new(Code::HostNotNamed, message).seen(names).seen(own.described()).hint(hint),
        ));
    }
    lesser?;
    Ok(vec![own.described(), format!("names {}", own.hosts())])
}

/// Where a CA file leads from the certificates that a member of the source shows: a line of evidence.
pub(super) fn issued_by(
    facts: &Facts,
    one: &MemberFacts,
    texts: &[String],
    (file, roots): (&str, &[Certificate]),
) -> Result<String, Flaw> {
    let name = named(Side::Source, one);
    let shown = read(&name, texts)?;
    let Some((own, others)) = shown.split_first() else { return Err(unread(&name, "it showed none")) };
    let subjects = |all: &[Certificate]| all.iter().map(|one| one.subject.clone()).collect::<Vec<_>>().join("; ");
    let told = |message: String| {
        Problem::new(Code::OtherAuthority, message)
            .seen(format!("{name} shows {}", own.described()))
            .seen(format!("{file} holds {}", subjects(roots)))
    };
    match own.chain(others, roots, facts.at) {
        Chain::Open(last) => {
            let between = if others.is_empty() { String::new() } else { format!(", with it {}", subjects(others)) };
            let message = format!("{file} does not lead to the certificate of {name}");
            let problem = told(message).seen(format!("nobody is found who signed `{}`{between}", last.subject));
            let hint = format!(
                "put the root of `{}` into that file on every member; a source must show the authorities between by itself, in the file of its `ssl_cert`",
                last.issuer
            );
            Err(Flaw::Wrong(problem.hint(Hint::text(hint))))
        }
        Chain::Untold(last) => {
            let message = format!("whether {file} leads to the certificate of {name} cannot be told here");
            Err(Flaw::Untold(
                told(message).seen(format!("the signature of `{}` is of a kind that is not known", last.subject)),
            ))
        }
        Chain::Trusted(way) => {
            for authority in &way[1..] {
                let whose = format!("`{}`, which {file} needs for the certificate of {name},", authority.subject);
                let renew = Hint::text(
                    "put the authority's new certificate into that file on every member; one between the root and the source belongs to what the source shows",
                );
                validity(authority, facts.at, &whose, &renew)?;
            }
            let way: Vec<&str> = way.iter().map(|one| one.subject.as_str()).collect();
            Ok(format!("{name}: {}", way.join(" ← ")))
        }
    }
}

fn read(name: &str, texts: &[String]) -> Result<Vec<Certificate>, Flaw> {
    Certificate::of_pem(&texts.concat()).map_err(|why| unread(name, &why))
}

fn unread(name: &str, why: &str) -> Flaw {
    Flaw::Untold(Problem::new(Code::TlsFilesUnseen, format!("the certificate of {name} cannot be read: {why}")))
}
