//! Executors as child processes on this machine.
//!
//! A child that ends is replaced, a bounded number of times. Children end by themselves when the
//! driver's connection breaks, so that even a SIGKILL of the driver leaves none behind.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use faisca_executor::control::{ServeError, env};
use faisca_planner::ids::ExecutorId;
use tokio::process::{Child, Command};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tracing::{error, warn};

use super::{Fleet, FleetRequest, Launcher};
use crate::engine::{EngineHandle, Message};
use crate::error::{Error, Result};
use crate::fleet::control::ControlServer;

/// Time for a child to end after it was told to.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// A child that ends sooner than this did not come up at all.
const UP_MIN: Duration = Duration::from_secs(1);

/// Starts executors as child processes.
#[derive(Debug, Default)]
pub struct ProcessLauncher {
    /// The binary; this process's own when absent.
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
            None => {
                std::env::current_exe().map_err(|e| Error::Fleet(format!("own binary: {e}")))?
            }
        };
        Ok(Box::new(ProcessFleet::start(binary, request)?))
    }
}

/// Children of this process.
pub struct ProcessFleet {
    slots_expected: u32,
    stop: watch::Sender<bool>,
    keepers: tokio::sync::Mutex<Vec<JoinHandle<()>>>,
    _control: ControlServer,
}

struct Keeper {
    binary: PathBuf,
    variables: Vec<(&'static str, String)>,
    next_id: AtomicU32,
    replacements: AtomicU32,
    replacements_max: u32,
    /// Keepers that still have a child, or will.
    alive: AtomicU32,
    engine: EngineHandle,
}

impl ProcessFleet {
    /// Starts all children at once; they register as they come up.
    ///
    /// # Errors
    /// If the binary cannot be started.
    fn start(binary: PathBuf, request: FleetRequest) -> Result<Self> {
        let variables = request.variables()?;
        let FleetRequest {
            executors,
            slots,
            replacements_max,
            engine,
            control,
            ..
        } = request;
        let keeper = Arc::new(Keeper {
            binary,
            variables,
            next_id: AtomicU32::new(1),
            replacements: AtomicU32::new(0),
            replacements_max,
            alive: AtomicU32::new(executors),
            engine,
        });
        let (stop, stopped) = watch::channel(false);
        let mut keepers = vec![];
        for _ in 0..executors {
            let child = keeper.spawn()?;
            let given_up = control.given_up.subscribe();
            keepers.push(tokio::task::spawn(Arc::clone(&keeper).keep(
                child,
                stopped.clone(),
                given_up,
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

impl Keeper {
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
        // Ctrl-C on a terminal reaches the whole process group: the driver decides what follows.
        command.process_group(0);
        let child = command
            .spawn()
            .map_err(|e| Error::Fleet(format!("executor {}: {e}", self.binary.display())))?;
        Ok((ExecutorId(id), child))
    }

    async fn keep(
        self: Arc<Self>,
        child: (ExecutorId, Child),
        stopped: watch::Receiver<bool>,
        given_up: broadcast::Receiver<ExecutorId>,
    ) {
        let Err(reason) = self.replace_until_stopped(child, stopped, given_up).await else {
            return;
        };
        error!("{reason}");
        if self.alive.fetch_sub(1, Ordering::Relaxed) == 1 {
            let _ = self
                .engine
                .send(Message::FleetGone(format!(
                    "every executor is gone: {reason}"
                )))
                .await;
        }
    }

    /// Waits for the child's end and replaces it, until told to stop. An error when it gives up.
    async fn replace_until_stopped(
        &self,
        (mut id, mut child): (ExecutorId, Child),
        mut stopped: watch::Receiver<bool>,
        mut given_up: broadcast::Receiver<ExecutorId>,
    ) -> Result<(), String> {
        loop {
            let started = tokio::time::Instant::now();
            let status = tokio::select! {
                () = told_to_stop(&mut stopped) => {
                    if tokio::time::timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
                        let _ = child.kill().await;
                    }
                    return Ok(());
                }
                () = is_given_up(&mut given_up, id) => {
                    let _ = child.start_kill();
                    child.wait().await
                }
                status = child.wait() => status,
            };
            if status
                .as_ref()
                .is_ok_and(|status| status.code() == Some(ServeError::UNUSABLE))
            {
                return Err(format!("{id} could not serve; its own message tells why"));
            }
            let ended = status.map_or_else(|e| e.to_string(), |s| s.to_string());
            if self.replacements.fetch_add(1, Ordering::Relaxed) >= self.replacements_max {
                return Err(format!(
                    "{id} ended ({ended}), after {} replacements",
                    self.replacements_max
                ));
            }
            warn!("{id} ended ({ended}); starting another");
            if started.elapsed() < UP_MIN {
                tokio::time::sleep(UP_MIN).await;
            }
            (id, child) = self.spawn().map_err(|e| e.to_string())?;
        }
    }
}

/// Waits until the driver gives that executor up.
async fn is_given_up(given_up: &mut broadcast::Receiver<ExecutorId>, id: ExecutorId) {
    loop {
        match given_up.recv().await {
            Ok(given_up) if given_up == id => return,
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

async fn told_to_stop(stopped: &mut watch::Receiver<bool>) {
    // A sender that is gone means the same.
    let _ = stopped.wait_for(|stop| *stop).await;
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
    /// Aborted keepers drop their children, which kills them.
    fn drop(&mut self) {
        if let Ok(mut keepers) = self.keepers.try_lock() {
            keepers.drain(..).for_each(|keeper| keeper.abort());
        }
    }
}
