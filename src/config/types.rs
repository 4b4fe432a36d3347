//! The configuration as types, one struct for each mapping of the YAML language.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, Method};
use ipnet::IpNet;
use jsonwebtoken::Algorithm;
use rustls_pki_types::ServerName;

use crate::method;

use super::{
    BackchannelLogout, Cors, Introspection, Listen, Located, Place, Resilience, Revocation,
    RouteCors, Tracing,
};

/// A whole configuration: one file and what it includes.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect. Default `127.0.0.1:8443`.
    pub listen: Vec<Located<Listen>>,
    /// `None` if `tls` is not written, which is allowed on loopback only.
    pub tls: Option<Located<Tls>>,
    /// What clients call this gateway, such as `https://api.example.com`, without a trailing slash.
    pub public_url: Option<Located<String>>,
    /// Where metrics, health and reload are. Default `127.0.0.1:8081`.
    pub admin: Located<Listen>,
    /// The proxies whose `Forwarded` and `X-Forwarded-*` are believed. Default none.
    pub trusted_proxies: Vec<IpNet>,
    /// The authorization servers, by name. The short form `issuer:` is called `main`.
    pub issuers: Vec<Issuer>,
    /// The backends, by name. The short form `upstream:` is called `main`.
    pub upstreams: Vec<Upstream>,
    /// The headers that tell backends who calls.
    pub identity_headers: Vec<IdentityHeader>,
    /// Fields that pass from strangers although proxies tell of clients in them. Default none.
    pub kept_headers: Vec<Located<http::HeaderName>>,
    /// Whether backends see the caller's token. Default false.
    pub keep_authorization: Option<Located<bool>>,
    /// The rate plans, by name.
    pub plans: Vec<Plan>,
    /// The plan of clients that no other setting gives one.
    pub default_plan: Option<Located<String>>,
    /// The claim that names the caller's plan.
    pub plan_from: Option<ClaimPath>,
    /// What is known of single clients, by client id.
    pub clients: Vec<Client>,
    /// The limit of requests per peer address, spent before any cryptography.
    pub flood: Option<Located<Rate>>,
    /// What scripts of other origins may do, on routes that do not say. Default nothing.
    pub cors: Option<Cors>,
    /// The mode of routes that do not say. Default [`Mode::Enforce`].
    pub mode: Mode,
    /// Named rules, for `use:`.
    pub rules: Vec<(Located<String>, Rule)>,
    /// Where revocations come from and are kept; `None` takes none.
    pub revocation: Option<Revocation>,
    /// The routes, in the order of the file (which never matters).
    pub routes: Vec<Route>,
    /// What is logged, and how.
    pub logs: Logs,
    /// What clients are told when they are refused.
    pub errors: Errors,
    /// How it takes part in traces; `None` passes on what clients say of theirs.
    pub tracing: Option<Tracing>,
    /// Whether answers tell where the time went (`Server-Timing`). Default false.
    pub server_timing: bool,
    /// For how long browsers shall use TLS alone (RFC 6797). Default: nothing is said of it.
    pub hsts: Option<Duration>,
    /// How the gateway stops.
    pub drain: Drain,
    /// Sizes and times that no request or connection may exceed.
    pub limits: Limits,
    /// The ids of warnings that `# scopegate: allow A101` comments silence.
    pub allowed_warnings: Vec<String>,
}

/// How connections are secured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// `tls: off`: plaintext, written out.
    Off,
    /// Certificate and key files; the first pair answers clients whose SNI matches none.
    Pairs(Vec<TlsPair>),
}

/// A PEM certificate chain and its PEM private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPair {
    /// The certificate chain, leaf first.
    pub cert: Located<PathBuf>,
    /// The private key: PKCS#8, PKCS#1 or SEC1.
    pub key: Located<PathBuf>,
}

