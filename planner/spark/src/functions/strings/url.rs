//! `parse_url` and `try_parse_url`: parts of a URL as Java's `URI` returns them, as they are written.

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;

use crate::functions::scalar::{Call, Function, OnInvalid, Param, Returns};

/// Returns the functions of this family.
pub(super) fn functions() -> Vec<Function> {
    let params = &[Param::Text, Param::Text, Param::Text];
    let text = || Returns::Type(DataType::Utf8);
    vec![
        Function::new("parse_url", params, text(), |call| {
            parse_urls(call, OnInvalid::Fail)
        })
        .optional(1),
        Function::new("try_parse_url", params, text(), |call| {
            parse_urls(call, OnInvalid::Null)
        })
        .optional(1),
    ]
}

fn parse_urls(call: &Call, on_invalid: OnInvalid) -> Result<ArrayRef> {
    let (urls, parts) = (call.text(0), call.text(1));
    call.texts(|row| {
        let (text, part) = (urls.value(row), parts.value(row));
        let Some(url) = Url::parse(text) else {
            return match on_invalid {
                OnInvalid::Null => Ok(None),
                OnInvalid::Fail => call.fail(format!(
                    "[INVALID_URL] '{text}' is no URL; try_parse_url returns NULL for it"
                )),
            };
        };
        let value = match call.has_argument(2) {
            true if part == "QUERY" => url.query_value(call.text(2).value(row)),
            true => None,
            false => url.part(part),
        };
        Ok(value.map(str::to_owned))
    })
}

/// The parts of a URL: `scheme://user@host:port/path?query#fragment`.
#[derive(Debug, PartialEq, Eq)]
struct Url<'a> {
    scheme: Option<&'a str>,
    authority: Option<&'a str>,
    /// `None` for an opaque URL such as `mailto:a@b`.
    path: Option<&'a str>,
    query: Option<&'a str>,
    /// The path with the query.
    file: &'a str,
    fragment: Option<&'a str>,
}

impl<'a> Url<'a> {
    /// Reads a URL; `None` if it contains characters that a URL must escape, or lacks a part.
    fn parse(text: &'a str) -> Option<Self> {
        let (rest, fragment) = split_at_sign(text, '#');
        if !is_escaped(rest, "[]") || !fragment.is_none_or(|fragment| is_escaped(fragment, "[]")) {
            return None;
        }
        let scheme_end = rest
            .find([':', '/', '?'])
            .filter(|end| rest[*end..].starts_with(':'));
        let (scheme, rest) = match scheme_end {
            Some(end) => (Some(&rest[..end]), &rest[end + 1..]),
            None => (None, rest),
        };
        if scheme.is_some_and(|scheme| !is_scheme(scheme) || rest.is_empty()) {
            return None;
        }
        let is_opaque = scheme.is_some() && !rest.starts_with('/');
        let (authority, file) = match rest.strip_prefix("//") {
            Some(behind) => {
                let end = behind.find(['/', '?']).unwrap_or(behind.len());
                // `file:///a` has no authority, but a path.
                if behind.is_empty() && fragment.is_none() {
                    return None;
                }
                (
                    Some(&behind[..end]).filter(|name| !name.is_empty()),
                    &behind[end..],
                )
            }
            None => (None, rest),
        };
        let (path, query) = split_at_sign(file, '?');
        if !is_opaque && path.contains(['[', ']']) {
            return None;
        }
        Some(Self {
            scheme,
            authority,
            path: (!is_opaque).then_some(path),
            query: query.filter(|_| !is_opaque),
            file,
            fragment,
        })
    }

