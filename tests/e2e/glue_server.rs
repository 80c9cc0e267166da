//! A test server that implements Glue's protocol and its limits, so that the tests need no other
//! software.
//!
//! `just lake` runs the same jobs against a server that is not ours.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

/// Tables of a database, by name.
type Tables = BTreeMap<String, Stored>;

#[derive(Default)]
struct Stored {
    input: Value,
    version: u64,
    partitions: BTreeMap<Vec<String>, Value>,
    statistics: Vec<Value>,
}

#[derive(Default)]
struct State {
    databases: BTreeMap<String, Tables>,
    calls: BTreeMap<String, usize>,
}

/// A running server; ends with its runtime.
pub struct GlueServer {
    pub url: String,
    state: Arc<Mutex<State>>,
}

/// Code and message of a refusal.
type Refusal = (&'static str, String);

impl GlueServer {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let server = Self {
            url,
            state: Arc::clone(&state),
        };
        tokio::task::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                stream.set_nodelay(true).unwrap();
                let state = Arc::clone(&state);
                let answer = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let state = Arc::clone(&state);
                    async move {
                        let action = request.headers()["x-amz-target"]
                            .to_str()
                            .unwrap()
                            .rsplit('.')
                            .next()
                            .unwrap()
                            .to_owned();
                        let body = request.into_body().collect().await?.to_bytes();
                        let outcome = state
                            .lock()
                            .unwrap()
                            .execute(&action, &serde_json::from_slice(&body).unwrap());
                        let (status, body) = match outcome {
                            Ok(answer) => (200, answer),
                            Err((code, message)) => {
                                (400, json!({"__type": code, "Message": message}))
                            }
                        };
                        let response = hyper::Response::builder()
                            .status(status)
                            .header("content-type", "application/x-amz-json-1.1");
                        Ok::<_, hyper::Error>(
                            response
                                .body(Full::<bytes::Bytes>::from(body.to_string()))
                                .unwrap(),
                        )
                    }
                });
                tokio::task::spawn(
                    http1::Builder::new().serve_connection(TokioIo::new(stream), answer),
                );
            }
        });
        server
    }

    /// Calls so far, by action; counts from zero again.
    pub fn take_calls(&self) -> BTreeMap<String, usize> {
        std::mem::take(&mut self.state.lock().unwrap().calls)
    }

    /// The statistics of a table's columns.
    pub fn statistics(&self, database: &str, table: &str) -> Vec<Value> {
        self.state.lock().unwrap().databases[database][table]
            .statistics
            .clone()
    }

    /// The values of the partitions of a table, sorted.
    pub fn partition_values(&self, database: &str, table: &str) -> Vec<Vec<String>> {
        let state = self.state.lock().unwrap();
        let partitions = &state.databases[database][table].partitions;
        partitions.keys().cloned().collect()
    }

    /// What is stored of a table.
    pub fn table(&self, database: &str, table: &str) -> Value {
        self.state.lock().unwrap().databases[database][table]
            .input
            .clone()
    }
}

fn text(request: &Value, field: &str) -> String {
    request[field].as_str().unwrap_or_default().to_owned()
}

fn values(list: &Value) -> Vec<String> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|value| value.as_str().unwrap().to_owned())
        .collect()
}

fn batch<'a>(request: &'a Value, field: &str, max: usize) -> Result<&'a Vec<Value>, Refusal> {
    let list = request[field].as_array().unwrap();
    if list.len() > max {
        Err(("InvalidInputException", format!("{field}: more than {max}")))
    } else {
        Ok(list)
    }
}

impl State {
    fn database(&mut self, request: &Value) -> Result<&mut Tables, Refusal> {
        let name = text(request, "DatabaseName");
        self.databases.get_mut(&name).ok_or_else(|| {
            (
                "EntityNotFoundException",
                format!("Database {name} not found."),
            )
        })
    }

    fn stored(&mut self, request: &Value, field: &str) -> Result<&mut Stored, Refusal> {
        let name = text(request, field);
        self.database(request)?.get_mut(&name).ok_or_else(|| {
            (
                "EntityNotFoundException",
                format!("Table {name} not found."),
            )
        })
    }

