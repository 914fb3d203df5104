//! The command line as it is typed; nothing here is looked up or checked against anything but its own form.

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, error::ErrorKind};
use clap_complete::Shell;

use crate::domain::selection::Pattern;

/// Links a replica MySQL cluster to a remote source through an Istio name, and proves that it works.
#[derive(Debug, Parser)]
#[command(name = "pxc-link", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads the process's own command line.
    ///
    /// # Errors
    /// What is wrong with it, or the text that `--help` and `--version` ask for.
    pub fn read() -> Result<Self, clap::Error> {
        let cli = Self::try_parse()?;
        match &cli.command {
            Command::Verify(VerifyArgs { links, save, facts, .. })
                if links.source.len() > 1 && (save.is_some() || facts.is_some()) =>
            {
                let reason = "--save and --facts are about one link; give --source once";
                Err(Self::command().error(ErrorKind::ArgumentConflict, reason))
            }
            _ => Ok(cli),
        }
    }
}

/// Flags that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The configuration file [default: PXC_LINK_CONFIG, ./pxc-link.yaml, then the user's configuration folder]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The kubeconfig for both sides, before the one of the configuration [default: KUBECONFIG, ~/.kube/config, in-cluster]
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Ends the whole command after this time, such as 90s or 5m [default: 10m for changing commands, 1m for reading ones]
    #[arg(long, global = true, value_name = "DURATION")]
    pub timeout: Option<Span>,
    /// When to use colours
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = ColorWhen::Auto)]
    pub color: ColorWhen,
    /// How to show what is going on, on standard error
    #[arg(long, global = true, value_enum, value_name = "FORM", default_value_t = ProgressForm::Text)]
    pub progress: ProgressForm,
    /// Shows progress as plain lines, never as one that is redrawn; --quiet shows none
    #[arg(long, global = true, env = "PXC_LINK_NO_PROGRESS", value_parser = clap::builder::FalseyValueParser::new())]
    pub no_progress: bool,
    /// Says only what was asked for and what is wrong
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Logs more: -v own steps, -vv the Kubernetes client too, -vvv everything that may be shown
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// The form of log lines
    #[arg(long, global = true, value_enum, value_name = "FORM", default_value_t = LogForm::Text)]
    pub log_format: LogForm,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write pxc-link.yaml from two kube contexts
    Init(InitArgs),
    /// Show the configuration as it is understood, and where each value came from
    Config(ConfigArgs),
    /// Set a link up, prove that it works and start replication; run again, it goes on from where it was
    Setup(SetupArgs),
    /// Prove the path of a link again, from every replica member, and judge its channel; changes nothing
    Verify(VerifyArgs),
    /// Show the state of links
    Status(StatusArgs),
    /// Watch the lag of a link
    Monitor(MonitorArgs),
    /// Print a link's mesh objects as YAML, or how those of the cluster differ from them; changes nothing
    Render(RenderArgs),
    /// Print the SQL that makes a link's accounts, with the least privileges they need; touches no server
    Grants(GrantsArgs),
    /// Take a link away: its channel, its mesh objects, its lock; no data and nothing else
    Teardown(TeardownArgs),
    /// Explain a code that pxc-link printed
    Explain(ExplainArgs),
    /// Print shell completions
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the version
    Version(FormatArgs),
}

/// The link of a command that works on exactly one.
#[derive(Debug, Args)]
pub struct OneLink {
    /// The link, by its name in the configuration; may be left out when there is one
    #[arg(long = "source", alias = "link", value_name = "NAME")]
    pub source: Option<String>,
}

/// The links of a reading command.
#[derive(Debug, Args)]
pub struct SomeLinks {
    /// A link, by its name in the configuration; may be given several times, or left out when there is one
    #[arg(long = "source", alias = "link", value_name = "NAME", conflicts_with = "all")]
    pub source: Vec<String>,
    /// Every link of the configuration
    #[arg(long)]
    pub all: bool,
}

/// The form of what is printed.
#[derive(Debug, Args)]
pub struct FormatArgs {
    /// The form of the output
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t = Format::Text)]
    pub output: Format,
}

