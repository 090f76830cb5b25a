//! One file over HTTP: resumed after a break, given up quickly where nobody answers.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, LOCATION, RANGE};
use reqwest::{Client, Response, StatusCode, Url};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::disk;
use super::error::{ModelError, SourceError};
use super::hash;
use super::progress::Bar;

/// From the first attempt to reach a host until the first line of its answer; a person waits.
const CONTACT: Duration = Duration::from_secs(4);
/// A transfer that brings nothing for so long has broken off.
const STALL: Duration = Duration::from_secs(15);
/// A transfer that keeps breaking off, though it moves on each time, is given up after so many.
const ATTEMPTS: usize = 5;
/// A file of which no size was known beforehand is no larger.
const LARGEST: u64 = 4 << 30;
/// Hubs redirect to their storage, at times twice.
const REDIRECTS: usize = 5;

/// A file to download.
pub(super) struct Wanted<'a> {
    pub url: &'a str,
    /// Bytes; without them, what the other side says.
    pub size: Option<u64>,
    pub sha256: Option<&'a str>,
    pub md5: Option<&'a str>,
}

/// What the other side has said of a file.
#[derive(Default)]
struct Told {
    size: Option<u64>,
    /// Of its content, as hubs state it for large files.
    sha256: Option<String>,
}

/// Downloads files, and remembers which hosts nobody answers at.
pub(super) struct Http {
    runtime: Runtime,
    client: Client,
    silent_hosts: RefCell<HashSet<String>>,
}

/// Why a transfer ended early.
enum Broken {
    /// It may go on from where it stopped.
    OffAt(String),
    /// No use in trying here again.
    ForGood(SourceError),
}

impl<E: Into<SourceError>> From<E> for Broken {
    fn from(error: E) -> Self {
        Self::ForGood(error.into())
    }
}

fn unusable(message: impl Into<String>) -> SourceError {
    SourceError::Unusable(message.into())
}

