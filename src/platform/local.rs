//! This machine's own addresses.
use rustix::io::Errno;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Every IP address that this machine has now, in the calling thread's network namespace;
/// getifaddrs(3). Loopback addresses included.
#[allow(unsafe_code)]
pub fn addresses() -> Result<Vec<IpAddr>, Errno> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: `list` is a valid place for the result.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        let code = std::io::Error::last_os_error().raw_os_error();
        return Err(Errno::from_raw_os_error(code.unwrap_or(libc::EIO)));
    }
    let mut found = Vec::new();
    let mut next = list;
    while !next.is_null() {
        // SAFETY: `next` is an element of the list, which is freed only below.
        let entry = unsafe { &*next };
        // SAFETY: an element's address is null or points to a sockaddr of the family it names.
        found.extend(unsafe { address(entry.ifa_addr) });
        next = entry.ifa_next;
    }
    // SAFETY: `list` came from getifaddrs, and nothing of it is referred to any more.
    unsafe { libc::freeifaddrs(list) };
    Ok(found)
}

/// The IP address in a socket address.
///
/// # Safety
///
/// `socket` is null or points to a socket address that is as long as its family demands.
#[allow(unsafe_code)]
unsafe fn address(socket: *const libc::sockaddr) -> Option<IpAddr> {
    if socket.is_null() {
        return None;
    }
    // SAFETY: not null, and every socket address begins with its family.
    match i32::from(unsafe { (*socket).sa_family }) {
        libc::AF_INET => {
            // SAFETY: the family says that it is a sockaddr_in; read unaligned, to be sure.
            let v4 = unsafe { socket.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes()).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that it is a sockaddr_in6; read unaligned, to be sure.
            let v6 = unsafe { socket.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}
