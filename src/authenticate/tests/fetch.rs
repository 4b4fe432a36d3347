//! Questions over connections that are kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::authenticate::fetch::{Fetcher, Form};
use crate::clock::Clock;

/// Answers the first question of a connection as if more were welcome, and hangs up on the second.
async fn serve(mut stream: TcpStream, hung_up: Arc<AtomicUsize>) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    let _first = stream.read(&mut buffer).await?;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await?;
    if stream.read(&mut buffer).await? > 0 {
        hung_up.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

/// A server may end a kept connection at any time: that is no failure of the server.
#[tokio::test]
async fn a_question_that_meets_a_connection_at_its_end_is_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/introspect", listener.local_addr().unwrap());
    let hung_up = Arc::new(AtomicUsize::new(0));
    let server = tokio::spawn({
        let hung_up = Arc::clone(&hung_up);
        async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&hung_up)));
            }
        }
    });
    let fetcher = Fetcher::of_answers(false, &Clock::default(), 4, Duration::from_secs(20));
    for _ in 0..100 {
        let form = Form { fields: "token=x".into(), authorization: None, accept: "*/*" };
        assert_eq!(fetcher.post(&url, form).await.unwrap().body, "{}");
        if hung_up.load(Ordering::SeqCst) > 2 {
            break;
        }
    }
    assert!(hung_up.load(Ordering::SeqCst) > 2, "no connection was kept");
    server.abort();
}