/// An authorization server whose tokens are accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Issuer {
    /// The name used in rules, logs and metrics.
    pub name: Located<String>,
    /// The issuer identifier; tokens' `iss` must equal it byte for byte (RFC 9068 §4).
    pub url: Located<String>,
    /// The audiences accepted; a token needs one of them (RFC 7519 §4.1.3). Never empty.
    pub audience: Vec<String>,
    /// Which claims hold what, and what `typ` must say.
    pub preset: Located<String>,
    /// The signature algorithms accepted. Default RS256, PS256, ES256, EdDSA.
    pub algorithms: Vec<Algorithm>,
    /// The clock skew allowed on `exp`, `nbf` and `iat`. Default 30 s, at most 5 min.
    pub leeway: Duration,
    /// The longest time since `iat`. Default unlimited.
    pub max_token_age: Option<Duration>,
    /// Other spellings of `url` in `iss`. Default none, beside what the preset knows.
    pub issuer_aliases: Vec<Located<String>>,
    /// The tenants accepted where `url` has [`TENANT`] in it. Default none, which accepts nobody.
    pub tenants: Vec<Located<String>>,
    /// Where the audience is; the first that is present counts. Empty: where the preset says.
    pub audience_claim: Vec<ClaimPath>,
    /// What the header's `typ` may say, `absent` for none. Empty: what the preset says.
    pub accept_typ: Vec<String>,
    /// What every token must have, beside what the preset asks.
    pub required_claims: Vec<(ClaimPath, ClaimMatch)>,
    /// Names for claims: `scopes`, `roles`, `groups`, `client`, `subject`, `tenant`, `token_id` and
    /// `session` replace the preset's paths, any other name can be used in rules and templates. The
    /// first path at which something stands counts.
    pub claims: Vec<(Located<String>, Vec<ClaimPath>)>,
    /// The claims whose values mark a machine's token, beside the preset's.
    pub client_token_when: Vec<(ClaimPath, String)>,
    /// The claims whose values mark a person's token, beside the preset's.
    pub user_token_when: Vec<(ClaimPath, String)>,
    /// Whether a token without any sign is nobody's, whatever the preset concludes. Default false.
    pub kind_unknown_by_default: bool,
    /// Broader scopes and the narrower ones that each contains.
    pub implies: Vec<(String, Vec<String>)>,
    /// Where the keys come from.
    pub keys: KeySource,
    /// Allows plain `http` off loopback. Default false.
    pub insecure: bool,
    /// How long a key set is used without a successful refresh. Default 24 h.
    pub max_stale: Duration,
    /// How it is asked about tokens (RFC 7662). Default not at all.
    pub introspection: Option<Introspection>,
    /// Where the issuer tells of logouts (OIDC Back-Channel Logout); `None` takes none.
    pub backchannel_logout: Option<BackchannelLogout>,
}

/// What stands for the tenant in the identifiers of an issuer of several, as Entra writes it.
pub const TENANT: &str = "{tenantid}";

/// Where an issuer's keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// Metadata at the issuer's well-known URLs (OIDC Discovery §4, RFC 8414 §3.1).
    Discovery,
    /// Metadata at this URL.
    Metadata(Located<String>),
    /// A JWKS at this URL, without metadata.
    Url(Located<String>),
    /// A JWKS file, without network.
    File(Located<PathBuf>),
}

/// The path to a claim: the member names, and positions in lists, from the outside in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClaimPath(pub Vec<String>);

/// A backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The name used in routes, logs and metrics.
    pub name: Located<String>,
    /// The servers, at least one.
    pub targets: Vec<Located<UpstreamTarget>>,
    /// The time to connect. Default 2 s.
    pub connect_timeout: Duration,
    /// The time from the request's end to the response's head. Default 30 s.
    pub response_timeout: Duration,
    /// The time that an idle connection is kept, and the longest silence within a body.
    /// Default 60 s.
    pub idle_timeout: Duration,
    /// What is done about servers that fail.
    pub resilience: Resilience,
    /// What is spoken to its servers.
    pub protocol: Protocol,
    /// How its `https://` servers are known, and the gateway to them.
    pub tls: UpstreamTls,
}

/// One server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamTarget {
    /// Where it listens.
    pub address: TargetAddress,
    /// Its share of the requests, beside the other targets' weights. Default 1.
    pub weight: u32,
}

/// Where a server listens, and whether over TLS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TargetAddress {
    /// `http://host:port` or `https://host:port` with nothing behind it.
    Tcp {
        /// A host name or an address without brackets.
        host: String,
        /// The port; 80 or 443 if the URL has none.
        port: u16,
        /// Whether it is `https`.
        tls: bool,
    },
    /// `unix:/run/app.sock`.
    Unix(PathBuf),
}

