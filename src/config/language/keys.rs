//! The table itself.

use super::{Key, Kind, Section};

const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, doc, later: false }
}

const fn later(name: &'static str, doc: &'static str) -> Key {
    Key { name, kind: Kind::Text, doc, later: true }
}

const fn mapping(name: &'static str, doc: &'static str, keys: &'static [Key]) -> Section {
    Section { name, doc, keys, methods: false, or_text: false, required: &[] }
}

const DURATION: Kind = Kind::Form(r"[0-9]+(ms|s|m|h|d)", "a duration such as 30s, 5m or 1h");
const RATE: Kind = Kind::Form(r"[0-9]+/(s|min|h|day)", "a rate such as 60/min");
const SHARE: Kind = Kind::Form(r"[0-9]+(\.[0-9]+)?%", "a share such as 5%");
const URL: Kind = Kind::Form(r"https?://.+", "an absolute URL");
const TARGET: Kind =
    Kind::Form(r"(https?://[^/]+/?|unix:/.+)", "http://host:port, https://host:port or unix:/path");
const NETWORK: Kind = Kind::Form(r"unix|[0-9A-Fa-f:.]+(/[0-9]+)?", "a network such as 10.0.0.0/8");
const ADDRESS: Kind = Kind::Form(
    r".+:[0-9]+|unix:/.+|systemd:.+",
    "an address and a port such as 127.0.0.1:8443, unix:/run/gw.sock, or systemd:NAME",
);
const MEMORY: Kind =
    Kind::Form(r"[0-9]+%|[0-9]+(B|KiB|MiB|GiB)|off", "a share such as 90%, a size, or off");
const MODE: Kind = Kind::Word(&["enforce", "report"]);
static A_RULE: Kind = Kind::One(&RULE);
const CLAIM_PATH: Kind = Kind::Either(&[Kind::Text, Kind::List(&Kind::Text)]);
const CLAIM_PATHS: Kind =
    Kind::Either(&[Kind::Text, Kind::List(&Kind::Either(&[Kind::Text, Kind::List(&Kind::Text)]))]);
const LIMIT_OR_PLAN: Kind = Kind::Either(&[Kind::Text, Kind::One(&LIMIT)]);
const UPSTREAM_OR_URL: Kind = Kind::Either(&[TARGET, Kind::One(&UPSTREAM)]);
const TLS_KIND: Kind = Kind::Either(&[Kind::Word(&["off"]), Kind::Some(&Kind::One(&TLS))]);
const PER_KIND: Kind =
    Kind::Either(&[Kind::Word(&["client", "user", "ip", "route"]), Kind::One(&PER)]);
const CORS_OR_OFF: Kind = Kind::Either(&[Kind::Word(&["off"]), Kind::One(&CORS)]);
const TARGET_OR_WEIGHTED: Kind = Kind::Either(&[TARGET, Kind::One(&WEIGHTED)]);
const WHOLE_SHARE: Kind = Kind::Form("[0-9]+%", "a share such as 50%");
const STATUSES: Kind =
    Kind::Either(&[Kind::Count, Kind::Form("[0-9]{3}(-[0-9]{3})?", "a range such as 200-399")]);
const RETRY_KIND: Kind = Kind::Either(&[Kind::Count, Kind::One(&RETRY)]);
const EJECTION_KIND: Kind = Kind::Either(&[Kind::Word(&["off"]), Kind::One(&EJECTION)]);
const EVENT: Kind = Kind::Either(&[Kind::Count, Kind::Word(&["connect", "reset"])]);
const PUBLIC: Kind = Kind::Either(&[Kind::Switch, Kind::Word(&["optional"])]);
const CLAIM_KIND: Kind = Kind::Named(&Kind::Either(&[Kind::Literal, Kind::One(&MATCHER)]));

