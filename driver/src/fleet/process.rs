//! Executors as child processes on this machine.
//!
//! One keeper task for each child waits for its end and replaces it. The number of replacements is
//! limited for all children together. Children end by themselves when their connection to the
//! driver breaks, so that even a SIGKILL of the driver leaves none behind.

use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use faisca_executor::control::ServeError;
use faisca_executor::protocol::env;
use faisca_planner::ids::ExecutorId;
use tokio::process::{Child, Command};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tracing::{error, warn};

use super::exit::{cause_of_end, kills_for_memory};
use super::{Fleet, FleetRequest, Launcher};
use crate::engine::EngineHandle;
use crate::error::{Error, Result};
use crate::fleet::control::ControlServer;

/// How long a child may take to end after the engine's last command, before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// A child that ends sooner than this has never worked: its replacement is delayed by this time.
const UPTIME_MIN: Duration = Duration::from_secs(1);

/// Starts executors as child processes.
#[derive(Debug, Default)]
pub struct ProcessLauncher {
    /// The program to run as an executor; the one of this process if `None`.
    pub binary: Option<PathBuf>,
}

#[async_trait]
impl Launcher for ProcessLauncher {
    fn host(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    }

    fn token(&self) -> Option<String> {
        None
    }

    async fn launch(&self, request: FleetRequest) -> Result<Box<dyn Fleet>> {
        let binary = match &self.binary {
            Some(binary) => binary.clone(),
            None => own_program().map_err(Error::of_fleet("path of this program"))?,
        };
        Ok(Box::new(ProcessFleet::start(binary, request)?))
    }
}

/// Path to the running program that stays valid even if its file was replaced.
const RUNNING_PROGRAM: &str = "/proc/self/exe";

/// Returns the path of the running program: of its file, so that the name of a child says what it
/// is, unless another file has that path by now.
fn own_program() -> std::io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    let identity = |path: &Path| std::fs::metadata(path).map(|m| (m.dev(), m.ino()));
    let running = Path::new(RUNNING_PROGRAM);
    match (identity(&path), identity(running)) {
        (Ok(file), Ok(own)) if file == own => Ok(path),
        (_, Ok(_)) => Ok(running.to_path_buf()),
        // A system without `/proc`.
        (_, Err(_)) => Ok(path),
    }
}

/// Executors as children of this process.
#[derive(Debug)]
pub struct ProcessFleet {
    slots_expected: u32,
    stop: watch::Sender<bool>,
    keepers: tokio::sync::Mutex<Vec<JoinHandle<()>>>,
    _control: ControlServer,
}

/// State that the keeper tasks share.
struct Keepers {
    binary: PathBuf,
    variables: Vec<(&'static str, String)>,
    /// Where executors spill.
    spill_folder: Option<PathBuf>,
    /// Id of the next executor. Ids are never reused: a replacement is another executor.
    next_id: AtomicU32,
    /// Number of children started in place of others.
    replacements: AtomicU32,
    replacements_max: u32,
    /// Number of keeper tasks that still have a child, or will start one.
    active: AtomicU32,
    engine: EngineHandle,
}

impl ProcessFleet {
    /// Starts all children at once. Each registers with the control service when it is up.
    ///
    /// # Errors
    /// If the program cannot be started. Children started before are ended.
    fn start(binary: PathBuf, request: FleetRequest) -> Result<Self> {
        let variables = request.variables()?;
        let FleetRequest {
            executors,
            slots,
            replacements_max,
            engine,
            control,
            limits,
            ..
        } = request;
        let shared = Arc::new(Keepers {
            binary,
            variables,
            spill_folder: limits.spill_folder,
            next_id: AtomicU32::new(1),
            replacements: AtomicU32::new(0),
            replacements_max,
            active: AtomicU32::new(executors),
            engine,
        });
        let (stop, stopped) = watch::channel(false);
        let mut keepers = vec![];
        for _ in 0..executors {
            let child = shared.spawn()?;
            let dead_executors = control.dead_executors.subscribe();
            keepers.push(tokio::task::spawn(Arc::clone(&shared).run_keeper(
                child,
                stopped.clone(),
                dead_executors,
            )));
        }
        Ok(Self {
            slots_expected: executors * slots,
            stop,
            keepers: tokio::sync::Mutex::new(keepers),
            _control: control,
        })
    }
}

impl Keepers {
    fn spawn(&self) -> Result<(ExecutorId, Child)> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut command = Command::new(&self.binary);
        command
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .env(env::EXECUTOR, id.to_string());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        // Ctrl-C on a terminal signals the whole process group, but only the driver decides what
        // ends.
        command.process_group(0);
        let child = command
            .spawn()
            .map_err(Error::of_fleet(format!("start {}", self.binary.display())))?;
        Ok((ExecutorId(id), child))
    }

