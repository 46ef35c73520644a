"""
The programs that are compared, each with the same job and comparable features.

Fifty routes (ten hosts, five prefixes each), one backend with kept connections, an access log in a
file, X-Forwarded-* and X-Request-Id to the backend, the id back to the client, plain HTTP and TLS.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from processes import Server, find_program, free_port

ROOT = Path(__file__).parent.parent
HOSTS = tuple(f"h{n}.example.com" for n in range(10))
PREFIXES = tuple(f"/api{n}" for n in range(5))


@dataclass(frozen=True)
class Site:
    """What all of them share."""

    folder: Path
    backend: int  # port
    backend_pids: tuple[int, ...]
    cert: Path
    key: Path
    grpc_backend: int = 0  # port
    echoes: int = 0  # port


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a self-signed P-256 certificate for the hosts; returns it and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    names = ",".join(f"DNS:{name}" for name in ("localhost", *HOSTS))
    command = [
        *(find_program("openssl"), "req", "-x509", "-newkey", "ec"),
        *("-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2", "-subj", "/CN=localhost"),
        *("-addext", f"subjectAltName={names}", "-keyout", str(key), "-out", str(cert)),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


def make_server(
    name: str, folder: Path, argv: tuple[str, ...], ports: tuple[int, int], **env: str
) -> Server:
    """Name the files of a server and create its log."""
    log = folder / "access.log"
    log.touch()
    return Server(name, argv, *ports, log, folder / "output.txt", env)


NGINX_MAIN = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 16384; }}
http {{
  client_body_temp_path {folder}/t1;
  proxy_temp_path {folder}/t2;
  fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4;
  scgi_temp_path {folder}/t5;
  keepalive_requests 1000000000;
  {http}
}}
"""

NGINX_BACKEND = """
  access_log off;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    default_type application/json;
    add_header Cache-Control "private, max-age=0";
    root {folder};
    sendfile on;
    open_file_cache max=10;
    client_body_buffer_size 64k;
    location / {{ return 200 "{kilobyte}"; }}
    location = /api3/upload {{ return 200 '{{"ok": true}}'; }}
    location = /api3/64k {{ try_files /64k =404; }}
    location = /api3/1m {{ try_files /1m =404; }}
  }}
"""

NGINX_PROXY = """
  map $http_x_request_id $rid {{ default $http_x_request_id; "" $request_id; }}
  log_format json escape=json '{{"time":"$time_iso8601","client":"$remote_addr","host":"$host",'
    '"method":"$request_method","path":"$request_uri","status":$status,"bytes":$body_bytes_sent,'
    '"duration":$request_time,"upstream":"$upstream_addr","agent":"$http_user_agent",'
    '"request_id":"$rid"}}';
  access_log {folder}/access.log json buffer=32k flush=1s;
  upstream backend {{
    server 127.0.0.1:{backend};
    keepalive 256;
    keepalive_requests 1000000000;
  }}
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $host;
  proxy_set_header X-Real-IP $remote_addr;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Forwarded-Host $host;
  proxy_set_header X-Forwarded-Port $server_port;
  proxy_set_header X-Request-Id $rid;
  add_header X-Request-Id $rid always;
  ssl_certificate {cert};
  ssl_certificate_key {key};
  ssl_protocols TLSv1.2 TLSv1.3;
  {buffering}
  {servers}
"""


def nginx_command(folder: Path, http: str) -> tuple[str, ...]:
    """Write nginx's configuration; returns how to start it."""
    config = folder / "nginx.conf"
    config.write_text(NGINX_MAIN.format(folder=folder, http=http))
    return (find_program("nginx"), "-p", str(folder), "-c", str(config))


def nginx_backend(folder: Path) -> Server:
    """Make the server that all the proxies stand before."""
    folder.mkdir()
    (folder / "64k").write_bytes(b"x" * 64 * 1024)
    (folder / "1m").write_bytes(b"x" * 1024 * 1024)
    port = free_port()
    http = NGINX_BACKEND.format(port=port, folder=folder, kilobyte="x" * 1024)
    return make_server("backend", folder, nginx_command(folder, http), (port, 0))


