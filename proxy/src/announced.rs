//! Who a connection comes from, as a load balancer in front announces it: the PROXY protocol, version 1 or 2. Only those
//! who are named for it are asked, and then they must announce; what others send is taken for a request.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd as _;

use pingora::protocols::l4::socket::SocketAddr as Address;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::{GetSocketDigest as _, SocketDigest};
use ppp::{HeaderResult, PartialResult as _, v1, v2};
use tokio::io::AsyncReadExt as _;

use ficus_rules::network::Network;

use crate::config::LOCAL;

/// The longest announcement: load balancers add to version 2 what they know of the client, certificates among it.
const LONGEST: usize = 8 << 10;
/// The longest of version 1, a line.
const LONGEST_LINE: usize = 107;

/// Who announces, of those who connect to a listener.
#[derive(Debug, Default)]
pub(crate) struct Announcers {
    networks: Vec<Network>,
    local: bool,
}

impl Announcers {
    pub(crate) fn read(named: &[String]) -> Result<Announcers, crate::Error> {
        let networks = named.iter().filter(|text| *text != LOCAL).map(|text| text.parse().map_err(crate::Error::Network));
        Ok(Announcers { networks: networks.collect::<Result<_, _>>()?, local: named.iter().any(|text| text == LOCAL) })
    }

    /// `None`: through a Unix socket.
    pub(crate) fn include(&self, peer: Option<IpAddr>) -> bool {
        peer.map_or(self.local, |peer| self.networks.iter().any(|network| network.contains(peer)))
    }
}

/// What was announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// From here to there.
    Between(SocketAddr, SocketAddr),
    /// Of itself: to see whether we are there, or without saying for whom.
    Itself,
}

/// Reads what a peer announces, and has the connection say it from here on. The client's address; `None`: the peer spoke
/// for itself.
///
/// # Errors
/// It announces nothing, or something that is not understood. There is nobody to answer.
pub(crate) async fn read(socket: &mut Stream) -> Result<Option<IpAddr>, &'static str> {
    let mut bytes = Vec::with_capacity(256);
    let (said, length) = loop {
        if bytes.len() > LONGEST {
            return Err("a long announcement");
        }
        let count = socket.read_buf(&mut bytes).await.map_err(|_| "the connection broke off")?;
        if count == 0 {
            return Err("the connection ended");
        }
        if let Some(read) = understand(&bytes)? {
            break read;
        }
    };
    socket.rewind(&bytes[length..]);
    match said {
        Said::Between(from, to) => {
            let digest = SocketDigest::from_raw_fd(socket.as_raw_fd());
            let _ = digest.peer_addr.set(Some(Address::Inet(from)));
            let _ = digest.local_addr.set(Some(Address::Inet(to)));
            socket.set_socket_digest(digest);
            Ok(Some(from.ip().to_canonical()))
        }
        Said::Itself => Ok(None),
    }
}

/// What was announced, and how long it is. `None`: there is more to come.
fn understand(bytes: &[u8]) -> Result<Option<(Said, usize)>, &'static str> {
    // A line is read when it is whole: of some parts of one the parser says that they are wrong, not that more must come.
    let part_of_line = bytes.starts_with(b"PROXY ") && bytes.len() < LONGEST_LINE && !bytes.windows(2).any(|pair| pair == b"\r\n");
    let parsed = HeaderResult::parse(bytes);
    if part_of_line || parsed.is_incomplete() {
        return Ok(None);
    }
    match parsed {
        HeaderResult::V1(Ok(header)) => {
            let said = match header.addresses {
                v1::Addresses::Tcp4(a) => between(a.source_address.into(), a.source_port, a.destination_address.into(), a.destination_port),
                v1::Addresses::Tcp6(a) => between(a.source_address.into(), a.source_port, a.destination_address.into(), a.destination_port),
                v1::Addresses::Unknown => Said::Itself,
            };
            Ok(Some((said, header.header.len())))
        }
        HeaderResult::V2(Ok(header)) => {
            let said = match (header.command, header.addresses) {
                (v2::Command::Proxy, v2::Addresses::IPv4(a)) => {
                    between(a.source_address.into(), a.source_port, a.destination_address.into(), a.destination_port)
                }
                (v2::Command::Proxy, v2::Addresses::IPv6(a)) => {
                    between(a.source_address.into(), a.source_port, a.destination_address.into(), a.destination_port)
                }
                _ => Said::Itself,
            };
            Ok(Some((said, header.len())))
        }
        _ => Err("no announcement"),
    }
}

fn between(from: IpAddr, from_port: u16, to: IpAddr, to_port: u16) -> Said {
    Said::Between(SocketAddr::new(from, from_port), SocketAddr::new(to, to_port))
}

#[cfg(test)]
mod tests {
    use super::{Said, understand};
    use crate::mutator::fuzz;

    #[test]
    fn whatever_is_announced_is_read_in_one_way() {
        let text = b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\nGET / HTTP/1.1\r\n";
        let six = b"PROXY TCP6 ::1 2001:db8::1 1 65535\r\n";
        let mut two = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        two.extend([192, 0, 2, 1, 10, 0, 0, 1, 0xdc, 0x04, 0x01, 0xbb]);
        let dictionary: [&[u8]; 6] = [b"PROXY ", b"UNKNOWN", b"\r\n", b"\xff\xff", b"\x20", b" "];
        fuzz("announcement", &[text, six, &two], &dictionary, |input| match understand(input) {
            Ok(Some((said, length))) => {
                assert!(length <= input.len(), "more is read than there is");
                assert_eq!(understand(&input[..length]), Ok(Some((said, length))), "what follows changes nothing");
                (matches!(said, Said::Itself), true)
            }
            Ok(None) => (false, false),
            Err(_) => (true, false),
        });
    }

    #[test]
    fn an_announcement_is_read_whole_and_leaves_what_follows() {
        let text = b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\nGET / HTTP/1.1\r\n";
        let mut two = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        two.extend([192, 0, 2, 1, 10, 0, 0, 1, 0xdc, 0x04, 0x01, 0xbb]);
        for (whole, length) in [(text.to_vec(), 41), (two.clone(), 28)] {
            let (said, read) = understand(&whole).expect("it is right").expect("it is whole");
            assert_eq!(read, length);
            assert!(matches!(said, Said::Between(from, to) if from.to_string() == "192.0.2.1:56324" && to.to_string() == "10.0.0.1:443"));
            for cut in 1..length {
                assert_eq!(understand(&whole[..cut]), Ok(None), "{cut} bytes of {length}");
            }
        }
        assert_eq!(understand(b"PROXY UNKNOWN\r\n"), Ok(Some((Said::Itself, 15))));
        two[12] = 0x20;
        assert_eq!(understand(&two), Ok(Some((Said::Itself, 28))), "for itself, whatever addresses it says");
        for bad in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"PROXY TCP4 x y 1 2\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 99999 443\r\n",
            b"\x16\x03\x01\x02\0",
        ] {
            assert!(understand(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
