"""
The two that are compared in what is not plain HTTP: ours and nginx, each with the same job.

gRPC, WebSockets and events over HTTP, TLS handshakes, and TCP and UDP, for which nginx has its
stream module. Both write a line into a log for each request, connection and session.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from peers import NGINX_MAIN, ROOT, Site, make_server
from processes import BenchmarkError, Server, find_program, free_port

PORTS = ("web", "grpc", "tls", "tcp", "udp")
MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")

# The inner server is there for `proxy_pass`, which reads a whole request before it answers: as a
# proxy, nginx now and then says 502 if an answer comes before it has sent the whole request.
GRPC_BACKEND = """
  access_log off;
  upstream inner {{
    server 127.0.0.1:{inner};
    keepalive 256;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{inner};
    location / {{
      default_type application/grpc;
      add_header grpc-status 0;
      return 200 "0123456789";
    }}
  }}
  server {{
    listen 127.0.0.1:{port} http2 backlog=4096;
    location / {{
      proxy_pass http://inner;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }}
  }}
"""

NGINX_HTTP = """
  log_format line '$time_iso8601 $remote_addr $host $request_method $request_uri $status'
    ' $body_bytes_sent $request_time $upstream_addr $http_user_agent';
  access_log {folder}/access.log line buffer=32k flush=1s;
  upstream grpc {{
    server 127.0.0.1:{grpc_backend};
    keepalive 256;
    keepalive_requests 1000000000;
  }}
  proxy_http_version 1.1;
  ssl_certificate {cert};
  ssl_certificate_key {key};
  ssl_protocols TLSv1.2 TLSv1.3;
  server {{
    listen 127.0.0.1:{grpc} http2;
    location / {{ grpc_pass grpc://grpc; }}
  }}
  server {{
    listen 127.0.0.1:{web};
    listen 127.0.0.1:{tls} ssl;
    location /ws {{
      proxy_pass http://127.0.0.1:{echoes};
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
    }}
    location /sse {{
      proxy_pass http://127.0.0.1:{echoes};
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
"""

NGINX_STREAM = """
stream {{
  log_format line '$time_iso8601 $remote_addr $status $bytes_sent $bytes_received $session_time';
  access_log {folder}/stream.log line;
  server {{ listen 127.0.0.1:{tcp}; proxy_pass 127.0.0.1:{echoes}; tcp_nodelay on; }}
  server {{ listen 127.0.0.1:{udp} udp; proxy_pass 127.0.0.1:{echoes}; proxy_timeout 30s; }}
}}
"""

OURS = """
entrypoints "web" {{
  address = "127.0.0.1:{web}"
}}
entrypoints "grpc" {{
  address = "127.0.0.1:{grpc}"
}}
entrypoints "websecure" {{
  address = "127.0.0.1:{tls}"
  tls {{
    cert_file = "{cert}"
    key_file  = "{key}"
  }}
}}
entrypoints "tcp" {{
  address  = "127.0.0.1:{tcp}"
  protocol = "tcp"
}}
entrypoints "udp" {{
  address  = "127.0.0.1:{udp}"
  protocol = "udp"
}}
routers "grpc" {{
  rule        = "PathPrefix(`/`)"
  entrypoints = ["grpc"]
  service     = "grpc"
}}
routers "web" {{
  rule        = "PathPrefix(`/ws`) || PathPrefix(`/sse`)"
  entrypoints = ["web", "websecure"]
  service     = "web"
}}
routers "tcp" {{
  rule        = "HostSNI(`*`)"
  entrypoints = ["tcp"]
  service     = "tcp"
}}
routers "udp" {{
  rule        = "HostSNI(`*`)"
  entrypoints = ["udp"]
  service     = "udp"
}}
services "grpc" {{
  load_balancer {{ servers = [{{ url = "h2c://127.0.0.1:{grpc_backend}" }}] }}
}}
services "web" {{
  load_balancer {{ servers = [{{ url = "http://127.0.0.1:{echoes}" }}] }}
}}
services "tcp" {{
  load_balancer {{ servers = [{{ url = "tcp://127.0.0.1:{echoes}" }}] }}
}}
services "udp" {{
  load_balancer {{ servers = [{{ url = "udp://127.0.0.1:{echoes}" }}] }}
}}
access_log {{
  path = "{folder}/access.log"
}}
admin {{
  enabled = false
}}
"""


def grpc_backend(folder: Path) -> Server:
    """Make the server that all gRPC calls are for."""
    folder.mkdir()
    port = free_port()
    config = folder / "nginx.conf"
    http = GRPC_BACKEND.format(port=port, inner=free_port())
    config.write_text(NGINX_MAIN.format(folder=folder, http=http))
    argv = (find_program("nginx"), "-p", str(folder), "-c", str(config))
    return make_server("gRPC backend", folder, argv, (port, 0))


def echoes(folder: Path) -> Server:
    """Make the server for all the rest."""
    folder.mkdir()
    port = free_port()
    argv = (sys.executable, str(Path(__file__).with_name("echoes.py")), str(port))
    return make_server("echoes", folder, argv, (port, 0))


def _serve(
    name: str, site: Site, config: Path, text: str, argv: tuple[str, ...], **env: str
) -> Server:
    """Write a configuration, and name its ports."""
    ports = {port: free_port() for port in PORTS}
    config.write_text(
        text.format(
            **ports,
            folder=site.folder,
            cert=site.cert,
            key=site.key,
            echoes=site.echoes,
            grpc_backend=site.grpc_backend,
        )
    )
    server = make_server(name, site.folder, argv, (ports["web"], ports["tls"]), **env)
    return replace(server, ports=ports)


def nginx(site: Site) -> Server:
    """One worker, with the module for TCP and UDP."""
    if not MODULE.exists():
        raise BenchmarkError(f"no {MODULE} (Debian: apt-get install libnginx-mod-stream)")
    config = site.folder / "nginx.conf"
    main = NGINX_MAIN.replace("{http}", NGINX_HTTP)
    text = f"load_module {MODULE};\n{main}{NGINX_STREAM}"
    argv = (find_program("nginx"), "-p", str(site.folder), "-c", str(config))
    return _serve("nginx", site, config, text, argv)


def ours(site: Site) -> Server:
    """Run the gateway of this checkout by the interpreter that runs this script."""
    config = site.folder / "gateway.hcl"
    argv = (sys.executable, "-m", "a3s_gateway", "--config", str(config))
    return _serve("ours", site, config, OURS, argv, PYTHONPATH=str(ROOT))


PROXIES: dict[str, Callable[[Site], Server]] = {"nginx": nginx, "ours": ours}
