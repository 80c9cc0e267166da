//! Windows in generated names of columns: their keys and frame, also where the frame is the
//! default.

use datafusion::sql::sqlparser::ast::{OrderByExpr, WindowFrame, WindowFrameBound, WindowSpec};

use super::column_names::{write, write_list};

/// Functions of a row's position, whose default frame is counted in rows.
const ROW_FUNCTIONS: [&str; 6] = [
    "cume_dist",
    "dense_rank",
    "ntile",
    "percent_rank",
    "rank",
    "row_number",
];

pub(super) fn write_window(function: &str, window: &WindowSpec, out: &mut String) {
    if !window.partition_by.is_empty() {
        out.push_str("PARTITION BY ");
        write_list(&window.partition_by, out);
        out.push(' ');
    }
    if !window.order_by.is_empty() {
        out.push_str("ORDER BY ");
        for (n, key) in window.order_by.iter().enumerate() {
            if n > 0 {
                out.push_str(", ");
            }
            write_key(key, out);
        }
        out.push(' ');
    }
    match &window.window_frame {
        Some(frame) => write_frame(frame, out),
        None if window.order_by.is_empty() => {
            out.push_str("ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING");
        }
        None => {
            let units = match ROW_FUNCTIONS.contains(&function) {
                true => "ROWS",
                false => "RANGE",
            };
            out.push_str(units);
            out.push_str(" BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW");
        }
    }
}

fn write_key(key: &OrderByExpr, out: &mut String) {
    write(&key.expr, out);
    let is_ascending = key.options.asc.unwrap_or(true);
    out.push_str(if is_ascending { " ASC" } else { " DESC" });
    match key.options.nulls_first.unwrap_or(is_ascending) {
        true => out.push_str(" NULLS FIRST"),
        false => out.push_str(" NULLS LAST"),
    }
}

fn write_frame(frame: &WindowFrame, out: &mut String) {
    out.push_str(&frame.units.to_string());
    out.push_str(" BETWEEN ");
    write_bound(&frame.start_bound, out);
    out.push_str(" AND ");
    match &frame.end_bound {
        Some(bound) => write_bound(bound, out),
        None => out.push_str("CURRENT ROW"),
    }
}

fn write_bound(bound: &WindowFrameBound, out: &mut String) {
    match bound {
        WindowFrameBound::Preceding(Some(offset)) => {
            write(offset, out);
            out.push_str(" PRECEDING");
        }
        WindowFrameBound::Following(Some(offset)) => {
            write(offset, out);
            out.push_str(" FOLLOWING");
        }
        unbounded => out.push_str(&unbounded.to_string()),
    }
}
