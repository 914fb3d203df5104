//! A server that answers late: a TCP proxy on the loopback that passes every byte on after a while, in both directions.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// What may be under way in one direction of a connection, in pieces of at most 64 KiB.
const PIECES: usize = 256;

/// The proxy; gone with all its connections when dropped.
pub(crate) struct Delay {
    address: SocketAddr,
    task: AbortHandle,
}

impl Delay {
    /// Listens, and passes what comes on to a server, each piece so much later than it came. Nothing waits for what is before it
    /// longer than that: a fast sender stays as fast.
    pub(crate) async fn before(server: SocketAddr, delay: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(async move {
                    let server = TcpStream::connect(server).await?;
                    client.set_nodelay(true)?;
                    server.set_nodelay(true)?;
                    let (mut from_client, mut to_client) = client.into_split();
                    let (mut from_server, mut to_server) = server.into_split();
                    tokio::try_join!(
                        pass(&mut from_client, &mut to_server, delay),
                        pass(&mut from_server, &mut to_client, delay),
                    )?;
                    Ok::<_, io::Error>(())
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, task: task.abort_handle() })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes one direction on until its end, which comes as late as everything else.
async fn pass(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    delay: Duration,
) -> io::Result<()> {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
    let read = async move {
        loop {
            let mut piece = Vec::with_capacity(64 << 10);
            let end = from.read_buf(&mut piece).await? == 0;
            // Nobody takes it any more once the other end is gone.
            if sender.send((Instant::now() + delay, piece)).await.is_err() || end {
                return Ok(());
            }
        }
    };
    let write = async {
        while let Some((due, piece)) = receiver.recv().await {
            sleep_until(due).await;
            if piece.is_empty() {
                return to.shutdown().await;
            }
            to.write_all(&piece).await?;
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
        let late = Delay::before(listener.local_addr()?, Duration::from_millis(40)).await?;
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
        server.await??;
        Ok(())
    }
}
