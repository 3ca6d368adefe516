//! A TCP proxy that a test can hurt: it drops connections, swallows answers, refuses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Stands between a client and a server; dropped, it ends every connection.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    /// Connections made before the current value have to end.
    epoch: watch::Sender<u64>,
    hold_answers: AtomicBool,
    refuse: AtomicBool,
    connections: AtomicU64,
}

impl Proxy {
    /// Forwards connections to `upstream`.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(upstream: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            epoch: watch::Sender::new(0),
            hold_answers: AtomicBool::new(false),
            refuse: AtomicBool::new(false),
            connections: AtomicU64::new(0),
        });
        let task = tokio::spawn(accept(listener, upstream, Arc::clone(&shared)));
        Ok(Self { address, shared, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection, now.
    pub fn drop_all(&self) {
        self.shared.epoch.send_modify(|epoch| *epoch += 1);
    }

    /// Whether what the server says is kept back. What was kept back is lost with the connection.
    pub fn hold_answers(&self, hold: bool) {
        self.shared.hold_answers.store(hold, Ordering::SeqCst);
    }

    /// Whether new connections are ended at once.
    pub fn refuse(&self, refuse: bool) {
        self.shared.refuse.store(refuse, Ordering::SeqCst);
    }

    /// Connections so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.drop_all();
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        if shared.refuse.load(Ordering::SeqCst) {
            continue;
        }
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let mut epoch = shared.epoch.subscribe();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            // A server that does not listen looks like one that hangs up.
            let Ok(server) = TcpStream::connect(upstream).await else { return };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            tokio::select! {
                // First: what was sent after the connections were dropped must not arrive.
                biased;
                _ = epoch.changed() => {}
                () = forward(client, server, &shared) => {}
            }
        });
    }
}

async fn forward(client: TcpStream, server: TcpStream, shared: &Shared) {
    let (mut client_read, mut client_write) = client.into_split();
    let (mut server_read, mut server_write) = server.into_split();
    let upwards = async { tokio::io::copy(&mut client_read, &mut server_write).await.map(|_| ()) };
    let downwards = async {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = server_read.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            while shared.hold_answers.load(Ordering::SeqCst) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            client_write.write_all(&buffer[..read]).await?;
        }
    };
    // Either side's end ends both.
    let _: std::io::Result<()> = tokio::select! {
        done = upwards => done,
        done = downwards => done,
    };
}
