# shellcheck shell=bash
# Sourced: real servers for tests, in a scratch directory that goes with them when the script ends. Nothing of them runs as root.
# make_authority: certificates; start_nginx: $ADAPTERS_HTTP_PORT, $ADAPTERS_HTTPS_PORT; start_postgres: $ADAPTERS_PG_DIR, $ADAPTERS_PG_PORT.

nginx=$(PATH=$PATH:/usr/sbin command -v nginx || true)
openssl=$(command -v openssl || true)
# The newest one, or that of PATH.
postgres=$(find /usr/lib/postgresql -path '*/bin/postgres' 2>/dev/null | sort -V | tail -n 1)
postgres=$(dirname "${postgres:-$(command -v postgres || true)}")
[[ -x $postgres/initdb ]] || postgres=

scratch=$(mktemp -d)
chmod 755 "$scratch"
servers_user=$(id -un)
as_user=()
if [[ $(id -u) == 0 ]]; then
    servers_user=nobody
    as_user=(setpriv --reuid="$servers_user" --regid="$(id -gn nobody)" --clear-groups)
fi

stop_servers() {
    [[ ! -e $scratch/nginx.pid ]] || kill "$(<"$scratch/nginx.pid")" 2>/dev/null || true
    [[ ! -e $scratch/pg/postmaster.pid ]] || "${as_user[@]}" "$postgres/pg_ctl" -D "$scratch/pg" -m immediate -w stop >/dev/null 2>&1 || true
    rm -rf "$scratch"
}
trap stop_servers EXIT

# has HEADER FLAGS...: whether the compiler finds it.
has() { "${CC:-cc}" -x c "${@:2}" -E - -o /dev/null <<<"#include <$1>" 2>/dev/null; }

# give FILE...: to the servers' user.
give() { [[ ${#as_user[@]} == 0 ]] || chown "$servers_user" "$@"; }

# A certificate authority, a server's and a client's certificate of it (by way of another one), and an authority that has nothing to do with them.
make_authority() {
    [[ ! -e $scratch/ca.crt ]] || return 0
    (
        cd "$scratch"
        key=(-newkey rsa:2048 -nodes -days 2 -batch)
        for name in ca other; do
            "$openssl" req -x509 "${key[@]}" -keyout $name.key -out $name.crt -subj "/CN=goroutine test $name" \
                -addext basicConstraints=critical,CA:TRUE
        done
        issue() { # NAME ISSUER EXTENSION
            "$openssl" req "${key[@]}" -keyout "$1.key" -out "$1.csr" -subj "/CN=$1"
            "$openssl" x509 -req -in "$1.csr" -CA "$2.crt" -CAkey "$2.key" -CAcreateserial -days 2 -out "$1.crt" \
                -extfile <(echo "$3")
        }
        issue middle ca basicConstraints=critical,CA:TRUE
        issue localhost middle subjectAltName=DNS:localhost,IP:127.0.0.1
        issue goroutine middle extendedKeyUsage=clientAuth
        cat localhost.crt middle.crt >localhost.chain
        cat goroutine.crt middle.crt >goroutine.chain
        cp localhost.key pg.key
        chmod 600 pg.key
        chmod 644 localhost.key goroutine.key
        give pg.key
    ) >"$scratch/openssl.log" 2>&1 || { cat "$scratch/openssl.log" >&2 && return 1; }
    export ADAPTERS_CA=$scratch/ca.crt ADAPTERS_OTHER_CA=$scratch/other.crt ADAPTERS_CERTIFICATES=$scratch
}

# A port that somebody may take before we do: who starts on one tries again.
random_port() { echo $((20000 + RANDOM % 10000)); }

start_nginx() {
    [[ ! -e $scratch/nginx.pid ]] || return 0
    mkdir -p "$scratch/www" "$scratch/tmp"
    echo hello >"$scratch/www/hello"
    head -c $((8 << 20)) < <(yes 0123456789abcde) >"$scratch/www/big"
    head -c 20000 /dev/zero >"$scratch/www/trickle"
    chmod -R a+rX "$scratch/www"
    give "$scratch" "$scratch/tmp"
    for _ in 1 2 3 4 5; do
        ADAPTERS_HTTP_PORT=$(random_port)
        ADAPTERS_HTTPS_PORT=$((ADAPTERS_HTTP_PORT + 1))
        cat >"$scratch/nginx.conf" <<CONF
pid $scratch/nginx.pid;
error_log $scratch/nginx.log;
worker_processes 1;
worker_rlimit_nofile 8192;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path $scratch/tmp/body;
    proxy_temp_path $scratch/tmp/proxy;
    fastcgi_temp_path $scratch/tmp/fastcgi;
    uwsgi_temp_path $scratch/tmp/uwsgi;
    scgi_temp_path $scratch/tmp/scgi;
    server {
        listen 127.0.0.1:$ADAPTERS_HTTP_PORT backlog=4096;
        listen 127.0.0.1:$ADAPTERS_HTTPS_PORT ssl backlog=4096;
        ssl_certificate $scratch/localhost.chain;
        ssl_certificate_key $scratch/localhost.key;
        root $scratch/www;
        location /trickle { limit_rate 10000; }
    }
}
CONF
        if "${as_user[@]}" "$nginx" -p "$scratch" -e "$scratch/nginx.log" -c "$scratch/nginx.conf" >"$scratch/nginx.out" 2>&1; then
            export ADAPTERS_HTTP_PORT ADAPTERS_HTTPS_PORT
            return 0
        fi
    done
    cat "$scratch/nginx.out" >&2
    return 1
}

start_postgres() {
    [[ ! -e $scratch/pg/postmaster.pid ]] || return 0
    local log=$scratch/pg.log
    mkdir -p "$scratch/pg" "$scratch/run"
    : >"$log"
    give "$scratch/pg" "$scratch/run" "$log"
    "${as_user[@]}" "$postgres/initdb" -D "$scratch/pg" -A trust -U goroutine --no-sync -E UTF8 --locale=C >"$scratch/initdb.log" 2>&1 ||
        { cat "$scratch/initdb.log" >&2 && return 1; }
    export ADAPTERS_PG_DIR=$scratch/run ADAPTERS_PG_PORT ADAPTERS_PG_RESTART=$scratch/restart
    for _ in 1 2 3 4 5; do
        ADAPTERS_PG_PORT=$(random_port)
        cat >"$scratch/pg/postgresql.auto.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $ADAPTERS_PG_PORT
unix_socket_directories = '$scratch/run'
max_connections = 100
shared_buffers = 16MB
fsync = off
ssl = on
ssl_cert_file = '$scratch/localhost.chain'
ssl_key_file = '$scratch/pg.key'
CONF
        start=("${as_user[@]}" "$postgres/pg_ctl" -D "$scratch/pg" -l "$log" -w -t 60)
        if "${start[@]}" start >"$scratch/pg_ctl.log" 2>&1; then
            # What a test calls to have it killed, and started again.
            printf '#!/bin/sh\n%s && exec %s\n' "$(printf '%q ' "${start[@]}" -m immediate stop)" "$(printf '%q ' "${start[@]}" start)" \
                >"$scratch/restart"
            chmod 755 "$scratch/restart"
            return 0
        fi
    done
    cat "$log" >&2
    return 1
}
