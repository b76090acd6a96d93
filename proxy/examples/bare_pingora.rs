//! A bare proxy on pingora with one thread and the system's allocator: what `make bench-gateway` measures the gateway against.
//! Forwards everything to one address and looks at nothing.
//!
//! `bare_pingora LISTEN UPSTREAM`, for example `bare_pingora 127.0.0.1:8080 127.0.0.1:9000`.

use async_trait::async_trait;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;

struct Bare {
    upstream: String,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _context: &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(&*self.upstream, false, String::new())))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(upstream)) = (arguments.next(), arguments.next()) else {
        return Err("usage: bare_pingora LISTEN UPSTREAM".into());
    };
    // As many kept connections as the gateway has, and no authorities to read.
    let conf =
        ServerConf { threads: 1, upstream_keepalive_pool_size: 1024, ca_file: Some("/dev/null".to_owned()), ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Bare { upstream });
    service.add_tcp(&listen);
    server.add_service(service);
    server.run_forever()
}
