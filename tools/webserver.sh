#!/usr/bin/env bash
# Builds examples/webserver and attacks it: curl, wrk, ab, h2load, nc, malformed requests, slow clients, SIGTERM under load; with PostgreSQL,
# another server (nginx) and LibTorch behind it; 10,000 requests at a time for /user while 8 clients loop over /predict.
# `make deps-webserver deps-torch` installs what it needs.
# Usage: tools/webserver.sh [--build | --hybrid [ROUNDS [SECONDS [OPTION...]]]]
#   --build    only that; the program is target/webserver/webserver
#   --hybrid   no test: how long /user takes under that load, by turns without and with the predictors, ROUNDS (9) of SECONDS (4) each.
#              The OPTIONs are the server's.
# What is not installed is reported by name as skipped. WEBSERVER_REQUESTS: how many malformed ones (10000); WEBSERVER_ROUNDS:
# how often SIGTERM under load (5), of either kind.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
libraries=$target/release
out=$target/foreign
work=$target/webserver
mkdir -p "$work"
# shellcheck source=tools/servers.sh
. tools/servers.sh
# shellcheck source=tools/foreign-versions.sh
. tools/foreign-versions.sh

passed=0 failed=0 skipped=0
pass() { passed=$((passed + 1)) && echo "passed: webserver: $1"; }
fail() { failed=$((failed + 1)) && echo "FAILED: webserver: $1"; }
skip() { skipped=$((skipped + 1)) && echo "skipped: webserver: $1"; }
finish() {
    echo "$passed passed, $failed failed, $skipped skipped: webserver"
    ((failed == 0))
    exit
}

# ---- Build. ----

read -ra pq <<<"$(pg_config --includedir 2>/dev/null | sed 's/^/-isystem /')"
missing=
has curl/curl.h || missing+=", libcurl"
has libpq-fe.h "${pq[@]}" || missing+=", libpq"
[[ -e $out/llhttp/llhttp.c ]] || missing+=", llhttp"
if [[ -n $missing ]]; then
    skip "all of it (no ${missing#, }: make deps-webserver)"
    finish
fi
[[ -e $libraries/libgoroutine.so ]] || cargo build --quiet --release --lib
ln -sfn libgoroutine.so "$libraries/libgoroutine.so.1" # the loader looks for the soname

read -ra c <<<"${CC:-cc} -O2 -g -pthread"
for name in llhttp api http; do
    [[ $work/llhttp-$name.o -nt $out/llhttp/$name.c ]] || "${c[@]}" -w -I"$out/llhttp" -c "$out/llhttp/$name.c" -o "$work/llhttp-$name.o"
done
c+=(-std=gnu11 -Wall -Wextra -Wpedantic -Werror -Iinclude "${pq[@]}" -isystem "$out/llhttp")
torch=
read -ra cxx <<<"${CXX:-c++} -std=c++17 -O1 -g -Wall -Wextra -Iinclude -pthread"
# shellcheck disable=SC2154 # foreign-versions.sh
if "${cxx[@]}" -x c++ "${torch_flags[@]}" -E - -o /dev/null <<<'#include <torch/torch.h>' 2>/dev/null; then
    torch=yes
    # Its header takes the compiler most of a minute.
    [[ $work/predict.o -nt examples/webserver/predict.cpp && $work/predict.o -nt examples/webserver/webserver.h ]] ||
        "${cxx[@]}" "${torch_flags[@]/#-I/-isystem}" -c examples/webserver/predict.cpp -o "$work/predict.o"
    link=("${CXX:-c++}" "$work/predict.o" -ltorch -ltorch_cpu -lc10)
else
    "${c[@]}" -c examples/webserver/predict_none.c -o "$work/predict_none.o"
    link=("${CC:-cc}" "$work/predict_none.o")
fi
objects=()
for name in main connection routes report; do
    "${c[@]}" -c "examples/webserver/$name.c" -o "$work/$name.o"
    objects+=("$work/$name.o")
done
"${link[@]}" "${objects[@]}" "$work"/llhttp-{llhttp,api,http}.o -o "$work/webserver" -pthread -lcurl -lpq \
    -L"$libraries" -lgoroutine "-Wl,-rpath,$libraries" -ldl -lm
