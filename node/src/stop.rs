//! Being told to stop: SIGTERM, Ctrl-C, or the end of standard input.

use std::io::Read as _;
use tokio::sync::watch;

/// What else than a signal stops the program.
#[derive(Debug, Clone, Copy, Default)]
pub struct StopSources {
    /// The end of standard input. A parent that holds the other end stops its children by closing
    /// it, and cannot die without closing it.
    pub stdin: bool,
}

/// Turns true with the first order to stop. A second signal ends the process at once.
///
/// Must be called inside a tokio runtime.
#[must_use]
pub fn stop_signal(sources: StopSources) -> watch::Receiver<bool> {
    let (order, orders) = watch::channel(false);
    if sources.stdin {
        let order = order.clone();
        // A thread of its own: a blocked read would keep the runtime from shutting down.
        std::thread::spawn(move || {
            let mut sink = [0u8; 256];
            while matches!(std::io::stdin().read(&mut sink), Ok(n) if n > 0) {}
            order.send_replace(true);
        });
    }
    tokio::spawn(async move {
        signal().await;
        order.send_replace(true);
        signal().await;
        tracing::warn!("second signal: ending at once");
        std::process::exit(i32::from(crate::error::EXIT_LOCAL));
    });
    orders
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals can't be received");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

#[cfg(not(unix))]
async fn signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        tracing::error!("signals can't be received");
        std::future::pending::<()>().await;
    }
}
