//! Who listens on a port, as far as `/proc` tells this user.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::bind::covers;

/// `process 4121 (node)`, or nothing where there is no `/proc` or the process is not ours to see.
pub(super) fn owner_of(address: SocketAddr) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .find_map(|table| listening_inode(&table, address))?;
    let process = process_with(&format!("socket:[{inode}]"))?;
    let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    Some(format!("process {process} ({})", name.trim()))
}

/// The inode of the socket that listens on `address`, from a table such as `/proc/net/tcp`.
fn listening_inode(table: &str, address: SocketAddr) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let bound = parse_address(columns.next()?)?;
        let state = columns.nth(1)?;
        let inode = columns.nth(5)?;
        (state == LISTEN && covers(bound, address)).then(|| inode.parse().ok())?
    })
}

/// `0100007F:1F90`: words of the address in the machine's byte order, then the port.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words = (0..ip.len() / 8)
        .map(|word| u32::from_str_radix(ip.get(word * 8..word * 8 + 8)?, 16).ok())
        .collect::<Option<Vec<u32>>>()?;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let ip: IpAddr = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(four) => Ipv4Addr::from(four).into(),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?).into(),
    };
    Some(SocketAddr::new(ip, port))
}

/// The process that has this open.
fn process_with(open: &str) -> Option<u32> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find(|process: &u32| has_open(&Path::new("/proc").join(process.to_string()), open))
}

fn has_open(process: &Path, open: &str) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else { return false };
    descriptors
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| target.as_os_str() == open)
}

/// `TCP_LISTEN` of the kernel.
const LISTEN: &str = "0A";

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1
   1: 0100007F:1F91 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 4712 1
   2: 00000000:1F92 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1
";

    #[test]
    #[cfg(target_endian = "little")]
    fn finds_the_listener_of_a_port_and_no_connection() {
        let find = |address: &str| listening_inode(TABLE, address.parse().unwrap());
        assert_eq!(find("127.0.0.1:8080"), Some(4711));
        assert_eq!(find("0.0.0.0:8080"), Some(4711));
        assert_eq!(find("127.0.0.1:8081"), None);
        assert_eq!(find("10.0.0.1:8082"), Some(4713));
        assert_eq!(find("127.0.0.2:8080"), None);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn reads_ipv6_addresses() {
        let bound = parse_address("00000000000000000000000001000000:1F90").unwrap();
        assert_eq!(bound, "[::1]:8080".parse().unwrap());
        assert_eq!(parse_address("0100:1F90"), None);
    }
}
