//! The order in which the steps of a job begin, for running, explaining and planning it.

use std::collections::BTreeSet;

use faisca_planner::manifest::{CheckedManifest, Step};

/// Tracks which steps of a job have begun, and which have ended.
///
/// A step is ready when all steps that it reads have ended and it has not begun. A caller does not
/// end a step that failed, so the steps that read it never become ready. Steps are named by their
/// index in the manifest.
pub(super) struct StepWalk<'a> {
    manifest: &'a CheckedManifest,
    begun: BTreeSet<usize>,
    ended: BTreeSet<usize>,
}

impl<'a> StepWalk<'a> {
    pub(super) fn new(manifest: &'a CheckedManifest) -> Self {
        Self {
            manifest,
            begun: BTreeSet::new(),
            ended: BTreeSet::new(),
        }
    }

    fn steps(&self) -> &'a [Step] {
        &self.manifest.spec().steps
    }

    /// Returns the number of ended steps, and the number of all steps.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.ended.len(), self.steps().len())
    }

    /// Returns true when every step has ended.
    pub(super) fn is_complete(&self) -> bool {
        self.ended.len() == self.steps().len()
    }

    /// Begins the first ready step that defines a view, and returns its index.
    pub(super) fn begin_view(&mut self) -> Option<usize> {
        let steps = self.steps();
        let view = self.ready().find(|index| steps[*index].write.is_none())?;
        self.begun.insert(view);
        Some(view)
    }

    /// Begins the first ready step in the order of the manifest, and returns its index.
    pub(super) fn begin_next(&mut self) -> Option<usize> {
        let next = self.ready().next()?;
        self.begun.insert(next);
        Some(next)
    }

    /// Begins all ready steps, and returns their indices in the order of the manifest.
    pub(super) fn begin_ready(&mut self) -> Vec<usize> {
        let ready: Vec<usize> = self.ready().collect();
        self.begun.extend(&ready);
        ready
    }

    /// Ends a step. Steps that read it may become ready.
    pub(super) fn end(&mut self, step: usize) {
        self.ended.insert(step);
    }

    /// Returns the ready steps in the order of the manifest.
    fn ready(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.steps().len())
            .filter(|step| !self.begun.contains(step))
            .filter(|step| self.manifest.reads(*step).is_subset(&self.ended))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Step `a` writes, `b` is a view of `a`, `c` writes the rows of `b`, `d` reads no other step.
    fn manifest() -> CheckedManifest {
        let text = "apiVersion: faisca.dev/v1alpha1
kind: SparkApplication
metadata: {name: walk}
spec:
  steps:
    - {name: a, sql: SELECT 1 AS x, write: {path: /out/a}}
    - {name: b, sql: SELECT x FROM a}
    - {name: c, sql: SELECT x FROM b, write: {path: /out/c}}
    - {name: d, sql: SELECT 2 AS y, write: {path: /out/d}}
";
        CheckedManifest::load("walk.yaml", text, &BTreeMap::new()).unwrap()
    }

    #[test]
    fn steps_become_ready_when_what_they_read_has_ended() {
        let manifest = manifest();
        let mut walk = StepWalk::new(&manifest);
        assert_eq!(walk.begin_view(), None);
        assert_eq!(walk.begin_ready(), [0, 3]);
        walk.end(0);
        assert_eq!(walk.begin_view(), Some(1));
        assert_eq!(walk.begin_next(), None);
        walk.end(1);
        assert_eq!(walk.begin_next(), Some(2));
        walk.end(2);
        walk.end(3);
        assert!(walk.is_complete());
        assert_eq!(walk.counts(), (4, 4));
    }

    #[test]
    fn readers_of_a_step_that_never_ends_never_begin() {
        let manifest = manifest();
        let mut walk = StepWalk::new(&manifest);
        assert_eq!(walk.begin_next(), Some(0));
        assert_eq!(walk.begin_next(), Some(3));
        walk.end(3);
        assert_eq!(walk.begin_next(), None);
        assert!(!walk.is_complete());
    }
}
