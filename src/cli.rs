//! Commands, their flags and their exit codes.

mod applications;
mod clean;
mod convert;
mod crawl;
mod driver;
mod explain;
mod folders;
mod generate;
mod history;
mod logging;
mod operator;
mod plan;
mod report;
mod run;
mod run_state;
mod show;
mod sql;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use faisca::{Error, Result};
use faisca_driver::SessionBuilder;
use faisca_driver::fleet::PlanningLauncher;
use faisca_executor::protocol::env;
use faisca_planner::manifest::Stores;
use faisca_planner::names::parse_bytes;
use tokio::runtime::Runtime;

/// Stack of each thread of the runtime: plans are trees, which some passes walk by recursion.
const STACK_BYTES: usize = 8 << 20;
/// How long a command waits at its end for cancelled tasks to unwind.
const UNWIND_TIMEOUT: Duration = Duration::from_secs(2);

/// Dataframes and SQL on ephemeral executors.
#[derive(Debug, Parser)]
#[command(name = "faisca", version, after_help = EXIT_CODES)]
struct Cli {
    /// Log level: error, warn, info, debug, trace, or a filter like `faisca_driver=debug`.
    #[arg(
        long,
        global = true,
        env = "FAISCA_LOG",
        default_value = "warn",
        value_name = "FILTER"
    )]
    log: String,
    /// Format of log lines.
    #[arg(long, global = true, value_enum, default_value_t = logging::Format::Text)]
    log_format: logging::Format,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 success · 2 the job is invalid: fix it · 3 too few resources, or another machine failed: run it again · 4 a defect of Faísca · 130 cancelled";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a job: a manifest (.yaml) or a script (.sql).
    Run(run::RunArgs),
    /// Explain a run from its journal: writes a page with where its time went, or an export for
    /// another tool.
    Report(report::ReportArgs),
    /// List the runs whose journals are below a folder, or compare two of them.
    History(history::HistoryArgs),
    /// Run SQL: a query, a file, or an interactive shell.
    Sql(sql::SqlArgs),
    /// Draw the stages that a job or query would run in.
    Explain(explain::ExplainArgs),
    /// Check what a job would do: files, stages, permissions, tables. Changes nothing; fails on a
    /// problem.
    Plan(plan::PlanArgs),
    /// Find tables in folders that other programs wrote, compare them with a catalog, and register
    /// them.
    Crawl(crawl::CrawlArgs),
    /// List, or clean up, what crashed jobs left in a folder of an object store.
    Clean(clean::CleanArgs),
    /// Submit a job to a cluster.
    Submit(applications::SubmitArgs),
    /// Show the state of an application on a cluster.
    Status(applications::NameArgs),
    /// Print the log of an application's driver.
    Logs(applications::LogsArgs),
    /// Open the page of an application's driver on a port of this machine, with `kubectl`.
    Ui(applications::UiArgs),
    /// Stop an application and remove it.
    Kill(applications::NameArgs),
    /// List the applications of a namespace.
    List(applications::ListArgs),
    /// Convert a SparkApplication of Spark Operator into a manifest, and list what has no
    /// equivalent.
    Convert(convert::ConvertArgs),
    /// Create drivers for the applications of a cluster. Runs until SIGINT or SIGTERM.
    Operator(operator::OperatorArgs),
    /// Run the job of a driver's pod.
    #[command(hide = true)]
    Driver,
    /// Print the JSON Schema of the manifest, for editors.
    Schema,
    /// Print the CustomResourceDefinitions, for `kubectl apply -f -`; JSON is YAML.
    Crd,
    /// Generate deterministic test data.
    Generate(generate::GenerateArgs),
    /// Print the completions of a shell, for its startup file.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Flags of the executors and the session.
#[derive(Debug, Clone, Args)]
struct ClusterArgs {
    /// Number of executor processes; 0 runs tasks in this process.
    #[arg(long, default_value_t = 0, value_name = "N")]
    executors: u32,
    /// Task slots of each executor [default: this machine's cores, divided among executors].
    #[arg(long, value_name = "N")]
    executor_cores: Option<u32>,
    /// Memory of each executor, for example 2g or 512Mi [default: no limit].
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory: Option<u64>,
    /// Partitions of scans and exchanges [default: 2 for each slot, 4 with a memory limit].
    #[arg(long, value_name = "N")]
    partitions: Option<usize>,
    /// Folder for spill files [default: the system's temporary folder].
    #[arg(long, value_name = "FOLDER")]
    spill_folder: Option<PathBuf>,
    /// A session setting, for example datafusion.execution.batch_size=4096; may be repeated.
    #[arg(long = "conf", value_name = "KEY=VALUE", value_parser = parse_key_value)]
    conf: Vec<(String, String)>,
}

impl ClusterArgs {
    /// Starts a session that runs queries.
    async fn session(
        &self,
        name: &str,
        conf: impl IntoIterator<Item = (String, String)>,
        stores: Stores,
    ) -> Result<faisca_driver::Session> {
        self.builder(name, conf, stores)
            .platform(faisca_k8s::driver::find_platform)
            .get_or_create()
            .await
    }

    /// Starts a session that plans what [`Self::session`] would run, without its executors.
    async fn planning_session(
        &self,
        name: &str,
        conf: impl IntoIterator<Item = (String, String)>,
        stores: Stores,
    ) -> Result<faisca_driver::Session> {
        self.builder(name, conf, stores)
            .launcher(Arc::new(PlanningLauncher))
            .get_or_create()
            .await
    }

