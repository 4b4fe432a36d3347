//! What each code of a problem means, with YAML that is wrong and YAML that is right.

/// The explanation of a code.
pub(crate) struct Code {
    /// `E012` or `A101`.
    pub(crate) code: &'static str,
    /// What is wrong, in a few words.
    pub(crate) title: &'static str,
    /// Why it is wrong, in a paragraph.
    pub(crate) text: &'static str,
    /// An example of it.
    pub(crate) wrong: &'static str,
    /// The example as it should be.
    pub(crate) right: &'static str,
}

/// The explanation of `code`, in whatever case.
pub(crate) fn explain(code: &str) -> Option<&'static Code> {
    CODES.iter().find(|known| known.code.eq_ignore_ascii_case(code))
}

const fn code(
    code: &'static str,
    title: &'static str,
    text: &'static str,
    wrong: &'static str,
    right: &'static str,
) -> Code {
    Code { code, title, text, wrong, right }
}

/// Every code, in order.
pub(crate) static CODES: &[Code] = &[
    code(
        "E001",
        "unknown key",
        "A key that the gateway does not know would be ignored, and a setting that is ignored \
         protects nothing. So every key must be one of the language; `scopegate help routes` lists \
         those of a section.",
        "/orders/**:\n  upstreem: orders",
        "/orders/**:\n  upstream: orders",
    ),
    code(
        "E002",
        "a name that nothing has",
        "Routes, clients and rules name upstreams, plans, issuers and rules. The name must be \
         defined in the same configuration, spelled the same.",
        "upstreams: { orders: http://orders:3000 }\nroutes:\n  /orders/**: { upstream: order, GET: orders:read }",
        "upstreams: { orders: http://orders:3000 }\nroutes:\n  /orders/**: { upstream: orders, GET: orders:read }",
    ),
    code(
        "E003",
        "a route that does not say who may call it",
        "Nothing is open by omission. A route has a rule for each method, or `allow` for all, or \
         `public: true`.",
        "/reports/**:\n  upstream: orders",
        "/reports/**:\n  upstream: orders\n  allow: { token: any }",
    ),
    code(
        "E004",
        "the file cannot be read as YAML",
        "The place is where the reading stopped; the cause is often a little before it: a bracket \
         or quote that is not closed, or a line that is indented by chance. Inside [ ] and { }, \
         values with braces need quotes.",
        "issuers:\n  main: { url: ${ISSUER}, audience: api }",
        "issuers:\n  main: { url: \"${ISSUER}\", audience: api }",
    ),
    code(
        "E005",
        "something is written twice",
        "Of two values of one key only one could hold, and a reader could not tell which. The same \
         goes for two rules for one method, and for two spellings of one header.",
        "/orders/**:\n  GET: orders:read\n  GET, POST: orders:write",
        "/orders/**:\n  GET: orders:read\n  POST: orders:write",
    ),
    code(
        "E006",
        "a value of the wrong type",
        "The value is a list where text is needed, a number where a mapping is needed, or nothing \
         at all. Only `true` and `false` are truth values; `yes` and `on` are text.",
        "keep_authorization: yes",
        "keep_authorization: true",
    ),
    code(
        "E007",
        "something is missing",
        "A part without which the rest means nothing: an issuer's `url`, an upstream's `targets`, a \
         certificate's `key`, the routes.",
        "tls: { cert: tls.crt }",
        "tls: { cert: tls.crt, key: tls.key }",
    ),
    code(
        "E008",
        "a value that is not one of the language",
        "The value has the right type but does not read as what is needed: a word that is not in \
         the list, an address without a port, a network with bits behind its mask.",
        "listen: :8443",
        "listen: 0.0.0.0:8443",
    ),
    code(
        "E009",
        "an included file cannot be read",
        "The paths of `include` are relative to the file that has it. `*` stands for any part of a \
         file's name, not of a directory's.",
        "include: [\"*/routes.yaml\"]",
        "include: [routes.d/*.yaml]",
    ),
    code(
        "E010",
        "a pattern that no request can match",
        "Patterns are canonical paths: no empty, `.` or `..` segments, no encoded characters, no \
         `;` or `\\`, because requests with them are refused. `{name}` stands for one whole \
         segment, `**` for all that follow.",
        "/orders/*/items: { GET: orders:read }",
        "/orders/{id}/items: { GET: orders:read }",
    ),
    code(
        "E011",
        "not a method",
        "Methods are case-sensitive (RFC 9110 section 9.1) and written in capitals, several \
         separated by commas. A method of the backend's own may be named too, if it cannot be taken \
         for a known one with a slip. TRACE and CONNECT are never forwarded.",
        "/orders/**: { get: orders:read }",
        "/orders/**: { GET: orders:read }",
    ),
    code(
        "E012",
        "a list that does not say all or any",
        "Half of the readers of `[a, b]` think that both are needed, the other half that one is \
         enough. So a rule says it.",
        "GET: [orders:read, orders:admin]",
        "GET: { any: [orders:read, orders:admin] }",
    ),
    code(
        "E013",
        "a rule that does not mean what it seems to",
        "A rule is a scope, or a mapping whose keys are all needed. `public` stands alone, a string \
         is one scope, and a condition on a claim has one key.",
        "GET: public",
        "GET: { public: true }",
    ),
    code(
        "E014",
        "two settings that contradict each other",
        "Both could not hold: `issuer` beside `issuers`, `public` beside a rule for GET, two places \
         for the same keys, a client's secret where its key is used.",
        "/catalog/**: { public: true, GET: catalog:read }",
        "/catalog/**: { public: true, POST: catalog:write }",
    ),
    code(
        "E015",
        "a rule that uses itself",
        "Named rules may use each other, but not in a circle: a rule must end in what a token has.",
        "rules:\n  staff: { use: admin }\n  admin: { use: staff }",
        "rules:\n  staff: { use: admin }\n  admin: { role: admin }",
    ),
    code(
        "E016",
        "a parameter that the pattern does not have",
        "`\"{tenant}\"` as a claim's value stands for the segment of the path that the pattern \
         calls `{tenant}`, and only as the whole value: in a condition, a scope, a role or a group it \
         would be compared letter by letter, so it is refused there.",
        "/invoices/**: { allow: { claim: { tenant: \"{tenant}\" } } }",
        "/tenants/{tenant}/invoices/**: { allow: { claim: { tenant: \"{tenant}\" } } }",
    ),
    code(
        "E017",
        "a prefix that is not how the pattern begins",
        "`strip_prefix` removes whole segments from the beginning of the path, and they must be \
         the literal beginning of the pattern.",
        "/v1/orders/**: { strip_prefix: /v2, GET: orders:read }",
        "/v1/orders/**: { strip_prefix: /v1, GET: orders:read }",
    ),
    code(
        "E018",
        "a route that does not say where it goes",
        "With one upstream, routes need not name it. With several, each does.",
        "/orders/**: { GET: orders:read }",
        "/orders/**: { upstream: orders, GET: orders:read }",
    ),
    code(
        "E019",
        "an include without routes",
        "Without the routes of a file, their paths fall to wider routes, which may ask for less. An \
         empty file looks like one that was cut short while somebody wrote it, and a pattern that \
         matches nothing like a directory that is not mounted yet. A file that has no routes says \
         so: `routes: {}`.",
        "# routes.d/admin.yaml is empty\ninclude: [routes.d/*.yaml]",
        "# routes.d/admin.yaml: `routes: {}`\ninclude: [routes.d/*.yaml]",
    ),
    code(
        "E020",
        "an issuer without audience",
        "Without `audience`, a token that the same issuer made for any other API would be good \
         here (RFC 9068 section 4). Use the identifier under which the API is registered; \
         `scopegate token inspect` shows `aud` of a real token.",
        "issuer: https://id.example.com/realms/prod",
        "issuer: https://id.example.com/realms/prod\naudience: https://api.example.com",
    ),
    code(
        "E021",
        "an issuer over plain http",
        "Keys that are fetched over plain http can be replaced on the way, and then anyone makes \
         tokens; tokens that are introspected over it can be read. Loopback is exempt; for tests on a closed network there is `insecure: true`.",
        "issuers:\n  main: { url: \"http://id.example.com\", audience: api }",
        "issuers:\n  main: { url: \"https://id.example.com\", audience: api }",
    ),
    code(
        "E022",
        "a URL that cannot be used",
        "Issuers and documents have absolute URLs without user, query or fragment (RFC 8414 section \
         2); upstreams have `http://host:port` and nothing behind it.",
        "upstream: http://orders:3000/v1",
        "upstream: http://orders:3000",
    ),
    code(
        "E023",
        "an algorithm that proves nothing",
        "`none` accepts tokens that nobody signed, and with HS256 whoever can check a token can \
         make one (RFC 8725 section 3).",
        "algorithms: [HS256]",
        "algorithms: [ES256]",
    ),
    code(
        "E024",
        "plaintext that is not written out",
        "Bearer tokens on an unencrypted network can be copied (RFC 6750 section 5.3). If something \
         in front of the gateway ends TLS, say so.",
        "listen: 0.0.0.0:8080",
        "listen: 0.0.0.0:8080\ntls: off",
    ),
    code(
        "E025",
        "introspection that cannot be asked for",
        "`introspect: always` on a route needs an issuer with `introspection`, and `introspection: \
         true` needs metadata that names the endpoint: with `jwks` or `jwks_url` none is read.",
        "jwks_url: https://id.example.com/keys\nintrospection: true",
        "jwks_url: https://id.example.com/keys\nintrospection: https://id.example.com/introspect",
    ),
    code(
        "E026",
        "two issuers for opaque tokens",
        "An opaque token does not say whose it is. Asking one issuer after the other would show \
         each the tokens of the other (RFC 7662 section 4), so only one is asked. An issuer whose \
         tokens are all JWTs says `introspect: routes`.",
        "issuers:\n  a: { introspection: https://a.example/introspect }\n  b: { introspection: https://b.example/introspect }",
        "issuers:\n  a: { introspection: https://a.example/introspect }\n  b: { introspection: https://b.example/introspect, introspect: routes }",
    ),
    code(
        "E027",
        "a type of something that is no access token",
        "One server signs ID tokens, logout tokens, proofs and more with the same keys. `typ` in \
         the header is what keeps one from being used as another (RFC 8725 section 3.11), so a \
         type that belongs to another kind cannot be accepted here.",
        "accept_typ: [at+jwt, logout+jwt]",
        "accept_typ: [at+jwt, JWT]",
    ),
    code(
        "E028",
        "a preset for another issuer",
        "Some presets are right for certain issuers and dangerous for others: `google-id` accepts \
         ID tokens, because Google makes no other JWTs for people, and tokens of Okta's org \
         authorization server are signed with keys that are not published. The presets of social \
         providers accept the tokens of one app: `audience` is the id in `client_id`.",
        "issuers:\n  main: { url: \"https://acme.okta.com\", audience: api, preset: okta }",
        "issuers:\n  main: { url: \"https://acme.okta.com/oauth2/default\", audience: api, preset: okta }",
    ),
    code(
        "E029",
        "an issuer of tenants that are not named",
        "An issuer that serves many customers signs tokens for all of them. `{tenantid}` in `url` \
         stands for the customer, and `tenants` lists those whose tokens are accepted; there is no \
         wildcard. Every alias names the tenant in the same way, and the keys are found through \
         `metadata_url`, `jwks_url` or `jwks`.",
        "issuers:\n  main:\n    url: \"https://login.microsoftonline.com/{tenantid}/v2.0\"\n    audience: api",
        "issuers:\n  main:\n    url: \"https://login.microsoftonline.com/{tenantid}/v2.0\"\n    tenants: [72f988bf-86f1-41af-91ab-2d7cd011db47]\n    jwks_url: https://login.microsoftonline.com/organizations/discovery/v2.0/keys\n    audience: api",
    ),
    code(
        "E030",
        "an environment variable that is not set",
        "A value that is silently empty is a setting that is silently gone. Set the variable, or \
         write a default.",
        "audience: ${AUDIENCE}",
        "audience: ${AUDIENCE:-https://api.example.com}",
    ),
    code(
        "E031",
        "a file of a value that cannot be read",
        "`${file:/path}` and `${cred:name}` are read by the gateway's own user, up to 64 KiB of \
         UTF-8; line ends at the end are dropped. `${cred:name}` is a file in \
         $CREDENTIALS_DIRECTORY, where systemd puts credentials.",
        "audience: ${file:/run/secrets/audiense}",
        "audience: ${file:/run/secrets/audience}",
    ),
    code(
        "E032",
        "not a variable",
        "`${NAME}`, `${NAME:-default}`, `${file:/path}` and `${cred:name}` are known. For the \
         characters themselves write `$${`.",
        "audience: ${api audience}",
        "audience: ${API_AUDIENCE}",
    ),
    code(
        "E041",
        "an issuer that cannot be used",
        "Its metadata or keys cannot be fetched, or are no such thing, and until they are its tokens \
         get 503. `scopegate check --online` fetches them as `serve` does, without redirects, over \
         https, from this machine. Where the server calls itself by another name: the metadata's \
         `issuer` must equal the configured URL exactly (RFC 8414 section 3.3), and \
         so must the `iss` of tokens. A trailing `/` matters: copy the server's value.",
        "issuer: https://id.example.com/realms/prod/",
        "issuer: https://id.example.com/realms/prod",
    ),
    code(
        "E042",
        "a key file that cannot be used",
        "A file named by `jwks` must be a JWK Set (RFC 7517 section 5) with a public key for one of \
         the issuer's algorithms. It is read at start and at each reload, relative to the file that \
         names it; `scopegate check` opens it with `--online` alone.",
        "jwks: private.pem",
        "jwks: keys.json",
    ),
    code(
        "E043",
        "a client key that cannot be used",
        "`client_key` is the PEM file of the private key with which the gateway signs its \
         assertions (RFC 7523): RSA of 2048 bits or more, P-256, P-384 or Ed25519. It is read at \
         start and at each reload, relative to the file that names it; `scopegate check` opens it \
         with `--online` alone.",
        "client_key: public.pem",
        "client_key: private.pem",
    ),
    code(
        "E050",
        "two routes for exactly the same paths",
        "The names of parameters do not tell patterns apart, and the order of routes never matters. \
         Merge the routes, or make one more specific.",
        "/orders/{id}: { GET: orders:read }\n/orders/{name}: { DELETE: orders:write }",
        "/orders/{id}: { GET: orders:read, DELETE: orders:write }",
    ),
    code(
        "E051",
        "two routes that cannot be ranked",
        "A route that ignores case and one that is written in another case match the same paths, \
         and neither is more specific.",
        "/Orders: { case_insensitive: true, GET: orders:read }\n/orders: { GET: orders:admin }",
        "/orders: { case_insensitive: true, GET: orders:read }",
    ),
    code(
        "E060",
        "a number without a unit",
        "Durations are `500ms`, `30s`, `5m`, `1h`, `1d`; sizes `64KiB`, `10MiB`, `1GiB` or a number \
         of bytes; rates `50/s`, `60/min`, `1000/h`, `100000/day`.",
        "timeout: 30",
        "timeout: 30s",
    ),
    code(
        "E061",
        "a value out of range",
        "The value reads well, but is more or less than makes sense: a clock skew above 5m, a \
         timeout of nothing, a rate of none.",
        "leeway: 1h",
        "leeway: 1m",
    ),
    code(
        "E070",
        "a template without quotes",
        "To YAML, `{sub}` is a mapping with the key `sub`. Quotes make it text.",
        "identity_headers: { X-User: {sub} }",
        "identity_headers: { X-User: \"{sub}\" }",
    ),
    code(
        "E071",
        "a header that cannot carry an identity",
        "Headers that frame or route the message, or that the gateway writes itself, are not for \
         claims. `_` is refused because many servers drop such headers or take `_` for `-`.",
        "identity_headers: { Host: \"{sub}\" }",
        "identity_headers: { X-User: \"{sub}\" }",
    ),
    code(
        "E072",
        "a template that cannot be read",
        "A template is text with `{names}` of claims; `{{` and `}}` stand for braces. Other than \
         printable ASCII no header can carry.",
        "identity_headers: { X-User: \"{sub\" }",
        "identity_headers: { X-User: \"{sub}\" }",
    ),
    code(
        "E073",
        "a field that cannot be kept",
        "`headers.request.keep` lets fields pass from strangers in which proxies tell backends who \
         calls; docs/configuration.md lists them. What the gateway writes itself, and what would \
         change the method or target that was authorised, passes from nobody.",
        "headers: { request: { keep: X-HTTP-Method-Override } }",
        "headers: { request: { keep: True-Client-IP } }",
    ),
    code(
        "E080",
        "a certificate or its key cannot be used",
        "`cert` is a file with a PEM chain, the server's own certificate first; `key` is the PEM key \
         of that certificate. Both are read at start and when they change, by the gateway's own \
         user; `scopegate check` does not open them.",
        "tls: { cert: chain.pem, key: chain.pem }",
        "tls: { cert: chain.pem, key: key.pem }",
    ),
    code(
        "E081",
        "something that is not an origin",
        "An origin is a scheme, a host, and a port if it is not the scheme's own, as a browser sends \
         it: no path, no `/` at the end, no `*`. Origins are compared exactly, for whoever controls \
         any name that a pattern matches could read the answers. `null` is what every sandboxed page \
         sends.",
        "cors: { origins: [\"https://*.example.com\"] }",
        "cors: { origins: [https://app.example.com, https://admin.example.com] }",
    ),
    code(
        "E082",
        "cookies for scripts of any origin",
        "With `credentials: true` a browser sends the user's cookies along and lets the script read \
         the answer. For scripts of any origin this means that every page that the user visits can \
         act for the user. List the origins; or leave `credentials` out, for a script that sends a \
         bearer token does not need it.",
        "cors: { origins: any, credentials: true }",
        "cors: { origins: [https://app.example.com], credentials: true }",
    ),
    code(
        "E083",
        "a build without export of traces",
        "Export over OTLP is a feature of the build, `otlp`, which is on unless it was turned off. In a \
         build without it traces would go nowhere. Trace ids are passed on and logged in any build.",
        "tracing: { otlp: http://collector:4318 }",
        "tracing: { trust: all }",
    ),
    code(
        "E084",
        "a variable of OpenTelemetry that cannot be used",
        "Where the file does not say, the gateway reads OTEL_EXPORTER_OTLP_ENDPOINT or \
         OTEL_EXPORTER_OTLP_TRACES_ENDPOINT (URLs), OTEL_EXPORTER_OTLP_HEADERS and \
         OTEL_RESOURCE_ATTRIBUTES (`key=value,key=value`), OTEL_SERVICE_NAME, and \
         OTEL_TRACES_SAMPLER_ARG (0 to 1). OTEL_SDK_DISABLED=true ignores the endpoints.",
        "OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318",
        "OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318",
    ),
    code(
        "E085",
        "a revocation store that cannot be used",
        "The file of `revocation.store` holds what was revoked. If it is damaged, cut short, \
         read-only or in use by another process, the gateway does not start: with an empty store \
         it would accept tokens that were revoked. Give it back its rights, or restore a backup. \
         Whoever moves the file away instead accepts revoked tokens until they expire. \
         `scopegate check` does not open it.",
        "revocation: { store: /mnt/read-only/revocations.redb }",
        "revocation: { store: /var/lib/scopegate/revocations.redb }",
    ),
    code(
        "E086",
        "a revocation file that cannot be used",
        "The file of `revocation.file` is a YAML list; each item has one of token_sha256, jti, \
         subject, client and session, the `issuer` unless there is only one, and `until`. A \
         gateway that runs keeps what it read before; one that starts has nothing to keep.",
        "revocation: { file: revoked.txt }",
        "revocation: { file: revoked.yaml }",
    ),
    code(
        "E087",
        "revocations without a secret off loopback",
        "On an admin port that other machines reach, anyone there could withdraw revocations or \
         lock everyone out. A secret that callers send as a bearer token keeps them away.",
        "admin: 10.0.0.5:8081\nrevocation: { store: revocations.redb }",
        "admin: 10.0.0.5:8081\nrevocation:\n  store: revocations.redb\n  secret: ${file:/run/secrets/admin}",
    ),
    code(
        "E088",
        "certificate authorities that cannot be used",
        "`ca` of an upstream's `tls` is a PEM file with the certificates of the authorities that \
         sign its servers' certificates. It is read at start and when it changes; `scopegate \
         check` does not open it. Without it the system's authorities are trusted, and there must \
         be some.",
        "tls: { ca: key.pem }",
        "tls: { ca: ca.pem }",
    ),
    code(
        "E089",
        "TLS settings without effect",
        "An upstream's `tls` is for its `https://` targets, and the settings in it must not \
         contradict each other. One that does nothing looks like protection and is none.",
        "orders: { targets: [\"http://orders:3000\"], tls: { ca: ca.pem } }",
        "orders: { targets: [\"https://orders:3000\"], tls: { ca: ca.pem } }",
    ),
    code(
        "E090",
        "not supported yet",
        "The language reserves it, but this version would not act on it. What is written in the \
         file must be what is enforced, so it is refused.",
        "redis: redis://cache:6379",
        "# each gateway keeps its own limits",
    ),
    code(
        "A101",
        "an issuer over plain http",
        "`insecure: true` lets keys be fetched over plain http, where they can be replaced on the \
         way. For tests only.",
        "issuers:\n  main: { url: \"http://id.test\", audience: api, insecure: true }",
        "issuers:\n  main: { url: \"https://id.test\", audience: api }",
    ),
    code(
        "A102",
        "a secret that is written in the file",
        "Configurations are copied, reviewed and kept for ever; secrets should not be. A variable \
         names where the secret is.",
        "client_secret: s3cret",
        "client_secret: ${file:/run/secrets/introspect}",
    ),
    code(
        "A103",
        "an audience that tells nothing",
        "Keycloak writes `account` into `aud` of almost every token, because people may manage their \
         own accounts. As this API's audience it accepts tokens that were made for any other one.",
        "issuers:\n  main: { url: \"https://id.test/realms/a\", audience: account, preset: keycloak }",
        "issuers:\n  main: { url: \"https://id.test/realms/a\", audience: orders-api, preset: keycloak }",
    ),
    code(
        "A104",
        "a backend that may be anyone",
        "`insecure_skip_verify: true` believes any certificate, so whoever is on the way can read \
         and change what goes to the backend, identities and bodies too. For tests only: name the \
         authority with `ca`, and another name with `server_name`.",
        "tls: { insecure_skip_verify: true }",
        "tls: { ca: ca.pem, server_name: orders.internal }",
    ),
    code(
        "A120",
        "a public method that writes",
        "Anyone may change something without a token. If that is meant, as for a webhook that is \
         signed otherwise, silence the warning in the file.",
        "/hooks: { POST: { public: true } }",
        "# scopegate: allow A120\n/hooks: { POST: { public: true } }",
    ),
    code(
        "A121",
        "methods that `allow` does not cover",
        "`allow` stands for GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS. Nobody who writes it \
         thinks of every method that some backend knows, so any other is 405 unless the route names \
         it. A route that names some of WebDAV's methods may have meant the others too.",
        "/files/**: { PROPFIND: files:read, allow: files:write }",
        "/files/**:\n  PROPFIND: files:read\n  COPY, LOCK, MKCOL, MOVE, PROPPATCH, UNLOCK: files:write\n  allow: files:write",
    ),
    code(
        "A130",
        "a scope that no issuer lists",
        "`scopegate check --online` compares the scopes of rules with `scopes_supported` in the \
         issuers' metadata (RFC 8414 section 2). A scope that is not there may be misspelled: then \
         nobody gets in. Servers may leave scopes out of the list; some list none but those of \
         OpenID Connect.",
        "/orders/**: { GET: orders:raed }",
        "/orders/**: { GET: orders:read }",
    ),
    code(
        "A140",
        "the other slash leads to a weaker rule",
        "`/admin` and `/admin/` are different paths to the gateway but the same to many backends. \
         One is protected, the other falls to a wildcard that asks for less.",
        "/admin: { GET: admin }\n/**: { public: true }",
        "/admin/**: { GET: admin }\n/**: { public: true }",
    ),
    code(
        "A141",
        "another case leads to a weaker rule",
        "`/admin` and `/Admin` are different paths to the gateway but the same to backends that fold \
         case, as many frameworks do. One is protected, the other falls to a route that asks for \
         less. `case_insensitive: true` lets a route match in any case; where the backend tells \
         cases apart, silence the warning in the file.",
        "/admin/**: { GET: admin }\n/**: { public: true }",
        "/admin/**: { GET: admin, case_insensitive: true }\n/**: { public: true }",
    ),
    code(
        "A142",
        "tokens that nobody verified reach a backend",
        "On a public route no token is looked at, with `public: optional` none of another scheme than \
         Bearer, and under `mode: report` what would be refused passes. With `keep_authorization` the backend gets the caller's Authorization there too, \
         forged or not, and one that trusts the gateway takes it for verified.",
        "/catalog/**: { public: true, keep_authorization: true }",
        "/catalog/**: { public: true }",
    ),
    code(
        "A150",
        "a route that refuses all tokens of an issuer",
        "The route says `introspect: always`, and that issuer has no `introspection`. A token that \
         cannot be asked about is refused there.",
        "issuers:\n  main: { introspection: true }\n  partners: {}\nroutes:\n  /pay: { introspect: always }",
        "issuers:\n  main: { introspection: true }\n  partners: { introspection: true }\nroutes:\n  /pay: { introspect: always }",
    ),
    code(
        "A151",
        "tokens that may outlive their revocation",
        "Each revocation ends at some time, so that their number stays bounded, and a token that \
         lives longer would be accepted again. `max_token_age` bounds the life of an issuer's \
         tokens, and revocations last at least that long.",
        "revocation: { store: revocations.redb }\nissuers:\n  main: { url: \"https://id.example.com\", audience: api }",
        "revocation: { store: revocations.redb }\nissuers:\n  main: { url: \"https://id.example.com\", audience: api, max_token_age: 1h }",
    ),
    code(
        "A152",
        "tokens that live long",
        "A token can be used until it ends by whoever has a copy (RFC 9700 section 4.10). The sample \
         that `scopegate check --online --token FILE` was given lives for more than an hour. Let the \
         issuer make them shorter, or refuse old ones with `max_token_age`.",
        "issuers:\n  main: { url: \"https://id.example.com\", audience: api }",
        "issuers:\n  main: { url: \"https://id.example.com\", audience: api, max_token_age: 1h }",
    ),
    code(
        "A160",
        "traces for a port of gRPC",
        "Collectors take OTLP over gRPC on port 4317 and over HTTP on port 4318. The gateway sends it \
         over HTTP, which a port of gRPC refuses.",
        "tracing: { otlp: http://collector:4317 }",
        "tracing: { otlp: http://collector:4318 }",
    ),
    code(
        "A220",
        "an admin port that is not on loopback",
        "The admin port has metrics and health but no authentication. On anything but loopback, \
         a network of your own must keep strangers away.",
        "admin: 0.0.0.0:8081",
        "admin: 127.0.0.1:8081",
    ),
];

#[cfg(test)]
mod tests {
    use super::{CODES, explain};

    /// Every code that the sources push.
    fn pushed(directory: &std::path::Path, found: &mut std::collections::BTreeSet<String>) {
        for entry in std::fs::read_dir(directory).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                pushed(&path, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for word in text.split('"').filter(|word| word.len() == 4) {
                let digits = word[1..].bytes().all(|byte| byte.is_ascii_digit());
                if digits && word.starts_with(['E', 'A']) {
                    found.insert(word.to_owned());
                }
            }
        }
    }

    #[test]
    fn every_code_is_explained() {
        let mut found = std::collections::BTreeSet::new();
        let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        pushed(std::path::Path::new(sources), &mut found);
        assert!(found.len() >= 38);
        for code in found {
            assert!(explain(&code).is_some(), "{code} is not explained");
        }
    }

    #[test]
    fn codes_are_in_order_and_differ() {
        let codes: Vec<_> = CODES.iter().map(|code| code.code).collect();
        let key = |code: &&str| (code.starts_with('A'), (*code).to_owned());
        assert!(codes.windows(2).all(|pair| key(&pair[0]) < key(&pair[1])));
    }
}