"${c[@]}" examples/webserver/attack.c -o "$work/attack"
"${c[@]}" examples/webserver/hybrid.c -o "$work/hybrid" -lm
# The same with LeakSanitizer, which looks once, at the end; without LibTorch, which keeps what it has.
leaks=
if echo 'int main(void){}' | "${CC:-cc}" -fsanitize=leak -x c - -o "$work/probe" 2>/dev/null; then
    leaks=yes
    "${c[@]}" -fsanitize=leak examples/webserver/{main,connection,routes,report,predict_none}.c "$work"/llhttp-{llhttp,api,http}.o \
        -o "$work/webserver-leaks" -lcurl -lpq -L"$libraries" -lgoroutine "-Wl,-rpath,$libraries" -ldl -lm
fi
[[ ${1-} != --build ]] || exit 0

# ---- Start. ----

command -v curl >/dev/null || { skip "all of it (no curl: make deps-webserver)" && finish; }
arguments=(--request-ms 2000 --idle-ms 5000 --lame-duck-ms 1000 --grace-ms 5000)
if [[ -n $postgres && -n $openssl ]]; then
    make_authority
    start_postgres
    conninfo="host=$ADAPTERS_PG_DIR port=$ADAPTERS_PG_PORT user=goroutine dbname=postgres"
    "$postgres/psql" -q "$conninfo" -c "create table users (id bigint primary key, name text);
        insert into users select i, 'user \"' || i || '\"' from generate_series(1, 1000) i" >/dev/null
    arguments+=(--database "$conninfo")
else
    skip "/user (no PostgreSQL: make deps-webserver)"
fi
if [[ -n $nginx && -n $openssl ]]; then
    make_authority
    start_nginx
    arguments+=(--upstream "http://127.0.0.1:$ADAPTERS_HTTP_PORT")
else
    skip "/proxy (no nginx: make deps-webserver)"
fi
[[ -n $torch ]] || skip "/predict (no LibTorch: make deps-torch)"

server=
stop_all() {
    [[ -z $server ]] || kill -KILL "$server" 2>/dev/null || true
    stop_servers
}
trap stop_all EXIT

# start_server NAME ARGUMENTS...: $server, $port, and its lines in $log.
start_server() {
    log=$work/$1.log
    port=
    : >"$log"
    "$work/${program:-webserver}" "${arguments[@]}" "${@:2}" 2>"$log" &
    server=$!
    for _ in {1..600}; do
        port=$(sed -nE 's/.*"event":"start","port":([0-9]+).*/\1/p' "$log")
        [[ -z $port ]] || return 0
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    cat "$log" >&2
    echo "webserver.sh: it does not start" >&2
    exit 1
}
# end_server: SIGTERM, and how it ended.
end_server() {
    local status=0
    kill -TERM "$server"
    wait "$server" || status=$?
    server=
    return "$status"
}
get() { curl -sS --max-time 30 "http://127.0.0.1:$port$1" "${@:2}"; }
status_of() { get "$1" -o /dev/null -w '%{http_code}' "${@:2}"; }
# expect WHAT IS SHALL
expect() { if [[ $2 == "$3" ]]; then pass "$1"; else fail "$1: '${2:0:500}', not '$3'"; fi; }
metric() { get /metrics | sed -nE "s/^$1 ([0-9.]+)$/\1/p"; }
# As it is when no connection is there but the one that asks.
settled() {
    local value
    for _ in {1..150}; do
        [[ $(metric http_connections) != 1 ]] || break
        sleep 0.1
    done
    value=$(metric "$1")
    echo "$value"
}

# ---- The hybrid load: what it asks for, and how long that takes. ----

users=10000 predictors=8
# Two connections per CPU keep a database busy that shares them. Time-outs are no part of it: it is to be right on a machine that is busy, too.
hybrid=(--connections $((users + 100)) --database-connections $((2 * $(nproc))) --database-ms 60000 --request-ms 60000 --idle-ms 60000
    --lame-duck-ms 60000 --grace-ms 60000 --quiet)
