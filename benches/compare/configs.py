"""One function per proxy: the text of its configuration.

They are equivalent where it matters: keep-alive on both sides, TLS 1.3 alone, one file for the
access log, and for those that enforce: signature, issuer, audience, expiry and scope of the token,
a limit per client that is never reached (Envoy: none), and identity headers instead of the token.
"""

import json
import os

import contenders

ISSUER = "https://id.example.com"
AUDIENCE = "https://api.example.com"


def scopegate(contender, backend):
    setup = contender.setup
    lines = [
        f"listen: {contender.address}",
        "admin: 127.0.0.1:0",
        f"issuers: {{ main: {{ url: {ISSUER}, audience: {AUDIENCE}, jwks: {setup.keys}/keys.json }} }}",
        f"upstream: http://{backend}",
        "plans: { large: { rate: 1000000/s } }",
        "default_plan: large",
        f"logs: {{ format: json, access: {'on' if setup.log else 'off'} }}",
        f"limits: {{ body: 2GiB, verdicts: {2_000_000 if setup.many else 100_000}, callers: 2000000 }}",
        "routes:",
        "  /orders/**: { GET: orders:read, POST: orders:write }",
        "  /stream/**: { GET: orders:read }",
    ]
    lines += [f"  /r{number}/**: {{ GET: orders:read }}" for number in range(setup.routes)]
    if setup.tls:
        lines.insert(1, f"tls: {{ cert: {tls_file('cert.pem')}, key: {tls_file('key.pem')} }}")
    return "\n".join(lines) + "\n"


def nginx(contender, backend):
    setup, folder = contender.setup, contender.folder
    tls = f"ssl_certificate {tls_file('cert.pem')}; ssl_certificate_key {tls_file('key.pem')}; ssl_protocols TLSv1.3;"
    log = f"{folder}/access.log combined buffer=64k flush=1s" if setup.log else "off"
    return f"""
daemon off; {'user root;' if os.getuid() == 0 else ''}
worker_processes {setup.workers}; worker_rlimit_nofile 20000;
pid {folder}/nginx.pid; error_log {folder}/error.log error;
events {{ worker_connections 8000; }}
http {{
    access_log {log};
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    keepalive_requests 1000000000; keepalive_timeout 75s;
    client_header_buffer_size 4k; client_max_body_size 0;
    upstream backend {{ server {backend}; keepalive 64; keepalive_requests 1000000000; }}
    server {{
        listen {contender.address} {'ssl http2' if setup.tls else ''} {'reuseport' if setup.workers > 1 else ''};
        {tls if setup.tls else ''}
        location / {{
            proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_set_header Host $host; proxy_request_buffering off; proxy_max_temp_file_size 0;
        }}
    }}
}}
"""


def haproxy(contender, backend):
    setup = contender.setup
    tls = f"ssl crt {tls_file('both.pem')} alpn h2,http/1.1" if setup.tls else ""
    return f"""
global
    nbthread {setup.workers}
    maxconn 8000
    ssl-default-bind-options ssl-min-ver TLSv1.3
    {'log stdout format raw local0' if setup.log else ''}
defaults
    mode http
    timeout connect 5s
    timeout client 75s
    timeout server 75s
    http-reuse always
    {'log global' if setup.log else ''}
    {'option httplog' if setup.log else ''}
frontend clients
    bind {contender.address} {tls}
{haproxy_rules(contender) if contender.kind == 'haproxy-jwt' else ''}
    default_backend servers
backend servers
    server one {backend}
backend limits
    stick-table type string len 64 size 1m expire 1m store http_req_rate(1s)
"""


def haproxy_rules(contender):
    key = contender.folder / "key.pem"
    key.write_text(contenders.public_key_pem(contender.setup.keys / "keys.json"))
    payload = lambda claim: f"var(txn.token),jwt_payload_query('$.{claim}')"
    rules = f"""
    http-request set-var(txn.token) http_auth_bearer
    http-request set-var(txn.alg) var(txn.token),jwt_header_query('$.alg')
    http-request deny deny_status 401 unless {{ var(txn.alg) -m str {contender.setup.alg} }}
    http-request deny deny_status 401 unless {{ var(txn.token),jwt_verify(txn.alg,"{key}") -m int 1 }}
    http-request deny deny_status 401 unless {{ {payload('iss')} -m str {ISSUER} }}
    http-request deny deny_status 401 unless {{ {payload('aud')} -m str {AUDIENCE} }}
    http-request set-var(txn.now) date()
    http-request deny deny_status 401 unless {{ var(txn.token),jwt_payload_query('$.exp','int'),sub(txn.now) -m int gt 0 }}
    http-request set-var(txn.scope) {payload('scope')}
    http-request deny deny_status 403 unless {{ var(txn.scope) -m sub orders:read }}
    http-request set-var(txn.client) {payload('client_id')}
    http-request track-sc0 var(txn.client) table limits
    http-request deny deny_status 429 if {{ sc_http_req_rate(0,limits) gt 1000000 }}
    http-request set-header X-Auth-Subject %[{payload('sub')}]
    http-request set-header X-Auth-Client %[var(txn.client)]
    http-request set-header X-Auth-Scopes %[var(txn.scope)]
    http-request del-header Authorization"""
    return rules