/// `pxc-link init`
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The name of the link
    #[arg(long, value_name = "NAME", default_value = "production")]
    pub name: String,
    /// The kube context of the source
    #[arg(long, value_name = "CONTEXT")]
    pub source_context: String,
    /// The kube context of the replica
    #[arg(long, value_name = "CONTEXT")]
    pub replica_context: String,
    /// The namespace of the members, on both sides
    #[arg(short, long, value_name = "NAMESPACE", default_value = "pxc")]
    pub namespace: String,
    /// The source's Service
    #[arg(long, value_name = "SERVICE", default_value = "pxc")]
    pub service: String,
    /// The label selector of the replica's pods
    #[arg(long, value_name = "SELECTOR", default_value = "app=pxc")]
    pub selector: String,
    /// The container in which mysqld runs
    #[arg(long, value_name = "CONTAINER", default_value = "pxc")]
    pub container: String,
    /// The path of the CA file on the replica's members
    #[arg(long, value_name = "PATH", default_value = "/etc/mysql/ssl/ca.crt")]
    pub ca: String,
    /// The account that reads the source
    #[arg(long, value_name = "USER", default_value = "pxc_link")]
    pub source_user: String,
    /// The account that reads and configures the replica
    #[arg(long, value_name = "USER", default_value = "pxc_link")]
    pub replica_user: String,
    /// The account the channel logs in with
    #[arg(long, value_name = "USER", default_value = "repl")]
    pub replication_user: String,
    /// Prints the file instead of writing it
    #[arg(long)]
    pub stdout: bool,
}

/// `pxc-link config`
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Prints the JSON Schema of the file
    #[arg(long)]
    pub schema: bool,
    #[command(flatten)]
    pub format: FormatArgs,
}

/// `pxc-link setup`
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct SetupArgs {
    #[command(flatten)]
    pub link: OneLink,
    /// Does not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Shows the plan and ends; the API servers check the objects, nothing is written
    #[arg(long)]
    pub dry_run: bool,
    /// With --dry-run: 0 when nothing would change, 1 when something would, above 1 for errors
    #[arg(long, requires = "dry_run")]
    pub exit_code: bool,
    /// What of the link to set up, where not all of it
    #[arg(long, value_enum, value_name = "PART", conflicts_with_all = ["rotate_password", "wait"])]
    pub only: Option<Part>,
    /// How far to wait
    #[arg(long, value_enum, value_name = "STATE", default_value_t = WaitFor::Running)]
    pub wait: WaitFor,
    /// Takes over fields that another manager owns
    #[arg(long)]
    pub force_conflicts: bool,
    /// Gives the channel the configured password, once it has been proven to log in; the applier goes on meanwhile
    #[arg(long)]
    pub rotate_password: bool,
    /// Where members' sidecars do not capture DNS: how the mesh name is to resolve in them
    #[arg(long, value_enum, value_name = "WAY")]
    pub dns: Option<Dns>,
    /// Takes the source's port out of mutual TLS by a PeerAuthentication, for everybody in that mesh
    #[arg(long)]
    pub disable_source_mtls: bool,
    #[command(flatten)]
    pub format: FormatArgs,
}

/// `pxc-link verify`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub links: SomeLinks,
    /// Warnings count as failures
    #[arg(long)]
    pub strict: bool,
    /// Only these checks: an id (path.query), several by a pattern (name.*), a milestone (M3); may be given several times
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub only: Vec<Pattern>,
    /// Looks again until everything passes, for this time at most; the last look is what is reported
    #[arg(long, value_name = "DURATION", conflicts_with = "facts")]
    pub wait: Option<Span>,
    /// Writes the facts of the link to a file, to be judged elsewhere
    #[arg(long, value_name = "FILE", conflicts_with_all = ["facts", "all"])]
    pub save: Option<PathBuf>,
    /// Judges the facts of a file instead of looking; the configuration must be that of the link they were saved from
    #[arg(long, value_name = "FILE", conflicts_with = "all")]
    pub facts: Option<PathBuf>,
    /// The form of the output
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t = VerifyFormat::Text)]
    pub output: VerifyFormat,
}

/// `pxc-link status`
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub links: SomeLinks,
    #[command(flatten)]
    pub format: FormatArgs,
}

/// `pxc-link monitor`
#[derive(Debug, Args)]
pub struct MonitorArgs {
    #[command(flatten)]
    pub link: OneLink,
    /// Time between two samples
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub interval: Span,
    /// Ends after so many samples
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// The form of the samples
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t = Format::Text)]
    pub output: Format,
}

