//! What was authorised is what is forwarded.

use proptest::strategy::{Strategy, ValueTree};

use crate::harness::{Harness, raw};

const CORPUS: [&str; 34] = [
    "/a/../admin",
    "/a/./b",
    "/%2e%2e/admin",
    "/.%2E/x",
    "/a/..",
    "/..",
    "/public%2f..%2fadmin",
    "/a%5cb",
    "/a\\..\\admin",
    "/%252e%252e/admin",
    "/%252fadmin",
    "/%zz",
    "/%4",
    "/a%00",
    "/%0d%0a",
    "/a%7f",
    "/%c0%ae",
    "/\u{ff}",
    "//admin",
    "/a//b",
    "//evil.com/x",
    "/admin;x=1",
    "/public/..;/admin",
    "/admin%3b",
    "/a%3fb",
    "/a%23b",
    "/public/.;/x",
    "/%2e",
    "/a%2fb",
    "/a/%2E%2E%2Fadmin",
    "/{a}",
    "/a|b",
    "/a%e2%80",
    "/a%1b",
];

/// PA-02 to PA-05, PA-07 to PA-09; bypasses 1 to 5, 7, 11, 13: refused although `/**` is public.
#[tokio::test]
async fn ambiguous_paths_are_refused_on_every_route() {
    let t = Harness::start("routes: { /**: { public: true }, /admin: { GET: admin } }").await;
    for path in CORPUS {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = raw::exchange(t.address(), request).await;
        assert_eq!(raw::statuses(&answer), [400], "{path}: {answer}");
    }
    t.backend.saw_nothing();
    assert!(t.denials("-", "ambiguous_path").await >= 30.0);
}

/// PA-06, bypass 8.
#[tokio::test]
async fn other_spellings_of_a_path_are_judged_and_forwarded_as_the_one() {
    let t = Harness::start("routes: { /**: { public: true }, /admin: { GET: admin } }").await;
    for path in ["/%61dmin", "/%61%64min", "/admin?x=/public", "/admin?"] {
        assert_eq!(t.get(path).send().await.status(), 401, "{path}");
    }
    t.backend.saw_nothing();
    assert_eq!(t.get("/caf%c3%a9/%7Ex").send().await.status(), 200);
    assert_eq!(t.backend.saw_one().target, "/caf%C3%A9/~x");
}

/// PA-01, PA-04: which route it is must not depend on how often the backend decodes.
#[tokio::test]
async fn a_path_that_is_another_route_once_it_is_decoded_is_refused() {
    let t = Harness::start(
        "routes: { '/users/{id}': { public: true }, '/users/me:drop': { GET: admin }, /**: { public: true }, /@me/**: { GET: me } }",
    )
    .await;
    let refused =
        ["/users/me%3Adrop", "/users/me%3adrop?x", "/%40me/x", "/%252%65%252%65/x", "/%25%32f"];
    for path in refused {
        let answer = t.get(path).send().await;
        let said = (answer.status().as_u16(), &*answer.reason());
        assert_eq!(said, (400, "ambiguous_path"), "{path}");
    }
    t.backend.saw_nothing();
    assert_eq!(t.denials("-", "ambiguous_path").await, refused.len() as f64);
    assert_eq!(t.get("/users/me:drop").send().await.status(), 401);
    // Where it makes no difference, the backend gets what the client wrote.
    for path in ["/users/a%40b.example%2Bc", "/users/me%3Aother", "/x%3Ay", "/100%25"] {
        t.backend.forget();
        assert_eq!(t.get(path).send().await.status(), 200, "{path}");
        assert_eq!(t.backend.saw_one().target, path);
    }
}