/// Every section.
pub(crate) static SECTIONS: &[&Section] = &[
    &FILE,
    &TLS,
    &HEADERS,
    &REQUEST_HEADERS,
    &ISSUER,
    &UPSTREAM,
    &WEIGHTED,
    &UPSTREAM_TLS,
    &TIMEOUT,
    &HEALTH,
    &EJECTION,
    &RETRY,
    &LIMIT,
    &PER,
    &PLAN_FROM,
    &CLIENT,
    &ROUTE,
    &RULE,
    &MATCHER,
    &LOGS,
    &ERRORS,
    &DRAIN,
    &LIMITS,
    &INCLUDED,
    &CORS,
    &TRACING,
    &REVOCATION,
    &BACKCHANNEL_LOGOUT,
];

/// The file itself.
pub(crate) static FILE: Section = Section {
    required: &["routes"],
    ..mapping(
        "file",
        "The keys of gateway.yaml.",
        &[
            key("listen", Kind::Some(&ADDRESS), "Where clients connect. Default 127.0.0.1:8443."),
            key(
                "tls",
                TLS_KIND,
                "The certificate and key. `off` must be written out for plaintext on anything but \
                 loopback.",
            ),
            key(
                "public_url",
                URL,
                "What clients call this gateway; used in metadata and never taken from Host.",
            ),
            key(
                "admin",
                ADDRESS,
                "The address of metrics, health and reload. Default 127.0.0.1:8081.",
            ),
            key(
                "trusted_proxies",
                Kind::Some(&NETWORK),
                "The proxies whose Forwarded and X-Forwarded-* are believed. Default none.",
            ),
            key(
                "include",
                Kind::Some(&Kind::Text),
                "More files, of which only `routes:` is read. Relative to this file; `*` stands \
                 for any part of a file name.",
            ),
            key("issuer", URL, "The issuer, if there is only one; its name is `main`."),
            key(
                "audience",
                Kind::Some(&Kind::Text),
                "With `issuer`: this API's identifier; a token for another API is refused.",
            ),
            key("preset", Kind::Word(PRESETS), "With `issuer`: which claims hold what."),
            key("issuers", Kind::Named(&Kind::One(&ISSUER)), "The issuers, by name."),
            key("upstream", UPSTREAM_OR_URL, "The backend, if there is only one."),
            key("upstreams", Kind::Named(&UPSTREAM_OR_URL), "The backends, by name."),
            key(
                "identity_headers",
                Kind::Named(&Kind::Text),
                "Headers that tell backends who calls, such as `X-Auth-Subject: \"{sub}\"`. \
                 Default: X-Auth-Subject, X-Auth-Client, X-Auth-Scopes, X-Auth-Issuer, X-Auth-Kind.",
            ),
            key(
                "headers",
                Kind::One(&HEADERS),
                "What passes of the fields that are removed otherwise.",
            ),
            key(
                "keep_authorization",
                Kind::Switch,
                "Whether backends see the caller's token. Default false.",
            ),
            key("plans", Kind::Named(&Kind::One(&LIMIT)), "Rate plans, by name."),
            key("default_plan", Kind::Text, "The plan of callers that no other setting gives one."),
            key("plan_from", Kind::One(&PLAN_FROM), "The claim that names the caller's plan."),
            key("clients", Kind::Named(&Kind::One(&CLIENT)), "Single clients, by client id."),
            key("flood", RATE, "Requests per peer address, counted before any cryptography."),
            key("mode", MODE, "Of routes that do not say. Default enforce."),
            key("rules", Kind::Named(&Kind::One(&RULE)), "Named rules, for `use:`."),
            key("routes", Kind::Named(&Kind::One(&ROUTE)), "Path patterns and who may call them."),
            key("revocation", Kind::One(&REVOCATION), "Where revocations come from and are kept."),
            key("logs", Kind::One(&LOGS), "What is logged, and how."),
            key("errors", Kind::One(&ERRORS), "What clients are told when they are refused."),
            key("tracing", Kind::One(&TRACING), "How the gateway takes part in traces."),
            key(
                "server_timing",
                Kind::Word(&["on", "off"]),
                "Whether answers tell where the time went. Default off.",
            ),
            key(
                "hsts",
                DURATION,
                "For how long browsers shall use TLS alone (RFC 6797), such as 365d; 0s takes it \
                 back. Said over TLS. Default: not at all.",
            ),
            key("drain", Kind::One(&DRAIN), "How the gateway stops."),
            key("limits", Kind::One(&LIMITS), "Sizes and times that nothing may exceed."),
            key("cors", Kind::One(&CORS), "What scripts of other origins may do. Default nothing."),
            later("redis", "Limits shared between gateways."),
        ],
    )
};

