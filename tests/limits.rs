//! How much each caller may send.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Harness, within};

const SMALL: &str = "
plans:
  free: { rate: 60/min, burst: 3 }
  gold: { rate: 100/s, quota: 5/day }
default_plan: free
plan_from: { claim: plan }
clients: { nightly: { plan: gold, name: Nightly } }
routes:
  /r: { GET: read }
  /other: { GET: read }
  /open: { public: true }
";

/// RL-01, RL-03, RL-04.
#[tokio::test]
async fn a_caller_over_its_rate_gets_429_and_is_told_when_to_come_back() {
    let t = Harness::start(SMALL).await;
    let token = t.token().scope("read").sign();
    for left in ["2", "1", "0"] {
        let answer = t.get("/r").bearer(&token).send().await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.header("ratelimit-policy"), "\"free\";q=60;w=60");
        assert!(answer.header("ratelimit").starts_with(&format!("\"free\";r={left};t=")));
    }
    let answer = t.get("/r").bearer(&token).send().await;
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.header("ratelimit"), "\"free\";r=0;t=1");
    let body = answer.json();
    assert_eq!(body["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(body["violated-policies"], json!(["free"]));
    assert_eq!(body["reason"], "rate_limited");
    assert_eq!(t.backend.seen().len(), 3);
    assert_eq!(t.denials("/r", "rate_limited").await, 1.0);
    let limited = [("route", "/r"), ("plan", "free")];
    assert_eq!(t.metric("scopegate_rate_limited_total", &limited).await, 1.0);

    t.clock.advance(Duration::from_secs(1));
    assert_eq!(t.get("/r").bearer(&token).send().await.status(), 200);
}

/// A plan follows the client through all its tokens and routes, and tiers follow a claim.
#[tokio::test]
async fn plans_come_from_the_client_then_the_claim_then_the_default() {
    let t = Harness::start(SMALL).await;
    let policy_of = async |token: String| {
        let answer = t.get("/r").bearer(&token).send().await;
        answer.header("ratelimit-policy").to_owned()
    };
    let gold = "\"gold\";q=100;w=1, \"gold-quota\";q=5;w=86400";
    let free = "\"free\";q=60;w=60";
    let token = |client: &str| t.token().scope("read").claim("client_id", client);
    assert_eq!(policy_of(token("nightly").sign()).await, gold);
    assert_eq!(policy_of(token("a").claim("plan", "gold").sign()).await, gold);
    assert_eq!(policy_of(token("b").claim("plan", "platinum").sign()).await, free);
    assert_eq!(policy_of(token("c").sign()).await, free);
}

/// The quota for a longer period has its own reason.
#[tokio::test]
async fn a_used_up_quota_is_429_quota_exceeded() {
    let t = Harness::start(SMALL).await;
    let token = t.token().scope("read").claim("client_id", "nightly").sign();
    for _ in 0..5 {
        assert_eq!(t.get("/r").bearer(&token).send().await.status(), 200);
    }
    let answer = t.get("/r").bearer(&token).send().await;
    assert_eq!((answer.status().as_u16(), answer.reason().as_str()), (429, "quota_exceeded"));
    assert!(answer.header("retry-after").parse::<u64>().unwrap() > 3600);
    let known = [("client", "nightly"), ("plan", "gold"), ("outcome", "ok")];
    assert_eq!(t.metric("scopegate_client_requests_total", &known).await, 5.0);
}

/// RL-02, CL-13: equal client ids of two issuers are two callers.
#[tokio::test]
async fn issuers_do_not_share_quotas() {
    let other = crate::harness::Issuer::start().await;
    let yaml = format!(
        "issuers:
  main: {{ url: '{{issuer}}', audience: https://api.example.com }}
  other: {{ url: '{}', audience: https://api.example.com }}
plans: {{ one: {{ rate: 1/day }} }}
default_plan: one
routes: {{ /r: {{ GET: read }} }}",
        other.url()
    );
    let t = Harness::start(&yaml).await;
    let ours = t.token().scope("read").sign();
    let theirs = other.token().scope("read").sign();
    assert_eq!(t.get("/r").bearer(&ours).send().await.status(), 200);
    assert_eq!(t.get("/r").bearer(&ours).send().await.status(), 429);
    assert_eq!(t.get("/r").bearer(&theirs).send().await.status(), 200);
}

/// RL-06, JT-18: forged tokens that name a client cost that client nothing.
#[tokio::test]
async fn forged_tokens_do_not_spend_their_victims_quota() {
    let t = Harness::start(SMALL).await;
    let stranger = crate::harness::keys::Key::es256("key-1");
    let forged = t.token().scope("read").signed_by(&stranger).sign();
    for _ in 0..20 {
        assert_eq!(t.get("/r").bearer(&forged).send().await.status(), 401);
    }
    let answer = t.get("/r").bearer(&t.token().scope("read").sign()).send().await;
    assert!(answer.header("ratelimit").starts_with("\"free\";r=2;"));
}

/// The flood limit stands before any cryptography, and before public routes.
#[tokio::test]
async fn a_flood_is_refused_before_tokens_are_looked_at() {
    let t =
        Harness::start("flood: 5/h\nroutes: { /r: { GET: read }, /open: { public: true } }").await;
    for _ in 0..5 {
        assert_eq!(t.get("/open").send().await.status(), 200);
    }
    let answer = t.get("/r").bearer("not.a.token").send().await;
    assert_eq!((answer.status().as_u16(), answer.reason().as_str()), (429, "flood"));
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(answer.header("ratelimit"), "");
    assert_eq!(t.metric("scopegate_tokens_total", &[]).await, 0.0);
    assert_eq!(t.backend.seen().len(), 5);
}

/// What `per:` counts by.
#[tokio::test]
async fn limits_count_by_user_route_and_claim() {
    let yaml = "routes:
  /user: { GET: read, limit: { rate: 1/day, per: user } }
  /route: { GET: read, limit: { rate: 1/day, per: route } }
  /claim: { GET: read, limit: { rate: 1/day, per: { claim: tenant } } }";
    let t = Harness::start(yaml).await;
    let status = async |path: &str, sub: &str, tenant: &str| {
        let token = t.token().scope("read").claim("sub", sub).claim("tenant", tenant).sign();
        t.get(path).bearer(&token).send().await.status().as_u16()
    };
    assert_eq!(status("/user", "a", "x").await, 200);
    assert_eq!(status("/user", "a", "y").await, 429);
    assert_eq!(status("/user", "b", "x").await, 200);
    assert_eq!(status("/route", "a", "x").await, 200);
    assert_eq!(status("/route", "b", "y").await, 429);
    assert_eq!(status("/claim", "a", "x").await, 200);
    assert_eq!(status("/claim", "b", "x").await, 429);
    assert_eq!(status("/claim", "a", "y").await, 200);
}

/// RL-07: of many at once, exactly as many pass as the limit says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_is_exact_under_concurrency() {
    let t = Harness::start(
        "plans: { p: { rate: 20/day } }\ndefault_plan: p\nroutes: { /r: { GET: read } }",
    )
    .await;
    let token = t.token().scope("read").sign();
    let calls: Vec<_> = (0..40).map(|_| tokio::spawn(t.get("/r").bearer(&token).send())).collect();
    let mut passed = 0;
    for call in calls {
        passed += usize::from(within(call).await.unwrap().status() == 200);
    }
    assert_eq!(passed, 20);
    assert_eq!(t.backend.seen().len(), 20);
}

/// RL-09: what the backend says of its own limits stays.
#[tokio::test]
async fn fields_of_the_backend_are_kept_beside_ours() {
    let t = Harness::start(SMALL).await;
    t.backend.reply(crate::harness::Reply {
        headers: vec![("ratelimit", "\"up\";r=1;t=5".into())],
        ..Default::default()
    });
    let answer = t.get("/r").bearer(&t.token().scope("read").sign()).send().await;
    let fields: Vec<_> = answer.headers().get_all("ratelimit").iter().collect();
    assert_eq!(fields.len(), 2);
    assert_eq!(fields[0], "\"up\";r=1;t=5");
}

/// RL-07, RL-08: a reload that changes other things forgets nothing that was spent.
#[tokio::test]
async fn a_reload_keeps_what_was_spent() {
    let yaml = "plans: { p: { rate: 1/day } }\ndefault_plan: p\nroutes: { /r: { GET: read } }";
    let t = Harness::start(yaml).await;
    let token = t.token().scope("read").sign();
    assert_eq!(t.get("/r").bearer(&token).send().await.status(), 200);
    t.rewrite(&yaml.replace("/r: {", "/new: { GET: read }, /r: {"));
    t.server.reload().await.expect("the file is good");
    assert_eq!(t.get("/new").bearer(&token).send().await.status(), 429);
}
