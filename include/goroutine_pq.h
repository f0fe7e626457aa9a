/* libgoroutine for libpq, PostgreSQL's client: queries that park their goroutine. Header only, over goroutine.h and libpq 9.2 or newer.
 *
 * A program
 *
 *     #include <goroutine_pq.h>
 *
 *     static void *count(void *unused) {
 *         PGconn *conn = goroutine_pq_connect("host=/run/postgresql dbname=shop", 5000000000);
 *         PGresult *result;
 *         if (PQstatus(conn) == CONNECTION_OK) {
 *             result = goroutine_pq_exec(conn, "select count(*) from orders", 1000000000);
 *             if (PQresultStatus(result) == PGRES_TUPLES_OK) fprintf(stderr, "%s orders\n", PQgetvalue(result, 0, 0));
 *             PQclear(result);
 *         }
 *         goroutine_pq_finish(conn);
 *         return unused;
 *     }
 *
 * How
 *   libpq's asynchronous interface, and waiting for its socket. A connection is used by one goroutine at a time, on whichever
 *   thread that is. Connections are non-blocking afterwards (PQsetnonblocking); PQexec still works on them, and blocks its thread.
 *
 * Time-outs and cancels
 *   When the time passes, or the goroutine is cancelled, the server is asked to cancel the query, and its answer is waited for: as a rule
 *   the result is then an error with the SQLSTATE 57014 (query_canceled), and the connection is as good as before. A server that does not
 *   answer within GOROUTINE_PQ_CANCEL_NS loses its connection: PQstatus is CONNECTION_BAD.
 *
 * Stacks and blocking
 *   All of libpq runs as blocking foreign calls, on the native stack of the thread: it needs none of the goroutine's for TLS or
 *   Kerberos, and where it blocks (names are resolved while it connects, unless `hostaddr` says where; files of keys and passwords)
 *   the worker goes on elsewhere. Notice receivers and the like that want to park do so in goroutine_callback_run.
 */
#ifndef GOROUTINE_PQ_H
#define GOROUTINE_PQ_H

#include <goroutine.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/** How long a server has to answer that it cancelled a query. */
#ifndef GOROUTINE_PQ_CANCEL_NS
#define GOROUTINE_PQ_CANCEL_NS UINT64_C(5000000000)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- What the rest of this header is made of: not to be used. ---- */

#ifdef CLOCK_MONOTONIC
#define GOROUTINE_PQ_CLOCK CLOCK_MONOTONIC
#else /* strict C11 hides it, without taking it out of the library */
#define GOROUTINE_PQ_CLOCK 1
int clock_gettime(int clock, struct timespec *time);
#endif

