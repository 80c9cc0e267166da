//! Functions that end the process of each executor that calls them.

use std::time::Duration;

use super::{executors, expected, fleet, start, stop, wait_until};
use crate::support::rows;

/// Requests petabytes of memory, which ends the process. One task alone reads the orders that the
/// filter keeps.
const ABORT: &str = "SELECT max(array_length(array_resize(arrow_cast(make_array(l_orderkey), 'LargeList(Int64)'), 200000000000000))) FROM lineitem WHERE l_orderkey < 4000";

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_aborts_fails_its_query_by_name_and_disturbs_no_other() {
    let session = fleet(3).await;
    let other = start(&session, 9);
    let failed = session.sql(ABORT).await.unwrap().collect().await;
    let message = failed.err().unwrap().to_string();
    assert!(
        message.contains("ended 3 executors: the last one crashed")
            && message.contains(" of stage q"),
        "{message}"
    );
    assert_eq!(other.await.unwrap(), expected(9).await);
    let lost = session.progress().executors_lost;
    assert!((3..=4).contains(&lost), "{lost} executors were lost");

    // The fleet is whole again, and works.
    wait_until("replacements", Duration::from_secs(20), || {
        executors(&session).len() == 3
    })
    .await;
    let counted = session.sql("SELECT count(*) FROM lineitem").await.unwrap();
    assert_eq!(rows(&counted.collect().await.unwrap()).len(), 1);
    stop(session).await;
}