    /// Keeps one executor running. The last keeper that stops replacing reports that the fleet is
    /// lost.
    async fn run_keeper(
        self: Arc<Self>,
        child: (ExecutorId, Child),
        stopped: watch::Receiver<bool>,
        dead_executors: broadcast::Receiver<ExecutorId>,
    ) {
        let Err(reason) = self
            .replace_until_stopped(child, stopped, dead_executors)
            .await
        else {
            return;
        };
        error!("{reason}");
        if self.active.fetch_sub(1, Ordering::Relaxed) == 1 {
            let reason = format!("no executor is left: {reason}");
            self.engine.report_fleet_lost(reason).await;
        }
    }

    /// Replaces the child each time that it ends, until the fleet stops. Returns the reason as an
    /// error when no further child is started.
    async fn replace_until_stopped(
        &self,
        (mut id, mut child): (ExecutorId, Child),
        mut stopped: watch::Receiver<bool>,
        mut dead_executors: broadcast::Receiver<ExecutorId>,
    ) -> Result<(), NoReplacement> {
        loop {
            let started = tokio::time::Instant::now();
            let kills_before = kills_for_memory();
            let status = tokio::select! {
                () = wait_for_stop(&mut stopped) => {
                    if tokio::time::timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
                        let _ = child.kill().await;
                        self.remove_spilled().await;
                    }
                    return Ok(());
                }
                () = wait_until_declared_dead(&mut dead_executors, id) => {
                    let _ = child.start_kill();
                    child.wait().await
                }
                status = child.wait() => {
                    self.report_cause(id, status.as_ref().ok().copied(), kills_before).await;
                    status
                }
            };
            self.remove_spilled().await;
            if status
                .as_ref()
                .is_ok_and(|status| status.code() == Some(ServeError::UNUSABLE))
            {
                return Err(NoReplacement::Unusable(id));
            }
            let exit = status.map_or_else(|e| e.to_string(), |s| s.to_string());
            if self.replacements.fetch_add(1, Ordering::Relaxed) >= self.replacements_max {
                return Err(NoReplacement::TooMany {
                    id,
                    exit,
                    replacements: self.replacements_max,
                });
            }
            warn!("{id} ended ({exit}); starting a replacement");
            if started.elapsed() < UPTIME_MIN {
                tokio::time::sleep(UPTIME_MIN).await;
            }
            (id, child) = self.spawn()?;
        }
    }
}

impl Keepers {
    /// Deletes the spill files of dead executors.
    async fn remove_spilled(&self) {
        let folder = self.spill_folder.clone();
        let removal = move || faisca_executor::spill::remove_abandoned(folder.as_deref());
        // Fails only if the runtime ends; the next process then deletes the files.
        let _ = tokio::task::spawn_blocking(removal).await;
    }

    /// Reports why an executor ended by itself.
    async fn report_cause(
        &self,
        executor: ExecutorId,
        status: Option<ExitStatus>,
        kills_before: u64,
    ) {
        let Some(status) = status else { return };
        let cause = cause_of_end(status, kills_before);
        self.engine
            .report_executor_lost(executor, cause, status.to_string())
            .await;
    }
}

/// Waits until the engine considers this executor lost.
async fn wait_until_declared_dead(
    dead_executors: &mut broadcast::Receiver<ExecutorId>,
    id: ExecutorId,
) {
    loop {
        match dead_executors.recv().await {
            Ok(dead) if dead == id => return,
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Waits until the fleet stops.
async fn wait_for_stop(stopped: &mut watch::Receiver<bool>) {
    // An error means that the fleet was dropped, which is a request to stop, too.
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// Why an executor that ended is not replaced.
#[derive(Debug, thiserror::Error)]
enum NoReplacement {
    #[error("{0} could not serve; its log has the reason")]
    Unusable(ExecutorId),
    #[error("{id} ended ({exit}), after {replacements} replacements")]
    TooMany {
        id: ExecutorId,
        exit: String,
        replacements: u32,
    },
    #[error(transparent)]
    Start(#[from] Error),
}

#[async_trait]
impl Fleet for ProcessFleet {
    fn slots_expected(&self) -> u32 {
        self.slots_expected
    }

    async fn stop(&self) {
        let _ = self.stop.send(true);
        for keeper in self.keepers.lock().await.drain(..) {
            let _ = keeper.await;
        }
    }
}

impl Drop for ProcessFleet {
    /// Aborts the keepers, which drop their children and thereby kill them.
    fn drop(&mut self) {
        if let Ok(mut keepers) = self.keepers.try_lock() {
            keepers.drain(..).for_each(|keeper| keeper.abort());
        }
    }
}
