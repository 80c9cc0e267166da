//! What each address of a page shows.
//!
//! | address | content |
//! | --- | --- |
//! | `/` | the run |
//! | `/stages/q1.s0?page=2&order=longest` | the tasks of a stage |
//! | `/state` | the run in a few figures, as JSON |
//! | `/journal` | the journal so far |
//!
//! With `part=1`, the first two are only the part that changes, for the page's script.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use faisca_planner::ids::{QueryId, StageId};
use http::request::Parts;

use super::access::parameter;
use crate::journal::{JournalError, JournalTail, RecordedRun};
use crate::report::live::{LiveBody, LiveRun, TaskOrder, View, waiting_page};

/// A page is rendered again after at least this time,
const RENDER_INTERVAL: Duration = Duration::from_millis(500);
/// and after this many times the time that rendering took.
const RENDER_FACTOR: u32 = 10;
/// The journal is read again after at least this time.
const READ_INTERVAL: Duration = Duration::from_millis(250);
/// Number of rendered pages that are kept.
const RENDERED_MAX: usize = 16;
/// What was read of the journal is freed after this time without a request.
const IDLE: Duration = Duration::from_secs(120);
/// A browser that shows the page requests it this often at least, unless the run is large.
const WATCHED: Duration = Duration::from_secs(5);

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Page(View),
    /// Only the part of a page that changes.
    Part(View),
    State,
    Journal,
}

/// The content of a response.
#[derive(Debug)]
pub(super) enum Content {
    Html(String),
    Json(String),
    Journal(Vec<u8>),
    /// The run has no such stage.
    Missing,
    /// The journal cannot be read, for this reason.
    Failed(String),
}

/// The pages of one run.
#[derive(Debug)]
pub(super) struct Pages {
    tail: JournalTail,
    logs: String,
    /// Marks the page's own script.
    nonce: String,
    read_at: Option<Instant>,
    rendered: HashMap<String, Rendered>,
    /// When a browser last requested the part that changes.
    watched_at: Option<Instant>,
    is_final_shown: bool,
}

#[derive(Debug)]
struct Rendered {
    body: LiveBody,
    expires: Instant,
}

impl Target {
    /// Returns what a request asks for; none for an unknown address.
    pub(super) fn parse(request: &Parts) -> Option<Self> {
        let view = match request.uri.path() {
            "/" => View::Run,
            "/state" => return Some(Self::State),
            "/journal" => return Some(Self::Journal),
            path => {
                let (query, stage) = path.strip_prefix("/stages/q")?.split_once(".s")?;
                View::Tasks {
                    query: QueryId(query.parse().ok()?),
                    stage: StageId(stage.parse().ok()?),
                    page: parameter(request, "page").map_or(Some(1), |page| page.parse().ok())?,
                    order: parameter(request, "order")
                        .map_or(Some(TaskOrder::default()), TaskOrder::parse)?,
                }
            }
        };
        Some(match parameter(request, "part") {
            Some(_) => Self::Part(view),
            None => Self::Page(view),
        })
    }
}

impl Pages {
    pub(super) fn new(journal: PathBuf, logs: String, nonce: String) -> Self {
        Self {
            tail: JournalTail::new(journal),
            logs,
            nonce,
            read_at: None,
            rendered: HashMap::new(),
            watched_at: None,
            is_final_shown: false,
        }
    }

    /// Marks the page's own script, in a header and in the page.
    pub(super) fn nonce(&self) -> &str {
        &self.nonce
    }

    /// Whether a browser shows the page without the final state.
    pub(super) fn owes_final_state(&self) -> bool {
        !self.is_final_shown && self.watched_at.is_some_and(|at| at.elapsed() < WATCHED)
    }

    /// Frees what was read if no one has looked for a while.
    pub(super) fn forget_if_idle(&mut self) {
        if self.read_at.is_some_and(|at| at.elapsed() > IDLE) {
            self.read_at = None;
            self.rendered = HashMap::new();
            self.tail.forget();
        }
    }

    /// Returns the content for a request.
    pub(super) fn content(&mut self, target: Target) -> Content {
        if let Err(error) = self.read() {
            return Content::Failed(format!("{error}\n"));
        }
        match target {
            Target::Journal => match std::fs::read(self.tail.path()) {
                Ok(journal) => Content::Journal(journal),
                Err(error) => Content::Failed(format!("{error}\n")),
            },
            Target::State => match self.run() {
                Some(run) => Content::Json(run.state()),
                None => Content::Json(r#"{"state":"starting"}"#.to_owned()),
            },
            Target::Page(view) => self.page(view, |body, nonce| body.page(nonce)),
            Target::Part(view) => {
                self.watched_at = Some(Instant::now());
                self.page(view, |body, _| body.html.clone())
            }
        }
    }

    /// Reads what was added to the journal, if that was not done just now.
    fn read(&mut self) -> Result<(), JournalError> {
        if self.read_at.is_some_and(|at| at.elapsed() < READ_INTERVAL) {
            return Ok(());
        }
        let updated = self.tail.update();
        self.read_at = Some(Instant::now());
        match updated {
            // The session has not created it yet.
            Err(JournalError::File(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(())
            }
            updated => updated,
        }
    }

    fn run(&self) -> Option<LiveRun<'_>> {
        let recorded = self.tail.run()?;
        Some(LiveRun {
            recorded,
            now_ms: elapsed_ms(recorded),
            logs: &self.logs,
        })
    }

    fn page(&mut self, view: View, write: impl Fn(&LiveBody, &str) -> String) -> Content {
        let name = format!("{view:?}");
        let now = Instant::now();
        let is_valid = self
            .rendered
            .get(&name)
            .is_some_and(|page| page.expires > now);
        if !is_valid {
            let Some(run) = self.run() else {
                return Content::Html(waiting_page(&self.nonce));
            };
            let Some(body) = run.body(view) else {
                return Content::Missing;
            };
            let pause = RENDER_INTERVAL.max(RENDER_FACTOR * now.elapsed());
            if self.rendered.len() >= RENDERED_MAX {
                self.rendered.retain(|_, page| page.expires > now);
            }
            // The final state must be shown at once.
            let expires = if body.is_running {
                Instant::now() + pause
            } else {
                now
            };
            self.rendered
                .insert(name.clone(), Rendered { body, expires });
        }
        let Some(Rendered { body, .. }) = self.rendered.get(&name) else {
            return Content::Missing;
        };
        let html = write(body, &self.nonce);
        self.is_final_shown |= !body.is_running;
        Content::Html(html)
    }
}

/// Returns the milliseconds since a run started.
fn elapsed_ms(recorded: &RecordedRun) -> u64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now_ms = since_epoch.map_or(0, |elapsed| elapsed.as_millis());
    let now_ms = u64::try_from(now_ms).unwrap_or(u64::MAX);
    now_ms.saturating_sub(recorded.started.started_unix_ms)
}