/// `pxc-link render`
#[derive(Debug, Args)]
pub struct RenderArgs {
    #[command(flatten)]
    pub link: OneLink,
    /// Shows what applying the objects would change in the cluster, as a unified diff; nothing where they are equal
    #[arg(long)]
    pub diff: bool,
    /// With --diff: 0 when nothing differs, 1 when something does, above 1 for errors
    #[arg(long, requires = "diff")]
    pub exit_code: bool,
}

/// `pxc-link grants`
#[derive(Debug, Args)]
pub struct GrantsArgs {
    #[command(flatten)]
    pub link: OneLink,
    /// Prints what `teardown --promote` needs besides, too
    #[arg(long)]
    pub promote: bool,
    #[command(flatten)]
    pub format: FormatArgs,
}

/// `pxc-link teardown`
#[derive(Debug, Args)]
pub struct TeardownArgs {
    #[command(flatten)]
    pub link: OneLink,
    /// What of the link stays
    #[arg(long, value_enum, value_name = "PART")]
    pub keep: Option<Keep>,
    #[command(flatten)]
    pub promotion: PromotionArgs,
    /// Does not ask for the link's name
    #[arg(short, long)]
    pub yes: bool,
    #[command(flatten)]
    pub format: FormatArgs,
}

/// Whether and how a teardown promotes the replica.
#[derive(Debug, Args)]
pub struct PromotionArgs {
    /// Closes the source to writes, waits for what it still has, and opens the replica
    #[arg(long, conflicts_with = "keep")]
    pub promote: bool,
    /// Promotes without a source that cannot be closed, and without what does not arrive
    #[arg(long, requires = "promote")]
    pub force: bool,
    /// Enables the events that replication left disabled on the replica
    #[arg(long, requires = "promote")]
    pub enable_events: bool,
}

/// A part of a link that can be set up by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The mesh name: its objects and what is made beside them, and the proof of the path
    Mesh,
}

/// A part of a link that can stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Keep {
    /// The mesh name: its objects and what was made beside them
    Mesh,
    /// The channel: it goes on as long as the name it dials leads anywhere
    Replication,
}

/// `pxc-link explain`
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The code, such as PXL342
    #[arg(required_unless_present = "list")]
    pub code: Option<String>,
    /// Lists every code
    #[arg(long, conflicts_with = "code")]
    pub list: bool,
}

/// Forms of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// One JSON document
    Json,
    /// The same as YAML
    Yaml,
}

/// Forms of the result of `verify`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VerifyFormat {
    /// For people
    Text,
    /// One JSON document
    Json,
    /// The same as YAML
    Yaml,
    /// JUnit XML, for pipelines
    Junit,
}

impl VerifyFormat {
    /// The form of an error in place of the result; one that no suite can hold is text on standard error only.
    pub fn of_errors(self) -> Format {
        match self {
            Self::Text | Self::Junit => Format::Text,
            Self::Json => Format::Json,
            Self::Yaml => Format::Yaml,
        }
    }
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Forms of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressForm {
    /// Lines, or one line redrawn on a terminal
    Text,
    /// One JSON object a line
    Json,
}

/// Forms of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogForm {
    /// Lines
    Text,
    /// One JSON object a line
    Json,
}

/// How far `setup` waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WaitFor {
    /// Both threads are proven to run
    Running,
    /// Nothing is missing on the replica
    CaughtUp,
}

/// Ways for the mesh name to resolve where sidecars do not capture DNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dns {
    /// A stub for the name in the cluster's CoreDNS; nothing restarts, and teardown takes it out
    CorednsStub,
    /// DNS capture is turned on in the pods' template, which restarts the members one after the other
    RestartMembers,
}

/// Nobody waits longer; far beyond it a moment in the future cannot be represented.
const LONGEST: Duration = Duration::from_hours(366 * 24);

/// A span of time as Go writes it: `90s`, `5m`, `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no duration; write it like 90s, 5m or 1h30m");
        let parsed: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
        let span = Duration::try_from(parsed).map_err(|_| wrong())?;
        if span.is_zero() {
            Err(format!("`{text}` is no time at all; give at least 1ms"))
        } else if span > LONGEST {
            Err(format!("`{text}` is longer than {} days", LONGEST.as_secs() / (24 * 60 * 60)))
        } else {
            Ok(Self(span))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn spans_are_read_as_go_writes_them() {
        assert_eq!("1h30m".parse::<Span>(), Ok(Span(Duration::from_mins(90))));
        for wrong in ["", "5", "-5s", "soon", "0s", "8785h", "9223372036854775807s"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
    }
}
