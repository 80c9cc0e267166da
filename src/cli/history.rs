//! `faisca history PATH`: the runs whose journals are below a folder.

use std::path::Path;

use clap::Args;
use comfy_table::CellAlignment;
use faisca::{Error, Result, Session};
use faisca_driver::job::{JOURNAL_ENDING, JournalText, read_journals};
use faisca_driver::journal::read;
use faisca_driver::report::{RunState, RunSummary, StageFigures, StepFigures, summarize};
use indicatif::{HumanBytes, HumanCount};

use super::parse_key_value;
use super::show::{print, table};

/// Flags of `faisca history`.
#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// Folder of journals, on this machine or on an object store; folders in it are searched, too.
    path: String,
    /// List only runs whose job, steps, failure or file contain this text, in any case.
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Show steps and stages of two runs side by side. Each is a number of the list, or a part of
    /// the name of a journal.
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    compare: Option<Vec<String>>,
    /// A session setting, for example of an object store; may be repeated.
    #[arg(long = "conf", value_name = "KEY=VALUE", value_parser = parse_key_value)]
    conf: Vec<(String, String)>,
}

/// A run, and the name of its journal below the folder.
struct ListedRun {
    name: String,
    run: RunSummary,
}

pub(super) async fn history(args: HistoryArgs) -> Result<()> {
    let texts = match args.path.contains("://") {
        true => read_store(&args).await?,
        false => read_folder(Path::new(&args.path))?,
    };
    let files = texts.len();
    let mut runs: Vec<ListedRun> = texts
        .into_iter()
        .filter_map(|JournalText { name, text }| {
            let run = summarize(&read(&text).ok()?);
            Some(ListedRun { name, run })
        })
        .collect();
    let unreadable = files - runs.len();
    runs.sort_by(|a, b| (b.run.started_unix_ms, &b.name).cmp(&(a.run.started_unix_ms, &a.name)));
    if let Some(names) = &args.compare {
        let [first, second] = names.as_slice() else {
            return Err(Error::Usage("--compare takes two runs".to_owned()));
        };
        print(&comparison(choose(&runs, first)?, choose(&runs, second)?));
        return Ok(());
    }
    print(&list(&runs, args.search.as_deref()));
    if unreadable > 0 {
        print(&format!(
            "Files that are not journals of this version: {unreadable}"
        ));
    }
    Ok(())
}

/// Reads the journals below a folder of this machine, with their names.
fn read_folder(folder: &Path) -> Result<Vec<JournalText>> {
    let mut texts = vec![];
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let failed = |e| Error::input(next.display().to_string())(e);
        for entry in std::fs::read_dir(&next).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            // Links are not followed: they could lead in a circle.
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|ending| ending == JOURNAL_ENDING)
            {
                let name = path.strip_prefix(folder).unwrap_or(&path);
                let bytes = std::fs::read(&path).map_err(failed)?;
                texts.push(JournalText {
                    name: name.display().to_string(),
                    text: String::from_utf8_lossy(&bytes).into_owned(),
                });
            }
        }
    }
    Ok(texts)
}

/// Reads the journals below a folder of an object store, with their names.
async fn read_store(args: &HistoryArgs) -> Result<Vec<JournalText>> {
    let settings = args.conf.iter().cloned();
    let builder = Session::builder().app_name("history").configs(settings);
    let session = builder.get_or_create().await?;
    let texts = read_journals(&session, &args.path).await;
    session.stop().await;
    texts
}

/// Returns the run that a number of the list or a part of a name chooses.
///
/// # Errors
/// If no run has it, or several have.
fn choose<'a>(runs: &'a [ListedRun], choice: &str) -> Result<&'a ListedRun> {
    let number = choice.parse::<usize>().ok();
    if let Some(run) = number.and_then(|number| runs.get(number.checked_sub(1)?)) {
        return Ok(run);
    }
    let named: Vec<&ListedRun> = runs
        .iter()
        .filter(|run| run.name.contains(choice))
        .collect();
    match named.as_slice() {
        [run] => Ok(run),
        [] => Err(Error::Usage(format!(
            "--compare {choice}: the list has {} runs, and no journal with this in its name",
            runs.len()
        ))),
        several => Err(Error::Usage(format!(
            "--compare {choice}: {} journals have this in their names; say more of it, or its number",
            several.len()
        ))),
    }
}

/// Returns the runs as a table, the newest first.
fn list(runs: &[ListedRun], search: Option<&str>) -> String {
    let header = [
        "#",
        "started (UTC)",
        "job",
        "state",
        "seconds",
        "rows",
        "bytes",
        "journal",
    ];
    let mut rows = table(&header, CellAlignment::Left);
    let mut count = 0;
    for (number, listed) in (1..).zip(runs) {
        if search.is_some_and(|text| !contains(listed, text)) {
            continue;
        }
        count += 1;
        let run = &listed.run;
        rows.add_row([
            number.to_string(),
            run.started_utc(),
            run.application.clone(),
            state(run.state).to_owned(),
            seconds(run.elapsed_ms),
            HumanCount(run.rows()).to_string(),
            HumanBytes(run.bytes()).to_string(),
            listed.name.clone(),
        ]);
    }
    match count {
        0 => "no runs".to_owned(),
        _ => rows.to_string(),
    }
}

