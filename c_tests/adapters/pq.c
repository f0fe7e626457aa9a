/* include/goroutine_pq.h against libpq and PostgreSQL: over a Unix socket and TLS, queries that are ended, a server that freezes, one that is
 * killed and started again under load. */
#define GOROUTINE_PQ_CANCEL_NS UINT64_C(1000000000)
#include "adapters.h"
#include <goroutine_pq.h>
#include <goroutine_pq.h> /* twice */

enum { ROWS = 200000, BIG = 4 << 20, POOL = 10, CLIENTS = 200, WRITERS = 20, RESTARTS = 3 };
#define TIME (120 * SECOND)

static char local[512], encrypted[1024];

static PGconn *connected(const char *conninfo) {
    PGconn *conn = goroutine_pq_connect(conninfo, TIME);
    if (PQstatus(conn) != CONNECTION_OK) fprintf(stderr, "%s", PQerrorMessage(conn));
    CHECK_EQ(PQstatus(conn), CONNECTION_OK);
    return conn;
}
static PGresult *expect(PGresult *result, ExecStatusType status) {
    if (PQresultStatus(result) != status) fprintf(stderr, "%s: %s", PQresStatus(PQresultStatus(result)), PQresultErrorMessage(result));
    CHECK_EQ(PQresultStatus(result), status);
    return result;
}
static void expect_value(PGresult *result, const char *value) {
    expect(result, PGRES_TUPLES_OK);
    CHECK(strcmp(PQgetvalue(result, 0, 0), value) == 0);
    PQclear(result);
}
static void expect_error(PGresult *result, const char *state) {
    const char *is = PQresultErrorField(expect(result, PGRES_FATAL_ERROR), PG_DIAG_SQLSTATE);
    if (is == NULL || strcmp(is, state) != 0) fprintf(stderr, "%s: %s", is == NULL ? "no state" : is, PQresultErrorMessage(result));
    CHECK(is != NULL && strcmp(is, state) == 0);
    PQclear(result);
}
static void execute(PGconn *conn, const char *command) { PQclear(expect(goroutine_pq_exec(conn, command, TIME), PGRES_COMMAND_OK)); }

static void queries(PGconn *conn) {
    const char *values[2] = {"40", "2"};
    char *text = (char *)malloc(BIG + 100);
    PGresult *result;
    expect_value(goroutine_pq_exec(conn, "select 1", TIME), "1");
    expect_value(goroutine_pq_exec(conn, "select 1; select 2", TIME), "2");
    expect_value(goroutine_pq_exec_params(conn, "select $1::int + $2::int", 2, NULL, values, NULL, NULL, 0, TIME), "42");
    PQclear(expect(goroutine_pq_prepare(conn, "sum", "select $1::int + $2::int", 2, NULL, TIME), PGRES_COMMAND_OK));
    expect_value(goroutine_pq_exec_prepared(conn, "sum", 2, values, NULL, NULL, 0, TIME), "42");
    expect_error(goroutine_pq_exec(conn, "select nonsense", TIME), "42703");
    expect_error(goroutine_pq_exec(conn, "select 1; select 1/0", TIME), "22012");
    result = expect(goroutine_pq_exec(conn, "select i, repeat('x', 20) from generate_series(1, 200000) i", TIME), PGRES_TUPLES_OK);
    CHECK_EQ(PQntuples(result), ROWS);
    CHECK_EQ(atoi(PQgetvalue(result, ROWS - 1, 0)), ROWS);
    PQclear(result);
    CHECK(text != NULL); /* more than the socket takes at once */
    strcpy(text, "select length('");
    memset(text + strlen(text), 'q', BIG);
    strcpy(text + strlen("select length('") + BIG, "')");
    expect_value(goroutine_pq_exec(conn, text, TIME), "4194304");
    free(text);
    PQclear(expect(goroutine_pq_exec(conn, "copy (select 1) to stdout", TIME), PGRES_COPY_OUT));
    expect_value(goroutine_pq_exec(conn, "select 3", TIME), "3"); /* what was left of that is passed over */
}
static void *basics(void *unused) {
    PGconn *conn = connected(local);
    queries(conn);
    goroutine_pq_finish(conn);
    conn = connected(encrypted);
    CHECK(PQsslInUse(conn));
    queries(conn);
    goroutine_pq_finish(conn);
    CHECK_EQ(goroutine_pq_exec(NULL, "select 1", TIME), NULL);
    CHECK_EQ(goroutine_pq_reset(NULL, TIME), CONNECTION_BAD);
    goroutine_pq_finish(NULL);
    return unused;
}

