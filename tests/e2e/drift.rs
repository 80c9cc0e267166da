//! Files of one folder whose schemas drifted apart: read as the wider type, or refused by name.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, DictionaryArray, Float32Array, Float64Array, Int32Array, Int64Array,
    LargeStringArray, ListArray, RecordBatch, StringArray, StringViewArray, StructArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, UInt32Array,
};
use arrow::datatypes::{Field, Fields, Int32Type, Schema};

use crate::support::{
    Layout, query, refusal, register, scratch, session, write_parquet, write_text,
};

const LAYOUTS: [Layout; 2] = [Layout::Embedded, Layout::Processes(3)];

/// One file, `required` where a name ends with `!`.
fn file(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let field = |(name, array): &(&str, ArrayRef)| {
        Field::new(
            name.trim_end_matches('!'),
            array.data_type().clone(),
            !name.ends_with('!'),
        )
    };
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    write_parquet(
        path,
        &RecordBatch::try_new(Arc::new(schema), arrays).unwrap(),
    );
}

fn ints(values: &[i32]) -> ArrayRef {
    Arc::new(Int32Array::from(values.to_vec()))
}

fn longs(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

/// Two files with one column `a`, its values as text, and a filter that keeps one row.
type Case = (ArrayRef, ArrayRef, [&'static str; 2], &'static str);

fn integers_and_fractions() -> Vec<Case> {
    vec![
        (
            ints(&[1]),
            longs(&[1 << 40]),
            ["1", "1099511627776"],
            "a > 5",
        ),
        (
            longs(&[1 << 40]),
            ints(&[1]),
            ["1", "1099511627776"],
            "a > 5",
        ),
        (
            Arc::new(UInt32Array::from(vec![u32::MAX])),
            ints(&[-1]),
            ["-1", "4294967295"],
            "a > 5",
        ),
        (
            Arc::new(Float32Array::from(vec![1.5])),
            Arc::new(Float64Array::from(vec![1e300])),
            ["1.000000000e300", "1.500000000e0"],
            "a > 100",
        ),
        (
            ints(&[3]),
            Arc::new(Float64Array::from(vec![0.5])),
            ["3.000000000e0", "5.000000000e-1"],
            "a < 1",
        ),
        (
            decimal(125, 5, 2),
            decimal(15, 6, 1),
            ["1.25", "1.50"],
            "a > 1.3",
        ),
        (decimal(125, 5, 2), ints(&[7]), ["1.25", "7.00"], "a > 2"),
    ]
}

fn decimal(value: i128, precision: u8, scale: i8) -> ArrayRef {
    let values = Decimal128Array::from(vec![value]);
    Arc::new(values.with_precision_and_scale(precision, scale).unwrap())
}

fn times_and_texts() -> Vec<Case> {
    let dictionary: DictionaryArray<Int32Type> = vec!["b"].into_iter().collect();
    vec![
        (
            Arc::new(TimestampMillisecondArray::from(vec![0])),
            Arc::new(TimestampMicrosecondArray::from(vec![1])),
            ["1970-01-01T00:00:00", "1970-01-01T00:00:00.000001"],
            "a > timestamp '1970-01-01 00:00:00'",
        ),
        (
            texts(&["a"]),
            Arc::new(LargeStringArray::from(vec!["b"])),
            ["a", "b"],
            "a > 'a'",
        ),
        (texts(&["a"]), Arc::new(dictionary), ["a", "b"], "a > 'a'"),
        (
            Arc::new(StringViewArray::from(vec!["b"])),
            texts(&["a"]),
            ["a", "b"],
            "a = 'b'",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_read_as_the_type_that_holds_both() {
    let cases = [integers_and_fractions(), times_and_texts()].concat();
    for layout in LAYOUTS {
        let session = session(layout, 3).await;
        for (number, (first, second, expected, filter)) in cases.iter().enumerate() {
            let folder = scratch("drift");
            file(
                &folder.path().join("a.parquet"),
                vec![("a!", Arc::clone(first))],
            );
            file(
                &folder.path().join("b.parquet"),
                vec![("a!", Arc::clone(second))],
            );
            register(&session, "parquet", &folder.path().display().to_string())
                .await
                .unwrap();
            assert_eq!(
                query(&session, "select a from t").await,
                *expected,
                "case {number}"
            );
            let counted = query(
                &session,
                &format!("select count(*), count(a) from t where {filter}"),
            )
            .await;
            assert_eq!(counted, ["1|1"], "case {number}");
            let distinct =
                query(&session, "select count(distinct a), min(a) < max(a) from t").await;
            assert_eq!(distinct, ["2|true"], "case {number}");
        }
    }
}

/// As pandas writes timestamps of a zone.
#[tokio::test(flavor = "multi_thread")]
async fn instants_of_a_column_with_a_zone_are_calculated_in_that_of_the_session() {
    const NEW_YEAR: i64 = 1_704_067_200_000_000;
    const FIVE_HOURS: i64 = 5 * 3_600_000_000;
    for layout in LAYOUTS {
        let session = session(layout, 3).await;
        let folder = scratch("drift");
        let instants = TimestampMicrosecondArray::from(vec![NEW_YEAR, NEW_YEAR + FIVE_HOURS]);
        let instants: ArrayRef = Arc::new(instants.with_timezone("America/New_York"));
        file(&folder.path().join("a.parquet"), vec![("a!", instants)]);
        register(&session, "parquet", &folder.path().display().to_string())
            .await
            .unwrap();
        let sql = "select hour(a), a = date '2024-01-01', cast(a as date), string(date_trunc('day', a)), \
                   a = timestamp_ntz '2024-01-01 05:00:00' from t";
        let expected = [
            "0|true|2024-01-01|2024-01-01 00:00:00|false",
            "5|false|2024-01-01|2024-01-01 00:00:00|true",
        ];
        assert_eq!(query(&session, sql).await, expected);
        assert_eq!(
            query(
                &session,
                "select count(*) from t where a > timestamp '2024-01-01 04:00:00'"
            )
            .await,
            ["1"]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_reordered_and_respelled_columns_are_found() {
    for layout in LAYOUTS {
        let session = session(layout, 3).await;
        let folder = scratch("drift");
        let at = |name: &str| folder.path().join(name);
        file(
            &at("a.parquet"),
            vec![("Nota!", ints(&[1, 2])), ("AÇÃO!", texts(&["x", "y"]))],
        );
        file(
            &at("b.parquet"),
            vec![
                ("ação!", texts(&["z"])),
                ("nota!", longs(&[3])),
                ("c!", ints(&[9])),
            ],
        );
        file(&at("c.parquet"), vec![("nota!", ints(&[4]))]);
        register(&session, "parquet", &folder.path().display().to_string())
            .await
            .unwrap();
        let expected = ["1|x|∅", "2|y|∅", "3|z|9", "4|∅|∅"];
        assert_eq!(query(&session, "select * from t").await, expected);
        assert_eq!(
            query(&session, "select nota from t where AÇÃO is null").await,
            ["4"]
        );
        assert_eq!(
            query(&session, "select NOTA from t where c is null").await,
            ["1", "2", "4"]
        );
        assert_eq!(
            query(&session, "select count(*), count(c), sum(nota) from t").await,
            ["4|1|10"]
        );
        assert_eq!(
            query(&session, "select nota from t where ação = 'z' and nota > 2").await,
            ["3"]
        );
        assert_eq!(
            query(&session, "select max(nota), min(nota) from t").await,
            ["4|1"]
        );
    }
}

fn person(fields: Vec<(&str, ArrayRef)>) -> ArrayRef {
    let names: Fields = fields
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
        .collect();
    let arrays = fields.into_iter().map(|(_, array)| array).collect();
    Arc::new(StructArray::new(names, arrays, None))
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_structs_drift_as_columns_do() {
    for layout in LAYOUTS {
        let session = session(layout, 3).await;
        let folder = scratch("drift");
        let list = |items: ArrayRef| -> ArrayRef {
            let item = Arc::new(Field::new("item", items.data_type().clone(), true));
            let offsets = arrow::buffer::OffsetBuffer::from_lengths([items.len()]);
            Arc::new(ListArray::new(item, offsets, items, None))
        };
        let a = person(vec![("Idade", ints(&[1])), ("nome", texts(&["x"]))]);
        let b = person(vec![
            ("nome", texts(&["y"])),
            ("IDADE", longs(&[2])),
            ("novo", ints(&[3])),
        ]);
        file(
            &folder.path().join("a.parquet"),
            vec![("p", Arc::clone(&a)), ("l", list(a))],
        );
        file(
            &folder.path().join("b.parquet"),
            vec![("l", list(Arc::clone(&b))), ("p", b)],
        );
        register(&session, "parquet", &folder.path().display().to_string())
            .await
            .unwrap();
        let fields = "p['Idade'], p['nome'], p['novo']";
        assert_eq!(
            query(&session, &format!("select {fields} from t")).await,
            ["1|x|∅", "2|y|3"]
        );
        assert_eq!(
            query(&session, "select p['nome'] from t where p['Idade'] = 2").await,
            ["y"]
        );
        assert_eq!(
            query(&session, "select p.IDADE, t.p.Nome from t").await,
            ["1|x", "2|y"]
        );
        assert_eq!(
            query(&session, "select p['novo'] from t where p.idade > 1").await,
            ["3"]
        );
        let items = "l[0]['Idade'] as i, l[0]['novo'] as n";
        assert_eq!(
            query(&session, &format!("select {items} from t")).await,
            ["1|∅", "2|3"]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_type_holds_is_refused_by_file_and_column_unless_a_schema_says_how() {
    let session = session(Layout::Embedded, 2).await;
    let folder = scratch("drift");
    file(
        &folder.path().join("old.parquet"),
        vec![("id", ints(&[1])), ("k", ints(&[5]))],
    );
    file(
        &folder.path().join("new.parquet"),
        vec![("k", texts(&["x"])), ("id", ints(&[2]))],
    );
    let path = folder.path().display().to_string();
    let error = register(&session, "parquet", &path).await.unwrap_err();
    assert_eq!(error.exit_code(), 2);
    for part in ["column `k`", "old.parquet", "new.parquet", "schema"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    let frame = session
        .read()
        .schema("ID BIGINT, K STRING")
        .parquet(&path)
        .await
        .unwrap();
    frame.create_or_replace_temp_view("t").unwrap();
    assert_eq!(query(&session, "select id, k from t").await, ["1|5", "2|x"]);
    let frame = session.read().schema("k INT").parquet(&path).await.unwrap();
    frame.create_or_replace_temp_view("t").unwrap();
    assert!(refusal(&session, "select k from t").await.contains('x'));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_given_schema_finds_columns_in_any_case() {
    for layout in LAYOUTS {
        let session = session(layout, 2).await;
        let folder = scratch("drift");
        let at = |name: &str| folder.path().join(name);
        file(
            &at("p/a.parquet"),
            vec![("NU_IDADE", ints(&[17, 18])), ("AÇÃO", texts(&["x", "y"]))],
        );
        write_text(
            &at("j/a.json"),
            "{\"NU_IDADE\":17,\"AÇÃO\":\"x\"}\n{\"NU_IDADE\":18,\"AÇÃO\":\"y\"}\n",
        );
        write_text(&at("c/a.csv"), "NU_IDADE,AÇÃO\n17,x\n18,y\n");
        for (format, name) in [("parquet", "p"), ("json", "j"), ("csv", "c")] {
            let sql = format!(
                "CREATE OR REPLACE EXTERNAL TABLE t (nu_idade BIGINT, Ação STRING) STORED AS {format} LOCATION '{}'",
                at(name).display()
            );
            session.sql(&sql).await.unwrap();
            assert_eq!(
                query(&session, "select * from t").await,
                ["17|x", "18|y"],
                "{format}"
            );
            assert_eq!(
                query(&session, "select AÇÃO from t where NU_idade > 17").await,
                ["y"],
                "{format}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn text_files_widen_numbers_and_name_what_does_not_fit() {
    let session = session(Layout::Embedded, 2).await;
    let folder = scratch("drift");
    let at = |name: &str| folder.path().join(name);
    write_text(&at("j/a.json"), "{\"a\":1}\n");
    write_text(&at("j/b.json"), "{\"a\":2.5,\"b\":\"x\"}\n");
    register(&session, "json", &at("j").display().to_string())
        .await
        .unwrap();
    assert_eq!(
        query(&session, "select a, b from t").await,
        ["1.000000000e0|∅", "2.500000000e0|x"]
    );
    // Within one file as across files, a number is no list.
    write_text(&at("j/c.json"), "{\"a\":[1]}\n");
    let error = match register(&session, "json", &at("j").display().to_string()).await {
        Ok(()) => refusal(&session, "select a from t").await,
        Err(error) => error.to_string(),
    };
    assert!(error.contains(".json line 1"), "{error}");
}