def nginx(site: Site) -> Server:
    """One worker, response and request buffered: nginx's default."""
    return nginx_proxy("nginx", site, "")


def nginx_unbuffered(site: Site) -> Server:
    """Make the same nginx stream both ways, as the others do."""
    return nginx_proxy(
        "nginx-unbuffered", site, "proxy_buffering off; proxy_request_buffering off;"
    )


def nginx_proxy(name: str, site: Site, buffering: str) -> Server:
    """Write one of the two."""
    ports = free_port(), free_port()
    locations = " ".join(
        f"location {prefix}/ {{ proxy_pass http://backend; }}" for prefix in PREFIXES
    )
    servers = "\n  ".join(
        f"server {{ listen 127.0.0.1:{ports[0]}; listen 127.0.0.1:{ports[1]} ssl http2;"
        f" server_name {host}; {locations} }}"
        for host in HOSTS
    )
    http = NGINX_PROXY.format(
        folder=site.folder,
        backend=site.backend,
        cert=site.cert,
        key=site.key,
        buffering=buffering,
        servers=servers,
    )
    return make_server(name, site.folder, nginx_command(site.folder, http), ports)


HAPROXY = """
global
  nbthread 1
  maxconn {connections}
  log stdout format raw local0
  ssl-default-bind-options ssl-min-ver TLSv1.2
  ssl-server-verify none
defaults
  mode http
  log global
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout http-keep-alive 75s
  http-reuse always
  option forwardfor
frontend web
  bind 127.0.0.1:{port} backlog 4096
  bind 127.0.0.1:{tls_port} ssl crt {pem} alpn h2,http/1.1 backlog 4096
  unique-id-format %[uuid()]
  http-request set-header X-Request-Id %[unique-id] unless {{ req.hdr(x-request-id) -m found }}
  http-request set-var(txn.rid) req.hdr(x-request-id)
  http-response set-header X-Request-Id %[var(txn.rid)]
  http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
  http-request set-header X-Forwarded-Proto http unless {{ ssl_fc }}
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Forwarded-Port %[dst_port]
  http-request set-header X-Real-IP %[src]
  http-request capture req.hdr(user-agent) len 128
  log-format '{log_format}'
  use_backend %[base,map_beg({map})]
backend backend
  server one 127.0.0.1:{backend} pool-max-conn 256
"""

HAPROXY_LOG = (
    '{"time":"%t","client":"%ci","method":"%HM","path":"%HU","status":%ST,"bytes":%B,'
    '"duration":%Ta,"upstream":"%b/%s","agent":%{+Q}[capture.req.hdr(0)],'
    '"request_id":"%[var(txn.rid)]"}'
)


def haproxy(site: Site) -> Server:
    """One thread; it logs to its standard output, which is a file."""
    port, tls_port = free_port(), free_port()
    # It reserves two files per connection, and does not start if it cannot have them.
    connections = min(12_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 2 - 100)
    pem, routes = site.folder / "both.pem", site.folder / "routes.map"
    pem.write_text(site.cert.read_text() + site.key.read_text())
    routes.write_text("".join(f"{h}{p}/ backend\n" for h in HOSTS for p in PREFIXES))
    config = site.folder / "haproxy.cfg"
    config.write_text(
        HAPROXY.format(
            connections=connections,
            port=port,
            tls_port=tls_port,
            pem=pem,
            map=routes,
            backend=site.backend,
            log_format=HAPROXY_LOG,
        )
    )
    argv = (find_program("haproxy"), "-db", "-f", str(config))
    server = make_server("haproxy", site.folder, argv, (port, tls_port))
    return replace(server, output=server.log, capacity=connections)


def caddy(site: Site) -> Server:
    """One OS thread at a time runs Go code; it makes no certificates and installs none."""
    ports = free_port(), free_port()
    config = site.folder / "caddy.json"
    config.write_text(json.dumps(caddy_config(site, *ports)))
    argv = (find_program("caddy"), "run", "--config", str(config))
    home = str(site.folder)
    return make_server(
        *("caddy", site.folder, argv, ports),
        GOMAXPROCS="1",
        HOME=home,
        XDG_DATA_HOME=home,
        XDG_CONFIG_HOME=home,
    )