/// A file that is included.
pub(crate) static INCLUDED: Section = mapping(
    "include",
    "The keys of an included file.",
    &[key("routes", Kind::Named(&Kind::One(&ROUTE)), "Path patterns and who may call them.")],
);

/// `tls:`
pub(crate) static TLS: Section = Section {
    required: &["cert", "key"],
    ..mapping(
        "tls",
        "A certificate; a list of them is chosen from by SNI.",
        &[
            key("cert", Kind::Text, "The PEM file of the certificate chain, leaf first."),
            key("key", Kind::Text, "The PEM file of the private key."),
        ],
    )
};

/// `headers:`
pub(crate) static HEADERS: Section = mapping(
    "headers",
    "What passes of the fields that are removed otherwise.",
    &[key("request", Kind::One(&REQUEST_HEADERS), "Of requests.")],
);

/// `request:` of `headers`.
pub(crate) static REQUEST_HEADERS: Section = mapping(
    "request headers",
    "What passes of a request's fields that are removed otherwise.",
    &[key(
        "keep",
        Kind::Some(&Kind::Text),
        "Fields in which proxies tell of clients, such as True-Client-IP, that pass from everybody \
         and not from trusted_proxies alone. Default none.",
    )],
);

/// One of `issuers:`
pub(crate) static ISSUER: Section = Section {
    required: &["audience"],
    ..mapping(
        "issuers",
        "An authorization server whose tokens are accepted.",
        &[
            key("url", URL, "The issuer identifier; must equal the token's `iss` exactly."),
            key(
                "audience",
                Kind::Some(&Kind::Text),
                "This API's identifier; a token needs one of them in `aud`.",
            ),
            key("preset", Kind::Word(PRESETS), "Which claims hold what. Default generic."),
            key(
                "algorithms",
                Kind::Some(&Kind::Word(ALGORITHMS)),
                "The signature algorithms accepted. Default RS256, PS256, ES256, EdDSA.",
            ),
            key(
                "leeway",
                DURATION,
                "Clock skew allowed on exp, nbf, iat. Default 30s, at most 5m.",
            ),
            key("max_token_age", DURATION, "The longest time since iat. Default unlimited."),
            key(
                "claims",
                Kind::Named(&CLAIM_PATHS),
                "Names for claims: scopes, roles, groups, client, subject, tenant, token_id, \
                 session, or your own. A path is a dotted name, or a list of exact member names; \
                 of a list of such lists, the first that is present counts.",
            ),
            key(
                "client_token_when",
                Kind::Named(&Kind::Some(&Kind::Text)),
                "Claims whose values mark a machine's token.",
            ),
            key(
                "user_token_when",
                Kind::Named(&Kind::Some(&Kind::Text)),
                "Claims whose values mark a person's token.",
            ),
            key(
                "kind_default",
                Kind::Word(&["preset", "unknown"]),
                "Whose a token without any sign is: what the preset says (default), or nobody's.",
            ),
            key(
                "issuer_aliases",
                Kind::Some(&Kind::Text),
                "Other spellings of `url` in a token's `iss`.",
            ),
            key(
                "tenants",
                Kind::Some(&Kind::Text),
                "The tenants accepted, for a `url` with {tenantid} in it.",
            ),
            key(
                "audience_claim",
                CLAIM_PATHS,
                "Where the audience is, if not in `aud` or where the preset says.",
            ),
            key(
                "accept_typ",
                Kind::Some(&Kind::Text),
                "What the header's `typ` may say, `absent` for none. Default: the preset's.",
            ),
            key(
                "required_claims",
                CLAIM_KIND,
                "Claims that every token must have: a value, or a condition as in rules.",
            ),
            key(
                "implies",
                Kind::Named(&Kind::Some(&Kind::Text)),
                "Broader scopes and the narrower ones that each contains.",
            ),
            key(
                "sender_constraint",
                Kind::Word(&["none"]),
                "Proof of possession. This version knows none.",
            ),
            key(
                "metadata_url",
                URL,
                "Reads the metadata from here instead of the well-known URLs.",
            ),
            key("jwks_url", URL, "Reads the keys from here, without metadata."),
            key("jwks", Kind::Text, "Reads the keys from this file, without network."),
            key("insecure", Kind::Switch, "Allows plain http off loopback. Default false."),
            key(
                "max_stale",
                DURATION,
                "How long keys are used without a successful refresh. Default 24h.",
            ),
            key(
                "backchannel_logout",
                Kind::One(&BACKCHANNEL_LOGOUT),
                "Where the issuer tells of logouts (OpenID Connect Back-Channel Logout 1.0).",
            ),
            key(
                "introspection",
                Kind::Either(&[URL, Kind::Switch]),
                "The endpoint that is asked about tokens (RFC 7662); `true` if the metadata names \
                 it.",
            ),
            key(
                "introspect",
                Kind::Word(&["opaque", "routes", "always", "only"]),
                "About which tokens: opaque ones (default with `url`), JWTs on routes that say \
                 so, all (`always`), or all without verifying JWTs (`only`, default without `url`).",
            ),
            key("client_id", Kind::Text, "The gateway's client id, for introspection."),
            key("client_secret", Kind::Text, "Its secret; better as `${file:/path}`."),
            key(
                "client_secret_encoding",
                Kind::Word(&["form", "raw"]),
                "Whether id and secret are form-encoded before Basic (RFC 6749 section 2.3.1). \
                 Default form.",
            ),
            key(
                "client_auth",
                Kind::Word(&["client_secret_basic", "client_secret_post", "private_key_jwt"]),
                "How the gateway authenticates. Default client_secret_basic, or private_key_jwt \
                 with `client_key`.",
            ),
            key("client_key", Kind::Text, "For private_key_jwt: the PEM file of the private key."),
            key("client_key_id", Kind::Text, "For private_key_jwt: the key's `kid`."),
            key(
                "cache",
                DURATION,
                "How long a good answer is used, never past `exp`. Default 60s; 0s asks each time.",
            ),
            key(
                "negative_cache",
                DURATION,
                "How long a bad answer is used. Default 5s; 0s asks each time.",
            ),
            key("introspection_timeout", DURATION, "For one question. Default 5s."),
            key(
                "introspection_concurrency",
                Kind::Count,
                "How many questions may be under way at once. Default 32.",
            ),
            key(
                "introspection_signed",
                Kind::Switch,
                "Whether answers must be signed (RFC 9701). Default false.",
            ),
        ],
    )
};