lacking=
[[ " ${arguments[*]} " == *" --database "* ]] || lacking+=", PostgreSQL"
[[ -n $torch ]] || lacking+=", LibTorch"
(($(ulimit -Hn | sed 's/unlimited/1000000/') >= users + 200)) || lacking+=", $((users + 200)) descriptors (ulimit -Hn)"
if [[ ${1-} == --hybrid ]]; then
    [[ -z $lacking ]] || { echo "webserver.sh: --hybrid: no ${lacking#, }" >&2 && exit 1; }
    rounds=${2:-9} seconds=${3:-4}
    hidden=8
    for ((i = 4; i < $#; i++)); do [[ ${!i} != --hidden ]] || hidden=${*:i+1:1}; done
    start_server hybrid "${hybrid[@]}" "${@:4}"
    echo "$(nproc) CPUs, $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1), Linux $(uname -r), load $(cut -d ' ' -f 1-3 /proc/loadavg)," \
        "commit $(git describe --always --dirty 2>/dev/null)"
    status=0
    "$work/hybrid" rounds "$port" $users $predictors "$hidden" "$rounds" "$seconds" \
        "server=$server" "database=$(head -n 1 "$scratch/pg/postmaster.pid")" || status=$?
    end_server
    exit "$status"
fi

# ---- Requests. ----

start_server requests
expect / "$(get /)" hello
expect "/ 404" "$(status_of /nothing)" 404
expect "HEAD /" "$(get / -I | tr -d '\r' | sed -n 's/^Content-Length: //p')" 6
expect "DELETE / 405" "$(status_of / -X DELETE)" 405
expect /sleep "$(get /sleep/20)" "20 ms"
expect "/sleep/x 400" "$(status_of /sleep/x)" 400
expect "two on one connection" "$(get / "http://127.0.0.1:$port/" -w '%{num_connects}\n')" $'hello\n1\nhello\n0'
expect "a long target 414" "$(status_of "/$(printf 'a%.0s' {1..5000})")" 414
expect "a long head 431" "$(status_of / -H "a: $(printf 'a%.0s' {1..20000})")" 431
expect "a large body 413" "$(head -c 100000 /dev/zero | status_of /predict --data-binary @-)" 413
expect "the metrics" "$(get /metrics | grep -cE '^(goroutine_live|goroutine_spawned_total|http_responses_total\{code="200"\}) [1-9][0-9]*$')" 3
if [[ " ${arguments[*]} " == *" --database "* ]]; then
    expect /user "$(get /user/7)" '{"id":7,"name":"user \"7\""}'
    expect "/user 404" "$(status_of /user/1001)" 404
    expect "/user 400" "$(status_of "/user/1;drop")" 400
fi
if [[ " ${arguments[*]} " == *" --upstream "* ]]; then
    expect /proxy "$(get /proxy/hello)" hello
    expect "/proxy 404" "$(status_of /proxy/nothing)" 404
    expect "/proxy of too much 502" "$(status_of /proxy/big)" 502
fi
if [[ -n $torch ]]; then
    # As examples/webserver/predict.cpp says.
    shall=$(awk 'BEGIN { for (i = 0; i < 8; i++) { s = 0; for (j = 0; j < 4; j++) s += (i + 1) / (j + 2) / 8 * (j + 1);
        e = exp(2 * s); y += (e - 1) / (e + 1) / 4 } printf "%.4f", y }')
    expect /predict "$(get '/predict?x=1,2,3,4' | sed -E 's/^(.*\.....).*/\1/')" "$shall"
    expect "POST /predict" "$(get /predict -d 1,2,3,4 | sed -E 's/^(.*\.....).*/\1/')" "$shall"
    expect "/predict 400" "$(status_of '/predict?x=1,2')" 400
fi
expect "log lines are JSON" "$(grep -cvE '^\{"t":[0-9.]+,"event":"[a-z]+"(,"[a-z]+":("([^"\\]|\\.)*"|[0-9]+))*\}$' "$log" || true)" 0
expect "a line for /" "$(grep -cE '"event":"request".*"method":"GET","path":"/","status":200,' "$log")" 3

# ---- Load. ----