/* ---- Failures to connect. ---- */

static void *no_connection(void *unused) {
    char conninfo[256];
    int port, fd;
    PGconn *conn = goroutine_pq_connect("host=127.0.0.1 port=1 user=nobody", TIME);
    CHECK_EQ(PQstatus(conn), CONNECTION_BAD);
    CHECK(*PQerrorMessage(conn) != 0);
    goroutine_pq_finish(conn);
    conn = goroutine_pq_connect("nonsense=1", TIME);
    CHECK_EQ(PQstatus(conn), CONNECTION_BAD);
    expect(goroutine_pq_exec(conn, "select 1", TIME), PGRES_FATAL_ERROR);
    goroutine_pq_finish(conn);
    fd = listen_anywhere(&port); /* accepts, and never says anything */
    snprintf(conninfo, sizeof conninfo, "hostaddr=127.0.0.1 port=%d user=nobody", port);
    conn = goroutine_pq_connect(conninfo, 50 * MS);
    CHECK(PQstatus(conn) != CONNECTION_OK && PQstatus(conn) != CONNECTION_BAD);
    goroutine_pq_finish(conn);
    close(fd);
    return unused;
}

/* ---- Queries that are ended. ---- */

static void *sleep_long(void *conn) {
    PGresult *result;
    result = goroutine_pq_exec((PGconn *)conn, "select pg_sleep(1000)", TIME);
    expect_error(result, "57014");
    CHECK_EQ(goroutine_sleep(0), GOROUTINE_ECANCELED); /* it is still cancelled */
    return NULL;
}
/* Until a query is under way on the connection of this process id. */
static void wait_for_query(PGconn *other, int pid) {
    char query[128];
    bool runs;
    snprintf(query, sizeof query, "select count(*) from pg_stat_activity where pid = %d and state = 'active'", pid);
    do {
        PGresult *result = expect(goroutine_pq_exec(other, query, TIME), PGRES_TUPLES_OK);
        runs = strcmp(PQgetvalue(result, 0, 0), "1") == 0;
        PQclear(result);
        OK(goroutine_sleep(MS));
    } while (!runs);
}
static void *ended(void *unused) {
    PGconn *conn = connected(local), *other = connected(encrypted);
    GoroutinePromise *sleeper;
    PGresult *result = NULL;
    uint64_t begin = now_ns();

    expect_error(goroutine_pq_exec(conn, "select pg_sleep(1000)", 50 * MS), "57014");
    CHECK(now_ns() - begin >= 50 * MS);
    expect_value(goroutine_pq_exec(conn, "select 1", TIME), "1"); /* as good as before */
    expect_error(goroutine_pq_exec(conn, "select pg_sleep(1000)", 0), "57014");
    expect_value(goroutine_pq_exec(conn, "select 1", TIME), "1");

    sleeper = goroutine_spawn(sleep_long, conn);
    wait_for_query(other, PQbackendPID(conn));
    OK(goroutine_cancel(sleeper));
    OK(goroutine_promise_await_take(sleeper, 60 * SECOND, NULL));
    expect_value(goroutine_pq_exec(conn, "select 2", TIME), "2");

    /* Piece by piece. */
    CHECK_EQ(PQsendQuery(conn, "select pg_sleep(1000)"), 1);
    CHECK_EQ(goroutine_pq_get_result(conn, 0, &result), GOROUTINE_EAGAIN);
    CHECK_EQ(goroutine_pq_get_result(conn, 10 * MS, &result), GOROUTINE_ETIMEDOUT);
    wait_for_query(other, PQbackendPID(conn));
    OK(goroutine_pq_cancel(conn, TIME));
    OK(goroutine_pq_get_result(conn, TIME, &result));
    expect_error(result, "57014");
    OK(goroutine_pq_get_result(conn, TIME, &result));
    CHECK_EQ(result, NULL);
    CHECK_EQ(goroutine_pq_get_result(NULL, TIME, &result), GOROUTINE_EINVAL);
    CHECK_EQ(goroutine_pq_cancel(NULL, TIME), GOROUTINE_EINVAL);
    expect_value(goroutine_pq_exec(conn, "select 3", TIME), "3");
    goroutine_pq_finish(conn);
    goroutine_pq_finish(other);
    return unused;
}

