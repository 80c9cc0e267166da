//! Dataframes with the methods of Spark. The expected rows are those that PySpark's documentation
//! gives for the same calls.

use faisca::functions as f;
use faisca::prelude::*;

use crate::support::{Layout, rows, session, sorted};

/// Returns the sorted rows of a frame.
async fn rows_of(frame: DataFrame) -> Vec<String> {
    sorted(rows(&frame.collect().await.unwrap()))
}

/// Two layouts: what a method returns does not depend on where its tasks run.
async fn sessions() -> [Session; 2] {
    [
        session(Layout::Embedded, 3).await,
        session(Layout::Processes(2), 4).await,
    ]
}

async fn people(session: &Session) -> DataFrame {
    let values = "VALUES (1, 'Tom', 80, 170.5), (2, 'Alice', NULL, 160.0), (3, 'Bob', 60, NULL), \
                  (4, NULL, 60, 180.25)";
    session
        .sql(&format!(
            "SELECT * FROM {values} AS t(id, Name, weight, height)"
        ))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_selected_computed_and_filtered_as_in_spark() {
    for session in sessions().await {
        let people = people(&session).await;
        let selected = people
            .clone()
            .filter(col("weight").is_not_null() & !col("name").eq(lit("Bob")))
            .unwrap()
            .select([
                col("ID"),
                f::upper("name").alias("upper"),
                (col("weight") / 3).cast("int").alias("third"),
                when(col("height").gt(175), lit("tall"))
                    .otherwise(lit("other"))
                    .alias("size"),
            ])
            .unwrap();
        assert_eq!(selected.columns(), ["id", "upper", "third", "size"]);
        assert_eq!(rows_of(selected).await, ["1|TOM|26|other"]);
        let replaced = people
            .clone()
            .with_columns([("WEIGHT", col("weight") + 1), ("twice", col("weight") * 2)])
            .unwrap()
            .select_expr(&["id", "weight - twice AS difference"])
            .unwrap();
        assert_eq!(rows_of(replaced).await, ["1|-79", "2|∅", "3|-59", "4|-59"]);
        let exploded = people
            .clone()
            .filter(col("id").lt_eq(2))
            .unwrap()
            .select([
                col("id"),
                f::explode(f::array([lit("a"), lit("b")])).alias("letter"),
            ])
            .unwrap();
        assert_eq!(rows_of(exploded).await, ["1|a", "1|b", "2|a", "2|b"]);
        let heights = f::transform(f::array(["weight", "id"]), |x| x + 1);
        let lambdas = people.clone().select([heights.get_item(0)]).unwrap();
        assert_eq!(rows_of(lambdas).await, ["61", "61", "81", "∅"]);
        // As in SQL: exact decimals, text beside a number, and names that columns before them give.
        let typed = people
            .clone()
            .filter(col("id").eq(lit("3")))
            .unwrap()
            .select([
                (expr("1.5") * 2).alias("exact"),
                expr("weight + 1 AS more"),
                expr("more * 2 AS twice"),
            ])
            .unwrap();
        let exact = typed.schema().field(0).data_type().to_string();
        assert_eq!(exact, "Decimal128(4, 1)");
        assert_eq!(rows_of(typed).await, ["3.0|61|122"]);
        let unknown = people.filter(col("wieght").gt(1)).unwrap_err().to_string();
        assert!(unknown.contains("did you mean `weight`?"), "{unknown}");
        session.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_have_subtotals_and_pivots() {
    for session in sessions().await {
        let courses = "VALUES ('dotNET', 2012, 10000), ('Java', 2012, 20000), ('dotNET', 2012, 5000), \
                       ('dotNET', 2013, 48000), ('Java', 2013, 30000)";
        let sql = format!("SELECT * FROM {courses} AS t(course, year, earnings)");
        let courses = session.sql(&sql).await.unwrap();
        let pivoted = courses
            .clone()
            .group_by(["year"])
            .pivot("course", ["dotNET", "Java"])
            .agg([sum("earnings")])
            .unwrap();
        assert_eq!(pivoted.columns(), ["year", "dotNET", "Java"]);
        assert_eq!(
            rows_of(pivoted).await,
            ["2012|15000|20000", "2013|48000|30000"]
        );
        let several = courses
            .clone()
            .group_by(["course"])
            .pivot("year", [2012, 2013])
            .agg([
                sum("earnings").alias("total"),
                max("earnings").alias("most"),
            ])
            .unwrap();
        let names = [
            "course",
            "2012_total",
            "2012_most",
            "2013_total",
            "2013_most",
        ];
        assert_eq!(several.columns(), names);
        let expected = [
            "Java|20000|20000|30000|30000",
            "dotNET|15000|10000|48000|48000",
        ];
        assert_eq!(rows_of(several).await, expected);
        let rolled = courses
            .clone()
            .rollup(["course", "year"])
            .sum(&["earnings"])
            .unwrap();
        let expected = [
            "Java|2012|20000",
            "Java|2013|30000",
            "Java|∅|50000",
            "dotNET|2012|15000",
            "dotNET|2013|48000",
            "dotNET|∅|63000",
            "∅|∅|113000",
        ];
        assert_eq!(rows_of(rolled).await, expected);
        let cubed = courses.clone().cube(["course", "year"]).count().unwrap();
        assert_eq!(rows_of(cubed).await.len(), 9);
        let counted = courses.clone().group_by(["course"]).count().unwrap();
        assert_eq!(counted.columns(), ["course", "count"]);
        assert_eq!(rows_of(counted).await, ["Java|2", "dotNET|3"]);
        let means = courses.group_by(["year"]).avg(&["earnings"]).unwrap();
        assert_eq!(
            rows_of(means).await,
            ["2012|1.166666667e4", "2013|3.900000000e4"]
        );
        session.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_rank_and_sum_within_their_partitions() {
    for session in sessions().await {
        let people = people(&session).await;
        let by_weight = Window::partition_by(["weight"]).order_by([col("id").desc()]);
        let so_far = Window::default()
            .order_by(["id"])
            .rows_between(FrameBound::UnboundedPreceding, FrameBound::CurrentRow);
        let ranked = people
            .select([
                col("id"),
                f::row_number().over(&by_weight).alias("n"),
                sum("weight").over(&so_far).alias("total"),
                f::lag("name", 1).over(&Window::default().order_by(["id"])),
            ])
            .unwrap();
        assert_eq!(
            rows_of(ranked).await,
            ["1|1|80|∅", "2|1|80|Tom", "3|2|140|Alice", "4|1|200|Bob"]
        );
        session.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_are_joined_on_conditions() {
    for session in sessions().await {
        let left = session
            .sql("SELECT * FROM VALUES (1, 10), (2, 20), (3, NULL) AS t(id, v)")
            .await;
        let right = session
            .sql("SELECT * FROM VALUES (1, 5), (2, 15), (9, 1) AS t(key, low)")
            .await;
        let (left, right) = (left.unwrap(), right.unwrap());
        let condition = left_col("id").eq(right_col("key")) & left_col("v").gt(right_col("low"));
        let joined = left
            .clone()
            .join_on(&right, condition.clone(), JoinType::Left)
            .unwrap();
        assert_eq!(rows_of(joined).await, ["1|10|1|5", "2|20|2|15", "3|∅|∅|∅"]);
        let without = left
            .clone()
            .join_on(&right, condition, JoinType::LeftAnti)
            .unwrap();
        assert_eq!(rows_of(without).await, ["3|∅"]);
        assert_eq!(
            left.clone()
                .cross_join(&right)
                .unwrap()
                .count()
                .await
                .unwrap(),
            9
        );
        session.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_the_same_columns_are_combined_as_sets() {
    for session in sessions().await {
        let left = session
            .sql("SELECT * FROM VALUES (1, 10), (2, 20), (3, NULL) AS t(id, v)")
            .await
            .unwrap();
        let more = session
            .sql("SELECT * FROM VALUES (20, 2, 'x') AS t(V, ID, extra)")
            .await
            .unwrap();
        let named = left
            .clone()
            .union_by_name(more.clone(), MissingColumns::FillWithNull)
            .unwrap();
        assert_eq!(named.columns(), ["id", "v", "extra"]);
        assert_eq!(
            rows_of(named).await,
            ["1|10|∅", "2|20|x", "2|20|∅", "3|∅|∅"]
        );
        let refused = left.clone().union_by_name(more, MissingColumns::Refuse);
        assert!(refused.unwrap_err().to_string().contains("extra"));

        let twice = left.clone().union(left.clone()).unwrap();
        assert_eq!(
            rows_of(twice.clone().except_all(&left).unwrap()).await,
            ["1|10", "2|20", "3|∅"]
        );
        assert_eq!(
            twice
                .clone()
                .subtract(&left)
                .unwrap()
                .count()
                .await
                .unwrap(),
            0
        );
        assert_eq!(
            twice
                .clone()
                .intersect(&left)
                .unwrap()
                .count()
                .await
                .unwrap(),
            3
        );
        assert_eq!(
            twice
                .clone()
                .intersect_all(&twice)
                .unwrap()
                .count()
                .await
                .unwrap(),
            6
        );
        assert_eq!(
            rows_of(twice.drop_duplicates(&["ID"]).unwrap()).await,
            ["1|10", "2|20", "3|∅"]
        );
        session.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nulls_are_removed_filled_and_values_replaced() {
    for session in sessions().await {
        let people = people(&session).await;
        let ids = |frame: DataFrame| rows_of(frame.select(["id"]).unwrap());
        assert_eq!(ids(people.clone().drop_nulls(&[]).unwrap()).await, ["1"]);
        assert_eq!(
            ids(people.clone().drop_nulls(&["name"]).unwrap()).await,
            ["1", "2", "3"]
        );
        assert_eq!(
            ids(people.clone().drop_all_null(&["name", "height"]).unwrap())
                .await
                .len(),
            4
        );
        assert_eq!(
            ids(people.clone().drop_nulls_below(4, &[]).unwrap()).await,
            ["1"]
        );
        let filled = people.clone().fill_nulls(50, &[]).unwrap();
        assert_eq!(
            filled.schema().field(2).data_type(),
            people.schema().field(2).data_type()
        );
        let expected = [
            "1|Tom|80|170.50",
            "2|Alice|50|160.00",
            "3|Bob|60|50.00",
            "4|∅|60|180.25",
        ];
        assert_eq!(rows_of(filled).await, expected);
        let named = people
            .clone()
            .fill_nulls("unknown", &["name", "weight"])
            .unwrap();
        assert_eq!(
            rows_of(named.select(["name"]).unwrap()).await,
            ["Alice", "Bob", "Tom", "unknown"]
        );
        let replaced = people.replace(60, 61, &["weight"]).unwrap();
        assert_eq!(
            rows_of(replaced.select(["weight"]).unwrap()).await,
            ["61", "61", "80", "∅"]
        );
        session.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_are_sorted_described_unpivoted_and_shown() {
    for session in sessions().await {
        let people = people(&session).await;
        let sorted = people
            .clone()
            .sort([col("weight").desc(), col("name").asc_nulls_last()])
            .unwrap();
        let names = rows(&sorted.select(["id"]).unwrap().collect().await.unwrap());
        assert_eq!(names, ["1", "3", "4", "2"]);
        let described = people.clone().describe(&["weight", "name"]).unwrap();
        assert_eq!(described.columns(), ["summary", "Name", "weight"]);
        let figures = rows_of(described).await;
        assert_eq!(figures[0], "count|3|3");
        assert!(figures.contains(&"max|Tom|80".to_owned()), "{figures:?}");
        assert!(figures.contains(&"min|Alice|60".to_owned()), "{figures:?}");
        let unpivoted = people
            .clone()
            .filter(col("id").eq(1))
            .unwrap()
            .unpivot(&["id"], &["weight", "ID"], "what", "value")
            .unwrap();
        assert_eq!(rows_of(unpivoted).await, ["1|ID|1", "1|weight|80"]);
        let json = people
            .clone()
            .filter(col("id").eq(1))
            .unwrap()
            .to_json()
            .unwrap();
        let text = rows_of(json).await.remove(0);
        assert!(
            text.contains(r#""weight":80"#) && text.contains(r#""Tom""#),
            "{text}"
        );
        assert!(people.schema_text().starts_with("root\n |-- id: "));
        assert_eq!(
            people
                .clone()
                .sample(0.0, 1)
                .unwrap()
                .count()
                .await
                .unwrap(),
            0
        );
        assert_eq!(
            people
                .clone()
                .sample(1.0, 1)
                .unwrap()
                .count()
                .await
                .unwrap(),
            4
        );
        assert!(people.clone().sample(2.0, 1).is_err());
        assert!(people.clone().first().await.unwrap().is_some());
        assert!(
            people
                .clone()
                .filter(lit(false))
                .unwrap()
                .is_empty()
                .await
                .unwrap()
        );
        assert_eq!(people.offset(3).unwrap().count().await.unwrap(), 1);
        session.stop().await;
    }
}
