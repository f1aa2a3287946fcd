"""nginx's configuration: TLS, limits and time-outs in front of clinic-provisioning, on the voice address alone.

It knows no file and no secret but its certificate's key. Source: nginx.org/en/docs.
"""

from __future__ import annotations

from clinic.model import Clinic

CERTIFICATE, KEY = "/etc/nginx/clinic.crt", "/etc/nginx/clinic.key"
SOCKET = "/run/clinic-provisioning.sock"
LOG = "/var/log/nginx/provisioning.access.log"
RATE, BURST = 20, 60
"""Requests a second of one address, and how many at once beyond. A telephone that starts asks fewer than twenty."""
TOGETHER = 8
"""Connections of one address with a request under way; those without are counted by the packet filter."""
CONNECTIONS = 4096
"""Of one worker: a thousand telephones after a power cut, and the worker's own to the service."""


def nginx(clinic: Clinic) -> str:
    """The whole of nginx.conf. Nothing runs as root, so no `user` is named: files/provisioning/nginx.conf."""
    return f"""\
# Rendered by the deploy: clinic/rendering/nginx.py
worker_processes auto;
worker_rlimit_nofile {2 * CONNECTIONS + 256};
pid /run/nginx/nginx.pid;
error_log /var/log/nginx/error.log warn;

events {{
    worker_connections {2 * CONNECTIONS};
    multi_accept on;
}}

http {{
    server_tokens off;
    # `combined`, which the jail reads, without the first doors' tokens. An error's line would have the whole request.
    map $request $veiled {{
        "~^(?<verb>[A-Z]+ /+f/+)[^/ ]*(?<rest>.*)$" "$verb-$rest";
        default $request;
    }}
    log_format veiled '$remote_addr - $remote_user [$time_local] "$veiled" $status $body_bytes_sent '
                      '"$http_referer" "$http_user_agent"';
    access_log {LOG} veiled;
    error_log /var/log/nginx/error.log alert;
    default_type application/octet-stream;

    # Who sends slowly or much is dropped; a telephone's request is small and comes at once.
    client_header_timeout 5s;
    client_body_timeout 5s;
    send_timeout 10s;
    keepalive_timeout 10s;
    keepalive_requests 100;
    client_header_buffer_size 1k;
    large_client_header_buffers 2 4k;
    client_max_body_size 1k;
    reset_timedout_connection on;
    max_ranges 0;
    ignore_invalid_headers on;

    limit_req_zone $binary_remote_addr zone=asked:2m rate={RATE}r/s;
    limit_conn_zone $binary_remote_addr zone=together:2m;
    limit_req zone=asked burst={BURST} nodelay;
    limit_req_status 429;
    limit_conn together {TOGETHER};
    limit_conn_status 429;

    # As files come from the service they go on; none is written down here.
    proxy_max_temp_file_size 0;
    client_body_temp_path /run/nginx/body;
    proxy_temp_path /run/nginx/proxy;
    fastcgi_temp_path /run/nginx/fastcgi;
    uwsgi_temp_path /run/nginx/uwsgi;
    scgi_temp_path /run/nginx/scgi;

    upstream provisioning {{
        server unix:{SOCKET} max_fails=0;
        keepalive 64;
    }}

    server {{
        listen {clinic.networks.voice.pbx}:443 ssl backlog=4096;
        server_name _;
        ssl_certificate {CERTIFICATE};
        ssl_certificate_key {KEY};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_ciphers HIGH:!aNULL:!MD5:!SHA1:!kRSA;
        ssl_session_cache shared:telephones:4m;
        ssl_session_timeout 1h;
        ssl_session_tickets off;

        location / {{
            proxy_pass http://provisioning;
            proxy_http_version 1.1;
            # Only what is decided by goes on, the path as it was sent. No request has a body.
            proxy_pass_request_headers off;
            proxy_pass_request_body off;
            proxy_set_header Connection "";
            proxy_set_header Host provisioning;
            proxy_set_header X-Address $remote_addr;
            proxy_set_header User-Agent $http_user_agent;
            proxy_set_header Authorization $http_authorization;
            proxy_connect_timeout 10s;
            proxy_read_timeout 20s;
            proxy_next_upstream off;
        }}
    }}
}}
"""
