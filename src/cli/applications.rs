//! `faisca submit`, `status`, `logs`, `ui`, `kill`, `list`: applications on a cluster.

use std::process::Stdio;

use clap::Args;
use comfy_table::CellAlignment;
use faisca::{Error, Result};
use faisca_driver::page::DEFAULT_PORT;
use faisca_k8s::client::{Applications, LogRange};
use faisca_k8s::error::ClientError;
use faisca_k8s::kube::ResourceExt;
use faisca_k8s::resource::{ApplicationState, ApplicationStatus, SparkApplication};
use indicatif::{HumanBytes, HumanCount};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::parse_key_value;
use super::run::load;
use super::show::{print, table};

/// Flags of `faisca submit`.
#[derive(Debug, Args)]
pub(super) struct SubmitArgs {
    /// A manifest.
    job: String,
    /// Namespace [default: the manifest's, or that of the kubeconfig].
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// Name of this run [default: the manifest's].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Value of a parameter of the manifest; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_key_value)]
    set: Vec<(String, String)>,
    /// Wait until the job ends; fail if it fails.
    #[arg(long)]
    wait: bool,
    /// Wait, and print the driver's log.
    #[arg(long)]
    follow: bool,
}

/// Flags of commands on one application.
#[derive(Debug, Args)]
pub(super) struct NameArgs {
    /// Name of the application.
    name: String,
    /// Namespace [default: that of the kubeconfig].
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
}

/// Flags of `faisca logs`.
#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    #[command(flatten)]
    application: NameArgs,
    /// Print new lines until the driver ends.
    #[arg(short, long)]
    follow: bool,
}

/// Flags of `faisca ui`.
#[derive(Debug, Args)]
pub(super) struct UiArgs {
    #[command(flatten)]
    application: NameArgs,
    /// Port of this machine.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_PORT)]
    port: u16,
}

/// Flags of `faisca list`.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Namespace [default: that of the kubeconfig].
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
}

fn platform_error(error: ClientError) -> Error {
    Error::Platform(Box::new(error))
}

async fn connect(namespace: Option<&String>) -> Result<Applications> {
    Applications::connect(namespace.map(String::as_str))
        .await
        .map_err(platform_error)
}

pub(super) async fn submit(args: SubmitArgs) -> Result<()> {
    // Checked here, where mistakes have lines and columns, before the cluster receives the job.
    let mut manifest = load(&args.job, &args.set)?.manifest().clone();
    manifest.metadata.name = args.name.unwrap_or(manifest.metadata.name);
    let applications = connect(
        args.namespace
            .as_ref()
            .or(manifest.metadata.namespace.as_ref()),
    )
    .await?;
    let created = applications
        .submit(&manifest)
        .await
        .map_err(platform_error)?;
    let name = created.name_any();
    print(&format!("{}/{name} is submitted", applications.namespace));
    if args.follow {
        applications
            .logs(&name, LogRange::UntilEnd, print)
            .await
            .map_err(platform_error)?;
    }
    if !args.wait && !args.follow {
        return Ok(());
    }
    let mut last = String::new();
    let report = |status: &ApplicationStatus| {
        let line = describe_status(status);
        if line != last && !args.follow {
            print(&line);
        }
        last = line;
    };
    let status = applications
        .wait(&name, report)
        .await
        .map_err(platform_error)?;
    match status.application_state.state {
        ApplicationState::Completed => Ok(()),
        _ => {
            let message = status.application_state.error_message.unwrap_or_default();
            Err(Error::Platform(format!("{name} failed: {message}").into()))
        }
    }
}

/// Describes state and progress in one line.
fn describe_status(status: &ApplicationStatus) -> String {
    let progress = status.progress.clone().unwrap_or_default();
    let mut line = state_name(status);
    if let Some(percent) = progress.percent {
        line.push_str(&format!(
            " {percent}, {}/{} tasks",
            progress.tasks_done, progress.tasks_total
        ));
    }
    if let Some(step) = progress.step {
        line.push_str(&format!(", {step}"));
    }
    if let Some(message) = &status.application_state.error_message {
        line.push_str(&format!(": {message}"));
    }
    line
}

fn state_name(status: &ApplicationStatus) -> String {
    let state = format!("{:?}", status.application_state.state);
    state.to_lowercase()
}

