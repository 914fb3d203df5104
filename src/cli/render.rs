//! `pxc-link render`: the link's mesh objects as YAML, or how the cluster's differ from them.

use std::process::ExitCode;

use super::{Context, Ended, READING, args::RenderArgs};
use crate::{
    config,
    report::difference,
    workflow::{Events, render as rendering},
};

/// `pxc-link render`
pub(super) async fn render(context: &Context, args: RenderArgs) -> Ended {
    let config = context.config()?;
    let spec = config.link(args.link.source.as_deref())?;
    // What touches no cluster has none to name.
    let silent = rendering::is_offline(spec) && !args.diff;
    let events = if silent { Events::to(|_| ()) } else { context.events() };
    let session = context.session(spec, context.deadline(READING), &events);
    if args.diff {
        let mut differs = false;
        for preview in rendering::previews(&session).await? {
            let yaml = |object: &serde_json::Value| config::to_yaml(object);
            let before = preview.before.as_ref().map(yaml).unwrap_or_default();
            if let Some(text) = difference::unified(&preview.after, &before, &yaml(&preview.after)) {
                context.printer.out(&text)?;
                differs = true;
            }
        }
        return Ok(if differs && args.exit_code { ExitCode::from(1) } else { ExitCode::SUCCESS });
    }
    let documents: Vec<String> = rendering::objects(&session).await?.iter().map(config::to_yaml).collect();
    context.printer.out(&documents.join("---\n"))?;
    Ok(ExitCode::SUCCESS)
}