/* A server process that does not run answers no cancel. */
static void *frozen(void *unused) {
    PGconn *conn = connected(encrypted);
    int pid = PQbackendPID(conn);
    PGresult *result;
    CHECK_EQ(kill(pid, SIGSTOP), 0);
    result = goroutine_pq_exec(conn, "select 1", 50 * MS);
    CHECK_EQ(PQresultStatus(result), PGRES_FATAL_ERROR);
    CHECK_EQ(PQstatus(conn), CONNECTION_BAD);
    PQclear(result);
    CHECK_EQ(kill(pid, SIGCONT), 0);
    expect(result = goroutine_pq_exec(conn, "select 1", TIME), PGRES_FATAL_ERROR);
    PQclear(result);
    CHECK_EQ(goroutine_pq_reset(conn, TIME), CONNECTION_OK);
    expect_value(goroutine_pq_exec(conn, "select 1", TIME), "1");
    goroutine_pq_finish(conn);
    return unused;
}

static void *notifications(void *unused) {
    PGconn *conn = connected(local), *other = connected(local);
    PGnotify *one = NULL;
    execute(conn, "listen news");
    CHECK_EQ(goroutine_pq_notification(conn, 0, &one), GOROUTINE_EAGAIN);
    CHECK_EQ(goroutine_pq_notification(conn, 10 * MS, &one), GOROUTINE_ETIMEDOUT);
    execute(other, "notify news, 'of today'");
    OK(goroutine_pq_notification(conn, TIME, &one));
    CHECK(strcmp(one->relname, "news") == 0 && strcmp(one->extra, "of today") == 0);
    PQfreemem(one);
    expect_value(goroutine_pq_exec(other, "select pg_terminate_backend(pid) from pg_stat_activity where query = 'listen news'", TIME), "t");
    CHECK_EQ(goroutine_pq_notification(conn, TIME, &one), GOROUTINE_EPIPE);
    CHECK_EQ(goroutine_pq_cancel(conn, TIME), GOROUTINE_EPIPE);
    goroutine_pq_finish(conn);
    goroutine_pq_finish(other);
    return unused;
}

/* ---- Many at a time. ---- */