pub(super) async fn status(args: NameArgs) -> Result<()> {
    let applications = connect(args.namespace.as_ref()).await?;
    let application = applications.get(&args.name).await.map_err(platform_error)?;
    let status = application.status.unwrap_or_default();
    print(&format!(
        "{}/{}: {}",
        applications.namespace,
        args.name,
        describe_status(&status)
    ));
    if let Some(pod) = status
        .driver_info
        .as_ref()
        .and_then(|driver| driver.pod_name.as_ref())
    {
        print(&format!(
            "driver: {pod}, attempt {}",
            status.execution_attempts
        ));
    }
    for (pod, state) in &status.executor_state {
        print(&format!("executor: {pod} {}", state.to_lowercase()));
    }
    if let Some(result) = &status.result {
        print(&format!(
            "wrote {} rows, {}",
            HumanCount(result.rows),
            HumanBytes(result.bytes)
        ));
        for (step, path) in &result.tables {
            print(&format!("  {step} → {path}"));
        }
    }
    if let Some(cost) = &status.cost {
        print(&format!(
            "reserved {} core seconds, {} GiB seconds",
            HumanCount(cost.vcpu_seconds),
            HumanCount(cost.gib_seconds)
        ));
    }
    Ok(())
}

pub(super) async fn logs(args: LogsArgs) -> Result<()> {
    let applications = connect(args.application.namespace.as_ref()).await?;
    let range = match args.follow {
        true => LogRange::UntilEnd,
        false => LogRange::SoFar,
    };
    applications
        .logs(&args.application.name, range, print)
        .await
        .map_err(platform_error)
}

/// Forwards a port of this machine to the page of an application's driver, until it ends.
pub(super) async fn ui(args: UiArgs) -> Result<()> {
    let name = &args.application.name;
    let applications = connect(args.application.namespace.as_ref()).await?;
    let application = applications.get(name).await.map_err(platform_error)?;
    let status = application.status.unwrap_or_default();
    let driver = status.driver_info.as_ref();
    let pod = driver.and_then(|driver| driver.pod_name.as_deref());
    let is_running = status.application_state.state == ApplicationState::Running;
    let Some(pod) = pod.filter(|_| is_running) else {
        return Err(Error::Usage(format!(
            "{name} is {}: only a driver that runs has a page",
            state_name(&status)
        )));
    };
    forward(&applications.namespace, pod, args.port).await
}

/// Runs `kubectl port-forward`, and prints the address once the port is open.
async fn forward(namespace: &str, pod: &str, port: u16) -> Result<()> {
    let arguments = [
        "port-forward",
        "--namespace",
        namespace,
        &format!("pod/{pod}"),
        &format!("{port}:{DEFAULT_PORT}"),
    ];
    let failed = |source: std::io::Error| {
        let command = arguments.join(" ");
        Error::Usage(format!("cannot run `kubectl {command}`: {source}"))
    };
    let mut kubectl = Command::new("kubectl")
        .args(arguments)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    if let Some(output) = kubectl.stdout.take() {
        let mut lines = BufReader::new(output).lines();
        let mut is_open = false;
        // Further lines are one for each connection.
        while let Some(line) = lines.next_line().await.map_err(failed)? {
            if !is_open && line.starts_with("Forwarding from") {
                print(&format!("Page: http://127.0.0.1:{port}/"));
                is_open = true;
            }
        }
    }
    let ended = kubectl.wait().await.map_err(failed)?;
    if ended.success() {
        return Ok(());
    }
    Err(Error::Platform("the port is no longer forwarded".into()))
}

pub(super) async fn kill(args: NameArgs) -> Result<()> {
    let applications = connect(args.namespace.as_ref()).await?;
    applications
        .kill(&args.name)
        .await
        .map_err(platform_error)?;
    print(&format!(
        "{}/{} is stopped and removed",
        applications.namespace, args.name
    ));
    Ok(())
}

pub(super) async fn list(args: ListArgs) -> Result<()> {
    let applications = connect(args.namespace.as_ref()).await?;
    let header = ["name", "state", "progress", "attempts", "created"];
    let mut rows = table(&header, CellAlignment::Right);
    for application in applications.list().await.map_err(platform_error)? {
        rows.add_row(application_row(&application));
    }
    print(&rows.to_string());
    Ok(())
}

fn application_row(application: &SparkApplication) -> [String; 5] {
    let status = application.status.clone().unwrap_or_default();
    let created = application
        .creation_timestamp()
        .map_or_else(String::new, |time| time.0.to_string());
    let percent = status
        .progress
        .clone()
        .and_then(|progress| progress.percent)
        .unwrap_or_default();
    [
        application.name_any(),
        state_name(&status),
        percent,
        status.execution_attempts.to_string(),
        created,
    ]
}
