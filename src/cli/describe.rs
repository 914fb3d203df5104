//! Commands that touch no cluster and no server: init, config, grants, explain, version.

use std::{path::Path, process::ExitCode};

use serde::Serialize;

use super::{
    Context, Ended,
    args::{ConfigArgs, ExplainArgs, FormatArgs, GrantsArgs, InitArgs},
    output::Output,
};
use crate::{
    config::{
        self, FILE_NAME,
        init::{AccountDraft, Draft, ReplicaDraft, SourceDraft},
        show::ValueView,
    },
    domain::{
        accounts,
        code::Code,
        hint::Hint,
        problem::Problem,
        spec::{LinkSpec, SecretRef, Tls},
    },
    error::Failure,
    report::{explain as explained, grants as granted},
};

/// `pxc-link init`
pub(super) fn init(context: &Context, args: &InitArgs) -> Ended {
    let account = |user: &str, variable: &str| AccountDraft {
        user: user.to_owned(),
        password: SecretRef::Env(variable.to_owned()),
    };
    let draft = Draft {
        name: args.name.clone(),
        source: SourceDraft {
            context: args.source_context.clone(),
            namespace: args.namespace.clone(),
            service: args.service.clone(),
            account: Some(account(&args.source_user, "PXC_SOURCE_PASSWORD")),
        },
        replica: ReplicaDraft {
            context: args.replica_context.clone(),
            namespace: args.namespace.clone(),
            selector: args.selector.clone(),
            container: args.container.clone(),
            account: account(&args.replica_user, "PXC_REPLICA_PASSWORD"),
        },
        replication: account(&args.replication_user, "PXC_REPLICATION_PASSWORD"),
        tls: Tls::VerifyIdentity { ca: args.ca.clone() },
    };
    let text = config::init::render(&draft);
    // What is written must be readable: a bad name or path is found now and not by the next command.
    let path = context.global.config.as_deref().unwrap_or(Path::new(FILE_NAME));
    config::check(&text, path).map_err(|problems| refused(problems, path))?;
    if args.stdout {
        context.printer.out(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    config::init::write(path, &text)?;
    context.printer.note(&format!(
        "wrote {}; set PXC_SOURCE_PASSWORD, PXC_REPLICA_PASSWORD and PXC_REPLICATION_PASSWORD, then run `{}`",
        path.display(),
        context.command_line(&["setup", "--source", &args.name, "--dry-run"])
    ));
    Ok(ExitCode::SUCCESS)
}

/// Problems of a draft that was never written: places in it would lead to no file.
fn refused(mut problems: Vec<Problem>, path: &Path) -> Failure {
    let place = format!("{}:", path.display());
    for problem in &mut problems {
        problem.evidence.retain(|seen| !seen.starts_with(&place));
        problem.evidence.push(format!("`{}` was not written", path.display()));
    }
    Failure::of(problems)
}

/// The resolved configuration, as a document.
#[derive(Serialize)]
struct Resolved<'a> {
    schema: &'static str,
    file: &'a str,
    chosen_by: &'a str,
    values: &'a [ValueView],
}

/// `pxc-link config`
pub(super) fn config(context: &Context, args: &ConfigArgs) -> Ended {
    let output = Output { printer: context.printer.clone(), format: args.format.output };
    if args.schema {
        let schema = config::schema();
        output.result(|| format!("{schema:#}"), &schema)?;
        return Ok(ExitCode::SUCCESS);
    }
    let view = context.config()?.view;
    let document = Resolved {
        schema: "pxc-link.io/config/v1",
        file: &view.file,
        chosen_by: &view.chosen_by,
        values: &view.values,
    };
    output.result(|| view.to_string(), &document)?;
    Ok(ExitCode::SUCCESS)
}

/// `pxc-link grants`
pub(super) fn grants(context: &Context, args: &GrantsArgs) -> Ended {
    let config = context.config()?;
    let spec = config.link(args.link.source.as_deref())?;
    let link = spec.replication().ok_or_else(|| no_accounts(spec))?;
    let document = granted::GrantsDto::new(&spec.name, &accounts::needed(link), args.promote);
    let output = Output { printer: context.printer.clone(), format: args.format.output };
    output.result(|| granted::sql(&document), &document)?;
    Ok(ExitCode::SUCCESS)
}

fn no_accounts(spec: &LinkSpec) -> Problem {
    let message = format!("link `{}` carries no replication, so nobody logs in to a MySQL server for it", spec.name);
    Problem::new(Code::NoReplication, message)
        .seen("it has `ports` and `client` in place of `replication`")
        .hint(Hint::text("name a link that replicates with `--source`"))
}

/// `pxc-link explain`
pub(super) fn explain(context: &Context, args: &ExplainArgs) -> Ended {
    let theme = context.printer.out_theme();
    let text = match &args.code {
        Some(code) => {
            let code: Code = code.parse().map_err(|_| {
                Problem::new(Code::NoSuchCode, format!("there is no code `{}`", code.escape_debug()))
                    .seen("codes are written `PXL402`, `pxl402` or `402`")
                    .hint(Hint::run("find it in the list of all codes", ["pxc-link", "explain", "--list"]))
            })?;
            explained::explain(code, theme)
        }
        None => explained::list(theme),
    };
    context.printer.out(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Name and version, as a document.
#[derive(Serialize)]
struct About {
    schema: &'static str,
    name: &'static str,
    version: &'static str,
}

/// `pxc-link version`
pub(super) fn version(context: &Context, format: &FormatArgs) -> Ended {
    let output = Output { printer: context.printer.clone(), format: format.output };
    let about =
        About { schema: "pxc-link.io/version/v1", name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") };
    output.result(|| format!("{} {}", about.name, about.version), &about)?;
    Ok(ExitCode::SUCCESS)
}
