//! One, two and all executors are killed at each moment of a statement's life; others freeze or leave.

use std::time::{Duration, Instant};

use futures::StreamExt;

use super::{
    Moment, all_up, assert_whole, executors, expected, fleet, has_come, is_alive, signal, stages,
    start, start_write, stop, until,
};
use crate::support::{rows, scratch};

const EXECUTORS: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn executors_killed_at_any_moment_change_no_result() {
    let expected = expected(9).await;
    let session = fleet(3).await;
    for moment in [Moment::Running, Moment::Committed, Moment::Fetching] {
        for dead in 1..=EXECUTORS {
            all_up(&session, EXECUTORS).await;
            let before = session.progress();
            let running = start(&session, 9);
            until("the moment", Duration::from_secs(20), || {
                has_come(moment, &session) || running.is_finished()
            })
            .await;
            executors(&session)
                .iter()
                .take(dead)
                .for_each(|pid| signal(*pid, "-KILL"));
            assert_eq!(
                running.await.unwrap(),
                expected,
                "{dead} killed, {moment:?}"
            );
            until("the news", Duration::from_secs(5), || {
                session.progress().executors_lost as usize == before.executors_lost as usize + dead
            })
            .await;
            let redone = session.progress().tasks_redone - before.tasks_redone;
            let tasks: u32 = 12 * 12;
            assert!(
                redone < tasks,
                "{redone} of at most {tasks} tasks were recomputed"
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
    for (done_before, dead) in [(0, 1), (3, 2), (5, 3), (12, 3)] {
        all_up(&session, EXECUTORS).await;
        let writing = start_write(&session, &out);
        let reached = || {
            stages(&session)
                .last()
                .is_some_and(|(tasks, done)| *tasks > 0 && *done >= done_before.min(*tasks))
        };
        until("the sink", Duration::from_secs(20), || {
            reached() || writing.is_finished()
        })
        .await;
        executors(&session)
            .iter()
            .take(dead)
            .for_each(|pid| signal(*pid, "-KILL"));
        writing.await.unwrap();
        assert_whole(&out).await;
        until("the news", Duration::from_secs(5), || {
            executors(&session).len() <= EXECUTORS - dead || session.progress().executors_lost > 0
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
    let mut found = vec![stream.next().await.unwrap().unwrap()];
    executors(&session)
        .iter()
        .for_each(|pid| signal(*pid, "-KILL"));
    while let Some(batch) = stream.next().await {
        found.push(batch.unwrap());
    }
    let oracle = crate::support::tpch_oracle().await;
    let sql = "SELECT o_orderkey, o_comment FROM orders WHERE o_orderkey % 4 = 0";
    let expected = rows(&oracle.sql(sql).await.unwrap().collect().await.unwrap());
    assert!(
        crate::support::sorted(rows(&found)) == crate::support::sorted(expected),
        "rows are missing or twice"
    );
    drop(stream);
    stop(session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_executor_is_given_up_in_time_and_ended() {
    let expected = expected(9).await;
    let session = fleet(2).await;
    let frozen = executors(&session)[0];
    let running = start(&session, 9);
    until("a task", Duration::from_secs(20), || {
        has_come(Moment::Running, &session) || running.is_finished()
    })
    .await;
    signal(frozen, "-STOP");
    let since = Instant::now();
    until("notice", Duration::from_secs(15), || {
        session.progress().executors_lost == 1
    })
    .await;
    assert!(
        since.elapsed() > Duration::from_secs(5),
        "it was not frozen at all"
    );
    assert_eq!(running.await.unwrap(), expected);
    // An executor whose connection was cut gets 5 s to end by itself.
    until("its end", Duration::from_secs(10), || !is_alive(frozen)).await;
    stop(session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_straggler_gets_a_twin_and_the_first_of_the_two_counts() {
    let folder = scratch("twins");
    let out = folder.path().join("lines");
    let session = fleet(3).await;
    let writing = start_write(&session, &out);
    until("a task", Duration::from_secs(20), || {
        has_come(Moment::Running, &session) || writing.is_finished()
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
    until("it is back", Duration::from_secs(5), || {
        executors(&session).len() == EXECUTORS
    })
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_whole(&out).await;
    stop(session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_is_told_to_end_hands_on_what_it_has() {
    let expected = expected(9).await;
    let session = fleet(3).await;
    for moment in [Moment::Running, Moment::Committed, Moment::Fetching] {
        all_up(&session, EXECUTORS).await;
        let before = session.progress();
        let running = start(&session, 9);
        until("the moment", Duration::from_secs(20), || {
            has_come(moment, &session) || running.is_finished()
        })
        .await;
        let leaving = executors(&session)[0];
        signal(leaving, "-TERM");
        assert_eq!(running.await.unwrap(), expected, "{moment:?}");
        until("its end", Duration::from_secs(20), || {
            session.progress().executors_drained == before.executors_drained + 1
        })
        .await;
        let now = session.progress();
        assert_eq!(
            (now.executors_lost, now.tasks_redone),
            (before.executors_lost, before.tasks_redone),
            "{moment:?}: work was lost"
        );
        until("its process", Duration::from_secs(5), || !is_alive(leaving)).await;
    }
    stop(session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_executor_hands_its_blocks_to_the_driver() {
    let expected = expected(3).await;
    let session = fleet(1).await;
    let running = start(&session, 3);
    until("a finished stage", Duration::from_secs(20), || {
        has_come(Moment::Committed, &session) || running.is_finished()
    })
    .await;
    executors(&session)
        .iter()
        .for_each(|pid| signal(*pid, "-TERM"));
    assert_eq!(running.await.unwrap(), expected);
    until("its end", Duration::from_secs(20), || {
        session.progress().executors_drained == 1
    })
    .await;
    assert_eq!(session.progress().tasks_redone, 0);
    stop(session).await;
}