/// `backchannel_logout:` of an issuer.
pub(crate) static BACKCHANNEL_LOGOUT: Section = Section {
    required: &["path", "audience"],
    ..mapping(
        "backchannel_logout",
        "Where an issuer tells of logouts; `revocation` says where they are kept.",
        &[
            key("path", Kind::Text, "The path that is registered as backchannel_logout_uri."),
            key(
                "audience",
                Kind::Some(&Kind::Text),
                "The client ids that logouts are for; a logout token needs one of them in `aud`.",
            ),
            key("rate", RATE, "Logouts per peer address. Default 100/s."),
            key(
                "allow_missing_exp",
                Kind::Switch,
                "For servers whose logout tokens have no exp; their iat must then be no older than \
                 2m. Default false.",
            ),
        ],
    )
};

/// `revocation:`
pub(crate) static REVOCATION: Section = mapping(
    "revocation",
    "Where revocations come from and are kept.",
    &[
        key(
            "store",
            Kind::Text,
            "The file that keeps what is revoked through restarts and power cuts. Default: none, \
             and a restart forgets.",
        ),
        key("file", Kind::Text, "A list of revocations, read again whenever it changes."),
        key(
            "max_entries",
            Kind::Count,
            "Revocations kept; more are refused, none is forgotten. Default 100000.",
        ),
        key(
            "keep",
            DURATION,
            "How long a revocation lasts that does not say. Default 24h, and never less than an \
             issuer's max_token_age.",
        ),
        key(
            "secret",
            Kind::Text,
            "What callers of /revocations must send as a bearer token. Needed if the admin port is \
             not on loopback.",
        ),
    ],
);

