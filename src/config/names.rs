//! The forms of names and values: each function says what is wrong, in words that go after the value's path.

use std::{net::IpAddr, time::Duration};

use jiff::SignedDuration;

use crate::domain::quote;

/// What a value is not, to be read after "`path` ".
pub(super) type Fault = &'static str;

/// A DNS label as RFC 1123 has it: what Kubernetes allows as the name of a namespace, a Service or a container.
pub(super) fn label(text: &str) -> Result<(), Fault> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    match text {
        "" => Err("is empty"),
        _ if text.len() > 63 => Err("is longer than 63 characters"),
        _ if !text.chars().all(inner) => Err("may hold only a-z, 0-9 and -"),
        _ if text.starts_with('-') || text.ends_with('-') => Err("may not begin or end with -"),
        _ => Ok(()),
    }
}

/// A DNS name of labels.
pub(super) fn subdomain(text: &str) -> Result<(), Fault> {
    if text.len() > 253 {
        return Err("is longer than 253 characters");
    }
    text.split('.').try_for_each(label).map_err(|fault| match fault {
        "is empty" => "has an empty part between dots",
        "is longer than 63 characters" => "has a part of more than 63 characters between dots",
        "may hold only a-z, 0-9 and -" => "may hold only a-z, 0-9, - and dots",
        _ => "has a part that begins or ends with -",
    })
}

/// A host name for the mesh: of at least two labels, no address, and none that Kubernetes' own DNS answers.
pub(super) fn host(text: &str) -> Result<(), Fault> {
    subdomain(text)?;
    let labels: Vec<&str> = text.split('.').collect();
    match labels.as_slice() {
        [] | [_] => Err("needs at least two parts, as in `pxc-source.production.global`"),
        [.., last] if last.chars().all(|c| c.is_ascii_digit()) => Err("is an address or ends like one"),
        [.., "localhost"] => Err("ends in localhost, which every resolver answers by itself"),
        [.., "svc"] | [.., "cluster", "local"] => Err("ends like a Service of the cluster's own DNS"),
        _ => Ok(()),
    }
}

/// A server that is dialled as it is: an address, or a name as resolvers take it (docker-compose's may hold `_`). MySQL keeps it in a
/// column of 255 characters.
pub(super) fn server(text: &str) -> Result<(), Fault> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match text.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() || address.is_multicast() => Err("is no address of one machine"),
        Ok(_) => Ok(()),
        Err(_) if text.is_empty() => Err("is empty"),
        Err(_) if text.len() > 255 => Err("is longer than 255 characters"),
        Err(_) if text.split('.').all(|part| !part.is_empty() && part.chars().all(allowed)) => Ok(()),
        Err(_) => Err("is neither a host name nor an address"),
    }
}

/// A channel name that needs no quoting anywhere; MySQL keeps two for itself.
pub(super) fn channel(text: &str) -> Result<(), Fault> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    match text.to_ascii_lowercase().as_str() {
        "" => Err("is empty"),
        "group_replication_applier" | "group_replication_recovery" => Err("is a channel that MySQL keeps for itself"),
        _ if text.len() > 64 => Err("is longer than 64 characters"),
        _ if !text.chars().all(allowed) => Err("may hold only A-Z, a-z, 0-9, _, . and -"),
        _ => Ok(()),
    }
}

/// A MySQL user name.
pub(super) fn user(text: &str) -> Result<(), Fault> {
    match text {
        "" => Err("is empty, which would be MySQL's anonymous user"),
        _ if text.chars().count() > 32 => Err("is longer than 32 characters"),
        _ if text.chars().any(char::is_control) => Err("holds a control character"),
        _ if !text.chars().all(quote::is_kept) => {
            Err("holds a character beyond U+FFFF, which MySQL keeps in no user name")
        }
        _ => Ok(()),
    }
}

/// The path of a file on the members. MySQL keeps it in a column of 511 characters.
pub(super) fn member_path(text: &str) -> Result<(), Fault> {
    match text {
        _ if !text.starts_with('/') => Err("must be an absolute path on the replica's members"),
        _ if text.chars().count() > 511 => Err("is longer than 511 characters"),
        _ if text.chars().any(char::is_control) => Err("holds a control character"),
        _ if !text.chars().all(quote::is_kept) => Err("holds a character beyond U+FFFF, which a channel cannot keep"),
        _ => Ok(()),
    }
}

/// A label selector; whether it selects anything is for the cluster to say.
pub(super) fn selector(text: &str) -> Result<(), Fault> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._/-=!,() ".contains(c);
    match text {
        _ if text.trim().is_empty() => Err("is empty, which would select every pod"),
        _ if !text.chars().all(allowed) => Err("is no label selector"),
        _ if text.matches('(').count() != text.matches(')').count() => Err("is no label selector"),
        _ => Ok(()),
    }
}

