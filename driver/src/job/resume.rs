//! Which steps of a job an earlier attempt of its run has finished.
//!
//! The identity of a step's write is made of the run, the names of the job and the step, and the
//! step's meaning: its part of the manifest with parameters filled in, the sources, and the meaning
//! of the steps that it reads. A step that was changed since is another write.

use faisca_planner::manifest::CheckedManifest;

use super::walk::StepWalk;
use crate::error::{Error, Result};
use crate::write_identity::{RunId, WriteId, digest};

/// The identities of the writes of a job. Without a run, no write has one.
pub(super) struct WriteIds(Vec<WriteId>);

impl WriteIds {
    /// Computes the identities of all writes of a job.
    ///
    /// # Errors
    /// Never, in practice: a manifest has a form in JSON.
    pub(super) fn new(manifest: &CheckedManifest, run: Option<&RunId>) -> Result<Self> {
        let Some(run) = run else {
            return Ok(Self(vec![]));
        };
        let failed = |e: serde_json::Error| Error::input(manifest.file())(e);
        let steps = &manifest.spec().steps;
        let sources = serde_json::to_string(&manifest.spec().sources).map_err(failed)?;
        let mut meanings = vec![String::new(); steps.len()];
        let mut walk = StepWalk::new(manifest);
        while let Some(index) = walk.begin_next() {
            let step = serde_json::to_string(&steps[index]).map_err(failed)?;
            let reads = manifest.reads(index).iter();
            let read = reads.map(|read| meanings[*read].as_str());
            let texts: Vec<&str> = [sources.as_str(), step.as_str()]
                .into_iter()
                .chain(read)
                .collect();
            meanings[index] = digest(&texts);
            walk.end(index);
        }
        let job = &manifest.manifest().metadata.name;
        let writes = steps.iter().zip(&meanings);
        let ids = writes.map(|(step, meaning)| run.write(job, &step.name, meaning));
        Ok(Self(ids.collect()))
    }

    /// Returns the identity of a step's write.
    pub(super) fn of_step(&self, step: usize) -> Option<&WriteId> {
        self.0.get(step)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn ids(run: &str, edit: (&str, &str)) -> Vec<WriteId> {
        let text = "apiVersion: faisca.dev/v1alpha1
kind: SparkApplication
metadata: {name: job}
spec:
  parameters: {day: \"1\"}
  sources:
    - {name: s, path: /in/s, format: parquet}
  steps:
    - {name: a, sql: SELECT x FROM s, write: {path: /out/a}}
    - {name: v, sql: \"SELECT x FROM a WHERE x = ${day}\"}
    - {name: b, sql: SELECT x FROM v, write: {path: /out/b}}
    - {name: c, sql: SELECT 1 AS x, write: {path: /out/c}}
"
        .replace(edit.0, edit.1);
        let manifest = CheckedManifest::load("job.yaml", &text, &BTreeMap::new()).unwrap();
        WriteIds::new(&manifest, Some(&RunId::new(run))).unwrap().0
    }

    /// Returns the steps whose writes are other writes after an edit.
    fn changed(edit: (&str, &str)) -> Vec<usize> {
        let (before, after) = (ids("r", ("", "")), ids("r", edit));
        (0..4)
            .filter(|step| before[*step] != after[*step])
            .collect()
    }

    #[test]
    fn an_edit_changes_the_step_and_those_that_read_it_and_no_other() {
        assert_eq!(changed(("", "")), Vec::<usize>::new());
        assert_eq!(changed(("day: \"1\"", "day: \"2\"")), [1, 2]);
        assert_eq!(
            changed(("SELECT x FROM v", "SELECT x + 1 AS x FROM v")),
            [2]
        );
        assert_eq!(changed(("/out/a", "/out/z")), [0, 1, 2]);
        assert_eq!(changed(("/in/s", "/in/t")), [0, 1, 2, 3]);
        assert_eq!(changed(("{name: job}", "{name: other}")), [0, 1, 2, 3]);
        assert_ne!(ids("r", ("", "")), ids("q", ("", "")));
    }
}