    fn part(&self, name: &str) -> Option<&'a str> {
        match name {
            "PROTOCOL" => self.scheme,
            "AUTHORITY" => self.authority,
            "HOST" => self.host(),
            "USERINFO" => self.host().and(self.user()),
            "PATH" => self.path,
            "QUERY" => self.query,
            "FILE" => self.path.map(|_| self.file),
            "REF" => self.fragment,
            _ => None,
        }
    }

    fn user(&self) -> Option<&'a str> {
        let (user, _) = self.authority?.split_once('@')?;
        Some(user)
    }

    /// Returns the host; `None` if the authority is another name, as one with `_` is.
    fn host(&self) -> Option<&'a str> {
        let authority = self.authority?;
        let server = authority
            .split_once('@')
            .map_or(authority, |(_, server)| server);
        let host_end = match server.starts_with('[') {
            true => server.find(']')? + 1,
            false => server.find(':').unwrap_or(server.len()),
        };
        let (host, port) = server.split_at(host_end);
        let has_port = port.is_empty()
            || port
                .strip_prefix(':')
                .is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
        (has_port && is_host(host)).then_some(host)
    }

    fn query_value(&self, key: &str) -> Option<&'a str> {
        let pairs = self.query?.split('&');
        let mut pairs = pairs.filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
    }
}

fn split_at_sign(text: &str, sign: char) -> (&str, Option<&str>) {
    match text.split_once(sign) {
        Some((before, behind)) => (before, Some(behind)),
        None => (text, None),
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// Returns whether a text has only characters that may stand in a URL, or are `extra`. Java also
/// accepts letters and signs beyond ASCII.
fn is_escaped(text: &str, extra: &str) -> bool {
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let is_allowed = match c {
            '%' => {
                let mut is_digit = || rest.next().is_some_and(|digit| digit.is_ascii_hexdigit());
                is_digit() && is_digit()
            }
            c if c.is_ascii() => {
                c.is_ascii_alphanumeric() || "-_.!~*'();/?:@&=+$,".contains(c) || extra.contains(c)
            }
            c => !c.is_control() && !c.is_whitespace(),
        };
        if !is_allowed {
            return false;
        }
    }
    true
}

/// Returns whether a text is an address, or labels of letters, digits and hyphens. The last one of
/// several begins with a letter.
fn is_host(text: &str) -> bool {
    if text.starts_with('[') {
        return true;
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let labels: Vec<&str> = name.split('.').collect();
    let last = labels.last().filter(|_| labels.len() > 1);
    let has_name = last.is_none_or(|last| last.starts_with(|c: char| c.is_ascii_alphabetic()));
    let is_address = labels.len() == 4 && labels.iter().all(|label| label.parse::<u8>().is_ok());
    labels.iter().all(|label| is_label(label)) && (has_name || is_address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_returned_as_they_are_written() {
        for (url, part, expected) in [
            ("https://h:443/p", "AUTHORITY", Some("h:443")),
            ("http://EXAMPLE.com/p", "HOST", Some("EXAMPLE.com")),
            ("http://h/a/../b", "PATH", Some("/a/../b")),
            ("http://h/é", "PATH", Some("/é")),
            ("HTTP://h/a", "PROTOCOL", Some("HTTP")),
            ("http://my_host/x", "HOST", None),
            ("http://my_host/x", "AUTHORITY", Some("my_host")),
            ("http://u:p@h:1/a?b=c#d", "USERINFO", Some("u:p")),
            ("http://u:p@h:1/a?b=c#d", "FILE", Some("/a?b=c")),
            ("http://u:p@h:1/a?b=c#d", "REF", Some("d")),
            ("http://1.2.3.4/x", "HOST", Some("1.2.3.4")),
            ("http://[::1]:80/x", "HOST", Some("[::1]")),
            ("http://h", "PATH", Some("")),
            ("http://h?a=1&b=2", "QUERY", Some("a=1&b=2")),
            ("mailto:a@b", "PATH", None),
            ("a/b?c", "FILE", Some("a/b?c")),
            ("http://h/a", "query", None),
        ] {
            let parsed = Url::parse(url).unwrap();
            assert_eq!(parsed.part(part), expected, "{part} of {url}");
        }
        let url = Url::parse("http://h?a=1&b=2&b=3").unwrap();
        assert_eq!(url.query_value("b"), Some("2"));
        assert_eq!(url.query_value("c"), None);
    }

    #[test]
    fn characters_that_must_be_escaped_are_refused() {
        for url in [
            "http://h/a b",
            "http://h/%zz",
            "http://",
            "1a://h",
            "a:",
            "http://h/[x]",
            "http://h/a#b#c",
        ] {
            assert_eq!(Url::parse(url), None, "{url}");
        }
        assert!(Url::parse("http://h/a%20b?x[0]=1").is_some());
    }
}
