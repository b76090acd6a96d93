//! IP networks: `10.0.0.0/8`, `::1`, `192.0.2.7`. An IPv4 address that arrives mapped into IPv6 counts as IPv4.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An IP network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether an address is inside.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (base, address) = (bits(self.base), bits(address.to_canonical()));
        let shift = u32::from(base.1 - self.prefix);
        base.1 == address.1 && (shift >= u32::from(base.1) || base.0 >> shift == address.0 >> shift)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = || format!("`{text}` is not an address or network: write it like \"10.0.0.0/8\" or \"127.0.0.1\"");
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let base = address.parse::<IpAddr>().map_err(|_| expected())?;
        let longest = bits(base).1;
        let prefix = prefix.map_or(Ok(longest), |prefix| prefix.parse().map_err(|_| expected()))?;
        match prefix <= longest {
            true => Ok(Network { base, prefix }),
            false => Err(expected()),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix == bits(self.base).1 {
            true => write!(f, "{}", self.base),
            false => write!(f, "{}/{}", self.base, self.prefix),
        }
    }
}

/// The address as a number, and how many bits it has.
fn bits(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    }
}

#[cfg(test)]
mod tests {
    use super::Network;

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        let inside =
            |network: &str, address: &str| network.parse::<Network>().expect("a network").contains(address.parse().expect("an address"));
        assert!(inside("10.0.0.0/8", "10.200.3.4"));
        assert!(!inside("10.0.0.0/8", "11.0.0.1"));
        assert!(inside("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(!inside("127.0.0.1", "127.0.0.2"));
        assert!(inside("0.0.0.0/0", "8.8.8.8"));
        assert!(inside("fd00::/8", "fd12::1"));
        assert!(!inside("::/0", "127.0.0.1"));
        assert!("10.0.0.0/33".parse::<Network>().is_err());
    }
}