/// PA-03: only a route that says so gets encoded slashes, and gets them as they are.
#[tokio::test]
async fn encoded_slashes_are_kept_where_they_are_allowed() {
    let t = Harness::start("routes: { '/f/{name}': { public: true, allow_encoded_slash: true }, /g/**: { public: true } }").await;
    assert_eq!(t.get("/f/a%2fb").send().await.status(), 200);
    assert_eq!(t.backend.saw_one().target, "/f/a%2Fb");
    assert_eq!(t.get("/g/a%2fb").send().await.status(), 400);
    assert_eq!(t.get("/f/a%2f..%2fb").send().await.status(), 400);
}

/// PA-10, PA-11.
#[tokio::test]
async fn prefixes_end_at_segment_boundaries() {
    let t = Harness::start("routes: { /api/**: { public: true }, /exact: { public: true } }").await;
    for (path, status) in [
        ("/api", 200),
        ("/api/", 200),
        ("/api/x", 200),
        ("/apiary", 404),
        ("/api.json", 404),
        ("/exact", 200),
        ("/exact/", 404),
        ("/EXACT", 404),
    ] {
        assert_eq!(t.get(path).send().await.status(), status, "{path}");
    }
}

/// PA-12.
#[tokio::test]
async fn case_is_folded_only_where_the_route_says_so() {
    let t = Harness::start(
        "routes: { /Admin/x: { GET: admin, case_insensitive: true }, /**: { public: true } }",
    )
    .await;
    assert_eq!(t.get("/aDMIN/X").send().await.status(), 401);
    t.backend.saw_nothing();
}

/// PA-13, bypass 9.
#[tokio::test]
async fn a_stripped_path_is_still_one_path() {
    let t = Harness::start("routes: { /v1/**: { public: true, strip_prefix: /v1 } }").await;
    for (path, seen) in [("/v1/x/y?q=1", "/x/y?q=1"), ("/v1", "/"), ("/v1/", "/"), ("/v1?q", "/?q")]
    {
        assert_eq!(t.get(path).send().await.status(), 200);
        assert_eq!(t.backend.saw_one().target, seen);
        t.backend.forget();
    }
    assert_eq!(t.get("/v1//evil.com").send().await.status(), 400);
    t.backend.saw_nothing();
}

/// HP-17: routes of a host belong to that host, in any case and with any port.
#[tokio::test]
async fn a_host_in_a_pattern_beats_no_host() {
    let t = Harness::start("routes: { api.example.com/x: { GET: read }, /open: { public: true } }")
        .await;
    assert_eq!(t.get("/x").host("API.example.com:8443").send().await.status(), 401);
    assert_eq!(t.get("/x").host("other.example.com").send().await.status(), 404);
    assert_eq!(t.get("/x").host("api.example.com.").send().await.status(), 400);
    assert_eq!(t.get("/open").host("api.example.com").send().await.status(), 200);
}

/// PA-01, bypass 7: for any bytes as a path, the backend gets a path that is judged the same.
#[tokio::test]
async fn the_backend_gets_a_path_that_matches_the_same_route() {
    let t = Harness::start(
        "routes: { /a/**: { public: true }, '/a/{x}/b': { GET: b }, /a/c: { GET: c } }",
    )
    .await;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let paths = "/a(/([a-c]|%6[0-9a-f]|%2[ef]|\\.|%5c|;|x|%25|\\\\){0,4}){0,4}";
    let mut forwarded = 0;
    for _ in 0..400 {
        let path =
            proptest::string::string_regex(paths).unwrap().new_tree(&mut runner).unwrap().current();
        t.backend.forget();
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = raw::exchange(t.address(), request).await;
        if raw::statuses(&answer) != [200] {
            t.backend.saw_nothing();
            continue;
        }
        forwarded += 1;
        let seen = t.backend.saw_one().target;
        let again = t.get(&seen).send().await;
        assert_eq!(again.status(), 200, "{path} was forwarded as {seen}");
        assert_eq!(t.backend.seen()[1].target, seen);
    }
    assert!(forwarded > 20, "only {forwarded} of the paths were good");
}

