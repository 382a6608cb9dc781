//! `POST /v1/import/slack`: an export as a zip, imported while progress streams back.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRef, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures::{Stream, StreamExt as _, stream};
use infra::auth::Guard;
use infra::clock::fresh_id;
use infra::failure::Failure;
use infra::http::AnyCaller;
use infra::problem::Problem;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::export::{Export, ExportUnreadable};
use super::report::Line;
use super::run::{Importer, import};
use crate::CommandApi;

/// How long an upload may bring nothing; then it is given up.
const UPLOAD_IDLE_MAX: Duration = Duration::from_mins(1);

/// Lines of progress that wait for a slow reader; further ones are left out, the last line never.
const LINES_WAITING_MAX: usize = 16;

/// What the route needs. Cheap to clone; clones share the one import that may run at a time.
#[derive(Clone)]
pub struct SlackDoor {
    api: CommandApi,
    guard: Arc<Guard>,
    spool: Arc<Path>,
    zip_bytes_max: u64,
    turn: Arc<Semaphore>,
}

impl SlackDoor {
    /// The largest zip that is taken unless said otherwise, in bytes.
    pub const ZIP_BYTES_MAX_DEFAULT: u64 = 4 * 1024 * 1024 * 1024;

    /// Imports through `api`. Uploads wait in the folder `spool`, which is made where there is none,
    /// and take at most `zip_bytes_max` bytes there.
    pub fn new(api: CommandApi, guard: Arc<Guard>, spool: PathBuf, zip_bytes_max: u64) -> Self {
        Self {
            api,
            guard,
            spool: spool.into(),
            zip_bytes_max,
            turn: Arc::new(Semaphore::new(1)),
        }
    }
}

impl FromRef<SlackDoor> for Arc<Guard> {
    fn from_ref(door: &SlackDoor) -> Self {
        Self::clone(&door.guard)
    }
}

/// The route, with its description.
pub fn routes(door: SlackDoor) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(import_slack))
        .with_state(door)
}

/// Import a Slack export
///
/// The body is the zip as Slack makes it. The answer streams a line every so often while the import
/// goes on, and a last line with the report or with a problem. Whoever imports becomes the owner of
/// the export's public channels. The same export again changes nothing; one that was interrupted,
/// also by hanging up, goes on. One import runs at a time.
#[utoipa::path(
    post,
    path = "/v1/import/slack",
    tag = "import",
    request_body(content = Vec<u8>, content_type = "application/zip"),
    responses(
        (status = 200, description = "One JSON object a line", body = Line,
            content_type = "application/x-ndjson"),
        (status = 401, description = "`unauthenticated`", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`: only admins, owners and services with the scope importer", body = Problem,
            content_type = "application/problem+json"),
        (status = 408, description = "`upload_stalled`", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "`import_running`", body = Problem,
            content_type = "application/problem+json"),
        (status = 413, description = "`body_too_large`", body = Problem,
            content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "`unreadable_export`", body = Problem,
            content_type = "application/problem+json"),
    )
)]
async fn import_slack(
    State(door): State<SlackDoor>,
    AnyCaller(caller): AnyCaller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if !caller.is_importer() {
        return Err(Problem::forbidden(
            "only admins, owners and importers import",
        ));
    }
    if !is_zip(&headers) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "The body is not of a type that is taken here",
        )
        .with_detail("send a zip as application/zip"));
    }
    let turn = Arc::clone(&door.turn).try_acquire_owned().map_err(|_| {
        Problem::new(
            StatusCode::CONFLICT,
            "import_running",
            "Another import is running",
        )
        .with_detail("one import runs at a time; try again when it is done")
    })?;
    let file = spool(&door, body).await?;
    let export = tokio::task::spawn_blocking(move || Export::of_zip(file))
        .await
        .map_err(|error| Failure::internal("open an export", error))??;
    let by = Importer {
        actor: caller.actor(),
        // A service owns nothing: public channels are their creators'.
        owner: caller.actor().user(),
    };
    let lines = lines(door.api, export, by, turn).map(|line| written(&line));
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((headers, Body::from_stream(lines)).into_response())
}

impl From<ExportUnreadable> for Problem {
    fn from(unreadable: ExportUnreadable) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "unreadable_export",
            "The export cannot be read",
        )
        .with_detail(unreadable)
    }
}

fn is_zip(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case("application/zip"))
}

/// Takes the body into a file that has no name any more, so that nothing is left of it whatever
/// happens.
async fn spool(door: &SlackDoor, body: Body) -> Result<File, Problem> {
    let mut file = tokio::fs::File::from_std(nameless_file(&door.spool).map_err(not_kept)?);
    let mut chunks = body.into_data_stream();
    let mut taken = 0_u64;
    loop {
        let next = tokio::time::timeout(UPLOAD_IDLE_MAX, chunks.next()).await;
        let Some(chunk) = next.map_err(|_| upload_stalled())? else {
            break;
        };
        let chunk = chunk.map_err(Problem::malformed_body)?;
        taken += chunk.len() as u64;
        if taken > door.zip_bytes_max {
            return Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                "The request body is too large",
            )
            .with_detail(format!("a zip may have {} bytes", door.zip_bytes_max)));
        }
        file.write_all(&chunk).await.map_err(not_kept)?;
    }
    file.flush().await.map_err(not_kept)?;
    Ok(file.into_std().await)
}

fn nameless_file(folder: &Path) -> io::Result<File> {
    fs::create_dir_all(folder)?;
    let path = folder.join(format!("slack-{}.zip", fresh_id()));
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

fn not_kept(error: io::Error) -> Problem {
    let what = "keep an upload";
    if error.kind() == io::ErrorKind::StorageFull {
        Failure::storage_full(what, error).into()
    } else {
        Failure::internal(what, error).into()
    }
}

fn upload_stalled() -> Problem {
    Problem::new(
        StatusCode::REQUEST_TIMEOUT,
        "upload_stalled",
        "The upload came to a halt",
    )
    .with_detail(format!(
        "nothing came for {} seconds",
        UPLOAD_IDLE_MAX.as_secs()
    ))
}

/// Runs the import and yields its lines. It stops when nobody reads them any more.
fn lines(
    api: CommandApi,
    export: Export,
    by: Importer,
    turn: OwnedSemaphorePermit,
) -> impl Stream<Item = Line> + Send {
    let (sender, receiver) = mpsc::channel(LINES_WAITING_MAX);
    tokio::spawn(async move {
        let _turn = turn;
        let progress = sender.clone();
        let importing = import(&api, export, by, move |at| {
            // What a slow reader has no room for, the next line tells.
            let _ = progress.try_send(Line::Progress(at));
        });
        let last = tokio::select! {
            outcome = importing => match outcome {
                Ok(report) => Line::Done(Box::new(report)),
                Err(problem) => Line::Problem(problem),
            },
            () = sender.closed() => {
                tracing::info!("an import stopped, as nobody reads its progress any more");
                return;
            }
        };
        // Whoever hung up now learns the outcome by importing again.
        let _ = sender.send(last).await;
    });
    stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|line| (line, receiver))
    })
}

fn written(line: &Line) -> Result<Bytes, serde_json::Error> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    Ok(text.into())
}
