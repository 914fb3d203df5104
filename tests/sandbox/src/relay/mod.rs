//! A relay on the loopback before a server: it passes every piece on, after a while if that is wanted, and tells a watch what is
//! asked and answered.

mod requests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_rustls::TlsConnector;

pub use requests::{Asked, Kill, Moment, Requests};

use requests::Conversation;

/// What may be under way in one direction of a connection, in pieces of at most 64 KiB.
const PIECES: usize = 256;

/// How the server behind a relay is spoken to.
#[derive(Clone)]
pub enum Behind {
    /// As whoever asks does.
    AsItIs(SocketAddr),
    /// In TLS, while whoever asks speaks in clear, so that the watch sees where a request begins.
    Tls(SocketAddr, Arc<ClientConfig>),
}

/// The relay; gone with all its connections when dropped.
pub struct Relay {
    address: SocketAddr,
    task: AbortHandle,
}

impl Relay {
    /// Listens, and passes what comes on to a server, each piece so much later than it came. Nothing waits for what is before it
    /// longer than that: a fast sender stays as fast.
    pub async fn before(server: Behind, delay: Duration, requests: Arc<Requests>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, peer)) = listener.accept().await {
                let (server, watch) = (server.clone(), requests.conversation(peer));
                connections.spawn(async move {
                    client.set_nodelay(true)?;
                    match server {
                        Behind::AsItIs(address) => join(client, dial(address).await?, delay, &watch).await,
                        Behind::Tls(address, config) => {
                            let name = ServerName::from(address.ip());
                            let stream = TlsConnector::from(config).connect(name, dial(address).await?).await?;
                            join(client, stream, delay, &watch).await
                        }
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, task: task.abort_handle() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn join(
    client: TcpStream,
    server: impl AsyncRead + AsyncWrite,
    delay: Duration,
    watch: &Conversation,
) -> io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = split(server);
    tokio::try_join!(
        pass(&mut from_client, &mut to_server, delay, |piece| watch.asks(piece)),
        pass(&mut from_server, &mut to_client, delay, |_| watch.answers()),
    )?;
    Ok(())
}

/// Passes one direction on until its end, an empty piece, which comes as late as everything else. What `tell` refuses goes no
/// further, and the connection ends.
async fn pass(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    delay: Duration,
    tell: impl Fn(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
    let read = async move {
        loop {
            let mut piece = Vec::with_capacity(64 << 10);
            let end = from.read_buf(&mut piece).await? == 0;
            tell(&piece)?;
            // Nobody takes it any more once the other end is gone.
            if sender.send((Instant::now() + delay, piece)).await.is_err() || end {
                return Ok(());
            }
        }
    };
    let write = async {
        while let Some((due, piece)) = receiver.recv().await {
            if !delay.is_zero() {
                sleep_until(due).await;
            }
            if piece.is_empty() {
                return to.shutdown().await;
            }
            to.write_all(&piece).await?;
            to.flush().await?;
        }
        Ok(())
    };
    tokio::try_join!(read, write).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_comes_late_and_whole() -> io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let server = Behind::AsItIs(listener.local_addr()?);
        let requests = Requests::of_everybody();
        let late = Relay::before(server, Duration::from_millis(40), requests.clone()).await?;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await?;
            let mut request = Vec::new();
            stream.read_to_end(&mut request).await?;
            stream.write_all(&request).await
        });
        let mut client = TcpStream::connect(late.address()).await?;
        let begun = Instant::now();
        let question = vec![7_u8; 300_000];
        client.write_all(&question).await?;
        client.shutdown().await?;
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await?;
        assert!(answer == question && begun.elapsed() >= Duration::from_millis(80));
        assert_eq!(requests.asked().len(), 1);
        server.await??;
        Ok(())
    }

    /// A server that notes each request of four bytes and answers it.
    async fn notes(listener: TcpListener) -> io::Result<Vec<[u8; 4]>> {
        let (mut stream, _) = listener.accept().await?;
        let (mut noted, mut request) = (Vec::new(), [0; 4]);
        while stream.read_exact(&mut request).await.is_ok() {
            noted.push(request);
            stream.write_all(b"done").await?;
        }
        Ok(noted)
    }

    #[tokio::test]
    async fn whoever_asks_is_killed_before_a_request_or_before_its_answer() -> io::Result<()> {
        for (moment, arrived) in [(Moment::Unsent, 1), (Moment::Unanswered, 2)] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let server = Behind::AsItIs(listener.local_addr()?);
            let requests = Requests::of_everybody();
            let relay = Relay::before(server, Duration::ZERO, requests.clone()).await?;
            let server = tokio::spawn(notes(listener));
            let mut victim = requests.start(
                tokio::process::Command::new("sleep").arg("60"),
                Some(Kill { request: 2, moment, other: None }),
            )?;
            let mut client = TcpStream::connect(relay.address()).await?;
            let mut answer = [0; 4];
            client.write_all(b"one.").await?;
            client.read_exact(&mut answer).await?;
            client.write_all(b"two.").await?;
            assert!(client.read_exact(&mut answer).await.is_err());
            let status = victim.wait().await?;
            assert!(!status.success() && requests.has_killed());
            assert_eq!(server.await??.len(), arrived, "{moment}");
        }
        Ok(())
    }
}
