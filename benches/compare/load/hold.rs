//! Connections that were used once and then stay open.

use std::net::SocketAddr;

use crate::http1::Http1;
use crate::requests::{Asked, Requests};
use crate::tls::To;
use crate::{backend, stdin_ends};

/// Opens them one by one, so that no backlog overflows.
#[derive(clap::Args)]
pub struct Hold {
    #[command(flatten)]
    to: To,
    #[command(flatten)]
    asked: Asked,
    /// Answer here as the backend
    #[arg(long)]
    backend: SocketAddr,
    #[arg(long)]
    connections: usize,
}

impl Hold {
    pub async fn open(self) {
        backend::start(self.backend).await;
        let requests = Requests::new(&self.asked);
        let mut open = Vec::new();
        for _ in 0..self.connections {
            let mut connection = Http1::connect(self.to.destination(b"http/1.1")).await.unwrap();
            let status = connection.send(&requests.next().unwrap()).await.unwrap();
            assert_eq!(status, 200);
            open.push(connection);
        }
        println!("ready");
        stdin_ends().await;
    }
}