/// One of `upstreams:`
pub(crate) static UPSTREAM: Section = Section {
    required: &["targets"],
    ..mapping(
        "upstreams",
        "A backend; its URL alone will often do.",
        &[
            key(
                "targets",
                Kind::Some(&TARGET_OR_WEIGHTED),
                "The servers, as http://host:port, https://host:port or unix:/path, or with a weight.",
            ),
            key("timeout", Kind::One(&TIMEOUT), "How long to wait for it."),
            key("health", Kind::One(&HEALTH), "Asks each target now and then how it is."),
            key(
                "ejection",
                EJECTION_KIND,
                "Leaves out targets that fail requests; `off` never does.",
            ),
            key("retry", RETRY_KIND, "How often a request that failed may be sent again."),
            key(
                "slow_start",
                DURATION,
                "How long a target that is new or has come back gets less than its share. Default \
                 0s.",
            ),
            key("max_connections", Kind::Count, "To each target. Default 10000."),
            key("max_requests", Kind::Count, "Under way at once. Default unlimited."),
            key(
                "max_pending",
                Kind::Count,
                "Requests that wait for one of these bounds. Default 1000.",
            ),
            key(
                "protocol",
                Kind::Word(&["http1", "h2", "auto"]),
                "What is spoken to it: HTTP/1.1 (default), HTTP/2 alone, or over TLS what it prefers.",
            ),
            key("tls", Kind::One(&UPSTREAM_TLS), "How its https servers are known."),
        ],
    )
};

/// One of `targets:` of an upstream.
pub(crate) static WEIGHTED: Section = Section {
    required: &["url"],
    ..mapping(
        "targets",
        "One server of an upstream.",
        &[
            key("url", TARGET, "http://host:port, https://host:port or unix:/path."),
            key("weight", Kind::Count, "Its share, beside the other targets' weights. Default 1."),
        ],
    )
};

/// `health:` of an upstream.
pub(crate) static HEALTH: Section = mapping(
    "health",
    "How the targets are asked whether they are well: by a GET.",
    &[
        key("path", Kind::Text, "What is asked for. Default /."),
        key("host", Kind::Text, "The Host that the target sees. Default the target's own."),
        key("every", DURATION, "The time between two checks. Default 5s."),
        key("timeout", DURATION, "The time for an answer. Default 2s."),
        key("healthy", Kind::Count, "So many good answers in a row are up. Default 2."),
        key("unhealthy", Kind::Count, "So many failures in a row are down. Default 3."),
        key("status", Kind::Some(&STATUSES), "The statuses of a good answer. Default 200-399."),
        key(
            "panic",
            WHOLE_SHARE,
            "While less than this share of the targets is up, all are used. Default 0%: when none \
             is.",
        ),
    ],
);

