//! Who listens on a port, as far as `/proc` tells this user.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::bind::covers;

/// `process 4121 (node)`, or nothing where there is no `/proc` or the process is not ours to see.
pub(super) fn owner_of(address: SocketAddr) -> Option<String> {
    let inode = TABLES
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .find_map(|table| listening_inodes(&table, address).into_iter().next())?;
    process_with(&format!("socket:[{inode}]")).map(described)
}

/// `process 4121 (node)`.
pub(super) fn described(process: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    format!("process {process} ({})", name.trim())
}

/// Whether another process listens on one of these addresses, too.
pub(super) fn is_shared(addresses: &[SocketAddr]) -> bool {
    let own = open_here();
    TABLES.iter().filter_map(|table| fs::read_to_string(table).ok()).any(|table| {
        let inodes = addresses.iter().flat_map(|address| listening_inodes(&table, *address));
        inodes.into_iter().any(|inode| !own.contains(&format!("socket:[{inode}]")))
    })
}

/// What this process has open.
fn open_here() -> HashSet<String> {
    let Ok(descriptors) = fs::read_dir("/proc/self/fd") else { return HashSet::new() };
    let targets = descriptors.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.filter_map(|target| target.into_os_string().into_string().ok()).collect()
}

/// The inodes of the sockets that listen on `address`, from a table such as `/proc/net/tcp`.
fn listening_inodes(table: &str, address: SocketAddr) -> Vec<u64> {
    let listening = table.lines().skip(1).filter_map(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let bound = parse_address(columns.next()?)?;
        let state = columns.nth(1)?;
        let inode = columns.nth(5)?;
        (state == LISTEN && covers(bound, address)).then(|| inode.parse().ok())?
    });
    listening.collect()
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

/// Where the kernel lists sockets of this network namespace.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

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
        let find = |address: &str| listening_inodes(TABLE, address.parse().unwrap());
        assert_eq!(find("127.0.0.1:8080"), [4711]);
        assert_eq!(find("0.0.0.0:8080"), [4711]);
        assert!(find("127.0.0.1:8081").is_empty());
        assert_eq!(find("10.0.0.1:8082"), [4713]);
        assert!(find("127.0.0.2:8080").is_empty());
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn reads_ipv6_addresses() {
        let bound = parse_address("00000000000000000000000001000000:1F90").unwrap();
        assert_eq!(bound, "[::1]:8080".parse().unwrap());
        assert_eq!(parse_address("0100:1F90"), None);
    }
}