def envoy(contender, backend):
    setup = contender.setup
    filters = [] if contender.kind == "envoy" else envoy_checks(contender)
    filters.append(extension("filters.http.router.v3.Router", "envoy.filters.http.router"))
    route = {"match": {"prefix": "/"}, "route": {"cluster": "backend", "timeout": "0s"}}
    manager = extension(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "envoy.filters.network.http_connection_manager",
        stat_prefix="clients", generate_request_id=False, http_filters=filters,
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        access_log=[envoy_log(contender)] if setup.log else [],
    )
    chain = {"filters": [manager]}
    if setup.tls:
        chain["transport_socket"] = envoy_tls()
    listener = {"address": socket_address(contender.address), "filter_chains": [chain]}
    cluster = {
        "name": "backend", "type": "STATIC",
        "circuit_breakers": {"thresholds": [{"max_connections": 8000, "max_requests": 8000,
                                             "max_pending_requests": 8000}]},
        "load_assignment": {"cluster_name": "backend", "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": socket_address(backend)}}]}]},
    }
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}, indent=1)


def envoy_checks(contender):
    provider = {
        "issuer": ISSUER, "audiences": [AUDIENCE], "forward": False,
        "local_jwks": {"filename": f"{contender.setup.keys}/keys.json"},
        "payload_in_metadata": "jwt_payload",
        "claim_to_headers": [
            {"header_name": "x-auth-subject", "claim_name": "sub"},
            {"header_name": "x-auth-client", "claim_name": "client_id"},
            {"header_name": "x-auth-scopes", "claim_name": "scope"},
        ],
    }
    if contender.kind == "envoy-jwt-cache":
        provider["jwt_cache_config"] = {"jwt_cache_size": 100_000}
    scope = {"metadata": {
        "filter": "envoy.filters.http.jwt_authn",
        "path": [{"key": "jwt_payload"}, {"key": "scope"}],
        "value": {"string_match": {"contains": "orders:read"}},
    }}
    policies = {"scope": {"permissions": [{"any": True}], "principals": [scope]}}
    rules = [{"match": {"prefix": "/"}, "requires": {"provider_name": "main"}}]
    return [
        extension("filters.http.jwt_authn.v3.JwtAuthentication", "envoy.filters.http.jwt_authn",
                  providers={"main": provider}, rules=rules),
        extension("filters.http.rbac.v3.RBAC", "envoy.filters.http.rbac",
                  rules={"action": "ALLOW", "policies": policies}),
    ]


def envoy_log(contender):
    return extension("access_loggers.file.v3.FileAccessLog", "envoy.access_loggers.file",
                     path=f"{contender.folder}/access.log")


def envoy_tls():
    certificate = {"certificate_chain": {"filename": tls_file("cert.pem")},
                   "private_key": {"filename": tls_file("key.pem")}}
    common = {"alpn_protocols": ["h2", "http/1.1"], "tls_certificates": [certificate],
              "tls_params": {"tls_minimum_protocol_version": "TLSv1_3",
                             "tls_maximum_protocol_version": "TLSv1_3"}}
    return extension("transport_sockets.tls.v3.DownstreamTlsContext",
                     "envoy.transport_sockets.tls", common_tls_context=common)


def extension(kind, name, **settings):
    kind = f"type.googleapis.com/envoy.extensions.{kind}"
    return {"name": name, "typed_config": {"@type": kind, **settings}}


def socket_address(text):
    host, port = text.rsplit(":", 1)
    return {"socket_address": {"address": host, "port_value": int(port)}}


def tls_file(name):
    return str(contenders.OUT / "tls" / name)
