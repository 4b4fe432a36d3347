//! What a backend can do wrong, and what is answered then (HP-20).

use super::*;

/// HP-20: unreachable, unresolvable, and several targets of which none can be reached.
#[tokio::test]
async fn a_backend_that_cannot_be_connected_to_is_unreachable() {
    let sender = Sender::to(&[closed_port().await]);
    assert!(matches!(sender.refused().await, Rejection::UpstreamUnreachable(_)));
    assert_eq!((sender.errors("refused"), sender.errors("no_healthy")), (1, 0));

    let sender = Sender::to(&[closed_port().await, closed_port().await]);
    assert!(matches!(sender.refused().await, Rejection::NoHealthyUpstream));
    assert_eq!((sender.errors("refused"), sender.errors("no_healthy")), (2, 1));

    let mut unknown = settings(&[80]);
    unknown.targets[0].value.address =
        TargetAddress::Tcp { host: "does-not-exist.invalid".into(), port: 1, tls: false };
    let sender = Sender::with(&unknown);
    assert!(matches!(sender.refused().await, Rejection::UpstreamUnreachable(_)));
    assert_eq!(sender.errors("dns"), 1);
}

/// HP-20: no answer in time, by the upstream's setting or the route's.
#[tokio::test]
async fn a_backend_that_does_not_answer_times_out_and_loses_the_connection() {
    let backend = Backend::start(&[&[Read, Hang]]).await;
    let sender = Sender::to(&[backend.port]);
    let short = Some(Duration::from_millis(50));
    let late = sender.send_with(get(), |outgoing| outgoing.timeout = short).await;
    assert!(matches!(late.unwrap_err(), Rejection::UpstreamTimeout(_)));
    let late = sender.send_with(request("POST", &[], Script::full("abc")), |outgoing| {
        outgoing.timeout = short;
    });
    assert!(matches!(late.await.unwrap_err(), Rejection::UpstreamTimeout(_)));
    backend.closed(2).await;
    assert_eq!((sender.errors("timeout"), backend.requests()), (2, 2));
}

/// A client that lets its own upload stall is told so, and the backend is not blamed.
#[tokio::test]
async fn a_stalled_upload_is_the_clients_fault() {
    let backend = Backend::start(&[&[Read, Hang]]).await;
    let settings =
        config::Upstream { idle_timeout: Duration::from_millis(50), ..settings(&[backend.port]) };
    let sender = Sender::with(&settings);
    let (upload, body) = Script::fed(None);
    feed(&upload, "abc");
    let stalled = sender.send(request("POST", &[], body)).await.unwrap_err();
    assert!(matches!(stalled, Rejection::MalformedRequest("the body stalled")), "{stalled:?}");
    assert_eq!(sender.errors("timeout"), 0);
    backend.closed(1).await;
}

