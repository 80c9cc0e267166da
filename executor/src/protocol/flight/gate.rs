//! Judges each request by its headers: the job's token first, then the method, then the size that
//! its body may have.
//!
//! **No byte of a body is decoded before the token is checked.** tonic decodes the only message of
//! a unary request before it calls the method, so the check cannot be left to the methods.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::Either;
use http::{HeaderMap, Request, Response};
use http_body_util::Limited;
use tonic::Status;
use tonic::body::Body;
use tower_service::Service;

use super::accept::Visitor;

/// Path of Flight's methods.
const SERVICE: &str = "/arrow.flight.protocol.FlightService/";
/// Largest request for blocks. The request for 5,000 blocks has 40 kB.
const TICKET_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A service that only requests with the job's token reach.
#[derive(Clone)]
pub(super) struct Gate<S> {
    methods: S,
    /// Value of the header `authorization`.
    expected: Arc<str>,
}

/// What a method's request consists of.
enum Method {
    /// One message.
    Unary,
    /// A stream of messages, each with a limit of its own.
    Stream,
}

impl Method {
    fn from_path(path: &str) -> Option<Self> {
        match path.strip_prefix(SERVICE)? {
            "DoGet" => Some(Self::Unary),
            "DoPut" | "DoExchange" => Some(Self::Stream),
            _ => None,
        }
    }
}

impl<S> Gate<S> {
    pub(super) fn new(methods: S, token: &str) -> Self {
        Self {
            methods,
            expected: format!("Bearer {token}").into(),
        }
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let actual = headers.get(http::header::AUTHORIZATION);
        let actual = actual.map(http::HeaderValue::as_bytes).unwrap_or_default();
        // Compares every byte, so that the time does not depend on the number of correct bytes.
        let differences = actual
            .iter()
            .zip(self.expected.as_bytes())
            .fold(0, |differences, (a, b)| differences | (a ^ b));
        actual.len() == self.expected.len() && differences == 0
    }

    /// Returns the kind of the method if the request may reach it.
    fn admit(&self, request: &Request<Body>) -> Result<Method, Status> {
        let visitor = request.extensions().get::<Visitor>();
        if !self.has_token(request.headers()) {
            if let Some(visitor) = visitor {
                visitor.count_refusal();
            }
            return Err(Status::unauthenticated(
                "the job's token is missing or wrong",
            ));
        }
        if let Some(visitor) = visitor {
            visitor.admit();
        }
        Method::from_path(request.uri().path()).ok_or_else(|| {
            Status::unimplemented(
                "Faísca serves DoGet and DoPut of blocks, and DoExchange on the driver",
            )
        })
    }
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.methods.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let request = match self.admit(&request) {
            Ok(Method::Unary) => {
                request.map(|body| Body::new(Limited::new(body, TICKET_BYTES_MAX)))
            }
            Ok(Method::Stream) => request,
            Err(status) => return Either::Right(ready(Ok(status.into_http()))),
        };
        Either::Left(self.methods.call(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, token: Option<&str>) -> Request<Body> {
        let mut request = Request::builder().uri(format!("http://driver{SERVICE}{method}"));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        request.body(Body::empty()).unwrap()
    }

    fn refusal(method: &str, token: Option<&str>) -> Option<tonic::Code> {
        let gate = Gate::new((), "secret");
        gate.admit(&request(method, token))
            .err()
            .map(|status| status.code())
    }

    #[test]
    fn every_method_of_flight_needs_the_token() {
        let methods = [
            "DoGet",
            "DoPut",
            "DoExchange",
            "DoAction",
            "GetFlightInfo",
            "GetSchema",
            "Handshake",
            "ListActions",
            "ListFlights",
            "PollFlightInfo",
        ];
        for method in methods {
            for token in [
                None,
                Some(""),
                Some("secre"),
                Some("Secret"),
                Some("secret2"),
            ] {
                let code = refusal(method, token);
                assert_eq!(
                    code,
                    Some(tonic::Code::Unauthenticated),
                    "{method} {token:?}"
                );
            }
        }
    }

    #[test]
    fn methods_that_are_not_served_are_refused_by_their_path() {
        for method in ["DoGet", "DoPut", "DoExchange"] {
            assert_eq!(refusal(method, Some("secret")), None, "{method}");
        }
        let code = refusal("GetFlightInfo", Some("secret"));
        assert_eq!(code, Some(tonic::Code::Unimplemented));
    }
}
