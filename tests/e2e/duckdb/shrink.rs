//! Makes a failing query smaller: the generator marks what can be dropped, and each mark is tried.

const SPAN_START: char = '⟦';
const SPAN_END: char = '⟧';

/// Runs of the two engines that a shrink may cost.
const MAX_ATTEMPTS: usize = 150;

/// A part that the query may remain valid without.
pub fn optional(part: impl std::fmt::Display) -> String {
    format!("{SPAN_START}{part}{SPAN_END}")
}

/// The SQL without marks.
pub fn render(marked_sql: &str) -> String {
    marked_sql.replace([SPAN_START, SPAN_END], "")
}

/// Drops parts, the outermost first, as long as `still_fails`.
pub async fn shrink(marked_sql: &str, still_fails: impl AsyncFn(&str) -> bool) -> String {
    let mut smallest = marked_sql.to_owned();
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
fn candidates(marked_sql: &str) -> Vec<String> {
    let spans = spans(marked_sql);
    let remove_span =
        |from: usize, to: usize| format!("{}{}", &marked_sql[..from], &marked_sql[to..]);
    let mut candidates = vec![];
    for (index, (from, to)) in spans.iter().enumerate() {
        candidates.push(remove_span(*from, *to));
        let adjacent = spans[index + 1..]
            .iter()
            .find(|(adjacent, _)| adjacent == to);
        candidates.extend(adjacent.map(|(_, to)| remove_span(*from, *to)));
    }
    candidates
}

/// Where marked parts begin and end, the outer before the inner.
fn spans(marked_sql: &str) -> Vec<(usize, usize)> {
    let (mut starts, mut spans) = (vec![], vec![]);
    for (offset, character) in marked_sql.char_indices() {
        match character {
            SPAN_START => starts.push(offset),
            SPAN_END => spans.extend(
                starts
                    .pop()
                    .map(|from| (from, offset + SPAN_END.len_utf8())),
            ),
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