/// Which version of HTTP a backend is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1: the default.
    #[default]
    Http1,
    /// HTTP/2 alone: agreed on in the handshake over TLS (RFC 9113 §3.2), by prior knowledge
    /// without (§3.3).
    Http2,
    /// What the server prefers over TLS (RFC 7301), HTTP/1.1 without.
    Auto,
}

/// `tls:` of an upstream. Without it, servers are checked against the system's authorities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// A PEM file with the certificate authorities that are trusted instead of the system's.
    pub ca: Option<Located<PathBuf>>,
    /// The certificate that the gateway shows to servers that ask for one.
    pub pair: Option<TlsPair>,
    /// The name that is asked for and must be in the certificate. Default: the target's host.
    pub server_name: Option<ServerName<'static>>,
    /// Whether any certificate is believed, which lets anyone on the way read and change
    /// everything. Default false.
    pub insecure_skip_verify: bool,
}

impl Upstream {
    /// Whether HTTP/2 can be what is spoken to some target.
    #[must_use]
    pub fn may_speak_http2(&self) -> bool {
        match self.protocol {
            Protocol::Http1 => false,
            Protocol::Http2 => true,
            Protocol::Auto => self.targets.iter().any(|target| target.address.is_secured()),
        }
    }
}

impl TargetAddress {
    /// What metrics and logs call it: `host:port` or `unix:/run/app.sock`.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port, .. } => format!("{host}:{port}"),
            Self::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// How it is written in the configuration.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Self::Tcp { tls: true, .. } => format!("https://{}", self.label()),
            Self::Tcp { tls: false, .. } => format!("http://{}", self.label()),
            Self::Unix(_) => self.label(),
        }
    }

    /// Whether it is spoken to over TLS.
    #[must_use]
    pub fn is_secured(&self) -> bool {
        matches!(self, Self::Tcp { tls: true, .. })
    }
}

/// A header set on forwarded requests, such as `X-Auth-Subject: "{sub}"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityHeader {
    /// The header's name.
    pub name: Located<HeaderName>,
    /// Its value; the header is absent if a claim in it is.
    pub template: Template,
}

/// Text with `{names}` of claims in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(pub Vec<TemplatePart>);

/// A part of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplatePart {
    /// Text copied as it is.
    Text(String),
    /// `{sub}`, `{client}`, `{scopes}`, `{issuer}`, `{kind}`, `{roles}`, `{groups}`, or any claim.
    Claim(String),
}

/// `60/min`: a number of requests in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// How many requests, at least 1.
    pub count: u32,
    /// In what time: a second, minute, hour or day.
    pub period: Duration,
}

/// What calls are counted by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Per {
    /// The pair of issuer and client id; anonymous callers by address.
    #[default]
    Client,
    /// The pair of issuer and subject; callers without a subject as by client.
    User,
    /// The client's address.
    Ip,
    /// The route: one count for all callers.
    Route,
    /// The value of a claim, within the issuer; callers without it as by client.
    Claim(String),
}

/// A limit: a steady rate with a burst, a quota for a longer period, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The steady rate.
    pub rate: Option<Rate>,
    /// How many requests may come at once. Default: the rate's count.
    pub burst: Option<u32>,
    /// The quota, refilled evenly over its period.
    pub quota: Option<Rate>,
    /// What is counted.
    pub per: Per,
}

/// A named limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The name, also the policy name in `RateLimit` fields.
    pub name: Located<String>,
    /// The limit.
    pub limit: Limit,
}

/// What is known of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client id (RFC 6749 §2.2).
    pub id: Located<String>,
    /// Its plan.
    pub plan: Option<Located<String>>,
    /// A name for people.
    pub name: Option<String>,
}

/// Whether refusals are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Refuse what the policy refuses.
    #[default]
    Enforce,
    /// Let it through, and say what would have been refused.
    Report,
}

