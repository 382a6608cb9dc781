//! The one place where errors become HTTP answers: problems as in RFC 9457, with a stable `code`.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use domain::session::Factor;
use domain::{Refusal, RefusalKind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::failure::{Failure, FailureSort};
use crate::limits::Exceeded;
use crate::trace::TraceParent;

/// A problem, as RFC 9457 shapes it. Its JSON is also what `error` frames carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// Stable name of the problem, `snake_case`. Programs decide by it.
    pub code: String,
    /// The same for people, without particulars.
    pub title: String,
    /// What was wrong this time, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The fields that were wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
    /// Names the request in our logs and traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Seconds after which trying again makes sense; also the `Retry-After` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
    /// With `second_factor_required`: how the login goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_factor: Option<Box<SecondFactorAsked>>,
}

/// What a login still needs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecondFactorAsked {
    /// To be sent with a second factor to `POST /v1/sessions/second-factor`.
    pub ticket: String,
    /// What would do.
    pub ways: BTreeSet<Factor>,
    /// From this moment on the ticket is worth nothing.
    pub expires_at: DateTime<Utc>,
}

impl fmt::Debug for SecondFactorAsked {
    /// Without the ticket.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SecondFactorAsked({:?})", self.ways)
    }
}

/// A field that was wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldProblem {
    /// JSON Pointer (RFC 6901) into the body, or `?name` for a query parameter.
    pub pointer: String,
    /// Stable name of the broken rule, `snake_case`.
    pub code: String,
    /// The rule.
    pub detail: String,
}

impl Problem {
    /// A problem without particulars.
    pub fn new(status: StatusCode, code: &str, title: &str) -> Self {
        Self {
            status: status.as_u16(),
            code: code.to_owned(),
            title: title.to_owned(),
            detail: None,
            errors: Vec::new(),
            trace_id: None,
            retry_after_s: None,
            second_factor: None,
        }
    }

    /// Says what was wrong this time.
    #[must_use]
    pub fn with_detail(mut self, detail: impl fmt::Display) -> Self {
        self.detail = Some(detail.to_string());
        self
    }

    /// Points at a field that was wrong.
    #[must_use]
    pub fn with_field(mut self, pointer: &str, code: &str, detail: impl fmt::Display) -> Self {
        self.errors.push(FieldProblem {
            pointer: pointer.to_owned(),
            code: code.to_owned(),
            detail: detail.to_string(),
        });
        self
    }

    /// 422 `invalid_body`: the JSON is well-formed but a field is not what it should be.
    pub fn invalid_field(pointer: &str, code: &str, detail: impl fmt::Display) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_body",
            "The request body is not valid",
        )
        .with_field(pointer, code, detail)
    }

    /// 400 `malformed_body`: not the JSON that was asked for.
    pub fn malformed_body(detail: impl fmt::Display) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "malformed_body",
            "The request body cannot be read",
        )
        .with_detail(detail)
    }

    /// 400 `invalid_query`: a query parameter is not what it should be.
    pub fn invalid_query(name: &str, detail: impl fmt::Display) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "invalid_query",
            "A query parameter is not valid",
        )
        .with_field(&format!("?{name}"), "invalid", detail)
    }

    /// 401 `unauthenticated`: no token, or one that is worth nothing.
    pub fn unauthenticated(detail: impl fmt::Display) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "Log in first").with_detail(detail)
    }

    /// 403 `forbidden`: the asker's roles do not allow it.
    pub fn forbidden(detail: impl fmt::Display) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "This is not allowed").with_detail(detail)
    }

    /// 404: there is no such thing, or the asker may not know of it.
    pub fn not_found(code: &str, detail: impl fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, "There is no such thing").with_detail(detail)
    }

    /// 429 `rate_limited`: the asker, or everybody at their address, asked for too much.
    pub fn rate_limited(retry_after: Duration) -> Self {
        let title = "Too many requests";
        let mut problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", title);
        // Rounded up: a client that waits exactly so long must not come too early.
        let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        problem.retry_after_s = Some(seconds.max(1));
        problem
    }

    /// 408 `request_timeout`: the request, or its answer, took too long.
    pub fn request_timeout(detail: impl fmt::Display) -> Self {
        let title = "The request took too long";
        Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", title).with_detail(detail)
    }

    /// What a refusal of the domain becomes.
    pub fn refused(refusal: &impl Refusal) -> Self {
        let (status, title) = match refusal.kind() {
            RefusalKind::Forbidden => (StatusCode::FORBIDDEN, "This is not allowed"),
            RefusalKind::NotFound => (StatusCode::NOT_FOUND, "There is no such thing"),
            RefusalKind::Conflict => (StatusCode::CONFLICT, "This cannot be done now"),
            RefusalKind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "This cannot be done"),
        };
        let mut problem = Self::new(status, refusal.code(), title).with_detail(refusal);
        problem.retry_after_s = refusal.wait_s().map(u64::from);
        problem
    }

    /// The status as a type.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.title, self.code)?;
        if let Some(detail) = &self.detail {
            write!(out, ": {detail}")?;
        }
        for field in &self.errors {
            write!(out, "; {}: {}", field.pointer, field.detail)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

impl From<Exceeded> for Problem {
    fn from(exceeded: Exceeded) -> Self {
        Self::rate_limited(exceeded.retry_after)
    }
}

impl From<Failure> for Problem {
    /// Logs the failure, once, and tells outsiders no more than they need.
    fn from(failure: Failure) -> Self {
        match failure.sort() {
            FailureSort::StorageFull => {
                tracing::error!(%failure, "the disk is full");
                let mut problem = Self::new(
                    StatusCode::INSUFFICIENT_STORAGE,
                    "storage_full",
                    "The server has no room left",
                )
                .with_detail("nothing was stored; try again once there is room");
                problem.retry_after_s = Some(5);
                problem
            }
            FailureSort::Unavailable => {
                tracing::warn!(%failure, "something is away");
                let mut problem = Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "unavailable",
                    "The server cannot do this now",
                )
                .with_detail("try again, with the same Idempotency-Key");
                problem.retry_after_s = Some(1);
                problem
            }
            FailureSort::Internal => {
                tracing::error!(%failure, "a request failed");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    "The server failed",
                )
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        if self.trace_id.is_none() {
            self.trace_id = TraceParent::current().map(|trace| trace.trace_id());
        }
        let retry_after = self.retry_after_s;
        let cut_short = matches!(
            self.status(),
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT
        );
        let unauthenticated = self.status() == StatusCode::UNAUTHORIZED;
        let mut response = (self.status(), Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if cut_short {
            // The rest of the body was not read: nothing else can come on this connection.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
