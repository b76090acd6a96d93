//! How the servers behind the gateway are spoken to: TLS with their authorities and our certificate, HTTP/2, Unix sockets.
//! Does not choose a server. Requests of our own (probes, mirrored reads) go by `ask`, the same way.

mod ask;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use pingora::protocols::tls::CaType;
use pingora::upstreams::peer::{HttpPeer, Scheme};
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) use ask::Asker;

use crate::config::{Config, Transport, UpstreamTls};
use crate::listen::UNIX;
use crate::tls::{Loaded, Watched, certificates};

/// Requests at once on one connection by HTTP/2.
const STREAMS: usize = 100;
/// Where the place of an upstream begins in a group key: connections of two upstreams with one address are never mixed.
const PLACE: u32 = 48;

/// The ways to all upstreams.
pub(crate) struct Transports {
    ways: BTreeMap<String, Way>,
    /// Some server's certificate is checked by the authorities of the system.
    pub(crate) by_system: bool,
}

/// The way to one upstream.
struct Way {
    settings: Transport,
    /// Different for each upstream.
    place: u64,
    tls: Option<Watched<Material>>,
}

/// What TLS to an upstream needs.
struct Material {
    /// `None`: the system's.
    authorities: Option<Arc<CaType>>,
    certificate: Option<Arc<CertKey>>,
    /// The same for requests of our own.
    own: Arc<ClientConfig>,
    /// The same for tunnels, which go by HTTP/1.1.
    tunnels: Arc<ClientConfig>,
}

/// TLS with the server at the end of a tunnel.
#[derive(Debug, Clone)]
pub(crate) struct Cipher {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Cipher {
    /// Makes a connection secret.
    ///
    /// # Errors
    /// It is somebody else, or breaks off.
    pub(crate) async fn shake<S: AsyncRead + AsyncWrite + Unpin>(&self, socket: S) -> io::Result<TlsStream<S>> {
        TlsConnector::from(self.config.clone()).connect(self.name.clone(), socket).await
    }
}

impl Transports {
    /// Reads all files.
    ///
    /// # Errors
    /// A sentence that names the file and what is wrong with it, never what stands in it.
    pub(crate) fn load(config: &Config) -> Result<Transports, String> {
        let way = |(place, (name, upstream)): (usize, (&String, &crate::config::Upstream))| {
            let settings = upstream.transport.clone();
            let tls = settings.tls.clone().map(|tls| tls.load(settings.http2)).transpose()?;
            Ok::<_, String>((name.clone(), Way { settings, place: 1 + place as u64, tls }))
        };
        let ways: BTreeMap<String, Way> = config.upstreams.iter().enumerate().map(way).collect::<Result<_, _>>()?;
        let by_system = ways.values().filter_map(|way| way.settings.tls.as_ref()).any(|tls| tls.authorities.is_none());
        Ok(Transports { ways, by_system })
    }

    /// The way to one server alone.
    ///
    /// # Errors
    /// As [`Transports::load`].
    pub(crate) fn to(name: &str, transport: &Transport) -> Result<Transports, String> {
        let tls = transport.tls.clone().map(|tls| tls.load(transport.http2)).transpose()?;
        Ok(Transports { ways: BTreeMap::from([(name.to_owned(), Way { settings: transport.clone(), place: 1, tls })]), by_system: false })
    }

    /// Whether requests to an upstream share a connection.
    pub(crate) fn multiplexes(&self, upstream: &str) -> bool {
        self.ways.get(upstream).is_some_and(|way| way.settings.http2)
    }

    /// The TLS of a tunnel to an instance of an upstream; `None`: it is spoken to in the clear.
    ///
    /// # Errors
    /// No certificate can be for such a name.
    pub(crate) fn cipher(&self, upstream: &str, authority: &str) -> Result<Option<Cipher>, InvalidDnsNameError> {
        let way = self.ways.get(upstream);
        let Some((material, tls)) = way.and_then(|way| way.tls.as_ref().zip(way.settings.tls.as_ref())) else { return Ok(None) };
        let name = ServerName::try_from(tls.name_for(authority).to_owned())?;
        Ok(Some(Cipher { config: material.current().tunnels.clone(), name }))
    }

