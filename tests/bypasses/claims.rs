//! Claims in a form that nobody expected: they grant nothing, and they are not absent either.

use serde_json::{Value, json};

use crate::harness::{Harness, Token};

/// Whoever has a token, but for those whom `not` names.
const EXCEPT: &str = "
routes:
  /group: { GET: { all: [read, { not: { group: bad } }] } }
  /role: { GET: { all: [read, { not: { role: bad } }] } }
  /scope: { GET: { all: [{ token: any }, { not: { scope: bad } }] } }
  /claim: { GET: { all: [read, { not: { claim: { tags: bad } } }] } }
  /in: { GET: { all: [read, { not: { claim: { tags: { in: [bad, worse] } } } }] } }
  /contains: { GET: { all: [read, { not: { claim: { tags: { contains: bad } } } }] } }
  /starts: { GET: { all: [read, { not: { claim: { tags: { starts_with: ba } } } }] } }
  /number: { GET: { all: [read, { not: { claim: { level: 5 } } }] } }
  /deep: { GET: { all: [read, { not: { claim: { ext.status: bad } } }] } }
  /absent: { GET: { all: [read, { claim: { ext.status: { exists: false } } }] } }
  /acr: { GET: { all: [read, { not: { acr: weak } }] } }
  /fresh: { GET: { all: [read, { not: { max_age: 5m } }] } }
  /of/{tag}: { GET: { all: [read, { not: { claim: { tags: \"{tag}\" } } }] } }
";

impl Harness {
    async fn lets_in(&self, path: &str, token: &Token) {
        self.backend.forget();
        let answer = self.get(path).bearer(&token.sign()).send().await;
        assert_eq!(answer.status(), 200, "{path}: {}", token.payload());
        self.backend.saw_one();
        self.backend.forget();
    }

    async fn keeps_out(&self, path: &str, token: &Token) {
        self.backend.forget();
        let answer = self.get(path).bearer(&token.sign()).send().await;
        assert_eq!(answer.status(), 403, "{path}: {}", token.payload());
        self.backend.saw_nothing();
    }
}

fn odd() -> Vec<Value> {
    vec![
        json!({ "bad": true }),
        json!({ "list": ["bad"] }),
        json!([["bad"]]),
        json!([{ "name": "bad" }]),
        json!(["good", ["bad"]]),
        json!(["good", 7]),
        json!(7),
        json!(true),
    ]
}

#[tokio::test]
async fn what_cannot_be_read_is_not_absent() {
    let t = Harness::start(EXCEPT).await;
    let base = || t.issuer.token().scope("read");
    let cases = [
        ("/group", "groups"),
        ("/role", "roles"),
        ("/claim", "tags"),
        ("/in", "tags"),
        ("/contains", "tags"),
        ("/starts", "tags"),
    ];
    for (path, name) in cases {
        t.lets_in(path, &base()).await;
        t.lets_in(path, &base().claim(name, json!(null))).await;
        t.lets_in(path, &base().claim(name, json!([]))).await;
        t.lets_in(path, &base().claim(name, json!(["good"]))).await;
        t.keeps_out(path, &base().claim(name, json!(["good", "bad"]))).await;
        for value in odd() {
            t.keeps_out(path, &base().claim(name, value)).await;
        }
        // OIDC Core §5.6.2: it is said elsewhere.
        t.keeps_out(path, &base().claim("_claim_names", json!({ name: "src1" }))).await;
    }
    let denied = t.metric("scopegate_decisions_total", &[("reason", "claim_mismatch")]).await;
    assert_eq!(denied, 60.0);
}

#[tokio::test]
async fn scopes_in_another_form_are_not_absent() {
    let t = Harness::start(EXCEPT).await;
    t.lets_in("/scope", &t.issuer.token()).await;
    t.lets_in("/scope", &t.issuer.token().scope("read  write")).await;
    t.keeps_out("/scope", &t.issuer.token().scope("read bad")).await;
    for text in ["read\tbad", "read\nbad", "read\u{a0}bad", "read\"bad\""] {
        t.keeps_out("/scope", &t.issuer.token().scope(text)).await;
    }
    for value in odd() {
        t.keeps_out("/scope", &t.issuer.token().claim("scope", value)).await;
    }
    t.keeps_out("/scope", &t.issuer.token().claim("scope", json!(["bad"]))).await;
}

/// One number has many spellings in JSON, and a path may lead nowhere.
#[tokio::test]
async fn values_that_mean_the_same_are_the_same() {
    let t = Harness::start(EXCEPT).await;
    let base = || t.issuer.token().scope("read");
    for (path, name, value) in [
        ("/number", "level", json!(5)),
        ("/number", "level", json!(5.0)),
        ("/number", "level", json!("5")),
        ("/number", "level", json!([4, "5"])),
        ("/deep", "ext", json!({ "status": "bad" })),
        ("/deep", "ext", json!("bad")),
        ("/deep", "ext", json!([{ "status": "bad" }])),
        ("/absent", "ext", json!({ "status": "bad" })),
        ("/absent", "ext", json!("bad")),
        ("/absent", "ext", json!([{ "status": "bad" }])),
        ("/acr", "acr", json!("weak")),
        ("/acr", "acr", json!(["weak"])),
        ("/acr", "acr", json!(0)),
        ("/fresh", "auth_time", json!("1")),
        ("/of/x", "tags", json!("x")),
        ("/of/x", "tags", json!(["y", "x"])),
        ("/of/x", "tags", json!({ "x": 1 })),
        ("/of/5", "tags", json!(5)),
    ] {
        t.keeps_out(path, &base().claim(name, value)).await;
    }
    for (path, name, value) in [
        ("/number", "level", json!(6)),
        ("/number", "level", json!(5.5)),
        ("/number", "level", json!(null)),
        ("/deep", "ext", json!({ "status": "good" })),
        ("/deep", "ext", json!({})),
        ("/deep", "ext", json!(null)),
        ("/absent", "ext", json!({ "status": null })),
        ("/absent", "other", json!(1)),
        ("/acr", "acr", json!("strong")),
        ("/acr", "acr", json!(null)),
        ("/fresh", "auth_time", json!(1000)),
        ("/of/x", "tags", json!(["y"])),
        ("/of/5", "tags", json!(6)),
    ] {
        t.lets_in(path, &base().claim(name, value)).await;
    }
}

/// A date far ahead is no fresh login: in milliseconds, any login would be fresh for ever.
#[tokio::test]
async fn a_login_in_the_future_is_not_fresh() {
    let t = Harness::start("routes: { /r: { GET: { max_age: 5m } } }").await;
    let now = crate::harness::token::unix_now();
    for (time, status) in [(now, 200), (now + 60, 200), (now + 3600, 401), (now * 1000, 401)] {
        let token = t.token().claim("auth_time", time).sign();
        assert_eq!(t.get("/r").bearer(&token).send().await.status(), status, "{time}");
    }
    assert_eq!(t.denials("/r", "step_up_required").await, 2.0);
}

/// RFC 9700 §4.15: a client may choose an id that is a person's name.
#[tokio::test]
async fn a_machine_has_no_page_of_its_own() {
    let yaml = "
routes:
  /u/{id}: { GET: { claim: { sub: \"{id}\" } } }
  /not/{id}: { GET: { all: [{ token: any }, { not: { claim: { sub: \"{id}\" } } }] } }
";
    let t = Harness::start(yaml).await;
    t.lets_in("/u/alice", &t.token()).await;
    t.keeps_out("/u/alice", &t.token().machine("alice")).await;
    t.keeps_out("/not/alice", &t.token().machine("alice")).await;
    t.lets_in("/not/alice", &t.token().claim("sub", "bob")).await;
}

/// The claim that names the tenant names the one whose issuer signed, and no other beside it.
#[tokio::test]
async fn a_tenant_speaks_for_itself_alone() {
    let yaml = "
issuers:
  main:
    url: \"{issuer}/{tenantid}\"
    jwks: \"keys.json\"
    tenants: [ours, theirs]
    audience: https://api.example.com
    claims: { tenant: org.id }
identity_headers: { X-Tenant: \"{tenant}\" }
routes:
  /t/{tenant}: { GET: { claim: { tenant: \"{tenant}\" } } }
";
    let issuer = crate::harness::Issuer::start().await;
    let keys = json!({ "keys": [issuer.key.jwk()] });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    std::fs::write(&file, keys.to_string()).unwrap();
    let yaml = yaml.replace("keys.json", file.to_str().unwrap());
    let t = Harness::start_with(&yaml, issuer, crate::harness::Backend::start().await).await;
    let token =
        |tenant: &str| t.issuer.token().claim("iss", format!("{}/{tenant}", t.issuer.url()));
    let of = |tenant: &str, id: Value| token(tenant).claim("org", json!({ "id": id }));
    t.lets_in("/t/ours", &of("ours", json!("ours"))).await;
    t.lets_in("/t/theirs", &of("theirs", json!("theirs"))).await;
    for token in [
        of("theirs", json!("ours")),
        of("theirs", json!(["ours"])),
        of("theirs", json!(["theirs", "ours"])),
        of("theirs", json!({ "ours": 1 })),
        of("theirs", json!(5)),
        token("theirs").claim("org", "ours"),
        token("theirs").claim("org", json!([{ "id": "ours" }])),
        token("theirs").claim("_claim_names", json!({ "org": "src1" })),
    ] {
        for path in ["/t/ours", "/t/theirs", "/t/5"] {
            let answer = t.get(path).bearer(&token.sign()).send().await;
            assert_eq!(answer.status(), 401, "{path}: {}", token.payload());
            assert!(answer.header("www-authenticate").contains("invalid_token"));
        }
    }
    t.keeps_out("/t/ours", &token("theirs")).await;
    t.backend.saw_nothing();
}
