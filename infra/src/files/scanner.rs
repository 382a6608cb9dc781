//! A scanner for bad things in files: `clamd` of `ClamAV`, or what speaks its `INSTREAM` over TCP
//! (<https://docs.clamav.net/manual/Usage/Scanning.html#clamd>). Where it does not answer, nothing is known to be good.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::failure::Failure;

/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How long each write, and the answer, may take.
const STEP_MAX: Duration = Duration::from_mins(1);

/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 4 * 1024;

/// Bytes that are sent as one chunk at most.
const CHUNK: usize = 256 * 1024;

/// What failed.
const SCAN: &str = "scan a file";

/// Where a scanner is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scanner {
    address: String,
}

/// What a scanner says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It knows nothing bad of it.
    Clean,
    /// It found this in it.
    Found(String),
}

/// An address of no scanner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scanner's address is clamd://host:port")]
pub struct ScannerAddressInvalid;

/// Why a file was not looked at.
#[derive(Debug, thiserror::Error)]
enum NotScanned {
    #[error("the scanner did not answer in time")]
    TooLate,
    #[error("the scanner said: {0}")]
    Said(String),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Scanner {
    /// The scanner at `clamd://host:port`.
    pub fn new(url: &str) -> Result<Self, ScannerAddressInvalid> {
        let address = url.strip_prefix("clamd://").ok_or(ScannerAddressInvalid)?;
        let (host, port) = address.rsplit_once(':').ok_or(ScannerAddressInvalid)?;
        if host.is_empty() || port.parse::<u16>().is_err() || address.contains(['/', '?', '@']) {
            return Err(ScannerAddressInvalid);
        }
        Ok(Self {
            address: address.to_owned(),
        })
    }

    /// What the scanner says of what `file` brings.
    ///
    /// # Errors
    /// It did not say; or the file cannot be read.
    pub async fn scan(
        &self,
        mut file: impl Stream<Item = Result<Bytes, Failure>> + Unpin,
    ) -> Result<Verdict, Failure> {
        let failed = |error: NotScanned| Failure::unavailable(SCAN, error);
        let connected = in_time(CONNECT_MAX, TcpStream::connect(&self.address)).await;
        let mut clamd = connected.map_err(failed)?;
        in_time(STEP_MAX, clamd.write_all(b"zINSTREAM\0"))
            .await
            .map_err(failed)?;
        let mut cut = None;
        'file: while let Some(bytes) = file.next().await {
            for chunk in bytes?.chunks(CHUNK) {
                if let Err(error) = send(&mut clamd, chunk).await {
                    cut = Some(error);
                    break 'file;
                }
            }
        }
        if cut.is_none() {
            // An empty chunk ends the file.
            cut = in_time(STEP_MAX, clamd.write_all(&[0; 4])).await.err();
        }
        // A scanner that hangs up early, as where a file is too long for it, says why first.
        let mut answer = Vec::new();
        let mut said = clamd.take(ANSWER_BYTES_MAX);
        let read = in_time(STEP_MAX, said.read_to_end(&mut answer)).await;
        if let (Err(error), true) = (read, answer.is_empty()) {
            return Err(failed(cut.unwrap_or(error)));
        }
        verdict(&String::from_utf8_lossy(&answer)).map_err(failed)
    }
}

async fn send(clamd: &mut TcpStream, chunk: &[u8]) -> Result<(), NotScanned> {
    let length = u32::try_from(chunk.len()).unwrap_or(u32::MAX).to_be_bytes();
    in_time(STEP_MAX, clamd.write_all(&length)).await?;
    in_time(STEP_MAX, clamd.write_all(chunk)).await
}

async fn in_time<T>(
    longest: Duration,
    step: impl Future<Output = std::io::Result<T>>,
) -> Result<T, NotScanned> {
    let done = timeout(longest, step).await;
    Ok(done.map_err(|_| NotScanned::TooLate)??)
}

/// `stream: OK`, `stream: NAME FOUND`, or something else, which is no word on the file.
fn verdict(answer: &str) -> Result<Verdict, NotScanned> {
    let answer = answer.trim_end_matches(['\0', '\n']).trim();
    match answer.strip_prefix("stream: ") {
        Some("OK") => Ok(Verdict::Clean),
        Some(said) if said.ends_with(" FOUND") => {
            Ok(Verdict::Found(said.trim_end_matches(" FOUND").to_owned()))
        }
        Some(_) | None => Err(NotScanned::Said(answer.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureSort;
    use futures::stream;
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    /// A scanner that takes one file and says `answer` of it.
    async fn clamd(answer: &'static str) -> (Scanner, JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let taken = tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut begin = [0; 10];
            client.read_exact(&mut begin).await.unwrap();
            assert_eq!(&begin, b"zINSTREAM\0");
            let mut file = Vec::new();
            loop {
                let length = client.read_u32().await.unwrap();
                if length == 0 {
                    break;
                }
                let mut chunk = vec![0; usize::try_from(length).unwrap()];
                client.read_exact(&mut chunk).await.unwrap();
                file.extend(chunk);
            }
            client.write_all(answer.as_bytes()).await.unwrap();
            file
        });
        (Scanner::new(&format!("clamd://{address}")).unwrap(), taken)
    }

    fn file(pieces: &[&'static [u8]]) -> impl Stream<Item = Result<Bytes, Failure>> + Unpin {
        let pieces: Vec<_> = pieces.iter().map(|it| Ok(Bytes::from_static(it))).collect();
        stream::iter(pieces)
    }

    #[tokio::test]
    async fn a_file_is_sent_whole_and_the_answer_understood() {
        let (scanner, taken) = clamd("stream: OK\0").await;
        let verdict = scanner.scan(file(&[b"tea ", b"and cake"])).await.unwrap();
        assert_eq!(verdict, Verdict::Clean);
        assert_eq!(taken.await.unwrap(), b"tea and cake");
        let (scanner, _) = clamd("stream: Eicar-Test-Signature FOUND\0").await;
        let verdict = scanner.scan(file(&[b"X5O!"])).await.unwrap();
        assert_eq!(verdict, Verdict::Found("Eicar-Test-Signature".to_owned()));
    }

    #[tokio::test]
    async fn what_was_not_looked_at_is_not_good() {
        let (scanner, _) = clamd("INSTREAM size limit exceeded. ERROR\0").await;
        let failure = scanner.scan(file(&[b"long"])).await.unwrap_err();
        assert_eq!(failure.sort(), FailureSort::Unavailable);
        assert!(failure.to_string().contains("size limit"), "{failure}");
        let (scanner, _) = clamd("").await;
        assert!(scanner.scan(file(&[b"tea"])).await.is_err());
        let gone = Scanner::new("clamd://127.0.0.1:1").unwrap();
        let failure = gone.scan(file(&[b"tea"])).await.unwrap_err();
        assert_eq!(failure.sort(), FailureSort::Unavailable);
    }

    #[test]
    fn a_scanner_has_a_host_and_a_port() {
        assert!(Scanner::new("clamd://scanner.internal:3310").is_ok());
        assert!(Scanner::new("clamd://[::1]:3310").is_ok());
        for bad in [
            "",
            "localhost:3310",
            "clamd://",
            "clamd://host",
            "clamd://host:x",
            "clamd://:1",
        ] {
            assert_eq!(Scanner::new(bad), Err(ScannerAddressInvalid), "{bad}");
        }
    }
}
