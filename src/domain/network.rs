//! Networks, as proxies are listed in.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// A text that is not a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// Not an address with an optional prefix length.
    #[error("{0} is not a network: write 10.0.0.0/8, 2001:db8::/32 or a single address")]
    Syntax(String),
    /// Bits are set behind the prefix: one of the two was mistyped.
    #[error("{found} has bits set behind the prefix: write {network} or a longer prefix")]
    HostBits {
        /// What was found.
        found: String,
        /// The network that this address lies in.
        network: Cidr,
    },
}

/// A network in CIDR notation (RFC 4632, RFC 4291 section 2.3). A bare address is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Whether `address` lies in this network. An IPv4 address mapped into IPv6 (as a dual-stack socket shows it) counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        mask(address.to_canonical(), self.prefix) == Some(self.address)
    }
}

/// `address` with what is behind `prefix` set to zero; none when it has fewer bits than that.
///
/// An address of the other family never equals the result, so families do not mix.
fn mask(address: IpAddr, prefix: u8) -> Option<IpAddr> {
    match address {
        IpAddr::V4(a) => {
            let host_bits = 32_u32.checked_sub(prefix.into())?;
            let mask = u32::MAX.checked_shl(host_bits).unwrap_or(0);
            Some(Ipv4Addr::from_bits(a.to_bits() & mask).into())
        }
        IpAddr::V6(a) => {
            let host_bits = 128_u32.checked_sub(prefix.into())?;
            let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
            Some(Ipv6Addr::from_bits(a.to_bits() & mask).into())
        }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(s: &str) -> Result<Self, CidrError> {
        let syntax = || CidrError::Syntax(s.to_owned());
        let (address, prefix) = s.split_once('/').map_or((s, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| syntax())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(p) if p.bytes().all(|b| b.is_ascii_digit()) => p.parse().map_err(|_| syntax())?,
            Some(_) => return Err(syntax()),
            None => bits,
        };
        // Mapped addresses are compared as IPv4, so a mapped network is kept as one.
        let (address, prefix) = match address.to_canonical() {
            v4 if v4 != address && prefix >= 96 => (v4, prefix - 96),
            _ => (address, prefix),
        };
        let network = Self { address: mask(address, prefix).ok_or_else(syntax)?, prefix };
        if network.address != address {
            return Err(CidrError::HostBits { found: s.to_owned(), network });
        }
        Ok(network)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_by_prefix_within_one_family() {
        for (network, address, contained) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
            ("::1", "::1", true),
            ("::ffff:10.0.0.0/104", "10.9.9.9", true),
            ("::ffff:10.0.0.0/104", "11.0.0.1", false),
        ] {
            let network: Cidr = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), contained, "{network} {address}");
        }
    }

    #[test]
    fn refuses_what_is_no_network() {
        for bad in ["", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0.0/256", "::/129", "10.0.0", "host/8", "10.0.0.0/8/8"] {
            assert!(matches!(bad.parse::<Cidr>(), Err(CidrError::Syntax(_))), "{bad}");
        }
        let error = "10.1.0.0/8".parse::<Cidr>().unwrap_err();
        assert!(error.to_string().contains("write 10.0.0.0/8"), "{error}");
    }
}
