//! The command line: what was typed becomes a command that runs under a deadline and ends in an exit code.

pub mod args;
mod describe;
mod logging;
mod offer;
mod output;
mod read;
mod render;
mod verify;
mod write;

use std::{process::ExitCode, time::Duration};

use clap::CommandFactory;

use self::{
    args::{Cli, ColorWhen, Command, Format, Global, ProgressForm},
    output::Output,
};
use crate::{
    config::{self, Config},
    domain::{
        code::{Code, Exit},
        event::Event,
        hint::Remedy,
        problem::Problem,
        spec::{Ends, LinkSpec, SourceLocation},
    },
    error::Failure,
    shutdown::Shutdown,
    ui::{
        events::{EventSink, Progress},
        printer::{Loudness, Printer},
        theme::ColourChoice,
    },
    wait::Deadline,
    workflow::{Events, Session},
};

/// What a reading command may take where nothing else is said.
const READING: Duration = Duration::from_mins(1);
/// What a changing command may take.
const CHANGING: Duration = Duration::from_mins(10);

/// How a command that did what it was asked ends.
type Ended = Result<ExitCode, Failure>;

/// Everything a command needs beside its own arguments.
struct Context {
    global: Global,
    printer: Printer,
    shutdown: Shutdown,
}

/// Runs one command line to its end.
pub fn run(cli: Cli) -> ExitCode {
    let colour = match cli.global.color {
        ColorWhen::Auto => ColourChoice::Auto,
        ColorWhen::Always => ColourChoice::Always,
        ColorWhen::Never => ColourChoice::Never,
    };
    let printer = Printer::new(if cli.global.quiet { Loudness::Quiet } else { Loudness::Normal }, colour);
    logging::start(&cli.global, &printer);
    let output = Output { printer: printer.clone(), format: format_of(&cli.command) };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output.fail(&internal("no asynchronous runtime could be started", &error)),
    };
    let ended = runtime.block_on(async {
        let shutdown = Shutdown::listen().map_err(|error| internal("signals cannot be handled", &error))?;
        let context = Context { global: cli.global, printer, shutdown };
        let ended = command(&context, cli.command).await.map_err(|mut failure| {
            failure.problems.iter_mut().for_each(|problem| context.complete(problem));
            failure
        });
        // A signal decides the exit code whatever error its interruption surfaced as; a command that got to its end is not undone.
        match (ended, context.shutdown.signal()) {
            (Err(failure), Some(signal)) => {
                output.fail(&failure);
                Ok(ExitCode::from(signal.exit_code()))
            }
            (ended, _) => ended,
        }
    });
    // Tasks that still wait for a dead connection must not hold the process.
    runtime.shutdown_background();
    ended.unwrap_or_else(|failure: Failure| output.fail(&failure))
}

async fn command(context: &Context, command: Command) -> Ended {
    match command {
        Command::Init(args) => describe::init(context, &args),
        Command::Config(args) => describe::config(context, &args),
        Command::Setup(args) => write::setup(context, args).await,
        Command::Verify(args) => verify::verify(context, args).await,
        Command::Status(args) => read::status(context, args).await,
        Command::Monitor(args) => read::monitor(context, args).await,
        Command::Render(args) => render::render(context, args).await,
        Command::Grants(args) => describe::grants(context, &args),
        Command::Teardown(args) => write::teardown(context, args).await,
        Command::Explain(args) => describe::explain(context, &args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "pxc-link", &mut script);
            context.printer.out(&String::from_utf8_lossy(&script))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Version(format) => describe::version(context, &format),
    }
}

/// The form of the result, for the form of an error in its place.
fn format_of(command: &Command) -> Format {
    match command {
        Command::Config(args) => args.format.output,
        Command::Setup(args) => args.format.output,
        Command::Verify(args) => args.output.of_errors(),
        Command::Status(args) => args.format.output,
        Command::Grants(args) => args.format.output,
        Command::Teardown(args) => args.format.output,
        Command::Version(format) => format.output,
        Command::Monitor(args) => args.output,
        Command::Init(_) | Command::Render(_) | Command::Explain(_) | Command::Completions { .. } => Format::Text,
    }
}