    fn builder(
        &self,
        name: &str,
        conf: impl IntoIterator<Item = (String, String)>,
        stores: Stores,
    ) -> SessionBuilder {
        let mut builder = SessionBuilder::default()
            .app_name(name)
            .executors(self.executors)
            .stores(stores);
        if let Some(cores) = self.executor_cores {
            builder = builder.executor_cores(cores);
        }
        if let Some(bytes) = self.memory {
            builder = builder.memory_bytes(bytes);
        }
        if let Some(partitions) = self.partitions {
            builder = builder.partitions(partitions);
        }
        if let Some(folder) = &self.spill_folder {
            builder = builder.spill_folder(folder);
        }
        // Flags come last: they take precedence over the manifest.
        builder.configs(conf.into_iter().chain(self.conf.iter().cloned()))
    }
}

/// Prints all errors but the last, and returns the last, which decides the exit code.
fn last_error(mut errors: Vec<Error>) -> Result<()> {
    let Some(last) = errors.pop() else {
        return Ok(());
    };
    for error in &errors {
        eprintln!("error: {error}");
    }
    Err(last)
}

fn parse_size(text: &str) -> std::result::Result<u64, String> {
    parse_bytes(text).ok_or_else(|| "not a size; write 2g, 512Mi or a number of bytes".to_owned())
}

fn parse_key_value(text: &str) -> std::result::Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// Runs the command, or the executor that the environment describes. Returns the exit code.
pub(crate) fn main() -> ExitCode {
    let is_executor = std::env::var_os(env::DRIVER).is_some();
    let outcome = start_runtime().and_then(|runtime| match is_executor {
        true => serve_executor(&runtime).map(|()| ExitCode::SUCCESS),
        false => run_command(runtime),
    });
    outcome.unwrap_or_else(|e| report_failure(&e))
}

fn start_runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .map_err(|source| Error::System {
            needed: "threads",
            source,
        })
}

/// Serves as an executor until its driver ends it. The process has no arguments.
fn serve_executor(runtime: &Runtime) -> Result<()> {
    // A pod has a log of its own, which should show its start and end. Other processes share the
    // driver's terminal.
    let level = if std::env::var_os(env::HOST).is_some() {
        "info"
    } else {
        "warn"
    };
    logging::start(
        &std::env::var("FAISCA_LOG").unwrap_or_else(|_| level.to_owned()),
        logging::Format::Text,
    );
    runtime.block_on(faisca_driver::serve_if_executor(
        &faisca_executor::environment::UserFunctions::default(),
    ))
}

/// Parses the arguments and runs the command, until it ends or a signal cancels it.
fn run_command(runtime: Runtime) -> Result<ExitCode> {
    let cli = Cli::parse();
    logging::start(&cli.log, cli.log_format);
    let signals = match &cli.command {
        // The operator handles the signals itself, to stop in order.
        Command::Operator(_) => StopSignals::None,
        Command::Sql(args) if args.is_interactive() => StopSignals::Termination,
        _ => StopSignals::All,
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = dispatch(cli.command) => outcome,
            () = stop_signal(signals) => Err(Error::Cancelled),
        }
    });
    // Tasks may still be unwinding, but their results are not needed.
    runtime.shutdown_timeout(UNWIND_TIMEOUT);
    outcome
}

/// Signals that cancel a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StopSignals {
    None,
    /// SIGTERM and SIGHUP: the end of a terminal must not leave files behind.
    Termination,
    /// SIGINT (Ctrl-C) as well.
    All,
}

/// Waits for one of these signals.
async fn stop_signal(signals: StopSignals) {
    let termination = faisca_executor::signals::Termination::listen();
    let (false, Ok(mut termination)) = (signals == StopSignals::None, termination) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c(), if signals == StopSignals::All => {}
        () = termination.wait_for_request() => {}
    }
}

async fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Sql(args) => sql::sql(args).await,
        other => Box::pin(run_other(other)).await.map(|()| ExitCode::SUCCESS),
    }
}

async fn run_other(command: Command) -> Result<()> {
    match command {
        Command::Run(args) => run::run(args).await,
        Command::Report(args) => report::report(&args),
        Command::History(args) => history::history(args).await,
        // `dispatch` runs it, because it has an exit code of its own.
        Command::Sql(_) => Ok(()),
        Command::Explain(args) => explain::explain(args).await,
        Command::Plan(args) => plan::plan(args).await,
        Command::Crawl(args) => crawl::crawl(args).await,
        Command::Clean(args) => clean::clean(args).await,
        Command::Submit(args) => applications::submit(args).await,
        Command::Status(args) => applications::status(args).await,
        Command::Logs(args) => applications::logs(args).await,
        Command::Ui(args) => applications::ui(args).await,
        Command::Kill(args) => applications::kill(args).await,
        Command::List(args) => applications::list(args).await,
        Command::Convert(args) => convert::convert(&args),
        Command::Operator(args) => operator::operator(args, stop_signal(StopSignals::All)).await,
        Command::Driver => driver::driver().await,
        Command::Schema => {
            show::print(&format!(
                "{:#}",
                faisca_planner::manifest::json_schema().as_value()
            ));
            Ok(())
        }
        Command::Crd => {
            show::print(&format!("{:#}", faisca_k8s::crd::definitions()));
            Ok(())
        }
        Command::Generate(args) => generate::generate(args),
        Command::Completions { shell } => {
            let mut script = vec![];
            clap_complete::generate(shell, &mut Cli::command(), "faisca", &mut script);
            show::print(&String::from_utf8_lossy(&script));
            Ok(())
        }
    }
}

/// Prints an error, and writes it to the pod's termination message, which the operator reads.
/// Returns its exit code.
fn report_failure(error: &Error) -> ExitCode {
    eprintln!("error: {error}");
    faisca_k8s::driver::write_termination_message(&error.to_string());
    ExitCode::from(error.exit_code())
}
