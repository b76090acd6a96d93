//! What a guard passes on of the connection that it guards, besides bytes.

/// Implements pingora's traits for a guard with `inner()`, `inner_mut()`, `goes_on()`, `hurry()` and `mark()`. The second argument tells the
/// protocol that was agreed on.
macro_rules! pass_on {
    ($guard:ty, $alpn:expr) => {
        #[async_trait::async_trait]
        impl pingora::protocols::Shutdown for $guard {
            async fn shutdown(&mut self) {
                if self.goes_on() {
                    return;
                }
                self.hurry();
                pingora::protocols::Shutdown::shutdown(&mut **self.inner_mut()).await;
            }
        }

        #[async_trait::async_trait]
        impl pingora::protocols::Peek for $guard {
            async fn try_peek(&mut self, bytes: &mut [u8]) -> std::io::Result<bool> {
                self.inner_mut().try_peek(bytes).await
            }
        }

        impl pingora::protocols::UniqueID for $guard {
            fn id(&self) -> pingora::protocols::UniqueIDType {
                self.inner().map_or(0, |inner| inner.id())
            }
        }

        impl pingora::protocols::Ssl for $guard {
            fn get_ssl_digest(&self) -> Option<std::sync::Arc<pingora::protocols::tls::SslDigest>> {
                self.inner()?.get_ssl_digest()
            }

            fn selected_alpn_proto(&self) -> Option<pingora::protocols::ALPN> {
                $alpn(self.inner())
            }
        }

        impl pingora::protocols::GetTimingDigest for $guard {
            fn get_timing_digest(&self) -> Vec<Option<pingora::protocols::TimingDigest>> {
                self.inner().map_or_else(Vec::new, |inner| inner.get_timing_digest())
            }

            fn get_read_pending_time(&self) -> std::time::Duration {
                self.inner().map_or(std::time::Duration::ZERO, |inner| inner.get_read_pending_time())
            }

            fn get_write_pending_time(&self) -> std::time::Duration {
                self.inner().map_or(std::time::Duration::ZERO, |inner| inner.get_write_pending_time())
            }
        }

        impl pingora::protocols::GetProxyDigest for $guard {
            fn get_proxy_digest(&self) -> Option<std::sync::Arc<pingora::protocols::raw_connect::ProxyDigest>> {
                self.mark()
            }
        }

        impl pingora::protocols::GetSocketDigest for $guard {
            fn get_socket_digest(&self) -> Option<std::sync::Arc<pingora::protocols::SocketDigest>> {
                self.inner()?.get_socket_digest()
            }
        }
    };
}

pub(crate) use pass_on;
