//! One request without a body on a connection of its own, as for a check of health.

use http::uri::Scheme;
use http::{Request, StatusCode, Uri, header};

use crate::forward::exchange::Fault;
use crate::forward::socket::Socket;

/// Asks, and answers with the status. The connection closes behind it. Takes as long as the backend
/// does: the caller bounds the time.
///
/// # Errors
/// `Protocol` for what is not HTTP/2, `Reset` if there is no answer.
pub(in crate::forward) async fn ask(
    socket: Socket,
    host: &str,
    path: &str,
) -> Result<StatusCode, Fault> {
    let request = question(socket.is_secured(), host, path).map_err(|_| Fault::Protocol)?;
    let opened = h2::client::handshake(socket).await;
    let (mut sender, connection) = opened.map_err(|_| Fault::Reset)?;
    let answer = async {
        let (response, _) = sender.send_request(request, true).map_err(fault)?;
        Ok(response.await.map_err(fault)?.status())
    };
    tokio::select! {
        answer = answer => answer,
        ended = connection => Err(ended.err().map_or(Fault::Reset, fault)),
    }
}

fn question(secured: bool, host: &str, path: &str) -> http::Result<Request<()>> {
    let scheme = if secured { Scheme::HTTPS } else { Scheme::HTTP };
    let uri = Uri::builder().scheme(scheme).authority(host).path_and_query(path).build()?;
    Request::get(uri).header(header::USER_AGENT, USER_AGENT).header(header::ACCEPT, "*/*").body(())
}

#[expect(clippy::needless_pass_by_value, reason = "it maps errors")]
fn fault(error: h2::Error) -> Fault {
    if error.is_library() { Fault::Protocol } else { Fault::Reset }
}

/// Who asks.
pub(in crate::forward) const USER_AGENT: &str = "scopegate-health";

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn asked<F: Future<Output = ()> + Send + 'static>(
        serve: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) -> Result<StatusCode, Fault> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { serve(listener.accept().await.unwrap().0).await });
        let socket = Socket::Tcp(TcpStream::connect(address).await.unwrap());
        ask(socket, "a", "/healthz").await
    }

    #[tokio::test]
    async fn a_status_is_the_answer() {
        let answer = asked(async |stream| {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let (request, mut respond) = connection.accept().await.unwrap().unwrap();
            assert_eq!(request.uri().path(), "/healthz");
            let response = http::Response::builder().status(503).body(()).unwrap();
            respond.send_response(response, true).unwrap();
            while connection.accept().await.is_some() {}
        });
        assert_eq!(answer.await, Ok(StatusCode::SERVICE_UNAVAILABLE));
    }

    #[tokio::test]
    async fn what_is_no_answer_is_told() {
        let http1 = asked(async |mut stream: TcpStream| {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            std::future::pending::<()>().await;
        });
        assert_eq!(http1.await, Err(Fault::Protocol));
        assert_eq!(asked(async |stream| drop(stream)).await, Err(Fault::Reset));
    }
}
