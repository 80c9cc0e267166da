//! What would make the run faster or safer, as far as the journal shows it.
//!
//! A finding has evidence from the journal, a fix that the product has, and a predicted gain. A
//! gain is at most the time on the critical path that the cause is responsible for: time that no
//! one waits for cannot be saved.

mod fleet;
mod inputs;
mod stages;

use std::cmp::Reverse;

use super::critical_path::{CriticalPath, StageOfQuery};
use super::run::Run;

/// Number of findings on the page.
const FINDINGS_MAX: usize = 3;
/// Gains below this percentage of the elapsed time are not worth a change.
const GAIN_PERCENT_MIN: u64 = 3;
/// Gains below this time are noise.
const GAIN_MS_MIN: u64 = 100;

/// Something to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) title: String,
    /// What the journal shows.
    pub(super) evidence: String,
    /// What to change.
    pub(super) fix: String,
    /// Predicted reduction of the elapsed time.
    pub(super) gain_ms: u64,
    /// How the gain is computed.
    pub(super) basis: &'static str,
    /// The stage to look at.
    pub(super) stage: Option<StageOfQuery>,
}

/// Looks for one cause. Returns its worst case.
type Rule = fn(&Run<'_>, &CriticalPath) -> Option<Finding>;

const RULES: [Rule; 8] = [
    stages::skew,
    stages::spill,
    stages::too_few_tasks,
    inputs::tiny_files,
    inputs::text_read_twice,
    inputs::many_output_files,
    fleet::slow_start,
    fleet::lost_results,
];

/// Returns the findings with the largest predicted gains, the largest first.
pub(super) fn findings(run: &Run<'_>, path: &CriticalPath) -> Vec<Finding> {
    let gain_min = gain_min(run);
    let is_worthwhile = |finding: &Finding| finding.gain_ms >= gain_min;
    let causes = RULES.iter().filter_map(|rule| rule(run, path));
    let mut findings: Vec<Finding> = causes.filter(is_worthwhile).collect();
    findings.sort_by_key(|finding| Reverse(finding.gain_ms));
    // More slots help almost every run, so this one must not hide a cause.
    findings.extend(fleet::more_slots(run, path).filter(is_worthwhile));
    findings.truncate(FINDINGS_MAX);
    findings
}

/// Returns the smallest gain that is worth a change.
pub(super) fn gain_min(run: &Run<'_>) -> u64 {
    GAIN_MS_MIN.max(run.elapsed_ms * GAIN_PERCENT_MIN / 100)
}

/// Names a stage as the page does: `q3.s5`.
pub(super) fn stage_name((query, stage): StageOfQuery) -> String {
    format!("{query}.{stage}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{Sample, skewed_join, spilled_join};

    #[test]
    fn the_largest_gain_comes_first() {
        let recorded = skewed_join();
        let run = Run::new(&recorded);
        let findings = findings(&run, &CriticalPath::new(&run));
        assert!(findings[0].title.contains("skewed"), "{findings:?}");
        assert!(findings.len() <= FINDINGS_MAX);
        assert!(
            findings
                .iter()
                .all(|finding| finding.gain_ms <= run.elapsed_ms)
        );
    }

    #[test]
    fn more_slots_come_after_every_cause() {
        let recorded = spilled_join();
        let run = Run::new(&recorded);
        let findings = findings(&run, &CriticalPath::new(&run));
        assert!(findings[0].title.contains("spilled"), "{findings:?}");
    }

    #[test]
    fn a_run_without_tasks_has_none() {
        let recorded = Sample::new(2, 2).end();
        let run = Run::new(&recorded);
        assert_eq!(findings(&run, &CriticalPath::new(&run)), []);
    }
}
