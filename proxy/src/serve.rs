//! Accepting connections, and stopping in good order.
//!
//! The accept loop is ours and not pingora's server: that one leaves no way to learn its ports, waits out its whole
//! grace period even when nothing is under way, and ends the process when a listener fails. Behind the accepted connection,
//! plain reads are carried by `direct`, and all else by pingora's proxy.

use std::sync::Arc;
use std::time::Duration;

use pingora::apps::{HttpServerOptions, ServerApp as _};
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::proxy::HttpProxy;
use pingora::server::configuration::ServerConf;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};

use crate::Error;
use crate::arrive::Door;
use crate::carry::Carrier;
use crate::config::Limits;
use crate::direct::Direct;
use crate::gateway::Inner;
use crate::harden::{Places, STREAM_WINDOW};
use crate::listen::{Bound, Open};
use crate::probe;
use crate::shadow::mirror;
use crate::upstream::discover;

/// Connections to upstreams that are kept open.
const KEPT_CONNECTIONS: usize = 1024;
/// Tries in all: some instances of modern, then some of legacy, each perhaps once more for a pooled connection that died.
const TRIES: usize = 16;
/// How often the files of certificates are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Authorities that are nobody's. The system's are read only if somebody needs them: a system without any must not keep a
/// gateway from starting that needs none.
const NO_AUTHORITIES: &str = "/dev/null";
/// What those who kept silent for the whole grace period get to end.
const AFTER_HANDING_OVER: Duration = Duration::from_millis(100);
/// Requests of one client at once, by HTTP/2.
const STREAMS: u32 = 100;
/// Streams that we reset for a client's faults, slow bodies among them, before it is left. As many as h2 has by itself: behind one
/// connection may be a proxy with all its callers.
const LOCAL_RESETS: usize = 1024;

/// Serves until `shutdown` says stop; then finishes what is under way, within the grace period.
pub(crate) fn run(gateway: &Arc<Inner>, shutdown: watch::Receiver<bool>) -> Result<(), Error> {
    let sockets = gateway.listeners.take().ok_or(Error::RunTwice)?;
    let carrying = carrying(gateway.config.threads)?;
    let mirroring = runtime("ficus-shadow", 1)?;
    if let Some(tasks) = gateway.shadow.tasks() {
        mirroring.spawn(mirror::run(gateway.clone(), tasks));
    }
    mirroring.spawn(probe::run(gateway.clone()));
    mirroring.spawn(watch(gateway.clone()));
    for pool in gateway.upstreams.all() {
        mirroring.spawn(discover::run(pool.clone()));
    }
    let exporting = gateway.clone();
    mirroring.spawn(async move {
        if let Some(spans) = &exporting.spans {
            spans.run().await;
        }
    });
    let served = carrying.block_on(serve(gateway, sockets, shutdown));
    carrying.shutdown_timeout(Duration::from_millis(200));
    mirroring.shutdown_background();
    gateway.flush();
    served
}

/// Looks for changed files of certificates, and writes what is new of log-outs, for ever.
async fn watch(gateway: Arc<Inner>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        gateway.tls.look();
        gateway.transports.look();
        gateway.callers.look();
        gateway.keep_log_outs();
    }
}

/// One thread alone is the one that this was called by: nobody hands it work, and it need not be ready to share any.
fn carrying(threads: usize) -> Result<Runtime, Error> {
    match threads {
        0 | 1 => Builder::new_current_thread().enable_all().build().map_err(Error::Runtime),
        _ => runtime("ficus-gateway", threads),
    }
}

fn runtime(name: &str, threads: usize) -> Result<Runtime, Error> {
    Builder::new_multi_thread().worker_threads(threads).thread_name(name).enable_all().build().map_err(Error::Runtime)
}

async fn serve(gateway: &Arc<Inner>, sockets: Vec<Bound>, mut shutdown: watch::Receiver<bool>) -> Result<(), Error> {
    let conf = ServerConf {
        threads: gateway.config.threads.max(1),
        upstream_keepalive_pool_size: KEPT_CONNECTIONS,
        max_retries: TRIES,
        ca_file: (!gateway.transports.by_system).then(|| NO_AUTHORITIES.to_owned()),
        ..ServerConf::default()
    };
    let limits = &gateway.limits;
    let mut options = HttpServerOptions::default();
    // It counts how often a connection is used again.
    options.keepalive_request_limit = limits.requests_per_connection.checked_sub(1);
    options.h2_idle_timeout = Some(limits.idle);
    let conf = Arc::new(conf);
    let mut proxy = HttpProxy::new(Carrier(gateway.clone()), conf.clone());
    proxy.server_options = Some(options);
    proxy.h2_options = Some(multiplexing(limits));
    proxy.handle_init_modules();
    let proxy = Arc::new(proxy);
    let direct = Arc::new(Direct::new(gateway, proxy.clone(), &conf));
    tokio::spawn(direct.sweep());
    let (under_way, mut finished) = mpsc::channel::<()>(1);
    let _ = gateway.under_way.set(under_way.downgrade());
    let places = Places::new(limits);
    let mut accepting = tokio::task::JoinSet::new();
    for (listener, socket) in sockets.into_iter().enumerate() {
        let socket = socket.open().map_err(Error::Runtime)?;
        let (gateway, direct, proxy) = (gateway.clone(), direct.clone(), proxy.clone());
        let (places, under_way) = (places.clone(), under_way.clone());
        accepting.spawn(accept(socket, Door { gateway, direct, proxy, places, listener, under_way }, shutdown.clone()));
    }
    drop(under_way);
    // A sender that is gone means that whoever could ask for more is gone too.
    let _ = shutdown.wait_for(|stop| *stop).await;
    direct.stop();
    accepting.shutdown().await;
    gateway.listeners.close();
    let handed_over = gateway.handed_over.load(std::sync::atomic::Ordering::SeqCst);
    if handed_over && tokio::time::timeout(gateway.config.grace, finished.recv()).await.is_ok() {
        return Ok(());
    }
    // Connections without a request are closed.
    direct.close();
    proxy.cleanup().await;
    let grace = if handed_over { AFTER_HANDING_OVER } else { gateway.config.grace };
    if tokio::time::timeout(grace, finished.recv()).await.is_err() {
        gateway.cut_off.store(true, std::sync::atomic::Ordering::SeqCst);
        tracing::warn!("requests were cut off at the end of the grace period");
    }
    Ok(())
}

/// How much one client may have under way by HTTP/2. What it does over time is watched by its guard.
fn multiplexing(limits: &Limits) -> H2Options {
    let mut options = default_h2_options();
    options.max_header_list_size(u32::try_from(limits.head).unwrap_or(u32::MAX));
    options.max_concurrent_streams(STREAMS);
    options.initial_window_size(STREAM_WINDOW);
    options.initial_connection_window_size(STREAM_WINDOW * 4);
    options.max_local_error_reset_streams(Some(LOCAL_RESETS));
    options
}

async fn accept(socket: Open, door: Door, shutdown: watch::Receiver<bool>) {
    loop {
        match socket.accept().await {
            Ok((connection, peer)) => door.admit(connection, peer, &shutdown),
            Err(error) => {
                // Out of file descriptors, most likely: accepting again at once would fail again at once.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
