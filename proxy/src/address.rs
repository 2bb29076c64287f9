//! Which addresses belong to the Internet: all that no RFC keeps for something nearer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// First address, length of the prefix: IANA's special-purpose registry, and multicast.
const V4: &[([u8; 4], u32)] = &[
    ([0, 0, 0, 0], 8),       // this network
    ([10, 0, 0, 0], 8),      // private
    ([100, 64, 0, 0], 10),   // carrier-grade NAT
    ([127, 0, 0, 0], 8),     // loopback
    ([169, 254, 0, 0], 16),  // link-local; metadata of clouds
    ([172, 16, 0, 0], 12),   // private
    ([192, 0, 0, 0], 24),    // protocol assignments
    ([192, 0, 2, 0], 24),    // documentation
    ([192, 88, 99, 0], 24),  // 6to4 relays
    ([192, 168, 0, 0], 16),  // private
    ([198, 18, 0, 0], 15),   // benchmarks
    ([198, 51, 100, 0], 24), // documentation
    ([203, 0, 113, 0], 24),  // documentation
    ([224, 0, 0, 0], 3),     // multicast, reserved, broadcast
];

/// Only 2000::/3 is the Internet; of it, not these.
const V6: &[(Ipv6Addr, u32)] = &[
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // Teredo, ORCHID and other assignments
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4: any address of version 4
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation
];

/// Whether the address is one of the Internet.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            !V4.iter().any(|(of, bits)| u32::from(v4) >> (32 - bits) == u32::from(Ipv4Addr::from(*of)) >> (32 - bits))
        }
        IpAddr::V6(v6) => {
            let within = |of: &Ipv6Addr, bits: u32| u128::from(v6) >> (128 - bits) == u128::from(*of) >> (128 - bits);
            within(&Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3) && !V6.iter().any(|(of, bits)| within(of, *bits))
        }
    }
}

/// Whether the address is one of this machine's, also a public one: a service that is kept from the Internet by a packet filter hears whoever comes
/// from here. The kernel says so by the address that it would send from; nothing is sent.
pub fn is_own(address: IpAddr) -> bool {
    let any = if address.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let sender = UdpSocket::bind((any, 0)).and_then(|socket| socket.connect((address, 1)).and_then(|()| socket.local_addr()));
    sender.is_ok_and(|sender| sender.ip() == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_are_those_that_the_kernel_sends_from() {
        assert!(is_own("127.0.0.1".parse().unwrap()));
        assert_eq!(is_own("::1".parse().unwrap()), UdpSocket::bind("[::1]:0").is_ok(), "a machine without version 6");
        assert!(!is_own("192.0.2.77".parse().unwrap()) && !is_own("2001:db8::77".parse().unwrap()));
        let outwards = UdpSocket::bind("0.0.0.0:0").unwrap();
        if outwards.connect("192.0.2.77:1").is_ok() {
            assert!(is_own(outwards.local_addr().unwrap().ip()));
        }
    }

    #[test]
    fn the_edges_of_every_range_are_where_they_should_be() {
        let public = ["1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0"];
        let more =
            ["126.255.255.255", "128.0.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "2606:4700::1111", "2400::1"];
        for text in public.into_iter().chain(more) {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
        let near =
            ["0.1.2.3", "10.255.255.255", "100.64.0.0", "127.255.255.255", "169.254.169.254", "172.31.255.255", "192.168.0.0"];
        let v6 = [
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "ff02::1",
            "2001:db8::1",
            "2002:a00:1::",
        ];
        for text in near.into_iter().chain(["198.19.255.255", "224.0.0.1", "255.255.255.255"]).chain(v6) {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }
}