/// `ejection:` of an upstream.
pub(crate) static EJECTION: Section = mapping(
    "ejection",
    "When a target is left out for failing requests.",
    &[
        key("failures", Kind::Count, "After so many failures in a row. Default 5."),
        key("time", DURATION, "How long at first; longer each time. Default 30s."),
        key("max_time", DURATION, "How long at most. Default 5m."),
        key("max_share", WHOLE_SHARE, "The most targets that may be out. Default 50%."),
    ],
);

/// `retry:` of an upstream.
pub(crate) static RETRY: Section = mapping(
    "retry",
    "Which requests are sent again; only idempotent ones, or those that no backend saw.",
    &[
        key("times", Kind::Count, "How often at most. Default 1."),
        key(
            "on",
            Kind::Some(&EVENT),
            "After what: connect, reset, 502, 503, 504. Default connect and reset.",
        ),
        key(
            "budget",
            WHOLE_SHARE,
            "How many retries there may be for the requests of the last ten seconds. Default 20%.",
        ),
    ],
);

/// `tls:` of an upstream.
pub(crate) static UPSTREAM_TLS: Section = mapping(
    "upstream tls",
    "How https servers are known, and the gateway to them.",
    &[
        key(
            "ca",
            Kind::Text,
            "The PEM file of the authorities that are trusted. Default: the system's.",
        ),
        key("cert", Kind::Text, "The PEM file of the certificate chain that the gateway shows."),
        key("key", Kind::Text, "The PEM file of its private key."),
        key(
            "server_name",
            Kind::Text,
            "The name that must be in the servers' certificates. Default: the target's host.",
        ),
        key(
            "insecure_skip_verify",
            Kind::Switch,
            "Whether any certificate is believed: for tests only. Default false.",
        ),
    ],
);

/// `timeout:` of an upstream.
pub(crate) static TIMEOUT: Section = mapping(
    "timeout",
    "How long to wait for a backend.",
    &[
        key("connect", DURATION, "To connect. Default 2s."),
        key("response", DURATION, "From the request's end to the response's head. Default 30s."),
        key(
            "idle",
            DURATION,
            "How long an idle connection is kept, and the longest silence within a body. Default \
             60s.",
        ),
    ],
);

/// One of `plans:`, or a route's own `limit:`.
pub(crate) static LIMIT: Section = mapping(
    "plans",
    "A limit: a rate, a quota, or both.",
    &[
        key("rate", RATE, "The steady rate."),
        key("burst", Kind::Count, "How many may come at once. Default: the rate's number."),
        key("quota", RATE, "How many in a longer period."),
        key("per", PER_KIND, "What is counted: client (default), user, ip, route, or a claim."),
    ],
);

/// `per: { claim: … }`
pub(crate) static PER: Section = Section {
    required: &["claim"],
    ..mapping(
        "per",
        "What calls are counted by.",
        &[key("claim", Kind::Text, "The claim whose value is counted by.")],
    )
};

/// `plan_from:`
pub(crate) static PLAN_FROM: Section = Section {
    required: &["claim"],
    ..mapping(
        "plan_from",
        "Where the caller's plan is named.",
        &[key("claim", CLAIM_PATH, "A claim whose value is the name of a plan.")],
    )
};

/// One of `clients:`
pub(crate) static CLIENT: Section = mapping(
    "clients",
    "What is known of one client.",
    &[key("plan", Kind::Text, "Its plan."), key("name", Kind::Text, "A name for people.")],
);