    /// Has a connection made in the way of an upstream.
    pub(crate) fn prepare(&self, upstream: &str, authority: &str, peer: &mut HttpPeer) {
        let Some(way) = self.ways.get(upstream) else { return };
        if way.settings.http2 {
            peer.options.set_http_version(2, 2);
            peer.options.max_h2_streams = STREAMS;
        }
        if let (Some(material), Some(tls)) = (&way.tls, &way.settings.tls) {
            let material = material.current();
            peer.scheme = Scheme::HTTPS;
            peer.sni = tls.name_for(authority).to_owned();
            peer.options.ca.clone_from(&material.authorities);
            peer.client_cert_key.clone_from(&material.certificate);
            peer.group_key |= way.place << PLACE;
        }
    }

    /// Looks for changed files.
    pub(crate) fn look(&self) {
        self.ways.values().filter_map(|way| way.tls.as_ref()).for_each(Watched::look);
    }
}

impl UpstreamTls {
    /// Whether the files can be used now.
    ///
    /// # Errors
    /// A sentence that names the file and what is wrong with it, never what stands in it.
    pub fn check(&self) -> Result<(), String> {
        self.clone().load(false).map(drop)
    }

    /// The name that the certificate of a server at an address must have.
    fn name_for<'a>(&'a self, authority: &'a str) -> &'a str {
        let host = ficus_rules::route::host_and_port(authority).0;
        self.name.as_deref().unwrap_or_else(|| host.trim_start_matches('[').trim_end_matches(']'))
    }

    fn load(self, http2: bool) -> Result<Watched<Material>, String> {
        let certificate = self.certificate.iter().flat_map(|files| [files.chain.clone(), files.key.clone()]);
        let files: Vec<PathBuf> = certificate.chain(self.authorities.clone()).collect();
        Watched::load(files, move |read| self.read(read, http2))
    }

    /// The files' contents: chain and key of ours, if there are, then the authorities, if there are.
    fn read(&self, read: &[Vec<u8>], http2: bool) -> Result<Material, String> {
        let own = self.certificate.as_ref().map(|files| Loaded::read(&files.chain, &read[0], &files.key, &read[1])).transpose()?;
        let authorities = match &self.authorities {
            Some(file) => certificates(file, read.last().map_or(&[], Vec::as_slice))?,
            None => system()?,
        };
        let mut roots = RootCertStore::empty();
        for authority in authorities.iter().cloned() {
            roots.add(authority).map_err(|error| format!("an authority that cannot be used: {error}"))?;
        }
        let wrapped = |der: &CertificateDer<'_>| WrappedX509::new(der.to_vec(), parse_x509);
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?.with_root_certificates(roots);
        let mut config = match &own {
            Some(own) => builder.with_client_cert_resolver(own.shown()),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tunnels = Arc::new(config.clone());
        if http2 {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        Ok(Material {
            authorities: self.authorities.as_ref().map(|_| authorities.iter().map(wrapped).collect()),
            certificate: own.map(|own| Arc::new(CertKey::new(own.chain(), own.secret))),
            own: Arc::new(config),
            tunnels,
        })
    }
}

/// The authorities that this system trusts.
fn system() -> Result<Vec<CertificateDer<'static>>, String> {
    let found = rustls_native_certs::load_native_certs().map_err(|error| format!("cannot read the authorities of the system: {error}"))?;
    match found.is_empty() {
        true => Err("the system has no authorities that a server's certificate could be checked by: name a ca_file".to_owned()),
        false => Ok(found),
    }
}

/// The path of an address that is a Unix socket.
pub(crate) fn unix(authority: &str) -> Option<&str> {
    authority.strip_prefix(UNIX)
}
