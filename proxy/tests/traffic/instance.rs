//! An instance of an upstream that can be killed and started again, and a gateway in front of some.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ficus_proxy::{Ejection, Instances, Probe, Upstream, Weighted};

use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::support::World;

/// A server that says which one it is.
pub struct Instance {
    pub address: SocketAddr,
    pub state: Arc<State>,
    serving: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

#[derive(Debug)]
pub struct State {
    name: String,
    /// What it answers.
    pub status: AtomicU16,
    /// What `/health` answers.
    pub is_well: AtomicBool,
    /// Requests by method, whether they were answered or not; probes are not counted.
    pub seen: Mutex<BTreeMap<String, usize>>,
    /// Requests that it has under way.
    pub under_way: AtomicUsize,
    /// The most that it ever had.
    pub most: AtomicUsize,
}

impl Instance {
    pub async fn start() -> Instance {
        Instance::at("127.0.0.1:0").await
    }

    pub async fn at(address: &str) -> Instance {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            name: address.to_string(),
            status: AtomicU16::new(200),
            is_well: AtomicBool::new(true),
            seen: Mutex::default(),
            under_way: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        });
        let instance = Instance { address, state, serving: Mutex::new(None) };
        instance.serve(listener);
        instance
    }

    /// Its connections break, and nobody listens there any more.
    pub async fn kill(&self) {
        let serving = self.serving.lock().unwrap().take();
        if let Some(serving) = serving {
            serving.abort();
            let _ = serving.await;
        }
    }

    /// Listens again at the same address.
    pub async fn revive(&self) {
        self.serve(TcpListener::bind(self.address).await.unwrap());
    }

    pub fn seen(&self, method: &str) -> usize {
        self.state.seen.lock().unwrap().get(method).copied().unwrap_or(0)
    }

    fn serve(&self, listener: TcpListener) {
        let state = self.state.clone();
        let serving = tokio::spawn(async move {
            // Dropped with the task: then its connections are, too.
            let mut connections = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                let state = state.clone();
                let service = service_fn(move |request| answer(request, state.clone()));
                connections.spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(connection), service));
            }
        });
        *self.serving.lock().unwrap() = Some(serving);
    }
}

/// Counts a request while it is under way, also when its connection breaks.
struct UnderWay(Arc<State>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn answer(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let path = request.uri().path().to_owned();
    if path == "/health" {
        let status = if state.is_well.load(Ordering::SeqCst) { 200 } else { 503 };
        return Ok(Response::builder().status(status).body(Full::default()).unwrap());
    }
    *state.seen.lock().unwrap().entry(request.method().to_string()).or_default() += 1;
    state.most.fetch_max(1 + state.under_way.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
    let _under_way = UnderWay(state.clone());
    request.into_body().collect().await.map_err(std::io::Error::other)?;
    if let Some((_, ms)) = path.split_once("/slow/") {
        tokio::time::sleep(Duration::from_millis(ms.parse().unwrap())).await;
    }
    if path.contains("/die") {
        return Err(std::io::Error::other("it dies"));
    }
    let response = Response::builder().status(state.status.load(Ordering::SeqCst)).header("x-instance", &state.name);
    Ok(response.body(Full::from(state.name.clone())).unwrap())
}

/// These instances, with little patience.
pub fn upstream(instances: Instances) -> Upstream {
    let ejection = Ejection { failures: 3, first: Duration::from_millis(400), ..Ejection::default() };
    let probe = Probe { interval: Duration::from_millis(50), ..Probe::default() };
    Upstream { ejection, probe, ..Upstream::of(instances) }
}

pub fn fixed(instances: &[&Instance]) -> Instances {
    let weighted = |instance: &&Instance| Weighted { address: instance.address.to_string(), weight: 1 };
    Instances::Fixed(instances.iter().map(weighted).collect())
}

/// A gateway with this upstream in the place of the new service.
pub async fn world(upstream: Upstream) -> World {
    World::with(|config| drop(config.upstreams.insert("users-service".into(), upstream))).await
}

/// Which instances answer so many requests, each as often as it does.
pub async fn spread(world: &World, requests: usize, headers: &[(&str, &str)]) -> BTreeMap<String, usize> {
    let mut answered = BTreeMap::new();
    for _ in 0..requests {
        let got = world.send("GET", "/api/v1/users/1/", headers, super::support::full("")).await;
        assert_eq!(got.status, 200);
        *answered.entry(got.header("x-instance").to_owned()).or_default() += 1;
    }
    answered
}