fn internal(what: &str, error: &std::io::Error) -> Failure {
    Problem::new(Code::Internal, what).seen(error.to_string()).into()
}

/// An exit code of the table.
fn exit(exit: Exit) -> ExitCode {
    ExitCode::from(exit as u8)
}

impl Context {
    /// The files that this command line was given, as arguments.
    fn files(&self) -> Vec<String> {
        let files = [("--config", &self.global.config), ("--kubeconfig", &self.global.kubeconfig)];
        let given = files.into_iter().filter_map(|(flag, file)| Some((flag, file.as_ref()?)));
        given.flat_map(|(flag, file)| [flag.to_owned(), file.display().to_string()]).collect()
    }

    /// A command line to go on with, for the files that this one was given.
    fn command_line(&self, arguments: &[&str]) -> String {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        shell_words::join([vec!["pxc-link".to_owned()], self.files(), arguments].concat())
    }

    /// Gives the commands of a hint that work on a link the files that this command line was given.
    fn complete(&self, problem: &mut Problem) {
        const ON_A_LINK: [&str; 7] = ["setup", "verify", "status", "monitor", "render", "grants", "teardown"];
        for remedy in problem.hint.iter_mut().flat_map(|hint| &mut hint.commands) {
            if let Remedy::Argv(argv) = remedy
                && let [program, command, ..] = argv.as_slice()
                && program == "pxc-link"
                && ON_A_LINK.contains(&command.as_str())
            {
                argv.splice(1..1, self.files());
            }
        }
    }

    fn config(&self) -> Result<Config, Failure> {
        config::load(self.global.config.as_deref()).map_err(Failure::of)
    }

    fn deadline(&self, otherwise: Duration) -> Deadline {
        Deadline::after(self.global.timeout.map_or(otherwise, |span| span.0))
    }

    /// A session on a link, which announces what it is about to work on.
    fn session(&self, spec: &LinkSpec, deadline: Deadline, events: &Events) -> Session {
        events.tell(target_of(spec));
        let mut spec = spec.clone();
        if let Some(kubeconfig) = &self.global.kubeconfig {
            // The command line wins over the file, and hints name what was used.
            if let Ends::Mesh(ends) = &mut spec.ends {
                ends.client.cluster.kubeconfig = Some(kubeconfig.clone());
                if let SourceLocation::Kubernetes { cluster, .. } = &mut ends.source {
                    cluster.kubeconfig = Some(kubeconfig.clone());
                }
            }
        }
        Session { spec, deadline, events: events.clone(), shutdown: self.shutdown.clone() }
    }

    /// Where events are shown.
    fn events(&self) -> Events {
        let progress = match self.global.progress {
            ProgressForm::Json => Progress::Json,
            ProgressForm::Text if self.global.no_progress => Progress::Plain,
            ProgressForm::Text => Progress::Auto,
        };
        let sink = EventSink::new(&self.printer, progress);
        Events::to(move |event| sink.emit(&event))
    }
}

/// The first line of everything that touches a cluster or a server.
fn target_of(spec: &LinkSpec) -> Event {
    let context = |context: &Option<String>| context.clone().unwrap_or_else(|| "(current context)".to_owned());
    let (source, client) = match &spec.ends {
        Ends::Servers(ends) => {
            return Event::Target {
                link: spec.name.clone(),
                source: ends.source.to_string(),
                client: ends.replica.to_string(),
                host: None,
            };
        }
        Ends::Mesh(ends) => (&ends.source, &ends.client),
    };
    let source = match source {
        SourceLocation::Kubernetes { cluster, target, .. } => {
            format!("{}/{}/{target}", context(&cluster.context), cluster.namespace)
        }
        SourceLocation::Endpoints(endpoints) => {
            endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        }
    };
    let ports: Vec<String> = spec.ports().iter().map(|port| port.number.to_string()).collect();
    Event::Target {
        link: spec.name.clone(),
        source,
        client: format!("{}/{}/{}", context(&client.cluster.context), client.cluster.namespace, client.selector),
        host: Some(format!("{}:{}", spec.host, ports.join(","))),
    }
}
