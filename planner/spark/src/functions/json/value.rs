//! A JSON value that keeps the order of keys and the digits of numbers, as Spark's results do.

/// Maximum depth of a text that is read.
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
        let mut reader = Reader { text, position: 0 };
        let value = reader.value(0)?;
        reader.skip_spaces();
        (reader.position == text.len()).then_some(value)
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
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Boolean(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(digits) => out.push_str(digits),
            Self::Text(text) => write_text(text, out),
            Self::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(entries) => {
                out.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_text(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
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
pub(super) fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

struct Reader<'a> {
    text: &'a str,
    position: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.position).copied()
    }

    fn skip_spaces(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.position += 1;
        }
    }

    fn take(&mut self, target: u8) -> bool {
        self.skip_spaces();
        let is_next = self.peek() == Some(target);
        self.position += usize::from(is_next);
        is_next
    }

    fn word(&mut self, word: &str, value: Json) -> Option<Json> {
        self.text[self.position..].starts_with(word).then(|| {
            self.position += word.len();
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
        self.position += 1;
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
        self.position += 1;
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
        let rest = &self.text[self.position..];
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
        self.position += end;
        Some(Json::Number(digits.to_owned()))
    }

    fn string(&mut self, quote: u8) -> Option<String> {
        self.position += 1;
        let mut text = String::new();
        loop {
            let rest = &self.text[self.position..];
            let c = rest.chars().next()?;
            self.position += c.len_utf8();
            match c {
                c if u32::from(c) == u32::from(quote) => return Some(text),
                '\\' => text.push(self.escape()?),
                c => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let c = self.text[self.position..].chars().next()?;
        self.position += c.len_utf8();
        Some(match c {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'u' => {
                let high = self.unit()?;
                // Two units of UTF-16 are one character beyond the first plane.
                if (0xD800..0xDC00).contains(&high) && self.text[self.position..].starts_with("\\u")
                {
                    self.position += 2;
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
        let digits = self.text.get(self.position..self.position + 4)?;
        self.position += 4;
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
