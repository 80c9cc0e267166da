//! Makes a failing query smaller: the generator marks what can be dropped, and each mark is tried.

const OPEN: char = '⟦';
const CLOSE: char = '⟧';

/// Runs of the two engines that a shrink may cost.
const MAX_ATTEMPTS: usize = 150;

/// A part that the query may remain valid without.
pub fn optional(part: impl std::fmt::Display) -> String {
    format!("{OPEN}{part}{CLOSE}")
}

/// The SQL without marks.
pub fn render(marked: &str) -> String {
    marked.replace([OPEN, CLOSE], "")
}

/// Drops parts, the outermost first, as long as `still_fails`.
pub async fn shrink(marked: &str, still_fails: impl AsyncFn(&str) -> bool) -> String {
    let mut smallest = marked.to_owned();
    let mut attempts = 0;
    'again: loop {
        for candidate in candidates(&smallest) {
            attempts += 1;
            if attempts > MAX_ATTEMPTS {
                return smallest;
            }
            if still_fails(&render(&candidate)).await {
                smallest = candidate;
                continue 'again;
            }
        }
        return smallest;
    }
}

/// The query without one part, and without two that touch: an operator and its operand.
fn candidates(marked: &str) -> Vec<String> {
    let spans = spans(marked);
    let without = |from: usize, to: usize| format!("{}{}", &marked[..from], &marked[to..]);
    let mut candidates = vec![];
    for (index, (from, to)) in spans.iter().enumerate() {
        candidates.push(without(*from, *to));
        let next = spans[index + 1..].iter().find(|(next, _)| next == to);
        candidates.extend(next.map(|(_, to)| without(*from, *to)));
    }
    candidates
}

/// Where marked parts begin and end, the outer before the inner.
fn spans(marked: &str) -> Vec<(usize, usize)> {
    let (mut open, mut spans) = (vec![], vec![]);
    for (at, character) in marked.char_indices() {
        match character {
            OPEN => open.push(at),
            CLOSE => spans.extend(open.pop().map(|from| (from, at + CLOSE.len_utf8()))),
            _ => {}
        }
    }
    spans.sort_unstable();
    spans
}

#[test]
fn parts_are_dropped_until_the_failure_would_vanish() {
    let query = format!(
        "{}{}{}",
        optional(format!("SELECT a{} FROM t", optional(", b"))),
        optional(" UNION ALL "),
        optional("SELECT c FROM u")
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let smallest = runtime.block_on(shrink(&query, async |sql| sql.starts_with("SELECT a")));
    assert_eq!(render(&smallest), "SELECT a FROM t");
}
