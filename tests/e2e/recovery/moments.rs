//! One, two and all executors are killed at each moment of a statement's life; others freeze or
//! leave.

use std::time::{Duration, Instant};

use futures::StreamExt;

use super::{
    QueryMoment, all_up, assert_whole, executors, expected, fleet, is_alive, is_reached, signal,
    stages, start, start_write, stop, wait_until,
};
use crate::support::{oracle_rows, rows, scratch};

const EXECUTORS: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn executors_killed_at_any_moment_change_no_result() {
    let expected = expected(9).await;
    let session = fleet(3).await;
    for moment in [
        QueryMoment::Running,
        QueryMoment::Committed,
        QueryMoment::Fetching,
    ] {
        for kills in 1..=EXECUTORS {
            all_up(&session, EXECUTORS).await;
            let before = session.progress();
            let running = start(&session, 9);
            wait_until("the moment", Duration::from_secs(20), || {
                is_reached(moment, &session) || running.is_finished()
            })
            .await;
            executors(&session)
                .iter()
                .take(kills)
                .for_each(|pid| signal(*pid, "-KILL"));
            assert_eq!(
                running.await.unwrap(),
                expected,
                "{kills} killed, {moment:?}"
            );
            wait_until("the news", Duration::from_secs(5), || {
                session.progress().executors_lost as usize == before.executors_lost as usize + kills
            })
            .await;
            let recomputed = session.progress().tasks_recomputed - before.tasks_recomputed;
            let tasks: u32 = 12 * 12;
            assert!(
                recomputed < tasks,
                "{recomputed} of at most {tasks} tasks were recomputed"
            );
        }
    }
    stop(session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn executors_killed_in_the_sink_or_at_commit_leave_every_row_exactly_once() {
    let folder = scratch("sink");
    let out = folder.path().join("lines");
    let session = fleet(3).await;
    for (finished_before, kills) in [(0, 1), (3, 2), (5, 3), (12, 3)] {
        all_up(&session, EXECUTORS).await;
        let writing = start_write(&session, &out);
        let has_finished_tasks = || {
            stages(&session).last().is_some_and(|(tasks, finished)| {
                *tasks > 0 && *finished >= finished_before.min(*tasks)
            })
        };
        wait_until("the sink", Duration::from_secs(20), || {
            has_finished_tasks() || writing.is_finished()
        })
        .await;
        executors(&session)
            .iter()
            .take(kills)
            .for_each(|pid| signal(*pid, "-KILL"));
        writing.await.unwrap();
        assert_whole(&out).await;
        wait_until("the news", Duration::from_secs(5), || {
            executors(&session).len() <= EXECUTORS - kills || session.progress().executors_lost > 0
        })
        .await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    stop(session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_being_read_survives_its_executors() {
    let session = fleet(3).await;
    let frame = session
        .sql("SELECT o_orderkey, o_comment FROM orders WHERE o_orderkey % 4 = 0")
        .await
        .unwrap();
    let mut stream = frame.into_inner().execute_stream().await.unwrap();
    let mut batches = vec![stream.next().await.unwrap().unwrap()];
    executors(&session)
        .iter()
        .for_each(|pid| signal(*pid, "-KILL"));
    while let Some(batch) = stream.next().await {
        batches.push(batch.unwrap());
    }
    let oracle = crate::support::tpch_oracle().await;
    let sql = "SELECT o_orderkey, o_comment FROM orders WHERE o_orderkey % 4 = 0";
    let expected = oracle_rows(&oracle, sql).await;
    assert!(
        crate::support::sorted(rows(&batches)) == crate::support::sorted(expected),
        "rows are missing or twice"
    );
    drop(stream);
    stop(session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_executor_is_declared_dead_in_time_and_ended() {
    let expected = expected(9).await;
    let session = fleet(2).await;
    let frozen = executors(&session)[0];
    let running = start(&session, 9);
    wait_until("a task", Duration::from_secs(20), || {
        is_reached(QueryMoment::Running, &session) || running.is_finished()
    })
    .await;
    signal(frozen, "-STOP");
    let since = Instant::now();
    wait_until("notice", Duration::from_secs(15), || {
        session.progress().executors_lost == 1
    })
    .await;
    assert!(
        since.elapsed() > Duration::from_secs(5),
        "it was not frozen at all"
    );
    assert_eq!(running.await.unwrap(), expected);
    // An executor whose connection was cut gets 5 s to end by itself.
    wait_until("its end", Duration::from_secs(10), || !is_alive(frozen)).await;
    stop(session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_straggler_gets_a_speculative_attempt_and_the_first_to_finish_counts() {
    let folder = scratch("twins");
    let out = folder.path().join("lines");
    let session = fleet(3).await;
    let writing = start_write(&session, &out);
    wait_until("a task", Duration::from_secs(20), || {
        is_reached(QueryMoment::Running, &session) || writing.is_finished()
    })
    .await;
    assert!(!writing.is_finished(), "too quick to be slowed down");
    let slow = executors(&session)[0];
    signal(slow, "-STOP");
    let since = Instant::now();
    writing.await.unwrap();
    // Its heartbeats would be missed after 10 s only: until then it is slow, and not lost.
    assert!(
        since.elapsed() < Duration::from_secs(9),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(session.progress().executors_lost, 0);
    signal(slow, "-CONT");
    wait_until("it is back", Duration::from_secs(5), || {
        executors(&session).len() == EXECUTORS
    })
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_whole(&out).await;
    stop(session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_must_end_hands_over_its_blocks() {
    let expected = expected(9).await;
    let session = fleet(3).await;
    for moment in [
        QueryMoment::Running,
        QueryMoment::Committed,
        QueryMoment::Fetching,
    ] {
        all_up(&session, EXECUTORS).await;
        let before = session.progress();
        let running = start(&session, 9);
        wait_until("the moment", Duration::from_secs(20), || {
            is_reached(moment, &session) || running.is_finished()
        })
        .await;
        let draining_pid = executors(&session)[0];
        signal(draining_pid, "-TERM");
        assert_eq!(running.await.unwrap(), expected, "{moment:?}");
        wait_until("its end", Duration::from_secs(20), || {
            session.progress().executors_drained == before.executors_drained + 1
        })
        .await;
        let now = session.progress();
        assert_eq!(
            (now.executors_lost, now.tasks_recomputed),
            (before.executors_lost, before.tasks_recomputed),
            "{moment:?}: work was lost"
        );
        wait_until("its process", Duration::from_secs(5), || {
            !is_alive(draining_pid)
        })
        .await;
    }
    stop(session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_executor_hands_its_blocks_to_the_driver() {
    let expected = expected(3).await;
    let session = fleet(1).await;
    let running = start(&session, 3);
    wait_until("a finished stage", Duration::from_secs(20), || {
        is_reached(QueryMoment::Committed, &session) || running.is_finished()
    })
    .await;
    executors(&session)
        .iter()
        .for_each(|pid| signal(*pid, "-TERM"));
    assert_eq!(running.await.unwrap(), expected);
    wait_until("its end", Duration::from_secs(20), || {
        session.progress().executors_drained == 1
    })
    .await;
    assert_eq!(session.progress().tasks_recomputed, 0);
    stop(session).await;
}