/// A backend that takes `%2F` for a slash, though its route says that it does not, is not led to what
/// another route guards.
#[tokio::test]
async fn an_encoded_slash_leads_to_no_other_route() {
    let t = Harness::start(
        "
routes:
  /**: { allow_encoded_slash: true, GET: { public: true } }
  /admin/**: { GET: admin }
  /users/{id}: { allow_encoded_slash: true, GET: { public: true } }
  /users/{id}/secret: { GET: admin }
  /files/{name}: { allow_encoded_slash: true, GET: { public: true } }
  /own/{id}/**: { allow_encoded_slash: true, GET: { public: true } }
",
    )
    .await;
    for path in [
        "/admin%2Fx",
        "/admin%2fx",
        "/%61dmin%2Fx",
        "/users/1%2Fsecret",
        "/users%2F1",
        "/users%2F1%2Fsecret",
        "/files/a%2Fb",
    ] {
        let answer = t.get(path).send().await;
        assert_eq!(
            (answer.status().as_u16(), &*answer.reason()),
            (400, "ambiguous_path"),
            "{path}"
        );
    }
    t.backend.saw_nothing();
    for path in ["/x%2Fy", "/own/1/a%2Fb", "/own/1/a%2fb/c"] {
        assert_eq!(t.get(path).send().await.status(), 200, "{path}");
        assert_eq!(t.backend.saw_one().target, path.replace("%2f", "%2F"));
        t.backend.forget();
    }
    // Where no other route matches, what the route says of its backend is believed.
    let t = Harness::start(
        "routes:
  /files/{name}: { allow_encoded_slash: true, GET: { public: true } }",
    )
    .await;
    assert_eq!(t.get("/files/a%2Fb").send().await.status(), 200);
}

/// Backends that fold case know more of it than ASCII.
#[tokio::test]
async fn case_is_folded_as_far_as_any_backend_folds_it() {
    let t = Harness::start(
        "
routes:
  /**: { GET: { public: true } }
  /admin/**: { case_insensitive: true, GET: admin }
  /keys/**: { case_insensitive: true, strip_prefix: /keys, GET: admin }
  /café: { case_insensitive: true, GET: admin }
",
    )
    .await;
    let paths = [
        "/ADMIN",
        "/adm%C4%B0n/x",
        "/adm%C4%B1n",
        "/%E2%84%AAeys/x",
        "/key%C5%BF",
        "/caf%C3%89",
        "/CAF%C3%A9",
        "/Admin/",
    ];
    for path in paths {
        assert_eq!(t.get(path).send().await.status(), 401, "{path}");
    }
    t.backend.saw_nothing();
    let token = t.token().scope("admin").sign();
    for (path, seen) in [("/KEYS/x?y", "/x?y"), ("/%E2%84%AAeys/x", "/x"), ("/key%C5%BF", "/")] {
        assert_eq!(t.get(path).bearer(&token).send().await.status(), 200, "{path}");
        assert_eq!(t.backend.saw_one().target, seen);
        t.backend.forget();
    }
}

/// A prefix is as many segments as it is written with, however they are escaped.
#[tokio::test]
async fn a_prefix_is_stripped_by_segments() {
    let t = Harness::start(
        "
routes:
  /é/**: { strip_prefix: /é, GET: { public: true } }
  /é/abc/**: { strip_prefix: /é/abc, GET: { public: true } }
  /a b/**: { strip_prefix: /a b, GET: { public: true } }
",
    )
    .await;
    for (path, seen) in [
        ("/%C3%A9", "/"),
        ("/%C3%A9/", "/"),
        ("/%C3%A9/x", "/x"),
        ("/%C3%A9/abc/x?y=%20", "/x?y=%20"),
        ("/%C3%A9/abc", "/"),
        ("/a%20b/x", "/x"),
    ] {
        assert_eq!(t.get(path).send().await.status(), 200, "{path}");
        assert_eq!(t.backend.saw_one().target, seen, "{path}");
        t.backend.forget();
    }
}
