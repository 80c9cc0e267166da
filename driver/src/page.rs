//! Serves the page of a run while it goes on.
//!
//! A thread of its own reads the journal's file, and only when a browser asks: the engine's loop is
//! never involved, and a run that no one looks at pays nothing. A page is rendered again after at
//! least ten times as long as it took, so a large run costs at most a tenth of a core.
//!
//! ```text
//!   engine ─► journal ─► FILE.jsonl
//!                            │ reads what was added
//!   browser ◄── HTTP ── page server ─► report::live: LiveRun ─► HTML, JSON
//! ```
//!
//! - `access`: who may look
//! - `pages`: what each address shows
//! - `server`: connections

mod access;
mod pages;
mod server;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::error::Error;
use crate::random::random_hex;
use access::Access;
use pages::Pages;

/// Port of a page whose address was not chosen, as in Spark.
pub const DEFAULT_PORT: u16 = 4040;
/// Number of ports that are tried from [`DEFAULT_PORT`] on.
const PORTS_MAX: u16 = 16;
/// Number of random bytes of a token.
const TOKEN_BYTES: usize = 16;
/// How long the end of a run waits for the thread of the page.
const END_TIMEOUT: Duration = Duration::from_secs(4);

/// Where a page listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageAddress {
    /// On loopback, at the first of a few ports that is free.
    Default,
    /// At this address only.
    Exact(SocketAddr),
}

/// What a page shows, and to whom.
#[derive(Debug, Clone)]
pub struct PageOptions {
    /// The file of the run's journal.
    pub journal: PathBuf,
    /// Where the page listens.
    pub address: PageAddress,
    /// Secret that a browser must present; `None` chooses one for addresses beyond loopback.
    pub token: Option<String>,
    /// Where the logs of driver and executors are, in a sentence.
    pub logs: String,
}

/// Why a page cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// The address is in use, or not one of this machine.
    #[error("{address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why it cannot be used.
        #[source]
        source: std::io::Error,
    },
    /// The thread of the page cannot be started.
    #[error("the thread of the page: {0}")]
    Thread(#[source] std::io::Error),
    /// No token can be made.
    #[error(transparent)]
    Token(#[from] Error),
}

/// A page that is served. Dropping it closes the page at once.
#[derive(Debug)]
pub struct LivePage {
    url: String,
    ending: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

impl LivePage {
    /// Starts to serve a page. The journal need not exist yet.
    ///
    /// # Errors
    /// If the address is in use.
    ///
    /// ```no_run
    /// use faisca_driver::page::{LivePage, PageAddress, PageOptions};
    ///
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let page = LivePage::start(PageOptions {
    ///     journal: "run.jsonl".into(),
    ///     address: PageAddress::Default,
    ///     token: None,
    ///     logs: "On the standard error of this command.".to_owned(),
    /// })?;
    /// println!("{}", page.url());
    /// # Ok(())
    /// # }
    /// ```
    pub fn start(options: PageOptions) -> Result<Self, PageError> {
        let (listener, address) = listen(options.address)?;
        let token = match options.token {
            None if !address.ip().is_loopback() => Some(random_hex(TOKEN_BYTES)?),
            token => token,
        };
        let query = token.as_ref().map(|token| format!("?token={token}"));
        let url = format!("http://{address}/{}", query.unwrap_or_default());
        let pages = Pages::new(options.journal, options.logs, random_hex(TOKEN_BYTES)?);
        let access = token.map_or(Access::Loopback, Access::Token);
        let (ending, ending_signal) = oneshot::channel();
        let (ended_signal, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(PageError::Thread)?;
        let serve = move || {
            let served = server::serve(listener, pages, access, ending_signal);
            tokio::task::LocalSet::new().block_on(&runtime, served);
            // The receiver is dropped if no one waits.
            let _ = ended_signal.send(());
        };
        let thread = std::thread::Builder::new().name("page".to_owned());
        thread.spawn(serve).map_err(PageError::Thread)?;
        Ok(Self { url, ending, ended })
    }

    /// Returns the address for a browser, with the token if one is needed.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends the page. Waits until browsers that show it have its final state, for a few seconds at
    /// most. Called when the journal is complete.
    pub async fn finish(self) {
        // The thread has ended if no one receives this.
        let _ = self.ending.send(());
        let _ = tokio::time::timeout(END_TIMEOUT, self.ended).await;
    }
}

/// Opens a port.
fn listen(address: PageAddress) -> Result<(TcpListener, SocketAddr), PageError> {
    let candidates: Vec<SocketAddr> = match address {
        PageAddress::Exact(address) => vec![address],
        PageAddress::Default => (DEFAULT_PORT..DEFAULT_PORT + PORTS_MAX)
            .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
            .collect(),
    };
    let mut failure = None;
    for address in candidates {
        let opened = TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        });
        match opened {
            Ok(opened) => return Ok(opened),
            Err(source) => failure = Some(PageError::Listen { address, source }),
        }
    }
    Err(failure.unwrap_or_else(|| PageError::Thread(std::io::ErrorKind::AddrInUse.into())))
}