impl Http {
    pub(super) fn new() -> Result<Self, SourceError> {
        // Fails only if the program has installed one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| unusable(format!("no network runtime ({error})")))?;
        let client = Client::builder()
            .connect_timeout(CONTACT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("eva-voice/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| unusable(format!("no HTTP client ({error})")))?;
        Ok(Self { runtime, client, silent_hosts: RefCell::default() })
    }

    /// Downloads into `part`, going on from what is there; the file is kept when the transfer
    /// breaks off, and removed when its content is wrong.
    pub(super) fn download(
        &self,
        wanted: &Wanted,
        part: &Path,
        bar: &Bar,
    ) -> Result<String, SourceError> {
        let url = Url::parse(wanted.url)
            .map_err(|error| unusable(format!("{} is no address ({error})", wanted.url)))?;
        let host = url.authority().to_owned();
        if self.silent_hosts.borrow().contains(&host) {
            return Err(SourceError::OutOfReach(format!("{host} did not answer before")));
        }
        let mut told = Told::default();
        let outcome = self.transfer(&url, wanted, part, bar, &mut told);
        if matches!(outcome, Err(SourceError::OutOfReach(_))) {
            self.silent_hosts.borrow_mut().insert(host);
        }
        outcome?;
        let local = |error| ModelError::io(part, error);
        let found = hash::of_file(part).map_err(local)?;
        let wrong = |kind: &str, found: &str| {
            let _ = std::fs::remove_file(part);
            unusable(format!(
                "what {} sent has the wrong {kind} ({found}); it was thrown away",
                wanted.url
            ))
        };
        if wanted.sha256.or(told.sha256.as_deref()).is_some_and(|sha256| sha256 != found) {
            return Err(wrong("sha256", &found));
        }
        if let Some(published) = wanted.md5 {
            let md5 = hash::md5_of_file(part).map_err(local)?;
            if md5 != published {
                return Err(wrong("MD5", &md5));
            }
        }
        Ok(found)
    }

    fn transfer(
        &self,
        url: &Url,
        wanted: &Wanted,
        part: &Path,
        bar: &Bar,
        told: &mut Told,
    ) -> Result<(), SourceError> {
        if wanted.size.is_none() {
            // What an earlier run left cannot be told from a whole file.
            let _ = std::fs::remove_file(part);
        }
        let mut left = ATTEMPTS;
        loop {
            let before = length(part);
            let error = match self.runtime.block_on(self.once(url, wanted, part, bar, told)) {
                Ok(()) => return Ok(()),
                Err(Broken::ForGood(error)) => return Err(error),
                Err(Broken::OffAt(error)) => error,
            };
            left -= 1;
            if left == 0 || length(part) <= before {
                return Err(unusable(format!("the transfer broke off ({error})")));
            }
        }
    }

    /// One request and its body.
    async fn once(
        &self,
        url: &Url,
        wanted: &Wanted<'_>,
        part: &Path,
        bar: &Bar,
        told: &mut Told,
    ) -> Result<(), Broken> {
        let local = |error| ModelError::io(part, error);
        let mut have = length(part);
        if let Some(size) = wanted.size.or(told.size) {
            if have > size {
                std::fs::remove_file(part).map_err(local)?;
                have = 0;
            } else if have == size {
                return Ok(());
            }
        }
        let mut response = self.reach(url, have, wanted, told).await?;
        let mut file = OpenOptions::new().create(true).append(true).open(part).map_err(local)?;
        match response.status() {
            StatusCode::OK => start_over(&mut file).map_err(local)?,
            StatusCode::PARTIAL_CONTENT if starts_at(&response, have) => {}
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                start_over(&mut file).map_err(local)?;
                return Err(Broken::OffAt("it could not be resumed".to_owned()));
            }
            status => return Err(unusable(format!("{url} answers {status}")).into()),
        }
        let mut at = length(part);
        let total = response.content_length().map(|rest| at + rest);
        let size = size_of(wanted, told, total, url, part)?;
        bar.of(size);
        bar.resume_at(at);
        while at < size {
            let chunk = match timeout(STALL, response.chunk()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => return Err(Broken::OffAt("it ended early".to_owned())),
                Ok(Err(error)) => return Err(Broken::OffAt(reason(&error))),
                Err(_) => return Err(Broken::OffAt("nothing came for 15 s".to_owned())),
            };
            at += chunk.len() as u64;
            if at > size {
                start_over(&mut file).map_err(local)?;
                return Err(unusable(format!("{url} sends more than it should")).into());
            }
            file.write_all(&chunk).map_err(local)?;
            bar.at(at);
        }
        Ok(file.sync_all().map_err(local)?)
    }

    /// Sends the request and follows redirects until there is an answer.
    async fn reach(
        &self,
        url: &Url,
        have: u64,
        wanted: &Wanted<'_>,
        told: &mut Told,
    ) -> Result<Response, SourceError> {
        let host = url.authority().to_owned();
        let follow = async {
            let mut url = url.clone();
            for _ in 0..REDIRECTS {
                let mut request = self.client.get(url.clone());
                if have > 0 {
                    request = request.header(RANGE, format!("bytes={have}-"));
                }
                let response = request.send().await.map_err(|error| {
                    SourceError::OutOfReach(format!("{host}: {}", reason(&error)))
                })?;
                note_stated_hash(&response, wanted, told)?;
                if !response.status().is_redirection() {
                    return Ok(response);
                }
                url = response
                    .headers()
                    .get(LOCATION)
                    .and_then(|to| url.join(to.to_str().ok()?).ok())
                    .ok_or_else(|| unusable(format!("{url} redirects to nowhere")))?;
            }
            Err(unusable(format!("{url} redirects in circles")))
        };
        timeout(CONTACT, follow)
            .await
            .unwrap_or_else(|_| Err(SourceError::OutOfReach(format!("{host} does not answer"))))
    }
}

/// The bytes that are to come in all: those asked for, or those the other side speaks of.
fn size_of(
    wanted: &Wanted,
    told: &mut Told,
    total: Option<u64>,
    url: &Url,
    part: &Path,
) -> Result<u64, SourceError> {
    let Some(size) = wanted.size.or(told.size).or(total) else {
        return Err(unusable(format!("{url} does not say how long its file is")));
    };
    if total.is_some_and(|total| total != size) {
        return Err(unusable(format!("{url} holds a file of another size")));
    }
    if wanted.size.is_none() && told.size.is_none() {
        if size > LARGEST {
            return Err(unusable(format!("{url} holds a file of {size} bytes, which is too much")));
        }
        disk::check_room(part.parent().unwrap_or(part), size)?;
        told.size = Some(size);
    }
    Ok(size)
}

/// The hub states the hash of a large file before it sends it: a wrong one saves the transfer, and
/// where none is known otherwise, what comes is held against it.
fn note_stated_hash(
    response: &Response,
    wanted: &Wanted,
    told: &mut Told,
) -> Result<(), SourceError> {
    let Some(stated) = response.headers().get("x-linked-etag").and_then(|tag| tag.to_str().ok())
    else {
        return Ok(());
    };
    let stated = stated.trim_matches('"');
    if stated.len() != 64 {
        return Ok(());
    }
    if wanted.sha256.is_some_and(|sha256| sha256 != stated) {
        return Err(unusable(format!("{} now holds another file ({stated})", wanted.url)));
    }
    told.sha256 = Some(stated.to_owned());
    Ok(())
}

fn start_over(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0)).map(|_| ())
}

fn starts_at(response: &Response, at: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {at}-")))
}

/// Bytes of a file; 0 if there is none.
pub(super) fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |meta| meta.len())
}

/// The innermost cause, which is what a person can act on.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