/// One path pattern and who may call it.
#[derive(Clone, Debug)]
pub struct Route {
    /// The pattern, as written and as parts.
    pub pattern: Located<Pattern>,
    /// The upstream's name; optional when there is only one.
    pub upstream: Option<Located<String>>,
    /// `allow:` for the usual methods that have no rule of their own.
    pub allow: Option<Rule>,
    /// Rules for single methods.
    pub methods: Vec<MethodRule>,
    /// `public:` for the whole route: GET and HEAD only.
    pub public: Option<Located<Public>>,
    /// A prefix that the backend does not see.
    pub strip_prefix: Option<Located<String>>,
    /// A limit of this route's own, beside the caller's plan.
    pub limit: Option<Located<RouteLimit>>,
    /// Replaces the upstream's response timeout.
    pub timeout: Option<Duration>,
    /// Replaces the configuration's mode.
    pub mode: Option<Located<Mode>>,
    /// Matches literals without regard to ASCII case, for backends that do so. Default false.
    pub case_insensitive: bool,
    /// Lets `%2F` through, kept as it is, within a segment. Default false.
    pub allow_encoded_slash: bool,
    /// Replaces the configuration's setting.
    pub keep_authorization: Option<Located<bool>>,
    /// Protocols that a connection may turn to, such as `websocket`, in lower case. Default none.
    pub upgrade: Vec<String>,
    /// Where `introspect: always` is written: every token is asked about, JWTs too.
    pub introspect: Option<Place>,
    /// Replaces the configuration's setting.
    pub cors: Option<RouteCors>,
}

/// A route's limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteLimit {
    /// The name of a plan, counted apart for this route.
    Plan(String),
    /// A limit written in place.
    Limit(Limit),
}

/// The rule for some methods: `POST, PUT: orders:write`.
#[derive(Clone, Debug)]
pub struct MethodRule {
    /// The methods, each with its place.
    pub methods: Vec<Located<Method>>,
    /// Who may call them.
    pub rule: Rule,
}

/// What a route says of a method.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Says<'r> {
    /// Open without a token.
    Public(Public),
    /// Whom it is open to.
    Rule(&'r Rule),
    /// Nothing: 405.
    Nothing,
}

impl Route {
    /// What is said of a method; HEAD follows GET unless it has a rule of its own.
    pub(crate) fn says_of(&self, method: &Method) -> Says<'_> {
        let named = |method: &Method| {
            self.methods.iter().find(|rule| rule.methods.iter().any(|m| m.value == *method))
        };
        let reads = matches!(*method, Method::GET | Method::HEAD);
        let own = named(method).or_else(|| named(&Method::GET).filter(|_| reads));
        let others = || self.allow.as_ref().filter(|_| method::is_usual(method));
        match (own, &self.public) {
            (Some(own), _) => Says::Rule(&own.rule),
            (None, Some(public)) if reads => Says::Public(public.value),
            (None, _) => others().map_or(Says::Nothing, Says::Rule),
        }
    }
}

/// How open a public route is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Public {
    /// `public: true`: no token is needed, and none is looked at.
    Open,
    /// `public: optional`: no token is needed, but one that is sent must be good.
    Optional,
}

/// A path pattern such as `/orders/{id}` or `api.example.com/v1/**`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// As written in the file: the name of the route in logs and metrics.
    pub text: String,
    /// The host in lower case, without a port.
    pub host: Option<String>,
    /// The segments between slashes; `/` is one empty literal.
    pub segments: Vec<Segment>,
}

/// One segment of a [`Pattern`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// Text that must be equal.
    Literal(String),
    /// `{name}`: one segment that is not empty.
    Param(String),
    /// `**`: any number of segments, also none; always the last.
    Rest,
}

/// A requirement, with its place.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Where it is written.
    pub at: super::Place,
    /// What it asks for.
    pub kind: RuleKind,
}

/// What a [`Rule`] asks for. A mapping with several keys is an [`RuleKind::All`].
#[derive(Clone, Debug)]
pub enum RuleKind {
    /// No token.
    Public(Public),
    /// A scope (RFC 6749 §3.3).
    Scope(String),
    /// A role.
    Role(String),
    /// A group.
    Group(String),
    /// A client id.
    Client(String),
    /// An issuer, by its name.
    Issuer(String),
    /// A person's token, a machine's, or any.
    Token(TokenKind),
    /// One of these authentication context classes, in order of preference (RFC 9470).
    Acr(Vec<String>),
    /// The longest time since the person authenticated (RFC 9470).
    MaxAge(Duration),
    /// The networks that the client's address must be in.
    Source(Vec<IpNet>),
    /// A condition on a claim, named by an alias of the issuer or a dotted path.
    Claim(String, ClaimMatch),
    /// The name of a rule in `rules:`.
    Use(String),
    /// All of these.
    All(Vec<Rule>),
    /// At least one of these.
    Any(Vec<Rule>),
    /// Not this.
    Not(Box<Rule>),
}