/// The name of an environment variable.
pub(super) fn variable(text: &str) -> Result<(), Fault> {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if begins && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        Ok(())
    } else {
        Err("is no name of an environment variable: it may hold only A-Z, a-z, 0-9 and _ and not begin with a digit")
    }
}

/// A key in the data of a Secret.
pub(super) fn secret_key(text: &str) -> Result<(), Fault> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if !text.is_empty() && text.len() <= 253 && text.chars().all(allowed) {
        Ok(())
    } else {
        Err("is no key of a Secret: it may hold only A-Z, a-z, 0-9, _, . and -")
    }
}

/// Anything that is there and can be printed.
pub(super) fn given(text: &str) -> Result<(), Fault> {
    match text {
        _ if text.trim().is_empty() => Err("is empty"),
        _ if text.chars().any(char::is_control) => Err("holds a control character"),
        _ => Ok(()),
    }
}

/// A duration as Go writes it (`30s`, `5m`, `1h30m`), more than zero.
pub(super) fn duration(text: &str) -> Result<Duration, Fault> {
    duration_or_zero(text).and_then(|span| if span.is_zero() { Err("must be more than zero") } else { Ok(span) })
}

/// The same, which may be no time at all.
pub(super) fn duration_or_zero(text: &str) -> Result<Duration, Fault> {
    const FORM: Fault = "is no duration";
    // jiff reads more than Go writes (`5 minutes`, `PT5M`); only what both understand is taken.
    if !text.chars().all(|c| c.is_ascii_digit() || ".hmsnuµ".contains(c)) {
        return Err(FORM);
    }
    let span: SignedDuration = text.parse().map_err(|_| FORM)?;
    Duration::try_from(span).map_err(|_| FORM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for good in ["pxc-source.production.global", "db.example.com", "a.b", "x1.2y.svc.mesh"] {
            assert_eq!(host(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "pxc",
            "Pxc.global",
            "a..b",
            "a.b.",
            "-a.b",
            "a_b.global",
            "*.global",
            "10.0.0.1",
            "a.7",
            "pxc.db.svc",
            "pxc.db.svc.cluster.local",
            "a.localhost",
            &format!("{}.global", "a".repeat(64)),
            &format!("{}global", "abcdefgh.".repeat(30)),
        ] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn channels() {
        for good in ["production", "A_b.c-9", &"x".repeat(64)] {
            assert_eq!(channel(good), Ok(()), "{good}");
        }
        for bad in ["", "a b", "a'b", "ü", "Group_Replication_Applier", "group_replication_recovery", &"x".repeat(65)]
        {
            assert!(channel(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn users_are_counted_in_characters() {
        assert_eq!(user(&"ü".repeat(32)), Ok(()));
        assert!(user(&"u".repeat(33)).is_err());
        assert!(user("").is_err() && user("a\nb").is_err() && user("a😀").is_err());
    }

    #[test]
    fn paths_of_members() {
        assert_eq!(member_path(&format!("/{}", "a".repeat(510))), Ok(()));
        assert!(member_path(&format!("/{}", "a".repeat(511))).is_err());
        assert!(member_path("ssl/ca.crt").is_err() && member_path("/a\nb").is_err() && member_path("/😀").is_err());
    }

    #[test]
    fn selectors() {
        for good in ["app=pxc", "app=pxc,tier!=x", "a in (b, c),!d", "app.kubernetes.io/name=pxc"] {
            assert_eq!(selector(good), Ok(()), "{good}");
        }
        for bad in ["", " ", "app:pxc", "a in (b", "app='pxc'"] {
            assert!(selector(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_what_go_writes() {
        for (text, millis) in
            [("30s", 30_000), ("5m", 300_000), ("1h30m", 5_400_000), ("1m30s", 90_000), ("1.5s", 1_500), ("250ms", 250)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in [
            "",
            "30",
            "5 minutes",
            "PT5M",
            "-5s",
            "0s",
            "1d",
            "s",
            "5",
            "1.5",
            "5x",
            "m5",
            "1h 5m",
            "99999999999999999999h",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_of_variables_and_keys() {
        assert!(variable("PXC_SOURCE_PASSWORD").is_ok() && variable("_x9").is_ok());
        assert!(variable("9x").is_err() && variable("a-b").is_err() && variable("").is_err());
        assert!(secret_key("root").is_ok() && secret_key("tls.crt").is_ok());
        assert!(secret_key("a/b").is_err() && secret_key("").is_err());
    }
}