/// One byte now and then keeps an upload from being silent, and does not keep the connection.
#[tokio::test]
async fn a_dripping_upload_ends() {
    let backend = Backend::start(&[&[Read, Hang]]).await;
    let settings =
        config::Upstream { idle_timeout: Duration::from_millis(200), ..settings(&[backend.port]) };
    let sender = Sender::with(&settings);
    let (upload, body) = Script::fed(None);
    let dripping = tokio::spawn(async move {
        loop {
            feed(&upload, "x");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let stalled = sender.send(request("POST", &[], body));
    let stalled = tokio::time::timeout(Duration::from_secs(10), stalled).await.expect("an end");
    let stalled = stalled.unwrap_err();
    assert!(matches!(stalled, Rejection::MalformedRequest("the body stalled")), "{stalled:?}");
    assert_eq!(sender.errors("timeout"), 0);
    backend.closed(1).await;
    dripping.abort();
}

/// HP-18: what a backend may have read is never sent again.
#[tokio::test]
async fn a_reset_after_the_request_is_not_retried() {
    static BROKEN: [&[Step]; 2] = [&[Read, Reset], &[Read, Close]];
    for script in BROKEN {
        let backend = Backend::start(&[script]).await;
        let sender = Sender::to(&[backend.port]);
        for method in ["POST", "GET"] {
            let reset = sender.send(request(method, &[], Script::empty())).await.unwrap_err();
            assert!(matches!(reset, Rejection::UpstreamUnreachable(_)), "{reset:?}");
        }
        assert_eq!((backend.requests(), sender.errors("reset")), (2, 2));
    }
}

/// HP-18: on a connection that was used before, too.
#[tokio::test]
async fn a_reset_on_a_used_connection_is_not_retried() {
    let backend = Backend::start(&[&[Read, Write(OK), Read, Reset], &[Serve]]).await;
    let sender = Sender::to(&[backend.port]);
    assert_eq!(sender.get().await.0, 200);
    let reset = sender.send(request("POST", &[], Script::full("abc"))).await.unwrap_err();
    assert!(matches!(reset, Rejection::UpstreamUnreachable(_)), "{reset:?}");
    assert_eq!((backend.connections(), backend.requests()), (1, 2));
}

/// SM-11, HP-20, bypass 42: answers that two parsers could read in two ways, and answers to
/// questions that were not asked.
#[tokio::test]
async fn answers_with_broken_framing_are_refused() {
    static ANSWERS: &[&str] = &[
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: 1\r\n folded\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
    ];
    for answer in ANSWERS {
        let script: &'static [Step] = Box::leak(Box::new([Read, Write(answer)]));
        let backend = Backend::start(&[script, &[Serve]]).await;
        let sender = Sender::to(&[backend.port]);
        let refused = sender.send(get()).await;
        assert!(matches!(refused, Err(Rejection::UpstreamProtocol)), "{answer}: {refused:?}");
        assert_eq!(sender.errors("reset"), 1);
        assert_eq!(sender.get().await.0, 200);
        assert_eq!(backend.connections(), 2, "{answer}");
    }
}

/// RFC 9110 §8.6: equal lengths are passed on as one.
#[tokio::test]
async fn equal_lengths_are_one() {
    static TWICE: &[Step] =
        &[Read, Write("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\nContent-Length: 2\r\n\r\nok")];
    let backend = Backend::start(&[TWICE]).await;
    let response = Sender::to(&[backend.port]).send(get()).await.unwrap().response;
    let lines: Vec<_> = response.headers().get_all("content-length").iter().collect();
    assert_eq!(lines, ["2"]);
}

/// A body above the limit: by its length without a word to the backend, in chunks by breaking off.
#[tokio::test]
async fn a_body_above_the_limit_is_refused() {
    let backend = Backend::start(&[&[Read]]).await;
    let sender = Sender::to(&[backend.port]);
    let announced = sender.send(request("POST", &[], Script::fed(Some(1001)).1)).await;
    assert!(matches!(announced.unwrap_err(), Rejection::BodyTooLarge(1000)));
    assert_eq!(backend.connections(), 0);

    let (upload, body) = Script::fed(None);
    feed(&upload, "the first bytes");
    upload.send(Ok(Frame::data(Bytes::from(vec![b'x'; 1000])))).unwrap();
    let chunked = sender.send(request("POST", &[], body)).await.unwrap_err();
    assert!(matches!(chunked, Rejection::BodyTooLarge(1000)), "{chunked:?}");
    backend.closed(1).await;
    assert!(!backend.text(0).ends_with("0\r\n\r\n"), "never presented as complete");

    let exact = request("POST", &[], Script::full(Box::leak("x".repeat(1000).into_boxed_str())));
    let backend = Backend::start(&[&[Serve]]).await;
    assert!(Sender::to(&[backend.port]).send(exact).await.is_ok());
}

/// A client that breaks off leaves a backend with a message that is visibly incomplete.
#[tokio::test]
async fn a_broken_upload_is_never_presented_as_complete() {
    for length in [None, Some(100)] {
        let backend = Backend::start(&[&[Read]]).await;
        let sender = Sender::to(&[backend.port]);
        let (upload, body) = Script::fed(length);
        feed(&upload, "abc");
        upload.send(Err(BodyError::Cut)).unwrap();
        let broken = sender.send(request("POST", &[], body)).await.unwrap_err();
        assert!(matches!(broken, Rejection::MalformedRequest("the body broke off")), "{broken:?}");
        backend.closed(1).await;
        assert!(!backend.text(0).ends_with("0\r\n\r\n"));
        assert_eq!(sender.errors("reset"), 0);
    }
}

/// A caller that goes away takes its request with it.
#[tokio::test]
async fn a_cancelled_request_closes_its_connection() {
    let backend = Backend::start(&[&[Read, Hang]]).await;
    let sender = Sender::to(&[backend.port]);
    tokio::select! {
        answer = sender.send(get()) => panic!("{answer:?}"),
        () = eventually(|| backend.requests() == 1) => {}
    }
    backend.closed(1).await;
    eventually(|| sender.working() == 0).await;
}
