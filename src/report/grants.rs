//! The accounts of a link as SQL that makes them. No password is in it: where one belongs stands a mark that no server takes.

use std::fmt::Write as _;

use serde::Serialize;

use crate::domain::{
    accounts::NeededAccount,
    check::Side,
    grants::{Grant, Role},
    quote,
};

/// The host part. Behind gateways a source sees the address of one of its own nodes, which nobody knows beforehand.
const HOST: &str = "%";

/// `pxc-link.io/grants/v1`: the accounts of one link.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GrantsDto {
    /// Name and version of this shape.
    pub schema: &'static str,
    /// The link.
    pub link: String,
    /// Those of the source first.
    pub accounts: Vec<AccountDto>,
}

/// One account.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AccountDto {
    /// `source` or `replica`.
    pub side: Side,
    /// What it does.
    pub purpose: String,
    /// Its user name.
    pub user: String,
    /// Its host part.
    pub host: &'static str,
    /// Where the configuration says that its password is.
    pub password: String,
    /// What stands in `create` where the password belongs.
    pub placeholder: &'static str,
    /// The statement that makes it, once the password stands in it as a string literal.
    pub create: String,
    /// What it is granted.
    pub grants: Vec<GrantDto>,
    /// What it may be granted beside that: without it some checks are unknown.
    pub optional: Vec<GrantDto>,
}

/// One privilege.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GrantDto {
    /// As GRANT writes it.
    pub privilege: &'static str,
    /// What it is granted on.
    pub on: &'static str,
    /// What it is needed for.
    pub why: &'static str,
    /// The statement.
    pub statement: String,
}

impl GrantsDto {
    /// The document of a link's accounts, with what a promotion needs if they are to be able to.
    pub fn new(link: &str, accounts: &[NeededAccount], promotes: bool) -> Self {
        Self {
            schema: "pxc-link.io/grants/v1",
            link: link.to_owned(),
            accounts: accounts.iter().map(|account| AccountDto::new(account, promotes)).collect(),
        }
    }
}

impl AccountDto {
    fn new(account: &NeededAccount, promotes: bool) -> Self {
        // The configuration admits no user name that a literal could not carry.
        let name = |text: &str| quote::literal(text).map(|it| it.to_string()).unwrap_or_default();
        let name = format!("{}@{}", name(&account.user), name(HOST));
        let placeholder = placeholder(account);
        let require = account.require.clause().map(|clause| format!(" {clause}")).unwrap_or_default();
        Self {
            side: account.side,
            purpose: account.roles.iter().map(|role| purpose(*role)).collect::<Vec<_>>().join("; "),
            user: account.user.clone(),
            host: HOST,
            password: account.password.to_string(),
            placeholder,
            create: format!("CREATE USER IF NOT EXISTS {name} IDENTIFIED BY {placeholder}{require}"),
            grants: account.grants(promotes).into_iter().map(|grant| grant_dto(grant, &name)).collect(),
            optional: account.optional().into_iter().map(|grant| grant_dto(grant, &name)).collect(),
        }
    }
}

fn grant_dto(grant: Grant, name: &str) -> GrantDto {
    let Grant { privilege, on, why } = grant;
    GrantDto { privilege, on, why, statement: format!("GRANT {} TO {name}", grant.phrase()) }
}

/// Not quoted, so that a statement in which it was forgotten is refused and makes no account with a known password.
fn placeholder(account: &NeededAccount) -> &'static str {
    match account.roles.first() {
        Some(Role::Replication) => "<REPLICATION_PASSWORD>",
        Some(Role::ReplicaAdmin) => "<REPLICA_PASSWORD>",
        Some(Role::SourceReader) | None => "<SOURCE_PASSWORD>",
    }
}

fn purpose(role: Role) -> &'static str {
    match role {
        Role::Replication => "the channel logs in with it",
        Role::SourceReader => "reads settings and GTID sets, for which every account may",
        Role::ReplicaAdmin => "reads the replica and runs the channel's statements",
    }
}

/// As commented SQL.
pub fn sql(document: &GrantsDto) -> String {
    let mut text = format!(
        "-- The accounts of link {}, with the least they need. Put each password in place of its mark, as a string literal;\n\
         -- host parts may be narrowed to what the server sees: SELECT USER() as that account shows it. What is done on the source\n\
         -- is replicated: hence IF NOT EXISTS. An account that is there keeps its password and its REQUIRE.\n",
        document.link
    );
    for side in [Side::Source, Side::Replica] {
        let accounts: Vec<&AccountDto> = document.accounts.iter().filter(|account| account.side == side).collect();
        if accounts.is_empty() {
            continue;
        }
        let _infallible =
            write!(text, "\n-- On the {side}: on one member of a cluster that shares its accounts, else on each.\n");
        for account in accounts {
            let password = &account.password;
            let _infallible = write!(
                text,
                "\n-- {}: {}\n-- {} is in {}\n{};\n",
                comment(&account.user),
                account.purpose,
                account.placeholder,
                comment(password),
                account.create
            );
            for grant in &account.grants {
                let _infallible = write!(text, "-- {}\n{};\n", grant.why, grant.statement);
            }
            for grant in &account.optional {
                let _infallible = write!(text, "-- optional: {}\n-- {};\n", grant.why, grant.statement);
            }
        }
    }
    text
}

/// A value inside a comment, which ends with its line.
fn comment(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        accounts::needed,
        sample::spec,
        spec::{Account, SecretRef, ServiceSpec},
    };

    fn document(promotes: bool) -> GrantsDto {
        let mut spec = spec();
        let ServiceSpec::Replication(replication) = &mut spec.service else { panic!("{spec:?}") };
        replication.source_account =
            Some(Account { user: "o'reader".into(), password: SecretRef::File("/run/a\nDROP USER root".into()) });
        GrantsDto::new(&spec.name, &needed(spec.replication().unwrap()), promotes)
    }

    #[test]
    fn as_sql() {
        insta::assert_snapshot!(sql(&document(false)));
    }

    #[test]
    fn what_a_promotion_needs_is_granted_where_it_is_asked_for() {
        let granted = |promotes| {
            let grants = document(promotes).accounts.into_iter().flat_map(|account| account.grants);
            grants.map(|grant| grant.statement).collect::<Vec<_>>()
        };
        let more: Vec<String> = granted(true).into_iter().filter(|grant| !granted(false).contains(grant)).collect();
        assert_eq!(
            more,
            [
                "GRANT SYSTEM_VARIABLES_ADMIN ON *.* TO 'o''reader'@'%'",
                "GRANT SYSTEM_VARIABLES_ADMIN ON *.* TO 'pxc_link'@'%'",
                "GRANT EVENT ON *.* TO 'pxc_link'@'%'",
                "GRANT SET_ANY_DEFINER ON *.* TO 'pxc_link'@'%'",
            ]
        );
    }

    #[test]
    fn no_line_but_a_statement_is_anything_but_a_comment() {
        let text = sql(&document(true));
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with("-- ")) {
            assert!(
                (line.starts_with("CREATE USER IF NOT EXISTS '") || line.starts_with("GRANT ")) && line.ends_with(';'),
                "{line}"
            );
        }
    }
}
