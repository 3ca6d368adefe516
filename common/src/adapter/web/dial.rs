//! From the name of a host to a connection, by way of addresses that may be asked only.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use super::address::is_public;
use super::{Audience, WebError};

/// Longest wait for a name, for a connection, and for its encryption, each.
const PATIENCE: Duration = Duration::from_secs(10);

/// Anything that bytes go through.
pub trait Pipe: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Pipe for T {}

/// An open connection, or why there is none.
pub type Dialling<'a> = Pin<Box<dyn Future<Output = Result<Box<dyn Pipe>, WebError>> + Send + 'a>>;

/// Opens connections.
pub trait Dial: Send + Sync {
    /// A connection to the host and port of an address.
    fn dial<'a>(&'a self, uri: &'a Uri) -> Dialling<'a>;
}

/// Connections to this audience; encrypted, but for `http` addresses that an operator allowed.
pub struct Internet {
    tls: TlsConnector,
    audience: Audience,
}

impl Internet {
    /// Trusts whom this machine trusts.
    ///
    /// # Errors
    /// [`WebError::Unavailable`] when the machine has no certificates or the library refuses.
    pub fn new(audience: Audience) -> Result<Self, WebError> {
        let mut roots = RootCertStore::empty();
        // Some of a machine's certificates may be unreadable; without any, nobody is trusted.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(WebError::Unavailable { detail: "this machine has no certificates".to_owned() });
        }
        let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| WebError::Unavailable { detail: error.to_string() })?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), audience })
    }
}

impl Dial for Internet {
    fn dial<'a>(&'a self, uri: &'a Uri) -> Dialling<'a> {
        Box::pin(async move {
            let host = uri.host().unwrap_or_default();
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let plain = uri.scheme_str() == Some("http");
            if plain && self.audience == Audience::Public {
                return Err(WebError::Forbidden { detail: format!("{host}: not encrypted") });
            }
            let port = uri.port_u16().unwrap_or(if plain { 80 } else { 443 });
            let stream = connect(host, port, self.audience).await?;
            if plain {
                return Ok(Box::new(stream) as Box<dyn Pipe>);
            }
            let unavailable = |detail: String| WebError::Unavailable { detail };
            let name = ServerName::try_from(host.to_owned())
                .map_err(|_| WebError::Missing { detail: format!("not a host: `{host}`") })?;
            let encrypting = timeout(PATIENCE, self.tls.connect(name, stream)).await;
            let stream = encrypting.map_err(|_| unavailable(format!("{host}: no encryption in time")))?;
            let stream = stream.map_err(|error| unavailable(format!("{host}: {error}")))?;
            Ok(Box::new(stream) as Box<dyn Pipe>)
        })
    }
}

/// Connects to the first address that answers. The addresses that were checked are the ones that are used, so a name
/// cannot change in between.
async fn connect(host: &str, port: u16, audience: Audience) -> Result<TcpStream, WebError> {
    let mut failed = format!("{host}: no address");
    for address in resolve(host, port, audience).await? {
        match timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = format!("{host}: {error}"),
            Err(_) => failed = format!("{host}: no connection in time"),
        }
    }
    Err(WebError::Unavailable { detail: failed })
}

/// The addresses of a host. For the public all of them are public: a name with one private address is not trusted with the
/// others.
async fn resolve(host: &str, port: u16, audience: Audience) -> Result<Vec<SocketAddr>, WebError> {
    let found: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => {
            let unavailable = |detail: String| WebError::Unavailable { detail };
            let looking = timeout(PATIENCE, tokio::net::lookup_host((host, port))).await;
            let found = looking.map_err(|_| unavailable(format!("{host}: no address in time")))?;
            found.map_err(|error| unavailable(format!("{host}: {error}")))?.collect()
        }
    };
    let private = |address: &&SocketAddr| audience == Audience::Public && !is_public(address.ip());
    match found.iter().find(private) {
        Some(private) => {
            let detail = format!("{host} is at {}, which is not a public address", private.ip());
            Err(WebError::Forbidden { detail })
        }
        None => Ok(found),
    }
}
