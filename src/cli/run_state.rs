//! The run that `faisca run` begins or resumes.
//!
//! A run has an identity, by which the outputs of its finished steps are found again. Unless the
//! user names it, the identity is random, and a small file keeps it until the run succeeds:
//! `$XDG_STATE_HOME/faisca/runs/<hash of job and parameters>`.

use std::path::{Path, PathBuf};

use clap::Args;
use faisca::{Error, Result};
use faisca_driver::random_hex;

use super::folders;
use super::show::print;

/// Setting of the identity.
pub(super) const RUN_SETTING: &str = "faisca.run.id";
/// Random bytes of an identity.
const RUN_BYTES: usize = 8;

/// Flags that choose the run.
#[derive(Debug, Args)]
pub(super) struct RunStateArgs {
    /// Continue the last run of this job with these parameters, if it was killed or failed: steps
    /// whose output is committed are skipped. Otherwise begin a new run.
    #[arg(long, conflicts_with = "run_id")]
    resume: bool,
    /// Name of the run. A job that is run again with the same name skips the steps that it has
    /// committed, also on another machine.
    #[arg(long, value_name = "NAME")]
    run_id: Option<String>,
}

/// The identity of a run, and where it is kept.
#[derive(Debug)]
pub(super) struct RunState {
    id: String,
    /// `None` if the user named the run, or the file cannot be kept.
    file: Option<PathBuf>,
}

impl RunStateArgs {
    /// Whether the user asks for what only a manifest has.
    pub(super) fn is_requested(&self) -> bool {
        self.resume || self.run_id.is_some()
    }

    /// Begins a run, or resumes one. Says so where the user asked to resume.
    ///
    /// # Errors
    /// If the run shall be resumed and no folder can hold its state, or the system has no random
    /// numbers.
    pub(super) fn begin(self, job: &str, parameters: &[(String, String)]) -> Result<RunState> {
        if let Some(id) = self.run_id {
            return Ok(RunState { id, file: None });
        }
        let file = state_file(job, parameters);
        if self.resume {
            let Some(file) = &file else {
                return Err(Error::Usage(
                    "--resume finds the last run by a file below $XDG_STATE_HOME or ~/.local/state, and neither \
                     is set; name the run with --run-id"
                        .to_owned(),
                ));
            };
            match std::fs::read_to_string(file) {
                Ok(id) if !id.trim().is_empty() => {
                    print(&format!("Resuming run {}", id.trim()));
                    return Ok(RunState {
                        id: id.trim().to_owned(),
                        file: Some(file.clone()),
                    });
                }
                _ => print(&format!(
                    "No unfinished run of {job} with these parameters: a new one begins"
                )),
            }
        }
        let id = random_hex(RUN_BYTES)?;
        let file = file.filter(|file| match keep(file, &id) {
            Ok(()) => true,
            Err(error) => {
                eprintln!(
                    "warning: this run cannot be resumed: {}: {error}",
                    file.display()
                );
                false
            }
        });
        Ok(RunState { id, file })
    }
}

impl RunState {
    /// Returns the setting that names the run in its session.
    pub(super) fn setting(&self) -> (String, String) {
        (RUN_SETTING.to_owned(), self.id.clone())
    }

    /// Whether a later command finds this run.
    pub(super) fn is_kept(&self) -> bool {
        self.file.is_some()
    }

    /// Forgets the run, which has succeeded. Leaves a run that began later.
    pub(super) fn forget(&self) {
        if let Some(file) = &self.file
            && std::fs::read_to_string(file).is_ok_and(|id| id.trim() == self.id)
        {
            let _ = std::fs::remove_file(file);
        }
    }
}

/// Returns the file that keeps the last run of a job with these parameters.
fn state_file(job: &str, parameters: &[(String, String)]) -> Option<PathBuf> {
    let job = std::fs::canonicalize(job).unwrap_or_else(|_| PathBuf::from(job));
    let mut parameters = parameters.to_vec();
    parameters.sort();
    let mut texts = vec![job.display().to_string()];
    for (key, value) in parameters {
        texts.extend([key, value]);
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let name = faisca_driver::digest(&texts);
    Some(folders::state()?.join("runs").join(name))
}

/// Writes the file as a whole: a kill leaves the old one or the new one.
fn keep(file: &Path, id: &str) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let temporary = tempfile::NamedTempFile::new_in(folder)?;
    std::fs::write(temporary.path(), format!("{id}\n"))?;
    temporary.persist(file)?;
    Ok(())
}
