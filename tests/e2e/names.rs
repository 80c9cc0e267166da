//! Names without regard to case, the data's spelling kept.

use crate::support::{Layout, rows, scratch, session, sorted};

async fn names_of(session: &faisca::Session, sql: &str) -> Vec<String> {
    session
        .sql(sql)
        .await
        .unwrap()
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_and_tables_resolve_in_any_case_and_keep_the_datas() {
    let folder = scratch("names");
    std::fs::write(
        folder.path().join("a.csv"),
        "SG_UF;NU_Idade;x\nSP;20;1\nRJ;30;2\nSP;40;3\n",
    )
    .unwrap();
    let session = session(Layout::Embedded, 2).await;
    let create = format!(
        "CREATE EXTERNAL TABLE Pessoas STORED AS CSV LOCATION '{}' OPTIONS ('delimiter' ';')",
        folder.path().join("a.csv").display()
    );
    session.sql(&create).await.unwrap();
    assert_eq!(
        names_of(&session, "select sg_uf, NU_IDADE, `X` from PESSOAS").await,
        ["SG_UF", "NU_Idade", "x"]
    );
    assert_eq!(
        names_of(&session, "select p.* from pessoas p").await,
        ["SG_UF", "NU_Idade", "x"]
    );
    assert_eq!(
        names_of(
            &session,
            "select avg(nu_idade) as Media, sg_uf as `Estado` from pessoas group by SG_UF"
        )
        .await,
        ["Media", "Estado"]
    );
    assert_eq!(
        names_of(
            &session,
            "with T as (select SG_UF as Uf from pessoas) select uf from t order by UF"
        )
        .await,
        ["Uf"]
    );
    session
        .sql("CREATE VIEW Visao AS SELECT Sg_Uf, nu_idade * 2 AS Dobro FROM pessoas")
        .await
        .unwrap();
    assert_eq!(
        names_of(&session, "select * from VISAO where dobro > 50").await,
        ["SG_UF", "Dobro"]
    );
    let actual = session
        .sql("select sg_uf, sum(DOBRO) from visao group by sg_uf")
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    assert_eq!(sorted(rows(&actual)), ["RJ|60", "SP|120"]);
    session.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_differ_only_by_case_are_an_error_that_says_so() {
    let folder = scratch("names");
    std::fs::write(folder.path().join("a.csv"), "Id,name,ID\n1,a,2\n").unwrap();
    let session = session(Layout::Embedded, 2).await;
    let create = format!(
        "CREATE EXTERNAL TABLE a STORED AS CSV LOCATION '{}'",
        folder.path().join("a.csv").display()
    );
    let error = session.sql(&create).await.err().unwrap().to_string();
    assert!(
        error.contains("`Id` and `ID` differ only by case"),
        "{error}"
    );
    session.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_name_gets_the_nearest() {
    let session = session(Layout::Embedded, 2).await;
    session
        .sql("CREATE TABLE people AS SELECT 1 AS age, 'x' AS city")
        .await
        .unwrap();
    let error = session
        .sql("select agee from people")
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("did you mean `age`?"), "{error}");
    let error = session
        .sql("select age from peopel")
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("did you mean `people`?"), "{error}");
    session.stop().await;
}