fn contains(listed: &ListedRun, text: &str) -> bool {
    let text = text.to_lowercase();
    let run = &listed.run;
    let steps = run.steps.iter().map(|step| step.name.as_str());
    [listed.name.as_str(), &run.application, state(run.state)]
        .into_iter()
        .chain(run.failure.as_deref())
        .chain(steps)
        .any(|part| part.to_lowercase().contains(&text))
}

/// A fact of a run, as text.
type Fact = fn(&ListedRun) -> String;

/// Returns two runs side by side: the whole, the steps and the stages.
fn comparison(a: &ListedRun, b: &ListedRun) -> String {
    let mut whole = table(&["", "A", "B"], CellAlignment::Right);
    let facts: [(&str, Fact); 6] = [
        ("journal", |listed| listed.name.clone()),
        ("started (UTC)", |listed| listed.run.started_utc()),
        ("state", |listed| state(listed.run.state).to_owned()),
        ("seconds", |listed| seconds(listed.run.elapsed_ms)),
        ("rows", |listed| HumanCount(listed.run.rows()).to_string()),
        ("bytes", |listed| HumanBytes(listed.run.bytes()).to_string()),
    ];
    for (name, fact) in facts {
        whole.add_row([name.to_owned(), fact(a), fact(b)]);
    }
    let header = ["step", "seconds A", "seconds B", "B/A", "rows A", "rows B"];
    let mut steps = table(&header, CellAlignment::Right);
    let is_same = |x: &&StepFigures, y: &StepFigures| x.name == y.name;
    for (x, y) in pairs(&a.run.steps, &b.run.steps, is_same) {
        let name = x.or(y).map_or_else(String::new, |step| step.name.clone());
        let times = (x.map(|s| s.elapsed_ms), y.map(|s| s.elapsed_ms));
        let rows = |step: Option<&StepFigures>| figure(step.map(|s| s.rows));
        steps.add_row([
            name,
            time_of(times.0),
            time_of(times.1),
            ratio(times),
            rows(x),
            rows(y),
        ]);
    }
    let header = [
        "stage",
        "query",
        "seconds A",
        "seconds B",
        "B/A",
        "tasks A",
        "tasks B",
        "rows A",
        "rows B",
        "spilled A",
        "spilled B",
    ];
    let mut stages = table(&header, CellAlignment::Right);
    let is_same = |x: &&StageFigures, y: &StageFigures| (&x.label, x.stage) == (&y.label, y.stage);
    for (x, y) in pairs(&a.run.stages, &b.run.stages, is_same) {
        let Some(named) = x.or(y) else { continue };
        let times = (x.map(|s| s.elapsed_ms), y.map(|s| s.elapsed_ms));
        let spilled = |s: Option<&StageFigures>| {
            s.map_or_else(
                || "–".to_owned(),
                |s| HumanBytes(s.spilled_bytes).to_string(),
            )
        };
        stages.add_row([
            format!("s{}", named.stage),
            named.label.clone(),
            time_of(times.0),
            time_of(times.1),
            ratio(times),
            figure(x.map(|s| s.tasks)),
            figure(y.map(|s| s.tasks)),
            figure(x.map(|s| s.rows)),
            figure(y.map(|s| s.rows)),
            spilled(x),
            spilled(y),
        ]);
    }
    format!("{whole}\n\n{steps}\n\n{stages}")
}

/// Pairs the items of two lists: those of the first with their equals, then the rest of the second.
fn pairs<'a, T>(
    a: &'a [T],
    b: &'a [T],
    is_same: impl Fn(&&T, &T) -> bool,
) -> Vec<(Option<&'a T>, Option<&'a T>)> {
    let mut rest: Vec<&T> = b.iter().collect();
    let mut pairs: Vec<_> = a
        .iter()
        .map(|x| {
            let position = rest.iter().position(|y| is_same(y, x));
            (Some(x), position.map(|position| rest.remove(position)))
        })
        .collect();
    pairs.extend(rest.into_iter().map(|y| (None, Some(y))));
    pairs
}

fn seconds(milliseconds: u64) -> String {
    format!("{:.2}", milliseconds as f64 / 1000.0)
}

fn time_of(milliseconds: Option<u64>) -> String {
    milliseconds.map_or_else(|| "–".to_owned(), seconds)
}

fn figure(number: Option<u64>) -> String {
    number.map_or_else(|| "–".to_owned(), |number| HumanCount(number).to_string())
}

/// Returns how many times as long the second took.
fn ratio(times: (Option<u64>, Option<u64>)) -> String {
    match times {
        (Some(a @ 1..), Some(b)) => format!("{:.2}", b as f64 / a as f64),
        _ => "–".to_owned(),
    }
}

fn state(state: RunState) -> &'static str {
    match state {
        RunState::Succeeded => "succeeded",
        RunState::Failed => "failed",
        RunState::Killed => "killed or running",
    }
}