if command -v wrk >/dev/null; then
    wrk -t 2 -c 200 -d 3s "http://127.0.0.1:$port/" >"$work/wrk.log" 2>&1 || true
    if grep -q 'Requests/sec' "$work/wrk.log" && ! grep -qE 'Socket errors|Non-2xx' "$work/wrk.log"; then
        pass "wrk: $(sed -nE 's/^Requests\/sec: +//p' "$work/wrk.log") requests per second"
    else
        fail "wrk: $(<"$work/wrk.log")"
    fi
else skip "wrk (make deps-webserver)"; fi
if command -v ab >/dev/null; then
    for keep in "" -k; do
        # shellcheck disable=SC2086 # an option, or none
        ab -q -n 10000 -c 100 $keep "http://127.0.0.1:$port/" >"$work/ab.log" 2>&1 || true
        expect "ab $keep" "$(grep -E '^(Complete|Failed) requests|^Non-2xx' "$work/ab.log" | tr -s ' ' | paste -sd';')" \
            "Complete requests: 10000;Failed requests: 0"
    done
else skip "ab (make deps-webserver)"; fi
if command -v h2load >/dev/null; then
    h2load --h1 -n 20000 -c 100 -t 2 "http://127.0.0.1:$port/" >"$work/h2load.log" 2>&1 || true
    expect "h2load --h1" "$(sed -nE 's/^requests: .* ([0-9]+ succeeded, [0-9]+ failed), .*/\1/p' "$work/h2load.log")" "20000 succeeded, 0 failed"
else skip "h2load (make deps-webserver)"; fi

# ---- Malformed requests. ----

requests=${WEBSERVER_REQUESTS:-10000}
"$work/attack" fuzz "$port" $((requests / 5)) 1 >"$work/fuzz.log" 2>&1 || { fail "malformed requests: $(<"$work/fuzz.log")"; }
heap=$(settled process_heap_bytes)
live=$(settled goroutine_live)
if "$work/attack" fuzz "$port" "$requests" 2 >"$work/fuzz.log" 2>&1; then
    pass "$requests malformed requests: $(<"$work/fuzz.log")"
else
    fail "$requests malformed requests: $(<"$work/fuzz.log")"
fi
expect "as many goroutines as before them" "$(settled goroutine_live)" "$live"
grown=$(($(settled process_heap_bytes) - heap))
# What is kept for the next requests, mainly libcurl's. Leaks are looked for below.
if ((grown < 1000000)); then pass "memory: $grown bytes more after them"; else fail "memory: $grown bytes more after them"; fi
expect "/ afterwards" "$(get /)" hello
status=0
end_server || status=$?
expect "the end" "$status $(tail -n 1 "$log" | sed -E 's/.*"event"/"event"/')" '0 "event":"end","connections":0}'

# ---- Slow and broken clients. ----

if command -v nc >/dev/null; then
    start_server slow --idle-ms 60000 # so that it is not this that helps
    # Half a head, half a body: the server waits for --request-ms. nc goes when the server does.
    expect "half a head 408" "$( (printf 'GET / HTTP/1.1\r\nHost: x\r\n' && sleep 10) | timeout 30 nc 127.0.0.1 "$port" | head -n 1 | tr -d '\r')" \
        "HTTP/1.1 408 Request Timeout"
    expect "half a body 408" "$( (printf 'POST /predict HTTP/1.1\r\nContent-Length: 9\r\n\r\n1,2' && sleep 10) | timeout 30 nc 127.0.0.1 "$port" |
        head -n 1 | tr -d '\r')" "HTTP/1.1 408 Request Timeout"
    # One byte at a time helps nobody.
    expect "drop by drop 408" "$( (printf 'GET /' && for _ in {1..100}; do printf a && sleep 0.1; done) 2>/dev/null |
        timeout 30 nc 127.0.0.1 "$port" | head -n 1 | tr -d '\r')" "HTTP/1.1 408 Request Timeout"
    expect "nonsense 400" "$(printf '\x16\x03\x01\x02\x00\x01' | timeout 30 nc 127.0.0.1 "$port" | head -n 1 | tr -d '\r')" "HTTP/1.1 400 Bad Request"
    # An answer that nobody reads is given up: the connection goes.
    (yes $'GET /metrics HTTP/1.1\r\nHost: x\r\n\r' | head -n 60000 && sleep 20) 2>/dev/null |
        timeout 30 nc 127.0.0.1 "$port" 2>/dev/null | (sleep 20 && cat >/dev/null) &
    unread=$!
    while [[ $(metric http_connections) != 2 ]]; do sleep 0.05; done
    expect "an answer that nobody reads" "$(settled http_connections)" 1
    kill "$unread" 2>/dev/null || true
    end_server || fail "the end: status $?"
