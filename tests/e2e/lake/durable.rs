//! Blocks that outlive their executors: on an object store, every executor may die and no finished
//! task is recomputed.

use std::time::Duration;

use faisca::Session;
use faisca_generate::TPCH_TABLES;

use super::stores;
use crate::recovery::{
    QueryMoment, all_up, executors, expected, is_reached, signal, start, stop, wait_until,
};
use crate::s3_server::S3Server;
use crate::support::{register_folders, tpch_data};

const EXECUTORS: u32 = 3;

async fn durable_fleet(server: &S3Server, durability: &str) -> Session {
    let builder = Session::builder()
        .stores(stores(server))
        .partitions(12)
        .config("faisca.smallQueryBytes", "0");
    let builder = builder
        .config("faisca.exchange.store", "s3://lake/exchange")
        .config("faisca.exchange.durability", durability);
    let builder = builder
        .executors(EXECUTORS)
        .executor_cores(1)
        .executor_binary(env!("CARGO_BIN_EXE_faisca"));
    let session = builder.get_or_create().await.unwrap();
    register_folders(&session, tpch_data(), &TPCH_TABLES).await;
    all_up(&session, EXECUTORS as usize).await;
    session
}

#[tokio::test(flavor = "multi_thread")]
async fn with_every_executor_killed_between_two_stages_nothing_is_recomputed() {
    let server = S3Server::start().await;
    let expected = expected(9).await;
    let session = durable_fleet(&server, "sync").await;
    for moment in [QueryMoment::Committed, QueryMoment::Running] {
        all_up(&session, EXECUTORS as usize).await;
        let before = session.progress();
        let running = start(&session, 9);
        wait_until("the moment", Duration::from_secs(60), || {
            is_reached(moment, &session) || running.is_finished()
        })
        .await;
        assert!(!running.is_finished(), "{moment:?} never came");
        executors(&session)
            .into_iter()
            .for_each(|pid| signal(pid, "-KILL"));
        assert_eq!(running.await.unwrap(), expected, "{moment:?}");
        let now = session.progress();
        assert_eq!(
            now.executors_lost,
            before.executors_lost + EXECUTORS,
            "{moment:?}"
        );
        assert_eq!(
            now.tasks_recomputed, before.tasks_recomputed,
            "{moment:?}: finished work was done again"
        );
    }
    stop(session).await;
    assert_eq!(server.visible("exchange"), Vec::<String>::new());
    assert_eq!(server.open_uploads(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_come_later_or_on_notice_serve_as_well() {
    let server = S3Server::start().await;
    let expected = expected(9).await;
    for (durability, blow) in [("async", "-KILL"), ("onDrain", "-TERM")] {
        let session = durable_fleet(&server, durability).await;
        let running = start(&session, 9);
        wait_until("the moment", Duration::from_secs(60), || {
            is_reached(QueryMoment::Committed, &session) || running.is_finished()
        })
        .await;
        executors(&session)
            .into_iter()
            .for_each(|pid| signal(pid, blow));
        assert_eq!(running.await.unwrap(), expected, "{durability}");
        if durability == "onDrain" {
            assert_eq!(session.progress().tasks_recomputed, 0, "work was lost");
        }
        stop(session).await;
        assert_eq!(
            server.visible("exchange"),
            Vec::<String>::new(),
            "{durability}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_keep_blocks_is_refused_by_name() {
    for (store, durability, message) in [
        ("/tmp/exchange", "sync", "faisca.exchange.store"),
        (
            "https://example.org/x",
            "sync",
            "not in an object store that can be written",
        ),
        (
            "s3://lake/exchange",
            "sometimes",
            "none of never, onDrain, async, sync",
        ),
    ] {
        let builder = Session::builder()
            .executors(1)
            .config("faisca.exchange.store", store)
            .config("faisca.exchange.durability", durability);
        let error = builder
            .executor_binary(env!("CARGO_BIN_EXE_faisca"))
            .get_or_create()
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(message), "{error}");
    }
}