static GoroutineChannel *pool;
static int under_way, most_under_way;
static void *client(void *index) {
    PGconn *conn = NULL;
    char number[32];
    const char *values[1] = {number};
    int now, most;
    OK(goroutine_channel_receive(pool, &conn, TIME));
    now = ADD(under_way, 1);
    most = GET(most_under_way);
    while (now > most && !__atomic_compare_exchange_n(&most_under_way, &most, now, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    }
    snprintf(number, sizeof number, "%d", (int)U(index));
    expect_value(goroutine_pq_exec_params(conn, "select $1::int from pg_sleep(0.01)", 1, NULL, values, NULL, NULL, 0, TIME), number);
    ADD(under_way, -1);
    OK(goroutine_channel_send(pool, &conn, TIME));
    return NULL;
}
static void *clients(void *unused) {
    PGconn *conn = NULL;
    int i;
    most_under_way = 0;
    CHECK((pool = goroutine_channel_new(sizeof conn, POOL)) != NULL);
    for (i = 0; i < POOL; i++) {
        conn = connected(i % 2 ? encrypted : local);
        OK(goroutine_channel_send(pool, &conn, TIME));
    }
    spawn_all(CLIENTS, client);
    CHECK_EQ(most_under_way, POOL); /* the worker waited for none of them */
    for (i = 0; i < POOL; i++) {
        OK(goroutine_channel_receive(pool, &conn, TIME));
        goroutine_pq_finish(conn);
    }
    OK(goroutine_channel_free(pool));
    return unused;
}

/* ---- Killed and started again. ---- */

static int ready, over, written, failures, resets;
static void *writer(void *index) {
    PGconn *conn = connected(U(index) % 2 ? encrypted : local);
    char number[32];
    const char *values[1] = {number};
    int i;
    ADD(ready, 1);
    for (i = 0; !GET(over) || i < 10; i++) {
        PGresult *result;
        snprintf(number, sizeof number, "%d", (int)U(index) * 1000000 + i);
        result = goroutine_pq_exec_params(conn, "insert into log values ($1::int)", 1, NULL, values, NULL, NULL, 0, TIME);
        if (PQresultStatus(result) == PGRES_COMMAND_OK) {
            PQclear(result);
            result = goroutine_pq_exec_params(conn, "select count(*) from log where what = $1::int", 1, NULL, values, NULL, NULL, 0, TIME);
            if (PQresultStatus(result) == PGRES_TUPLES_OK) CHECK(strcmp(PQgetvalue(result, 0, 0), "1") == 0);
            ADD(written, 1);
        } else {
            ADD(failures, 1);
        }
        PQclear(result);
        if (PQstatus(conn) == CONNECTION_BAD) ADD(resets, 1);
        while (PQstatus(conn) == CONNECTION_BAD && goroutine_pq_reset(conn, TIME) != CONNECTION_OK) OK(goroutine_sleep(10 * MS));
    }
    goroutine_pq_finish(conn);
    return NULL;
}
static void *restart(void *unused) {
    (void)unused;
    return P(system(setting("ADAPTERS_PG_RESTART")));
}
static void *killed(void *unused) {
    GoroutinePromise *writers[WRITERS];
    PGconn *conn = connected(local);
    char count[128];
    int i, before;
    ready = over = written = failures = resets = 0;
    execute(conn, "drop table if exists log");
    execute(conn, "create table log (what int)");
    for (i = 0; i < WRITERS; i++) CHECK((writers[i] = goroutine_spawn(writer, P(i))) != NULL);
    while (GET(ready) < WRITERS) OK(goroutine_sleep(MS));
    for (i = 0; i < RESTARTS; i++) {
        before = GET(written);
        while (GET(written) < before + 100) OK(goroutine_sleep(MS));
        CHECK_EQ(goroutine_ffi_call_blocking(CODE(restart), NULL), NULL);
    }
    before = GET(written);
    while (GET(written) < before + 100) OK(goroutine_sleep(MS));
    SET(over, 1);
    for (i = 0; i < WRITERS; i++) OK(goroutine_promise_await_take(writers[i], 60 * SECOND, NULL));
    CHECK(GET(resets) >= WRITERS); /* they did lose their connections */
    PQclear(expect(goroutine_pq_exec(conn, "select 1", TIME), PGRES_FATAL_ERROR));
    CHECK_EQ(PQstatus(conn), CONNECTION_BAD);
    CHECK_EQ(goroutine_pq_reset(conn, TIME), CONNECTION_OK);
    /* All that was said to be written is; and at most what was not said to be, too. */
    snprintf(count, sizeof count, "select count(*) between %d and %d from log", GET(written), GET(written) + GET(failures));
    expect_value(goroutine_pq_exec(conn, count, TIME), "t");
    goroutine_pq_finish(conn);
    return unused;
}

static void *stack_use(void *unused) {
    PGconn *conn;
    paint_stack();
    conn = connected(encrypted);
    expect_error(goroutine_pq_exec(conn, "select pg_sleep(1000)", 10 * MS), "57014");
    goroutine_pq_finish(conn);
    stack_is_within("connect, exec and its time-out", 4096);
    return unused;
}
static void *on_thread(void *unused) {
    PGconn *conn = connected(local);
    expect_value(goroutine_pq_exec(conn, "select 1", TIME), "1");
    expect_error(goroutine_pq_exec(conn, "select pg_sleep(1000)", 10 * MS), "57014");
    expect_value(goroutine_pq_exec(conn, "select 1", TIME), "1");
    goroutine_pq_finish(conn);
    return unused;
}

static void all(uint32_t workers) {
    int before;
    start_workers(workers);
    run_goroutine(basics, NULL);
    before = open_descriptors();
    run_goroutine(no_connection, NULL);
    run_goroutine(ended, NULL);
    run_goroutine(frozen, NULL);
    run_goroutine(notifications, NULL);
    run_goroutine(clients, NULL);
    run_goroutine(killed, NULL);
    run_goroutine(stack_use, NULL);
    on_thread(NULL);
    OK(goroutine_runtime_wait(60 * SECOND));
    CHECK(open_descriptors() <= before + 1); /* this thread's one */
    stop();
}

int main(void) {
    const char *port = setting("ADAPTERS_PG_PORT"), *at = setting("ADAPTERS_CERTIFICATES");
    snprintf(local, sizeof local, "host=%s port=%s user=goroutine dbname=postgres", setting("ADAPTERS_PG_DIR"), port);
    /* A name, to be resolved; the server's certificate is looked at. */
    snprintf(encrypted, sizeof encrypted,
             "host=localhost port=%s user=goroutine dbname=postgres sslmode=verify-full gssencmode=disable sslrootcert=%s/ca.crt", port, at);
    all(1);
    all(4);
    return 0;
}