    fn execute(&mut self, action: &str, request: &Value) -> Result<Value, Refusal> {
        *self.calls.entry(action.to_owned()).or_default() += 1;
        match action {
            "GetDatabase" => {
                let name = text(request, "Name");
                let database = self
                    .databases
                    .contains_key(&name)
                    .then(|| json!({"Database": {"Name": name}}));
                database.ok_or_else(|| {
                    (
                        "EntityNotFoundException",
                        format!("Database {name} not found."),
                    )
                })
            }
            "CreateDatabase" => {
                self.databases
                    .entry(text(&request["DatabaseInput"], "Name"))
                    .or_default();
                Ok(json!({}))
            }
            "GetTables" => {
                let tables = self
                    .database(request)?
                    .values()
                    .map(|stored| stored.input.clone())
                    .collect::<Vec<_>>();
                Ok(json!({"TableList": tables}))
            }
            "GetTable" => {
                let stored = self.stored(request, "Name")?;
                let mut table = stored.input.clone();
                table["VersionId"] = json!(stored.version.to_string());
                Ok(json!({"Table": table}))
            }
            "CreateTable" => {
                let input = request["TableInput"].clone();
                let name = text(&input, "Name");
                let tables = self.database(request)?;
                if tables.contains_key(&name) {
                    return Err(("AlreadyExistsException", "Table already exists.".to_owned()));
                }
                tables.insert(
                    name,
                    Stored {
                        input,
                        ..Stored::default()
                    },
                );
                Ok(json!({}))
            }
            "UpdateTable" => self.update_table(request),
            "UpdateColumnStatisticsForTable"
            | "GetColumnStatisticsForTable"
            | "DeleteColumnStatisticsForTable" => self.execute_on_statistics(action, request),
            _ => self.execute_on_partitions(action, request),
        }
    }

    fn execute_on_statistics(&mut self, action: &str, request: &Value) -> Result<Value, Refusal> {
        let stored = &mut self.stored(request, "TableName")?.statistics;
        match action {
            "UpdateColumnStatisticsForTable" => {
                let list = batch(request, "ColumnStatisticsList", 25)?.clone();
                let names: Vec<_> = list.iter().map(|s| s["ColumnName"].clone()).collect();
                stored.retain(|old| !names.contains(&old["ColumnName"]));
                stored.extend(list);
                Ok(json!({"Errors": []}))
            }
            "GetColumnStatisticsForTable" => {
                let names = values(&json!(batch(request, "ColumnNames", 100)?));
                let is_requested = |s: &&Value| names.iter().any(|name| s["ColumnName"] == **name);
                let list: Vec<_> = stored.iter().filter(is_requested).cloned().collect();
                Ok(json!({"ColumnStatisticsList": list, "Errors": []}))
            }
            _ => {
                let name = &request["ColumnName"];
                stored.retain(|old| old["ColumnName"] != *name);
                Ok(json!({}))
            }
        }
    }

    fn update_table(&mut self, request: &Value) -> Result<Value, Refusal> {
        let name =
            json!({"DatabaseName": request["DatabaseName"], "Name": request["TableInput"]["Name"]});
        let stored = self.stored(&name, "Name")?;
        if request["VersionId"]
            .as_str()
            .is_some_and(|version| version != stored.version.to_string())
        {
            return Err((
                "ConcurrentModificationException",
                "Update table failed due to concurrent modifications.".to_owned(),
            ));
        }
        stored.input = request["TableInput"].clone();
        stored.version += 1;
        Ok(json!({}))
    }

    fn execute_on_partitions(&mut self, action: &str, request: &Value) -> Result<Value, Refusal> {
        let stored = self.stored(request, "TableName")?;
        let failed = |partition_values: &[String], code: &str| json!({"PartitionValues": partition_values, "ErrorDetail": {"ErrorCode": code, "ErrorMessage": code}});
        let mut errors = vec![];
        match action {
            "GetPartitions" => {
                let page = usize::try_from(request["MaxResults"].as_u64().unwrap_or(1000))
                    .unwrap()
                    .min(1000);
                let start: usize = request["NextToken"]
                    .as_str()
                    .map_or(0, |token| token.parse().unwrap());
                let partitions: Vec<_> = stored
                    .partitions
                    .values()
                    .skip(start)
                    .take(page)
                    .cloned()
                    .collect();
                let next =
                    (start + page < stored.partitions.len()).then(|| (start + page).to_string());
                return Ok(json!({"Partitions": partitions, "NextToken": next}));
            }
            "BatchCreatePartition" => {
                for input in batch(request, "PartitionInputList", 100)? {
                    let partition_values = values(&input["Values"]);
                    match stored.partitions.entry(partition_values) {
                        std::collections::btree_map::Entry::Occupied(existing) => {
                            errors.push(failed(existing.key(), "AlreadyExistsException"))
                        }
                        std::collections::btree_map::Entry::Vacant(vacant) => {
                            vacant.insert(input.clone());
                        }
                    }
                }
            }
            "BatchUpdatePartition" => {
                for entry in batch(request, "Entries", 100)? {
                    stored.partitions.insert(
                        values(&entry["PartitionValueList"]),
                        entry["PartitionInput"].clone(),
                    );
                }
            }
            "BatchDeletePartition" => {
                for list in batch(request, "PartitionsToDelete", 25)? {
                    let partition_values = values(&list["Values"]);
                    if stored.partitions.remove(&partition_values).is_none() {
                        errors.push(failed(&partition_values, "EntityNotFoundException"));
                    }
                }
            }
            other => return Err(("InvalidAction", format!("{other} is not spoken here"))),
        }
        Ok(json!({"Errors": errors}))
    }
}
