//! Responses on their way back.

use http_body::Body;

use super::*;

async fn answered(answer: &'static str, then: &'static [Step]) -> (Backend, Sender, Forwarded) {
    let script: &'static [Step] =
        Box::leak([&[Read, Write(answer)], then].concat().into_boxed_slice());
    let backend = Backend::start(&[script]).await;
    let sender = Sender::to(&[backend.port]);
    let forwarded = sender.send(get()).await.unwrap();
    (backend, sender, forwarded)
}

/// HP-01, HP-16, HP-21, BR-15, BR-17: what is the backend's stays, what is the connection's goes.
#[tokio::test]
async fn a_response_keeps_its_fields_but_those_of_the_connection() {
    let answer = "HTTP/1.1 401 Who Are You\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\
        Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authenticate: Basic\r\n\
        Upgrade: h2c\r\nWWW-Authenticate: Basic realm=\"x\"\r\nSet-Cookie: a=1\r\n\
        Set-Cookie: b=2\r\nX-Kept: 1\r\nContent-Length: 2\r\n\r\nno";
    let (_backend, _sender, forwarded) = answered(answer, &[]).await;
    let headers = forwarded.response.headers();
    let gone =
        ["connection", "x-hop", "keep-alive", "proxy-connection", "proxy-authenticate", "upgrade"];
    for name in gone {
        assert!(!headers.contains_key(name), "{name}");
    }
    let cookies: Vec<_> = headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    let challenges: Vec<_> = headers.get_all("www-authenticate").iter().collect();
    assert_eq!(challenges, ["Basic realm=\"x\""]);
    assert_eq!(
        (forwarded.response.status().as_u16(), &headers["x-kept"]),
        (401, &"1".parse().unwrap())
    );
}

/// HP-09: interim answers are not the answer.
#[tokio::test]
async fn interim_responses_are_skipped() {
    let answer = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n\
        HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (_backend, _sender, forwarded) = answered(answer, &[]).await;
    assert_eq!(forwarded.response.status(), 200);
    assert!(!forwarded.response.headers().contains_key("link"));
    assert_eq!(text(forwarded.response.into_body()).await.unwrap(), "ok");
}

/// HP-19: half a body is an error, however it is framed and however it was cut.
#[tokio::test]
async fn a_truncated_body_is_never_presented_as_complete() {
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    let broken = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhalf\r\n";
    let until_close = "HTTP/1.1 200 OK\r\n\r\nhalf";
    static CUT: &[Step] = &[Close];
    static TORN: &[Step] = &[Reset];
    for (answer, then) in
        [(length, CUT), (chunked, CUT), (broken, CUT), (length, TORN), (until_close, TORN)]
    {
        let (_backend, sender, forwarded) = answered(answer, then).await;
        let body = forwarded.response.into_body();
        assert_eq!(text(body).await, Err(BodyError::Cut), "{answer} {then:?}");
        assert_eq!((sender.errors("reset"), sender.resting()), (1, 0));
    }
}

/// HP-22: frames come as the backend writes them, before the end of the body.
#[tokio::test]
async fn a_body_streams() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nevent1\r\n";
    let (_backend, _sender, forwarded) = answered(answer, &[Hang]).await;
    assert!(!forwarded.response.headers().contains_key("transfer-encoding"));
    let mut body = forwarded.response.into_body();
    assert_eq!(body.size_hint().exact(), None);
    let first = body.frame().await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "event1");
}

/// HP-10: trailers pass without what could change the message.
#[tokio::test]
async fn response_trailers_are_scrubbed() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nTrailer: X-Sum\r\n\
        Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nX-Hop: 1\r\n\
        Content-Length: 9\r\nWWW-Authenticate: Basic\r\nSet-Cookie: a=1\r\n\
        Strict-Transport-Security: max-age=0\r\nX-Auth-Subject: root\r\n\
        Access-Control-Allow-Origin: *\r\nAlt-Svc: clear\r\n\r\n";
    let (_backend, sender, forwarded) = answered(answer, &[]).await;
    let collected = forwarded.response.into_body().collect().await.unwrap();
    let trailers = collected.trailers().unwrap();
    assert_eq!((trailers.len(), &trailers["x-sum"]), (1, &"1".parse().unwrap()));
    assert_eq!(sender.resting(), 1);
}

/// A body that falls silent ends in an error after the idle timeout.
#[tokio::test]
async fn a_silent_body_stalls() {
    static SILENT: &[Step] =
        &[Read, Write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), Hang];
    let backend = Backend::start(&[SILENT]).await;
    let settings =
        config::Upstream { idle_timeout: Duration::from_millis(50), ..settings(&[backend.port]) };
    let sender = Sender::with(&settings);
    let body = sender.send(get()).await.unwrap().response.into_body();
    assert_eq!(text(body).await, Err(BodyError::Stalled));
    assert_eq!(sender.errors("timeout"), 1);
    backend.closed(1).await;
}

/// An upload that crosses the limit after the answer began breaks both off.
#[tokio::test]
async fn an_upload_that_grows_too_large_during_the_answer_breaks_it_off() {
    static ECHO: &[Step] = &[
        ReadHead,
        Write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"),
        Read,
    ];
    let backend = Backend::start(&[ECHO]).await;
    let sender = Sender::to(&[backend.port]);
    let (upload, script) = Script::fed(None);
    feed(&upload, "abc");
    let mut body = sender.send(request("POST", &[], script)).await.unwrap().response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ok");
    upload.send(Ok(Frame::data(Bytes::from(vec![b'x'; 1000])))).unwrap();
    assert_eq!(body.frame().await.unwrap().unwrap_err(), BodyError::TooLarge);
    assert_eq!(body.frame().await.unwrap().unwrap_err(), BodyError::TooLarge, "and stays so");
    backend.closed(1).await;
}

/// Memory is bounded: what the client does not take is not read (HP-22).
#[tokio::test]
async fn a_body_that_is_not_read_holds_the_backend_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sender = Sender::to(&[listener.local_addr().unwrap().port()]);
    let flood = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        drop(stream.read(&mut [0; 4096]).await);
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut written, mut refused) = (0, 0);
        // Until the socket has taken nothing for many turns of everyone else.
        while refused < 10_000 {
            match stream.try_write(&[0; 64 << 10]) {
                Ok(count) => (written, refused) = (written + count, 0),
                Err(_) => refused += 1,
            }
            tokio::task::yield_now().await;
        }
        written
    });
    let body = sender.send(get()).await.unwrap().response.into_body();
    let written = flood.await.unwrap();
    assert!(written < 100 << 20, "{written}");
    drop(body);
}
