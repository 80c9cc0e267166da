//! `EXCEPT ALL`, `INTERSECT ALL`.

use datafusion::prelude::SessionConfig;

use super::{Rows, check, upstream};

const EXCEPT: &str =
    "SELECT * FROM (VALUES (1), (1), (2)) t(k) EXCEPT ALL SELECT * FROM (VALUES (1)) u(k)";

#[tokio::test(flavor = "multi_thread")]
async fn set_operations_with_all_count_the_copies_of_a_row() {
    check(
        &[
            "CREATE TABLE l AS VALUES (1, 'a'), (1, 'a'), (1, 'a'), (NULL, 'n'), (NULL, 'n'), (2, NULL), (3, 'c')",
            "CREATE TABLE r AS VALUES (1, 'a'), (NULL, 'n'), (2, NULL), (2, NULL), (4, 'd')",
        ],
        &[
            (EXCEPT, Rows(&["1", "2"])),
            (
                "SELECT * FROM l EXCEPT ALL SELECT * FROM r",
                Rows(&["1|a", "1|a", "∅|n", "3|c"]),
            ),
            (
                "SELECT * FROM l INTERSECT ALL SELECT * FROM r",
                Rows(&["1|a", "∅|n", "2|∅"]),
            ),
            (
                "SELECT count(*), min(col1) FROM (SELECT col1 FROM l EXCEPT ALL SELECT col1 FROM r)",
                Rows(&["4|1"]),
            ),
            (
                "(SELECT col1 FROM l EXCEPT ALL SELECT col1 FROM r) INTERSECT ALL VALUES (1), (1), (1), (9)",
                Rows(&["1", "1"]),
            ),
            ("SELECT * FROM l EXCEPT SELECT * FROM r", Rows(&["3|c"])),
            (
                "SELECT * FROM l INTERSECT SELECT * FROM r",
                Rows(&["1|a", "∅|n", "2|∅"]),
            ),
            (
                "SELECT DISTINCT col1 FROM l EXCEPT ALL SELECT col1 FROM r",
                Rows(&["3"]),
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn upstream_still_removes_every_copy() {
    let actual = upstream(SessionConfig::new(), &[], EXCEPT).await;
    assert_eq!(actual, Ok(vec!["2".to_owned()]));
}
