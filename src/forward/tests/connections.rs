//! Which connection and which target a request goes to.

use super::*;

/// A connection is used again after a complete exchange, by requests with bodies too.
#[tokio::test]
async fn sequential_requests_share_a_connection() {
    let backend = Backend::start(&[&[Serve]]).await;
    let sender = Sender::to(&[backend.port]);
    for _ in 0..3 {
        assert_eq!(sender.get().await, (200, "ok".into()));
    }
    let post = sender.send(request("POST", &[], Script::full("abc"))).await.unwrap();
    assert_eq!(*post.target, format!("127.0.0.1:{}", backend.port));
    assert_eq!(text(post.response.into_body()).await.unwrap(), "ok");
    assert_eq!(sender.get().await.0, 200);
    assert_eq!((backend.connections(), backend.requests()), (1, 5));
    assert_eq!((sender.working(), sender.resting()), (0, 1));
    let answers = sender.metrics.upstream_requests.with_label_values(&["main", "200"]);
    assert_eq!(answers.get(), 5);
}

/// HP-21: a response without a body gives its connection back even if nobody polls it.
#[tokio::test]
async fn responses_without_a_body_give_their_connection_back() {
    static SCRIPT: &[Step] = &[
        Read,
        Write("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
        Read,
        Write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        Read,
        Write("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        Serve,
    ];
    let backend = Backend::start(&[SCRIPT]).await;
    let sender = Sender::to(&[backend.port]);
    let empty = sender.send(get()).await.unwrap().response;
    assert!(!empty.headers().contains_key("content-length"), "204 has none");
    drop(empty);
    let head = sender.send(request("HEAD", &[], Script::empty())).await.unwrap().response;
    assert_eq!(head.headers()["content-length"], "5");
    assert!(http_body::Body::is_end_stream(head.body()));
    drop(head);
    assert_eq!(sender.send(get()).await.unwrap().response.status(), 304);
    assert_eq!(sender.get().await.0, 200);
    assert_eq!(backend.connections(), 1);
}

/// A connection that the backend closed while it rested is replaced; nothing is lost or doubled.
#[tokio::test]
async fn a_connection_closed_meanwhile_is_replaced() {
    let backend = Backend::start(&[&[Read, Write(OK), Close], &[Serve]]).await;
    let sender = Sender::to(&[backend.port]);
    assert_eq!(sender.get().await.0, 200);
    backend.closed(1).await;
    let post = sender.send(request("POST", &[], Script::full("abc"))).await.unwrap();
    assert_eq!(text(post.response.into_body()).await.unwrap(), "ok");
    assert_eq!((backend.connections(), backend.requests()), (2, 2));
}

/// HP-18: a request that hyper never began, because the connection turns out to be closed only
/// now, is handed back and sent once on another. (An end that arrives only after the request was
/// written cannot be told from a reset while it is served, and is one.)
#[tokio::test]
async fn a_request_that_was_never_begun_goes_to_another_connection() {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let sender = Sender::to(&[listener.local_addr().unwrap().port()]);
    let (close, may_close) = std::sync::mpsc::channel();
    let (closed, is_closed) = std::sync::mpsc::channel();
    let backend = std::thread::spawn(move || {
        let mut seen = Vec::new();
        for _ in 0..2 {
            let mut stream = listener.accept().unwrap().0;
            let mut buffer = [0; 4096];
            let count = stream.read(&mut buffer).unwrap();
            seen.push(String::from_utf8_lossy(&buffer[..count]).into_owned());
            stream.write_all(OK.as_bytes()).unwrap();
            may_close.recv().unwrap();
            drop(stream);
            closed.send(()).unwrap();
        }
        seen
    });
    assert_eq!(sender.get().await.0, 200);
    assert_eq!(sender.resting(), 1);
    // Blocks this thread, so that nothing here can notice the end before the next request. One
    // yield lets the runtime hear of it, in the same turn in which the request is made.
    close.send(()).unwrap();
    is_closed.recv().unwrap();
    tokio::task::yield_now().await;
    let post = sender.send(request("POST", &[], Script::full("abc"))).await.unwrap();
    assert_eq!(text(post.response.into_body()).await.unwrap(), "ok");
    close.send(()).unwrap();
    let seen = backend.join().unwrap();
    assert!(seen[0].starts_with("GET ") && seen[1].starts_with("POST "), "{seen:?}");
    assert_eq!(sender.errors("reset"), 0);
}

/// SM-11, bypass 42: bytes behind the end of a response are never taken for the next one.
#[tokio::test]
async fn a_connection_with_bytes_behind_the_end_is_not_used_again() {
    static SMUGGLE: &[Step] = &[
        Read,
        Write(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        ),
    ];
    static NO_BODY: &[Step] = &[
        Read,
        Write("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
    ];
    let backend = Backend::start(&[SMUGGLE, NO_BODY, &[Serve]]).await;
    let sender = Sender::to(&[backend.port]);
    assert_eq!(sender.get().await, (200, "ok".into()));
    assert_eq!(sender.get().await, (204, String::new()));
    assert_eq!(sender.get().await, (200, "ok".into()));
    assert_eq!(backend.connections(), 3);
}

/// What the backend does not want kept, and what HTTP/1.0 cannot keep, is not kept.
#[tokio::test]
async fn connections_that_must_close_are_not_used_again() {
    static CLOSING: &[Step] =
        &[Read, Write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")];
    static OLD: &[Step] =
        &[Read, Write("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")];
    let backend = Backend::start(&[CLOSING, OLD, &[Serve]]).await;
    let sender = Sender::to(&[backend.port]);
    for _ in 0..3 {
        let response = sender.send(get()).await.unwrap().response;
        assert_eq!(response.version(), Version::HTTP_11);
        assert!(!response.headers().contains_key("connection"));
        assert_eq!(text(response.into_body()).await.unwrap(), "ok");
    }
    assert_eq!(backend.connections(), 3);
}

/// SM-12: a connection on which half a request was sent is closed.
#[tokio::test]
async fn an_answer_before_the_end_of_the_upload_costs_the_connection() {
    static EARLY: &[Step] =
        &[ReadHead, Write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")];
    let backend = Backend::start(&[EARLY, &[Serve]]).await;
    let sender = Sender::to(&[backend.port]);
    let (upload, body) = Script::fed(Some(100));
    let response = sender.send(request("POST", &[], body)).await.unwrap().response;
    assert_eq!(response.status(), 413);
    assert_eq!(text(response.into_body()).await.unwrap(), "no");
    backend.closed(1).await;
    drop(upload);
    assert_eq!(sender.get().await.0, 200);
    assert_eq!(backend.connections(), 2);
}

/// A body that nobody reads to its end closes its connection.
#[tokio::test]
async fn a_dropped_body_closes_its_connection() {
    static LONG: &[Step] = &[Read, Write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok")];
    let backend = Backend::start(&[LONG, &[Serve]]).await;
    let sender = Sender::to(&[backend.port]);
    drop(sender.send(get()).await.unwrap());
    backend.closed(1).await;
    eventually(|| sender.working() == 0).await;
    assert_eq!(sender.get().await.0, 200);
    assert_eq!(backend.connections(), 2);
}

/// Idle connections are closed after their time.
#[tokio::test]
async fn a_connection_rests_no_longer_than_the_idle_timeout() {
    let backend = Backend::start(&[&[Serve]]).await;
    let settings =
        config::Upstream { idle_timeout: Duration::from_millis(50), ..settings(&[backend.port]) };
    let sender = Sender::with(&settings);
    assert_eq!(sender.get().await.0, 200);
    backend.closed(1).await;
    eventually(|| sender.resting() == 0).await;
    assert_eq!(sender.get().await.0, 200);
    assert_eq!(backend.connections(), 2);
}

/// Targets take turns, and one that cannot be connected to is passed over.
#[tokio::test]
async fn targets_take_turns_and_failing_ones_are_passed_over() {
    let (one, two) = (Backend::start(&[&[Serve]]).await, Backend::start(&[&[Serve]]).await);
    let sender = Sender::to(&[one.port, two.port]);
    for _ in 0..4 {
        assert_eq!(sender.get().await.0, 200);
    }
    assert_eq!((one.requests(), two.requests()), (2, 2));

    let closed = closed_port().await;
    let sender = Sender::to(&[closed, two.port]);
    for _ in 0..4 {
        assert_eq!(sender.get().await.0, 200);
    }
    assert_eq!((two.requests(), sender.errors("refused")), (6, 1));
    let label = format!("127.0.0.1:{closed}");
    assert_eq!(sender.metrics.upstream_up.with_label_values(&["main", &label]).get(), 0);
    // After a second it gets another chance.
    sender.clock.advance(Duration::from_secs(2));
    for _ in 0..2 {
        assert_eq!(sender.get().await.0, 200);
    }
    assert_eq!(sender.errors("refused"), 2);
}

/// The lines at start.
#[tokio::test]
async fn a_probe_says_which_target_fails_and_why() {
    let backend = Backend::start(&[&[Hang]]).await;
    assert!(Sender::to(&[backend.port]).upstream.probe().await.is_ok());
    let closed = closed_port().await;
    let problem = Sender::to(&[backend.port, closed]).upstream.probe().await.unwrap_err();
    assert_eq!(problem, format!("127.0.0.1:{closed}: connection refused"));
}

/// A reload keeps the connections of an upstream whose settings are the same.
#[tokio::test]
async fn an_upstream_knows_its_settings() {
    let sender = Sender::to(&[80]);
    assert!(sender.upstream.is_made_from(&settings(&[80])));
    assert!(!sender.upstream.is_made_from(&settings(&[81])));
    assert_eq!(**sender.upstream.name(), *"main");
}

/// Threads share the places for connections: a request waits in one queue for all of them, and is
/// given what another thread is done with.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn few_connections_serve_many_threads() {
    let backend = Backend::start(&[&[Serve]]).await;
    let mut settings = settings(&[backend.port]);
    settings.resilience.max_connections = 2;
    settings.connect_timeout = Duration::from_secs(20);
    let sender = Arc::new(Sender::with(&settings));
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..400 {
        let sender = Arc::clone(&sender);
        requests.spawn(async move { sender.get().await });
    }
    while let Some(answer) = requests.join_next().await {
        assert_eq!(answer.unwrap(), (200, "ok".into()));
    }
    assert_eq!(backend.requests(), 400);
    assert_eq!(backend.connections(), 2);
    assert_eq!((sender.working(), sender.resting()), (0, 2));
}

/// A target is loaded by what is under way at it, until the answer's body has ended.
#[tokio::test]
async fn a_request_is_under_way_until_its_answer_has_ended() {
    static LONG: &[Step] = &[Read, Write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok")];
    let (one, two) = (Backend::start(&[LONG]).await, Backend::start(&[LONG]).await);
    let sender = Sender::to(&[one.port, two.port]);
    let loads = || {
        let targets = sender.upstream.shard().backend.targets();
        targets.iter().map(|target| target.load()).collect::<Vec<_>>()
    };
    let answers = [sender.send(get()).await.unwrap(), sender.send(get()).await.unwrap()];
    assert_eq!(loads(), [1, 1]);
    drop(answers);
    assert_eq!(loads(), [0, 0]);
    // Alone, nothing is counted: there is nothing to choose.
    let sender = Sender::to(&[one.port]);
    let answer = sender.send(get()).await.unwrap();
    assert_eq!(sender.upstream.shard().backend.targets()[0].load(), 0);
    drop(answer);
}
