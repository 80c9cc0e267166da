//! Commands, their flags and their exit codes.

mod applications;
mod clean;
mod convert;
mod crawl;
mod driver;
mod explain;
mod generate;
mod logging;
mod operator;
mod plan;
mod run;
mod show;
mod sql;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use faisca::{Error, Result, Session};
use faisca_executor::protocol::env;
use faisca_planner::manifest::Stores;
use faisca_planner::names::parse_bytes;

/// Dataframes and SQL on ephemeral executors.
#[derive(Debug, Parser)]
#[command(name = "faisca", version, after_help = EXIT_CODES)]
struct Cli {
    /// What is logged: error, warn, info, debug, trace, or a filter like `faisca_driver=debug`.
    #[arg(
        long,
        global = true,
        env = "FAISCA_LOG",
        default_value = "warn",
        value_name = "FILTER"
    )]
    log: String,
    /// How it is logged.
    #[arg(long, global = true, value_enum, default_value_t = logging::Format::Text)]
    log_format: logging::Format,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done · 2 the job is wrong: mend it · 3 resources or other machines failed: try again · 4 a defect of Faísca · 130 cancelled";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a job: a manifest (.yaml) or a script (.sql).
    Run(run::RunArgs),
    /// Run SQL: a query, a file, or an interactive shell.
    Sql(sql::SqlArgs),
    /// Draw the stages that a job or query would run as.
    Explain(explain::ExplainArgs),
    /// Look at what a job would do: files, stages, permissions, tables. Changes nothing; fails on a problem.
    Plan(plan::PlanArgs),
    /// Find the tables in folders that others wrote, compare them with a catalog, and register them.
    Crawl(crawl::CrawlArgs),
    /// List, or mend, what crashed jobs left in a folder of an object store.
    Clean(clean::CleanArgs),
    /// Submit a job to a cluster.
    Submit(applications::SubmitArgs),
    /// Tell how an application on a cluster is doing.
    Status(applications::NameArgs),
    /// Print the log of an application's driver.
    Logs(applications::LogsArgs),
    /// Stop an application, and remove it.
    Kill(applications::NameArgs),
    /// List the applications of a namespace.
    List(applications::ListArgs),
    /// Turn a SparkApplication of Spark Operator into a manifest, and tell what does not map.
    Convert(convert::ConvertArgs),
    /// Make drivers from the applications of a cluster. Runs until it is told to end.
    Operator(operator::OperatorArgs),
    /// Run the job of a driver's pod.
    #[command(hide = true)]
    Driver,
    /// Print the JSON Schema of the manifest, for editors.
    Schema,
    /// Print the CustomResourceDefinitions, for `kubectl apply -f -`; JSON is YAML.
    Crd,
    /// Generate data to try things on.
    Generate(generate::GenerateArgs),
}

/// Where tasks run.
#[derive(Debug, Clone, Args)]
struct ClusterArgs {
    /// Processes that run tasks; 0 runs them in this one.
    #[arg(long, default_value_t = 0, value_name = "N")]
    executors: u32,
    /// Task slots of each executor [default: this machine's cores, shared].
    #[arg(long, value_name = "N")]
    executor_cores: Option<u32>,
    /// Memory of each executor, say 2g or 512Mi [default: no limit].
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    memory: Option<u64>,
    /// Partitions of scans and exchanges [default: 2 for each slot, 4 with a memory limit].
    #[arg(long, value_name = "N")]
    partitions: Option<usize>,
    /// Folder to spill to [default: the system's for temporary files].
    #[arg(long, value_name = "FOLDER")]
    spill_folder: Option<PathBuf>,
    /// A session setting, say datafusion.execution.batch_size=4096; may be repeated.
    #[arg(long = "conf", value_name = "KEY=VALUE", value_parser = key_value)]
    conf: Vec<(String, String)>,
}

impl ClusterArgs {
    async fn session(
        &self,
        name: &str,
        conf: impl IntoIterator<Item = (String, String)>,
        stores: Stores,
    ) -> Result<Session> {
        let mut builder = Session::builder()
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
        for (key, value) in conf.into_iter().chain(self.conf.iter().cloned()) {
            builder = builder.config(key, value);
        }
        builder.get_or_create().await
    }
}

fn bytes(text: &str) -> std::result::Result<u64, String> {
    parse_bytes(text).ok_or_else(|| "not a size; write 2g, 512Mi or a number of bytes".to_owned())
}

fn key_value(text: &str) -> std::result::Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// Parses arguments, runs the command, tells the exit code.
pub(crate) fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(8 * 1024 * 1024)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return failed(&Error::Fleet(format!("threads: {error}"))),
    };
    // A process of the fleet has no arguments: its environment says what it is.
    if std::env::var_os(env::DRIVER).is_some() {
        // A pod has a log of its own, which should tell that it came and went; other processes share the driver's terminal.
        let level = if std::env::var_os(env::HOST).is_some() {
            "info"
        } else {
            "warn"
        };
        logging::start(
            &std::env::var("FAISCA_LOG").unwrap_or_else(|_| level.to_owned()),
            logging::Format::Text,
        );
        let served = runtime.block_on(faisca_driver::serve_if_executor(
            &faisca_executor::environment::UserFunctions::default(),
        ));
        return served.map_or_else(|e| failed(&e), |()| ExitCode::SUCCESS);
    }
    let cli = Cli::parse();
    logging::start(&cli.log, cli.log_format);
    // Jobs are cut short; a service ends by itself when it is told to.
    let is_job = !matches!(cli.command, Command::Operator(_));
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = dispatch(cli.command) => ended,
            () = told_to_end(), if is_job => Err(Error::Cancelled),
        }
    });
    // Tasks may still be unwinding; nothing that they could add is wanted.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    ended.map_or_else(|e| failed(&e), |()| ExitCode::SUCCESS)
}

/// SIGINT or SIGTERM.
async fn told_to_end() {
    let Ok(mut terminate) =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

async fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Run(args) => run::run(args).await,
        Command::Sql(args) => sql::sql(args).await,
        Command::Explain(args) => explain::explain(args).await,
        Command::Plan(args) => plan::plan(args).await,
        Command::Crawl(args) => crawl::crawl(args).await,
        Command::Clean(args) => clean::clean(args).await,
        Command::Submit(args) => applications::submit(args).await,
        Command::Status(args) => applications::status(args).await,
        Command::Logs(args) => applications::logs(args).await,
        Command::Kill(args) => applications::kill(args).await,
        Command::List(args) => applications::list(args).await,
        Command::Convert(args) => convert::convert(&args),
        Command::Operator(args) => operator::operator(args, told_to_end()).await,
        Command::Driver => driver::driver().await,
        Command::Schema => {
            let schema = serde_json::to_string_pretty(&faisca_planner::manifest::json_schema());
            show::print(&schema.unwrap_or_default());
            Ok(())
        }
        Command::Crd => {
            show::print(
                &serde_json::to_string_pretty(&faisca_k8s::crd::definitions()).unwrap_or_default(),
            );
            Ok(())
        }
        Command::Generate(args) => generate::generate(args),
    }
}

fn failed(error: &Error) -> ExitCode {
    eprintln!("error: {error}");
    faisca_k8s::driver::write_termination_message(&error.to_string());
    ExitCode::from(error.exit_code())
}
