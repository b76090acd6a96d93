//! Listens, and stops well: no new connections, the requests in flight are finished.

use std::future::{Future, IntoFuture};
use std::io;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::app::App;
use crate::router::router;

/// How long the requests in flight have after a signal. A client that never ends its body must not hold the process.
const DRAIN: Duration = Duration::from_secs(10);

/// Resolves at the first SIGTERM or SIGINT. The handlers stand when this returns.
pub fn termination() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Serves until `stop` resolves and the requests in flight are answered, or [`DRAIN`] has passed.
pub async fn serve(listener: TcpListener, app: App, stop: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    let (draining, drained) = oneshot::channel();
    let graceful = axum::serve(listener, router(app)).with_graceful_shutdown(async move {
        stop.await;
        tracing::info!("draining");
        // The receiver is gone only when the server is, and then nobody needs to know.
        let _ = draining.send(());
    });
    let too_long = async {
        match drained.await {
            Ok(()) => sleep(DRAIN).await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        served = graceful.into_future() => served,
        () = too_long => {
            tracing::warn!("requests in flight were cut off");
            Ok(())
        }
    }
}