def caddy_config(site: Site, port: int, tls_port: int) -> dict[str, object]:
    """Write what a Caddyfile of fifty `handle` blocks adapts to."""
    request_id = {"set": {"X-Request-Id": ["{http.request.uuid}"]}}
    to_backend = {"set": {**request_id["set"], "X-Real-Ip": ["{http.request.remote.host}"]}}
    forward = [
        {"handler": "headers", "response": request_id},
        {
            "handler": "reverse_proxy",
            "upstreams": [{"dial": f"127.0.0.1:{site.backend}"}],
            "headers": {"request": to_backend},
            "transport": {
                "protocol": "http",
                "keep_alive": {"max_idle_conns_per_host": 256},
            },
        },
    ]
    by_path = [
        {"match": [{"path": [f"{prefix}/*"]}], "handle": forward, "group": "prefix"}
        for prefix in PREFIXES
    ]
    by_host = [
        {
            "match": [{"host": [host]}],
            "handle": [{"handler": "subroute", "routes": by_path}],
            "terminal": True,
        }
        for host in HOSTS
    ]
    shared = {
        "routes": by_host,
        "protocols": ["h1"],
        "automatic_https": {"disable": True},
        "logs": {"default_logger_name": "bench"},
    }
    access = "http.log.access.bench"
    pair = {"certificate": str(site.cert), "key": str(site.key)}
    log = {"output": "file", "filename": f"{site.folder}/access.log", "roll": False}
    return {
        "admin": {"disabled": True, "config": {"persist": False}},
        "logging": {
            "logs": {
                "default": {"level": "ERROR", "exclude": [access]},
                "access": {"writer": log, "encoder": {"format": "json"}, "include": [access]},
            }
        },
        "apps": {
            "http": {
                "servers": {
                    "plain": {"listen": [f"127.0.0.1:{port}"], **shared},
                    "secure": {
                        "listen": [f"127.0.0.1:{tls_port}"],
                        "tls_connection_policies": [{}],
                        **shared,
                    },
                }
            },
            "tls": {"certificates": {"load_files": [pair]}},
        },
    }


OURS = """
entrypoints "web" {{
  address = "127.0.0.1:{port}"
}}
entrypoints "websecure" {{
  address = "127.0.0.1:{tls_port}"
  tls {{
    cert_file = "{cert}"
    key_file  = "{key}"
  }}
}}
access_log {{
  path = "{folder}/access.log"
}}
admin {{
  enabled = false
}}
services "backend" {{
  load_balancer {{
    strategy = "round-robin"
    servers  = [{{ url = "http://127.0.0.1:{backend}" }}]
  }}
}}
"""

OURS_ROUTER = """
routers "{name}" {{
  rule    = "Host(`{host}`) && PathPrefix(`{prefix}/`)"
  service = "backend"
}}
"""


def ours(site: Site) -> Server:
    """Run the gateway of this checkout by the interpreter that runs this script."""
    ports = free_port(), free_port()
    config = site.folder / "gateway.hcl"
    text = OURS.format(
        port=ports[0],
        tls_port=ports[1],
        cert=site.cert,
        key=site.key,
        folder=site.folder,
        backend=site.backend,
    )
    for number, (host, prefix) in enumerate((h, p) for h in HOSTS for p in PREFIXES):
        text += OURS_ROUTER.format(name=f"r{number}", host=host, prefix=prefix)
    config.write_text(text)
    argv = (sys.executable, "-m", "a3s_gateway", "--config", str(config))
    return make_server("ours", site.folder, argv, ports, PYTHONPATH=str(ROOT))


PROXIES: dict[str, Callable[[Site], Server]] = {
    "nginx": nginx,
    "nginx-unbuffered": nginx_unbuffered,
    "haproxy": haproxy,
    "caddy": caddy,
    "ours": ours,
}
