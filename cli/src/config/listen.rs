//! Resolves where clients connect: the plain addresses of `listen`, and the listeners that say more.

use ficus_proxy::{Certificate, Clients, Listener};
use toml::Spanned;

use super::{Resolving, document};

impl Resolving<'_> {
    /// All listeners; those of `listen` first. An orchestrator or an agent that runs alone needs none.
    pub(super) fn listeners(&mut self, gateway: &document::Gateway) -> Vec<Listener> {
        let plain = gateway.listen.iter().flatten().map(|address| {
            self.listening(address);
            Listener::plain(address.get_ref())
        });
        let mut listeners: Vec<Listener> = plain.collect();
        for listener in &gateway.listener {
            listeners.push(self.listener(listener, gateway));
        }
        if gateway.listen.is_some() && listeners.is_empty() {
            self.fault(gateway.default.span().start, "the gateway listens nowhere: write it like listen = [\"127.0.0.1:8080\"]".into());
        }
        listeners
    }

    /// The certificates, which must be there and usable now: later ones are taken when they are good.
    pub(super) fn certificates(&mut self, certificates: &[document::Certificate]) -> Vec<Certificate> {
        let resolve = |one: &document::Certificate| {
            let at = one.certificate_file.span().start;
            let files = Certificate { chain: self.directory.join(one.certificate_file.get_ref()), key: self.directory.join(&one.key_file) };
            if let Err(why) = files.check() {
                self.fault(at, why);
            }
            files
        };
        certificates.iter().map(resolve).collect()
    }

    fn listener(&mut self, listener: &document::Listener, gateway: &document::Gateway) -> Listener {
        let at = listener.address.span().start;
        self.listening(&listener.address);
        if listener.tls && gateway.certificate.is_empty() {
            self.fault(at, "a listener with tls needs a [[gateway.certificate]] with a certificate_file and a key_file".into());
        }
        if let Some(port) = listener.to_https.as_ref().filter(|_| listener.tls) {
            self.fault(port.span().start, "to_https is for a listener without tls: this one is https already".into());
        }
        let clients = listener.clients.as_ref().map(|clients| {
            let resolved = Clients { authorities: self.directory.join(&clients.get_ref().ca_file), required: clients.get_ref().required };
            if !listener.tls {
                self.fault(clients.span().start, "clients show certificates with tls only: add tls = true".into());
            }
            if let Err(why) = resolved.check() {
                self.fault(clients.span().start, why);
            }
            resolved
        });
        for network in &listener.proxy_protocol {
            if let Err(why) = ficus_proxy::check_network(network.get_ref()) {
                self.fault(network.span().start, why);
            }
        }
        Listener {
            announced_by: listener.proxy_protocol.iter().map(|network| network.get_ref().clone()).collect(),
            address: listener.address.get_ref().clone(),
            tls: listener.tls,
            http2: listener.http2.unwrap_or(listener.tls),
            to_https: listener.to_https.as_ref().map(|port| *port.get_ref()),
            clients,
        }
    }

    /// `host:port` or `unix:` and a path.
    fn listening(&mut self, address: &Spanned<String>) {
        let text = address.get_ref();
        let good = match text.strip_prefix("unix:") {
            Some(path) => path.starts_with('/'),
            None => text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()),
        };
        if !good {
            let what = format!("`{text}` is not an address to listen on: write it like \"0.0.0.0:8080\" or \"unix:/run/ficus/http.sock\"");
            self.fault(address.span().start, what);
        }
    }
}