/// One of `routes:`
pub(crate) static ROUTE: Section = Section {
    methods: true,
    ..mapping(
        "routes",
        "A path pattern and who may call it. Methods are keys too: `POST, PUT: orders:write`; a \
         method that is not listed is refused, unless there is `allow`.",
        &[
            key("upstream", Kind::Text, "The backend's name; optional if there is only one."),
            key(
                "public",
                PUBLIC,
                "GET and HEAD without a token: `true`, or `optional` if a token that is sent must \
                 be good.",
            ),
            key(
                "allow",
                Kind::One(&RULE),
                "The rule of GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS, as far as they have \
                 none of their own on this route.",
            ),
            key("strip_prefix", Kind::Text, "A prefix that the backend does not see."),
            key("limit", LIMIT_OR_PLAN, "A limit of this route's own, beside the caller's plan."),
            key("timeout", DURATION, "Replaces the upstream's response timeout."),
            key("mode", MODE, "`report` lets through what would be refused, and says so."),
            key(
                "case_insensitive",
                Kind::Switch,
                "For backends that fold the case of paths. Default false.",
            ),
            key(
                "allow_encoded_slash",
                Kind::Switch,
                "Lets %2F through, as it is, within a segment. Default false.",
            ),
            key("keep_authorization", Kind::Switch, "Whether the backend sees the token."),
            key(
                "upgrade",
                Kind::Some(&Kind::Text),
                "Protocols that a connection may turn to, such as `websocket`. Default none.",
            ),
            key(
                "introspect",
                Kind::Word(&["always"]),
                "Asks the issuer about every token, JWTs too.",
            ),
            key("cors", CORS_OR_OFF, "Replaces the file's `cors`; `off` leaves it to the backend."),
        ],
    )
};

/// A rule.
pub(crate) static RULE: Section = Section {
    or_text: true,
    ..mapping(
        "rules",
        "Who may call. A string is a scope; the keys of a mapping are all needed.",
        &[
            key("public", PUBLIC, "No token; for one method of a route, and alone."),
            key("scope", Kind::Text, "The token has this scope."),
            key("role", Kind::Text, "The token has this role."),
            key("group", Kind::Text, "The token has this group."),
            key("client", Kind::Text, "The token was issued to this client."),
            key("issuer", Kind::Text, "The token comes from this issuer, by its name here."),
            key(
                "token",
                Kind::Word(&["user", "client", "any"]),
                "A person's token, a machine's, or any.",
            ),
            key(
                "acr",
                Kind::Some(&Kind::Text),
                "One of these authentication context classes (RFC 9470).",
            ),
            key("max_age", DURATION, "The longest time since the person logged in (RFC 9470)."),
            key("source", Kind::Some(&NETWORK), "The client's address is in one of these."),
            key(
                "claim",
                CLAIM_KIND,
                "Claims and what they must be: a value, `\"{param}\"` of the path, or a condition.",
            ),
            key("use", Kind::Text, "The named rule."),
            key("all", Kind::List(&A_RULE), "All of these."),
            key("any", Kind::List(&A_RULE), "At least one of these."),
            key("not", Kind::One(&RULE), "Not this."),
        ],
    )
};

/// A condition on a claim.
pub(crate) static MATCHER: Section = mapping(
    "claim",
    "A condition on a claim; one key alone.",
    &[
        key("in", Kind::List(&Kind::Literal), "Equal to one of these."),
        key("contains", Kind::Literal, "A list that holds this."),
        key("starts_with", Kind::Text, "Text that begins so."),
        key("ends_with", Kind::Text, "Text that ends so."),
        key("exists", Kind::Switch, "Present and not null, or absent."),
    ],
);

/// `cors:`
pub(crate) static CORS: Section = Section {
    required: &["origins"],
    ..mapping(
        "cors",
        "What scripts of other origins may do (CORS); preflights are answered here.",
        &[
            key(
                "origins",
                Kind::Some(&Kind::Text),
                "The origins, such as https://app.example.com, compared exactly; or `any`.",
            ),
            key(
                "credentials",
                Kind::Switch,
                "Whether scripts may send cookies; bearer tokens do not need it. Default false.",
            ),
            key(
                "max_age",
                DURATION,
                "How long browsers remember the answer to a preflight. Default 10m, at most 24h.",
            ),
            key(
                "headers",
                Kind::Some(&Kind::Text),
                "Request headers beside Authorization, Content-Type, DPoP, X-Requested-With, \
                 traceparent and tracestate; or `any`.",
            ),
            key(
                "expose",
                Kind::Some(&Kind::Text),
                "Response headers that scripts may read, beside those of the gateway.",
            ),
        ],
    )
};