static inline uint64_t goroutine_pq_deadline(uint64_t timeout_ns) {
    struct timespec t;
    uint64_t now;
    clock_gettime(GOROUTINE_PQ_CLOCK, &t);
    now = (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
    return timeout_ns > GOROUTINE_FOREVER - now ? GOROUTINE_FOREVER : now + timeout_ns;
}
static inline uint64_t goroutine_pq_left(uint64_t deadline) {
    uint64_t now = goroutine_pq_deadline(0);
    return deadline == GOROUTINE_FOREVER ? GOROUTINE_FOREVER : deadline > now ? deadline - now : 0;
}

/* A time-out of 0 is one that passed. */
static inline GoroutineStatus goroutine_pq_wait_until(PGconn *conn, uint32_t events, uint64_t deadline) {
    uint32_t ready = 0;
    GoroutineStatus status = goroutine_fd_wait(PQsocket(conn), events, goroutine_pq_left(deadline), &ready);
    return status == GOROUTINE_EAGAIN ? GOROUTINE_ETIMEDOUT : status;
}

static inline void goroutine_pq_native(void *(*function)(void *), void *arg) {
    goroutine_ffi_call_blocking((void *)(uintptr_t)function, arg);
}

/** One foreign call's arguments and results. */
typedef struct GoroutinePqConnect {
    const char *conninfo;
    PGconn *conn;
    PostgresPollingStatusType polling;
    int ok;
} GoroutinePqConnect;

static inline void *goroutine_pq_connect_start(void *arg) {
    GoroutinePqConnect *call = (GoroutinePqConnect *)arg;
    call->conn = PQconnectStart(call->conninfo);
    return NULL;
}
static inline void *goroutine_pq_connect_poll(void *arg) {
    GoroutinePqConnect *call = (GoroutinePqConnect *)arg;
    call->polling = PQconnectPoll(call->conn);
    if (call->polling == PGRES_POLLING_OK) PQsetnonblocking(call->conn, 1);
    return NULL;
}
static inline void *goroutine_pq_reset_start(void *arg) {
    GoroutinePqConnect *call = (GoroutinePqConnect *)arg;
    call->ok = PQresetStart(call->conn);
    return NULL;
}
static inline void *goroutine_pq_reset_poll(void *arg) {
    GoroutinePqConnect *call = (GoroutinePqConnect *)arg;
    call->polling = PQresetPoll(call->conn);
    if (call->polling == PGRES_POLLING_OK) PQsetnonblocking(call->conn, 1);
    return NULL;
}
static inline void *goroutine_pq_finish_native(void *arg) {
    PQfinish((PGconn *)arg);
    return NULL;
}

/* Until it is connected, or failed, or the time is over. */
static inline void goroutine_pq_connect_wait(GoroutinePqConnect *call, void *(*poll)(void *), uint64_t deadline) {
    call->polling = PGRES_POLLING_WRITING;
    while (call->polling == PGRES_POLLING_READING || call->polling == PGRES_POLLING_WRITING) {
        uint32_t events = call->polling == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        if (goroutine_pq_wait_until(call->conn, events, deadline) != GOROUTINE_OK) return;
        goroutine_pq_native(poll, call);
    }
}

/** What moves a query on. */
typedef struct GoroutinePqPump {
    PGconn *conn;
    bool read;        /* there is something to read */
    bool flush;       /* not all is sent */
    bool busy;        /* no result yet */
    bool discard;     /* a COPY that was left unfinished is to end */
    PGresult *result; /* when not busy: PQgetResult's */
} GoroutinePqPump;

/* Ends a COPY. False: it is not over yet. */
static inline bool goroutine_pq_end_copy(PGconn *conn, ExecStatusType copy) {
    char *row = NULL;
    int n = -1;
    if (copy == PGRES_COPY_IN) {
        PQputCopyEnd(conn, "COPY ended by another query");
    } else {
        while ((n = PQgetCopyData(conn, &row, 1)) > 0) PQfreemem(row);
    }
    return n != 0;
}
static inline void *goroutine_pq_pump(void *arg) {
    GoroutinePqPump *pump = (GoroutinePqPump *)arg;
    bool lost = pump->read && !PQconsumeInput(pump->conn);
    for (;;) {
        ExecStatusType status;
        pump->flush = !lost && PQflush(pump->conn) == 1;
        pump->busy = !lost && PQisBusy(pump->conn);
        pump->result = pump->busy ? NULL : PQgetResult(pump->conn); /* of a lost connection: why */
        status = PQresultStatus(pump->result);
        if (!pump->discard || (status != PGRES_COPY_IN && status != PGRES_COPY_OUT)) return NULL;
        PQclear(pump->result);
        pump->result = NULL;
        pump->busy = !goroutine_pq_end_copy(pump->conn, status);
        if (pump->busy) return NULL;
    }
}

/* The next result, or NULL: there are no more. */
static inline GoroutineStatus goroutine_pq_next(PGconn *conn, bool discard, uint64_t deadline, PGresult **result) {
    GoroutinePqPump pump;
    memset(&pump, 0, sizeof pump);
    pump.conn = conn;
    pump.discard = discard;
    for (;;) {
        GoroutineStatus status;
        goroutine_pq_native(goroutine_pq_pump, &pump);
        if (!pump.busy) {
            *result = pump.result;
            return GOROUTINE_OK;
        }
        status = goroutine_pq_wait_until(conn, POLLIN | (pump.flush ? POLLOUT : 0), deadline);
        if (status != GOROUTINE_OK) return status;
        pump.read = true;
    }
}

/** A request to cancel, on its way over a connection of its own. */
typedef struct GoroutinePqCancel {
    PGcancel *cancel;
    GoroutinePromise *promise; /* whose value this is, and which frees it */
    bool sent;
} GoroutinePqCancel;

static inline void goroutine_pq_cancel_free(void *arg) {
    GoroutinePqCancel *job = (GoroutinePqCancel *)arg;
    PQfreeCancel(job->cancel);
    free(job);
}
static inline void *goroutine_pq_cancel_native(void *arg) {
    GoroutinePqCancel *job = (GoroutinePqCancel *)arg;
    char error[256];
    job->sent = PQcancel(job->cancel, error, (int)sizeof error) != 0; /* until the server hangs up, which it does after the signal */
    return NULL;
}
static inline void goroutine_pq_cancel_done(void *arg, void *result) {
    GoroutinePromise *promise = ((GoroutinePqCancel *)arg)->promise;
    (void)result;
    goroutine_promise_resolve(promise, arg);
    goroutine_promise_release(promise);
}

/* Begins to cancel what runs on a connection; NULL: that cannot be. */
static inline GoroutinePromise *goroutine_pq_cancel_begin(PGconn *conn) {
    GoroutinePqCancel *job = (GoroutinePqCancel *)calloc(1, sizeof *job);
    GoroutinePromise *promise;
    if (job == NULL) return NULL;
    job->cancel = PQgetCancel(conn);
    promise = job->promise = goroutine_promise_new_with(goroutine_pq_cancel_free);
    if (promise != NULL) goroutine_promise_retain(promise); /* the job's */
    if (job->cancel == NULL || promise == NULL ||
        goroutine_ffi_call_async((void *)(uintptr_t)goroutine_pq_cancel_native, job, goroutine_pq_cancel_done, job) != GOROUTINE_OK) {
        goroutine_promise_release(promise);
        goroutine_promise_release(promise);
        goroutine_pq_cancel_free(job);
        return NULL;
    }
    return promise;
}

/* Breaks a connection: PQstatus is CONNECTION_BAD afterwards. */
static inline void *goroutine_pq_break_native(void *arg) {
    PGconn *conn = (PGconn *)arg;
    int tries;
    for (tries = 0; tries < 1000 && PQstatus(conn) != CONNECTION_BAD; tries++) {
        if (!PQconsumeInput(conn)) break; /* what was still there comes first, then the end */
    }
    return NULL;
}
static inline void goroutine_pq_break(PGconn *conn) {
    if (PQsocket(conn) >= 0) shutdown(PQsocket(conn), SHUT_RDWR);
    goroutine_pq_native(goroutine_pq_break_native, conn);
}

/** A query, in any of the ways that libpq sends one. */
typedef enum GoroutinePqKind { GOROUTINE_PQ_EXEC, GOROUTINE_PQ_PARAMS, GOROUTINE_PQ_PREPARE, GOROUTINE_PQ_PREPARED } GoroutinePqKind;
typedef struct GoroutinePqQuery {
    PGconn *conn;
    GoroutinePqKind kind;
    const char *name, *command;
    int count;
    const Oid *types;
    const char *const *values;
    const int *lengths, *formats;
    int result_format;
    bool sent;
    PGresult *failure; /* if it was not */
} GoroutinePqQuery;

static inline void *goroutine_pq_send(void *arg) {
    GoroutinePqQuery *q = (GoroutinePqQuery *)arg;
    int sent = 0;
    if (PQsetnonblocking(q->conn, 1) == 0) {
        switch (q->kind) {
        case GOROUTINE_PQ_EXEC: sent = PQsendQuery(q->conn, q->command); break;
        case GOROUTINE_PQ_PARAMS:
            sent = PQsendQueryParams(q->conn, q->command, q->count, q->types, q->values, q->lengths, q->formats, q->result_format);
            break;
        case GOROUTINE_PQ_PREPARE: sent = PQsendPrepare(q->conn, q->name, q->command, q->count, q->types); break;
        case GOROUTINE_PQ_PREPARED:
            sent = PQsendQueryPrepared(q->conn, q->name, q->count, q->values, q->lengths, q->formats, q->result_format);
            break;
        }
    }
    q->sent = sent != 0;
    q->failure = sent ? NULL : PQmakeEmptyPGresult(q->conn, PGRES_FATAL_ERROR);
    return NULL;
}

/** A goroutine that waits for the results of a query, however that goes. */
typedef struct GoroutinePqRun {
    PGconn *conn;
    uint64_t deadline;
    bool discard;             /* what an earlier query has left */
    bool interrupted;         /* the time passed, or it was cancelled: it waits for the end of the query */
    GoroutinePromise *cancel; /* meanwhile */
} GoroutinePqRun;

/* As goroutine_pq_next; ends the query when the time is over. */
static inline PGresult *goroutine_pq_run_next(GoroutinePqRun *run) {
    PGresult *result = NULL;
    while (goroutine_pq_next(run->conn, run->discard, run->deadline, &result) != GOROUTINE_OK) {
        if (!run->interrupted) {
            run->interrupted = true;
            goroutine_cancel_disable();
            run->deadline = goroutine_pq_deadline(GOROUTINE_PQ_CANCEL_NS);
            run->cancel = goroutine_pq_cancel_begin(run->conn);
            if (run->cancel != NULL) continue;
        }
        goroutine_pq_break(run->conn);
        run->deadline = GOROUTINE_FOREVER; /* there is an end to read now */
    }
    return result;
}

/* A cancel that is still on its way would hit the next query. */
static inline void goroutine_pq_run_end(GoroutinePqRun *run) {
    if (!run->interrupted) return;
    if (run->cancel != NULL &&
        goroutine_promise_await_take(run->cancel, goroutine_pq_left(run->deadline), NULL) != GOROUTINE_OK) {
        goroutine_pq_break(run->conn);
    }
    goroutine_cancel_enable();
}

static inline bool goroutine_pq_ends(const PGresult *result) {
    switch (PQresultStatus(result)) {
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH: return true;
    default: return false;
    }
}

static inline PGresult *goroutine_pq_run(GoroutinePqQuery *query, uint64_t timeout_ns) {
    GoroutinePqRun run;
    PGresult *result = NULL, *last = NULL;
    if (query->conn == NULL) return NULL;
    memset(&run, 0, sizeof run);
    run.conn = query->conn;
    run.deadline = goroutine_pq_deadline(timeout_ns);
    run.discard = true;
    while ((result = goroutine_pq_run_next(&run)) != NULL && !goroutine_pq_ends(result)) PQclear(result);
    PQclear(result);
    run.discard = false;
    if (!run.interrupted) {
        goroutine_pq_native(goroutine_pq_send, query);
        last = query->failure;
        while (query->sent && (result = goroutine_pq_run_next(&run)) != NULL) {
            PQclear(last);
            last = result;
            if (goroutine_pq_ends(result)) break;
        }
    } else {
        last = PQmakeEmptyPGresult(query->conn, PGRES_FATAL_ERROR);
    }
    goroutine_pq_run_end(&run);
    return last;
}

/* ---- Connections. ---- */

/**
 * Connects, as PQconnectdb. The `connect_timeout` of `conninfo` does not count; `timeout_ns` does, for all hosts together.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Stack:     1 KiB of the goroutine's.
 * Ownership: the caller passes the connection to goroutine_pq_finish, also a failed one.
 * Returns:   a connection; NULL: out of memory. PQstatus tells how it went: CONNECTION_OK; CONNECTION_BAD, and PQerrorMessage tells why; any
 *            other: it had come so far when the time passed or the goroutine was cancelled.
 * Since:     ABI 1.
 */
static inline PGconn *goroutine_pq_connect(const char *conninfo, uint64_t timeout_ns) {
    GoroutinePqConnect call;
    uint64_t deadline = goroutine_pq_deadline(timeout_ns);
    memset(&call, 0, sizeof call);
    call.conninfo = conninfo == NULL ? "" : conninfo;
    goroutine_pq_native(goroutine_pq_connect_start, &call);
    if (call.conn != NULL && PQstatus(call.conn) != CONNECTION_BAD) goroutine_pq_connect_wait(&call, goroutine_pq_connect_poll, deadline);
    return call.conn;
}

/**
 * Connects anew, with the same parameters, as PQreset.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Ownership: borrows `conn`.
 * Returns:   PQstatus, as for goroutine_pq_connect; CONNECTION_BAD for NULL.
 * Since:     ABI 1.
 */
static inline ConnStatusType goroutine_pq_reset(PGconn *conn, uint64_t timeout_ns) {
    GoroutinePqConnect call;
    uint64_t deadline = goroutine_pq_deadline(timeout_ns);
    if (conn == NULL) return CONNECTION_BAD;
    memset(&call, 0, sizeof call);
    call.conn = conn;
    goroutine_pq_native(goroutine_pq_reset_start, &call);
    if (call.ok) goroutine_pq_connect_wait(&call, goroutine_pq_reset_poll, deadline);
    return PQstatus(conn);
}

/**
 * Closes and frees, as PQfinish. NULL is ignored.
 * Context:   T, G.
 * Parks:     after it, until there is a worker for the goroutine. It may resume on another thread.
 * Ownership: consumes `conn`.
 * Since:     ABI 1.
 */
static inline void goroutine_pq_finish(PGconn *conn) { goroutine_pq_native(goroutine_pq_finish_native, conn); }

/* ---- Queries. ---- */

/**
 * Runs a query (or several, separated by semicolons) and waits for its last result, as PQexec. A COPY is left to libpq's functions
 * and goroutine_pq_wait.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Stack:     1 KiB of the goroutine's.
 * Ownership: borrows `conn`; the caller passes the result to PQclear.
 * Returns:   a result, as PQexec's; NULL: out of memory, or `conn` is NULL. When `timeout_ns` passed or the goroutine was cancelled, the
 *            query was ended: see the head of this header.
 * Since:     ABI 1.
 */
static inline PGresult *goroutine_pq_exec(PGconn *conn, const char *command, uint64_t timeout_ns) {
    GoroutinePqQuery query;
    memset(&query, 0, sizeof query);
    query.conn = conn;
    query.kind = GOROUTINE_PQ_EXEC;
    query.command = command;
    return goroutine_pq_run(&query, timeout_ns);
}

/**
 * The same with parameters, as PQexecParams.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     as goroutine_pq_exec.
 * Ownership: borrows all of them.
 * Returns:   as goroutine_pq_exec.
 * Since:     ABI 1.
 */
static inline PGresult *goroutine_pq_exec_params(PGconn *conn, const char *command, int count, const Oid *types,
                                                 const char *const *values, const int *lengths, const int *formats,
                                                 int result_format, uint64_t timeout_ns) {
    GoroutinePqQuery query;
    memset(&query, 0, sizeof query);
    query.conn = conn;
    query.kind = GOROUTINE_PQ_PARAMS;
    query.command = command;
    query.count = count;
    query.types = types;
    query.values = values;
    query.lengths = lengths;
    query.formats = formats;
    query.result_format = result_format;
    return goroutine_pq_run(&query, timeout_ns);
}

/**
 * Prepares a statement, as PQprepare.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     as goroutine_pq_exec.
 * Ownership: borrows all of them.
 * Returns:   as goroutine_pq_exec.
 * Since:     ABI 1.
 */
static inline PGresult *goroutine_pq_prepare(PGconn *conn, const char *name, const char *command, int count, const Oid *types,
                                             uint64_t timeout_ns) {
    GoroutinePqQuery query;
    memset(&query, 0, sizeof query);
    query.conn = conn;
    query.kind = GOROUTINE_PQ_PREPARE;
    query.name = name;
    query.command = command;
    query.count = count;
    query.types = types;
    return goroutine_pq_run(&query, timeout_ns);
}

/**
 * Runs a prepared statement, as PQexecPrepared.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     as goroutine_pq_exec.
 * Ownership: borrows all of them.
 * Returns:   as goroutine_pq_exec.
 * Since:     ABI 1.
 */
static inline PGresult *goroutine_pq_exec_prepared(PGconn *conn, const char *name, int count, const char *const *values,
                                                   const int *lengths, const int *formats, int result_format, uint64_t timeout_ns) {
    GoroutinePqQuery query;
    memset(&query, 0, sizeof query);
    query.conn = conn;
    query.kind = GOROUTINE_PQ_PREPARED;
    query.name = name;
    query.count = count;
    query.values = values;
    query.lengths = lengths;
    query.formats = formats;
    query.result_format = result_format;
    return goroutine_pq_run(&query, timeout_ns);
}

/* ---- Piece by piece: after PQsendQuery and its like, in single-row and pipeline mode, with COPY and LISTEN. ---- */

/**
 * Waits until the connection's socket is ready for `events` (POLLIN, POLLOUT).
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Returns:   as goroutine_fd_wait; GOROUTINE_EBADF: it is not connected.
 * Since:     ABI 1.
 */
static inline GoroutineStatus goroutine_pq_wait(PGconn *conn, uint32_t events, uint64_t timeout_ns) {
    uint32_t ready = 0;
    return goroutine_fd_wait(PQsocket(conn), events, timeout_ns, &ready);
}

/**
 * The next result of what was sent, as PQgetResult. It sends what is unsent. The query goes on when the time passes:
 * goroutine_pq_cancel ends it.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Ownership: the caller passes the result to PQclear.
 * Output:    `*result` on GOROUTINE_OK: a result; NULL: there is none any more.
 * Returns:   GOROUTINE_OK, GOROUTINE_EAGAIN, GOROUTINE_ETIMEDOUT, GOROUTINE_ECANCELED, GOROUTINE_ENOMEM, GOROUTINE_EINVAL (NULL).
 * Since:     ABI 1.
 */
static inline GoroutineStatus goroutine_pq_get_result(PGconn *conn, uint64_t timeout_ns, PGresult **result) {
    GoroutineStatus status;
    if (conn == NULL || result == NULL) return GOROUTINE_EINVAL;
    status = goroutine_pq_next(conn, false, goroutine_pq_deadline(timeout_ns), result);
    return status == GOROUTINE_ETIMEDOUT && timeout_ns == 0 ? GOROUTINE_EAGAIN : status;
}

/**
 * Asks the server to cancel what runs on the connection, as PQcancel. What it was tells by its results.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Returns:   GOROUTINE_OK: the server was asked. GOROUTINE_EAGAIN, GOROUTINE_ETIMEDOUT, GOROUTINE_ECANCELED: it will be, who knows when: let
 *            the connection run no other query. GOROUTINE_EPIPE: it could not be asked. GOROUTINE_EINVAL (NULL), GOROUTINE_ENOMEM.
 * Since:     ABI 1.
 */
static inline GoroutineStatus goroutine_pq_cancel(PGconn *conn, uint64_t timeout_ns) {
    GoroutinePromise *promise;
    GoroutineStatus status;
    void *job = NULL;
    if (conn == NULL) return GOROUTINE_EINVAL;
    if (PQsocket(conn) < 0) return GOROUTINE_EPIPE;
    promise = goroutine_pq_cancel_begin(conn);
    if (promise == NULL) return GOROUTINE_ENOMEM;
    status = goroutine_promise_await(promise, timeout_ns, &job);
    if (status == GOROUTINE_OK && !((GoroutinePqCancel *)job)->sent) status = GOROUTINE_EPIPE;
    goroutine_promise_release(promise);
    return status;
}

static inline void *goroutine_pq_consume_native(void *arg) {
    GoroutinePqConnect *call = (GoroutinePqConnect *)arg;
    call->ok = PQconsumeInput(call->conn);
    return NULL;
}

/**
 * Waits for a notification (LISTEN), as PQnotifies.
 * Context:   T, G. On a plain thread it blocks the thread.
 * Parks:     the goroutine, not its thread. It may resume on another thread.
 * Ownership: the caller passes the notification to PQfreemem.
 * Output:    `*notification` on GOROUTINE_OK.
 * Returns:   GOROUTINE_OK, GOROUTINE_EAGAIN, GOROUTINE_ETIMEDOUT, GOROUTINE_ECANCELED, GOROUTINE_ENOMEM, GOROUTINE_EPIPE (the connection is
 *            lost), GOROUTINE_EINVAL (NULL).
 * Since:     ABI 1.
 */
static inline GoroutineStatus goroutine_pq_notification(PGconn *conn, uint64_t timeout_ns, PGnotify **notification) {
    uint64_t deadline = goroutine_pq_deadline(timeout_ns);
    GoroutinePqConnect call;
    PGnotify *one;
    if (conn == NULL || notification == NULL) return GOROUTINE_EINVAL;
    memset(&call, 0, sizeof call);
    call.conn = conn;
    while ((one = PQnotifies(conn)) == NULL) {
        GoroutineStatus status = goroutine_pq_wait_until(conn, POLLIN, deadline);
        if (status == GOROUTINE_ETIMEDOUT && timeout_ns == 0) return GOROUTINE_EAGAIN;
        if (status != GOROUTINE_OK) return status == GOROUTINE_EBADF ? GOROUTINE_EPIPE : status;
        goroutine_pq_native(goroutine_pq_consume_native, &call);
        if (!call.ok) return GOROUTINE_EPIPE;
    }
    *notification = one;
    return GOROUTINE_OK;
}

#ifdef __cplusplus
}
#endif

#endif
