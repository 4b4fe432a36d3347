//! Names of backends: asked for in the background, and never worse known than before.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use scopegate::forward::Resolver;
use socket2::{Domain, Socket, Type};

use crate::harness::chaos::{Chaos, Step::*};
use crate::harness::{Harness, until};

/// What the name `orders.test` stands for; nothing is an error.
#[derive(Clone, Default)]
struct Zone {
    addresses: Arc<Mutex<Vec<IpAddr>>>,
    asked: Arc<AtomicUsize>,
}

impl Zone {
    fn is(&self, addresses: &[Ipv4Addr]) {
        let addresses = addresses.iter().copied().map(IpAddr::V4);
        *self.addresses.lock().unwrap() = addresses.collect();
    }

    fn resolver(&self) -> Resolver {
        let zone = self.clone();
        Resolver::new(move |name| {
            assert_eq!(name, "orders.test");
            zone.asked.fetch_add(1, Ordering::SeqCst);
            let known = zone.addresses.lock().unwrap().clone();
            if known.is_empty() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(known) }
        })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Lets time pass until the name was asked for again.
    async fn is_asked_again(&self, t: &Harness) {
        let before = self.asked();
        until("the name to be asked for", async || {
            t.clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
            self.asked() > before
        })
        .await;
    }
}

const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const TWO: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Two servers on one port of two addresses.
async fn servers() -> (u16, Chaos, Chaos) {
    let bound = |ip: Ipv4Addr, port: u16| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((ip, port)).into()).ok()?;
        Some(socket)
    };
    for _ in 0..20 {
        let one = bound(ONE, 0).unwrap();
        let port = one.local_addr().unwrap().as_socket().unwrap().port();
        if let Some(two) = bound(TWO, port) {
            return (port, Chaos::listen_on(one), Chaos::listen_on(two));
        }
    }
    panic!("no port is free on both addresses");
}

async fn before(port: u16, zone: &Zone) -> Harness {
    let yaml = format!(
        "upstream: http://orders.test:{port}\nroutes: {{ /x: {{ public: true }} }}\n# upstreams:"
    );
    Harness::resolving(&yaml, zone.resolver()).await
}

async fn get(t: &Harness, times: usize) {
    for _ in 0..times {
        assert_eq!(t.get("/x").send().await.text(), "good");
    }
}

/// A name that comes to stand for another address is followed without a reload, also by what was
/// connected before; and it is not asked for at each request.
#[tokio::test]
async fn a_name_that_moves_is_followed() {
    let (port, one, two) = servers().await;
    let zone = Zone::default();
    zone.is(&[ONE]);
    let t = before(port, &zone).await;
    get(&t, 20).await;
    assert_eq!((one.heads().len(), two.heads().len()), (20, 0));
    assert!(zone.asked() <= 2, "{}", zone.asked());
    zone.is(&[TWO]);
    zone.is_asked_again(&t).await;
    until("the new address", async || {
        get(&t, 1).await;
        !two.heads().is_empty()
    })
    .await;
    let before = one.heads().len();
    get(&t, 20).await;
    assert_eq!(one.heads().len(), before);
}

/// All addresses of a name are used, each in its turn.
#[tokio::test]
async fn all_addresses_are_used() {
    let (port, one, two) = servers().await;
    for server in [&one, &two] {
        server.plays(&[
            Head,
            Say("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\ngood"),
        ]);
    }
    let zone = Zone::default();
    zone.is(&[TWO, ONE]);
    let t = before(port, &zone).await;
    get(&t, 20).await;
    assert_eq!((one.heads().len(), two.heads().len()), (10, 10));
    drop(one);
    get(&t, 10).await;
    assert_eq!(two.heads().len(), 20, "an address that refuses is passed over");
}

/// While nobody answers for the name, the addresses that were known last are used.
#[tokio::test]
async fn the_last_known_addresses_stay_in_use() {
    let traces = crate::harness::Traces::start();
    let (port, one, _two) = servers().await;
    let zone = Zone::default();
    let t = before(port, &zone).await;
    let answer = t.get("/x").send().await;
    assert_eq!((answer.status().as_u16(), &*answer.reason()), (502, "upstream_unreachable"));
    let dns = [("upstream", "main"), ("reason", "dns")];
    assert_eq!(t.metric("scopegate_upstream_errors_total", &dns).await, 1.0);
    zone.is(&[ONE]);
    zone.is_asked_again(&t).await;
    until("the address", async || t.get("/x").send().await.status() == 200).await;
    zone.is(&[]);
    zone.is_asked_again(&t).await;
    zone.is_asked_again(&t).await;
    one.plays(&[Serve]);
    get(&t, 5).await;
    let log = traces.text();
    assert_eq!(log.matches("a target's name cannot be resolved").count(), 2, "once each time");
    assert!(log.contains("addresses=1"), "{log}");
}
