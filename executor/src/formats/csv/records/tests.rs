use super::*;

fn options() -> CsvReadOptions {
    CsvReadOptions {
        multi_line: true,
        ..CsvReadOptions::default()
    }
}

/// Records as `line:value|value`, quoted values in `"`, with the text in chunks of `size` bytes.
fn read(options: &CsvReadOptions, text: &str, size: usize) -> Result<Vec<String>, CsvError> {
    let mut records = Records::new(options, Start::File, None);
    let mut rows = vec![];
    let mut take = |records: &mut Records| {
        while records.advance()? {
            let fields = (0..records.len()).filter_map(|i| records.field(i));
            let fields = fields.map(|field| {
                let text = String::from_utf8(field.bytes.into_owned()).unwrap();
                match field.is_quoted {
                    true => format!("\"{text}\""),
                    false => text,
                }
            });
            let fields: Vec<String> = fields.collect();
            let end = if records.is_unclosed() { "…" } else { "" };
            rows.push(format!("{}:{}{end}", records.line(), fields.join("|")));
        }
        Ok(())
    };
    for chunk in text.as_bytes().chunks(size) {
        records.push(chunk)?;
        take(&mut records)?;
    }
    records.end()?;
    take(&mut records)?;
    Ok(rows)
}

fn check(options: &CsvReadOptions, text: &str, expected: &[&str]) {
    for size in [1, 2, 3, 7, 1024] {
        assert_eq!(
            read(options, text, size).unwrap(),
            expected,
            "chunks of {size}"
        );
    }
}

#[test]
fn records_do_not_depend_on_the_chunks_they_come_in() {
    check(
        &options(),
        "\u{feff}a,b\r\n1,\"x\"\"y\"\r\n\r\n,\"\"\r\n\"p\nq\",ção\r\nlast,",
        &[
            "1:a|b",
            "2:1|\"x\"y\"",
            "4:|\"\"",
            "5:\"p\nq\"|ção",
            "7:last|",
        ],
    );
    check(&options(), "a,b\r1,2\r3,4", &["1:a|b", "2:1|2", "3:3|4"]);
}

#[test]
fn comments_and_escapes_are_read_where_they_are_set() {
    let options = CsvReadOptions {
        comment: Some(b'#'),
        escape: Some(b'\\'),
        ..options()
    };
    check(
        &options,
        "#x\na,\"b\\\"c\"\n# y\n\"#1\",\"\\\\\"",
        &["2:a|\"b\"c\"", "4:\"#1\"|\"\\\""],
    );
}

#[test]
fn quotes_within_a_value_are_text() {
    check(
        &options(),
        "a,x\"y\n1,\"x\"y\n2, \"z\"\n",
        &["1:a|x\"y", "2:1|\"x\"y", "3:2| \"z\""],
    );
}

#[test]
fn a_quote_ends_at_its_line_unless_values_may_span_lines() {
    let options = CsvReadOptions::default();
    check(
        &options,
        "a,b\n1,\"x\n2,y\n",
        &["1:a|b", "2:1|\"x\"…", "3:2|y"],
    );
    check(
        &self::options(),
        "a,b\n1,\"x\n2,y\n",
        &["1:a|b", "2:1|\"x\n2,y\n\"…"],
    );
}

#[test]
fn an_empty_line_is_a_null_where_there_is_one_column() {
    let mut records = Records::new(&options(), Start::Line, Some(1));
    records.push(b"1\n\n3\n").unwrap();
    let mut widths = vec![];
    while records.advance().unwrap() {
        widths.push((records.line(), records.field(0).unwrap().bytes.len()));
    }
    assert_eq!(widths, [(1, 1), (2, 0), (3, 1)]);
}

#[test]
fn bytes_that_are_not_utf8_are_refused_with_their_line() {
    let mut records = Records::new(&options(), Start::File, None);
    let error = records.push(b"a\n\n1\nS\xe3o\n").unwrap_err();
    assert_eq!(error.to_string(), "line 4: the byte 0xe3 is not UTF-8");
    let mut records = Records::new(&options(), Start::File, None);
    records.push(b"a\n\xc3").unwrap();
    assert!(records.advance().unwrap());
    assert!(!records.advance().unwrap());
    assert!(records.end().is_err());
}
