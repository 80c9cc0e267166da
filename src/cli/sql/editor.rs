//! The line editor of the interactive shell, with history, completion and colours.
//!
//! It runs on a thread of its own, so that signals and executors are served while it waits for a
//! key.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustyline::completion::{Completer, Pair};
use rustyline::config::Configurer;
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Context, Helper, Result as EditorResult};
use tokio::sync::{mpsc, oneshot};

use super::complete::{Candidates, Names, complete, is_keyword};
use super::lexer::{Kind, is_blank, is_complete, tokens};
use super::meta::Meta;

const PROMPT: &str = "faisca> ";
/// Maximum number of entries in the history file.
const HISTORY_ENTRIES_MAX: usize = 10_000;
/// Maximum number of paths that are offered at once.
const PATHS_MAX: usize = 1_000;

/// A line editor on its own thread.
pub(super) struct Editor {
    requests: mpsc::Sender<oneshot::Sender<EditorResult<String>>>,
    /// Names for completion.
    pub(super) names: Arc<Mutex<Names>>,
}

impl Editor {
    /// Starts the thread. Without a history file, the history lasts as long as the shell.
    pub(super) fn start(history: Option<PathBuf>, has_color: bool) -> Self {
        let (requests, received) = mpsc::channel(1);
        let names = Arc::new(Mutex::new(Names::default()));
        let helper = SqlHelper {
            names: Arc::clone(&names),
            has_color,
        };
        std::thread::spawn(move || serve(helper, history.as_deref(), received));
        Self { requests, names }
    }

    /// Returns the next input: a whole statement, or a command of the shell.
    pub(super) async fn next(&self) -> EditorResult<String> {
        let (sender, line) = oneshot::channel();
        // A thread that has ended drops the sender.
        let _ = self.requests.send(sender).await;
        line.await.unwrap_or(Err(ReadlineError::Eof))
    }
}

/// Reads an input for each request. If the editor cannot start, the first request receives the
/// error.
fn serve(
    helper: SqlHelper,
    history: Option<&Path>,
    mut requests: mpsc::Receiver<oneshot::Sender<EditorResult<String>>>,
) {
    let mut editor = open(helper, history);
    while let Some(request) = requests.blocking_recv() {
        let line = match &mut editor {
            Ok(editor) => {
                let line = editor.readline(PROMPT);
                if let Ok(line) = &line {
                    add_to_history(editor, line, history);
                }
                line
            }
            Err(_) => return send_error(request, editor),
        };
        if request.send(line).is_err() {
            return;
        }
    }
}

type SqlEditor = rustyline::Editor<SqlHelper, FileHistory>;

fn send_error(request: oneshot::Sender<EditorResult<String>>, editor: EditorResult<SqlEditor>) {
    if let Err(error) = editor {
        let _ = request.send(Err(error));
    }
}

fn open(helper: SqlHelper, history: Option<&Path>) -> EditorResult<SqlEditor> {
    let mut editor = SqlEditor::new()?;
    editor.set_max_history_size(HISTORY_ENTRIES_MAX)?;
    editor.set_history_ignore_space(true);
    editor.set_completion_type(CompletionType::List);
    editor.set_helper(Some(helper));
    if let Some(history) = history {
        if let Some(folder) = history.parent() {
            let _ = std::fs::create_dir_all(folder);
        }
        // The first shell has no history file, and an unreadable one must not stop a shell.
        let _ = editor.load_history(history);
    }
    Ok(editor)
}

/// Adds an input to the history, and stores it at once, because a shell may be killed.
fn add_to_history(editor: &mut SqlEditor, line: &str, history: Option<&Path>) {
    if matches!(Meta::parse(line), Some(Ok(Meta::Quit))) {
        return;
    }
    let is_new = editor.add_history_entry(line.trim()).unwrap_or(false);
    if let (true, Some(history)) = (is_new, history) {
        let _ = editor.append_history(history);
    }
}

struct SqlHelper {
    names: Arc<Mutex<Names>>,
    has_color: bool,
}

impl Helper for SqlHelper {}

impl Hinter for SqlHelper {
    type Hint = String;
}

impl Validator for SqlHelper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> EditorResult<ValidationResult> {
        let text = context.input();
        let is_whole = is_blank(text) || Meta::parse(text).is_some() || is_complete(text);
        Ok(match is_whole {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}

impl Completer for SqlHelper {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> EditorResult<(usize, Vec<Pair>)> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let completion = complete(&line[..position], &names);
        let words = match completion.candidates {
            Candidates::Words(words) => words,
            Candidates::Paths(prefix) => paths(&prefix),
        };
        let pairs = words.into_iter().map(|word| Pair {
            display: word.clone(),
            replacement: word,
        });
        Ok((completion.start, pairs.collect()))
    }
}

/// Returns the files and folders whose path begins with a prefix; folders end with a slash.
fn paths(prefix: &str) -> Vec<String> {
    let (folder, start) = match prefix.rfind('/') {
        Some(slash) => prefix.split_at(slash + 1),
        None => ("", prefix),
    };
    let listed = std::fs::read_dir(if folder.is_empty() { "." } else { folder });
    let mut paths: Vec<String> = listed
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let file = entry.file_name().into_string().ok()?;
            let is_hidden = file.starts_with('.') && !start.starts_with('.');
            let slash = if entry.path().is_dir() { "/" } else { "" };
            (file.starts_with(start) && !is_hidden).then(|| format!("{folder}{file}{slash}"))
        })
        .take(PATHS_MAX)
        .collect();
    paths.sort();
    paths
}

impl Highlighter for SqlHelper {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        match self.has_color && !line.starts_with('\\') {
            true => Cow::Owned(highlight(line)),
            false => Cow::Borrowed(line),
        }
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        match self.has_color {
            true => Cow::Owned(format!("\x1b[1m{prompt}\x1b[0m")),
            false => Cow::Borrowed(prompt),
        }
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        self.has_color && kind != CmdKind::MoveCursor
    }
}

/// Colours keywords, strings, numbers and comments.
fn highlight(text: &str) -> String {
    let colour = |kind, text: &str| match kind {
        Kind::Word if is_keyword(text) => Some("\x1b[1;34m"),
        Kind::Text => Some("\x1b[32m"),
        Kind::Number => Some("\x1b[36m"),
        Kind::Comment => Some("\x1b[2m"),
        Kind::Word | Kind::QuotedName | Kind::Space | Kind::Semicolon | Kind::Symbol => None,
    };
    let parts = tokens(text)
        .into_iter()
        .map(|token| match colour(token.kind, token.text) {
            Some(start) => format!("{start}{}\x1b[0m", token.text),
            None => token.text.to_owned(),
        });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_texts_and_numbers_are_coloured() {
        assert_eq!(
            highlight("SELECT a, 'x', 1"),
            "\x1b[1;34mSELECT\x1b[0m a, \x1b[32m'x'\x1b[0m, \x1b[36m1\x1b[0m"
        );
    }

    #[test]
    fn paths_below_a_folder_are_offered_with_a_slash_after_folders() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        std::fs::write(folder.path().join("day.csv"), "").unwrap();
        std::fs::write(folder.path().join(".data"), "").unwrap();
        let root = folder.path().display();
        assert_eq!(
            paths(&format!("{root}/da")),
            [format!("{root}/data/"), format!("{root}/day.csv")]
        );
    }
}