else skip "slow clients (no nc: make deps-webserver)"; fi

start_server many --connections 5 --quiet
for _ in 1 2 3 4 5; do get /sleep/1500 >/dev/null & done
sleep 0.5
expect "one connection too many 503" "$(status_of /)" 503
end_server || fail "the end: status $?"

if [[ -n $leaks ]]; then
    program=webserver-leaks start_server leaks
    for path in / /user/7 /user/0 /proxy/hello /proxy/big /sleep/1 /predict /nothing; do status_of "$path" >/dev/null; done
    "$work/attack" fuzz "$port" $((requests / 5)) 3 >"$work/fuzz.log" 2>&1 || { fail "malformed requests: $(<"$work/fuzz.log")"; }
    (for _ in {1..3}; do get /sleep/50000 >/dev/null 2>&1 & done && wait) & # abandoned by their clients, or by the end
    sleep 0.5
    status=0
    end_server || status=$?
    expect "no leaks" "$status$(grep -A 20 'LeakSanitizer' "$log" || true)" 0
else skip "leaks (the compiler has no LeakSanitizer)"; fi

# ---- The hybrid load, and SIGTERM under it. ----

if [[ -z $lacking ]]; then
    start_server hybrid "${hybrid[@]}"
    live=$(settled goroutine_live)
    what="$users requests at a time for /user, $predictors for /predict"
    if "$work/hybrid" check "$port" $users $predictors 8 5 >"$work/hybrid.log" 2>&1; then
        pass "$what: $(tail -n 1 "$work/hybrid.log")"
    else
        fail "$what: $(head -n 20 "$work/hybrid.log"; tail -n 1 "$work/hybrid.log")"
    fi
    expect "as many goroutines as before them" "$(settled goroutine_live)" "$live"
    end_server || fail "the end: status $?"
    for ((round = 1; round <= ${WEBSERVER_ROUNDS:-5}; round++)); do
        start_server "hybrid-term-$round" "${hybrid[@]}"
        : >"$work/hybrid-$round.log" # one of an earlier run says that it is under way
        "$work/hybrid" until-end "$port" $users $predictors 8 >"$work/hybrid-$round.log" 2>&1 &
        client=$!
        until grep -q 'under way' "$work/hybrid-$round.log" || ! kill -0 "$client" 2>/dev/null; do sleep 0.1; done
        status=0
        end_server || status=$?
        if wait "$client" && [[ $status -eq 0 && $(tail -n 1 "$log") == *'"event":"end","connections":0}' ]] && ! grep -q abandoned "$log"; then
            pass "SIGTERM under that load $round: $(tail -n 1 "$work/hybrid-$round.log")"
        else
            fail "SIGTERM under that load $round: status $status, $(tail -n 5 "$work/hybrid-$round.log" "$log")"
        fi
    done
else skip "10,000 requests at a time (no ${lacking#, }: make deps-webserver deps-torch)"; fi

# ---- SIGTERM under load of all kinds. ----

if [[ " ${arguments[*]} " != *" --database "* || " ${arguments[*]} " != *" --upstream "* || -z $torch ]]; then
    skip "SIGTERM under load (it asks for /user, /proxy and /predict)"
    finish
fi
for ((round = 1; round <= ${WEBSERVER_ROUNDS:-5}; round++)); do
    start_server "term-$round"
    "$work/attack" load "$port" 64 >"$work/load-$round.log" 2>&1 &
    attack=$!
    until (($(metric 'http_responses_total\{code="200"\}') + 0 >= 1000)) || ! kill -0 "$attack" 2>/dev/null; do sleep 0.1; done
    status=0
    end_server || status=$?
    if wait "$attack" && [[ $status -eq 0 ]]; then
        pass "SIGTERM under load $round: $(<"$work/load-$round.log")"
    else
        fail "SIGTERM under load $round: status $status, $(tail -n 5 "$work/load-$round.log")"
    fi
done
finish