/// Who a token speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A person.
    User,
    /// A client on its own behalf: a machine.
    Client,
    /// Either.
    Any,
}

/// A condition on the value of a claim. A claim that holds a list meets it if one item does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimMatch {
    /// Equal to this text, number or truth value.
    Is(serde_json::Value),
    /// Equal to one of these.
    In(Vec<serde_json::Value>),
    /// A list that holds this.
    Contains(serde_json::Value),
    /// Text that begins so.
    StartsWith(String),
    /// Text that ends so.
    EndsWith(String),
    /// Present and not null, or absent.
    Exists(bool),
    /// Equal to this parameter of the route's pattern.
    Param(String),
}

/// What is logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logs {
    /// How lines look.
    pub format: LogFormat,
    /// Whether each request gets a line. Default true.
    pub access_off: bool,
    /// How much of the caller's identity the line shows.
    pub identity: LogIdentity,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Human,
    /// One JSON object per line.
    Json,
}

/// How much of the caller's identity a log line shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogIdentity {
    /// Subject and client as they are.
    #[default]
    Full,
    /// A keyed hash of the subject, so that lines can be joined but not read.
    Hash,
    /// Nothing of the subject.
    None,
}

/// What clients are told when they are refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors {
    /// How much of the reason is told.
    pub detail: ErrorDetail,
    /// The base of problem types' URIs; without it they are `about:blank`.
    pub docs: Option<String>,
}

/// How much of the reason for a refusal the client is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorDetail {
    /// The status alone.
    Minimal,
    /// Expired and missing tokens and missing scopes; the rest in general words.
    #[default]
    Standard,
    /// Everything: for development.
    Full,
}

/// How the gateway stops on SIGTERM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// How long it goes on accepting while `/readyz` says no. Default 0 s.
    pub delay: Duration,
    /// How long open requests may take to finish. Default 30 s.
    pub timeout: Duration,
}

/// Sizes and times that no request or connection may exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's head. Default 64 KiB.
    pub header_bytes: usize,
    /// Header fields of a request. Default 100.
    pub headers: usize,
    /// Bytes of a token. Default 16 KiB.
    pub token: usize,
    /// Bytes of a request body. Default 10 MiB.
    pub body: u64,
    /// The time for the TLS handshake, and for a request's head. Default 10 s.
    pub header_timeout: Duration,
    /// The time that a connection may wait for its next request. Default 60 s.
    pub idle_timeout: Duration,
    /// Open client connections. Default 10 000.
    pub connections: usize,
    /// Open connections of one client address (of one /64 in IPv6); trusted proxies and unix sockets
    /// are not counted. Default half of `connections`.
    pub connections_per_peer: Option<usize>,
    /// Requests that are answered at the same time; more are refused. Default twice `connections`.
    pub requests: Option<Located<usize>>,
    /// How much memory the process may hold before it refuses requests. Default 90 %.
    pub memory: Option<Located<MemoryLimit>>,
    /// Verified tokens that are remembered. Default 100 000.
    pub verdicts: usize,
    /// Callers that each limiter keeps apart. Default 1 000 000.
    pub callers: usize,
}

/// How much memory the process may hold before it refuses requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    /// `off`: as much as there is.
    Off,
    /// `90%`, of what the control group grants, or of the machine's.
    Share(u8),
    /// `2GiB`.
    Bytes(u64),
}

impl Default for MemoryLimit {
    fn default() -> Self {
        Self::Share(90)
    }
}

impl Limits {
    /// Open connections of one client address.
    #[must_use]
    pub fn per_peer(&self) -> usize {
        self.connections_per_peer.unwrap_or(self.connections.div_ceil(2))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 64 << 10,
            headers: 100,
            token: 16 << 10,
            body: 10 << 20,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            connections: 10_000,
            connections_per_peer: None,
            requests: None,
            memory: None,
            verdicts: 100_000,
            callers: 1_000_000,
        }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self { delay: Duration::ZERO, timeout: Duration::from_secs(30) }
    }
}

/// Whether an address can be reached from this machine alone.
#[must_use]
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}