/// `logs:`
pub(crate) static LOGS: Section = mapping(
    "logs",
    "What is logged, and how.",
    &[
        key(
            "format",
            Kind::Word(&["auto", "human", "json"]),
            "auto is for people on a terminal, JSON elsewhere. Default auto.",
        ),
        key("access", Kind::Word(&["on", "off"]), "Whether each request gets a line. Default on."),
        key(
            "identity",
            Kind::Word(&["full", "hash", "none"]),
            "How much of the caller a line shows. Default full.",
        ),
    ],
);

/// `errors:`
pub(crate) static ERRORS: Section = mapping(
    "errors",
    "What clients are told when they are refused.",
    &[
        key(
            "detail",
            Kind::Word(&["minimal", "standard", "full"]),
            "How much of the reason is told; full is for development. Default standard.",
        ),
        key("docs", URL, "The base of problem types' URIs."),
    ],
);

/// `tracing:`
pub(crate) static TRACING: Section = mapping(
    "tracing",
    "How the gateway takes part in traces (W3C Trace Context, OpenTelemetry).",
    &[
        key(
            "trust",
            Kind::Word(&["all", "proxies", "none"]),
            "Whose traceparent, tracestate and baggage count: everybody's, those of \
             trusted_proxies, nobody's. Default all.",
        ),
        key("otlp", URL, "The collector, such as http://collector:4318; OTLP over HTTP."),
        key("sample", SHARE, "The share of traces beginning here that is exported. Default 100%."),
    ],
);

/// `drain:`
pub(crate) static DRAIN: Section = mapping(
    "drain",
    "How the gateway stops on SIGTERM.",
    &[
        key("delay", DURATION, "How long it goes on accepting while not ready. Default 0s."),
        key("timeout", DURATION, "How long open requests may take to finish. Default 30s."),
    ],
);

/// `limits:`
pub(crate) static LIMITS: Section = mapping(
    "limits",
    "Sizes and times that no request or connection may exceed.",
    &[
        key("header_bytes", Kind::Size, "Of a request's head. Default 64KiB."),
        key("headers", Kind::Count, "Fields of a request. Default 100."),
        key("token", Kind::Size, "Of a token. Default 16KiB."),
        key("body", Kind::Size, "Of a request body. Default 10MiB."),
        key("header_timeout", DURATION, "For the TLS handshake, and for a head. Default 10s."),
        key("idle_timeout", DURATION, "For the next request on a connection. Default 60s."),
        key("connections", Kind::Count, "Open client connections. Default 10000."),
        key(
            "connections_per_peer",
            Kind::Count,
            "Of one client address, unless it is a trusted proxy. Default half of `connections`.",
        ),
        key(
            "requests",
            Kind::Count,
            "Answered at the same time; more get 503. Default twice `connections`.",
        ),
        key("memory", MEMORY, "Above it requests get 503. Default 90% of what there is."),
        key("verdicts", Kind::Count, "Verified tokens remembered. Default 100000."),
        key("callers", Kind::Count, "Callers that each limiter keeps apart. Default 1000000."),
    ],
);

/// The presets that this version knows.
pub(crate) const PRESETS: &[&str] = &[
    "generic",
    "rfc9068",
    "keycloak",
    "duende",
    "hydra",
    "oidc-provider",
    "spring-as",
    "zitadel",
    "authentik",
    "pingfederate",
    "auth0",
    "okta",
    "entra",
    "cognito",
    "google-id",
    "pingone",
    "facebook",
    "github",
    "google-opaque",
];

/// The signature algorithms that an issuer may use.
pub(crate) const ALGORITHMS: &[&str] =
    &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
