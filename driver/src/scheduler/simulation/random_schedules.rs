//! Many random schedules. Each must end in the right committed set.

use std::collections::BTreeSet;

use faisca_executor::protocol::PendingFile;
use faisca_planner::ids::{Attempt, BlockId, StageId, TaskId};

use super::Simulation;
use super::builders::{four_stages, stage, task};
use crate::scheduler::InputReads::OwnPartition;
use crate::scheduler::{OutputKind, QueryOutput, StageInfo};

/// Returns every block that the final files were computed from, through all stages, and the files'
/// own.
fn origins(sim: &Simulation, output: &QueryOutput) -> BTreeSet<BlockId> {
    let block = |file: &PendingFile| {
        let numbers = file.path.split('-').map(|number| number.parse().unwrap());
        let numbers: Vec<u32> = numbers.collect();
        BlockId {
            task: task(numbers[0], numbers[1]),
            attempt: Attempt(numbers[2]),
        }
    };
    let files = output.writes.iter().flat_map(|write| &write.files);
    let mut open: Vec<BlockId> = files.map(block).collect();
    let mut seen = BTreeSet::new();
    while let Some(block) = open.pop() {
        if seen.insert(block) {
            open.extend(&sim.read[&block]);
        }
    }
    seen
}

/// Each write has exactly one file of each task of its sink.
fn check_writes(sim: &Simulation, output: &QueryOutput, writes: usize) {
    assert_eq!(output.writes.len(), writes, "{output:?}");
    for (write, written) in (0..).zip(&output.writes) {
        let tasks: BTreeSet<_> = written
            .files
            .iter()
            .map(|f| f.path.split('-').nth(1).unwrap().to_owned())
            .collect();
        let is_of_sink =
            |task: &TaskId| sim.stages[task.stage.index()].output == OutputKind::Sink(write);
        let committed = sim.committed.iter().map(|(task, _)| *task);
        let last = committed
            .filter(is_of_sink)
            .map(|task| task.index)
            .max()
            .unwrap();
        let expected = last as usize + 1;
        assert_eq!(
            (written.files.len(), tasks.len()),
            (expected, expected),
            "{output:?}"
        );
    }
}

/// Every block that the result was computed from was committed.
fn check_only_committed_is_read(sim: &Simulation, origins: &BTreeSet<BlockId>) {
    for block in origins {
        assert!(
            sim.committed.contains(&(block.task, block.attempt)),
            "{block} was read, but never committed"
        );
    }
}

/// The result was computed from one attempt of each task that yields other rows every time.
fn check_random_rows_are_not_mixed(sim: &Simulation, origins: &BTreeSet<BlockId>) {
    let scans: Vec<TaskId> = origins
        .iter()
        .map(|b| b.task)
        .filter(|task| sim.stages[task.stage.index()].is_indeterminate)
        .collect();
    let distinct: BTreeSet<&TaskId> = scans.iter().collect();
    assert_eq!(
        scans.len(),
        distinct.len(),
        "attempts of random rows are mixed"
    );
}

/// Plays and checks one schedule. Returns the number of times that it was replanned.
fn check_schedule(seed: u64) -> usize {
    let mut stages = four_stages();
    stages[0].is_indeterminate = seed.is_multiple_of(2);
    if seed.is_multiple_of(5) {
        for scan in [0, 2] {
            stages[scan].expected_rows = Some(1_000..=2_000);
        }
        for join in [1, 3] {
            stages[join].is_replannable = true;
        }
    }
    if seed.is_multiple_of(7) {
        // A second write reads what the first one reads.
        stages.push(StageInfo {
            output: OutputKind::Sink(1),
            ..stage(3, &[(1, OwnPartition)])
        });
    }
    let is_sink = |stage: &&StageInfo| matches!(stage.output, OutputKind::Sink(_));
    let writes = stages.iter().filter(is_sink).count();
    let mut sim = Simulation::with_store(seed, stages, 3, 2, seed.is_multiple_of(3));
    let output = sim.run(usize::try_from(seed % 12).unwrap()).clone();
    check_writes(&sim, &output, writes);
    let origins = origins(&sim, &output);
    check_only_committed_is_read(&sim, &origins);
    if seed.is_multiple_of(2) {
        check_random_rows_are_not_mixed(&sim, &origins);
    }
    sim.revisions
}

/// Names the seed if the schedule fails, so that it can be played alone.
struct FailingSeed(u64);

impl Drop for FailingSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the schedule of seed {} failed", self.0);
        }
    }
}

#[test]
fn simulated_schedules_end_in_the_right_committed_set() {
    let schedules: u64 =
        std::env::var("FAISCA_SIMULATIONS").map_or(100_000, |n| n.parse().unwrap());
    let play = |seed| {
        let _named = FailingSeed(seed);
        check_schedule(seed)
    };
    let revisions: usize = (0..schedules).map(play).sum();
    assert!(
        revisions as u64 > schedules / 10,
        "planned again {revisions} times in {schedules} schedules"
    );
}

#[test]
fn a_skewed_partition_is_divided_by_producers_and_read_once() {
    let mut sim = Simulation::new(8, four_stages(), 3, 2);
    let output = sim.run(0).clone();
    let middle: BTreeSet<BlockId> = origins(&sim, &output)
        .into_iter()
        .filter(|block| block.task.stage == StageId(1))
        .collect();
    // Three partitions whole, and one in five parts, as many as there are scans.
    assert_eq!(middle.len(), 3 + 5, "{middle:?}");
    let mut parts: Vec<u32> = middle
        .iter()
        .map(|block| &sim.read[block])
        .filter(|read| read.len() == 1)
        .map(|read| read[0].task.index)
        .collect();
    parts.sort_unstable();
    assert_eq!(parts, [0, 1, 2, 3, 4]);
}
