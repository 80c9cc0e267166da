//! Who may look at a page.
//!
//! A page on loopback is for all users of this machine. A page of another site could still reach it
//! through a name that it lets point to this machine, so the name in the request must be a local
//! one. Any other page needs a token, which a browser gets as a parameter once and keeps as a
//! cookie.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, COOKIE, HOST};
use http::request::Parts;

/// Name of the cookie and of the parameter with the token.
const COOKIE_NAME: &str = "faisca-page";
const PARAMETER: &str = "token";

/// Who may look at a page.
#[derive(Debug)]
pub(super) enum Access {
    /// Processes of this machine.
    Loopback,
    /// Who presents this secret.
    Token(String),
}

/// Whether a request is allowed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Allowed,
    /// It presented the token as a parameter: the browser is to keep this cookie, and to request
    /// the address without the token, which would stay in its history otherwise.
    Remember {
        cookie: String,
    },
    /// It is refused, for this reason.
    Refused(&'static str),
}

impl Access {
    pub(super) fn check(&self, request: &Parts) -> Verdict {
        match self {
            Self::Loopback if is_local(request) => Verdict::Allowed,
            Self::Loopback => Verdict::Refused("open this page as localhost or 127.0.0.1\n"),
            Self::Token(token) => {
                if parameter(request, PARAMETER).is_some_and(|value| is_equal(value, token)) {
                    let cookie =
                        format!("{COOKIE_NAME}={token}; Path=/; HttpOnly; SameSite=Strict");
                    Verdict::Remember { cookie }
                } else if presented(request).any(|value| is_equal(value, token)) {
                    Verdict::Allowed
                } else {
                    Verdict::Refused(
                        "open this page with the address that its driver printed: it has a token\n",
                    )
                }
            }
        }
    }
}

/// Returns the value of a parameter of a request's address.
pub(super) fn parameter<'r>(request: &'r Parts, name: &str) -> Option<&'r str> {
    let mut pairs = request.uri.query()?.split('&');
    pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// Returns the tokens that the headers of a request present.
fn presented(request: &Parts) -> impl Iterator<Item = &str> {
    let header = request.headers.get(AUTHORIZATION);
    let bearer = header.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let cookies = request.headers.get_all(COOKIE).into_iter();
    let pairs = cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'));
    let values = pairs.filter_map(|pair| pair.trim().strip_prefix(COOKIE_NAME)?.strip_prefix('='));
    values.chain(bearer)
}

/// Whether a request names this machine by a local name.
fn is_local(request: &Parts) -> bool {
    let host = request.headers.get(HOST);
    let Some(host) = host.and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Compares in a time that does not depend on where two texts differ.
fn is_equal(value: &str, token: &str) -> bool {
    let pairs = value.bytes().zip(token.bytes());
    let difference = pairs.fold(0, |difference, (a, b)| difference | (a ^ b));
    value.len() == token.len() && difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut builder = http::Request::builder().uri(uri);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_page_on_loopback_is_refused_under_a_name_of_another_site() {
        let verdict = |host| Access::Loopback.check(&request("/", &[("host", host)]));
        for local in [
            "localhost:4040",
            "127.0.0.1:4040",
            "[::1]:4040",
            "LOCALHOST",
            "127.0.0.1",
        ] {
            assert_eq!(verdict(local), Verdict::Allowed, "{local}");
        }
        for other in [
            "example.com:4040",
            "127.0.0.1.example.com",
            "10.0.0.1:4040",
            "",
        ] {
            assert!(matches!(verdict(other), Verdict::Refused(_)), "{other}");
        }
        let without = Access::Loopback.check(&request("/", &[]));
        assert!(matches!(without, Verdict::Refused(_)));
    }

    #[test]
    fn a_token_is_accepted_once_as_a_parameter_and_then_as_a_cookie() {
        let access = Access::Token("abc".to_owned());
        let verdict = access.check(&request("/?token=abc", &[]));
        let Verdict::Remember { cookie } = verdict else {
            panic!("{verdict:?}");
        };
        let value = cookie.split(';').next().unwrap();
        let cookies = format!("other=1; {value}");
        let allowed = [
            ("cookie", cookies.as_str()),
            ("authorization", "Bearer abc"),
        ];
        for header in allowed {
            assert_eq!(access.check(&request("/", &[header])), Verdict::Allowed);
        }
        for wrong in [
            "/",
            "/?token=ab",
            "/?token=abcd",
            "/?token=abd",
            "/?xtoken=abc",
        ] {
            let verdict = access.check(&request(wrong, &[("host", "localhost")]));
            assert!(matches!(verdict, Verdict::Refused(_)), "{wrong}");
        }
    }
}
