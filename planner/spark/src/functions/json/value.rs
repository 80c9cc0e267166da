//! A JSON value that keeps the order of keys and the digits of numbers, as Spark's results do.

/// Deepest nesting of a text that is read.
const DEPTH_MAX: usize = 500;

/// A value of JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Json {
    Null,
    Boolean(bool),
    /// As it is written.
    Number(String),
    Text(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Json {
    /// Reads a text; `None` if it is not JSON.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.skip_spaces();
        (reader.at == text.len()).then_some(value)
    }

    /// Returns the value of a key; of equal keys the last.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(entries) => entries
                .iter()
                .rev()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// Writes the value without spaces.
    pub(super) fn write(&self, to: &mut String) {
        match self {
            Self::Null => to.push_str("null"),
            Self::Boolean(value) => to.push_str(if *value { "true" } else { "false" }),
            Self::Number(digits) => to.push_str(digits),
            Self::Text(text) => write_text(text, to),
            Self::Array(items) => {
                to.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        to.push(',');
                    }
                    item.write(to);
                }
                to.push(']');
            }
            Self::Object(entries) => {
                to.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    if index > 0 {
                        to.push(',');
                    }
                    write_text(key, to);
                    to.push(':');
                    value.write(to);
                }
                to.push('}');
            }
        }
    }

    /// Returns the value as text: texts without quotes, everything else as JSON.
    pub(super) fn to_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            other => {
                let mut text = String::new();
                other.write(&mut text);
                text
            }
        }
    }
}

/// Writes a text with quotes and escapes.
pub(super) fn write_text(text: &str, to: &mut String) {
    to.push('"');
    for c in text.chars() {
        match c {
            '"' => to.push_str("\\\""),
            '\\' => to.push_str("\\\\"),
            '\n' => to.push_str("\\n"),
            '\r' => to.push_str("\\r"),
            '\t' => to.push_str("\\t"),
            '\u{8}' => to.push_str("\\b"),
            '\u{c}' => to.push_str("\\f"),
            c if c < ' ' => to.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => to.push(c),
        }
    }
    to.push('"');
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_spaces(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, target: u8) -> bool {
        self.skip_spaces();
        let is_there = self.peek() == Some(target);
        self.at += usize::from(is_there);
        is_there
    }

    fn word(&mut self, word: &str, value: Json) -> Option<Json> {
        self.text[self.at..].starts_with(word).then(|| {
            self.at += word.len();
            value
        })
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        self.skip_spaces();
        if depth > DEPTH_MAX {
            return None;
        }
        match self.peek()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            // Spark reads texts in single quotes as well.
            quote @ (b'"' | b'\'') => self.string(quote).map(Json::Text),
            b't' => self.word("true", Json::Boolean(true)),
            b'f' => self.word("false", Json::Boolean(false)),
            b'n' => self.word("null", Json::Null),
            b'-' | b'0'..=b'9' => self.number(),
            _ => None,
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        self.at += 1;
        let mut entries = Vec::new();
        if self.take(b'}') {
            return Some(Json::Object(entries));
        }
        loop {
            self.skip_spaces();
            let quote = self.peek().filter(|quote| matches!(quote, b'"' | b'\''))?;
            let key = self.string(quote)?;
            if !self.take(b':') {
                return None;
            }
            entries.push((key, self.value(depth + 1)?));
            if self.take(b'}') {
                return Some(Json::Object(entries));
            }
            if !self.take(b',') {
                return None;
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<Json> {
        self.at += 1;
        let mut items = Vec::new();
        if self.take(b']') {
            return Some(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.take(b']') {
                return Some(Json::Array(items));
            }
            if !self.take(b',') {
                return None;
            }
        }
    }

    fn number(&mut self) -> Option<Json> {
        let rest = &self.text[self.at..];
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && !"+-.eE".contains(c))
            .unwrap_or(rest.len());
        let digits = &rest[..end];
        digits.parse::<f64>().ok()?;
        let unsigned = digits.strip_prefix('-').unwrap_or(digits);
        let has_leading_zero = unsigned.len() > 1
            && unsigned.starts_with('0')
            && unsigned.as_bytes()[1].is_ascii_digit();
        if has_leading_zero || digits.ends_with('.') {
            return None;
        }
        self.at += end;
        Some(Json::Number(digits.to_owned()))
    }

    fn string(&mut self, quote: u8) -> Option<String> {
        self.at += 1;
        let mut text = String::new();
        loop {
            let rest = &self.text[self.at..];
            let c = rest.chars().next()?;
            self.at += c.len_utf8();
            match c {
                c if u32::from(c) == u32::from(quote) => return Some(text),
                '\\' => text.push(self.escape()?),
                c => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let c = self.text[self.at..].chars().next()?;
        self.at += c.len_utf8();
        Some(match c {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'u' => {
                let high = self.unit()?;
                // Two units of UTF-16 are one character beyond the first plane.
                if (0xD800..0xDC00).contains(&high) && self.text[self.at..].starts_with("\\u") {
                    self.at += 2;
                    let low = self.unit()?;
                    return char::decode_utf16([high, low]).next()?.ok();
                }
                char::from_u32(high.into()).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            '"' | '\\' | '/' | '\'' => c,
            _ => return None,
        })
    }

    fn unit(&mut self) -> Option<u16> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        u16::from_str_radix(digits, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_themselves_again() {
        for text in [
            r#"{"b":1,"a":[1.50,true,null,"x\ny"],"c":{}}"#,
            r#"[]"#,
            r#""é\"""#,
            "-0.5e3",
        ] {
            assert_eq!(
                Json::parse(text)
                    .map(|value| {
                        let mut written = String::new();
                        value.write(&mut written);
                        written
                    })
                    .as_deref(),
                Some(text)
            );
        }
        assert_eq!(
            Json::parse(r#""\ud83d\ude00""#),
            Some(Json::Text("😀".to_owned()))
        );
        assert_eq!(Json::parse(" [ 1 , 2 ] "), Json::parse("[1,2]"));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["", "{", "[1,]", "{\"a\"}", "01", "tru", "1 2", "{a:1}"] {
            assert_eq!(Json::parse(text), None, "{text}");
        }
    }
}
